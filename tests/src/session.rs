//! A whole run: the oracle first, then every sandbox.

use std::path::Path;

use anyhow::Result;

use crate::batch::{self, Outcome, Report};
use crate::place::{self, Place};
use crate::results::{self, Results};
use crate::walk::{self, Knowledge};
use crate::{build, catalog, volumes};

/// What to run, and where.
#[derive(Debug, Default)]
pub struct Options {
    /// Parts of names; none means all.
    pub filters: Vec<String>,
    /// The filters are whole names.
    pub exact: bool,
    /// A sandbox a case.
    pub isolated: bool,
    /// Not on the host.
    pub skip_native: bool,
    /// Not in the sandbox.
    pub skip_sandbox: bool,
    /// The platforms, separated by commas; see [`place::sandboxes`].
    pub platforms: Option<String>,
    /// Name each case, not only what did not pass.
    pub verbose: bool,
}

/// Runs; true when nothing failed. A complete run leaves its results for the compat matrix.
pub fn run(options: &Options) -> Result<bool> {
    let program = build::cases()?;
    let all = catalog::load(&program)?;
    let cases = catalog::select(&all, &options.filters, options.exact);
    if cases.is_empty() {
        // Cargo hands the same filter to every test binary; that none matches here is no failure.
        println!("no case matches {:?}", options.filters);
        return Ok(true);
    }
    let names: Vec<String> = cases.iter().map(|c| c.name.clone()).collect();
    let mut results = Results::new(&cases);
    let mut good = true;
    if !options.skip_native {
        let reports = batch::run(&Place::Native, &program, &names, options.isolated);
        good &= summarise(&Place::Native, &reports, options.verbose);
        results.add("native", &reports);
    }
    let complete = cases.len() == all.len() && !options.skip_native;
    if !options.skip_sandbox {
        let places = place::sandboxes(&build::runsc()?, options.platforms.as_deref())?;
        // What a tree of the Gofer's answers does not depend on the platform: one of them is enough.
        let of_volumes = places.iter().position(place::Place::is_default).unwrap_or(0);
        for (number, place) in places.iter().enumerate() {
            let here = |name: &&String| number == of_volumes || !volumes::wants_volume(name);
            let names: Vec<String> = names.iter().filter(here).cloned().collect();
            let reports = batch::run(place, &program, &names, options.isolated);
            good &= summarise(place, &reports, options.verbose);
            results.add(&place.to_string(), &reports);
        }
        if complete {
            good &= walk_at(&program, &places)?;
        }
    }
    if complete {
        let path = results::path()?;
        results.write(&path)?;
        println!("results: {}", path.display());
    }
    Ok(good)
}

/// Compares the answers to hostile arguments; true when all differences are accepted.
pub fn walk(options: &Options) -> Result<bool> {
    let program = build::cases()?;
    let places = place::sandboxes(&build::runsc()?, options.platforms.as_deref())?;
    walk_at(&program, &places)
}

fn walk_at(program: &Path, places: &[Place]) -> Result<bool> {
    if places.is_empty() {
        return Ok(true);
    }
    let knowledge = Knowledge::load(program)?;
    let native = walk::record(&Place::Native, program)?;
    let mut good = true;
    for place in places {
        let found = knowledge.compare(&native, &walk::record(place, program)?);
        let (accepted, wrong): (Vec<_>, Vec<_>) = found.iter().partition(|d| d.accepted.is_some());
        wrong.iter().for_each(|d| println!("{place}: FAILED walk: {}", knowledge.describe(d)));
        println!(
            "{place}: hostile arguments: {} answers; {} calls differ, {} more differ as accepted",
            native.len(),
            wrong.len(),
            accepted.len()
        );
        good &= wrong.is_empty();
    }
    if !good && !walk::host_is_imitated() {
        println!(
            "*** the differences count for nothing: this host is not the Linux that the sandbox imitates"
        );
        return Ok(true);
    }
    Ok(good)
}

fn summarise(place: &Place, reports: &[Report], verbose: bool) -> bool {
    let count = |outcome| reports.iter().filter(|r| r.outcome == outcome).count();
    for report in reports {
        match report.outcome {
            Outcome::Pass if verbose => println!("{place}: pass {}", report.name),
            Outcome::Pass => {}
            Outcome::Skip => println!("{place}: SKIPPED {}: {}", report.name, report.output.trim()),
            Outcome::Fail => {
                println!("{place}: FAILED {}", report.name);
                for line in report.output.lines() {
                    println!("    {line}");
                }
            }
        }
    }
    let failed = count(Outcome::Fail);
    let wrong_case =
        if *place == Place::Native && failed > 0 { " (errors of the cases themselves)" } else { "" };
    println!(
        "{place}: {} cases: {} passed, {failed} failed{wrong_case}, {} skipped",
        reports.len(),
        count(Outcome::Pass),
        count(Outcome::Skip)
    );
    failed == 0
}
