//! Real programs give the same output, exit status and files in the sandbox, on each platform, as natively.
//!
//! Each script in `scripts/` runs in an empty folder, first natively, then in each sandbox on a volume at the same path.
//! Natively it must end with status 0: anything else is an error of the script.
//! Its first line names what it needs, programs or `root`; without them it is skipped, loudly.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use conformance::place::{Place, sandboxes};
use conformance::{build, parallel};

mod debian;

/// The longest that one script may take; with PROGRAMS_HEAVY ten times as long.
const LIMIT: Duration = Duration::from_secs(300);

fn limit() -> Duration {
    if std::env::var_os("PROGRAMS_HEAVY").is_some() { LIMIT * 10 } else { LIMIT }
}

/// Scripts at a time: most of them are one process that waits for another.
const WORKERS: usize = 2;

/// What takes longest.
const LONG: [&str; 5] = ["stress_ng_files", "git_many_files", "tar_usr", "debian_packages", "sqlite_kill"];

/// The status of a script that succeeded.
const SUCCESS: &str = "exit status: 0";

/// What a run left behind.
#[derive(PartialEq)]
struct Outcome {
    status: String,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    /// By path: mode, and contents or the target of a link.
    files: BTreeMap<PathBuf, (u32, Vec<u8>)>,
}

