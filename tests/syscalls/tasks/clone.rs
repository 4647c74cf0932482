//! clone, clone3 and vfork: flags, slots, errors.

use std::arch::asm;
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};

use crate::kit::prelude::*;
use crate::kit::thread::{Slots, THREAD};

static SEEN: AtomicU32 = AtomicU32::new(0);

extern "C" fn mark(value: usize) -> c_int {
    SEEN.store(value as u32, Ordering::SeqCst);
    7
}

case!(shared_memory_without_a_thread: clone, wait4);
fn shared_memory_without_a_thread() {
    let pid = ok_i32(thread::clone(CLONE_VM as u64 | SIGCHLD as u64, Slots::default(), mark, 42));
    Child { pid }.exits_with(7);
    eq(SEEN.load(Ordering::SeqCst), 42);
}

case!(vfork_shares_memory_and_waits: vfork, exit);
fn vfork_shares_memory_and_waits() {
    let mut cell: u32 = 0;
    let pid: i64;
    // SAFETY: the child stores to the cell, sleeps and ends without touching the stack.
    unsafe {
        asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "mov dword ptr [r12], 77",
            "mov eax, 60",
            "mov edi, 9",
            "syscall",
            "2:",
            inlateout("rax") nr::vfork => pid,
            in("r12") &raw mut cell,
            lateout("rcx") _, lateout("r11") _, out("rdi") _,
        );
    }
    // The child has ended by now: vfork returned because of that.
    eq(cell, 77);
    let pid = ok_i32(crate::kit::sys::answer(pid));
    Child { pid }.exits_with(9);
}

extern "C" fn slow_then_exec(_: usize) -> c_int {
    let t = timespec { tv_sec: 0, tv_nsec: 50_000_000 };
    let _ = sys!(nanosleep, &t, 0);
    SEEN.store(1, Ordering::SeqCst);
    let argv = [c"true".as_ptr(), std::ptr::null()];
    let _ = sys!(execve, c"/bin/true", &argv, &argv[1]);
    1
}

case!(vfork_flag_waits_for_exec: clone, execve);
fn vfork_flag_waits_for_exec() {
    let flags = (CLONE_VM | CLONE_VFORK | SIGCHLD) as u64;
    let pid = ok_i32(thread::clone(flags, Slots::default(), slow_then_exec, 0));
    eq(SEEN.load(Ordering::SeqCst), 1);
    Child { pid }.succeeds();
}

case!(files_shared: clone);
fn files_shared() {
    clone_child((CLONE_FILES | SIGCHLD) as u64, || {
        ok(sys!(dup3, 2, 60, 0));
    })
    .succeeds();
    ok(sys!(fcntl, 60, F_GETFD));
}

case!(fs_shared: clone, chdir, umask);
fn fs_shared() {
    mkdir(c"d");
    clone_child((CLONE_FS | SIGCHLD) as u64, || {
        ok(sys!(chdir, c"d"));
        ok(sys!(umask, 0o77));
    })
    .succeeds();
    check(absolute("").to_bytes().ends_with(b"/d/"), "the parent moved along");
    eq(ok(sys!(umask, 0o22)), 0o77);
}

case!(sighand_shared: clone, rt_sigaction);
fn sighand_shared() {
    extern "C" fn set(_: usize) -> c_int {
        let ignore = sig::Action { handler: SIG_IGN, ..Default::default() };
        c_int::from(sys!(rt_sigaction, SIGUSR1, &ignore, 0, 8).is_err())
    }
    let flags = (CLONE_VM | CLONE_SIGHAND | SIGCHLD) as u64;
    let pid = ok_i32(thread::clone(flags, Slots::default(), set, 0));
    Child { pid }.succeeds();
    eq(sig::get(SIGUSR1).handler, SIG_IGN);
}

case!(clear_sighand: clone3);
fn clear_sighand() {
    sig::on(SIGUSR1, sig::record, 0);
    sig::ignore(SIGUSR2);
    let args = [1u64 << 32, 0, 0, 0, SIGCHLD as u64, 0, 0, 0];
    let pid = ok_i32(sys!(clone3, &args, 64));
    if pid == 0 {
        eq(sig::get(SIGUSR1).handler, SIG_DFL);
        eq_of("ignored ones stay ignored", sig::get(SIGUSR2).handler, SIG_IGN);
        exit_now(0);
    }
    Child { pid }.succeeds();
    check(sig::get(SIGUSR1).handler > 1, "the parent keeps its handler");
}

