//! process_vm_readv and process_vm_writev.

use crate::kit::prelude::*;

#[repr(C)]
struct Vector {
    base: usize,
    len: usize,
}

fn vector(base: usize, len: usize) -> Vector {
    Vector { base, len }
}

/// A child with the same memory that waits to be ended.
fn sleeper() -> Child {
    fork(|| sleep_ms(10_000))
}

case!(reads_and_writes: process_vm_readv, process_vm_writev);
fn reads_and_writes() {
    let page = map(PAGE, RW);
    poke64(page, 0x1111);
    let child = sleeper();
    poke64(page, 0x2222);
    let mut got = [0u64; 2];
    let local = vector(got.as_mut_ptr() as usize, 8);
    eq(ok(sys!(process_vm_readv, child.pid, &local, 1, &vector(page, 8), 1, 0)), 8);
    eq(got[0], 0x1111);
    eq(ok(sys!(process_vm_writev, child.pid, &vector(page, 8), 1, &vector(page + 8, 8), 1, 0)), 8);
    let local = vector(got.as_mut_ptr() as usize, 16);
    eq(ok(sys!(process_vm_readv, child.pid, &local, 1, &vector(page, 16), 1, 0)), 16);
    eq(got, [0x1111, 0x2222]);
    child.end();
}

case!(pieces_do_not_have_to_match: process_vm_readv);
fn pieces_do_not_have_to_match() {
    let page = map(PAGE, RW);
    (0..16).for_each(|i| poke(page + i, i as u8));
    let child = sleeper();
    let mut got = [0u8; 12];
    let at = got.as_mut_ptr() as usize;
    let local = [vector(at, 5), vector(at + 5, 0), vector(at + 5, 7)];
    let remote = [vector(page, 1), vector(page + 4, 8), vector(page + 2, 100)];
    eq(ok(sys!(process_vm_readv, child.pid, &local, 3, &remote, 3, 0)), 12);
    eq(got, [0, 4, 5, 6, 7, 8, 9, 10, 11, 2, 3, 4]);
    child.end();
}

case!(as_much_as_can_be_touched: process_vm_readv, process_vm_writev);
fn as_much_as_can_be_touched() {
    let read_only = map(PAGE, PROT_READ);
    let pages = map(2 * PAGE, RW);
    unmap(pages + PAGE, PAGE);
    let child = sleeper();
    let mut got = [0u8; 64];
    let local = vector(got.as_mut_ptr() as usize, 64);
    let reach = |at: usize| sys!(process_vm_readv, child.pid, &local, 1, &vector(at, 64), 1, 0);
    eq(ok(reach(pages)), 64);
    eq(ok(reach(pages + PAGE - 10)), 10);
    fails(reach(pages + PAGE), EFAULT);
    fails(reach(0), EFAULT);
    // Protection counts.
    fails(sys!(process_vm_writev, child.pid, &local, 1, &vector(read_only, 8), 1, 0), EFAULT);
    child.end();
}

case!(bad_arguments: process_vm_readv);
fn bad_arguments() {
    let page = map(PAGE, RW);
    let (v, me) = (vector(page, 8), ok(sys!(getpid)));
    eq(ok(sys!(process_vm_readv, me, &v, 1, &v, 1, 0)), 8);
    fails(sys!(process_vm_readv, me, &v, 1, &v, 1, 1), EINVAL);
    fails(sys!(process_vm_readv, me, &v, 1025, &v, 1, 0), EINVAL);
    fails(sys!(process_vm_readv, me, &v, 1, &v, 1025, 0), EINVAL);
    fails(sys!(process_vm_readv, me, 8, 1, &v, 1, 0), EFAULT);
    fails(sys!(process_vm_readv, me, &v, 1, 8, 1, 0), EFAULT);
    fails(sys!(process_vm_readv, 0x3fff_fff0, &v, 1, &v, 1, 0), ESRCH);
    // Nothing to do comes before everything else.
    eq(ok(sys!(process_vm_readv, 0x3fff_fff0, &v, 0, &v, 1, 0)), 0);
    eq(ok(sys!(process_vm_readv, 0x3fff_fff0, &vector(page, 0), 1, &v, 1, 0)), 0);
}

case!(only_what_one_may_trace: process_vm_readv, kcmp; root);
fn only_what_one_may_trace() {
    let page = map(PAGE, RW);
    let child = sleeper();
    unprivileged(|| {
        let v = vector(page, 8);
        fails(sys!(process_vm_readv, child.pid, &v, 1, &v, 1, 0), EPERM);
        fails(sys!(kcmp, child.pid, ok(sys!(getpid)), 1, 0, 0), EPERM);
    });
    child.end();
}
