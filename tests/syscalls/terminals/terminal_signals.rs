//! Keys and sizes that raise signals.

use crate::kit::prelude::*;
use crate::kit::pty::Pty;

/// A child in a session of its own with the terminal as its own; it says that it is ready, then `body` runs.
fn on_terminal(pty: Pty, body: impl FnOnce()) -> Child {
    let [r, w] = pipe(0);
    let child = fork(|| {
        close(r);
        ok(sys!(setsid));
        ok(sys!(ioctl, pty.slave, TIOCSCTTY, 0));
        write_all(w, b"r");
        close(w);
        body();
    });
    close(w);
    eq(read(r, 1), b"r");
    close(r);
    child
}

case!(keys_kill: write);
fn keys_kill() {
    for (key, signal, screen) in [(b"\x03", SIGINT, b"^C"), (b"\x1c", SIGQUIT, b"^\\")] {
        let pty = Pty::new();
        let child = on_terminal(pty, || sleep_ms(10_000));
        until_asleep(child.pid);
        pty.type_in(key);
        child.dies_of(signal);
        pty.screen(screen);
    }
}

case!(key_stops: write);
fn key_stops() {
    let pty = Pty::new();
    let child = on_terminal(pty, || {
        // The session's leader is an orphaned group: a job below it can be stopped.
        let job = fork(|| sleep_ms(10_000));
        ok(sys!(setpgid, job.pid, job.pid));
        sig::ignore(SIGTTOU);
        ok(sys!(ioctl, pty.slave, TIOCSPGRP, &job.pid));
        until_asleep(job.pid);
        write_all(pty.master, b"\x1a");
        let (_, status) = wait_for(job.pid, WUNTRACED);
        check(WIFSTOPPED(status) && WSTOPSIG(status) == SIGTSTP, describe(status));
        job.end();
    });
    child.succeeds();
}

case!(whole_foreground_group: write);
fn whole_foreground_group() {
    let pty = Pty::new();
    let child = on_terminal(pty, || {
        sig::ignore(SIGINT);
        let others: Vec<Child> = (0..2)
            .map(|_| {
                fork(|| {
                    sig::default(SIGINT);
                    sleep_ms(10_000);
                })
            })
            .collect();
        others.iter().for_each(|c| until_asleep(c.pid));
        write_all(pty.master, b"\x03");
        others.into_iter().for_each(|c| c.dies_of(SIGINT));
    });
    child.succeeds();
}

case!(handler_runs_and_line_is_lost: write, read);
fn handler_runs_and_line_is_lost() {
    let pty = Pty::new().quiet();
    let child = on_terminal(pty, || {
        sig::on(SIGINT, sig::record, 0);
        fails(sys!(read, pty.slave, &mut [0u8; 16], 16), EINTR);
        eq(sig::log()[0].code(), 0x80);
        eq(read(pty.slave, 16), b"after\n");
    });
    until_asleep(child.pid);
    pty.type_in(b"before");
    pty.type_in(b"\x03");
    eventually("the child waits again", || state(child.pid) == 'S');
    sleep_ms(20);
    pty.type_in(b"after\n");
    child.succeeds();
}

case!(line_stays_with_noflsh: write, read);
fn line_stays_with_noflsh() {
    let pty = Pty::new().quiet();
    pty.change(|m| m.local |= NOFLSH);
    let child = on_terminal(pty, || {
        sig::on(SIGINT, sig::record, 0);
        fails(sys!(read, pty.slave, &mut [0u8; 16], 16), EINTR);
        eq(read(pty.slave, 16), b"beforeafter\n");
    });
    until_asleep(child.pid);
    pty.type_in(b"before");
    pty.type_in(b"\x03");
    sleep_ms(20);
    pty.type_in(b"after\n");
    child.succeeds();
}

case!(keys_without_isig: write, read);
fn keys_without_isig() {
    let pty = Pty::new().quiet();
    pty.change(|m| m.local &= !ISIG);
    let child = on_terminal(pty, || eq(read(pty.slave, 16), b"\x03\x1c\x1a\n"));
    pty.type_in(b"\x03\x1c\x1a\n");
    child.succeeds();
}

case!(new_size: ioctl);
fn new_size() {
    let pty = Pty::new();
    let child = on_terminal(pty, || {
        sig::on(SIGWINCH, sig::record, 0);
        ok(sys!(ioctl, pty.master, TIOCSWINSZ, &[30u16, 100, 0, 0]));
        eventually("SIGWINCH has come", || sig::count() == 1);
        // The same size is no change.
        ok(sys!(ioctl, pty.master, TIOCSWINSZ, &[30u16, 100, 0, 0]));
        ok(sys!(ioctl, pty.slave, TIOCSWINSZ, &[31u16, 100, 0, 0]));
        eventually("SIGWINCH has come again", || sig::count() == 2);
        eq(sig::log_signals(), vec![SIGWINCH, SIGWINCH]);
    });
    child.succeeds();
}

case!(signal_from_the_master: ioctl);
fn signal_from_the_master() {
    let pty = Pty::new();
    let child = on_terminal(pty, || sleep_ms(10_000));
    fails(sys!(ioctl, pty.master, TIOCSIG, 65), EINVAL);
    ok(sys!(ioctl, pty.master, TIOCSIG, SIGINT));
    child.dies_of(SIGINT);
}
