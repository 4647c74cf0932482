//! A command is killed while a hook runs.

use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::{Bundle, PATIENCE, Place, cannot, is_foreign};

/// A bundle with one hook that does not end by itself, and where that writes the pid of what it has started.
fn hanging(place: &Place, kind: &str) -> (Bundle, std::path::PathBuf) {
    let told = place.path().join("told");
    // Not the shell's last command, which would be executed in its place.
    let script = format!("sleep 1000 & echo $! >{0}.new; mv {0}.new {0}; wait; echo ended", told.display());
    let mut bundle = place.bundle(&["sleep", "1000"]);
    bundle.config["hooks"] = json!({kind: [{"path": "/bin/sh", "args": ["sh", "-c", script]}]});
    bundle.write();
    (bundle, told)
}

fn spawn(place: &Place, args: &[&str]) -> Child {
    let mut command = place.command(args);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// Waits until the hook has told, kills the command, and gives the pid that the hook told.
fn kill_at_hook(mut command: Child, told: &Path) -> i32 {
    let deadline = Instant::now() + PATIENCE;
    let pid = loop {
        if let Ok(text) = std::fs::read_to_string(told) {
            break text.trim().parse().unwrap();
        }
        assert!(Instant::now() < deadline, "the hook does not run");
        std::thread::sleep(Duration::from_millis(2));
    };
    command.kill().unwrap();
    command.wait().unwrap();
    std::fs::remove_file(told).unwrap();
    pid
}

fn lives(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with(['Z', 'X']))
}

#[test]
fn hooks_end_with_what_they_were_for() {
    if cannot() || is_foreign() {
        return;
    }
    let place = Place::make();
    for kind in ["createRuntime", "poststart"] {
        let (bundle, told) = hanging(&place, kind);
        let sleep = kill_at_hook(spawn(&place, &["run", "--bundle", bundle.path(), "hooked"]), &told);
        assert!(lives(sleep));
        let expected = if kind == "poststart" { "running" } else { "stopped" };
        assert_eq!(place.state("hooked")["status"], expected, "{kind}");
        place.ok(&["delete", "--force", "hooked"]);
        let deadline = Instant::now() + Duration::from_secs(5);
        while lives(sleep) {
            assert!(Instant::now() < deadline, "what the {kind} hook started is left");
            std::thread::sleep(Duration::from_millis(2));
        }
        assert!(place.ids().is_empty());
    }
}

/// The container is there until its last hooks have run, so that they run again if the command that ran them was killed.
#[test]
fn poststop_hooks_run_again() {
    if cannot() || is_foreign() {
        return;
    }
    let place = Place::make();
    let (mut bundle, told) = hanging(&place, "poststop");
    place.create(&bundle, "hooked");
    let sleep = kill_at_hook(spawn(&place, &["delete", "--force", "hooked"]), &told);
    assert_eq!(place.state("hooked")["status"], "stopped");
    let again = kill_at_hook(spawn(&place, &["delete", "--force", "hooked"]), &told);
    assert!(!lives(sleep) && lives(again), "the first was not ended by the second");
    // One that ends by itself, in the copy that the container has of its configuration.
    bundle.config["hooks"]["poststop"][0]["args"] = json!(["sh", "-c", "true"]);
    bundle.write();
    std::fs::copy(bundle.dir.join("config.json"), place.path().join("state/hooked/config.json")).unwrap();
    place.ok(&["delete", "hooked"]);
    assert!(!lives(again));
    assert!(place.ids().is_empty() && !place.path().join("state/hooked").exists());
}
