//! Random calls, the same natively and in the sandbox: `cases transcript` prints what each answered, and the two have to be
//! the same line by line. `TRANSCRIPT_SEEDS=FIRST..END` runs more of them.

#![forbid(unsafe_code)]

use std::ops::Range;
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result, bail};
use conformance::build;
use conformance::place::{self, Place};

const STEPS: u64 = 2000;

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
