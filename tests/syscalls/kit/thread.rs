//! Threads and processes on a stack of their own, without the C library.

use std::arch::asm;
use std::sync::atomic::{AtomicI32, Ordering};
use std::thread::JoinHandle;

use libc::c_int;

use super::check::ok;
use super::memory::{PAGE, RW, map};
use super::numbers::nr;
use super::sys::{Answer, answer};
use super::wait::eventually;
use crate::sys;

/// Flags of an ordinary thread.
pub const THREAD: u64 = (libc::CLONE_VM
    | libc::CLONE_FS
    | libc::CLONE_FILES
    | libc::CLONE_SIGHAND
    | libc::CLONE_THREAD
    | libc::CLONE_SYSVSEM) as u64;

/// The rest of clone's arguments.
#[derive(Clone, Copy, Debug, Default)]
pub struct Slots {
    /// CLONE_PARENT_SETTID, CLONE_PIDFD
    pub parent: usize,
    /// CLONE_CHILD_SETTID, CLONE_CHILD_CLEARTID
    pub child: usize,
    /// CLONE_SETTLS
    pub tls: usize,
}

/// `clone` on a fresh stack; the child runs `body(arg)` and ends itself with exit(2) and what that returns. The body shares
/// thread-local storage with whoever called: it may use system calls and atomics, no allocation.
pub fn clone(flags: u64, slots: Slots, body: extern "C" fn(usize) -> c_int, arg: usize) -> Answer {
    let top = map(16 * PAGE, RW) + 16 * PAGE;
    let result: i64;
    // SAFETY: the child runs on pages that belong to it alone; the parent only gets rax back.
    unsafe {
        asm!(
            "mov [rsi - 16], {body}",
            "mov [rsi - 8], {arg}",
            "sub rsi, 16",
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "xor ebp, ebp",
            "pop rax",
            "pop rdi",
            "call rax",
            "mov edi, eax",
            "mov eax, 60",
            "syscall",
            "ud2",
            "2:",
            body = in(reg) body,
            arg = in(reg) arg,
            inlateout("rax") nr::clone => result,
            in("rdi") flags, inlateout("rsi") top => _, in("rdx") slots.parent,
            in("r10") slots.child, in("r8") slots.tls,
            lateout("rcx") _, lateout("r11") _,
        );
    }
    answer(result)
}

/// A standard thread and its thread id.
#[track_caller]
pub fn spawn(body: impl FnOnce() + Send + 'static) -> (c_int, JoinHandle<()>) {
    let tid: &'static AtomicI32 = Box::leak(Box::new(AtomicI32::new(0)));
    let handle = std::thread::spawn(move || {
        tid.store(ok(sys!(gettid)) as i32, Ordering::SeqCst);
        body();
    });
    eventually("the thread has begun", || tid.load(Ordering::SeqCst) != 0);
    (tid.load(Ordering::SeqCst), handle)
}

/// Joins.
#[track_caller]
pub fn join(handle: JoinHandle<()>) {
    if handle.join().is_err() {
        super::check::fail("a thread panicked");
    }
}
