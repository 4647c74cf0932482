//! The seccomp filter of the stub processes.
//!
//! Guest code never reaches it: under PTRACE_SYSEMU a system call is turned into a stop before seccomp looks at it.
//! What does reach it are the calls that the stub itself makes, or that the Sentry makes in the stub's name, and
//! calls of the vsyscall page, which the host emulates without a stop. The filter allows the former only from the stub
//! page, turns the latter into a signal (the tracer makes a system call of it), and kills on anything else.

use host::seccomp::Instruction;

use crate::guest_process::bpf::{ALLOW, AUDIT_ARCH_X86_64, JEQ, KILL, Program, TRAP, VSYSCALL_HIGH, data};
use crate::guest_process::{FORK_FLAGS, THREAD_FLAGS};

/// What a rule asks of the first argument.
enum Argument {
    Any,
    OneOf(&'static [u64]),
}

/// The calls that are made inside stub processes, and why.
const CALLS: &[(libc::c_long, Argument)] = &[
    // AddressSpace::map
    (libc::SYS_mmap, Argument::Any),
    // AddressSpace::unmap; a new stub unmaps the Sentry's copy
    (libc::SYS_munmap, Argument::Any),
    // AddressSpace::protect
    (libc::SYS_mprotect, Argument::Any),
    // a further process (fork) or thread of this one
    (libc::SYS_clone, Argument::OneOf(&[FORK_FLAGS, THREAD_FLAGS])),
    // a new process asks to die with the Sentry,
    (libc::SYS_prctl, Argument::OneOf(&[libc::PR_SET_PDEATHSIG as u64])),
    // and looks whether it is still there
    (libc::SYS_getppid, Argument::Any),
    // a parked thread waits for its next tracer
    (libc::SYS_pause, Argument::Any),
    // end of a thread, and of a process whose set-up failed
    (libc::SYS_exit, Argument::Any),
    (libc::SYS_exit_group, Argument::Any),
];

/// The program, for a stub page at `stub`.
pub(super) fn program(stub: u64) -> Vec<Instruction> {
    let mut p = Program(Vec::new());
    p.load(data::ARCH);
    p.unless_equal(AUDIT_ARCH_X86_64, &[KILL]);
    p.load(data::IP_HIGH);
    p.when_equal(VSYSCALL_HIGH, &[TRAP]);
    p.unless_equal((stub >> 32) as u32, &[KILL]);
    p.load(data::IP_LOW);
    p.push(libc::BPF_ALU | libc::BPF_AND | libc::BPF_K, 0, 0, !(crate::PAGE_SIZE as u32 - 1));
    p.unless_equal(stub as u32, &[KILL]);
    for (number, argument) in CALLS {
        p.load(data::NUMBER);
        match argument {
            Argument::Any => p.when_equal(*number as u32, &[ALLOW]),
            Argument::OneOf(values) => {
                let mut check = Program(Vec::new());
                for &value in *values {
                    check.load(data::ARG0_LOW);
                    check.push(JEQ, 0, 3, value as u32);
                    check.load(data::ARG0_HIGH);
                    check.push(JEQ, 0, 1, (value >> 32) as u32);
                    check.0.push(ALLOW);
                }
                check.0.push(KILL);
                p.when_equal(*number as u32, &check.0);
            }
        }
    }
    p.0.push(KILL);
    p.0
}

/// The host calls that this back end makes in the Sentry, for the Sentry's own filter, each with its reason.
pub const SENTRY_CALLS: &[(libc::c_long, &str)] = &[
    (libc::SYS_ptrace, "run guest threads"),
    (libc::SYS_wait4, "wait for guest threads to stop, reap their processes"),
    (libc::SYS_waitid, "see whether a guest process that shall end is still there"),
    (libc::SYS_tgkill, "make a running guest thread stop"),
    (libc::SYS_kill, "end a guest process"),
    (libc::SYS_sched_setaffinity, "keep a guest thread and its tracer on one processor"),
    (libc::SYS_sched_getaffinity, "know which processors there are"),
    (libc::SYS_clock_gettime, "processor time of a guest process"),
];