case!(combinations_that_do_not_go: clone);
fn combinations_that_do_not_go() {
    let bad = [
        CLONE_SIGHAND,
        CLONE_THREAD,
        CLONE_THREAD | CLONE_SIGHAND,
        CLONE_NEWNS | CLONE_FS,
        CLONE_NEWUSER | CLONE_FS,
        CLONE_THREAD | CLONE_SIGHAND | CLONE_VM | CLONE_NEWPID,
        CLONE_PIDFD | CLONE_DETACHED,
        CLONE_PIDFD | CLONE_PARENT_SETTID,
    ];
    for flags in bad {
        match sys!(clone, flags as u32, 0, 0, 0, 0) {
            Err(Errno(EINVAL)) => {}
            Ok(0) => exit_now(0),
            other => fail(format_args!("flags {flags:#x}: expected EINVAL, got {other:?}")),
        }
    }
}

case!(exit_signal: clone, wait4);
fn exit_signal() {
    sig::block(sig::bit(SIGUSR1) | sig::bit(SIGCHLD));
    let child = clone_child(SIGUSR1 as u64, || {});
    eventually("SIGUSR1 tells of the end", || sig::pending() & sig::bit(SIGUSR1) != 0);
    eq_of("no SIGCHLD", sig::pending() & sig::bit(SIGCHLD), 0);
    let mut status: c_int = 0;
    // Such a child counts as a clone child: plain wait does not see it.
    fails(sys!(wait4, child.pid, &mut status, 0, 0), ECHILD);
    eq(ok(sys!(wait4, child.pid, &mut status, __WCLONE, 0)) as i32, child.pid);
}

case!(no_exit_signal: clone, wait4);
fn no_exit_signal() {
    sig::block(u64::MAX);
    let child = clone_child(0, || {});
    let mut status: c_int = 0;
    fails(sys!(wait4, -1, &mut status, 0, 0), ECHILD);
    eq(ok(sys!(wait4, -1, &mut status, __WALL, 0)) as i32, child.pid);
    eq(sig::pending(), 0);
}

case!(parent_flag_makes_a_sibling: clone, getppid);
fn parent_flag_makes_a_sibling() {
    in_child(|| {
        let me = ok(sys!(getpid));
        let sibling = shared::<AtomicI32>();
        in_child(|| {
            let child = clone_child((CLONE_PARENT | SIGCHLD) as u64, || eq(ok(sys!(getppid)), me));
            sibling.store(child.pid, Ordering::SeqCst);
        });
        Child { pid: sibling.load(Ordering::SeqCst) }.succeeds();
    });
}

case!(settid_slots: clone, set_tid_address);
fn settid_slots() {
    let slots = shared::<[AtomicI32; 2]>();
    let flags = (CLONE_PARENT_SETTID | CLONE_CHILD_SETTID | SIGCHLD) as u64;
    let pid = ok_i32(sys!(clone, flags, 0, &slots[0], &slots[1], 0));
    if pid == 0 {
        eq(slots[1].load(Ordering::SeqCst), ok(sys!(getpid)) as i32);
        exit_now(0);
    }
    eq(slots[0].load(Ordering::SeqCst), pid);
    Child { pid }.succeeds();
}

case!(cleartid_wakes_a_futex: clone, futex, exit);
fn cleartid_wakes_a_futex() {
    static TID: AtomicI32 = AtomicI32::new(-1);
    let slots = Slots { child: TID.as_ptr() as usize, parent: TID.as_ptr() as usize, tls: 0 };
    let flags = THREAD | (CLONE_CHILD_CLEARTID | CLONE_PARENT_SETTID) as u64;
    let tid = ok_i32(thread::clone(flags, slots, mark, 5));
    loop {
        let now = TID.load(Ordering::SeqCst);
        if now == 0 {
            break;
        }
        eq(now, tid);
        let _ = sys!(futex, &TID, FUTEX_WAIT, now, 0);
    }
    eq(SEEN.load(Ordering::SeqCst), 5);
}

case!(settls: clone, arch_prctl);
fn settls() {
    extern "C" fn body(_: usize) -> c_int {
        let value: u64;
        // SAFETY: fs points at the area that was handed over.
        unsafe { asm!("mov {}, fs:[8]", out(reg) value) };
        c_int::from(value != 0x1234_5678_9abc)
    }
    let area = map(PAGE, RW);
    poke64(area, area as u64);
    poke64(area + 8, 0x1234_5678_9abc);
    let slots = Slots { tls: area, ..Slots::default() };
    let flags = (CLONE_VM | CLONE_SETTLS | SIGCHLD) as u64;
    let pid = ok_i32(thread::clone(flags, slots, body, 0));
    Child { pid }.succeeds();
}

