//! A guest that makes every system call with hostile arguments: it ends as it wants to, and the Sentry does not panic.

#![forbid(unsafe_code)]

use std::time::Duration;

use conformance::{build, place};

/// Calls of each number.
const ROUNDS: &str = "50";

#[test]
fn the_sentry_survives_hostile_arguments() {
    let runsc = build::runsc().expect("runsc is built");
    let program = build::hostile().expect("the program is built");
    let log = std::env::temp_dir().join(format!("hostile-{}.log", std::process::id()));
    for place in place::sandboxes(&runsc, None).expect("places to run") {
        // More by hand: `hostile ROUNDS SEED` under `runsc do`.
        for seed in ["1", "2"] {
            let log_flag = format!("--debug-log={}", log.display());
            let mut command = place.command_with(&[&log_flag], &program);
            let mut child =
                command.args([ROUNDS, seed]).stdout(std::process::Stdio::piped()).spawn().unwrap();
            let status = conformance::batch::wait_or_kill(&mut child, Duration::from_secs(240)).unwrap();
            let mut said = String::new();
            std::io::Read::read_to_string(&mut child.stdout.take().unwrap(), &mut said).unwrap();
            let logged = String::from_utf8_lossy(&std::fs::read(&log).unwrap_or_default()).into_owned();
            std::fs::remove_file(&log).ok();
            let panics: Vec<&str> = logged.lines().filter(|line| line.contains("panicked")).collect();
            assert!(panics.is_empty(), "{place}, seed {seed}: {panics:#?}");
            assert_eq!(
                (said.as_str(), status.and_then(|s| s.code())),
                ("survived\n", Some(0)),
                "{place}, seed {seed}"
            );
        }
    }
}
