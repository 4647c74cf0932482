//! Exit status and signals, the host being the oracle where the program runs at all.

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::{in_sandbox_command, runsc};

/// The command natively, and in the sandbox.
fn both(args: &[&str]) -> [Command; 2] {
    let mut native = Command::new(args[0]);
    native.args(&args[1..]);
    let mut sandbox = in_sandbox_command();
    sandbox.args(args);
    [native, sandbox]
}

#[test]
fn status_of_the_program() {
    for status in [0, 1, 42, 255] {
        for mut command in both(&["sh", "-c", &format!("exit {status}")]) {
            assert_eq!(command.status().unwrap().code(), Some(status), "{command:?}");
        }
    }
}

#[test]
fn status_of_a_program_that_was_killed() {
    for (signal, status) in [("TERM", 143), ("KILL", 137), ("SEGV", 139), ("RTMIN", 162)] {
        let mut command = in_sandbox_command();
        let got = command.args(["sh", "-c", &format!("kill -{signal} $$")]).status().unwrap();
        assert_eq!(got.code(), Some(status), "{signal}");
    }
}

#[test]
fn programs_that_do_not_start() {
    let dir = tempfile::tempdir().unwrap();
    let text = dir.path().join("text");
    std::fs::write(&text, "no program\n").unwrap();
    let error = |program: &str| {
        let output = in_sandbox_command().arg(program).output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    for program in ["no-such-program", "/no/such/program"] {
        let (status, line) = error(program);
        assert_eq!(status, 127, "{line}");
        assert!(line.starts_with(&format!("runsc: do: {program}: ")), "{line}");
        assert_eq!(line.lines().count(), 1, "{line}");
    }
    for program in [text.to_str().unwrap(), "/etc", "/etc/passwd"] {
        let (status, line) = error(program);
        assert_eq!(status, 126, "{line}");
        assert!(line.starts_with(&format!("runsc: do: {program}: ")), "{line}");
        assert_eq!(line.lines().count(), 1, "{line}");
    }
}

#[test]
fn signals_reach_the_program() {
    for signal in
        [Signal::TERM, Signal::HUP, Signal::INT, Signal::QUIT, Signal::USR1, Signal::USR2, Signal::ALARM]
    {
        let number = signal.as_raw();
        let script = format!("trap 'echo got; exit 7' {number}; echo ready; while :; do sleep 0.02; done");
        for command in both(&["sh", "-c", &script]) {
            // Whoever runs the tests in the background ignores some signals.
            let mut outer = Command::new("env");
            outer.arg("--default-signal").arg(command.get_program()).args(command.get_args());
            let mut child = outer.stdout(Stdio::piped()).spawn().unwrap();
            let mut out = BufReader::new(child.stdout.take().unwrap());
            let mut line = String::new();
            out.read_line(&mut line).unwrap();
            assert_eq!(line, "ready\n");
            kill_process(Pid::from_child(&child), signal).unwrap();
            out.read_to_string(&mut line).unwrap();
            assert_eq!(
                (line.as_str(), child.wait().unwrap().code()),
                ("ready\ngot\n", Some(7)),
                "{command:?}"
            );
        }
    }
}

#[test]
fn the_other_end_of_a_pipe_sees_the_program_close_it() {
    for mut command in both(&["sh", "-c", "echo out; exec >&-; read line; echo $line >&2"]) {
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut out = String::new();
        child.stdout.take().unwrap().read_to_string(&mut out).unwrap();
        assert_eq!(out, "out\n");
        // It waits for this.
        std::io::Write::write_all(child.stdin.as_mut().unwrap(), b"in\n").unwrap();
        assert_eq!(String::from_utf8(child.wait_with_output().unwrap().stderr).unwrap(), "in\n");
    }
}

#[test]
fn signals_are_ignored_as_they_were() {
    for ignored in ["", "HUP", "PIPE", "INT QUIT PIPE", "USR1 RTMIN+3"] {
        let told = both(&["grep", "SigIgn", "/proc/self/status"]).map(|command| {
            let mut outer = Command::new("sh");
            // A trap makes the shell ignore it, and what it executes.
            let script = format!("for s in {ignored}; do trap '' $s; done; exec \"$@\"");
            outer.args(["-c", &script, "sh"]).arg(command.get_program()).args(command.get_args());
            String::from_utf8(outer.output().unwrap().stdout).unwrap()
        });
        assert_eq!(told[0], told[1], "{ignored}");
        assert!(told[0].starts_with("SigIgn:"), "{told:?}");
    }
}

#[test]
fn a_directory_as_standard_input_is_refused() {
    let output = runsc().args(["do", "cat"]).stdin(std::fs::File::open("/").unwrap()).output().unwrap();
    assert_eq!(output.status.code(), Some(125));
    let line = String::from_utf8(output.stderr).unwrap();
    assert_eq!(line, "runsc: do: standard input: a directory of the host; give a file\n");
}

#[test]
fn redirected_streams_are_the_callers_files() {
    let dir = tempfile::tempdir().unwrap();
    let script = "cat; stat -L -c '%u %g %a %F' /dev/stdin /dev/stdout; echo end";
    let mut results = Vec::new();
    for (place, mut command) in both(&["sh", "-c", script]).into_iter().enumerate() {
        let (input, output) = (dir.path().join("in"), dir.path().join(format!("out{place}")));
        std::fs::write(&input, "text\n").unwrap();
        // What is there stays, and what the caller writes later comes behind.
        let mut out = std::fs::File::create(&output).unwrap();
        std::io::Write::write_all(&mut out, b"before\n").unwrap();
        let status = command
            .stdin(std::fs::File::open(&input).unwrap())
            .stdout(out.try_clone().unwrap())
            .status()
            .unwrap();
        assert!(status.success());
        std::io::Write::write_all(&mut out, b"after\n").unwrap();
        results.push(std::fs::read_to_string(&output).unwrap());
    }
    assert!(results[0].starts_with("before\ntext\n") && results[0].ends_with("end\nafter\n"), "{results:?}");
    assert_eq!(results[0], results[1]);
}

/// A container's or a job's first process: the parent, the session and the group have no number here.
#[test]
fn parent_session_and_group_outside_of_the_pid_namespace() {
    if !crate::root() {
        eprintln!("SKIPPED: only root makes a PID namespace without a user namespace");
        return;
    }
    for shell in ["", "sh -c '\"$0\" \"$@\"; exit $?' "] {
        let program = runsc().get_program().to_str().unwrap().to_owned();
        let line = format!(
            "exec unshare --fork --pid --mount-proc {shell}{program} do -- sh -c 'echo ran; exit 42'"
        );
        let output = Command::new("sh").args(["-c", &line]).stdin(Stdio::null()).output().unwrap();
        assert_eq!(output.status.code(), Some(42), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.stdout, b"ran\n", "{line}");
    }
}
