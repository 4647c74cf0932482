//! Controlling terminals and job control.

use crate::kit::prelude::*;
use crate::kit::pty::Pty;

/// In a session of its own, without a terminal.
fn in_session(body: impl FnOnce()) {
    in_child(|| {
        ok(sys!(setsid));
        body();
    });
}

fn foreground(fd: i32) -> i32 {
    let mut group = -1;
    ok(sys!(ioctl, fd, TIOCGPGRP, &mut group));
    group
}

case!(none_at_first: openat, ioctl);
fn none_at_first() {
    in_session(|| {
        fails(sys!(openat, AT_FDCWD, c"/dev/tty", O_RDWR, 0), ENXIO);
        let pty = Pty::new();
        fails(sys!(ioctl, pty.slave, TIOCGPGRP, &mut 0i32), ENOTTY);
        fails(sys!(ioctl, pty.slave, TIOCGSID, &mut 0i32), ENOTTY);
        fails(sys!(ioctl, pty.slave, TIOCSPGRP, &ok_i32(sys!(getpid))), ENOTTY);
        fails(sys!(ioctl, pty.slave, TIOCNOTTY, 0), ENOTTY);
    });
}

case!(taken_by_opening: openat, ioctl);
fn taken_by_opening() {
    in_session(|| {
        let pty = Pty::new();
        let slave = open(&pty.name(), O_RDWR);
        let tty = open(c"/dev/tty", O_RDWR);
        let (me, mut session) = (ok_i32(sys!(getpid)), 0i32);
        eq(foreground(tty), me);
        ok(sys!(ioctl, slave, TIOCGSID, &mut session));
        eq(session, me);
        write_all(tty, b"through /dev/tty");
        pty.screen(b"through /dev/tty");
        let st = fstat(tty);
        eq((major(st.st_rdev), minor(st.st_rdev)), (5, 0));
    });
}

case!(not_taken_by_who_leads_no_session: openat);
fn not_taken_by_who_leads_no_session() {
    in_session(|| {
        in_child(|| {
            let pty = Pty::new();
            close(open(&pty.name(), O_RDWR));
            fails(sys!(openat, AT_FDCWD, c"/dev/tty", O_RDWR, 0), ENXIO);
            fails(sys!(ioctl, pty.slave, TIOCSCTTY, 0), EPERM);
        });
    });
}

case!(one_session_at_a_time: ioctl);
fn one_session_at_a_time() {
    let pty = Pty::new();
    in_session(|| {
        ok(sys!(ioctl, pty.slave, TIOCSCTTY, 0));
        // Again is fine, a second terminal is not.
        ok(sys!(ioctl, pty.slave, TIOCSCTTY, 0));
        fails(sys!(ioctl, Pty::new().slave, TIOCSCTTY, 0), EPERM);
        in_session(|| {
            unprivileged_here();
            fails(sys!(ioctl, pty.slave, TIOCSCTTY, 0), EPERM);
            fails(sys!(ioctl, pty.slave, TIOCSCTTY, 1), EPERM);
        });
    });
}

fn unprivileged_here() {
    if is_root() {
        become_user(NOBODY);
    }
}

case!(stolen_by_root: ioctl; root);
fn stolen_by_root() {
    let pty = Pty::new();
    in_session(|| {
        ok(sys!(ioctl, pty.slave, TIOCSCTTY, 0));
        in_session(|| done(sys!(ioctl, pty.slave, TIOCSCTTY, 1)));
        fails(sys!(openat, AT_FDCWD, c"/dev/tty", O_RDWR, 0), ENXIO);
    });
}

case!(given_up: ioctl);
fn given_up() {
    let pty = Pty::new();
    in_session(|| {
        sig::on(SIGHUP, sig::record, 0);
        sig::on(SIGCONT, sig::record, 0);
        ok(sys!(ioctl, pty.slave, TIOCSCTTY, 0));
        let member = fork(|| {
            // A member gives it up for itself alone.
            ok(sys!(ioctl, pty.slave, TIOCNOTTY, 0));
            fails(sys!(openat, AT_FDCWD, c"/dev/tty", O_RDWR, 0), ENXIO);
        });
        member.succeeds();
        close(open(c"/dev/tty", O_RDWR));
        ok(sys!(ioctl, pty.slave, TIOCNOTTY, 0));
        fails(sys!(openat, AT_FDCWD, c"/dev/tty", O_RDWR, 0), ENXIO);
        // The leader's group is told.
        let mut seen = sig::log_signals();
        seen.sort_unstable();
        eq(seen, vec![SIGHUP, SIGCONT]);
    });
}

case!(foreground_group: ioctl);
fn foreground_group() {
    let pty = Pty::new();
    in_session(|| {
        ok(sys!(ioctl, pty.slave, TIOCSCTTY, 0));
        let me = ok_i32(sys!(getpid));
        eq(foreground(pty.slave), me);
        let job = fork(|| sleep_ms(10_000));
        ok(sys!(setpgid, job.pid, job.pid));
        ok(sys!(ioctl, pty.slave, TIOCSPGRP, &job.pid));
        eq((foreground(pty.slave), foreground(pty.master)), (job.pid, job.pid));
        sig::ignore(SIGTTOU);
        ok(sys!(ioctl, pty.slave, TIOCSPGRP, &me));
        fails(sys!(ioctl, pty.slave, TIOCSPGRP, &3_000_000i32), ESRCH);
        fails(sys!(ioctl, pty.slave, TIOCSPGRP, &-1i32), EINVAL);
        fails(sys!(ioctl, pty.slave, TIOCSPGRP, &ok_i32(sys!(getppid))), EPERM);
        job.end();
    });
}

