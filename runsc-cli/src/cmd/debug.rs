//! `runsc debug`: what a sandbox is doing at this moment, for whoever looks into a problem.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};

use crate::container::state_file::Saved;
use crate::container::status::{Status, status};
use crate::container::{ContainerError, Settings, ask, store::Store};
use crate::profile::Report;
use crate::sandbox::control::{Answer, ProcessInfo, Request};

/// Options of `debug`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  runsc debug --ps web
  runsc debug --profile /tmp/web --duration 10s web    # then see /tmp/web.txt and /tmp/web.svg")]
pub struct Args {
    /// Print the threads of Sentry, Gofer and monitor, and where in the host they wait
    #[arg(long)]
    stacks: bool,
    /// Print the tree of processes in the container
    #[arg(long)]
    ps: bool,
    /// Print the open files of those
    #[arg(long)]
    files: bool,
    /// Measure where the time of all threads of the sandbox goes: OUT.txt has guest code, hand-over, run loop, faults and every
    /// call, OUT.svg is a flame graph of the same
    #[arg(long, value_name = "OUT")]
    profile: Option<PathBuf>,
    /// For how long: a number with ms, s or m
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = duration, requires = "profile")]
    duration: Duration,
    /// The container
    #[arg(value_name = "ID")]
    id: String,
}

/// Prints what is asked for; everything without a flag.
pub fn run(settings: &Settings, args: &Args) -> anyhow::Result<ExitCode> {
    let store = Store::new(&settings.root);
    let (_, saved) = store.load(&args.id)?;
    if let Some(out) = &args.profile {
        let sandbox = store.dir(&saved.sandbox)?;
        profile(&store, &saved, &sandbox, out, args.duration).context("--profile")?;
        if !args.stacks && !args.ps && !args.files {
            return Ok(ExitCode::SUCCESS);
        }
    }
    let all = !args.stacks && !args.ps && !args.files;
    let mut text = String::new();
    if args.stacks || all {
        for process in saved.monitor.iter().chain(&saved.helpers) {
            stacks(process.pid, &mut text)?;
        }
    }
    if args.ps || args.files || all {
        let processes = super::ps::processes(&store, &args.id)?;
        if args.ps || all {
            tree(&processes, 0, 0, &mut text)?;
        }
        for process in processes.iter().filter(|_| args.files || all) {
            writeln!(text, "files of {}:", process.pid)?;
            for (fd, path) in &process.files {
                writeln!(text, "  {fd} {}", path.display())?;
            }
        }
    }
    super::print(text.trim_end())?;
    Ok(ExitCode::SUCCESS)
}

/// A time such as `500ms`, `5s` or `2m`; seconds without a unit.
fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit_ms = match &text[digits.len()..] {
        "ms" => 1,
        "" | "s" => 1000,
        "m" => 60_000,
        other => return Err(format!("unit {other:?}: give ms, s or m")),
    };
    let number: u64 = digits.parse().map_err(|_| "give a whole number, as in 5s".to_owned())?;
    number.checked_mul(unit_ms).map(Duration::from_millis).ok_or_else(|| "too long".to_owned())
}

/// Has the sandbox measure, and writes what it answers.
fn profile(store: &Store, saved: &Saved, sandbox: &Path, out: &Path, time: Duration) -> anyhow::Result<()> {
    if !matches!(status(store, saved), Status::Running | Status::Paused) {
        return Err(ContainerError::State("container not running".to_owned()).into());
    }
    let report = Report::create(out)?;
    let time_ms = time.as_millis() as u64;
    match ask::ask_patiently(sandbox, &Request::Profile { time_ms })? {
        Answer::Profile(profile) => report.write_this(&profile),
        other => bail!("the sandbox answered {other:?}; please report this"),
    }
}

/// The threads of a host process.
fn stacks(pid: i32, text: &mut String) -> anyhow::Result<()> {
    let dir = Path::new("/proc").join(pid.to_string());
    let read = |path: &Path| std::fs::read_to_string(path).unwrap_or_default();
    let line = read(&dir.join("cmdline")).replace('\0', " ");
    writeln!(text, "host process {pid}: {}", line.trim_end())?;
    let mut threads: Vec<_> = std::fs::read_dir(dir.join("task")).into_iter().flatten().flatten().collect();
    threads.sort_by_key(std::fs::DirEntry::file_name);
    for thread in threads {
        let path = thread.path();
        let name = read(&path.join("comm"));
        let call = read(&path.join("syscall"));
        let place = read(&path.join("wchan"));
        let number = call.split(' ').next().and_then(|number| number.parse::<u32>().ok());
        let row = number.and_then(|number| syscalls::table::table().iter().find(|row| row.number == number));
        let call = row.map_or_else(|| call.trim().to_owned(), |row| row.name.to_owned());
        writeln!(text, "  {} {}: {call} {place}", thread.file_name().display(), name.trim_end())?;
        for frame in read(&path.join("stack")).lines() {
            writeln!(text, "    {frame}")?;
        }
    }
    Ok(())
}

/// Children below their parent.
fn tree(processes: &[ProcessInfo], parent: i32, depth: usize, text: &mut String) -> anyhow::Result<()> {
    for process in processes.iter().filter(|process| process.ppid == parent && process.pid != parent) {
        let args: Vec<_> = process.args.iter().map(|arg| arg.display()).collect();
        writeln!(
            text,
            "{:indent$}{} {} ({} KiB)",
            "",
            process.pid,
            args.join(" "),
            process.rss / 1024,
            indent = 2 * depth
        )?;
        for thread in &process.threads {
            writeln!(
                text,
                "{:indent$}  {} {} {}",
                "",
                thread.tid,
                thread.state,
                thread.name.display(),
                indent = 2 * depth
            )?;
        }
        tree(processes, process.pid, depth + 1, text)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, ms) in [("5", 5000), ("5s", 5000), ("250ms", 250), ("2m", 120_000)] {
            assert_eq!(duration(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for wrong in ["", "s", "5h", "-1s", "1.5s", "99999999999999999999s", "18446744073709551615m"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }
}
