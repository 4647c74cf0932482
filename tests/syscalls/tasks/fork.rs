//! fork, vfork, clone and clone3: what the child gets.

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
