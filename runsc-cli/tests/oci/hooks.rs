//! Hooks: when each runs, where, with what, and what becomes of the container when one fails.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::{Bundle, OURS, PATIENCE, Place, cannot, describe, is_foreign, oracle};

/// Kinds whose hooks run on the host, in their order.
const OUTSIDE: [&str; 5] = ["prestart", "createRuntime", "createContainer", "poststart", "poststop"];

/// What a hook writes down of itself: its name, where it is, whose environment it has, and the state.
const SCRIPT: &str = r#"{
    echo "hook $1"
    echo "dir $(pwd)"
    echo "mark $MARK$X"
    for kind in mnt net pid uts ipc user; do echo "$kind $(readlink /proc/self/ns/$kind)"; done
    echo "state $(cat)"
} >>"$2""#;

/// A hook that writes into this file; the environment's PATH is that of the container or of the host.
fn hook(name: &str, file: &Path, env: Option<&str>) -> Value {
    let mut hook = json!({"path": "/bin/sh", "args": ["sh", "-c", SCRIPT, "sh", name, file]});
    if let Some(mark) = env {
        hook["env"] = json!(["PATH=/bin:/usr/bin", format!("X={mark}")]);
    }
    hook
}

/// What was written down: hooks in their order, what each said.
fn read(file: &Path) -> Vec<BTreeMap<String, String>> {
    let text = std::fs::read_to_string(file).unwrap();
    let mut all: Vec<BTreeMap<String, String>> = Vec::new();
    for line in text.lines() {
        let (name, value) = line.split_once(' ').unwrap();
        if name == "hook" {
            all.push(BTreeMap::new());
        }
        all.last_mut().unwrap().insert(name.to_owned(), value.to_owned());
    }
    all
}