fn main() -> ExitCode {
    match run() {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("programs: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<usize> {
    let filters: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with('-')).collect();
    let runsc = build::runsc()?;
    let places = sandboxes(&runsc, None)?;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("programs/scripts");
    let mut scripts: Vec<PathBuf> = fs::read_dir(&folder)?.map(|e| Ok(e?.path())).collect::<Result<_>>()?;
    scripts.sort();
    let mut jobs = Vec::new();
    for script in scripts {
        let name =
            script.file_stem().and_then(|n| n.to_str()).context("a script's name is not text")?.to_owned();
        jobs.push((name, Job::Script(script)));
    }
    jobs.push(("debian_packages".to_owned(), Job::DebianPackages));
    jobs.retain(|(name, _)| filters.is_empty() || filters.iter().any(|f| name.contains(f.as_str())));
    // The long ones first, so that none of them is left alone at the end.
    jobs.sort_by_key(|(name, _)| LONG.iter().position(|long| long == name).unwrap_or(LONG.len()));
    let verdicts = parallel::map(WORKERS, jobs.into_iter(), |(name, job)| -> Result<Verdict> {
        let begun = Instant::now();
        let verdict = job.run(&runsc, &places, &name)?;
        match &verdict {
            Verdict::Same => println!("programs: pass {name} ({:.1} s)", begun.elapsed().as_secs_f32()),
            Verdict::Differs(how) => println!("programs: FAILED {name}\n{how}"),
            Verdict::Skipped(why) => println!("programs: SKIPPED {name}: {why}"),
        }
        Ok(verdict)
    });
    let (mut passed, mut failed, mut skipped) = (0, 0, 0);
    for verdict in verdicts {
        match verdict? {
            Verdict::Same => passed += 1,
            Verdict::Differs(_) => failed += 1,
            Verdict::Skipped(_) => skipped += 1,
        }
    }
    println!("programs: {passed} passed, {failed} failed, {skipped} skipped");
    Ok(failed)
}

/// What one entry of the list does.
enum Job {
    Script(PathBuf),
    DebianPackages,
}

impl Job {
    fn run(self, runsc: &Path, places: &[Place], name: &str) -> Result<Verdict> {
        let script = match self {
            Job::Script(script) => script,
            Job::DebianPackages => return debian::packages(runsc),
        };
        if let Some(missing) = missing(&fs::read_to_string(&script)?)? {
            return Ok(Verdict::Skipped(missing));
        }
        Ok(compare(places, &script, name)?.map_or(Verdict::Same, Verdict::Differs))
    }
}

/// What came of it.
enum Verdict {
    /// All runs were alike.
    Same,
    /// They were not, and how.
    Differs(String),
    /// Why it was not tried.
    Skipped(String),
}

/// What the script needs and that is not there, for people: programs, and `root` for the rights to do what it does.
fn missing(script: &str) -> Result<Option<String>> {
    let needs = script.lines().next().and_then(|l| l.strip_prefix("# needs: "));
    let needs = needs.context("the first line of a script is `# needs: PROGRAM…`")?;
    let path = std::env::var_os("PATH").unwrap_or_default();
    let is_root = nix::unistd::geteuid().is_root();
    let there = |name: &str| match name {
        "root" => is_root,
        _ => std::env::split_paths(&path).any(|folder| folder.join(name).is_file()),
    };
    let missing = needs.split_whitespace().find(|name| !there(name));
    Ok(missing.map(|name| match name {
        "root" => "this is not root".to_owned(),
        _ => format!("{name} is not installed"),
    }))
}

/// `None` when all runs are alike.
fn compare(places: &[Place], script: &Path, name: &str) -> Result<Option<String>> {
    let work = std::env::temp_dir().join(format!("runsc-programs-{}-{name}", std::process::id()));
    let native = outcome(Place::Native.command("bash"), script, &work)?;
    if native.status != SUCCESS {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (out, err) = (text(&native.stdout), text(&native.stderr));
        return Ok(Some(format!("an error of the script itself: natively {}\n{out}{err}", native.status)));
    }
    let volume = format!("--volume={0}:{0}", work.display());
    let mut differences = String::new();
    for place in places {
        let sandbox = outcome(place.command_with(&[&volume], "bash"), script, &work)?;
        if sandbox != native {
            differences.push_str(&difference(&native, place, &sandbox));
        }
    }
    Ok((!differences.is_empty()).then_some(differences))
}

/// What is not alike, for people.
fn difference(native: &Outcome, place: &Place, sandbox: &Outcome) -> String {
    let mut out = String::new();
    let mut note = |what: &str, a: String, b: String| {
        if a != b {
            out.push_str(&format!("--- {what}, native\n{a}\n--- {what}, {place}\n{b}\n"));
        }
    };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    note("status", native.status.clone(), sandbox.status.clone());
    note("stdout", text(&native.stdout), text(&sandbox.stdout));
    note("stderr", text(&native.stderr), text(&sandbox.stderr));
    let list = |files: &BTreeMap<PathBuf, (u32, Vec<u8>)>| {
        let line = |(path, (mode, bytes)): (&PathBuf, &(u32, Vec<u8>))| {
            format!("{mode:o} {} {} bytes\n", path.display(), bytes.len())
        };
        files.iter().map(line).collect::<String>()
    };
    note("files", list(&native.files), list(&sandbox.files));
    if out.is_empty() {
        out.push_str(&format!("the contents of files differ on {place}\n"));
    }
    out
}

/// Runs the script in a new, empty `work` and takes what it left.
fn outcome(mut shell: Command, script: &Path, work: &Path) -> Result<Outcome> {
    if work.exists() {
        fs::remove_dir_all(work)?;
    }
    fs::create_dir_all(work).with_context(|| format!("can't make {}", work.display()))?;
    let output_folder = work.with_extension("output");
    fs::create_dir_all(&output_folder)?;
    let (out, err) = (output_folder.join("stdout"), output_folder.join("stderr"));
    shell
        .arg(script)
        .current_dir(work)
        .env("LC_ALL", "C.UTF-8")
        .env("TZ", "UTC")
        .env_remove("RUST_BACKTRACE")
        .stdin(Stdio::null())
        .stdout(fs::File::create(&out)?)
        .stderr(fs::File::create(&err)?);
    let mut child = shell.spawn().with_context(|| format!("can't start {shell:?}"))?;
    let begun = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status.to_string();
        }
        if begun.elapsed() > limit() {
            child.kill()?;
            child.wait()?;
            break format!("no end after {:?}", limit());
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    let mut files = BTreeMap::new();
    collect(work, work, &mut files)?;
    let outcome = Outcome { status, stdout: fs::read(&out)?, stderr: fs::read(&err)?, files };
    fs::remove_dir_all(work)?;
    fs::remove_dir_all(&output_folder)?;
    Ok(outcome)
}

fn collect(top: &Path, folder: &Path, files: &mut BTreeMap<PathBuf, (u32, Vec<u8>)>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let meta = fs::symlink_metadata(&path)?;
        let kind = meta.file_type();
        let contents = if kind.is_symlink() {
            fs::read_link(&path)?.into_os_string().into_encoded_bytes()
        } else if kind.is_file() {
            fs::read(&path)?
        } else {
            Vec::new()
        };
        files.insert(path.strip_prefix(top)?.to_path_buf(), (meta.permissions().mode(), contents));
        if kind.is_dir() {
            collect(top, &path, files)?;
        }
        if files.len() > 100_000 {
            bail!("{} holds too many files", top.display());
        }
    }
    Ok(())
}
