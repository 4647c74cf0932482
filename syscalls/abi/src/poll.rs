//! Waiting for files: poll(2), select(2), epoll(7).

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

flags! {
    /// Events of poll(2); those of epoll(7) have the same values.
    pub struct PollEvents: u32, "POLL" {
        const IN = 0x0001;
        const PRI = 0x0002;
        const OUT = 0x0004;
        const ERR = 0x0008;
        const HUP = 0x0010;
        const NVAL = 0x0020;
        const RDNORM = 0x0040;
        const RDBAND = 0x0080;
        const WRNORM = 0x0100;
        const WRBAND = 0x0200;
        const MSG = 0x0400;
        const REMOVE = 0x1000;
        const RDHUP = 0x2000;
    }
}

flags! {
    /// Events and modes of epoll_ctl(2).
    pub struct EpollEvents: u32, "EPOLL" {
        const IN = 0x0001;
        const PRI = 0x0002;
        const OUT = 0x0004;
        const ERR = 0x0008;
        const HUP = 0x0010;
        const NVAL = 0x0020;
        const RDNORM = 0x0040;
        const RDBAND = 0x0080;
        const WRNORM = 0x0100;
        const WRBAND = 0x0200;
        const MSG = 0x0400;
        const RDHUP = 0x2000;
        const EXCLUSIVE = 1 << 28;
        const WAKEUP = 1 << 29;
        const ONESHOT = 1 << 30;
        const ET = 1 << 31;
    }
}

constants! {
    /// Operations of epoll_ctl(2).
    pub table EPOLL_CTL_OPS: u32 {
        EPOLL_CTL_ADD = 1;
        EPOLL_CTL_DEL = 2;
        EPOLL_CTL_MOD = 3;
    }
}

flags! {
    /// Flags of epoll_create1(2).
    pub struct EpollFlags: u32, "EPOLL_" {
        const CLOEXEC = 0o2000000;
    }
}

wire! {
    /// `struct pollfd`.
    pub struct PollFd {
        pub fd: i32,
        pub events: u16,
        pub revents: u16,
    }

    /// `struct epoll_params` of the ioctls EPIOCSPARAMS and EPIOCGPARAMS.
    pub struct EpollParams {
        pub busy_poll_usecs: u32,
        pub busy_poll_budget: u16,
        pub prefer_busy_poll: u8,
        pub pad: u8,
    }
}

/// `struct epoll_event`: packed on x86-64, 12 bytes.
#[repr(C, packed)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct EpollEvent {
    /// [`EpollEvents`].
    pub events: u32,
    /// The guest's own.
    pub data: u64,
}

/// Descriptors a select(2) of the C library can name; the kernel has no such limit.
pub const FD_SETSIZE: usize = 1024;