fn wait_for(file: &Path) {
    let deadline = Instant::now() + PATIENCE;
    while !file.exists() {
        assert!(Instant::now() < deadline, "no {}", file.display());
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// What the hooks of a container see, in words that are the same for every runtime; those on the host first.
fn record(runtime: &Path) -> Vec<String> {
    let place = Place::of(runtime);
    let mut bundle = place.bundle(&["sh", "-c", "echo >/tmp/ran; exec sleep 1000"]);
    bundle.own_what_is_made();
    let told = place.path().join("told");
    let inside = bundle.dir.join("rootfs/tmp/told");
    for kind in OUTSIDE {
        bundle.config["hooks"][kind] =
            json!([hook(&format!("{kind} 1"), &told, None), hook(&format!("{kind} 2"), &told, Some("own"))]);
    }
    bundle.config["hooks"]["startContainer"] = json!([
        hook("startContainer 1", Path::new("/tmp/told"), None),
        hook("startContainer 2", Path::new("/tmp/told"), Some("own")),
    ]);
    bundle.config["process"]["env"] = json!(["PATH=/bin:/usr/bin", "MARK=process"]);
    bundle.config["process"]["cwd"] = json!("/etc");
    bundle.config["annotations"] = json!({"some": "note"});
    bundle.write();
    let run = |args: &[&str]| {
        let mut command = place.command(args);
        command.env("MARK", "runtime").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        assert!(command.status().unwrap().success(), "{args:?}");
    };
    run(&["create", "--bundle", bundle.path(), "hooked"]);
    assert!(!inside.exists(), "startContainer hooks ran before the start");
    let pid = place.state("hooked")["pid"].as_i64().unwrap();
    run(&["start", "hooked"]);
    wait_for(&bundle.dir.join("rootfs/tmp/ran"));
    run(&["kill", "hooked", "KILL"]);
    place.becomes("hooked", "stopped");
    let own = std::env::current_dir().unwrap();
    run(&["delete", "hooked"]);

    let mut lines = Vec::new();
    for said in read(&told).into_iter().chain(read(&inside)) {
        let mut line = said["hook"].clone();
        let in_container = line.starts_with("startContainer");
        line += match &said["dir"] {
            dir if *dir == bundle.path() => " in the bundle",
            dir if *dir == bundle.dir.join("rootfs").to_str().unwrap() => " in the root",
            dir if Path::new(dir) == own => " where the runtime is",
            dir => dir,
        };
        line += &format!(", environment {:?}", said["mark"]);
        for kind in ["mnt", "net", "pid", "uts", "ipc", "user"].into_iter().filter(|_| !in_container) {
            let host = std::fs::read_link(format!("/proc/self/ns/{kind}")).unwrap();
            if Path::new(&said[kind]) != host {
                line += &format!(", own {kind}");
            }
        }
        let state: Value = serde_json::from_str(&said["state"]).unwrap();
        assert_eq!((&state["id"], &state["bundle"]), (&json!("hooked"), &json!(bundle.path())), "{state}");
        assert_eq!(state["annotations"], json!({"some": "note"}));
        assert!(state["ociVersion"].is_string(), "{state}");
        let who = match state["pid"].as_i64() {
            Some(found) if found == pid => "the container",
            Some(1) => "1",
            None => "none",
            Some(other) => panic!("{line}: pid {other}"),
        };
        lines.push(line + &format!(", {}, pid: {who}", state["status"].as_str().unwrap()));
    }
    lines
}

#[test]
fn what_hooks_see_is_what_they_see_with_runc() {
    if cannot() || is_foreign() {
        return;
    }
    let ours = record(Path::new(OURS));
    let kinds = OUTSIDE.into_iter().chain(["startContainer"]);
    let names: Vec<String> = kinds.flat_map(|kind| [format!("{kind} 1"), format!("{kind} 2")]).collect();
    assert_eq!(ours.len(), names.len(), "{ours:#?}");
    assert!(ours.iter().zip(&names).all(|(line, name)| line.starts_with(name.as_str())), "{ours:#?}");
    let Some(runc) = oracle() else { return };
    let theirs = record(&runc);
    // Theirs runs poststart hooks at the end of create, which the specification does not have; and poststop hooks where
    // the runtime happens to be.
    let corrected = theirs.into_iter().map(|line| match &line {
        line if line.starts_with("poststart") => line.replace(", created,", ", running,"),
        line if line.starts_with("poststop") => line.replace("where the runtime is", "in the bundle"),
        line => line.clone(),
    });
    assert_eq!(ours, corrected.collect::<Vec<_>>());
}

#[test]
fn ordinary_users_have_hooks() {
    if cannot() || is_foreign() || rustix::process::geteuid().is_root() {
        return;
    }
    let lines = record(Path::new(OURS));
    assert_eq!(lines.len(), 12, "{lines:#?}");
}

#[test]
fn what_create_container_hooks_mount_is_in_the_container() {
    if cannot() || !rustix::process::geteuid().is_root() {
        eprintln!("SKIPPED: mounting needs root");
        return;
    }
    let place = Place::make();
    let mut bundle = place.bundle(&["sh", "-c", "cat /tmp/mounted"]);
    let script = "mount -t tmpfs none tmp && echo from a hook >tmp/mounted";
    bundle.config["hooks"] = json!({"createContainer": [
        {"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/bin:/usr/bin:/sbin"]},
    ]});
    bundle.write();
    assert_eq!(place.ok(&["run", "--bundle", bundle.path(), "x"]), "from a hook\n");
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    assert!(!mounts.contains(bundle.path()), "{mounts}");
}

/// What becomes of a container one of whose hooks does this.
struct Failing<'a> {
    place: &'a Place,
    bundle: Bundle,
}

