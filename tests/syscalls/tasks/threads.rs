//! Threads of one process.

use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, Ordering};

use crate::kit::prelude::*;

case!(share_memory_and_descriptors: clone, gettid);
fn share_memory_and_descriptors() {
    static CELL: AtomicU32 = AtomicU32::new(0);
    let (tid, handle) = thread::spawn(|| {
        CELL.store(9, Ordering::SeqCst);
        ok(sys!(dup3, 2, 70, 0));
    });
    thread::join(handle);
    check(tid != ok(sys!(getpid)) as i32, "an id of its own");
    eq(CELL.load(Ordering::SeqCst), 9);
    ok(sys!(fcntl, 70, F_GETFD));
}

case!(many_run: clone, futex);
fn many_run() {
    static SUM: AtomicU32 = AtomicU32::new(0);
    for _ in 0..4 {
        let handles: Vec<_> = (0..16)
            .map(|_| {
                std::thread::spawn(|| {
                    for _ in 0..100 {
                        SUM.fetch_add(1, Ordering::SeqCst);
                        let _ = sys!(sched_yield);
                    }
                })
            })
            .collect();
        handles.into_iter().for_each(thread::join);
    }
    eq(SUM.load(Ordering::SeqCst), 6400);
}

case!(mutex_under_contention: futex);
fn mutex_under_contention() {
    static LOCK: std::sync::Mutex<u64> = std::sync::Mutex::new(0);
    let handles: Vec<_> = (0..4)
        .map(|_| {
            std::thread::spawn(|| {
                for _ in 0..500 {
                    if let Ok(mut value) = LOCK.lock() {
                        let old = *value;
                        let _ = sys!(sched_yield);
                        *value = old + 1;
                    }
                }
            })
        })
        .collect();
    handles.into_iter().for_each(thread::join);
    eq(LOCK.lock().map(|v| *v).unwrap_or(0), 2000);
}

case!(exit_ends_one_thread: exit, wait4);
fn exit_ends_one_thread() {
    fork(|| {
        let tid = ok(sys!(getpid)) as i32;
        std::thread::spawn(move || {
            // The main thread is a zombie while we go on.
            until_state(tid, 'Z');
            exit_now(5);
        });
        let _ = sys!(exit, 3);
    })
    .exits_with(5);
}

case!(last_thread_gives_the_status: exit);
fn last_thread_gives_the_status() {
    fork(|| {
        let main = ok(sys!(getpid)) as i32;
        std::thread::spawn(move || {
            until_state(main, 'Z');
            let _ = sys!(exit, 4);
        });
        let _ = sys!(exit, 3);
    })
    .exits_with(4);
}

case!(exit_group_ends_all: exit_group);
fn exit_group_ends_all() {
    fork(|| {
        for _ in 0..4 {
            std::thread::spawn(|| sleep_ms(10_000));
        }
        std::thread::spawn(|| exit_now(6));
        sleep_ms(10_000);
    })
    .exits_with(6);
}

case!(exit_group_ends_spinning_threads: exit_group);
fn exit_group_ends_spinning_threads() {
    fork(|| {
        static SPIN: AtomicBool = AtomicBool::new(true);
        for _ in 0..2 {
            std::thread::spawn(|| {
                while SPIN.load(Ordering::Relaxed) {
                    std::hint::spin_loop()
                }
            });
        }
        sleep_ms(10);
        exit_now(6);
    })
    .exits_with(6);
}

case!(fatal_signal_ends_all: kill);
fn fatal_signal_ends_all() {
    let child = fork(|| {
        for _ in 0..3 {
            std::thread::spawn(|| sleep_ms(10_000));
        }
        sleep_ms(10_000);
    });
    until_asleep(child.pid);
    child.kill(SIGTERM);
    child.dies_of(SIGTERM);
}

case!(fault_in_a_thread_ends_all: exit_group);
fn fault_in_a_thread_ends_all() {
    let p = map(PAGE, PROT_NONE);
    fork(|| {
        std::thread::spawn(move || poke(p, 1));
        sleep_ms(10_000);
    })
    .dies_of(SIGSEGV);
}

case!(listed_in_proc: getdents64, gettid);
fn listed_in_proc() {
    static STOP: AtomicBool = AtomicBool::new(false);
    let (tid, handle) = thread::spawn(|| eventually("told to stop", || STOP.load(Ordering::SeqCst)));
    check(std::path::Path::new(&format!("/proc/self/task/{tid}")).exists(), "it has a directory");
    let names = std::fs::read_dir("/proc/self/task").map_or(0, |d| d.count());
    eq(names, 2);
    STOP.store(true, Ordering::SeqCst);
    thread::join(handle);
    eventually("it has gone", || !std::path::Path::new(&format!("/proc/self/task/{tid}")).exists());
}

case!(errno_of_tgkill: tgkill, tkill);
fn errno_of_tgkill() {
    let me = ok(sys!(getpid));
    fails(sys!(tgkill, 0, me, 0), EINVAL);
    fails(sys!(tgkill, me, -1, 0), EINVAL);
    fails(sys!(tgkill, me, me, 65), EINVAL);
    fails(sys!(tgkill, 1, me, 0), ESRCH);
    fails(sys!(tkill, 0, 0), EINVAL);
    ok(sys!(tkill, me, 0));
}

case!(tgkill_reaches_the_thread: tgkill);
fn tgkill_reaches_the_thread() {
    static RAN_ON: AtomicI32 = AtomicI32::new(0);
    static STOP: AtomicBool = AtomicBool::new(false);
    extern "C" fn note(_: c_int, _: *mut siginfo_t, _: *mut ucontext_t) {
        RAN_ON.store(ok(sys!(gettid)) as i32, Ordering::SeqCst);
    }
    sig::on(SIGUSR1, note, 0);
    let (tid, handle) = thread::spawn(|| eventually("told to stop", || STOP.load(Ordering::SeqCst)));
    ok(sys!(tgkill, ok(sys!(getpid)), tid, SIGUSR1));
    eventually("the handler ran", || RAN_ON.load(Ordering::SeqCst) != 0);
    eq(RAN_ON.load(Ordering::SeqCst), tid);
    STOP.store(true, Ordering::SeqCst);
    thread::join(handle);
}

case!(mprotect_by_another_thread: mprotect);
fn mprotect_by_another_thread() {
    let p = map(PAGE, RW);
    poke(p, 1);
    let (_, handle) = thread::spawn(move || {
        ok(sys!(mprotect, p, PAGE, PROT_READ));
    });
    thread::join(handle);
    faults(|| poke(p, 2), SIGSEGV, 2, p);
}

case!(set_tid_address_is_cleared: set_tid_address, exit);
fn set_tid_address_is_cleared() {
    static SLOT: AtomicI32 = AtomicI32::new(77);
    extern "C" fn body(_: usize) -> c_int {
        let tid = sys!(gettid);
        c_int::from(sys!(set_tid_address, &SLOT) != tid)
    }
    ok(thread::clone(thread::THREAD, thread::Slots::default(), body, 0));
    eventually("the slot is cleared", || SLOT.load(Ordering::SeqCst) == 0);
}
