//! `bench`: what the sandbox costs, against a native run and against peers, all in one run.
//!
//! Each round measures every subject once, one after the other, so that what else the machine does hits all alike. Only
//! medians of the same run are compared. See README.md in `tests/`.

#![forbid(unsafe_code)]

mod memory;
mod report;

use std::io::{IsTerminal, Write};
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use conformance::build;

const USAGE: &str = "\
usage: bench [--rounds N] [--peer NAME=COMMAND PREFIX]... [--json FILE] [--svg FILE] [METRIC]...

example: cargo run --release -p conformance --bin bench -- --peer 'gvisor=/usr/bin/runsc --network=none do'";

/// What is measured: name, unit, and how.
pub struct Metric {
    name: &'static str,
    unit: &'static str,
    how: How,
}

#[derive(Clone, Copy)]
enum How {
    /// Wall time of the whole command, in microseconds.
    Start,
    /// The guest program measures itself, in nanoseconds.
    Guest,
    /// Memory of all processes of a sandbox that holds `sleep`, in KiB.
    Memory,
}

const METRICS: [Metric; 12] = [
    Metric { name: "start_to_exit", unit: "us", how: How::Start },
    Metric { name: "getppid", unit: "ns", how: How::Guest },
    Metric { name: "getppid_syscall", unit: "ns", how: How::Guest },
    Metric { name: "open_close", unit: "ns", how: How::Guest },
    Metric { name: "stat", unit: "ns", how: How::Guest },
    Metric { name: "pread_4k", unit: "ns", how: How::Guest },
    Metric { name: "pipe_round_trip", unit: "ns", how: How::Guest },
    Metric { name: "fork_wait", unit: "ns", how: How::Guest },
    Metric { name: "fork_exec_wait", unit: "ns", how: How::Guest },
    Metric { name: "mmap_touch_munmap", unit: "ns", how: How::Guest },
    Metric { name: "idle_pss", unit: "KiB", how: How::Memory },
    Metric { name: "idle_processes", unit: "count", how: How::Memory },
];

/// Who is measured: a name and the words in front of the program.
pub struct Subject {
    name: String,
    prefix: Vec<String>,
}

struct Options {
    rounds: usize,
    peers: Vec<Subject>,
    json: Option<String>,
    svg: Option<String>,
    only: Vec<String>,
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn options() -> Result<Options> {
    let mut options = Options { rounds: 5, peers: Vec::new(), json: None, svg: None, only: Vec::new() };
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut value = || args.next().with_context(|| format!("{arg} needs a value\n{USAGE}"));
        match arg.as_str() {
            "--rounds" => options.rounds = value()?.parse().context("--rounds takes a number")?,
            "--json" => options.json = Some(value()?),
            "--svg" => options.svg = Some(value()?),
            "--peer" => {
                let peer = value()?;
                let (name, prefix) = peer.split_once('=').context("--peer takes NAME=COMMAND PREFIX")?;
                let prefix = prefix.split_whitespace().map(str::to_owned).collect();
                options.peers.push(Subject { name: name.to_owned(), prefix });
            }
            flag if flag.starts_with('-') => bail!("{USAGE}"),
            metric if METRICS.iter().any(|m| m.name == metric) => options.only.push(arg),
            other => bail!("no metric is called {other}\n{USAGE}"),
        }
    }
    if options.rounds == 0 {
        bail!("--rounds takes a number above 0");
    }
    Ok(options)
}

fn run() -> Result<()> {
    let options = options()?;
    let runsc = build::runsc()?;
    let guest = build::bench_guest()?;
    let own = [
        runsc.to_string_lossy().into_owned(),
        "do".to_owned(),
        "--platform=ptrace".to_owned(),
        "--".to_owned(),
    ];
    let mut subjects = vec![
        Subject { name: "native".to_owned(), prefix: Vec::new() },
        Subject { name: "runsc-ptrace".to_owned(), prefix: own.to_vec() },
    ];
    subjects.extend(options.peers);
    let metrics: Vec<&Metric> = METRICS
        .iter()
        .filter(|m| options.only.is_empty() || options.only.iter().any(|o| o == m.name))
        .collect();
    let mut results = report::Results::new(&subjects, &metrics);
    for round in 0..options.rounds {
        for (m, metric) in metrics.iter().enumerate() {
            for (s, subject) in subjects.iter().enumerate() {
                progress(&format!(
                    "round {}/{}: {} on {}",
                    round + 1,
                    options.rounds,
                    metric.name,
                    subject.name
                ));
                match measure(subject, metric, &guest.to_string_lossy()) {
                    Ok(value) => results.add(m, s, value),
                    Err(error) => {
                        progress("");
                        eprintln!("bench: {} on {}: {error:#}", metric.name, subject.name);
                    }
                }
            }
        }
    }
    progress("");
    print!("{}", results.table());
    if let Some(path) = options.json {
        std::fs::write(&path, results.json()?).with_context(|| format!("can't write {path}"))?;
    }
    if let Some(path) = options.svg {
        std::fs::write(&path, results.svg()).with_context(|| format!("can't write {path}"))?;
    }
    Ok(())
}

/// One line that is written over and over, on a terminal.
fn progress(text: &str) {
    let mut stderr = std::io::stderr();
    if stderr.is_terminal() {
        // Nothing depends on it.
        let _ = write!(stderr, "\r{text}\x1b[K");
    }
}

/// The command that runs `program` on a subject.
fn command(subject: &Subject, program: &[&str]) -> Command {
    let words: Vec<&str> = subject.prefix.iter().map(String::as_str).chain(program.iter().copied()).collect();
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).stdin(Stdio::null());
    command
}

fn measure(subject: &Subject, metric: &Metric, guest: &str) -> Result<u64> {
    match metric.how {
        How::Start => {
            let begun = Instant::now();
            let status = command(subject, &["/bin/true"]).stdout(Stdio::null()).status()?;
            let micros = begun.elapsed().as_micros() as u64;
            if status.success() { Ok(micros) } else { bail!("/bin/true ended with {status}") }
        }
        How::Guest => {
            let output = command(subject, &[guest, metric.name]).stderr(Stdio::inherit()).output()?;
            if !output.status.success() {
                bail!("the guest program ended with {}", output.status);
            }
            let text = String::from_utf8_lossy(&output.stdout);
            text.trim().parse().with_context(|| format!("the guest program said {text:?}"))
        }
        How::Memory => {
            let mut child = command(subject, &["sleep", "1000"]).stdout(Stdio::null()).spawn()?;
            let found = memory::settled(child.id());
            child.kill()?;
            child.wait()?;
            let found = found?;
            Ok(if metric.unit == "KiB" { found.pss_kib } else { found.processes })
        }
    }
}
