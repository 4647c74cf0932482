//! A sandbox is all there or not there at all: whichever process dies, the others go with it.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use crate::{SelfTest, as_each_user, assert_goes, in_sandbox_command, kill};

#[test]
fn killing_the_command_ends_sentry_and_gofer() {
    as_each_user(|uid| {
        let test = SelfTest::start(uid);
        kill(test.command.id() as i32);
        assert_goes("sentry", test.sentry);
        assert_goes("gofer", test.gofer);
    });
}

#[test]
fn killing_the_sentry_ends_the_gofer_and_is_told() {
    as_each_user(|uid| {
        let mut test = SelfTest::start(uid);
        // Waiting would close it, and end the command by itself.
        let _stdin = test.command.stdin.take();
        kill(test.sentry);
        assert_eq!(test.command.wait().unwrap().code(), Some(125));
        assert_goes("gofer", test.gofer);
        let mut message = String::new();
        test.command.stderr.as_mut().unwrap().read_to_string(&mut message).unwrap();
        assert!(message.starts_with("runsc: self-test: sentry: killed by signal 9; "), "{message}");
        assert_eq!(message.lines().count(), 1, "{message}");
    });
}

#[test]
fn killing_the_gofer_ends_the_sentry_and_is_told() {
    as_each_user(|uid| {
        let mut test = SelfTest::start(uid);
        // Waiting would close it, and end the command by itself.
        let _stdin = test.command.stdin.take();
        kill(test.gofer);
        assert_eq!(test.command.wait().unwrap().code(), Some(125));
        assert_goes("sentry", test.sentry);
        let mut message = String::new();
        test.command.stderr.as_mut().unwrap().read_to_string(&mut message).unwrap();
        assert!(message.starts_with("runsc: self-test: gofer: killed by signal 9; "), "{message}");
    });
}

#[test]
fn the_end_of_the_command_ends_all() {
    as_each_user(|uid| {
        let mut test = SelfTest::start(uid);
        drop(test.command.stdin.take());
        assert!(test.command.wait().unwrap().success());
        assert_goes("sentry", test.sentry);
        assert_goes("gofer", test.gofer);
    });
}

/// A command that does not outlive its test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A sandbox with a shell and four more processes in it.
fn crowded(uid: u32) -> (Running, Vec<i32>) {
    let mut command = in_sandbox_command();
    command.args(["sh", "-c", "for i in 1 2 3; do sleep 1000 & done; sh -c 'echo ready; sleep 1000'; wait"]);
    if uid != rustix::process::geteuid().as_raw() {
        command.uid(uid).gid(uid);
    }
    let child = command.current_dir("/").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut child = Running(child);
    let mut line = String::new();
    BufReader::new(child.0.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    // Sentry, Gofer, the one that address spaces are forked from, and at least one a guest process. One that was just forked
    // may not run yet.
    let mut processes = descendants(child.0.id() as i32);
    let deadline = Instant::now() + Duration::from_secs(10);
    while processes.len() < 3 + 5 && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(10));
        processes = descendants(child.0.id() as i32);
    }
    assert!(processes.len() >= 3 + 5, "{processes:?}");
    (child, processes)
}

/// All processes below `top`, children before grandchildren.
fn descendants(top: i32) -> Vec<i32> {
    let mut parents = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else { continue };
        let Some(rest) = stat.rsplit(") ").next() else { continue };
        parents.push((pid, rest.split(' ').nth(1).unwrap().parse::<i32>().unwrap()));
    }
    let mut found = vec![top];
    let mut at = 0;
    while at < found.len() {
        let above = found[at];
        found.extend(parents.iter().filter(|(_, parent)| *parent == above).map(|(pid, _)| *pid));
        at += 1;
    }
    found.remove(0);
    found
}

/// The process of `processes` that runs this internal command of runsc.
fn running(processes: &[i32], command: &str) -> i32 {
    let is = |pid: &&i32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line == format!("runsc\0{command}\0").as_bytes()
    };
    *processes.iter().find(is).unwrap_or_else(|| panic!("no process is runsc {command}"))
}

#[test]
fn whichever_process_is_killed_no_guest_process_is_left() {
    as_each_user(|uid| {
        // The command itself.
        let (mut child, processes) = crowded(uid);
        kill(child.0.id() as i32);
        child.0.wait().unwrap();
        all_go(processes);

        // The Sentry takes all with it.
        let (mut child, processes) = crowded(uid);
        kill(running(&processes, "boot"));
        assert_eq!(child.0.wait().unwrap().code(), Some(125));
        all_go(processes);

        // Without the Gofer the program goes on, and is told of.
        let (mut child, processes) = crowded(uid);
        kill(running(&processes, "gofer"));
        let mut line = String::new();
        BufReader::new(child.0.stderr.as_mut().unwrap()).read_line(&mut line).unwrap();
        assert!(line.starts_with("runsc: do: gofer: killed by signal 9; "), "{line}");
        assert_eq!(child.0.try_wait().unwrap(), None);
        kill(child.0.id() as i32);
        child.0.wait().unwrap();
        all_go(processes);

        // A process further down: whatever became of it, the end of the command is the end.
        for victim in 2..=3usize {
            let (mut child, processes) = crowded(uid);
            kill(processes[victim]);
            kill(child.0.id() as i32);
            child.0.wait().unwrap();
            all_go(processes);
        }
    });
}

fn all_go(processes: Vec<i32>) {
    for pid in processes {
        assert_goes("process", pid);
    }
}

#[test]
fn the_end_of_the_first_process_ends_all() {
    as_each_user(|uid| {
        let (mut child, processes) = crowded(uid);
        rustix::process::kill_process(
            rustix::process::Pid::from_child(&child.0),
            rustix::process::Signal::TERM,
        )
        .unwrap();
        assert_eq!(child.0.wait().unwrap().code(), Some(143));
        // Collected before the command ended: nothing is left already now.
        for pid in processes {
            assert!(!crate::alive(pid), "{pid}");
        }
    });
}