impl Failing<'_> {
    fn hook(&mut self, kind: &str, hook: Value) {
        let second = self.place.path().join("second");
        let second = json!({"path": "/bin/sh", "args": ["sh", "-c", format!("echo >{}", second.display())]});
        self.bundle.config["hooks"] = json!({kind: [hook, second]});
        self.bundle.write();
    }

    /// It is refused by `create` with this text, and nothing is left.
    fn is_not_created(&mut self, kind: &str, hook: Value, expected: &str) {
        self.hook(kind, hook);
        let began = Instant::now();
        let (status, text) = self.place.fails(&["create", "--bundle", self.bundle.path(), "bad"]);
        assert_eq!(status, 1, "{kind}: {text}");
        assert!(self.place.is_foreign() || text.contains(kind), "{text}");
        assert!(self.place.is_foreign() || text.contains(expected), "{kind}: {text:?} has no {expected:?}");
        // A hook that hangs does not have the hundred seconds that it wants.
        assert!(self.place.is_foreign() || began.elapsed() < Duration::from_secs(60));
        assert!(self.place.ids().is_empty(), "{kind}");
        assert!(!self.place.path().join("second").exists(), "{kind}");
    }
}

fn failing(script: &str) -> Value {
    json!({"path": "/bin/sh", "args": ["sh", "-c", script], "timeout": 1})
}

#[test]
fn those_that_fail_before_the_container_is_created_undo_it() {
    if cannot() {
        return;
    }
    let place = Place::make();
    let bundle = place.bundle(&["sleep", "1000"]);
    let mut case = Failing { place: &place, bundle };
    for kind in ["prestart", "createRuntime", "createContainer"] {
        case.is_not_created(kind, failing("echo why >&2; exit 3"), "stderr: why");
        case.is_not_created(kind, json!({"path": "/no/such"}), "/no/such");
        if !is_foreign() {
            // runc also waits for what the hook has started.
            case.is_not_created(kind, failing("sleep 100"), "time-out of 1 s");
        }
    }
}

#[test]
fn those_that_fail_at_the_start_stop_the_container() {
    // runc reports neither where it is started.
    if cannot() || is_foreign() {
        return;
    }
    let place = Place::make();
    let bundle = place.bundle(&["sleep", "1000"]);
    let mut case = Failing { place: &place, bundle };
    for kind in ["startContainer", "poststart"] {
        for (hook, expected) in [
            (failing("exit 3"), "3"),
            (failing("sleep 100"), "time-out"),
            (json!({"path": "/no/such"}), "/no/such"),
        ] {
            case.hook(kind, hook);
            place.create(&case.bundle, "bad");
            let (status, text) = place.fails(&["start", "bad"]);
            assert_eq!(status, 1);
            assert!(text.contains(kind) && text.contains(expected), "{text}");
            place.becomes("bad", "stopped");
            place.ok(&["delete", "bad"]);
            // Attached, there is nothing left.
            let output = place.run(&["run", "--bundle", case.bundle.path(), "bad"]);
            assert_eq!(output.status.code(), Some(1), "{}", describe(&output));
            assert!(place.ids().is_empty());
            assert!(!place.path().join("second").exists(), "{kind}");
        }
    }
}

#[test]
fn those_that_fail_at_the_end_are_warned_about() {
    if cannot() {
        return;
    }
    let place = Place::make();
    let mut case = Failing { place: &place, bundle: place.bundle(&["true"]) };
    case.hook("poststop", json!({"path": "/bin/sh", "args": ["sh", "-c", "echo why >&2; exit 3"]}));
    place.start(&case.bundle, "x");
    place.becomes("x", "stopped");
    let log = place.path().join("log");
    place.ok(&["--log", log.to_str().unwrap(), "delete", "x"]);
    assert!(place.ids().is_empty());
    let text = std::fs::read_to_string(log).unwrap();
    assert!(text.contains("stderr: why"), "{text}");
}

#[test]
fn start_hooks_run_in_the_container() {
    if cannot() || is_foreign() {
        return;
    }
    let place = Place::make();
    let mut bundle = place.bundle(&["cat", "/tmp/hooked"]);
    bundle.config["hooks"] = json!({"startContainer": [
        {"path": "/bin/sh", "args": ["sh", "-c", "cat >/dev/null; hostname >/tmp/hooked"], "env": ["PATH=/bin"]},
    ]});
    bundle.write();
    assert_eq!(place.ok(&["run", "--bundle", bundle.path(), "x"]), "inside\n");
}
