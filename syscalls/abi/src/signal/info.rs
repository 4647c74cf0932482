//! `siginfo_t`: 128 bytes, a head of three numbers and a union that `si_signo` and `si_code` tell apart.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::Signal;

/// `siginfo_t`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct SigInfo {
    /// The signal.
    pub si_signo: i32,
    /// An error number, nearly always 0.
    pub si_errno: i32,
    /// Where it comes from: positive from the kernel, zero or negative from a process.
    pub si_code: i32,
    pad: u32,
    union: [u32; 28],
}

impl SigInfo {
    /// A head, the union zero.
    pub fn new(signal: Signal, si_code: i32) -> SigInfo {
        SigInfo { si_signo: signal.number() as i32, si_code, ..SigInfo::default() }
    }

    /// From kill(2) ([`SI_USER`]), tgkill(2) ([`SI_TKILL`]) or the kernel ([`SI_KERNEL`] with zeros).
    pub fn kill(signal: Signal, si_code: i32, pid: i32, uid: u32) -> SigInfo {
        let mut info = SigInfo::new(signal, si_code);
        info.set_pid_uid(pid, uid);
        info
    }

    /// From the kernel itself, no sender.
    pub fn kernel(signal: Signal) -> SigInfo {
        SigInfo::new(signal, SI_KERNEL)
    }

    /// From sigqueue(3) or mq_notify(3): sender and a value.
    pub fn queue(signal: Signal, si_code: i32, pid: i32, uid: u32, value: u64) -> SigInfo {
        let mut info = SigInfo::kill(signal, si_code, pid, uid);
        info.set_value(value);
        info
    }

    /// From a POSIX timer ([`SI_TIMER`]).
    pub fn timer(signal: Signal, timer_id: i32, overrun: i32, value: u64) -> SigInfo {
        let mut info = SigInfo::new(signal, SI_TIMER);
        info.union[0] = timer_id as u32;
        info.union[1] = overrun as u32;
        info.set_value(value);
        info
    }

    /// From a child that ended, stopped or went on (`CLD_*`). Times in clock ticks.
    pub fn child(si_code: i32, pid: i32, uid: u32, status: i32, utime: i64, stime: i64) -> SigInfo {
        let mut info = SigInfo::kill(Signal::SIGCHLD, si_code, pid, uid);
        info.union[2] = status as u32;
        info.set_u64(4, utime as u64);
        info.set_u64(6, stime as u64);
        info
    }

    /// From a fault of the thread itself.
    pub fn fault(signal: Signal, si_code: i32, addr: u64) -> SigInfo {
        let mut info = SigInfo::new(signal, si_code);
        info.set_u64(0, addr);
        info
    }

    /// From a fault with a poisoned page: the number of low address bits that say nothing.
    pub fn fault_lsb(signal: Signal, si_code: i32, addr: u64, addr_lsb: u16) -> SigInfo {
        let mut info = SigInfo::fault(signal, si_code, addr);
        info.union[2] = u32::from(addr_lsb);
        info
    }

    /// From a file with O_ASYNC (`POLL_*`).
    pub fn poll(signal: Signal, si_code: i32, band: i64, fd: i32) -> SigInfo {
        let mut info = SigInfo::new(signal, si_code);
        info.set_u64(0, band as u64);
        info.union[2] = fd as u32;
        info
    }

    /// From a seccomp filter ([`SYS_SECCOMP`]): `si_errno` is the filter's data.
    pub fn sys(errno: i32, call_addr: u64, syscall: i32, arch: u32) -> SigInfo {
        let mut info = SigInfo::new(Signal::SIGSYS, SYS_SECCOMP);
        info.si_errno = errno;
        info.set_u64(0, call_addr);
        info.union[2] = syscall as u32;
        info.union[3] = arch;
        info
    }

    /// `si_pid`: kill, queue and child layouts.
    pub fn pid(&self) -> i32 {
        self.union[0] as i32
    }

    /// `si_uid`: kill, queue and child layouts.
    pub fn uid(&self) -> u32 {
        self.union[1]
    }

    /// Sets `si_pid` and `si_uid`, for a receiver in another namespace.
    pub fn set_pid_uid(&mut self, pid: i32, uid: u32) {
        self.union[0] = pid as u32;
        self.union[1] = uid;
    }

    /// `si_status`: child layout.
    pub fn status(&self) -> i32 {
        self.union[2] as i32
    }

    /// `si_utime` in clock ticks: child layout.
    pub fn utime(&self) -> i64 {
        self.u64_at(4) as i64
    }

    /// `si_stime` in clock ticks: child layout.
    pub fn stime(&self) -> i64 {
        self.u64_at(6) as i64
    }

    /// `si_value`: queue and timer layouts.
    pub fn value(&self) -> u64 {
        self.u64_at(2)
    }

    /// `si_timerid`: timer layout.
    pub fn timer_id(&self) -> i32 {
        self.union[0] as i32
    }

