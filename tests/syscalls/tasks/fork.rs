//! fork: what the child gets.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::kit::prelude::*;

case!(child_has_a_copy: fork, wait4);
fn child_has_a_copy() {
    let page = map(PAGE, RW);
    poke(page, 1);
    let child = fork(|| {
        eq(peek(page), 1);
        poke(page, 2);
        eq(peek(page), 2);
    });
    child.succeeds();
    eq(peek(page), 1);
}

case!(ids_of_parent_and_child: fork, getpid, getppid, wait4);
fn ids_of_parent_and_child() {
    let seen = shared::<[AtomicU32; 2]>();
    let me = ok(sys!(getpid));
    let child = fork(|| {
        seen[0].store(ok(sys!(getpid)) as u32, Ordering::SeqCst);
        seen[1].store(ok(sys!(getppid)) as u32, Ordering::SeqCst);
    });
    let pid = child.pid;
    child.succeeds();
    eq(seen[0].load(Ordering::SeqCst), pid as u32);
    eq(seen[1].load(Ordering::SeqCst), me as u32);
}

case!(descriptors_share_the_offset: fork, lseek, read);
fn descriptors_share_the_offset() {
    let fd = create(c"f", b"0123456789");
    in_child(|| {
        eq(read(fd, 4), b"0123");
        close(fd);
    });
    eq(ok(sys!(lseek, fd, 0, SEEK_CUR)), 4);
    eq(read(fd, 2), b"45");
}

case!(descriptor_table_is_a_copy: fork, close, dup);
fn descriptor_table_is_a_copy() {
    let fd = create(c"f", b"x");
    in_child(|| close(fd));
    ok(sys!(fcntl, fd, F_GETFD));
    in_child(|| {
        ok(sys!(dup3, fd, 50, 0));
    });
    fails(sys!(fcntl, 50, F_GETFD), EBADF);
}

case!(pending_signals_are_not_inherited: fork, rt_sigpending);
fn pending_signals_are_not_inherited() {
    sig::block(sig::bit(SIGUSR1));
    sig::raise(SIGUSR1);
    check(sig::pending() & sig::bit(SIGUSR1) != 0, "pending in the parent");
    in_child(|| {
        eq(sig::pending(), 0);
        check(sig::mask() & sig::bit(SIGUSR1) != 0, "the mask is inherited");
    });
}

case!(alarm_is_not_inherited: fork, alarm, getitimer);
fn alarm_is_not_inherited() {
    ok(sys!(alarm, 100));
    in_child(|| eq(ok(sys!(alarm, 0)), 0));
    within("seconds left", ok(sys!(alarm, 0)), 99, 100);
}

case!(cwd_umask_and_nice_are_inherited: fork, chdir, umask, getpriority);
fn cwd_umask_and_nice_are_inherited() {
    mkdir(c"d");
    ok(sys!(chdir, c"d"));
    ok(sys!(umask, 0o27));
    ok(sys!(setpriority, 0, 0, 5));
    in_child(|| {
        let mut path = [0u8; 4096];
        let n = ok(sys!(getcwd, &mut path, 4096)) as usize;
        check(path[..n - 1].ends_with(b"/d"), "the directory");
        eq(ok(sys!(umask, 0)), 0o27);
        eq(ok(sys!(getpriority, 0, 0)), 15);
        ok(sys!(chdir, c".."));
    });
    check(absolute("").to_bytes().ends_with(b"/d/"), "the parent stays where it was");
    eq(ok(sys!(umask, 0o22)), 0o27);
}

case!(group_and_session_are_inherited: fork, getpgid, getsid);
fn group_and_session_are_inherited() {
    let (group, session) = (ok(sys!(getpgid, 0)), ok(sys!(getsid, 0)));
    in_child(|| {
        eq(ok(sys!(getpgid, 0)), group);
        eq(ok(sys!(getsid, 0)), session);
    });
}

case!(only_the_calling_thread_comes_along: fork);
fn only_the_calling_thread_comes_along() {
    let (_, handle) = thread::spawn(|| sleep_ms(300));
    in_child(|| {
        eq(text(c"/proc/self/status").lines().find(|l| l.starts_with("Threads:")), Some("Threads:\t1"));
    });
    thread::join(handle);
}

case!(fork_in_a_thread: fork, wait4);
fn fork_in_a_thread() {
    let (_, handle) = thread::spawn(|| {
        let parent = ok(sys!(getpid));
        in_child(|| {
            eq(ok(sys!(gettid)), ok(sys!(getpid)));
            eq(ok(sys!(getppid)), parent);
        });
    });
    thread::join(handle);
}

case!(process_limit: fork, prlimit64; root);
fn process_limit() {
    in_child(|| {
        // An id that nothing else on the machine uses.
        become_user(54321);
        let limit = rlimit { rlim_cur: 1, rlim_max: 1 };
        ok(sys!(prlimit64, 0, RLIMIT_NPROC, &limit, 0));
        fails(sys!(fork), EAGAIN);
    });
}

