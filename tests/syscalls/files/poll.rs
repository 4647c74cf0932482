//! poll, ppoll, select, pselect6.

use crate::kit::prelude::*;

fn entry(fd: i32, events: i16) -> pollfd {
    pollfd { fd, events, revents: 0x7fff }
}

case!(reports_each: poll);
fn reports_each() {
    let ([r, w], [quiet, _w]) = (pipe(0), pipe(0));
    write_all(w, b"x");
    let mut list =
        [entry(r, POLLIN), entry(quiet, POLLIN), entry(w, POLLOUT), entry(-1, POLLIN), entry(999, 0)];
    eq(ok(sys!(poll, &mut list, 5, -1)), 3);
    eq(list.map(|p| p.revents), [POLLIN, 0, POLLOUT, 0, POLLNVAL]);
}

case!(files_are_always_ready: poll, select; disk);
fn files_are_always_ready() {
    let fd = create(c"f", b"");
    let mut list = [entry(fd, POLLIN | POLLOUT | POLLPRI), entry(open(c".", O_RDONLY), POLLIN)];
    eq(ok(sys!(poll, &mut list, 2, 0)), 2);
    eq(list.map(|p| p.revents), [POLLIN | POLLOUT, POLLIN]);
}

case!(waits_and_times_out: poll);
fn waits_and_times_out() {
    let [r, _w] = pipe(0);
    let start = now_ns(CLOCK_MONOTONIC);
    let mut list = [entry(r, POLLIN)];
    eq(ok(sys!(poll, &mut list, 1, 30)), 0);
    eq(list[0].revents, 0);
    check(now_ns(CLOCK_MONOTONIC) - start >= 30_000_000, "not before its time");
    // No entries: a sleep.
    eq(ok(sys!(poll, 0, 0, 10)), 0);
    eq(ok(sys!(poll, 8, 0, 0)), 0);
}

case!(wakes_up: poll, write);
fn wakes_up() {
    let [r, w] = pipe(0);
    let child = fork(|| {
        let mut list = [entry(r, POLLIN)];
        eq(ok(sys!(poll, &mut list, 1, -1)), 1);
        eq(list[0].revents, POLLIN);
    });
    until_asleep(child.pid);
    write_all(w, b"x");
    child.succeeds();
}

case!(poll_errors: poll, ppoll, prlimit64);
fn poll_errors() {
    fails(sys!(poll, 8, 1, 0), EFAULT);
    fails(sys!(poll, 0, u32::MAX, 0), EINVAL);
    let mut list = [entry(0, POLLIN)];
    let bad = timespec { tv_sec: 0, tv_nsec: 1_000_000_000 };
    fails(sys!(ppoll, &mut list, 1, &bad, 0, 8), EINVAL);
    let negative = timespec { tv_sec: -1, tv_nsec: 0 };
    fails(sys!(ppoll, &mut list, 1, &negative, 0, 8), EINVAL);
    fails(sys!(ppoll, &mut list, 1, 8, 0, 8), EFAULT);
    fails(sys!(ppoll, &mut list, 1, 0, &0u64, 4), EINVAL);
    // No more entries than descriptors are allowed.
    let limit = rlimit { rlim_cur: 8, rlim_max: 8 };
    ok(sys!(prlimit64, 0, RLIMIT_NOFILE, &limit, 0));
    let mut nine = [entry(-1, 0); 9];
    fails(sys!(poll, &mut nine, 9, 0), EINVAL);
    eq(ok(sys!(poll, &mut nine, 8, 0)), 0);
}

case!(ppoll_writes_what_is_left: ppoll);
fn ppoll_writes_what_is_left() {
    let [r, w] = pipe(0);
    write_all(w, b"x");
    let mut left = timespec { tv_sec: 100, tv_nsec: 0 };
    eq(ok(sys!(ppoll, &mut [entry(r, POLLIN)], 1, &mut left, 0, 8)), 1);
    within("seconds left", left.tv_sec, 90, 100);
    let mut left = timespec { tv_sec: 0, tv_nsec: 5_000_000 };
    read(r, 1);
    eq(ok(sys!(ppoll, &mut [entry(r, POLLIN)], 1, &mut left, 0, 8)), 0);
    eq((left.tv_sec, left.tv_nsec), (0, 0));
}

case!(ppoll_mask_is_for_the_wait: ppoll, rt_sigprocmask);
fn ppoll_mask_is_for_the_wait() {
    sig::on(SIGUSR1, sig::record, 0);
    sig::block(sig::bit(SIGUSR1));
    sig::raise(SIGUSR1);
    let limit = timespec { tv_sec: 5, tv_nsec: 0 };
    fails(sys!(ppoll, 0, 0, &limit, &0u64, 8), EINTR);
    eq(sig::count(), 1);
    eq(sig::mask(), sig::bit(SIGUSR1));
    // Something that is ready wins over the signal, which stays for later.
    sig::raise(SIGUSR1);
    let [r, w] = pipe(0);
    write_all(w, b"x");
    eq(ok(sys!(ppoll, &mut [entry(r, POLLIN)], 1, &limit, &0u64, 8)), 1);
    eq((sig::count(), sig::pending()), (1, sig::bit(SIGUSR1)));
}

case!(interrupted: poll, kill);
fn interrupted() {
    let child = fork(|| {
        sig::on(SIGUSR1, sig::record, SA_RESTART);
        fails(sys!(poll, 0, 0, -1), EINTR);
    });
    until_asleep(child.pid);
    child.kill(SIGUSR1);
    child.succeeds();
}

