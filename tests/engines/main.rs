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
use std::time::Instant;

use anyhow::Result;

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

fn run(filters: &[String]) -> Result<bool> {
    let cases = cases::all();
    let mut lab = Lab::new()?;
    let names: Vec<&'static str> = lab.runtimes.iter().map(|runtime| runtime.name).collect();
    let all = std::env::var_os("ENGINES_ALL").is_some();
    if names.len() < 2 && filters.is_empty() && !all {
        println!(
            "engines: SKIPPED all with runc: there is nothing to compare it with; ENGINES_ALL=1 runs them"
        );
        return Ok(true);
    }
    let (mut passed, mut failed, mut skipped) = (0, 0, 0);
    for case in &cases {
        for runtime in &names {
            let name = format!("{}/{runtime}/{}", case.engine, case.name);
            if !filters.is_empty() && !filters.iter().any(|f| name.contains(f.as_str())) {
                continue;
            }
            if let Some((_, why)) = NOT_YET.iter().find(|(start, _)| name.starts_with(start) && !all) {
                println!("engines: SKIPPED {name}: NOT YET: {why}");
                skipped += 1;
                continue;
            }
            let begun = Instant::now();
            match (case.run)(&mut lab, runtime) {
                Ok(()) => {
                    println!("engines: pass {name} ({:.1} s)", begun.elapsed().as_secs_f32());
                    passed += 1;
                }
                Err(error) if error.downcast_ref::<Skip>().is_some() => {
                    println!("engines: SKIPPED {name}: {error:#}");
                    skipped += 1;
                }
                Err(error) => {
                    println!("engines: FAILED {name}\n{error:#}");
                    failed += 1;
                }
            }
        }
    }
    println!("engines: {passed} passed, {failed} failed, {skipped} skipped");
    Ok(failed == 0)
}
