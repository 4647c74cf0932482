//! Flags and constants by name.

use std::marker::PhantomData;

use abi::{Errno, NamedFlags};

use super::Arg;
use crate::show::{ShowCx, bits};

/// A flag set as the guest gave it, bits without a meaning included.
pub struct Flags<F: NamedFlags> {
    bits: F::Bits,
    what: PhantomData<F>,
}

impl<F: NamedFlags> Clone for Flags<F>
where
    F::Bits: Copy,
{
    fn clone(&self) -> Self {
        *self
    }
}

impl<F: NamedFlags> Copy for Flags<F> where F::Bits: Copy {}

impl<F: NamedFlags> Flags<F>
where
    F::Bits: Copy,
{
    /// What a call hands on to another handler.
    pub fn of(flags: F) -> Self {
        Flags { bits: flags.bits(), what: PhantomData }
    }

    /// The bits.
    pub fn bits(self) -> F::Bits {
        self.bits
    }

    /// The flags, or EINVAL where a bit has no meaning.
    pub fn known(self) -> Result<F, Errno> {
        F::from_bits(self.bits).ok_or(Errno::EINVAL)
    }

    /// The flags with a meaning; others are ignored, as some old calls do.
    pub fn truncate(self) -> F {
        F::from_bits_truncate(self.bits)
    }

    /// All bits, those without a meaning too.
    pub fn retain(self) -> F {
        F::from_bits_retain(self.bits)
    }
}

/// What the bits of a flag set can be: `u32` in a register that may hold rubbish above, or `u64`.
pub trait RegisterBits: Copy + Into<u64> {
    /// Cut to the width.
    fn cut(raw: u64) -> Self;
}

impl RegisterBits for u32 {
    fn cut(raw: u64) -> u32 {
        raw as u32
    }
}

impl RegisterBits for u64 {
    fn cut(raw: u64) -> u64 {
        raw
    }
}

impl<F: NamedFlags> Arg for Flags<F>
where
    F::Bits: RegisterBits,
{
    fn decode(raw: u64) -> Self {
        Flags { bits: F::Bits::cut(raw), what: PhantomData }
    }
    fn show(cx: &mut ShowCx<'_>, index: usize) {
        let bits = F::Bits::cut(cx.args[index]).into();
        bits::flags::<F>(&mut cx.out, bits, "0");
    }
}

macro_rules! named {
    ($($(#[$doc:meta])* $name:ident: $ty:ty = $table:expr;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct $name(pub $ty);
        impl Arg for $name {
            fn decode(raw: u64) -> Self {
                $name(raw as $ty)
            }
            fn show(cx: &mut ShowCx<'_>, index: usize) {
                bits::name(&mut cx.out, $table, cx.args[index] as $ty);
            }
        }
    )*};
}

named! {
    /// Where lseek(2) counts from.
    Whence: u32 = abi::open::SEEK_WHENCE;
    /// Command of fcntl(2).
    FcntlCommand: u32 = abi::fcntl::FCNTL_COMMANDS;
    /// Request of ioctl(2).
    IoctlRequest: u32 = abi::ioctl::IOCTLS;
    /// Advice of posix_fadvise(2).
    Fadvice: u32 = abi::open::FADVICE;
    /// Advice of madvise(2).
    Madvice: u32 = abi::mman::MADVICE;
    /// Mode of a NUMA policy.
    MemoryPolicy: u32 = abi::mman::MPOL_MODES;
    /// A clock.
    Clock: i32 = abi::time::CLOCKS;
    /// An interval timer.
    ItimerWhich: u32 = abi::time::ITIMERS;
    /// What rt_sigprocmask(2) does.
    SigmaskHow: u32 = abi::signal::SIGPROCMASK_HOW;
    /// What waitid(2) waits for.
    WaitidType: u32 = abi::wait::WAITID_TYPES;
    /// What kcmp(2) compares.
    KcmpType: u32 = abi::clone::KCMP_TYPES;
    /// What epoll_ctl(2) does.
    EpollOp: u32 = abi::poll::EPOLL_CTL_OPS;
    /// A resource with limits.
    Resource: u32 = abi::resource::RLIMITS;
    /// Whose use getrusage(2) tells.
    RusageWho: i32 = abi::resource::RUSAGE_WHO;
    /// Whose priority getpriority(2) tells.
    PriorityWhich: u32 = abi::resource::PRIORITY_WHICH;
    /// Whose priority ioprio_get(2) tells.
    IoprioWhich: u32 = abi::resource::IOPRIO_WHICH;
    /// What prctl(2) does.
    PrctlOp: u32 = abi::prctl::PRCTL_OPS;
    /// What arch_prctl(2) does.
    ArchPrctlOp: u32 = abi::prctl::ARCH_PRCTL_OPS;
    /// What seccomp(2) does.
    SeccompOp: u32 = abi::seccomp::SECCOMP_OPS;
    /// How to schedule.
    SchedPolicy: u32 = abi::sched::SCHED_POLICIES;
    /// What ptrace(2) does.
    PtraceRequest: u32 = abi::ptrace::PTRACE_REQUESTS;
    /// What fsconfig(2) does.
    FsconfigCommand: u32 = abi::mount::FSCONFIG_COMMANDS;
    /// What shmctl(2) does.
    ShmCommand: u32 = abi::ipc::SHM_COMMANDS;
    /// Family of a socket.
    AddressFamily: u32 = abi::socket::ADDRESS_FAMILIES;
    /// Level of a socket option.
    SocketLevel: u32 = &[(abi::socket::SOL_SOCKET, "SOL_SOCKET"), (6, "SOL_TCP"), (0, "SOL_IP"), (41, "SOL_IPV6")];
    /// An option at level SOL_SOCKET.
    SocketOption: u32 = abi::socket::SOCKET_OPTIONS;
    /// How shutdown(2) shuts.
    ShutdownHow: u32 = abi::socket::SHUTDOWN_HOW;
    /// What reboot(2) does.
    RebootCommand: u32 = abi::sysinfo::REBOOT_COMMANDS;
}
