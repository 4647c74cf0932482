//! Guests that make every system call with hostile arguments, or attack what the platform keeps in their processes: they
//! end as they want to, and the Sentry does not panic.

#![forbid(unsafe_code)]

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use conformance::place::{self, Place};
use conformance::{batch, build};

/// Calls of each number.
const ROUNDS: &str = "50";

/// Runs it, and looks at what the Sentry logged. What it printed.
fn survives(place: &Place, program: &Path, args: &[&str], what: &str) -> String {
    let log = std::env::temp_dir().join(format!("hostile-{what}-{}.log", std::process::id()));
    let log_flag = format!("--debug-log={}", log.display());
    let mut command = place.command_with(&[&log_flag], program);
    let mut child = command.args(args).stdout(Stdio::piped()).spawn().unwrap();
    let status = batch::wait_or_kill(&mut child, Duration::from_secs(240)).unwrap();
    let mut said = String::new();
    std::io::Read::read_to_string(&mut child.stdout.take().unwrap(), &mut said).unwrap();
    let logged = String::from_utf8_lossy(&std::fs::read(&log).unwrap_or_default()).into_owned();
    std::fs::remove_file(&log).ok();
    let panics: Vec<&str> = logged.lines().filter(|line| line.contains("panicked")).collect();
    assert!(panics.is_empty(), "{place}, {what} {args:?}: {panics:#?}");
    assert_eq!(
        (said.lines().last(), status.and_then(|s| s.code())),
        (Some("survived"), Some(0)),
        "{place}, {what} {args:?}: {said}"
    );
    said
}

#[test]
fn the_sentry_survives_hostile_arguments() {
    let runsc = build::runsc().expect("runsc is built");
    let program = build::hostile().expect("the program is built");
    for place in place::sandboxes(&runsc, None).expect("places to run") {
        // More by hand: `hostile ROUNDS SEED` under `runsc do`.
        for seed in ["1", "2"] {
            survives(&place, &program, &[ROUNDS, seed], "calls");
        }
    }
}

#[test]
fn the_sentry_survives_guests_that_attack_their_stub() {
    let runsc = build::runsc().expect("runsc is built");
    let program = build::hostile_stub().expect("the program is built");
    for place in place::sandboxes(&runsc, None).expect("places to run") {
        if place.to_string() != "systrap" {
            eprintln!("*** SKIPPED: {place} has no stub that guests can write to");
            continue;
        }
        // More by hand: `hostile-stub SEED` under `runsc do`.
        let said = survives(&place, &program, &["1"], "stub");
        // It is there to be found: else the test tests nothing.
        assert!(said.starts_with("found 1 writable, code 1\n"), "{place}: {said}");
    }
}