case!(stopped_and_continued_goes_on: poll, kill);
fn stopped_and_continued_goes_on() {
    let [r, w] = pipe(0);
    let child = fork(|| {
        let mut list = [entry(r, POLLIN)];
        eq(ok(sys!(poll, &mut list, 1, 100_000)), 1);
    });
    until_asleep(child.pid);
    child.kill(SIGSTOP);
    wait_for(child.pid, WUNTRACED);
    child.kill(SIGCONT);
    until_asleep(child.pid);
    write_all(w, b"x");
    child.succeeds();
}

fn set(fds: &[i32]) -> [u64; 16] {
    let mut set = [0u64; 16];
    fds.iter().for_each(|fd| set[*fd as usize / 64] |= 1 << (fd % 64));
    set
}

case!(select_reports_sets: select);
fn select_reports_sets() {
    let ([r, w], [quiet, gone]) = (pipe(0), pipe(0));
    write_all(w, b"x");
    let (mut readers, mut writers, mut others) = (set(&[r, quiet]), set(&[w, gone]), set(&[r, w]));
    let top = 1 + r.max(w).max(quiet).max(gone);
    eq(ok(sys!(select, top, &mut readers, &mut writers, &mut others, 0)), 3);
    eq((readers, writers, others), (set(&[r]), set(&[w, gone]), set(&[])));
    // End of file is readable, an error is both.
    close(gone);
    let mut readers = set(&[quiet]);
    eq(ok(sys!(select, top, &mut readers, 0, 0, 0)), 1);
}

case!(select_beyond_its_number: select);
fn select_beyond_its_number() {
    let [r, w] = pipe(0);
    write_all(w, b"x");
    ok(sys!(dup2, r, 100));
    let mut readers = set(&[r, 100]);
    let zero = [0i64; 2];
    // Bits from the number on are not looked at; whole words below it are written.
    eq(ok(sys!(select, r + 1, &mut readers, 0, 0, &mut zero.clone())), 1);
    eq(readers[0], 1 << r);
    eq(readers[1], 1 << 36);
    fails(sys!(select, -1, 0, 0, 0, &mut zero.clone()), EINVAL);
    let mut missing = set(&[90]);
    fails(sys!(select, 91, &mut missing, 0, 0, &mut zero.clone()), EBADF);
    fails(sys!(select, 64, 8, 0, 0, &mut zero.clone()), EFAULT);
}

case!(select_writes_what_is_left: select);
fn select_writes_what_is_left() {
    let mut left = [0i64, 20_000];
    eq(ok(sys!(select, 0, 0, 0, 0, &mut left)), 0);
    eq(left, [0, 0]);
    let [r, w] = pipe(0);
    write_all(w, b"x");
    let mut left = [50i64, 0];
    eq(ok(sys!(select, r + 1, &mut set(&[r]), 0, 0, &mut left)), 1);
    within("seconds left", left[0], 40, 50);
    fails(sys!(select, 0, 0, 0, 0, &mut [-1i64, 0]), EINVAL);
    // Microseconds carry over into seconds.
    eq(ok(sys!(select, r + 1, &mut set(&[r]), 0, 0, &mut [0i64, 3_000_000])), 1);
}

case!(pselect_mask_and_errors: pselect6);
fn pselect_mask_and_errors() {
    sig::on(SIGUSR1, sig::record, 0);
    sig::block(sig::bit(SIGUSR1));
    sig::raise(SIGUSR1);
    let mask = 0u64;
    let pair = [&raw const mask as u64, 8];
    let mut limit = timespec { tv_sec: 5, tv_nsec: 0 };
    fails(sys!(pselect6, 0, 0, 0, 0, &mut limit, &pair), EINTR);
    eq((sig::count(), sig::mask()), (1, sig::bit(SIGUSR1)));
    let wrong = [&raw const mask as u64, 7];
    fails(sys!(pselect6, 0, 0, 0, 0, &mut limit, &wrong), EINVAL);
    let mut bad = timespec { tv_sec: 0, tv_nsec: 1_000_000_000 };
    fails(sys!(pselect6, 0, 0, 0, 0, &mut bad, 0), EINVAL);
    let mut short = timespec { tv_sec: 0, tv_nsec: 1_000_000 };
    eq(ok(sys!(pselect6, 0, 0, 0, 0, &mut short, 0)), 0);
}

case!(select_wakes_up: select, write);
fn select_wakes_up() {
    let [r, w] = pipe(0);
    let child = fork(|| {
        let mut readers = set(&[r]);
        eq(ok(sys!(select, r + 1, &mut readers, 0, 0, 0)), 1);
        eq(readers, set(&[r]));
    });
    until_asleep(child.pid);
    write_all(w, b"x");
    child.succeeds();
}

case!(select_interrupted_leaves_sets: select, kill);
fn select_interrupted_leaves_sets() {
    let [r, _w] = pipe(0);
    let child = fork(|| {
        sig::on(SIGUSR1, sig::record, 0);
        let mut readers = set(&[r]);
        fails(sys!(select, r + 1, &mut readers, 0, 0, 0), EINTR);
        eq(readers, set(&[r]));
    });
    until_asleep(child.pid);
    child.kill(SIGUSR1);
    child.succeeds();
}

case!(many_waiters_of_one_pipe: poll);
fn many_waiters_of_one_pipe() {
    let [r, w] = pipe(0);
    let children: Vec<Child> = (0..4)
        .map(|_| {
            fork(|| {
                close(w);
                eq(ok(sys!(poll, &mut [entry(r, POLLIN)], 1, -1)), 1);
            })
        })
        .collect();
    children.iter().for_each(|c| until_asleep(c.pid));
    // All of them see the hang-up.
    close(w);
    children.into_iter().for_each(Child::succeeds);
}
