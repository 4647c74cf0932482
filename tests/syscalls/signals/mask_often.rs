//! rt_sigprocmask from a place that makes it often, as C libraries do around each thread, fork and jump: a sandbox may answer such calls
//! without its kernel. Whatever depends on the mask must see each change.

use std::arch::asm;
use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, AtomicU64, Ordering::SeqCst};

use crate::kit::filter::{ERRNO, install, on_call};
use crate::kit::prelude::*;

/// Enough calls for a sandbox that does something about such places.
const OFTEN: u32 = 6000;

const FIRST: c_int = SIGUSR1;
const SECOND: c_int = SIGUSR2;
const QUEUED: c_int = 44;

/// The number is loaded right before the instruction.
#[inline(never)]
fn call(how: c_int, set: u64, old: u64) -> i64 {
    let answer;
    // SAFETY: the callers give places of their own, or none.
    unsafe {
        asm!("mov eax, 14", "syscall", in("rdi") how as i64, in("rsi") set, in("rdx") old, in("r10") 8,
            lateout("rax") answer, lateout("rcx") _, lateout("r11") _);
    }
    answer
}

fn change(how: c_int, set: u64) -> u64 {
    let mut old = !0u64;
    eq(call(how, &raw const set as u64, &raw mut old as u64), 0);
    old
}

fn now() -> u64 {
    let mut old = !0u64;
    eq(call(99, 0, &raw mut old as u64), 0);
    old
}

fn often() {
    let before = now();
    for _ in 0..OFTEN {
        change(SIG_BLOCK, 0);
    }
    eq(now(), before);
}

