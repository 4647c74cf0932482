//! The pid that engines are given: a host process whose life and exit status are the container's, or an added process's, also
//! for a subreaper that gets it as a child when the command has ended or was killed.

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::{PATIENCE, Place, cannot, is_foreign};

/// Set in the process that is a subreaper: all that becomes a child of the tests' own would stay unreaped there.
const INSIDE: &str = "OCI_SUBREAPER";

/// Runs the case of this name in a process of its own that is a subreaper. True in that.
fn is_subreaper(case: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        nix::sys::prctl::set_child_subreaper(true).unwrap();
        return true;
    }
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    let status = command.args(["--exact", case, "--nocapture"]).env(INSIDE, "1").status().unwrap();
    assert!(status.success(), "as a subreaper: {status}");
    false
}

fn spawn(place: &Place, args: &[&str]) -> Child {
    let mut command = place.command(args);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// The pid in a file, once it is there.
fn pid_in(file: &str) -> Pid {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Ok(text) = std::fs::read_to_string(file) {
            std::fs::remove_file(file).unwrap();
            return Pid::from_raw(text.parse().unwrap());
        }
        assert!(Instant::now() < deadline, "no pid in {file}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A status as a shell has it, of a child that has ended; nothing while it lives.
fn ended(pid: Pid) -> Option<i32> {
    match waitpid(pid, Some(WaitPidFlag::WNOHANG)).unwrap() {
        WaitStatus::StillAlive => None,
        WaitStatus::Exited(_, status) => Some(status),
        // As other runtimes do it.
        WaitStatus::Signaled(_, signal, _) => Some(128 + signal as i32),
        other => panic!("{other:?}"),
    }
}

fn status_of(pid: Pid) -> i32 {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(status) = ended(pid) {
            return status;
        }
        assert!(Instant::now() < deadline, "{pid} does not end");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Ends with the status in a file, once that is there.
fn waiting(file: &str) -> String {
    format!("while ! [ -s /tmp/{file} ]; do sleep 0.02; done; exit $(cat /tmp/{file})")
}

#[test]
fn the_container_is_its_pid() {
    if cannot() || !is_subreaper("subreaper::the_container_is_its_pid") {
        return;
    }
    let place = Place::make();
    let file = place.path().join("pid").to_str().unwrap().to_owned();
    let script = waiting("status");
    let mut bundle = place.bundle(&["sh", "-c", &script]);
    bundle.own_what_is_made();
    for (number, wanted) in [0, 7, 255].into_iter().enumerate() {
        let told = bundle.dir.join("rootfs/tmp/status");
        let id = format!("exits-{number}");
        place.detached(&["create", "--bundle", bundle.path(), "--pid-file", &file, &id]);
        let pid = pid_in(&file);
        assert_eq!(place.state(&id)["pid"], pid.as_raw());
        assert_eq!(ended(pid), None);
        place.ok(&["start", &id]);
        std::thread::sleep(Duration::from_millis(50));
        assert_eq!(ended(pid), None, "while the process runs");
        std::fs::write(&told, wanted.to_string()).unwrap();
        assert_eq!(status_of(pid), wanted);
        place.becomes(&id, "stopped");
        place.ok(&["delete", &id]);
        std::fs::remove_file(told).unwrap();
    }
    let sleeping = place.bundle(&["sleep", "1000"]);
    for (number, (signal, wanted)) in [("KILL", 137), ("TERM", 143)].into_iter().enumerate() {
        // Process 1 of a namespace dies of no signal but SIGKILL, unless it has not been started: then it is runc's own.
        if signal == "TERM" && is_foreign() {
            continue;
        }
        let id = format!("killed-{number}");
        place.detached(&["create", "--bundle", sleeping.path(), "--pid-file", &file, &id]);
        let pid = pid_in(&file);
        if signal == "KILL" {
            place.ok(&["start", &id]);
        }
        place.ok(&["kill", &id, signal]);
        assert_eq!(status_of(pid), wanted, "{signal}");
        place.ok(&["delete", &id]);
    }
    // What deletes it, kills it.
    place.detached(&["run", "--detach", "--bundle", sleeping.path(), "--pid-file", &file, "deleted"]);
    let pid = pid_in(&file);
    place.ok(&["delete", "--force", "deleted"]);
    assert_eq!(status_of(pid), 137);
}

#[test]
fn the_container_is_its_pid_when_the_command_is_killed() {
    if cannot() || !is_subreaper("subreaper::the_container_is_its_pid_when_the_command_is_killed") {
        return;
    }
    let place = Place::make();
    let file = place.path().join("pid").to_str().unwrap().to_owned();
    let script = waiting("status");
    let mut bundle = place.bundle(&["sh", "-c", &script]);
    bundle.own_what_is_made();
    let mut run = spawn(&place, &["run", "--bundle", bundle.path(), "--pid-file", &file, "web"]);
    let pid = pid_in(&file);
    place.becomes("web", "running");
    run.kill().unwrap();
    run.wait().unwrap();
    let mut exec = spawn(&place, &["exec", "--pid-file", &file, "web", "sh", "-c", &waiting("other")]);
    let added = pid_in(&file);
    // The command writes the file a moment before it has done all that it does.
    std::thread::sleep(Duration::from_millis(200));
    exec.kill().unwrap();
    exec.wait().unwrap();
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!((ended(pid), ended(added)), (None, None));
    assert_eq!(place.state("web")["status"], "running");
    std::fs::write(bundle.dir.join("rootfs/tmp/other"), "9").unwrap();
    assert_eq!(status_of(added), 9);
    assert_eq!(ended(pid), None);
    std::fs::write(bundle.dir.join("rootfs/tmp/status"), "8").unwrap();
    assert_eq!(status_of(pid), 8);
    place.becomes("web", "stopped");
    place.ok(&["delete", "web"]);
}

#[test]
fn an_added_process_is_its_pid() {
    if cannot() || !is_subreaper("subreaper::an_added_process_is_its_pid") {
        return;
    }
    let place = Place::make();
    let file = place.path().join("pid").to_str().unwrap().to_owned();
    let bundle = place.bundle(&["sleep", "1000"]);
    place.start(&bundle, "web");
    let exec = |script: &str| {
        place.detached(&["exec", "--detach", "--pid-file", &file, "web", "sh", "-c", script]);
        pid_in(&file)
    };
    assert_eq!(status_of(exec("sleep 0.1; exit 6")), 6);
    for (name, signal) in [("TERM", 15), ("KILL", 9), ("SEGV", 11)] {
        assert_eq!(status_of(exec(&format!("kill -{name} $$; sleep 1000"))), 128 + signal, "{name}");
    }
    // A signal for the host's process is one for the container's.
    let pid = exec("sleep 1000");
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(ended(pid), None);
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    assert_eq!(status_of(pid), 143);
    // The end of the container is that of what was added.
    let pid = exec("sleep 1000");
    place.ok(&["kill", "web", "KILL"]);
    assert_eq!(status_of(pid), 137);
}
