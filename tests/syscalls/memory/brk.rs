//! brk: the heap's end.

use crate::kit::prelude::*;

fn current() -> usize {
    ok(sys!(brk, 0)) as usize
}

case!(grows_and_is_zero: brk);
fn grows_and_is_zero() {
    let end = current().next_multiple_of(PAGE);
    eq(ok(sys!(brk, end + 4 * PAGE)) as usize, end + 4 * PAGE);
    for i in (0..4 * PAGE).step_by(512) {
        eq(peek(end + i), 0);
    }
    poke(end + 4 * PAGE - 1, 1);
    eq(current(), end + 4 * PAGE);
}

case!(shrinks_and_forgets: brk);
fn shrinks_and_forgets() {
    let end = current().next_multiple_of(PAGE);
    ok(sys!(brk, end + 4 * PAGE));
    poke(end + PAGE, 1);
    eq(ok(sys!(brk, end)) as usize, end);
    faults(|| touch(end + PAGE), SIGSEGV, 1, end + PAGE);
    ok(sys!(brk, end + 4 * PAGE));
    eq(peek(end + PAGE), 0);
}

case!(odd_addresses_are_kept: brk);
fn odd_addresses_are_kept() {
    let end = current();
    eq(ok(sys!(brk, end + 5)) as usize, end + 5);
    eq(current(), end + 5);
    eq(ok(sys!(brk, end)) as usize, end);
}

case!(refusal_returns_the_old_end: brk);
fn refusal_returns_the_old_end() {
    let end = current();
    eq(ok(sys!(brk, 1)) as usize, end);
    eq(ok(sys!(brk, 1u64 << 46)) as usize, end);
    eq(ok(sys!(brk, u64::MAX)) as usize, end);
    eq(current(), end);
}

case!(does_not_run_into_a_mapping: brk, mmap);
fn does_not_run_into_a_mapping() {
    let end = current().next_multiple_of(PAGE);
    ok(sys!(brk, end));
    ok(sys!(mmap, end + 16 * PAGE, PAGE, RW, ANON | MAP_FIXED_NOREPLACE, -1, 0));
    eq(ok(sys!(brk, end + 32 * PAGE)) as usize, end);
    eq(ok(sys!(brk, end + 8 * PAGE)) as usize, end + 8 * PAGE);
}

case!(data_limit: brk, prlimit64);
fn data_limit() {
    in_child(|| {
        let end = current();
        let limit = rlimit { rlim_cur: 1 << 20, rlim_max: RLIM_INFINITY };
        ok(sys!(prlimit64, 0, RLIMIT_DATA, &limit, 0));
        eq(ok(sys!(brk, end + (64 << 20))) as usize, end);
    });
}

case!(child_has_its_own: brk, fork);
fn child_has_its_own() {
    let end = current().next_multiple_of(PAGE);
    ok(sys!(brk, end + PAGE));
    in_child(|| {
        ok(sys!(brk, end + 3 * PAGE));
        poke(end + 2 * PAGE, 1);
    });
    eq(current(), end + PAGE);
    faults(|| poke(end + 2 * PAGE, 1), SIGSEGV, 1, end + 2 * PAGE);
}
