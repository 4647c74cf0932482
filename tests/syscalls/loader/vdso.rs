//! The vDSO: a shared library that the kernel maps, for clocks without system calls.

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

case!(processor_number: getcpu, sched_setaffinity);
fn processor_number() {
    // SAFETY: the function has this type, by vdso(7).
    let read: extern "C" fn(*mut u32, *mut u32, usize) -> c_int =
        unsafe { std::mem::transmute(function("__vdso_getcpu")) };
    let mut set = [0u64; 16];
    ok(sys!(sched_getaffinity, 0, 128, &mut set));
    let first = set.iter().flat_map(|w| (0..64).map(move |b| w >> b & 1)).position(|b| b == 1).unwrap_or(0);
    let mut one = [0u64; 16];
    one[first / 64] = 1 << (first % 64);
    ok(sys!(sched_setaffinity, 0, 128, &one));
    let (mut cpu, mut node, mut by_call) = (99u32, 99u32, 98u32);
    eq(read(&mut cpu, &mut node, 0), 0);
    ok(sys!(getcpu, &mut by_call, 0, 0));
    eq((cpu, by_call), (first as u32, first as u32));
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
