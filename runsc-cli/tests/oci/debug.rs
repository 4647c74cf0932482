//! What `debug` tells of a sandbox that runs.

use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::{PATIENCE, Place, cannot, is_foreign};

/// The column of a program's line in the first table, in milliseconds.
fn column(text: &str, program: &str, name: &str) -> f64 {
    let head = text.lines().find(|line| line.starts_with("PROGRAM")).unwrap();
    // Names of columns have one space in them at most, and more between them.
    let names: Vec<&str> = head.split("  ").map(str::trim).filter(|name| !name.is_empty()).collect();
    let number = names.iter().position(|known| *known == name).unwrap();
    let line = text.lines().find(|line| line.split_whitespace().next() == Some(program));
    let line = line.unwrap_or_else(|| panic!("no {program} in {text}"));
    line.split_whitespace().nth(number).unwrap().parse().unwrap()
}

#[test]
fn a_profile_of_a_sandbox_that_runs() {
    if cannot() || is_foreign() {
        return;
    }
    let place = Place::make();
    let bundle = place.bundle(&["sh", "-c", "while :; do sleep 0.01; done"]);
    place.start(&bundle, "web");
    let out = place.path().join("out");
    let out = out.to_str().unwrap();
    // One that computes all the time and makes no call.
    place.detached(&[
        "exec",
        "--detach",
        "web",
        "sh",
        "-c",
        "echo busy >/proc/self/comm; while :; do :; done",
    ]);
    let begun = Instant::now();
    place.ok(&["debug", "--profile", out, "--duration", "700ms", "web"]);
    assert!(begun.elapsed() >= Duration::from_millis(700));
    let text = std::fs::read_to_string(format!("{out}.txt")).unwrap();
    assert!(text.contains(" ms measured."), "{text}");
    for call in ["clock_nanosleep", "wait4", "execve"] {
        assert!(text.lines().any(|line| line.starts_with(call)), "no {call} in {text}");
    }
    // However busy the host is, it gets some of its time; and no more than all of it.
    let busy = column(&text, "busy", "guest code");
    assert!(busy > 50.0 && busy < begun.elapsed().as_millis() as f64 + 1.0, "{busy} in {text}");
    let picture = std::fs::read_to_string(format!("{out}.svg")).unwrap();
    assert!(picture.contains("<svg") && picture.contains("busy"));

    // The next begins at nothing.
    place.ok(&["debug", "--profile", out, "--duration", "100ms", "web"]);
    let again = std::fs::read_to_string(format!("{out}.txt")).unwrap();
    assert!(column(&again, "busy", "guest code") < begun.elapsed().as_millis() as f64, "{again}");
    for (time, wanted) in [("0s", "up to 600 s"), ("11m", "up to 600 s"), ("1h", "ms, s or m")] {
        let (_, said) = place.fails(&["debug", "--profile", out, "--duration", time, "web"]);
        assert!(said.contains(wanted), "{time}: {said}");
    }
}

#[test]
fn one_profile_at_a_time_as_long_as_somebody_waits_for_it() {
    if cannot() || is_foreign() {
        return;
    }
    let place = Place::make();
    let bundle = place.bundle(&["sleep", "1000"]);
    place.start(&bundle, "web");
    let out = place.path().join("out");
    let out = out.to_str().unwrap();
    let mut command = place.command(&["debug", "--profile", out, "--duration", "500s", "web"]);
    command.stdin(Stdio::null()).stderr(Stdio::null());
    let mut first = command.spawn().unwrap();
    let short = ["debug", "--profile", out, "--duration", "10ms", "web"];
    let deadline = Instant::now() + PATIENCE;
    // Until the first has begun.
    while place.run(&short).status.success() {
        assert!(Instant::now() < deadline, "there are two at the same time");
        // It is refused when it comes while a short one is being made.
        if first.try_wait().unwrap().is_some() {
            first = command.spawn().unwrap();
        }
    }
    assert!(place.fails(&short).1.contains("being made already"));
    first.kill().unwrap();
    first.wait().unwrap();
    while !place.run(&short).status.success() {
        assert!(Instant::now() < deadline, "nobody waits for the first, and it does not end");
    }
    place.ok(&["kill", "web", "KILL"]);
    place.becomes("web", "stopped");
    assert!(place.fails(&short).1.contains("container not running"));
}

#[test]
fn threads_processes_and_files() {
    if cannot() || is_foreign() {
        return;
    }
    let place = Place::make();
    let bundle = place.bundle(&["sleep", "1000"]);
    place.start(&bundle, "web");
    assert!(place.ok(&["debug", "--stacks", "web"]).matches("host process ").count() == 3);
    assert!(place.ok(&["debug", "--ps", "web"]).contains("sleep 1000"));
    assert!(place.ok(&["debug", "--files", "web"]).contains("files of 1:"));
    let all = place.ok(&["debug", "web"]);
    assert!(
        all.contains("host process ") && all.contains("sleep 1000") && all.contains("files of 1:"),
        "{all}"
    );
}
