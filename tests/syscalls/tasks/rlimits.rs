//! Resource limits.

use crate::kit::prelude::*;

#[track_caller]
fn get(resource: u32) -> rlimit {
    let mut limit: rlimit = zeroed();
    ok(sys!(getrlimit, resource, &mut limit));
    limit
}

fn set(resource: u32, soft: u64, hard: u64) -> Answer {
    sys!(setrlimit, resource, &rlimit { rlim_cur: soft, rlim_max: hard })
}

case!(get_and_set: getrlimit, setrlimit, prlimit64);
fn get_and_set() {
    let old = get(RLIMIT_NOFILE);
    ok(set(RLIMIT_NOFILE, 100, old.rlim_max));
    eq(get(RLIMIT_NOFILE).rlim_cur, 100);
    let mut limit: rlimit = zeroed();
    let next = rlimit { rlim_cur: 90, rlim_max: old.rlim_max };
    ok(sys!(prlimit64, 0, RLIMIT_NOFILE, &next, &mut limit));
    eq(limit.rlim_cur, 100);
    in_child(|| eq(get(RLIMIT_NOFILE).rlim_cur, 90));
}

case!(errors: getrlimit, setrlimit, prlimit64);
fn errors() {
    let mut limit: rlimit = zeroed();
    fails(sys!(getrlimit, 16, &mut limit), EINVAL);
    fails(sys!(getrlimit, -1, &mut limit), EINVAL);
    fails(sys!(getrlimit, RLIMIT_CORE, 8), EFAULT);
    fails(set(RLIMIT_CORE, 10, 5), EINVAL);
    fails(set(99, 0, 0), EINVAL);
    fails(sys!(setrlimit, RLIMIT_CORE, 8), EFAULT);
    fails(sys!(prlimit64, 0x3fff_fff0, RLIMIT_CORE, 0, &mut limit), ESRCH);
}

case!(hard_limit_only_goes_down: setrlimit);
fn hard_limit_only_goes_down() {
    unprivileged(|| {
        ok(set(RLIMIT_FSIZE, 1000, 2000));
        ok(set(RLIMIT_FSIZE, 2000, 2000));
        fails(set(RLIMIT_FSIZE, 1000, 3000), EPERM);
        ok(set(RLIMIT_FSIZE, 500, 1000));
    });
}

case!(descriptors: setrlimit, openat, dup, pipe2);
fn descriptors() {
    in_child(|| {
        ok(set(RLIMIT_NOFILE, 10, 10));
        let mut last = 0;
        loop {
            match sys!(dup, 2) {
                Ok(fd) => last = fd,
                Err(e) => {
                    eq(e, Errno(EMFILE));
                    break;
                }
            }
        }
        eq(last, 9);
        fails(sys!(openat, AT_FDCWD, c".", O_RDONLY, 0), EMFILE);
        fails(sys!(dup3, 2, 10, 0), EBADF);
        fails(sys!(fcntl, 2, F_DUPFD, 10), EINVAL);
        fails(sys!(fcntl, 2, F_DUPFD, 0), EMFILE);
        ok(sys!(close, 9));
        let mut ends = [0; 2];
        fails(sys!(pipe2, &mut ends, 0), EMFILE);
        eq_of("nothing leaked", ok(sys!(dup, 2)), 9);
    });
}

case!(file_size: setrlimit, write, ftruncate);
fn file_size() {
    in_child(|| {
        sig::on(SIGXFSZ, sig::record, 0);
        let fd = create(c"f", b"");
        ok(set(RLIMIT_FSIZE, 100, 100));
        eq(ok(sys!(write, fd, [1u8; 200].as_ptr(), 200)), 100);
        eq(sig::count(), 0);
        fails(sys!(write, fd, b"x", 1), EFBIG);
        eq(sig::log_signals(), vec![SIGXFSZ]);
        fails(sys!(ftruncate, fd, 101), EFBIG);
        eq(sig::count(), 2);
        ok(sys!(ftruncate, fd, 50));
    });
}

case!(file_size_kills: setrlimit, write);
fn file_size_kills() {
    fork(|| {
        let fd = create(c"f", b"");
        ok(set(RLIMIT_FSIZE, 0, 0));
        let _ = sys!(write, fd, b"x", 1);
    })
    .dies_of(SIGXFSZ);
}

case!(cpu_time: setrlimit);
fn cpu_time() {
    fork(|| {
        sig::on(SIGXCPU, sig::record, 0);
        ok(set(RLIMIT_CPU, 1, 5));
        while sig::count() == 0 {}
        let used = now_ns(CLOCK_PROCESS_CPUTIME_ID);
        // The limit is checked at ticks and counts whole ticks, which is off by some.
        check(used >= 500_000_000, format_args!("not long before a second: {used} ns"));
    })
    .succeeds();
}

case!(pending_signals: setrlimit, rt_sigqueueinfo);
fn pending_signals() {
    unprivileged(|| {
        sig::block(u64::MAX);
        ok(set(RLIMIT_SIGPENDING, 3, 3));
        let me = ok_i32(sys!(getpid));
        let info = sig::Info(std::array::from_fn(|i| if i == 1 { 0xffff_ffff } else { 0 }));
        let mut sent = 0;
        loop {
            match sys!(rt_sigqueueinfo, me, SIGRTMIN(), &info) {
                Ok(_) => sent += 1,
                Err(e) => {
                    eq(e, Errno(EAGAIN));
                    break;
                }
            }
            check(sent <= 3, "the limit holds");
        }
        // kill still comes through, without its siginfo.
        ok(sys!(kill, me, SIGUSR1));
        check(sig::pending() & sig::bit(SIGUSR1) != 0, "pending");
    });
}

case!(of_another_process: prlimit64);
fn of_another_process() {
    let child = fork(|| sleep_ms(10_000));
    let limit = rlimit { rlim_cur: 77, rlim_max: 77 };
    ok(sys!(prlimit64, child.pid, RLIMIT_NOFILE, &limit, 0));
    let mut now: rlimit = zeroed();
    ok(sys!(prlimit64, child.pid, RLIMIT_NOFILE, 0, &mut now));
    eq(now.rlim_cur, 77);
    child.end();
    check(get(RLIMIT_NOFILE).rlim_max > 77, "ours is untouched");
}

case!(of_another_user: prlimit64; root);
fn of_another_user() {
    let child = fork(|| sleep_ms(10_000));
    unprivileged(|| {
        let mut now: rlimit = zeroed();
        fails(sys!(prlimit64, child.pid, RLIMIT_NOFILE, 0, &mut now), EPERM);
    });
    child.end();
}
