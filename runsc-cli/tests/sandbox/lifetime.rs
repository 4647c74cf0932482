//! A sandbox is all there or not there at all: whichever process dies, the others go with it.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child, Stdio};

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
    let processes = descendants(child.0.id() as i32);
    // Sentry, Gofer, the one that address spaces are forked from, and at least one a guest process.
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

#[test]
fn whichever_process_is_killed_no_guest_process_is_left() {
    as_each_user(|uid| {
        // The command itself, and each process below it, in a sandbox of its own: a guest's own process may die alone,
        // everything else takes all with it; in the end nothing is left.
        for victim in 0..=4usize {
            let (mut child, processes) = crowded(uid);
            match victim.checked_sub(1).and_then(|at| processes.get(at)) {
                None => kill(child.0.id() as i32),
                Some(&pid) => kill(pid),
            }
            if victim > 2 {
                // Whatever became of it, the end of the command is the end.
                kill(child.0.id() as i32);
            }
            let status = child.0.wait().unwrap();
            if victim == 1 || victim == 2 {
                assert_eq!(status.code(), Some(125), "victim {victim}");
            }
            for pid in processes {
                assert_goes("process", pid);
            }
        }
    });
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
