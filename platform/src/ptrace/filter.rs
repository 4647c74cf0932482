//! The seccomp filter of the stub processes.
//!
//! Guest code never reaches it: under PTRACE_SYSEMU a system call is turned into a stop before seccomp looks at it.
//! What does reach it are the calls that the stub itself makes, or that the Sentry makes in the stub's name, and
//! calls of the vsyscall page, which the host emulates without a stop. The filter allows the former only from the stub
//! page, turns the latter into a signal (the tracer makes a system call of it), and kills on anything else.

use host::seccomp::Instruction;

/// Offsets in `struct seccomp_data`.
mod data {
    pub(super) const NUMBER: u32 = 0;
    pub(super) const ARCH: u32 = 4;
    pub(super) const IP_LOW: u32 = 8;
    pub(super) const IP_HIGH: u32 = 12;
    pub(super) const ARG0_LOW: u32 = 16;
    pub(super) const ARG0_HIGH: u32 = 20;
}

const AUDIT_ARCH_X86_64: u32 = 0xc000_003e;
/// Upper half of every address in the vsyscall page.
const VSYSCALL_HIGH: u32 = 0xffff_ffff;

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
    (libc::SYS_clone, Argument::OneOf(&[super::stub::FORK_FLAGS, super::stub::THREAD_FLAGS])),
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

const JEQ: u32 = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
const ALLOW: Instruction = answer(libc::SECCOMP_RET_ALLOW);
const TRAP: Instruction = answer(libc::SECCOMP_RET_TRAP);
const KILL: Instruction = answer(libc::SECCOMP_RET_KILL_PROCESS);

const fn answer(k: u32) -> Instruction {
    Instruction { code: (libc::BPF_RET | libc::BPF_K) as u16, jt: 0, jf: 0, k }
}

struct Program(Vec<Instruction>);

impl Program {
    fn push(&mut self, code: u32, jt: u8, jf: u8, k: u32) {
        self.0.push(Instruction { code: code as u16, jt, jf, k });
    }

    fn load(&mut self, offset: u32) {
        self.push(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, offset);
    }

    /// Runs `then` (a few instructions) when the accumulator is `value`.
    fn when_equal(&mut self, value: u32, then: &[Instruction]) {
        self.push(JEQ, 0, then.len() as u8, value);
        self.0.extend_from_slice(then);
    }

    /// Runs `then` (a few instructions) when the accumulator is not `value`.
    fn unless_equal(&mut self, value: u32, then: &[Instruction]) {
        self.push(JEQ, then.len() as u8, 0, value);
        self.0.extend_from_slice(then);
    }
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
