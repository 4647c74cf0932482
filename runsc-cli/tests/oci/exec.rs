//! Further processes in a container.

use serde_json::json;

use crate::{Place, cannot, is_foreign};

#[test]
fn streams_status_and_identity() {
    if cannot() {
        return;
    }
    let place = Place::make();
    let bundle = place.bundle(&["sleep", "1000"]);
    place.start(&bundle, "web");
    assert_eq!(place.ok(&["exec", "web", "echo", "hi"]), "hi\n");
    assert_eq!(place.run(&["exec", "web", "sh", "-c", "exit 9"]).status.code(), Some(9));
    assert_eq!(place.run(&["exec", "web", "sh", "-c", "kill -15 $$"]).status.code(), Some(143));
    let text = place.ok(&[
        "exec",
        "--user",
        "1000:1000",
        "--cwd",
        "/tmp",
        "--env",
        "A=b",
        "web",
        "sh",
        "-c",
        "id -u; pwd; echo $A; hostname",
    ]);
    assert_eq!(text, "1000\n/tmp\nb\ninside\n");
    // The container's own process is there, and this one has a number of its own.
    let text = place.ok(&["exec", "web", "sh", "-c", "cat /proc/1/comm; test $$ -gt 1 && echo other"]);
    assert_eq!(text, "sleep\nother\n");
    assert_eq!(place.state("web")["status"], "running");
}

#[test]
fn what_can_not_be_executed() {
    if cannot() {
        return;
    }
    let place = Place::make();
    let bundle = place.bundle(&["sleep", "1000"]);
    place.start(&bundle, "web");
    let (status, text) = place.fails(&["exec", "web", "nosuch"]);
    assert_eq!(status, 255);
    assert!(text.contains("executable file not found in $PATH"), "{text}");
    let (_, text) = place.fails(&["exec", "web", "/no/such"]);
    assert!(text.contains("no such file or directory"), "{text}");
    let (_, text) = place.fails(&["exec", "web", "/etc/passwd"]);
    assert!(text.contains("permission denied"), "{text}");
    place.ok(&["pause", "web"]);
    let (_, text) = place.fails(&["exec", "web", "true"]);
    assert!(text.contains("paused"), "{text}");
    place.ok(&["resume", "web"]);
    place.ok(&["kill", "web", "KILL"]);
    place.becomes("web", "stopped");
    let (_, text) = place.fails(&["exec", "web", "true"]);
    assert!(text.contains("stopped container"), "{text}");
}