/// Numbers that look random.
fn mix(n: u64) -> u64 {
    let n = (n ^ n >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (n ^ n >> 27).wrapping_mul(0x94d0_49bb_1331_11eb) ^ n >> 31
}

const KILL_AND_STOP: u64 = 1 << 8 | 1 << 18;

case!(each_change_counts: rt_sigprocmask);
fn each_change_counts() {
    let mut want = now();
    for n in 0..u64::from(2 * OFTEN) {
        let set = mix(n);
        let (how, new) = match n % 3 {
            0 => (SIG_SETMASK, set),
            1 => (SIG_BLOCK, want | set & mix(!n)),
            _ => (SIG_UNBLOCK, want & !set),
        };
        let set = if how == SIG_BLOCK { set & mix(!n) } else { set };
        let old = change(how, set);
        check(old == want, format_args!("call {n}: {old:x}, not {want:x}"));
        want = new & !KILL_AND_STOP;
        if n % 1000 == 0 {
            eq_of("from another place", sig::mask(), want);
            eq(now(), want);
        }
    }
    sig::set_mask(7);
    eq(change(SIG_BLOCK, 8), 7);
    eq(sig::mask(), 15);
}

case!(bad_pointers_and_fresh_pages: rt_sigprocmask);
fn bad_pointers_and_fresh_pages() {
    const FAULT: i64 = -(EFAULT as i64);
    sig::set_mask(1);
    often();
    let two = 2u64;
    let set = &raw const two as u64;
    let hole = map(2 * PAGE, RW);
    unmap(hole + PAGE, PAGE);
    let (page, gap) = (hole as u64, (hole + PAGE) as u64);
    for bad in [8, gap, gap - 4, 1 << 47, 1 << 63, !7] {
        eq_of("nothing is set", (call(SIG_SETMASK, bad, page), sig::mask()), (FAULT, 1));
        eq_of("set all the same", (call(SIG_SETMASK, set, bad), sig::mask()), (FAULT, 2));
        eq((call(SIG_SETMASK, 0, bad), sig::mask()), (FAULT, 2));
        sig::set_mask(1);
    }
    let constant = map(PAGE, PROT_READ) as u64;
    eq((call(SIG_SETMASK, constant, constant), sig::mask()), (FAULT, 0));
    let nothing = map(PAGE, PROT_NONE) as u64;
    eq((call(SIG_BLOCK, set, nothing), sig::mask()), (FAULT, 2));
    // Pages that nobody has touched, and after a fork those that others show as well.
    let fresh = map(2 * PAGE, RW);
    eq(call(SIG_SETMASK, fresh as u64, (fresh + PAGE) as u64), 0);
    eq((peek64(fresh + PAGE), sig::mask()), (2, 0));
    in_child(|| {
        eq(call(SIG_SETMASK, set, (fresh + PAGE) as u64), 0);
        eq((peek64(fresh + PAGE), sig::mask()), (0, 2));
    });
    eq((peek64(fresh + PAGE), sig::mask()), (2, 0));
    // The same place twice, places that overlap, and odd ones.
    poke64(fresh, 4);
    eq(call(SIG_SETMASK, fresh as u64, fresh as u64), 0);
    eq((peek64(fresh), sig::mask()), (0, 4));
    (1..9).for_each(|at| poke(fresh + at, 1));
    eq(call(SIG_SETMASK, (fresh + 1) as u64, (fresh + 5) as u64), 0);
    eq(sig::mask(), 0x0101_0101_0101_0101 & !KILL_AND_STOP);
    eq((5..13).map(|at| peek(fresh + at)).collect::<Vec<_>>(), [4, 0, 0, 0, 0, 0, 0, 0]);
    eq(call(3, set, 0), -(EINVAL as i64));
    eq(call(-1, set, 0), -(EINVAL as i64));
    eq(call(SIG_SETMASK, set, 0), 0);
    eq(now(), 2);
}

case!(what_is_pending_comes_when_it_is_unblocked: rt_sigprocmask, rt_sigpending);
fn what_is_pending_comes_when_it_is_unblocked() {
    sig::on(FIRST, sig::record, 0);
    sig::on(SECOND, sig::record, 0);
    let me = ok_i32(sys!(getpid));
    often();
    for round in 0..300 {
        sig::clear_log();
        change(SIG_BLOCK, sig::bit(FIRST) | sig::bit(SECOND));
        sig::raise(FIRST);
        done(sys!(kill, me, SECOND));
        change(SIG_BLOCK, sig::bit(SIGHUP));
        eq(sig::count(), 0);
        eq(sig::pending(), sig::bit(FIRST) | sig::bit(SECOND));
        change(SIG_UNBLOCK, sig::bit(SECOND));
        eq_of(round, sig::log_signals(), vec![SECOND]);
        eq(change(SIG_SETMASK, 0), sig::bit(FIRST) | sig::bit(SIGHUP));
        eq_of(round, sig::log_signals(), vec![SECOND, FIRST]);
    }
    // What is ignored is dropped unless it is blocked.
    sig::ignore(FIRST);
    sig::raise(FIRST);
    change(SIG_BLOCK, sig::bit(FIRST));
    eq(sig::pending(), 0);
    sig::raise(FIRST);
    eq(sig::pending(), sig::bit(FIRST));
}

case!(others_see_it: rt_sigprocmask);
fn others_see_it() {
    static MASK: AtomicU64 = AtomicU64::new(0);
    static ROUND: AtomicU64 = AtomicU64::new(0);
    const ROUNDS: u64 = 100;
    let (tid, thread) = thread::spawn(|| {
        often();
        for round in 0..ROUNDS {
            let mask = mix(round);
            change(SIG_SETMASK, mask);
            MASK.store(mask & !KILL_AND_STOP, SeqCst);
            ROUND.store(2 * round + 1, SeqCst);
            eventually("it was seen", || ROUND.load(SeqCst) == 2 * round + 2);
        }
    });
    for round in 0..ROUNDS {
        eventually("it is set", || ROUND.load(SeqCst) == 2 * round + 1);
        let status = std::fs::read_to_string(format!("/proc/self/task/{tid}/status")).expect("status");
        let line = status.lines().find_map(|line| line.strip_prefix("SigBlk:\t"));
        eq(line, Some(format!("{:016x}", MASK.load(SeqCst)).as_str()));
        ROUND.store(2 * round + 2, SeqCst);
    }
    thread::join(thread);
}

thread_local! {
    /// What the thread has blocked, as far as its handlers may know.
    static BLOCKED: Cell<u64> = const { Cell::new(0) };
}
static EARLY: AtomicU32 = AtomicU32::new(0);
static TAKEN: [AtomicU64; 65] = [const { AtomicU64::new(0) }; 65];

extern "C" fn take(signal: c_int, _: *mut siginfo_t, _: *mut ucontext_t) {
    if BLOCKED.get() & sig::bit(signal) != 0 {
        EARLY.fetch_add(1, SeqCst);
    }
    TAKEN[signal as usize].fetch_add(1, SeqCst);
}

fn taken(signal: c_int) -> u64 {
    TAKEN[signal as usize].load(SeqCst)
}

/// Blocks, and unblocks again.
fn toggle(set: u64) {
    change(SIG_BLOCK, set);
    BLOCKED.set(set);
    std::hint::spin_loop();
    BLOCKED.set(0);
    change(SIG_UNBLOCK, set);
}

case!(none_is_lost_and_none_is_early: rt_sigprocmask, kill, tgkill, rt_sigqueueinfo);
fn none_is_lost_and_none_is_early() {
    static OVER: AtomicBool = AtomicBool::new(false);
    const ROUNDS: u64 = 150;
    let set = sig::bit(FIRST) | sig::bit(SECOND) | sig::bit(QUEUED);
    for signal in [FIRST, SECOND, QUEUED] {
        sig::on(signal, take, SA_RESTART);
    }
    sig::block(set);
    let threads: Vec<_> = (0..3)
        .map(|_| {
            thread::spawn(move || {
                while !OVER.load(SeqCst) {
                    toggle(set);
                }
            })
        })
        .collect();
    let me = ok_i32(sys!(getpid));
    for round in 0..ROUNDS {
        done(sys!(kill, me, FIRST));
        let (tid, _) = &threads[round as usize % threads.len()];
        done(sys!(tgkill, me, *tid, SECOND));
        for value in 0..4 {
            sig::queue(me, QUEUED, value);
        }
        eventually(
            format_args!("round {round}: {} {} {}", taken(FIRST), taken(SECOND), taken(QUEUED)),
            || [taken(FIRST), taken(SECOND), taken(QUEUED)] == [round + 1, round + 1, 4 * (round + 1)],
        );
    }
    OVER.store(true, SeqCst);
    threads.into_iter().for_each(|(_, thread)| thread::join(thread));
    eq(EARLY.load(SeqCst), 0);
    eq(sig::pending(), 0);
}

case!(another_takes_what_the_chosen_one_blocks: rt_sigprocmask, kill);
fn another_takes_what_the_chosen_one_blocks() {
    static ROUND: AtomicU64 = AtomicU64::new(0);
    static OVER: AtomicBool = AtomicBool::new(false);
    const ROUNDS: u64 = 600;
    let set = sig::bit(FIRST);
    sig::on(FIRST, take, SA_RESTART);
    let me = ok_i32(sys!(getpid));
    sig::block(set);
    // One that takes it whenever it comes, wherever it waits.
    let (_, patient) = thread::spawn(move || {
        sig::unblock(set);
        while !OVER.load(SeqCst) {
            thread_sleep();
        }
    });
    let (_, sender) = thread::spawn(move || {
        for round in 1..=ROUNDS {
            eventually("the next round", || ROUND.load(SeqCst) == round);
            done(sys!(kill, me, FIRST));
        }
    });
    // This one, the leader, is asked first, and blocks it at about the same time.
    often();
    for round in 1..=ROUNDS {
        change(SIG_UNBLOCK, set);
        ROUND.store(round, SeqCst);
        for _ in 0..mix(round) % 2048 {
            std::hint::spin_loop();
        }
        change(SIG_BLOCK, set);
        BLOCKED.set(set);
        eventually("somebody takes it", || taken(FIRST) == round);
        BLOCKED.set(0);
    }
    OVER.store(true, SeqCst);
    thread::join(sender);
    thread::join(patient);
    eq(EARLY.load(SeqCst), 0);
}

/// A short sleep that a signal may end.
fn thread_sleep() {
    let time = timespec { tv_sec: 0, tv_nsec: 50_000_000 };
    let _ = sys!(nanosleep, &time, 0);
}

case!(who_waits_for_signals_gets_them: rt_sigprocmask, rt_sigtimedwait, signalfd4, kill);
fn who_waits_for_signals_gets_them() {
    static WAITED: AtomicU64 = AtomicU64::new(0);
    static OVER: AtomicBool = AtomicBool::new(false);
    const SENT: u64 = 400;
    let set = sig::bit(QUEUED);
    sig::on(QUEUED, take, SA_RESTART);
    sig::block(set);
    let (_, waiter) = thread::spawn(move || {
        let time = timespec { tv_sec: 0, tv_nsec: 20_000_000 };
        while !OVER.load(SeqCst) {
            if sys!(rt_sigtimedwait, &set, 0, &time, 8).is_ok() {
                WAITED.fetch_add(1, SeqCst);
            }
        }
    });
    let (_, toggler) = thread::spawn(move || {
        while !OVER.load(SeqCst) {
            toggle(set);
        }
    });
    let me = ok_i32(sys!(getpid));
    for value in 0..SENT {
        sig::queue(me, QUEUED, value);
        if value % 8 == 0 {
            eventually("they are taken", || taken(QUEUED) + WAITED.load(SeqCst) == value + 1);
        }
    }
    eventually("all are taken", || taken(QUEUED) + WAITED.load(SeqCst) == SENT);
    OVER.store(true, SeqCst);
    thread::join(waiter);
    thread::join(toggler);
    eq(EARLY.load(SeqCst), 0);
    // A descriptor has what is blocked.
    often();
    let fd = ok_i32(sys!(signalfd4, -1, &set, 8, SFD_NONBLOCK));
    fails(sys!(read, fd, &mut [0u8; 128], 128), EAGAIN);
    sig::queue(me, QUEUED, 7);
    eq(ok(sys!(read, fd, &mut [0u8; 128], 128)), 128);
    eq(change(SIG_UNBLOCK, set), set);
    eq(taken(QUEUED) + WAITED.load(SeqCst), SENT);
}

case!(handlers_and_waits_have_masks_of_their_own: rt_sigprocmask, rt_sigaction, rt_sigsuspend, ppoll);
fn handlers_and_waits_have_masks_of_their_own() {
    static SEEN: AtomicU64 = AtomicU64::new(0);
    extern "C" fn look(_: c_int, _: *mut siginfo_t, _: *mut ucontext_t) {
        SEEN.store(change(SIG_BLOCK, sig::bit(SIGWINCH)), SeqCst);
    }
    often();
    change(SIG_SETMASK, 1);
    for _ in 0..100 {
        for (flags, more, seen) in [
            (0, 0, 1 | sig::bit(FIRST)),
            (SA_NODEFER, 0, 1),
            (SA_NODEFER, sig::bit(SIGHUP) | sig::bit(SIGTERM), 1 | sig::bit(SIGTERM)),
            (0, sig::bit(SECOND), 1 | sig::bit(FIRST) | sig::bit(SECOND)),
        ] {
            sig::set(FIRST, sig::action(look, flags, more));
            sig::raise(FIRST);
            eq_of("in the handler", SEEN.swap(0, SeqCst), seen);
            eq_of("what it blocks ends with it", now(), 1);
        }
    }
    // While a call waits.
    let others = sig::bit(SECOND);
    sig::set(FIRST, sig::action(look, 0, 0));
    for _ in 0..100 {
        change(SIG_BLOCK, sig::bit(FIRST));
        sig::raise(FIRST);
        fails(sys!(rt_sigsuspend, &others, 8), EINTR);
        eq(SEEN.swap(0, SeqCst), others | sig::bit(FIRST));
        eq(now(), 1 | sig::bit(FIRST));
        sig::raise(FIRST);
        fails(sys!(ppoll, 0, 0, 0, &others, 8), EINTR);
        eq(SEEN.swap(0, SeqCst), others | sig::bit(FIRST));
        eq(change(SIG_UNBLOCK, sig::bit(FIRST)), 1 | sig::bit(FIRST));
    }
}

case!(children_and_programs_inherit_it: rt_sigprocmask, fork, execve);
fn children_and_programs_inherit_it() {
    sig::on(FIRST, sig::record, 0);
    often();
    let set = sig::bit(FIRST) | sig::bit(SECOND);
    for _ in 0..20 {
        change(SIG_BLOCK, set);
        sig::raise(FIRST);
        in_child(|| {
            eq((now(), sig::pending()), (set, 0));
            sig::raise(FIRST);
            eq(sig::count(), 0);
            change(SIG_UNBLOCK, sig::bit(FIRST));
            eq(sig::count(), 1);
        });
        eq((now(), sig::pending()), (set, sig::bit(FIRST)));
        change(SIG_SETMASK, 0);
        eq(sig::count(), 1);
        sig::clear_log();
    }
    let prepare = || {
        often();
        change(SIG_SETMASK, set);
        done(sys!(kill, ok(sys!(getpid)), SECOND));
    };
    eq(probe(c"mask", prepare), format!("{set:x}"));
    eq(probe(c"pending", prepare), format!("{:x}", sig::bit(SECOND)));
    // A thread that executes a program takes its mask along.
    static MASK: AtomicI32 = AtomicI32::new(0);
    let (_, thread) = thread::spawn(|| {
        change(SIG_SETMASK, sig::bit(SIGHUP));
        MASK.store(now() as i32, SeqCst);
        let (_, inner) = thread::spawn(|| eq(now(), sig::bit(SIGHUP)));
        thread::join(inner);
    });
    thread::join(thread);
    eq((MASK.load(SeqCst), now()), (1, 0));
}

case!(filters_see_the_calls: rt_sigprocmask, seccomp);
fn filters_see_the_calls() {
    often();
    done(sys!(prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    done(install(&on_call(14, ERRNO | 77), 0));
    let set = 1u64;
    for _ in 0..100 {
        eq(call(SIG_BLOCK, &raw const set as u64, 0), -77);
    }
}
