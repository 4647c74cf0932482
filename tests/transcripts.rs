//! Random calls, the same natively and in the sandbox: `cases transcript` prints what each answered, and the two have to be
//! the same line by line. `TRANSCRIPT_SEEDS=FIRST..END` runs more of them.

#![forbid(unsafe_code)]

use std::ops::Range;
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result, bail};
use conformance::build;
use conformance::place::{self, Place};
use conformance::volumes::Volumes;

const STEPS: u64 = 2000;
const FILE_STEPS: u64 = 3000;

fn seeds() -> Range<u64> {
    let asked = std::env::var("TRANSCRIPT_SEEDS").ok();
    let parsed = asked.as_deref().and_then(|range| range.split_once(".."));
    match parsed.map(|(first, end)| (first.parse(), end.parse())) {
        Some((Ok(first), Ok(end))) => first..end,
        _ => 1..9,
    }
}

fn transcript(place: &Place, program: &Path, family: &str, seed: u64) -> Result<String> {
    let mut command = place.command(program);
    command.args(["transcript", family, &seed.to_string(), &STEPS.to_string()]).stdin(Stdio::null());
    let output = command.output().with_context(|| format!("can't run {command:?}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        bail!("{family}, seed {seed}, {place}: {}; {}", output.status, said.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn compare(family: &str) {
    let program = build::cases().expect("cases");
    let sandboxes = place::sandboxes(&build::runsc().expect("runsc"), None).expect("sandboxes");
    for seed in seeds() {
        let native = transcript(&Place::Native, &program, family, seed).expect("native");
        for sandbox in &sandboxes {
            let got = transcript(sandbox, &program, family, seed).expect("sandbox");
            let differs = native.lines().zip(got.lines()).find(|(native, got)| native != got);
            if let Some((native, got)) = differs {
                panic!("{family}, seed {seed}, {sandbox}:\n  native: {native}\n  sandbox: {got}");
            }
            assert_eq!(native.lines().count(), got.lines().count(), "{family}, seed {seed}, {sandbox}");
        }
    }
}

#[test]
fn numa_calls_answer_as_the_hosts() {
    match std::fs::read_to_string("/sys/devices/system/node/online") {
        Ok(nodes) if nodes.trim() == "0" => compare("numa"),
        _ => eprintln!("*** SKIPPED: the host is no machine of one NUMA node"),
    }
}

#[test]
fn memory_calls_answer_as_the_hosts() {
    compare("memory");
}

/// Where files are: a directory natively, and in the sandbox.
struct FilePlace {
    name: &'static str,
    /// `None`: a volume of this mode.
    directory: Option<&'static str>,
}

const FILE_PLACES: [FilePlace; 4] = [
    FilePlace { name: "tmpfs", directory: Some("/dev/shm") },
    FilePlace { name: "overlay", directory: Some("/var/tmp") },
    FilePlace { name: "exclusive", directory: None },
    FilePlace { name: "shared", directory: None },
];

impl FilePlace {
    /// What the program says there, in a directory of its own that goes afterwards.
    fn transcript(&self, place: &Place, program: &Path, seed: u64) -> Result<String> {
        let volumes = Volumes::new()?;
        let flags = volumes.flags();
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        let scratch = match self.directory {
            Some(directory) => Path::new(directory).to_path_buf(),
            None => volumes.top().join(self.name),
        };
        let mut command = place.command_with(&flags, program);
        command.args(["transcript", "files", &seed.to_string(), &FILE_STEPS.to_string()]);
        command.arg(&scratch).stdin(Stdio::null());
        let output = command.output().with_context(|| format!("can't run {command:?}"))?;
        let _ = std::fs::remove_dir_all(scratch.join(format!("transcript.{seed}")));
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            bail!("files on {}, seed {seed}, {place}: {}; {}", self.name, output.status, said.trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

/// Trees as fsstress makes them, and contents as fsx does.
#[test]
fn file_calls_answer_as_the_hosts() {
    let program = build::cases().expect("cases");
    let sandboxes = place::sandboxes(&build::runsc().expect("runsc"), None).expect("sandboxes");
    let sandbox = sandboxes.iter().find(|place| place.is_default()).or(sandboxes.first());
    let sandbox = sandbox.expect("a platform that works");
    for seed in seeds() {
        for place in &FILE_PLACES {
            let native = place.transcript(&Place::Native, &program, seed).expect("native");
            let got = place.transcript(sandbox, &program, seed).expect("sandbox");
            let lines = || native.lines().zip(got.lines()).enumerate();
            if let Some((at, (native_line, got_line))) = lines().find(|(_, (native, got))| native != got) {
                let before: Vec<&str> = native.lines().skip(at.saturating_sub(25)).take(at.min(25)).collect();
                let before = before.join("\n    ");
                panic!(
                    "files on {}, seed {seed}:\n    {before}\n  native: {native_line}\n  sandbox: {got_line}",
                    place.name
                );
            }
            assert_eq!(native.lines().count(), got.lines().count(), "{}, seed {seed}", place.name);
        }
    }
}
