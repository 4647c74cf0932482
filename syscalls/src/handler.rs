//! From typed functions to rows of the table.

use sentry::SysResult;
use sentry::mm::UserAddr;
use sentry::task::CurrentTask;

use crate::arg::{Arg, Fd, Mode};
use crate::row::{ArgInfo, ResultFormat};

/// A function that answers a system call: `CurrentTask` first, then up to six arguments. `Args` only tells the
/// implementations apart.
pub trait Handler<Args> {
    /// Its arguments.
    const ARGS: &'static [ArgInfo];
    /// How its result is written.
    const RESULT: ResultFormat;
    /// Decodes the arguments and calls it.
    fn call(&self, task: &mut CurrentTask, raw: &[u64; 6]) -> SysResult<u64>;
}

/// The arguments of a handler, for the table's macro.
pub(crate) const fn args_of<Args, H: Handler<Args>>(_: &H) -> &'static [ArgInfo] {
    H::ARGS
}

/// The result of a handler, for the table's macro.
pub(crate) const fn result_of<Args, H: Handler<Args>>(_: &H) -> ResultFormat {
    H::RESULT
}

macro_rules! handlers {
    ($($arg:ident $index:literal),*) => {
        impl<F, R, $($arg),*> Handler<(R, $($arg,)*)> for F
        where
            F: Fn(&mut CurrentTask, $($arg),*) -> SysResult<R>,
            R: Ret,
            $($arg: Arg,)*
        {
            const ARGS: &'static [ArgInfo] = &[$(ArgInfo { when: $arg::WHEN, show: $arg::show, after: $arg::AFTER }),*];
            const RESULT: ResultFormat = R::FORMAT;

            #[inline]
            fn call(&self, task: &mut CurrentTask, raw: &[u64; 6]) -> SysResult<u64> {
                let _ = raw;
                self(task, $($arg::decode(raw[$index])),*).map(Ret::to_raw)
            }
        }
    };
}

handlers!();
handlers!(A 0);
handlers!(A 0, B 1);
handlers!(A 0, B 1, C 2);
handlers!(A 0, B 1, C 2, D 3);
handlers!(A 0, B 1, C 2, D 3, E 4);
handlers!(A 0, B 1, C 2, D 3, E 4, G 5);

/// What a handler may answer.
pub trait Ret {
    /// How it is written.
    const FORMAT: ResultFormat = ResultFormat::Decimal;
    /// As rax has it.
    fn to_raw(self) -> u64;
}

/// The answer of a call that does not return: exit(2).
pub struct Never;

impl Ret for Never {
    const FORMAT: ResultFormat = ResultFormat::Never;
    fn to_raw(self) -> u64 {
        0
    }
}

impl Ret for () {
    fn to_raw(self) -> u64 {
        0
    }
}

impl Ret for UserAddr {
    const FORMAT: ResultFormat = ResultFormat::Hex;
    fn to_raw(self) -> u64 {
        self.0
    }
}

impl Ret for Fd {
    fn to_raw(self) -> u64 {
        self.0 as u64
    }
}

impl Ret for Mode {
    const FORMAT: ResultFormat = ResultFormat::Octal;
    fn to_raw(self) -> u64 {
        u64::from(self.0)
    }
}

macro_rules! number_results {
    ($($ty:ty),*) => {$(impl Ret for $ty {
        fn to_raw(self) -> u64 {
            self as u64
        }
    })*};
}

number_results!(i32, u32, i64, u64, usize);