case!(clone3_basics: clone3, wait4);
fn clone3_basics() {
    let slot = shared::<AtomicI32>();
    let args = [CLONE_CHILD_SETTID as u64, 0, slot.as_ptr() as u64, 0, SIGCHLD as u64, 0, 0, 0];
    let pid = ok_i32(sys!(clone3, &args, 64));
    if pid == 0 {
        exit_now(3);
    }
    Child { pid }.exits_with(3);
    eq(slot.load(Ordering::SeqCst), pid);
}

case!(clone3_sizes: clone3);
fn clone3_sizes() {
    let mut args = [0u64; 16];
    fails(sys!(clone3, &args, 63), EINVAL);
    fails(sys!(clone3, &args, 0), EINVAL);
    fails(sys!(clone3, &args, PAGE + 8), E2BIG);
    // Unknown trailing fields must be zero.
    args[12] = 1;
    fails(sys!(clone3, &args, 128), E2BIG);
    fails(sys!(clone3, 8, 64), EFAULT);
}

case!(clone3_arguments: clone3);
fn clone3_arguments() {
    let try_with = |change: &dyn Fn(&mut [u64; 11])| {
        let mut args = [0u64; 11];
        args[4] = SIGCHLD as u64;
        change(&mut args);
        match sys!(clone3, &args, 88) {
            Ok(0) => exit_now(0),
            other => other,
        }
    };
    // The exit signal is no longer part of the flags.
    fails(try_with(&|a| a[0] = SIGCHLD as u64), EINVAL);
    fails(try_with(&|a| a[4] = 65), EINVAL);
    fails(try_with(&|a| a[4] = 256), EINVAL);
    // A stack needs a size and the other way round.
    fails(try_with(&|a| a[5] = 0x10000), EINVAL);
    fails(try_with(&|a| a[6] = 0x10000), EINVAL);
    fails(try_with(&|a| a[0] = CLONE_DETACHED as u64), EINVAL);
    fails(try_with(&|a| a[0] = (CLONE_THREAD | CLONE_SIGHAND | CLONE_VM) as u64), EINVAL);
    // set_tid: a size without an array, and more levels than there are.
    fails(try_with(&|a| a[9] = 1), EINVAL);
    fails(try_with(&|a| a[9] = 33), EINVAL);
}

case!(clone3_pidfd: clone3, pidfd_send_signal, waitid);
fn clone3_pidfd() {
    let mut fd: c_int = -1;
    let args = [CLONE_PIDFD as u64, &raw mut fd as u64, 0, 0, SIGCHLD as u64, 0, 0, 0];
    let pid = ok_i32(sys!(clone3, &args, 64));
    if pid == 0 {
        sleep_ms(10_000);
        exit_now(0);
    }
    check(fd > 2, "a descriptor");
    eq(ok(sys!(fcntl, fd, F_GETFD)), i64::from(FD_CLOEXEC));
    ok(sys!(pidfd_send_signal, fd, SIGTERM, 0, 0));
    Child { pid }.dies_of(SIGTERM);
}

case!(thread_gets_the_group_pid: clone, getpid, gettid);
fn thread_gets_the_group_pid() {
    static IDS: [AtomicI32; 2] = [const { AtomicI32::new(0) }; 2];
    extern "C" fn body(_: usize) -> c_int {
        IDS[0].store(sys!(getpid).unwrap_or(0) as i32, Ordering::SeqCst);
        IDS[1].store(sys!(gettid).unwrap_or(0) as i32, Ordering::SeqCst);
        0
    }
    let tid = ok_i32(thread::clone(THREAD, Slots::default(), body, 0));
    eventually("the thread ran", || IDS[1].load(Ordering::SeqCst) != 0);
    eq(IDS[0].load(Ordering::SeqCst), ok(sys!(getpid)) as i32);
    eq(IDS[1].load(Ordering::SeqCst), tid);
    fails(sys!(wait4, tid, 0, __WALL, 0), ECHILD);
}

case!(unshare_files: unshare);
fn unshare_files() {
    clone_child((CLONE_FILES | SIGCHLD) as u64, || {
        ok(sys!(unshare, CLONE_FILES));
        ok(sys!(dup3, 2, 61, 0));
    })
    .succeeds();
    fails(sys!(fcntl, 61, F_GETFD), EBADF);
    fails(sys!(unshare, 1), EINVAL);
    ok(sys!(unshare, 0));
}

case!(unshare_what_needs_one_thread: unshare);
fn unshare_what_needs_one_thread() {
    // With one thread this is nothing to do.
    ok(sys!(unshare, CLONE_VM));
    ok(sys!(unshare, CLONE_SIGHAND | CLONE_VM));
    let (_, handle) = thread::spawn(|| sleep_ms(200));
    fails(sys!(unshare, CLONE_VM), EINVAL);
    fails(sys!(unshare, CLONE_THREAD), EINVAL);
    thread::join(handle);
}
