//! Restartable sequences.

use std::arch::asm;

use crate::kit::prelude::*;
use crate::kit::thread::Slots;

/// `struct rseq`
#[repr(C, align(32))]
#[derive(Default)]
struct Area {
    cpu_start: u32,
    cpu: u32,
    section: u64,
    flags: u32,
    node: u32,
    mm_cid: u32,
    padding: u32,
}

const SIGNATURE: u32 = 0x5305_3053;

/// Runs the body in a thread that the C library has not registered. The result is the body's.
#[track_caller]
fn unregistered(body: extern "C" fn(usize) -> c_int) {
    let flags = (CLONE_VM | SIGCHLD) as u64;
    let pid = ok_i32(thread::clone(flags, Slots::default(), body, map(PAGE, RW)));
    Child { pid }.succeeds();
}

case!(registers_and_tells_the_cpu: rseq, getcpu);
fn registers_and_tells_the_cpu() {
    extern "C" fn body(area: usize) -> c_int {
        // SAFETY: a fresh page of zeroes.
        let area = unsafe { &mut *(area as *mut Area) };
        area.cpu = u32::MAX;
        ok(sys!(rseq, &mut *area, 32, 0, SIGNATURE));
        let mut cpu = 0u32;
        ok(sys!(getcpu, &mut cpu, 0, 0));
        // SAFETY: the kernel writes here, so the compiler must look again.
        let seen = unsafe { std::ptr::from_ref(&area.cpu).read_volatile() };
        check(seen < 4096, "a processor number");
        ok(sys!(rseq, &mut *area, 32, 1, SIGNATURE));
        // SAFETY: as above.
        eq(unsafe { std::ptr::from_ref(&area.cpu).read_volatile() }, u32::MAX);
        0
    }
    unregistered(body);
}

case!(arguments: rseq);
fn arguments() {
    extern "C" fn body(area: usize) -> c_int {
        fails(sys!(rseq, area, 31, 0, SIGNATURE), EINVAL);
        fails(sys!(rseq, area + 4, 32, 0, SIGNATURE), EINVAL);
        fails(sys!(rseq, area, 32, 2, SIGNATURE), EINVAL);
        fails(sys!(rseq, area, 32, 1, SIGNATURE), EINVAL);
        fails(sys!(rseq, 0xffff_8000_0000_0000u64, 32, 0, SIGNATURE), EFAULT);
        ok(sys!(rseq, area, 32, 0, SIGNATURE));
        fails(sys!(rseq, area, 32, 0, SIGNATURE), EBUSY);
        fails(sys!(rseq, area, 32, 0, SIGNATURE + 1), EPERM);
        fails(sys!(rseq, area + 64, 32, 0, SIGNATURE), EINVAL);
        fails(sys!(rseq, area, 32, 1, SIGNATURE + 1), EPERM);
        ok(sys!(rseq, area, 32, 1, SIGNATURE));
        0
    }
    unregistered(body);
}

case!(c_library_registers: rseq);
fn c_library_registers() {
    // A process with the C library is registered; a second area is refused.
    let area = map(PAGE, RW);
    fails(sys!(rseq, area, 32, 0, SIGNATURE), EINVAL);
}

case!(signal_aborts_a_critical_section: rseq, rt_sigaction);
fn signal_aborts_a_critical_section() {
    extern "C" fn nothing(_: c_int, _: *mut siginfo_t, _: *mut ucontext_t) {}
    extern "C" fn body(page: usize) -> c_int {
        sig::on(SIGUSR1, nothing, 0);
        ok(sys!(rseq, page, 32, 0, SIGNATURE));
        let (pid, tid) = (ok(sys!(getpid)), ok(sys!(gettid)));
        let child = fork(|| {
            sleep_ms(20);
            for _ in 0..200 {
                let _ = sys!(tgkill, pid, tid, SIGUSR1);
                sleep_ms(1);
            }
        });
        let aborted: u64;
        let descriptor = page + 64;
        // SAFETY: the loop inside the section ends only by the abort, which jumps behind the signature at 4.
        unsafe {
            asm!(
                "lea {t}, [rip + 2f]",
                "mov [{d} + 8], {t}",
                "lea {u}, [rip + 3f]",
                "sub {u}, {t}",
                "mov [{d} + 16], {u}",
                "lea {t}, [rip + 4f]",
                "mov [{d} + 24], {t}",
                "xor eax, eax",
                "mov [{a} + 8], {d}",
                "2: nop",
                "jmp 2b",
                "3: jmp 5f",
                ".long 0x53053053",
                "4: mov eax, 1",
                "5: nop",
                t = out(reg) _, u = out(reg) _, d = in(reg) descriptor, a = in(reg) page,
                out("rax") aborted,
            );
        }
        eq(aborted, 1);
        eq_of("the section is left", peek64(page + 8), 0);
        ok(sys!(rseq, page, 32, 1, SIGNATURE));
        child.end();
        0
    }
    unregistered(body);
}

