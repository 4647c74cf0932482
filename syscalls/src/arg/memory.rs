//! Pointers into guest memory.

use std::ops::Deref;

use abi::poll::PollFd;
use abi::uio::IoVec;
use sentry::mm::{UserAddr, UserCStr, UserRef};

use super::Arg;
use crate::row::When;
use crate::show::{Show, ShowCx, event, file};

/// A bare address.
impl Arg for UserAddr {
    fn decode(raw: u64) -> Self {
        UserAddr(raw)
    }
    fn show(cx: &mut ShowCx<'_>, index: usize) {
        cx.address(cx.args[index]);
    }
}

/// A pointer whose target is not shown.
impl<T> Arg for UserRef<T> {
    fn decode(raw: u64) -> Self {
        UserRef::new(UserAddr(raw))
    }
    fn show(cx: &mut ShowCx<'_>, index: usize) {
        cx.address(cx.args[index]);
    }
}

/// A path.
impl Arg for UserCStr {
    fn decode(raw: u64) -> Self {
        UserCStr(UserAddr(raw))
    }
    fn show(cx: &mut ShowCx<'_>, index: usize) {
        cx.path(cx.args[index]);
    }
}

/// Writes the structure at an address, or the address where there is none.
fn structure<T: Show>(cx: &mut ShowCx<'_>, addr: u64) {
    match if addr == 0 { None } else { cx.read_obj::<T>(addr) } {
        Some(value) => value.show(cx),
        None => cx.address(addr),
    }
}

macro_rules! references {
    ($($(#[$doc:meta])* $name:ident, $when:ident;)*) => {$(
        $(#[$doc])*
        pub struct $name<T>(pub UserRef<T>);
        impl<T> Clone for $name<T> {
            fn clone(&self) -> Self {
                *self
            }
        }
        impl<T> Copy for $name<T> {}
        impl<T> Deref for $name<T> {
            type Target = UserRef<T>;
            fn deref(&self) -> &UserRef<T> {
                &self.0
            }
        }
        impl<T: Show> Arg for $name<T> {
            const WHEN: When = When::$when;
            fn decode(raw: u64) -> Self {
                $name(UserRef::new(UserAddr(raw)))
            }
            fn show(cx: &mut ShowCx<'_>, index: usize) {
                structure::<T>(cx, cx.args[index]);
            }
        }
    )*};
}

references! {
    /// A structure that the call reads.
    In, Entry;
    /// A structure that the call writes.
    Out, Exit;
    /// A structure that the call reads and writes.
    InOut, Both;
}

macro_rules! addresses {
    ($($(#[$doc:meta])* $name:ident, $when:ident, $show:expr;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct $name(pub UserAddr);
        impl Deref for $name {
            type Target = UserAddr;
            fn deref(&self) -> &UserAddr {
                &self.0
            }
        }
        impl Arg for $name {
            const WHEN: When = When::$when;
            fn decode(raw: u64) -> Self {
                $name(UserAddr(raw))
            }
            fn show(cx: &mut ShowCx<'_>, index: usize) {
                let show: fn(&mut ShowCx<'_>, usize, u64) = $show;
                show(cx, index, cx.args[index]);
            }
        }
    )*};
}

/// The argument behind `index`: a length or a count.
fn next(cx: &ShowCx<'_>, index: usize) -> u64 {
    cx.args.get(index + 1).copied().unwrap_or(0)
}

addresses! {
    /// Bytes that the call reads, as many as the next argument says.
    InBuf, Entry, |cx, index, addr| cx.buffer(addr, next(cx, index));
    /// Bytes that the call writes, as many as it answers.
    OutBuf, Exit, |cx, _, addr| cx.buffer(addr, cx.result.unwrap_or(0));
    /// Directory entries that the call writes, as many bytes as it answers.
    OutDirents, Exit, |cx, _, addr| file::directory_entries(cx, addr, cx.result.unwrap_or(0));
    /// A string that the call reads and that may be long.
    InString, Entry, |cx, _, addr| cx.c_string(addr, crate::show::STRING_LIMIT);
    /// A NUL-terminated string that the call writes.
    OutString, Exit, |cx, _, addr| cx.path(addr);
    /// Buffers that the call reads, as many as the next argument says.
    IoVecs, Entry, |cx, index, addr| file::io_vec(cx, addr, next(cx, index), u64::MAX);
    /// Buffers that the call writes, filled with as many bytes as it answers.
    IoVecsOut, Exit, |cx, index, addr| file::io_vec(cx, addr, next(cx, index), cx.result.unwrap_or(0));
}

impl IoVecs {
    /// The array.
    pub fn array(self) -> UserRef<IoVec> {
        UserRef::new(self.0)
    }
}

impl IoVecsOut {
    /// The array.
    pub fn array(self) -> UserRef<IoVec> {
        UserRef::new(self.0)
    }
}

macro_rules! arrays {
    ($($(#[$doc:meta])* $name:ident, $when:ident, $count:expr;)*) => {$(
        $(#[$doc])*
        pub struct $name<T>(pub UserRef<T>);
        impl<T> Clone for $name<T> {
            fn clone(&self) -> Self {
                *self
            }
        }
        impl<T> Copy for $name<T> {}
        impl<T> Deref for $name<T> {
            type Target = UserRef<T>;
            fn deref(&self) -> &UserRef<T> {
                &self.0
            }
        }
        impl<T: Show> Arg for $name<T> {
            const WHEN: When = When::$when;
            fn decode(raw: u64) -> Self {
                $name(UserRef::new(UserAddr(raw)))
            }
            fn show(cx: &mut ShowCx<'_>, index: usize) {
                let count: fn(&ShowCx<'_>, usize) -> u64 = $count;
                cx.array::<T>(cx.args[index], count(cx, index), |cx, value| value.show(cx));
            }
        }
    )*};
}

arrays! {
    /// Structures that the call reads, as many as the next argument says.
    InArray, Entry, next;
    /// Structures that the call writes, as many as it answers.
    OutArray, Exit, |cx, _| cx.result.unwrap_or(0);
}

/// The array of poll(2); its length is the next argument.
#[derive(Clone, Copy)]
pub struct PollFds(pub UserRef<PollFd>);

impl Arg for PollFds {
    const AFTER: Option<fn(&mut ShowCx<'_>, usize)> = Some(|cx, index| match cx.result {
        Some(0) => cx.text("Timeout"),
        _ => event::polled_fds(cx, cx.args[index], next(cx, index) & 0xffff_ffff),
    });
    fn decode(raw: u64) -> Self {
        PollFds(UserRef::new(UserAddr(raw)))
    }
    fn show(cx: &mut ShowCx<'_>, index: usize) {
        event::poll_fds(cx, cx.args[index], next(cx, index) & 0xffff_ffff);
    }
}

/// A descriptor set of select(2); the number of descriptors is the first argument.
#[derive(Clone, Copy)]
pub struct FdSet(pub UserAddr);

impl Arg for FdSet {
    fn decode(raw: u64) -> Self {
        FdSet(UserAddr(raw))
    }
    fn show(cx: &mut ShowCx<'_>, index: usize) {
        event::fd_set(cx, cx.args[index], (cx.args[0] as i32).max(0) as u64);
    }
}
