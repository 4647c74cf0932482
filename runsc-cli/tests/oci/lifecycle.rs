//! From creation to deletion.

use serde_json::json;

use crate::{Place, cannot, is_foreign};

#[test]
fn created_running_stopped_deleted() {
    if cannot() {
        return;
    }
    let place = Place::make();
    let bundle = place.bundle(&["sh", "-c", "trap 'exit 3' TERM; while :; do sleep 0.1; done"]);
    let pid_file = place.path().join("pid");
    place.detached(&["create", "--bundle", bundle.path(), "--pid-file", pid_file.to_str().unwrap(), "web"]);
    let state = place.state("web");
    assert_eq!(state["status"], "created");
    assert_eq!(state["id"], "web");
    let pid: i64 = std::fs::read_to_string(&pid_file).unwrap().parse().unwrap();
    assert_eq!(state["pid"], pid);
    assert_eq!(state["bundle"], bundle.path());
    place.ok(&["start", "web"]);
    assert_eq!(place.state("web")["status"], "running");
    assert_eq!(place.ids(), ["web"]);
    let (_, text) = place.fails(&["delete", "web"]);
    assert!(text.contains("not stopped"), "{text}");
    place.ok(&["pause", "web"]);
    assert_eq!(place.state("web")["status"], "paused");
    place.ok(&["resume", "web"]);
    assert_eq!(place.state("web")["status"], "running");
    std::thread::sleep(std::time::Duration::from_millis(300));
    place.ok(&["kill", "web", "TERM"]);
    place.becomes("web", "stopped");
    let (_, text) = place.fails(&["kill", "web", "KILL"]);
    assert!(text.contains("container not running"), "{text}");
    place.ok(&["delete", "web"]);
    let (_, text) = place.fails(&["state", "web"]);
    assert!(text.contains("container does not exist"), "{text}");
    assert!(place.ids().is_empty());
}

#[test]
fn run_gives_the_status_and_leaves_nothing() {
    if cannot() {
        return;
    }
    let place = Place::make();
    for (script, status) in [("exit 0", 0), ("exit 7", 7), ("kill -9 $$; sleep 9", 0)] {
        let bundle = place.bundle(&["sh", "-c", script]);
        let output = place.run(&["run", "--bundle", bundle.path(), "one"]);
        // Process 1 of a namespace can't kill itself.
        if !script.contains("kill") {
            assert_eq!(output.status.code(), Some(status), "{}", crate::describe(&output));
        }
        assert!(place.ids().is_empty());
    }
    let bundle = place.bundle(&["echo", "out"]);
    assert_eq!(place.ok(&["run", "--bundle", bundle.path(), "two"]), "out\n");
}

#[test]
fn killed_containers_say_so() {
    if cannot() {
        return;
    }
    let place = Place::make();
    let bundle = place.bundle(&["sleep", "1000"]);
    place.create(&bundle, "created");
    place.ok(&["kill", "created", "KILL"]);
    place.becomes("created", "stopped");
    let (_, text) = place.fails(&["start", "created"]);
    assert!(text.contains("cannot start a container that has stopped"), "{text}");
    place.start(&bundle, "running");
    place.ok(&["kill", "running", "9"]);
    place.becomes("running", "stopped");
    place.ok(&["delete", "created"]);
    place.ok(&["delete", "running"]);
}

#[test]
fn a_second_container_joins_the_sandbox() {
    if cannot() || is_foreign() {
        return;
    }
    let place = Place::make();
    let mut first = place.bundle(&["sleep", "1000"]);
    first.config["annotations"] = json!({
        "io.kubernetes.cri.container-type": "sandbox", "io.kubernetes.cri.sandbox-id": "pod",
    });
    first.write();
    place.start(&first, "pod");
    let mut second = place.bundle(&["sh", "-c", "echo $$; hostname; exit 5"]);
    second.config["hostname"] = json!("other");
    second.config["annotations"] = json!({
        "io.kubernetes.cri.container-type": "container", "io.kubernetes.cri.sandbox-id": "pod",
    });
    second.write();
    let output = place.run(&["run", "--bundle", second.path(), "web"]);
    assert_eq!(output.status.code(), Some(5), "{}", crate::describe(&output));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "1\nother\n");
    assert_eq!(place.state("pod")["status"], "running");
    let third = place.bundle(&["sleep", "1000"]);
    let mut third = third;
    third.config["annotations"] = second.config["annotations"].clone();
    third.write();
    place.start(&third, "db");
    place.ok(&["kill", "pod", "KILL"]);
    place.becomes("pod", "stopped");
    // The sandbox lives as long as its first container.
    place.becomes("db", "stopped");
    place.ok(&["delete", "db"]);
    place.ok(&["delete", "pod"]);
}

