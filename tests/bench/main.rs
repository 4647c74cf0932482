//! `bench`: what the sandbox costs, against a native run and against peers, all in one run.
//!
//! Each round measures every subject once, one after the other, so that what else the machine does hits all alike. Only
//! medians of the same run are compared. See README.md in `tests/`.

#![forbid(unsafe_code)]

mod containers;
mod deadline;
mod host_calls;
mod measure;
mod memory;
mod metric;
mod options;
mod picture;
mod programs;
mod report;
mod subject;

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use conformance::build;

use options::{Action, Options};
use report::Results;
use subject::Subject;

fn main() -> ExitCode {
    let done = options::parse(std::env::args().skip(1)).and_then(|action| match action {
        Action::Run(options) => run(options),
        Action::Show(file) => show(&file),
        Action::List => {
            for metric in metric::METRICS {
                println!("{:<12} {}", metric.group, metric.name);
            }
            Ok(())
        }
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Prints the table of an earlier run.
fn show(file: &str) -> Result<()> {
    let text = std::fs::read_to_string(file).with_context(|| format!("can't read {file}"))?;
    print!(
        "{}",
        Results::from_json(&text).with_context(|| format!("{file} is not a result of this program"))?.table()
    );
    Ok(())
}

fn run(options: Options) -> Result<()> {
    let runsc = build::runsc()?;
    let guest = build::bench_guest()?;
    let guest = guest.canonicalize().context("the guest program has no path")?;
    let mut subjects = if options.of_runtimes {
        [vec![Subject::runc()], Subject::own_runtimes(&runsc)?].concat()
    } else {
        [vec![Subject::native()], Subject::own(&runsc)?].concat()
    };
    subjects.extend(options.peers);
    let mut metrics = Vec::new();
    for metric in options.metrics {
        match measure::obstacle(metric) {
            None => metrics.push(metric),
            Some(why) => eprintln!("bench: SKIPPED: {}: {why}", metric.name),
        }
    }
    let mut results = Results::new(&subjects, &metrics);
    let (begun, steps) = (Instant::now(), options.rounds * metrics.len() * subjects.len());
    let mut step = 0;
    for round in 1..=options.rounds {
        for (m, metric) in metrics.iter().enumerate() {
            for (s, subject) in subjects.iter().enumerate() {
                let left = left(begun.elapsed(), step, steps);
                progress(&format!(
                    "round {round}/{}: {} on {}{left}",
                    options.rounds, metric.name, subject.name
                ));
                step += 1;
                // What did not work once is not tried again.
                if results.failed(m, s) {
                    continue;
                }
                match measure::measure(subject, metric, &guest.to_string_lossy()) {
                    Ok(measured) => results.add(m, s, measured),
                    Err(error) => {
                        progress("");
                        eprintln!("bench: {} on {}: {error:#}", metric.name, subject.name);
                        results.fail(m, s, format!("{error:#}"));
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
        std::fs::write(&path, picture::svg(&results)).with_context(|| format!("can't write {path}"))?;
    }
    Ok(())
}

/// How long the rest takes, once that can be told.
fn left(elapsed: Duration, done: usize, all: usize) -> String {
    if done < 5 {
        return String::new();
    }
    format!(", {} s left", elapsed.as_secs() * (all - done) as u64 / done as u64)
}

/// One line that is written over and over, on a terminal.
fn progress(text: &str) {
    let mut stderr = std::io::stderr();
    if stderr.is_terminal() {
        // Nothing depends on it.
        let _ = write!(stderr, "\r{text}\x1b[K");
    }
}