#[test]
fn detached_with_a_file() {
    if cannot() {
        return;
    }
    let place = Place::make();
    let mut bundle = place.bundle(&["sleep", "1000"]);
    bundle.own_what_is_made();
    place.start(&bundle, "web");
    let process = json!({
        "args": ["sh", "-c", "echo $B >/tmp/said; sleep 1000"], "cwd": "/", "env": ["PATH=/bin", "B=c"],
        "user": {"uid": 0, "gid": 0},
    });
    let file = place.path().join("process.json");
    std::fs::write(&file, process.to_string()).unwrap();
    let pid_file = place.path().join("exec-pid");
    place.detached(&[
        "exec",
        "--detach",
        "--process",
        file.to_str().unwrap(),
        "--pid-file",
        pid_file.to_str().unwrap(),
        "web",
    ]);
    let pid: i32 = std::fs::read_to_string(&pid_file).unwrap().parse().unwrap();
    assert!(std::path::Path::new(&format!("/proc/{pid}")).exists());
    let count = || place.ok(&["ps", "--format", "json", "web"]).matches(',').count();
    let deadline = std::time::Instant::now() + crate::PATIENCE;
    let said = || std::fs::read(bundle.dir.join("rootfs/tmp/said")).is_ok_and(|text| !text.is_empty());
    while !(count() >= 1 && said()) && std::time::Instant::now() < deadline {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert_eq!(std::fs::read_to_string(bundle.dir.join("rootfs/tmp/said")).unwrap(), "c\n");
    // The process's life hangs on that of the host process that was named.
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    while place.ok(&["ps", "web"]).contains("/tmp/said") && std::time::Instant::now() < deadline {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert!(!place.ok(&["ps", "web"]).contains("/tmp/said"));
}

#[test]
fn beside_a_process_that_has_not_started() {
    if cannot() {
        return;
    }
    let place = Place::make();
    let bundle = place.bundle(&["sleep", "1000"]);
    place.create(&bundle, "web");
    let text = place.ok(&["exec", "web", "sh", "-c", "test $$ -gt 1 && echo other; (sleep 0.1 &)"]);
    assert_eq!(text, "other\n");
    assert_eq!(place.run(&["exec", "web", "sh", "-c", "exit 4"]).status.code(), Some(4));
    assert_eq!(place.state("web")["status"], "created");
    place.ok(&["start", "web"]);
    assert_eq!(place.state("web")["status"], "running");
    assert_eq!(place.ok(&["exec", "web", "cat", "/proc/1/comm"]), "sleep\n");
}

#[test]
fn in_a_paused_container() {
    if cannot() {
        return;
    }
    let place = Place::make();
    let bundle = place.bundle(&["sleep", "1000"]);
    place.start(&bundle, "web");
    place.ok(&["pause", "web"]);
    let (status, text) = place.fails(&["exec", "web", "true"]);
    assert_eq!(status, 255);
    assert!(text.contains("cannot exec in a paused container (use --ignore-paused to override)"), "{text}");
    // It waits for the end of the pause.
    let mut waiting = place.command(&["exec", "--ignore-paused", "web", "sh", "-c", "echo on; exit 6"]);
    let waiting =
        waiting.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::piped()).spawn().unwrap();
    let ready = std::time::Instant::now();
    while ready.elapsed() < std::time::Duration::from_millis(500) {
        assert_eq!(place.state("web")["status"], "paused");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    place.ok(&["resume", "web"]);
    let output = waiting.wait_with_output().unwrap();
    assert_eq!((output.status.code(), &output.stdout[..]), (Some(6), &b"on\n"[..]));
}

/// What runc says of wrong values has to be said here, too.
#[test]
fn cgroups_of_further_processes() {
    if cannot() || is_foreign() {
        return;
    }
    let place = Place::make();
    let mut bundle = place.bundle(&["sleep", "1000"]);
    // A sub cgroup is one of those that the container has made itself.
    bundle.config["mounts"].as_array_mut().unwrap().push(json!({
        "destination": "/groups", "type": "cgroup", "source": "pids", "options": ["rw"],
    }));
    std::fs::create_dir(bundle.dir.join("rootfs/groups")).unwrap();
    bundle.write();
    place.start(&bundle, "x");
    let mounted = place.ok(&["exec", "x", "cat", "/proc/self/cgroup"]);
    let (dir, prefix) = match mounted.lines().any(|line| line.contains(":pids:")) {
        true => ("/groups/pids", "pids:"),
        false => ("/groups", ""),
    };
    place.ok(&["exec", "x", "sh", "-c", &format!("busybox mkdir -p {dir}/a/b")]);
    for path in ["a", "/a/b", "./a//b/"] {
        let wanted = format!("{prefix}{path}");
        let own = place.ok(&["exec", "--cgroup", &wanted, "x", "cat", "/proc/self/cgroup"]);
        let expected = if path == "a" { "/a" } else { "/a/b" };
        assert!(own.lines().any(|line| line.ends_with(&format!(":{expected}"))), "{wanted}: {own}");
    }
    // A group has its limit from the first moment on.
    place.ok(&["exec", "x", "sh", "-c", &format!("test ! -e {dir}/a/pids.max || echo 1 >{dir}/a/pids.max")]);
    if !prefix.is_empty() {
        let (_, text) =
            place.fails(&["exec", "--cgroup", "pids:a", "x", "sh", "-c", "cat /proc/self/stat; true"]);
        assert!(text.contains("fork"), "{text}");
    }
    for (wanted, expected) in [
        (&["--cgroup", "nothing:a"][..], "unknown controller nothing"),
        (&["--cgroup", &format!("{prefix}no")], "no"),
        (&["--cgroup", &format!("{prefix}a/../..")], "is not a sub cgroup path"),
        (&["--cgroup", "a:b:c"], "invalid --cgroup argument: a:b:c"),
        (&["--cgroup", "pids:a", "--cgroup", "b"], "missing <controller>: prefix"),
        (&["--cgroup", "pids:a", "--cgroup", "pids:b"], "controller pids specified multiple times"),
    ] {
        let (status, text) = place.fails(&[&["exec"], wanted, &["x", "true"]].concat());
        assert_eq!(status, 255, "{text}");
        assert!(text.contains(expected), "{wanted:?}: {text}");
    }
    assert_eq!(place.ok(&["exec", "--cgroup", "/", "x", "echo", "there"]), "there\n");
}
