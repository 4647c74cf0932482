//! The seccomp filter of the stub processes.
//!
//! It can't tell threads apart, and a guest can jump to any place in the stub with any registers. So:
//!
//! - A call from anywhere but the stub's page is a signal (SIGSYS), which the stub's handler hands to the Sentry. The same
//!   for calls of other architectures (`int 0x80`).
//! - From the stub's page everybody may wait and wake (futex(2), without the operations that touch other waiters), return
//!   from a signal, and end the own thread: none of that does anything that a guest could not do by computing.
//! - All else is the servants', and has to carry the secret: 64 random bits, in the argument that the call does not
//!   look at, or for mmap(2), which uses all six, in the halves of flags and fd that the host does not look at. Who does not
//!   know it gets one try: the process dies.

use host::seccomp::Instruction;

use super::layout::Layout;
use crate::guest_process::bpf::{ALLOW, AUDIT_ARCH_X86_64, JEQ, KILL, Program, TRAP, data};
use crate::guest_process::{FORK_FLAGS, THREAD_FLAGS};

/// The high half of argument `n`.
const fn high(n: u32) -> u32 {
    data::ARG0_HIGH + 8 * n
}

/// The low half of argument `n`.
const fn low(n: u32) -> u32 {
    data::ARG0_LOW + 8 * n
}

/// What servants may do, and why.
const SERVANTS: &[libc::c_long] = &[
    // AddressSpace::unmap; a new process forgets its parent's areas
    libc::SYS_munmap,
    // AddressSpace::protect
    libc::SYS_mprotect,
    // what the host's tools show of a process
    libc::SYS_pread64,
    // a further process (fork) or thread of this one
    libc::SYS_clone,
    // the answer to an order
    libc::SYS_write,
    // a new process asks to die with the Sentry; what the host's tools show of a process
    libc::SYS_prctl,
    // which it looks for first
    libc::SYS_getppid,
    // end of a process whose set-up failed
    libc::SYS_exit_group,
];

/// Options of prctl(2) that servants use.
const PRCTL: &[u64] = &[libc::PR_SET_PDEATHSIG as u64, libc::PR_SET_NAME as u64, libc::PR_SET_MM as u64];

/// The program, for a stub with its code at `layout.code()`.
pub(super) fn program(layout: Layout, secret: u64) -> Vec<Instruction> {
    let code = layout.code();
    let mut p = Program(Vec::new());
    p.load(data::ARCH);
    p.unless_equal(AUDIT_ARCH_X86_64, &[TRAP]);
    p.load(data::IP_LOW);
    p.push(libc::BPF_ALU | libc::BPF_AND | libc::BPF_K, 0, 0, !(crate::PAGE_SIZE as u32 - 1));
    p.unless_equal(code as u32, &[TRAP]);
    p.load(data::IP_HIGH);
    p.unless_equal((code >> 32) as u32, &[TRAP]);
    p.load(data::NUMBER);
    p.when_equal(libc::SYS_rt_sigreturn as u32, &[ALLOW]);
    p.when_equal(libc::SYS_exit as u32, &[ALLOW]);
    let mut futex = Program(Vec::new());
    futex.load(low(1));
    futex.when_equal(libc::FUTEX_WAIT as u32, &[ALLOW]);
    futex.when_equal(libc::FUTEX_WAKE as u32, &[ALLOW]);
    futex.0.push(KILL);
    p.when_equal(libc::SYS_futex as u32, &futex.0);
    let mut mmap = Program(Vec::new());
    knows_secret(&mut mmap, [high(3), high(4)], secret);
    p.when_equal(libc::SYS_mmap as u32, &mmap.0);
    for &number in SERVANTS {
        let mut call = Program(Vec::new());
        match number {
            libc::SYS_clone => one_of(&mut call, &[FORK_FLAGS, THREAD_FLAGS]),
            libc::SYS_prctl => one_of(&mut call, PRCTL),
            _ => {}
        }
        knows_secret(&mut call, [high(5), low(5)], secret);
        p.when_equal(number as u32, &call.0);
    }
    p.0.push(KILL);
    p.0
}

/// Ends with the verdict: the two words hold the secret, its upper half first.
fn knows_secret(p: &mut Program, places: [u32; 2], secret: u64) {
    for (place, half) in places.into_iter().zip([(secret >> 32) as u32, secret as u32]) {
        p.load(place);
        p.unless_equal(half, &[KILL]);
    }
    p.0.push(ALLOW);
}

/// Kills unless the first argument is one of a few values of 32 bits.
fn one_of(p: &mut Program, values: &[u64]) {
    p.load(high(0));
    p.unless_equal(0, &[KILL]);
    p.load(low(0));
    for (i, &value) in values.iter().enumerate() {
        // Over the other comparisons, and the verdict.
        p.push(JEQ, (values.len() - i) as u8, 0, value as u32);
    }
    p.0.push(KILL);
}

/// The host calls that this back end makes in the Sentry, for the Sentry's own filter, each with its reason.
pub const SENTRY_CALLS: &[(libc::c_long, &str)] = &[
    (libc::SYS_futex, "hand over to guest threads and wait for them"),
    (libc::SYS_eventfd2, "answers of a guest process"),
    (libc::SYS_poll, "wait for them"),
    (libc::SYS_read, "take them"),
    (libc::SYS_close, "a guest process is gone"),
    (libc::SYS_wait4, "reap guest processes"),
    (libc::SYS_waitid, "see whether a guest process is still there"),
    (libc::SYS_tgkill, "make a running guest thread stop"),
    (libc::SYS_kill, "end a guest process"),
    (libc::SYS_sched_setaffinity, "keep a guest thread and its Sentry thread on one processor, or on two"),
    (libc::SYS_sched_getaffinity, "know which processors there are"),
    (libc::SYS_clock_gettime, "processor time of a guest process"),
];
