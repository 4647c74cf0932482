//! Signals: numbers, sets, actions, alternative stacks.

mod info;

pub use info::*;

use core::fmt;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// A signal number, 1 to 64.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Signal(u8);

macro_rules! signals {
    ($($name:ident = $number:literal;)*) => {
        #[allow(missing_docs)]
        impl Signal {
            $(pub const $name: Signal = Signal($number);)*
            pub const SIGIOT: Signal = Signal::SIGABRT;
            pub const SIGPOLL: Signal = Signal::SIGIO;
        }
        /// Number and name of each standard signal.
        pub static SIGNALS: &[(u32, &str)] = &[$(($number, stringify!($name))),*];
        const NAMES: [&str; 32] = {
            let mut names = [""; 32];
            $(names[$number] = stringify!($name);)*
            names
        };
    };
}

signals! {
    SIGHUP = 1;
    SIGINT = 2;
    SIGQUIT = 3;
    SIGILL = 4;
    SIGTRAP = 5;
    SIGABRT = 6;
    SIGBUS = 7;
    SIGFPE = 8;
    SIGKILL = 9;
    SIGUSR1 = 10;
    SIGSEGV = 11;
    SIGUSR2 = 12;
    SIGPIPE = 13;
    SIGALRM = 14;
    SIGTERM = 15;
    SIGSTKFLT = 16;
    SIGCHLD = 17;
    SIGCONT = 18;
    SIGSTOP = 19;
    SIGTSTP = 20;
    SIGTTIN = 21;
    SIGTTOU = 22;
    SIGURG = 23;
    SIGXCPU = 24;
    SIGXFSZ = 25;
    SIGVTALRM = 26;
    SIGPROF = 27;
    SIGWINCH = 28;
    SIGIO = 29;
    SIGPWR = 30;
    SIGSYS = 31;
}

/// The first real-time signal, as the kernel counts (glibc keeps 32 and 33 for itself).
pub const SIGRTMIN: u32 = 32;
/// The number of signals, and the last one.
pub const NSIG: u32 = 64;

impl Signal {
    /// The signal with this number, 1 to 64.
    pub const fn new(number: u32) -> Option<Signal> {
        if number >= 1 && number <= NSIG { Some(Signal(number as u8)) } else { None }
    }

    /// The number, 1 to 64.
    pub const fn number(self) -> u32 {
        self.0 as u32
    }

    /// Place in tables with an entry a signal: 0 to 63.
    pub const fn index(self) -> usize {
        self.0 as usize - 1
    }

    /// Whether it is queued, with one siginfo a sending.
    pub const fn is_realtime(self) -> bool {
        self.number() >= SIGRTMIN
    }

    /// The symbolic name of a standard signal, `None` for a real-time one.
    pub const fn name(self) -> Option<&'static str> {
        if self.0 < 32 { Some(NAMES[self.0 as usize]) } else { None }
    }

    /// All signals in the order of their numbers.
    pub fn all() -> impl Iterator<Item = Signal> {
        (1..=NSIG as u8).map(Signal)
    }
}

/// As strace writes it: `SIGCHLD`, `SIGRT_2`.
impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "SIGRT_{}", self.number() - SIGRTMIN),
        }
    }
}

impl fmt::Debug for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A set of signals; bit `n - 1` is signal `n`. The kernel's `sigset_t`: system calls say its size, 8.
#[repr(transparent)]
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct SigSet(pub u64);

impl SigSet {
    /// No signal.
    pub const EMPTY: SigSet = SigSet(0);
    /// Every signal.
    pub const ALL: SigSet = SigSet(u64::MAX);
    /// The two that can be neither blocked, caught nor ignored.
    pub const UNBLOCKABLE: SigSet = SigSet::of(&[Signal::SIGKILL, Signal::SIGSTOP]);
    /// The four whose default is to stop the process.
    pub const STOPS: SigSet =
        SigSet::of(&[Signal::SIGSTOP, Signal::SIGTSTP, Signal::SIGTTIN, Signal::SIGTTOU]);
    /// Those that the thread itself causes and that are delivered before others.
    pub const SYNCHRONOUS: SigSet = SigSet::of(&[
        Signal::SIGSEGV,
        Signal::SIGBUS,
        Signal::SIGILL,
        Signal::SIGTRAP,
        Signal::SIGFPE,
        Signal::SIGSYS,
    ]);

    /// The set of these.
    pub const fn of(signals: &[Signal]) -> SigSet {
        let mut bits = 0;
        let mut i = 0;
        while i < signals.len() {
            bits |= 1 << signals[i].index();
            i += 1;
        }
        SigSet(bits)
    }

    /// Whether `signal` is in it.
    pub const fn contains(self, signal: Signal) -> bool {
        self.0 >> signal.index() & 1 == 1
    }