/// Adds one to the counter of the CPU that the thread is on, 64 bytes apart from each other, `times` times.
///
/// # Safety
/// `area` is the calling thread's registered one, and there is a counter for every CPU.
unsafe fn count_up(area: usize, counters: usize, times: usize) {
    let descriptor = area + 64;
    // SAFETY: the section ends with the one store that counts; an abort goes back to its start.
    unsafe {
        asm!(
            "lea {t}, [rip + 20f]",
            "mov [{d} + 8], {t}",
            "lea {u}, [rip + 30f]",
            "sub {u}, {t}",
            "mov [{d} + 16], {u}",
            "lea {t}, [rip + 40f]",
            "mov [{d} + 24], {t}",
            "50: mov [{a} + 8], {d}",
            "20: mov {t:e}, [{a} + 4]",
            "shl {t}, 6",
            "mov {u}, [{c} + {t}]",
            "inc {u}",
            "mov [{c} + {t}], {u}",
            "30: dec {n}",
            "jnz 50b",
            "jmp 60f",
            ".long 0x53053053",
            "40: jmp 50b",
            "60: nop",
            t = out(reg) _, u = out(reg) _, d = in(reg) descriptor, a = in(reg) area, c = in(reg) counters,
            n = inout(reg) times => _,
        );
    }
}

/// A thread with an area of its own for `body`, which finds where the counters are behind it.
#[track_caller]
fn counting(body: extern "C" fn(usize) -> c_int, counters: usize) -> Child {
    let area = map(PAGE, RW);
    poke64(area + 128, counters as u64);
    let flags = (CLONE_VM | SIGCHLD) as u64;
    Child { pid: ok_i32(thread::clone(flags, Slots::default(), body, area)) }
}

/// What all of them have counted, once all are done.
#[track_caller]
fn counted(children: Vec<Child>, counters: usize) -> u64 {
    for child in children {
        child.succeeds();
    }
    (0..4096).map(|cpu| peek64(counters + cpu * 64)).sum()
}

case!(sections_of_many_threads_do_not_mix: rseq, clone);
fn sections_of_many_threads_do_not_mix() {
    const THREADS: usize = 6;
    const ROUNDS: usize = 40;
    const TIMES: usize = 50_000;
    extern "C" fn body(area: usize) -> c_int {
        ok(sys!(rseq, area, 32, 0, SIGNATURE));
        let counters = peek64(area + 128) as usize;
        for _ in 0..ROUNDS {
            // SAFETY: just registered; there are 4096 counters.
            unsafe { count_up(area, counters, TIMES) };
            ok(sys!(sched_yield));
        }
        0
    }
    let counters = map(64 * PAGE, RW);
    let children: Vec<Child> = (0..THREADS).map(|_| counting(body, counters)).collect();
    eq(counted(children, counters), (THREADS * ROUNDS * TIMES) as u64);
}

case!(sections_of_threads_that_make_calls_all_the_time: rseq, clone);
fn sections_of_threads_that_make_calls_all_the_time() {
    const THREADS: usize = 6;
    const CALLS: usize = 12_000;
    const COMPUTED: usize = 20_000_000;
    /// Short sections between calls.
    extern "C" fn calls(area: usize) -> c_int {
        ok(sys!(rseq, area, 32, 0, SIGNATURE));
        let counters = peek64(area + 128) as usize;
        for _ in 0..CALLS {
            // SAFETY: just registered; there are 4096 counters.
            unsafe { count_up(area, counters, 3) };
            ok(sys!(sched_yield));
        }
        0
    }
    /// The same in one go.
    extern "C" fn computes(area: usize) -> c_int {
        ok(sys!(rseq, area, 32, 0, SIGNATURE));
        // SAFETY: as above.
        unsafe { count_up(area, peek64(area + 128) as usize, COMPUTED) };
        0
    }
    let counters = map(64 * PAGE, RW);
    let mut children: Vec<Child> = (0..THREADS).map(|_| counting(calls, counters)).collect();
    children.push(counting(computes, counters));
    eq(counted(children, counters), (THREADS * CALLS * 3 + COMPUTED) as u64);
}

case!(who_yields_lets_others_on: rseq, clone, sched_yield);
fn who_yields_lets_others_on() {
    const THREADS: usize = 6;
    const TURNS: u64 = 500;
    extern "C" fn body(area: usize) -> c_int {
        ok(sys!(rseq, area, 32, 0, SIGNATURE));
        let token = peek64(area + 128) as usize;
        // SAFETY: eight bytes of it are used, by all threads as this.
        let turn = unsafe { &*(token as *const std::sync::atomic::AtomicU64) };
        let own = turn.fetch_add(1 << 32, std::sync::atomic::Ordering::SeqCst) >> 32;
        let mut next = own;
        while next < TURNS * THREADS as u64 {
            let now = turn.load(std::sync::atomic::Ordering::SeqCst);
            // Not before all are there.
            if now >> 32 == THREADS as u64 && now & 0xffff_ffff == next {
                turn.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                next += THREADS as u64;
            }
            ok(sys!(sched_yield));
        }
        0
    }
    let token = map(64 * PAGE, RW);
    let begun = std::time::Instant::now();
    let children: Vec<Child> = (0..THREADS).map(|_| counting(body, token)).collect();
    for child in children {
        child.succeeds();
    }
    eq(peek64(token) & 0xffff_ffff, TURNS * THREADS as u64);
    // There are 3,000 turns: were each thread to keep a CPU for some milliseconds first, they would take longer.
    check(begun.elapsed().as_secs() < 20, "who waits for others lets them run");
}