/// Containers of a sandbox share namespaces as their bundles say: those of the first, their own, or another's.
#[test]
fn containers_of_a_sandbox_share_namespaces_as_asked() {
    if cannot() || is_foreign() {
        return;
    }
    let place = Place::make();
    let annotations = |kind: &str| json!({ "io.kubernetes.cri.container-type": kind, "io.kubernetes.cri.sandbox-id": "pod" });
    let start = |id: &str, namespaces: serde_json::Value, sysctl: serde_json::Value| {
        let mut bundle = place.bundle(&["sleep", "1000"]);
        bundle.config["annotations"] = annotations(if id == "pod" { "sandbox" } else { "container" });
        bundle.config["linux"]["namespaces"] = namespaces;
        bundle.config["linux"]["sysctl"] = sysctl;
        bundle.write();
        place.start(&bundle, id);
    };
    let say = |id: &str, what: &[&str]| place.ok(&[&["exec", id], what].concat()).trim().to_owned();
    let link = |id: &str, kind: &str| say(id, &["readlink", &format!("/proc/self/ns/{kind}")]);
    let new = json!([{"type": "mount"}, {"type": "pid"}, {"type": "ipc"}, {"type": "network"}]);
    start("pod", new.clone(), json!({}));
    start("shares", json!([{"type": "mount"}, {"type": "pid"}]), json!({}));
    start("own", new, json!({"kernel.msgmax": "5000"}));
    let path = |kind: &str| format!("/proc/{}/ns/{kind}", place.state("own")["pid"]);
    let joined = json!([
        {"type": "mount"},
        {"type": "pid", "path": path("pid")},
        {"type": "ipc", "path": path("ipc")},
        {"type": "network", "path": path("net")},
    ]);
    start("joins", joined, json!({}));
    for kind in ["ipc", "net"] {
        assert_eq!(link("shares", kind), link("pod", kind));
        assert_ne!(link("own", kind), link("pod", kind));
        assert_eq!(link("joins", kind), link("own", kind));
    }
    assert_ne!(link("shares", "pid"), link("pod", "pid"));
    assert_ne!(link("own", "pid"), link("shares", "pid"));
    assert_eq!(link("joins", "pid"), link("own", "pid"));
    // A limit is set in the namespace of the container that asks for it.
    let limit = |id: &str| say(id, &["cat", "/proc/sys/kernel/msgmax"]);
    assert_eq!(["pod", "shares", "own", "joins"].map(limit), ["8192", "8192", "5000", "5000"]);
    for id in ["joins", "own", "shares", "pod"] {
        place.ok(&["delete", "--force", id]);
    }
}

#[test]
fn lists_and_statistics() {
    if cannot() {
        return;
    }
    let place = Place::make();
    let bundle = place.bundle(&["sleep", "1000"]);
    assert_eq!(place.ok(&["list", "--format", "json"]).trim(), "null");
    place.start(&bundle, "a");
    place.start(&bundle, "b");
    let list: serde_json::Value = serde_json::from_str(&place.ok(&["list", "--format", "json"])).unwrap();
    assert_eq!(list.as_array().unwrap().len(), 2);
    assert_eq!(list[0]["status"], "running");
    assert!(place.ok(&["list"]).starts_with("ID "));
    let pids: Vec<i32> = serde_json::from_str(&place.ok(&["ps", "--format", "json", "a"])).unwrap();
    assert_eq!(pids.len(), 1);
    assert!(place.ok(&["ps", "a"]).contains("sleep 1000"));
    let event: serde_json::Value = serde_json::from_str(&place.ok(&["events", "--stats", "a"])).unwrap();
    assert_eq!((&event["type"], &event["id"]), (&json!("stats"), &json!("a")));
    assert!(event["data"]["pids"]["current"].as_u64().unwrap() >= 1);
}

#[test]
fn ps_gives_pids_of_the_host_with_their_command_lines() {
    if cannot() {
        return;
    }
    let place = Place::make();
    let bundle = place.bundle(&["sh", "-c", "sleep 70123 & sleep 80123; true"]);
    place.start(&bundle, "many");
    // What a host's ps(1) shows of the processes that are told.
    let shown = || {
        let pids: Vec<i32> = serde_json::from_str(&place.ok(&["ps", "--format", "json", "many"])).unwrap();
        let line = |pid: &i32| std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let lines = pids.iter().map(|pid| String::from_utf8_lossy(&line(pid)).replace('\0', " "));
        let mut lines: Vec<String> = lines.map(|line| line.trim_end().to_owned()).collect();
        lines.sort();
        lines
    };
    let wanted = ["sh -c sleep 70123 & sleep 80123; true", "sleep 70123", "sleep 80123"];
    let deadline = std::time::Instant::now() + crate::PATIENCE;
    while shown() != wanted {
        assert!(std::time::Instant::now() < deadline, "{:?}", shown());
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let table = place.ok(&["ps", "many"]);
    assert!(table.contains("sleep 70123"), "{table}");
    // Options are those of the host's ps(1), and so are the columns.
    let table = place.ok(&["ps", "many", "-eo", "pid,args"]);
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines[0].split_whitespace().collect::<Vec<_>>(), ["PID", "COMMAND"]);
    assert!(lines.len() == 4 && wanted.iter().all(|line| table.contains(line)), "{table}");
    assert_eq!(place.ok(&["ps", "many", "-ef"]).lines().count(), 4);
    let (status, text) = place.fails(&["ps", "many", "-eo", "comm"]);
    assert!(status == 1 && text.contains("PID"), "{text}");
    let (status, _) = place.fails(&["ps", "many", "--no-such-option"]);
    assert_eq!(status, 1);
    place.ok(&["delete", "--force", "many"]);
}

#[test]
fn ps_names_those_that_wait_to_be_reaped() {
    // runc lists none of them.
    if cannot() || is_foreign() {
        return;
    }
    let place = Place::make();
    let bundle = place.bundle(&["sh", "-c", "sh -c 'exit 1' & exec sleep 1000"]);
    place.start(&bundle, "z");
    let deadline = std::time::Instant::now() + crate::PATIENCE;
    while !place.ok(&["ps", "z"]).contains("[sh] <defunct>") {
        assert!(std::time::Instant::now() < deadline, "{}", place.ok(&["ps", "z"]));
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}
