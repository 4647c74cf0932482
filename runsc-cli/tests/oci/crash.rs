//! Any process killed at any time: `state` tells the truth, and `delete --force` removes everything.

use std::collections::BTreeSet;
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::{PATIENCE, Place, cannot, is_foreign};

/// Rounds without `CRASH_ROUNDS`; a few hundred were made by hand.
const ROUNDS: u64 = 12;

/// Host processes whose command line or parent leads to this test's containers.
fn processes(place: &Place) -> BTreeSet<i32> {
    let mark = place.path().to_string_lossy().into_owned();
    let all = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let ours = pids.filter(|pid| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(&mark)
    });
    ours.collect()
}

/// The processes that a container's state names: monitor, Sentry, Gofer.
fn named(place: &Place, id: &str) -> Vec<i32> {
    let path = place.path().join("state").join(id).join("state.json");
    let Ok(text) = std::fs::read_to_string(path) else { return Vec::new() };
    let Ok(state) = serde_json::from_str::<serde_json::Value>(&text) else { return Vec::new() };
    let pid = |value: &serde_json::Value| value["pid"].as_i64().map(|pid| pid as i32);
    let helpers = state["helpers"].as_array().into_iter().flatten().filter_map(pid);
    pid(&state["monitor"]).into_iter().chain(helpers).collect()
}

fn kill(pid: i32) {
    if let Some(pid) = Pid::from_raw(pid) {
        // An error: it has gone by itself.
        let _ = kill_process(pid, Signal::KILL);
    }
}

fn lives(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with(['Z', 'X']))
}

#[test]
fn killed_at_random_moments() {
    if cannot() || is_foreign() {
        return;
    }
    let place = Place::make();
    let bundle = place.bundle(&["sleep", "1000"]);
    let rounds = std::env::var("CRASH_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(ROUNDS);
    let mut seed = 0x9e37_79b9_7f4a_7c15u64 ^ u64::from(std::process::id());
    let mut random = move |below: u64| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed % below
    };
    for round in 0..rounds {
        let id = format!("c{round}");
        let mut seen = BTreeSet::new();
        if random(2) == 0 {
            // The command itself, while it creates.
            let mut command = place.command(&["create", "--bundle", bundle.path(), &id]);
            let mut child =
                command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            std::thread::sleep(Duration::from_micros(random(30_000)));
            seen.extend(processes(&place));
            child.kill().unwrap();
            child.wait().unwrap();
        } else {
            place.start(&bundle, &id);
            let all = named(&place, &id);
            assert_eq!(all.len(), 3, "round {round}");
            kill(all[random(3) as usize]);
            // The others follow.
            let deadline = Instant::now() + PATIENCE;
            while all.iter().any(|pid| lives(*pid)) {
                assert!(Instant::now() < deadline, "round {round}: {all:?} outlive one of them");
                std::thread::sleep(Duration::from_millis(5));
            }
            assert_eq!(place.state(&id)["status"], "stopped", "round {round}");
        }
        seen.extend(named(&place, &id));
        let output = place.run(&["state", &id]);
        if output.status.success() {
            let state: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
            let status = state["status"].as_str().unwrap().to_owned();
            assert!(["creating", "created", "stopped"].contains(&status.as_str()), "round {round}: {status}");
        }
        place.ok(&["delete", "--force", &id]);
        assert!(!place.path().join("state").join(&id).exists(), "round {round}");
        let deadline = Instant::now() + PATIENCE;
        while seen.iter().any(|pid| lives(*pid)) || !processes(&place).is_empty() {
            assert!(Instant::now() < deadline, "round {round}: {:?} are left", processes(&place));
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}