    /// `si_overrun`: timer layout.
    pub fn overrun(&self) -> i32 {
        self.union[1] as i32
    }

    /// Sets `si_overrun`, known only on delivery.
    pub fn set_overrun(&mut self, overrun: i32) {
        self.union[1] = overrun as u32;
    }

    /// `si_addr`: fault layout.
    pub fn addr(&self) -> u64 {
        self.u64_at(0)
    }

    /// `si_addr_lsb`: fault layout of BUS_MCEERR_*.
    pub fn addr_lsb(&self) -> u16 {
        self.union[2] as u16
    }

    /// `si_band`: poll layout.
    pub fn band(&self) -> i64 {
        self.u64_at(0) as i64
    }

    /// `si_fd`: poll layout.
    pub fn fd(&self) -> i32 {
        self.union[2] as i32
    }

    /// `si_call_addr`: sys layout.
    pub fn call_addr(&self) -> u64 {
        self.u64_at(0)
    }

    /// `si_syscall`: sys layout.
    pub fn syscall(&self) -> i32 {
        self.union[2] as i32
    }

    /// `si_arch`: sys layout.
    pub fn arch(&self) -> u32 {
        self.union[3]
    }

    fn set_value(&mut self, value: u64) {
        self.set_u64(2, value);
    }

    fn u64_at(&self, word: usize) -> u64 {
        u64::from(self.union[word]) | u64::from(self.union[word + 1]) << 32
    }

    fn set_u64(&mut self, word: usize, value: u64) {
        self.union[word] = value as u32;
        self.union[word + 1] = (value >> 32) as u32;
    }
}

constants! {
    /// `si_code` of signals that processes and timers send.
    pub table SI_CODES: i32 {
        SI_USER = 0;
        SI_KERNEL = 0x80;
        SI_QUEUE = -1;
        SI_TIMER = -2;
        SI_MESGQ = -3;
        SI_ASYNCIO = -4;
        SI_SIGIO = -5;
        SI_TKILL = -6;
        SI_DETHREAD = -7;
        SI_ASYNCNL = -60;
    }
}

constants! {
    /// `si_code` of SIGILL.
    pub table ILL_CODES: i32 {
        ILL_ILLOPC = 1;
        ILL_ILLOPN = 2;
        ILL_ILLADR = 3;
        ILL_ILLTRP = 4;
        ILL_PRVOPC = 5;
        ILL_PRVREG = 6;
        ILL_COPROC = 7;
        ILL_BADSTK = 8;
    }
}

constants! {
    /// `si_code` of SIGFPE.
    pub table FPE_CODES: i32 {
        FPE_INTDIV = 1;
        FPE_INTOVF = 2;
        FPE_FLTDIV = 3;
        FPE_FLTOVF = 4;
        FPE_FLTUND = 5;
        FPE_FLTRES = 6;
        FPE_FLTINV = 7;
        FPE_FLTSUB = 8;
        FPE_FLTUNK = 14;
        FPE_CONDTRAP = 15;
    }
}

constants! {
    /// `si_code` of SIGSEGV.
    pub table SEGV_CODES: i32 {
        SEGV_MAPERR = 1;
        SEGV_ACCERR = 2;
        SEGV_BNDERR = 3;
        SEGV_PKUERR = 4;
        SEGV_ACCADI = 5;
        SEGV_ADIDERR = 6;
        SEGV_ADIPERR = 7;
    }
}

constants! {
    /// `si_code` of SIGBUS.
    pub table BUS_CODES: i32 {
        BUS_ADRALN = 1;
        BUS_ADRERR = 2;
        BUS_OBJERR = 3;
        BUS_MCEERR_AR = 4;
        BUS_MCEERR_AO = 5;
    }
}

constants! {
    /// `si_code` of SIGTRAP.
    pub table TRAP_CODES: i32 {
        TRAP_BRKPT = 1;
        TRAP_TRACE = 2;
        TRAP_BRANCH = 3;
        TRAP_HWBKPT = 4;
        TRAP_UNK = 5;
        TRAP_PERF = 6;
    }
}

constants! {
    /// `si_code` of SIGCHLD.
    pub table CLD_CODES: i32 {
        CLD_EXITED = 1;
        CLD_KILLED = 2;
        CLD_DUMPED = 3;
        CLD_TRAPPED = 4;
        CLD_STOPPED = 5;
        CLD_CONTINUED = 6;
    }
}

constants! {
    /// `si_code` of SIGIO.
    pub table POLL_CODES: i32 {
        POLL_IN = 1;
        POLL_OUT = 2;
        POLL_MSG = 3;
        POLL_ERR = 4;
        POLL_PRI = 5;
        POLL_HUP = 6;
    }
}

constants! {
    /// `si_code` of SIGSYS.
    pub table SYS_CODES: i32 {
        SYS_SECCOMP = 1;
        SYS_USER_DISPATCH = 2;
    }
}