case!(many_in_sequence: fork, wait4, exit_group);
fn many_in_sequence() {
    for i in 0..60 {
        fork(|| exit_now(i)).exits_with(i);
    }
}

case!(many_at_once: fork, wait4);
fn many_at_once() {
    let [r, w] = pipe(0);
    let children: Vec<Child> = (0..40)
        .map(|_| {
            fork(|| {
                close(w);
                eq(read(r, 1).len(), 0);
            })
        })
        .collect();
    close(w);
    children.into_iter().for_each(Child::succeeds);
}

case!(each_in_turn_has_its_own_pages: fork, wait4);
fn each_in_turn_has_its_own_pages() {
    // So many that a kernel which learns what is written after forks learns it more than once.
    const PAGES: usize = 8;
    let pages = map(PAGES * PAGE, RW);
    for round in 0..600u32 {
        let own = |page: usize| pages + page * PAGE;
        // Another pattern from time to time: what one writes the next only reads, and what only the child writes the parent does later.
        let (by_parent, by_child) = (round as usize / 7 % PAGES, round as usize / 11 % PAGES);
        let before: Vec<u8> = (0..PAGES).map(|page| peek(own(page))).collect();
        let child = fork(|| {
            poke(own(by_child), 255);
            for (page, &byte) in before.iter().enumerate() {
                eq(peek(own(page)), if page == by_child { 255 } else { byte });
            }
        });
        poke(own(by_parent), round as u8);
        child.succeeds();
        for (page, &byte) in before.iter().enumerate() {
            eq(peek(own(page)), if page == by_parent { round as u8 } else { byte });
        }
    }
}

case!(parent_goes_on_after_children_in_turn: fork, wait4);
fn parent_goes_on_after_children_in_turn() {
    // Whoever takes it for one that waits for each child keeps neither side from running.
    for _ in 0..5 {
        fork(|| {}).succeeds();
    }
    let turn = shared::<[AtomicU32; 2]>();
    let spin = |own: usize, other: usize| {
        for round in 1..=50 {
            turn[own].store(round, Ordering::SeqCst);
            while turn[other].load(Ordering::SeqCst) < round {
                std::hint::spin_loop();
            }
        }
    };
    let child = fork(|| spin(1, 0));
    spin(0, 1);
    child.succeeds();
    turn.iter().for_each(|word| word.store(0, Ordering::SeqCst));
    let children = [fork(|| spin(0, 1)), fork(|| spin(1, 0))];
    children.into_iter().for_each(Child::succeeds);
}

case!(deep_chain: fork, wait4);
fn deep_chain() {
    fn down(levels: u32) {
        if levels > 0 {
            in_child(|| down(levels - 1));
        }
    }
    down(25);
}

case!(times_start_at_zero: fork, times, getrusage);
fn times_start_at_zero() {
    let end = now_ns(CLOCK_PROCESS_CPUTIME_ID) + 30_000_000;
    while now_ns(CLOCK_PROCESS_CPUTIME_ID) < end {}
    in_child(|| check(now_ns(CLOCK_PROCESS_CPUTIME_ID) < 25_000_000, "the child's clock starts anew"));
}

case!(many_in_turn_under_a_limit: fork, vfork, clone, wait4, prlimit64; root);
fn many_in_turn_under_a_limit() {
    // One that has ended no longer counts, however many there have been: a kernel that lost count would run out.
    in_child(|| {
        // An id that nobody else has.
        become_user(54_323);
        let limit = rlimit { rlim_cur: 6, rlim_max: 6 };
        ok(sys!(prlimit64, 0, RLIMIT_NPROC, &limit, 0));
        extern "C" fn nothing(_: usize) -> c_int {
            0
        }
        for _ in 0..40 {
            fork(|| {}).succeeds();
            let vfork = (CLONE_VM | CLONE_VFORK) as u64 | SIGCHLD as u64;
            let pid = ok(thread::clone(vfork, thread::Slots::default(), nothing, 0));
            Child { pid: pid as c_int }.succeeds();
            // A thread gives its place back when it is gone, which is a moment after it has said so.
            let gone = AtomicU32::new(1);
            let slots = thread::Slots { child: &raw const gone as usize, ..thread::Slots::default() };
            let flags = thread::THREAD | (CLONE_CHILD_CLEARTID | CLONE_CHILD_SETTID) as u64;
            eventually("a thread can be had", || thread::clone(flags, slots, nothing, 0).is_ok());
            eventually("it is gone", || gone.load(Ordering::SeqCst) == 0);
        }
        // Those that nobody has waited for do count.
        let mut kept = Vec::new();
        let full = loop {
            match sys!(fork) {
                Ok(0) => exit_now(0),
                Ok(pid) => kept.push(Child { pid: pid as c_int }),
                full => break full,
            }
        };
        fails(full, EAGAIN);
        eq(kept.len(), 5);
        kept.into_iter().for_each(Child::succeeds);
        fork(|| {}).succeeds();
    });
}