    /// Puts `signal` in.
    pub const fn add(&mut self, signal: Signal) {
        self.0 |= 1 << signal.index();
    }

    /// Takes `signal` out.
    pub const fn remove(&mut self, signal: Signal) {
        self.0 &= !(1 << signal.index());
    }

    /// Whether there is none in it.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Those in either.
    pub const fn union(self, other: SigSet) -> SigSet {
        SigSet(self.0 | other.0)
    }

    /// Those in both.
    pub const fn intersection(self, other: SigSet) -> SigSet {
        SigSet(self.0 & other.0)
    }

    /// Those in this one and not in `other`.
    pub const fn difference(self, other: SigSet) -> SigSet {
        SigSet(self.0 & !other.0)
    }

    /// Those not in it.
    pub const fn complement(self) -> SigSet {
        SigSet(!self.0)
    }

    /// The signal with the smallest number.
    pub const fn first(self) -> Option<Signal> {
        Signal::new(self.0.trailing_zeros() + 1)
    }

    /// The signals in it, smallest first.
    pub fn iter(self) -> impl Iterator<Item = Signal> {
        let mut rest = self;
        core::iter::from_fn(move || {
            let signal = rest.first()?;
            rest.remove(signal);
            Some(signal)
        })
    }
}

impl FromIterator<Signal> for SigSet {
    fn from_iter<I: IntoIterator<Item = Signal>>(signals: I) -> SigSet {
        let mut set = SigSet::EMPTY;
        for signal in signals {
            set.add(signal);
        }
        set
    }
}

impl fmt::Debug for SigSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

flags! {
    /// Flags of sigaction(2).
    pub struct SaFlags: u64, "SA_" {
        const NOCLDSTOP = 1;
        const NOCLDWAIT = 2;
        const SIGINFO = 4;
        const UNSUPPORTED = 0x400;
        const EXPOSE_TAGBITS = 0x800;
        const RESTORER = 0x0400_0000;
        const ONSTACK = 0x0800_0000;
        const RESTART = 0x1000_0000;
        const NODEFER = 0x4000_0000;
        const RESETHAND = 0x8000_0000;
    }
}

/// Default action.
pub const SIG_DFL: u64 = 0;
/// Ignore.
pub const SIG_IGN: u64 = 1;

wire! {
    /// The kernel's `struct sigaction`: rt_sigaction(2), not the C library's.
    pub struct SigAction {
        /// [`SIG_DFL`], [`SIG_IGN`] or the handler's address.
        pub sa_handler: u64,
        /// [`SaFlags`].
        pub sa_flags: u64,
        pub sa_restorer: u64,
        pub sa_mask: SigSet,
    }

    /// `stack_t` of sigaltstack(2).
    pub struct SigStack {
        pub ss_sp: u64,
        pub ss_flags: u32,
        pub pad: u32,
        pub ss_size: u64,
    }

    /// The second data argument of pselect6(2): a set and its size.
    pub struct SigSetArg {
        pub ss: u64,
        pub ss_len: u64,
    }

    /// What a read of a signalfd(2) gives.
    pub struct SignalfdSiginfo {
        pub ssi_signo: u32,
        pub ssi_errno: i32,
        pub ssi_code: i32,
        pub ssi_pid: u32,
        pub ssi_uid: u32,
        pub ssi_fd: i32,
        pub ssi_tid: u32,
        pub ssi_band: u32,
        pub ssi_overrun: u32,
        pub ssi_trapno: u32,
        pub ssi_status: i32,
        pub ssi_int: i32,
        pub ssi_ptr: u64,
        pub ssi_utime: u64,
        pub ssi_stime: u64,
        pub ssi_addr: u64,
        pub ssi_addr_lsb: u16,
        pub pad2: u16,
        pub ssi_syscall: i32,
        pub ssi_call_addr: u64,
        pub ssi_arch: u32,
        pub pad: [u8; 28],
    }
}

constants! {
    /// Operations of rt_sigprocmask(2).
    pub table SIGPROCMASK_HOW: u32 {
        SIG_BLOCK = 0;
        SIG_UNBLOCK = 1;
        SIG_SETMASK = 2;
    }
}

flags! {
    /// Flags of sigaltstack(2).
    pub struct SsFlags: u32, "SS_" {
        const ONSTACK = 1;
        const DISABLE = 2;
        const AUTODISARM = 1 << 31;
    }
}

/// The smallest alternative stack sigaltstack(2) takes.
pub const MINSIGSTKSZ: u64 = 2048;

flags! {
    /// Flags of signalfd4(2).
    pub struct SfdFlags: u32, "SFD_" {
        const NONBLOCK = 0o4000;
        const CLOEXEC = 0o2000000;
    }
}
