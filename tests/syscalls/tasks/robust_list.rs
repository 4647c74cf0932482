//! Robust futexes: the kernel marks locks of a thread that ends.

use std::arch::asm;
use std::sync::atomic::{AtomicI32, AtomicU32, AtomicUsize, Ordering};

use crate::kit::prelude::*;

/// A list head and one lock.
#[repr(C)]
struct Robust {
    head: [AtomicUsize; 3],
    node: AtomicUsize,
    lock: AtomicU32,
    woken: AtomicI32,
}

fn link(robust: &Robust) {
    let head = robust.head.as_ptr() as usize;
    let node = robust.node.as_ptr() as usize;
    robust.head[0].store(node, Ordering::SeqCst);
    robust.head[1].store(robust.lock.as_ptr() as usize - node, Ordering::SeqCst);
    robust.head[2].store(0, Ordering::SeqCst);
    robust.node.store(head, Ordering::SeqCst);
}

case!(owner_died: set_robust_list, exit_group);
fn owner_died() {
    let robust = shared::<Robust>();
    in_child(|| {
        link(robust);
        robust.lock.store(ok(sys!(gettid)) as u32, Ordering::SeqCst);
        ok(sys!(set_robust_list, &robust.head, 24));
    });
    eq(robust.lock.load(Ordering::SeqCst), FUTEX_OWNER_DIED);
}

case!(waiter_is_woken: set_robust_list, futex);
fn waiter_is_woken() {
    let robust = shared::<Robust>();
    let owner = fork(|| {
        link(robust);
        robust.lock.store(ok(sys!(gettid)) as u32 | FUTEX_WAITERS, Ordering::SeqCst);
        ok(sys!(set_robust_list, &robust.head, 24));
        robust.woken.store(1, Ordering::SeqCst);
        sleep_ms(10_000);
    });
    eventually("it is locked", || robust.woken.load(Ordering::SeqCst) == 1);
    let waiter = fork(|| {
        let value = robust.lock.load(Ordering::SeqCst);
        ok(sys!(futex, &robust.lock, FUTEX_WAIT, value, 0));
        check(robust.lock.load(Ordering::SeqCst) & FUTEX_OWNER_DIED != 0, "the owner died");
    });
    until_asleep(waiter.pid);
    owner.end();
    waiter.succeeds();
}

case!(locks_of_others_are_left_alone: set_robust_list);
fn locks_of_others_are_left_alone() {
    let robust = shared::<Robust>();
    let other = ok(sys!(gettid)) as u32;
    in_child(|| {
        link(robust);
        robust.lock.store(other, Ordering::SeqCst);
        ok(sys!(set_robust_list, &robust.head, 24));
    });
    eq(robust.lock.load(Ordering::SeqCst), other);
}

case!(pending_operation: set_robust_list);
fn pending_operation() {
    let robust = shared::<Robust>();
    in_child(|| {
        link(robust);
        // The list is empty; the lock is only named as being taken.
        robust.head[0].store(robust.head.as_ptr() as usize, Ordering::SeqCst);
        robust.head[2].store(robust.node.as_ptr() as usize, Ordering::SeqCst);
        robust.lock.store(ok(sys!(gettid)) as u32, Ordering::SeqCst);
        ok(sys!(set_robust_list, &robust.head, 24));
    });
    eq(robust.lock.load(Ordering::SeqCst), FUTEX_OWNER_DIED);
}

case!(broken_lists_end_quietly: set_robust_list, exit_group);
fn broken_lists_end_quietly() {
    let robust = shared::<Robust>();
    in_child(|| {
        ok(sys!(set_robust_list, 8, 24));
    });
    in_child(|| {
        // A node that points at itself for ever.
        link(robust);
        robust.node.store(robust.node.as_ptr() as usize, Ordering::SeqCst);
        ok(sys!(set_robust_list, &robust.head, 24));
    });
    in_child(|| {
        link(robust);
        robust.node.store(0xffff_8000_0000_0000, Ordering::SeqCst);
        ok(sys!(set_robust_list, &robust.head, 24));
    });
}

