//! The types of arguments: each decodes itself from a register and shows itself in strace lines.
//!
//! Numbers are cut to their width as C does, so that what the guest leaves in the upper half of a register does not
//! matter where it does not on Linux.

mod file;
mod memory;
mod named;
mod process;
mod socket;

pub use file::{
    AccessFlags, Dev, DirFd, FallocFlags, FcntlArg, Fd, FlockOp, IoctlArg, Mode, ModeIfCreate, OpenArg,
    UserId,
};
pub use memory::{
    FdSet, In, InArray, InBuf, InOut, InString, IoVecs, IoVecsOut, Out, OutArray, OutBuf, OutDirents,
    OutString, PollFds,
};
pub use named::*;
pub use process::{CloneArg, ExitCode, FutexOp, MapArg, OutStatus, PersonalityArg, Sig, StringArray};
pub use socket::{InAddress, InMessage, InOutLen, OutAddress, OutMessage, SocketType};

use crate::row::When;
use crate::show::ShowCx;

/// What an argument of a handler can be.
pub trait Arg: Sized {
    /// When it can be shown.
    const WHEN: When = When::Entry;
    /// Shows what became of it, behind the result.
    const AFTER: Option<fn(&mut ShowCx<'_>, usize)> = None;
    /// From a register.
    fn decode(raw: u64) -> Self;
    /// Writes argument `index` of `cx`.
    fn show(cx: &mut ShowCx<'_>, index: usize);
}

macro_rules! number_args {
    ($($ty:ty),*) => {$(impl Arg for $ty {
        fn decode(raw: u64) -> $ty {
            raw as $ty
        }
        fn show(cx: &mut ShowCx<'_>, index: usize) {
            let value = cx.args[index] as $ty;
            cx.write(format_args!("{value}"));
        }
    })*};
}

number_args!(i16, i32, u32, i64, u64, usize);
