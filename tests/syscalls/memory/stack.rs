//! Stacks: growth, its limit, MAP_GROWSDOWN.

use crate::kit::prelude::*;

fn stack_pointer() -> usize {
    let here = 0u8;
    std::ptr::from_ref(&here) as usize
}

case!(main_stack_grows: execve, prlimit64);
fn main_stack_grows() {
    let sp = stack_pointer();
    // Well below what is in use, within the usual 8 MiB.
    for distance in [64 << 10, 1 << 20, 4 << 20] {
        poke(sp - distance, 1);
        eq(peek(sp - distance), 1);
    }
}

case!(main_stack_stops_at_its_limit: prlimit64);
fn main_stack_stops_at_its_limit() {
    let sp = stack_pointer();
    in_child(|| {
        let limit = rlimit { rlim_cur: 1 << 20, rlim_max: RLIM_INFINITY };
        ok(sys!(prlimit64, 0, RLIMIT_STACK, &limit, 0));
        let target = sp - (2 << 20);
        faults(|| poke(target, 1), SIGSEGV, 1, target);
    });
}

case!(kernel_access_grows_it: read);
fn kernel_access_grows_it() {
    let [r, w] = pipe(0);
    write_all(w, b"x");
    let target = stack_pointer() - (2 << 20);
    eq(ok(sys!(read, r, target, 1)), 1);
    eq(peek(target), b'x');
}

case!(growsdown_mapping_grows: mmap, munmap);
fn growsdown_mapping_grows() {
    let area = map(600 * PAGE, PROT_NONE);
    unmap(area, 600 * PAGE);
    let p = area + 590 * PAGE;
    ok(sys!(mmap, p, PAGE, RW, ANON | MAP_GROWSDOWN | MAP_FIXED, -1, 0));
    poke(p - 1, 1);
    poke(p - 3 * PAGE, 2);
    eq([peek(p - 1), peek(p - 3 * PAGE)], [1, 2]);
}

case!(growsdown_keeps_a_gap: mmap, munmap);
fn growsdown_keeps_a_gap() {
    let area = map(600 * PAGE, RW);
    // The lower part stays mapped; 256 pages above it must stay free.
    let p = area + 400 * PAGE;
    unmap(area + PAGE, 599 * PAGE);
    ok(sys!(mmap, p, PAGE, RW, ANON | MAP_GROWSDOWN | MAP_FIXED, -1, 0));
    poke(p - PAGE, 1);
    let close = area + 3 * PAGE;
    faults(|| poke(close, 1), SIGSEGV, 1, close);
    poke(area, 1);
}

case!(growsdown_of_a_shared_mapping: mmap);
fn growsdown_of_a_shared_mapping() {
    fails(sys!(mmap, 0, PAGE, RW, SHARED_ANON | MAP_GROWSDOWN, -1, 0), EINVAL);
}

case!(child_stack_is_its_own: fork);
fn child_stack_is_its_own() {
    let deep = stack_pointer() - (1 << 20);
    poke(deep, 1);
    in_child(|| {
        eq(peek(deep), 1);
        poke(deep, 2);
        poke(deep - (1 << 20), 2);
    });
    eq(peek(deep), 1);
}