case!(get_robust_list: get_robust_list, set_robust_list);
fn get_robust_list() {
    let robust = shared::<Robust>();
    link(robust);
    fails(sys!(set_robust_list, &robust.head, 23), EINVAL);
    in_child(|| {
        ok(sys!(set_robust_list, &robust.head, 24));
        let (mut head, mut length) = (0usize, 0usize);
        ok(sys!(get_robust_list, 0, &mut head, &mut length));
        eq((head, length), (robust.head.as_ptr() as usize, 24));
        fails(sys!(get_robust_list, 0x3fff_fff0, &mut head, &mut length), ESRCH);
        fails(sys!(get_robust_list, 0, 8, &mut length), EFAULT);
    });
}

case!(exec_lets_go_of_locks: set_robust_list, execve);
fn exec_lets_go_of_locks() {
    let robust = shared::<Robust>();
    fork(|| {
        link(robust);
        robust.lock.store(ok(sys!(gettid)) as u32, Ordering::SeqCst);
        ok(sys!(set_robust_list, &robust.head, 24));
        ok(exec(c"/bin/true", &[c"true"], &[]));
    })
    .succeeds();
    eq(robust.lock.load(Ordering::SeqCst), FUTEX_OWNER_DIED);
}

/// From a place that tells the number right before the instruction, as C libraries have it.
#[inline(never)]
fn set_list(head: u64, len: u64) -> i64 {
    let answer;
    // SAFETY: the list, if it is one, is shared memory that stays.
    unsafe {
        asm!("mov eax, 273", "syscall", in("rdi") head, in("rsi") len,
            lateout("rax") answer, lateout("rcx") _, lateout("r11") _);
    }
    answer
}

case!(set_often: set_robust_list, get_robust_list, exit, execve);
fn set_often() {
    let robust = shared::<Robust>();
    let list = &raw const robust.head as u64;
    let lock = move || {
        link(robust);
        robust.lock.store(ok(sys!(gettid)) as u32, Ordering::SeqCst);
        eq(set_list(list, 24), 0);
    };
    let begin = move || {
        for n in 0..6000 {
            eq(set_list(8 * n, 24), 0);
        }
        eq(set_list(list, 16), -(EINVAL as i64));
        let (mut head, mut length) = (0u64, 0usize);
        ok(sys!(get_robust_list, 0, &mut head, &mut length));
        eq((head, length), (8 * 5999, 24));
    };
    // A thread, whose list another thread is told.
    let (tid, thread) = thread::spawn(move || {
        begin();
        lock();
        robust.woken.store(1, Ordering::SeqCst);
        eventually("it was seen", || robust.woken.load(Ordering::SeqCst) == 2);
    });
    eventually("it is locked", || robust.woken.load(Ordering::SeqCst) == 1);
    let (mut head, mut length) = (0u64, 0usize);
    ok(sys!(get_robust_list, tid, &mut head, &mut length));
    eq(head, list);
    robust.woken.store(2, Ordering::SeqCst);
    thread::join(thread);
    eventually("the owner died", || robust.lock.load(Ordering::SeqCst) == FUTEX_OWNER_DIED);
    // A process, a child of it, which has none, and another program.
    in_child(|| {
        begin();
        lock();
        in_child(|| {
            let (mut head, mut length) = (1u64, 0usize);
            ok(sys!(get_robust_list, 0, &mut head, &mut length));
            eq(head, 0);
        });
        check(robust.lock.load(Ordering::SeqCst) != FUTEX_OWNER_DIED, "the child had no list");
    });
    eq(robust.lock.load(Ordering::SeqCst), FUTEX_OWNER_DIED);
    eq(probe(c"umask", lock), probe(c"umask", || ()));
    eq(robust.lock.load(Ordering::SeqCst), FUTEX_OWNER_DIED);
}
