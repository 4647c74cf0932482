//! The vDSO: a shared library that the kernel maps, for clocks without system calls.

use crate::kit::filter::{KILL_PROCESS, install, on_call};
use crate::kit::prelude::*;

const AT_VDSO: u64 = AT_SYSINFO_EHDR;

fn base() -> usize {
    let words = crate::kit::probe::auxv();
    match words.chunks_exact(2).find(|p| p[0] == AT_VDSO) {
        Some(pair) => pair[1] as usize,
        None => fail("no vDSO is announced"),
    }
}

fn half(at: usize) -> usize {
    usize::from(peek(at)) | usize::from(peek(at + 1)) << 8
}

fn word(at: usize) -> usize {
    half(at) | half(at + 2) << 16
}

fn bytes(at: usize) -> Vec<u8> {
    (0..).map(|i| peek(at + i)).take_while(|b| *b != 0).collect()
}

/// The address of a function, found as a C library finds it: dynamic section, symbols, hash table.
fn symbol(name: &str) -> Option<usize> {
    let base = base();
    let (table, count) = (base + peek64(base + 32) as usize, half(base + 56));
    let header = |kind: usize| (0..count).map(|i| table + i * 56).find(|h| word(*h) == kind);
    let load = header(1)?;
    let shift = base.wrapping_sub(peek64(load + 16) as usize).wrapping_add(peek64(load + 8) as usize);
    let dynamic = base + peek64(header(2)? + 8) as usize;
    let entry = |tag: u64| {
        (0..64).map(|i| dynamic + i * 16).take_while(|d| peek64(*d) != 0).find(|d| peek64(*d) == tag)
    };
    let at = |tag: u64| Some(shift.wrapping_add(peek64(entry(tag)? + 8) as usize));
    let (strings, symbols) = (at(5)?, at(6)?);
    // Without the old hash table the number of symbols is found from where the strings begin.
    let total = at(4).map_or((strings - symbols) / 24, |hash| word(hash + 4));
    (0..total)
        .map(|i| symbols + i * 24)
        .find(|s| bytes(strings + word(*s)) == name.as_bytes())
        .map(|s| shift.wrapping_add(peek64(s + 8) as usize))
}

#[track_caller]
fn function(name: &str) -> usize {
    match symbol(name) {
        Some(at) => at,
        None => fail(format_args!("the vDSO has no {name}")),
    }
}

case!(is_a_library: execve);
fn is_a_library() {
    let base = base();
    eq([peek(base), peek(base + 1), peek(base + 2), peek(base + 3)], *b"\x7fELF");
    // Of 64 bits, position independent, for this machine.
    eq((peek(base + 4), half(base + 16), half(base + 18)), (2, 3, 62));
    let maps = text(c"/proc/self/maps");
    let line = maps.lines().find(|l| l.ends_with("[vdso]")).unwrap_or_default();
    check(line.starts_with(&format!("{base:x}-")), line);
}

case!(names_what_libraries_look_for: execve);
fn names_what_libraries_look_for() {
    for name in
        ["__vdso_clock_gettime", "__vdso_gettimeofday", "__vdso_time", "__vdso_getcpu", "__vdso_clock_getres"]
    {
        check(symbol(name).is_some(), name);
    }
}

case!(clocks_agree_with_the_call: clock_gettime);
fn clocks_agree_with_the_call() {
    // SAFETY: the function has this type, by vdso(7).
    let read: extern "C" fn(c_int, *mut timespec) -> c_int =
        unsafe { std::mem::transmute(function("__vdso_clock_gettime")) };
    let clocks = [
        CLOCK_REALTIME,
        CLOCK_MONOTONIC,
        CLOCK_BOOTTIME,
        CLOCK_MONOTONIC_RAW,
        CLOCK_REALTIME_COARSE,
        CLOCK_MONOTONIC_COARSE,
        CLOCK_TAI,
        CLOCK_PROCESS_CPUTIME_ID,
        CLOCK_THREAD_CPUTIME_ID,
    ];
    for clock in clocks {
        let mut last = 0;
        for _ in 0..100 {
            let before = now_ns(clock);
            let mut t: timespec = zeroed();
            eq(read(clock, &mut t), 0);
            let got = t.tv_sec * 1_000_000_000 + t.tv_nsec;
            let after = now_ns(clock);
            check(
                before <= got && got <= after && got >= last,
                format_args!("clock {clock}: {before} {got} {after}"),
            );
            last = got;
        }
    }
    let mut t: timespec = zeroed();
    eq(read(99, &mut t), -EINVAL);
}

case!(time_of_day: gettimeofday, time);
fn time_of_day() {
    // SAFETY: the function has this type, by vdso(7).
    let read: extern "C" fn(*mut timeval, *mut [i32; 2]) -> c_int =
        unsafe { std::mem::transmute(function("__vdso_gettimeofday")) };
    // SAFETY: likewise.
    let seconds: extern "C" fn(*mut i64) -> i64 = unsafe { std::mem::transmute(function("__vdso_time")) };
    let before = now_ns(CLOCK_REALTIME) / 1000;
    let mut t: timeval = zeroed();
    let mut zone = [7i32; 2];
    eq(read(&mut t, &mut zone), 0);
    let got = t.tv_sec * 1_000_000 + t.tv_usec;
    check(before <= got && got <= now_ns(CLOCK_REALTIME) / 1000, "between two calls");
    eq(read(std::ptr::null_mut(), std::ptr::null_mut()), 0);
    let mut also = 0i64;
    let now = seconds(&mut also);
    eq(now, also);
    within("seconds", now, before / 1_000_000 - 1, before / 1_000_000 + 2);
}

