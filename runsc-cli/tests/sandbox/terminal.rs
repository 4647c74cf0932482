//! Programs on a terminal. Each test runs natively first: what is expected of the sandbox is what the host does.

use crate::on_host_and_in_sandbox;
use crate::pty::Pty;

#[test]
fn size_of_the_window() {
    on_host_and_in_sandbox(|run| {
        let mut pty = Pty::start(&format!("{run} sh -c 'tty -s && stty size'"));
        pty.expect("24 80\r\n");
        assert_eq!(pty.wait().code(), Some(0));

        let script = r#"trap "stty size" WINCH; echo ready; while :; do sleep 0.05; done"#;
        let mut pty = Pty::start(&format!("{run} sh -c '{script}'"));
        pty.expect("ready");
        pty.resize(37, 91);
        pty.expect("37 91\r\n");
    });
}

#[test]
fn the_terminal_has_a_name_that_can_be_opened() {
    on_host_and_in_sandbox(|run| {
        let script =
            r#"case $(tty) in /dev/pts/*) echo by name >$(tty) ;; *) tty ;; esac; echo own >/dev/tty"#;
        let mut pty = Pty::start(&format!("{run} sh -c '{script}'"));
        pty.expect("by name\r\nown\r\n");
        assert_eq!(pty.wait().code(), Some(0));
    });
}

#[test]
fn control_c_ends_the_program() {
    on_host_and_in_sandbox(|run| {
        let mut pty = Pty::start(&format!("{run} cat; echo status $?"));
        pty.send("echoed\n");
        pty.expect("echoed\r\nechoed\r\n");
        pty.send("\x03");
        pty.expect("^C");
        pty.wait();

        let mut pty = Pty::start(&format!("trap : INT; {run} cat; echo status $?"));
        pty.send("echoed\n");
        pty.expect("echoed\r\nechoed\r\n");
        pty.send("\x03");
        pty.expect("status 130\r\n");
        assert_eq!(pty.wait().code(), Some(0));
    });
}

#[test]
fn end_of_file_is_typed() {
    on_host_and_in_sandbox(|run| {
        let mut pty = Pty::start(&format!("{run} cat; echo status $?"));
        pty.send("line\n\x04");
        pty.expect("line\r\nline\r\nstatus 0\r\n");
    });
}

#[test]
fn a_shell_outside_stops_and_continues_the_program() {
    on_host_and_in_sandbox(|run| {
        let mut pty = Pty::start("bash --norc --noprofile -i");
        pty.expect("$ ");
        pty.send(&format!("{run} sh -c 'echo ready; exec cat'\n"));
        pty.expect("cat'\r\nready\r\n");
        pty.send("one\n");
        pty.expect("one\r\none\r\n");
        pty.send("\x1a");
        pty.expect("Stopped");
        pty.expect("$ ");
        pty.send("fg\n");
        pty.expect("cat'\r\n");
        pty.send("two\n");
        pty.expect("two\r\ntwo\r\n");
        pty.send("\x04");
        pty.expect("$ ");
        pty.send("echo status $?; exit 5\n");
        pty.expect("status 0\r\n");
        assert_eq!(pty.wait().code(), Some(5));
    });
}

#[test]
fn in_the_background_the_terminal_can_be_written_but_not_read() {
    on_host_and_in_sandbox(|run| {
        let mut pty = Pty::start("bash --norc --noprofile -i");
        pty.expect("$ ");
        pty.send(&format!("{run} sh -c 'echo began; read line; echo got $line' &\n"));
        pty.expect("began\r\n");
        // The shell tells of it before the next prompt.
        pty.send("sleep 1\n\n");
        pty.expect("Stopped");
        pty.send("fg\n");
        pty.expect("$line'\r\n");
        pty.send("text\n");
        pty.expect("got text\r\n");
        pty.send("exit\n");
        pty.wait();
    });
}

#[test]
fn a_shell_inside_has_job_control() {
    on_host_and_in_sandbox(|run| {
        // No shell in between: one outside gets the signals of the terminal too.
        let mut pty = Pty::start(&format!("exec {run} bash --norc --noprofile -i"));
        pty.expect("$ ");
        pty.send("sleep 100\n");
        pty.expect("sleep 100\r\n");
        // No sign tells that it has begun.
        std::thread::sleep(std::time::Duration::from_millis(300));
        pty.send("\x1a");
        pty.expect("Stopped");
        pty.expect("$ ");
        pty.send("jobs -r; bg; jobs -r\n");
        pty.expect("Running");
        pty.send("kill %1; wait %1; echo status $?\n");
        pty.expect("status 143\r\n");
        pty.send("echo ready; cat\n");
        pty.expect("cat\r\nready\r\n");
        pty.send("still here\n");
        pty.expect("still here\r\nstill here\r\n");
        pty.send("\x03");
        pty.expect("^C\r\n$ ");
        pty.send("echo status $?\n");
        pty.expect("status 130\r\n$ ");
        pty.send("exit 9\n");
        assert_eq!(pty.wait().to_string(), "exit status: 9");
    });
}

#[test]
fn settings_are_put_back_when_the_program_is_killed() {
    // Not natively: there the shell sees to it, if it does.
    crate::in_sandbox(|run| {
        let mut pty = Pty::start(&format!("{run} sh -c 'stty -echo -icanon; kill -9 $$'; stty -a"));
        pty.expect(" icanon");
        pty.expect(" echo ");
    });
}