case!(background_reader_is_stopped: read);
fn background_reader_is_stopped() {
    let pty = Pty::new().quiet();
    in_session(|| {
        ok(sys!(ioctl, pty.slave, TIOCSCTTY, 0));
        let job = fork(|| {
            ok(sys!(setpgid, 0, 0));
            eq(read(pty.slave, 16), b"input\n");
        });
        let (_, status) = wait_for(job.pid, WUNTRACED);
        check(WIFSTOPPED(status) && WSTOPSIG(status) == SIGTTIN, describe(status));
        ok(sys!(ioctl, pty.slave, TIOCSPGRP, &job.pid));
        write_all(pty.master, b"input\n");
        job.kill(SIGCONT);
        job.succeeds();
    });
}

case!(background_reader_without_the_signal: read);
fn background_reader_without_the_signal() {
    let pty = Pty::new();
    in_session(|| {
        ok(sys!(ioctl, pty.slave, TIOCSCTTY, 0));
        let job = fork(|| {
            ok(sys!(setpgid, 0, 0));
            sig::ignore(SIGTTIN);
            fails(sys!(read, pty.slave, &mut [0u8; 4], 4), EIO);
            sig::default(SIGTTIN);
            sig::block(sig::bit(SIGTTIN));
            fails(sys!(read, pty.slave, &mut [0u8; 4], 4), EIO);
        });
        job.succeeds();
    });
}

case!(background_writer: write);
fn background_writer() {
    let pty = Pty::new();
    in_session(|| {
        ok(sys!(ioctl, pty.slave, TIOCSCTTY, 0));
        // Allowed, unless the terminal says otherwise.
        let job = fork(|| {
            ok(sys!(setpgid, 0, 0));
            write_all(pty.slave, b"one");
        });
        job.succeeds();
        pty.screen(b"one");
        pty.change(|m| m.local |= TOSTOP);
        let job = fork(|| {
            ok(sys!(setpgid, 0, 0));
            write_all(pty.slave, b"two");
        });
        let (_, status) = wait_for(job.pid, WUNTRACED);
        check(WIFSTOPPED(status) && WSTOPSIG(status) == SIGTTOU, describe(status));
        ok(sys!(ioctl, pty.slave, TIOCSPGRP, &job.pid));
        job.kill(SIGCONT);
        job.succeeds();
        pty.screen(b"two");
        // Who ignores the signal may write.
        sig::ignore(SIGTTOU);
        write_all(pty.slave, b"three");
        pty.screen(b"three");
    });
}

case!(background_change_is_stopped: ioctl);
fn background_change_is_stopped() {
    let pty = Pty::new();
    in_session(|| {
        ok(sys!(ioctl, pty.slave, TIOCSCTTY, 0));
        let modes = pty.modes();
        let job = fork(|| {
            ok(sys!(setpgid, 0, 0));
            ok(sys!(ioctl, pty.slave, TCSETS, &modes));
        });
        let (_, status) = wait_for(job.pid, WUNTRACED);
        check(WIFSTOPPED(status) && WSTOPSIG(status) == SIGTTOU, describe(status));
        job.end();
        let job = fork(|| {
            ok(sys!(setpgid, 0, 0));
            ok(sys!(ioctl, pty.slave, TIOCSPGRP, &ok_i32(sys!(getpid))));
        });
        let (_, status) = wait_for(job.pid, WUNTRACED);
        check(WIFSTOPPED(status) && WSTOPSIG(status) == SIGTTOU, describe(status));
        job.end();
    });
}

case!(orphaned_background_reader: read);
fn orphaned_background_reader() {
    let pty = Pty::new();
    in_session(|| {
        ok(sys!(ioctl, pty.slave, TIOCSCTTY, 0));
        let [r, w] = pipe(0);
        let middle = fork(|| {
            let job = fork(|| {
                ok(sys!(setpgid, 0, 0));
                // Nobody is there who could continue it: an error, and no stop.
                eventually("the parent has gone", || {
                    sys!(read, pty.slave, &mut [0u8; 4], 4) == Err(Errno(EIO))
                });
                write_all(w, b"done");
            });
            sig::ignore(SIGTTIN);
            let _ = job.pid;
        });
        close(w);
        middle.succeeds();
        let _ = r;
    });
}

case!(shown_in_proc: openat, ioctl);
fn shown_in_proc() {
    let pty = Pty::new();
    in_session(|| {
        let fields = || -> (String, String) {
            let stat = text(c"/proc/self/stat");
            let rest: Vec<String> =
                stat.rsplit(") ").next().unwrap_or_default().split(' ').map(str::to_string).collect();
            (rest[4].clone(), rest[5].clone())
        };
        eq(fields(), ("0".to_string(), "-1".to_string()));
        ok(sys!(ioctl, pty.slave, TIOCSCTTY, 0));
        let device = 136 << 8 | pty.number & 0xff;
        eq(fields(), (device.to_string(), ok(sys!(getpid)).to_string()));
    });
}