type GetCpu = extern "C" fn(*mut u32, *mut u32, usize) -> c_int;

fn getcpu() -> GetCpu {
    // SAFETY: the function has this type, by vdso(7).
    unsafe { std::mem::transmute(function("__vdso_getcpu")) }
}

/// What the vDSO says.
#[track_caller]
fn processor(read: GetCpu) -> u32 {
    let (mut cpu, mut node) = (99u32, 99u32);
    eq(read(&mut cpu, &mut node, 0), 0);
    check(node < 99, "the node is stored");
    cpu
}

fn processor_by_call() -> u32 {
    let mut cpu = 98u32;
    ok(sys!(getcpu, &mut cpu, 0, 0));
    cpu
}

/// The processors that this thread may use.
fn allowed() -> Vec<usize> {
    let mut set = [0u64; 16];
    ok(sys!(sched_getaffinity, 0, 128, &mut set));
    (0..1024).filter(|cpu| set[cpu / 64] >> (cpu % 64) & 1 != 0).collect()
}

fn stay_on(cpu: usize) {
    let mut one = [0u64; 16];
    one[cpu / 64] = 1 << (cpu % 64);
    ok(sys!(sched_setaffinity, 0, 128, &one));
}

/// From here on the call is deadly to this thread's process.
fn forbid_the_call() {
    ok(sys!(prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    ok(install(&on_call(nr::getcpu as u32, KILL_PROCESS), 0));
}

case!(processor_number: getcpu, sched_setaffinity);
fn processor_number() {
    let read = getcpu();
    for cpu in allowed() {
        stay_on(cpu);
        eq((processor(read), processor_by_call()), (cpu as u32, cpu as u32));
    }
    eq(read(std::ptr::null_mut(), std::ptr::null_mut(), 0), 0);
}

case!(processor_number_of_any: getcpu);
fn processor_number_of_any() {
    let read = getcpu();
    // Between two calls that say the same the thread has probably not been moved.
    eventually("they agree", || {
        let (before, here, after) = (processor_by_call(), processor(read), processor_by_call());
        before == here && here == after
    });
}

/// Threads find themselves by the base of their FS segment, where programs can read it.
fn needs_fs_base() {
    let words = crate::kit::probe::auxv();
    let bits = words.chunks_exact(2).find(|pair| pair[0] == AT_HWCAP2).map_or(0, |pair| pair[1]);
    if bits & 2 == 0 {
        skip("programs can't read the base of their FS segment here");
    }
}

case!(processor_number_without_a_call: getcpu, seccomp, fork);
fn processor_number_without_a_call() {
    needs_fs_base();
    let read = getcpu();
    let first = allowed()[0];
    fork(move || {
        stay_on(first);
        forbid_the_call();
        for _ in 0..1000 {
            eq(processor(read), first as u32);
        }
        // The same in a child, in one that shares the memory for a while, and here again.
        in_child(|| eq(processor(read), first as u32));
        extern "C" fn look(read: usize) -> c_int {
            // SAFETY: it was made of one.
            let read: GetCpu = unsafe { std::mem::transmute(read) };
            processor(read) as c_int
        }
        let flags = (CLONE_VM | CLONE_VFORK) as u64 | SIGCHLD as u64;
        let pid = ok(thread::clone(flags, thread::Slots::default(), look, read as usize)) as c_int;
        eq(WEXITSTATUS(Child { pid }.status()), first as c_int & 0xff);
        eq(processor(read), first as u32);
    })
    .succeeds();
    fork(move || {
        forbid_the_call();
        let _ = sys!(getcpu, 0, 0, 0);
    })
    .dies_of(SIGSYS);
}

case!(processor_number_of_threads: getcpu, seccomp, sched_setaffinity);
fn processor_number_of_threads() {
    needs_fs_base();
    let read = getcpu();
    in_child(move || {
        let threads: Vec<_> = (0..8)
            .map(|number| {
                std::thread::spawn(move || {
                    let cpus = allowed();
                    let cpu = cpus[number % cpus.len()];
                    stay_on(cpu);
                    eq(processor_by_call(), cpu as u32);
                    forbid_the_call();
                    for _ in 0..200 {
                        eq(processor(read), cpu as u32);
                        ok(sys!(sched_yield));
                    }
                })
            })
            .collect();
        check(threads.into_iter().all(|thread| thread.join().is_ok()), "all have seen their own");
    });
}

case!(works_in_children_and_after_exec: fork, execve, clock_gettime);
fn works_in_children_and_after_exec() {
    in_child(|| {
        // SAFETY: the function has this type, by vdso(7).
        let read: extern "C" fn(c_int, *mut timespec) -> c_int =
            unsafe { std::mem::transmute(function("__vdso_clock_gettime")) };
        let mut t: timespec = zeroed();
        eq(read(CLOCK_MONOTONIC, &mut t), 0);
    });
}
