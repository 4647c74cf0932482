//! `conformance`: runs cases by hand. See README.md in this folder.

#![forbid(unsafe_code)]

use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};
use conformance::place::{self, Place};
use conformance::session::{self, Options};
use conformance::{build, catalog};

const USAGE: &str = "\
usage: conformance list [FILTER…]
       conformance run [--native] [--sandbox] [--platform NAME] [--isolated] [--exact] [--verbose] [FILTER…]
       conformance run (--native | --sandbox) --strace NAME
       conformance walk [--platform NAME]

A FILTER is a part of a name. Without --native and --sandbox the cases run in both. `walk` makes all system calls with
hostile arguments in both and tells where the answers differ.
example: cargo run -p conformance -- run --sandbox --strace fork/child_has_a_copy";

fn main() -> ExitCode {
    match command() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(e) => {
            eprintln!("conformance: {e:#}");
            ExitCode::from(2)
        }
    }
}

fn command() -> Result<bool> {
    let mut args = std::env::args().skip(1);
    let verb = args.next().unwrap_or_default();
    let mut options = Options { verbose: true, ..Options::default() };
    let (mut native, mut sandbox, mut strace) = (false, false, false);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--native" => native = true,
            "--sandbox" => sandbox = true,
            "--strace" => strace = true,
            "--isolated" => options.isolated = true,
            "--exact" => options.exact = true,
            "--verbose" => options.verbose = true,
            "--platform" => {
                options.platforms = Some(args.next().context("--platform needs a name")?);
                sandbox = true;
            }
            flag if flag.starts_with('-') => bail!("unknown flag {flag}\n{USAGE}"),
            _ => options.filters.push(arg),
        }
    }
    options.skip_native = sandbox && !native;
    options.skip_sandbox = native && !sandbox;
    match verb.as_str() {
        "list" => list(&options),
        "run" if strace => trace(&options),
        "run" => session::run(&options),
        "walk" => session::walk(&options),
        _ => bail!("{USAGE}"),
    }
}

fn list(options: &Options) -> Result<bool> {
    let all = catalog::load(&build::cases()?)?;
    for case in catalog::select(&all, &options.filters, options.exact) {
        println!("{}: {}", case.name, case.covers.join(" "));
    }
    Ok(true)
}

/// Runs one case with no runner around it, with every call printed.
fn trace(options: &Options) -> Result<bool> {
    let [name] = options.filters.as_slice() else { bail!("--strace takes one whole name\n{USAGE}") };
    let program = build::cases()?;
    let place = match (options.skip_native, options.skip_sandbox) {
        (false, true) => Place::Native,
        (true, false) => {
            let places = place::sandboxes(&build::runsc()?, options.platforms.as_deref())?;
            places.into_iter().next().context("no platform runs")?
        }
        _ => bail!("--strace needs one of --native and --sandbox"),
    };
    let scratch = format!("/tmp/case.{}", std::process::id());
    let mut command: Command = place.strace(&program);
    let status = command.args(["exec", name, &scratch]).status().with_context(|| format!("{command:?}"))?;
    let _ = std::fs::remove_dir_all(&scratch);
    println!("{place}: {name} ended with {status}");
    Ok(status.success())
}
