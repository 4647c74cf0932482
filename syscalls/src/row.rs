//! One line of the table: what is known about a system call.

use sentry::SysResult;
use sentry::task::CurrentTask;

use crate::show::ShowCx;

/// How much of a call there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Answers ENOSYS, as a Linux without the call does, or the one error that such a Linux gives.
    None,
    /// Part of what Linux does; the note says what is missing.
    Partial,
    /// All that programs can see of it.
    Full,
}

impl Level {
    /// In reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Level::None => "none",
            Level::Partial => "partial",
            Level::Full => "full",
        }
    }
}

/// A handler with its arguments still raw.
pub type Call = fn(&mut CurrentTask, &[u64; 6]) -> SysResult<u64>;

/// A system call.
pub struct Row {
    /// Number on x86-64.
    pub number: u32,
    /// Name, as the kernel's own table has it.
    pub name: &'static str,
    /// How much there is.
    pub level: Level,
    /// What is missing, or why; empty where there is nothing to say.
    pub note: &'static str,
    /// Its handler; one that answers ENOSYS where there is none.
    pub(crate) call: Call,
    /// Its arguments; `None` without a handler, when all six may mean something.
    pub(crate) args: Option<&'static [ArgInfo]>,
    /// How its result is written.
    pub(crate) result: ResultFormat,
}

impl Row {
    /// How many arguments it takes, where that is known.
    pub fn arg_count(&self) -> Option<usize> {
        self.args.map(<[ArgInfo]>::len)
    }
}

/// When an argument can be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// Before the call: values and what the kernel reads.
    Entry,
    /// After it: what the kernel writes.
    Exit,
    /// Before and, where that is something else, after it: what the kernel reads and writes.
    Both,
}

/// How to show an argument.
pub struct ArgInfo {
    pub(crate) when: When,
    /// Writes argument number `usize`.
    pub(crate) show: fn(&mut ShowCx<'_>, usize),
    /// Writes what became of it, behind the result; for what the kernel both reads and writes.
    pub(crate) after: Option<fn(&mut ShowCx<'_>, usize)>,
}

/// How a result is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResultFormat {
    /// A number with a sign.
    Decimal,
    /// An address.
    Hex,
    /// A file mode.
    Octal,
    /// The call does not return.
    Never,
}
