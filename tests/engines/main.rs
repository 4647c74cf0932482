//! Container engines run their containers on this runtime as they do on runc.
//!
//! Each case is a short session with containerd, Docker or Podman. It first passes with runc, which is the oracle here, and
//! then with `runsc`. Needs root and the engines' Debian packages; without them everything is skipped, loudly.
//!
//! `cargo test -p conformance --test engines docker/runsc` runs a part; names are engine/runtime/case.

#![forbid(unsafe_code)]

mod cases;
mod client;
mod command;
mod cri;
mod image;
mod lab;
mod pty;
mod skip;

use std::process::ExitCode;
use std::sync::{PoisonError, RwLock};
use std::time::Instant;

use anyhow::{Result, bail};

use crate::lab::Lab;
use crate::skip::Skip;

/// What is known not to work with runsc yet: the beginning of the cases' names, and why. With `ENGINES_ALL=1` they are tried.
const NOT_YET: &[(&str, &str)] = &[];

fn main() -> ExitCode {
    let filters: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with('-')).collect();
    if !nix::unistd::geteuid().is_root() {
        println!("engines: SKIPPED all: not root");
        return ExitCode::SUCCESS;
    }
    match run(&filters) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) if error.downcast_ref::<Skip>().is_some() => {
            println!("engines: SKIPPED all: {error:#}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("engines: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Engines that take turns; the groups run at the same time, each with a laboratory of its own.
const GROUPS: [&[&str]; 2] = [&["containerd", "docker"], &["none", "podman", "podman-rootless"]];

/// Cases that look at what the whole machine has: nothing else runs beside them.
const ALONE: &[&str] = &["many_at_once"];

/// How many cases ended how.
#[derive(Default)]
struct Counts {
    passed: usize,
    failed: usize,
    skipped: usize,
}

fn run(filters: &[String]) -> Result<bool> {
    // Before the groups would do so both at once.
    conformance::build::runsc()?;
    let turns = RwLock::new(());
    let done: Vec<Result<Counts>> = std::thread::scope(|scope| {
        let groups: Vec<_> =
            GROUPS.iter().map(|group| scope.spawn(|| run_group(group, filters, &turns))).collect();
        let join = |group: std::thread::ScopedJoinHandle<'_, Result<Counts>>| {
            group.join().unwrap_or_else(|_| bail!("a group of engines panicked"))
        };
        groups.into_iter().map(join).collect()
    });
    let mut sum = Counts::default();
    for counts in done {
        let counts = counts?;
        sum.passed += counts.passed;
        sum.failed += counts.failed;
        sum.skipped += counts.skipped;
    }
    println!("engines: {} passed, {} failed, {} skipped", sum.passed, sum.failed, sum.skipped);
    Ok(sum.failed == 0)
}

/// The cases of some engines.
fn run_group(engines: &[&str], filters: &[String], turns: &RwLock<()>) -> Result<Counts> {
    let mut counts = Counts::default();
    let wanted = |name: &str| filters.is_empty() || filters.iter().any(|f| name.contains(f.as_str()));
    let all = std::env::var_os("ENGINES_ALL").is_some();
    let mut lab = Lab::new()?;
    // Nothing is behind the lock that a panic could spoil.
    let beside_others = || turns.read().unwrap_or_else(PoisonError::into_inner);
    let alone = || turns.write().unwrap_or_else(PoisonError::into_inner);
    let runtimes: Vec<&'static str> = lab.runtimes.iter().map(|runtime| runtime.name).collect();
    if runtimes.len() < 2 && filters.is_empty() && !all {
        println!(
            "engines: SKIPPED all with runc: there is nothing to compare it with; ENGINES_ALL=1 runs them"
        );
        return Ok(counts);
    }
    for case in cases::all().iter().filter(|case| engines.contains(&case.engine)) {
        for runtime in &runtimes {
            let name = format!("{}/{runtime}/{}", case.engine, case.name);
            if !wanted(&name) {
                continue;
            }
            if let Some((_, why)) = NOT_YET.iter().find(|(start, _)| name.starts_with(start) && !all) {
                println!("engines: SKIPPED {name}: NOT YET: {why}");
                counts.skipped += 1;
                continue;
            }
            let _turn = if ALONE.contains(&case.name) {
                (None, Some(alone()))
            } else {
                (Some(beside_others()), None)
            };
            let begun = Instant::now();
            match (case.run)(&mut lab, runtime) {
                Ok(()) => {
                    println!("engines: pass {name} ({:.1} s)", begun.elapsed().as_secs_f32());
                    counts.passed += 1;
                }
                Err(error) if error.downcast_ref::<Skip>().is_some() => {
                    println!("engines: SKIPPED {name}: {error:#}");
                    counts.skipped += 1;
                }
                Err(error) => {
                    println!("engines: FAILED {name}\n{error:#}");
                    counts.failed += 1;
                }
            }
        }
    }
    Ok(counts)
}
