//! What a system call can end with, other than a value.

use abi::Errno;

/// Why an interrupted call may be done again, as Linux's kernel-internal error numbers 512–516 say. A variant, not a
/// number, so that none of them can leak to a guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restart {
    /// ERESTARTSYS: again without a handler or with an `SA_RESTART` one, else EINTR.
    Sys,
    /// ERESTARTNOINTR: always again.
    NoIntr,
    /// ERESTARTNOHAND: again when no handler ran, else EINTR.
    NoHand,
    /// ERESTART_RESTARTBLOCK: as [`NoHand`](Restart::NoHand), but through `restart_syscall(2)` and the task's
    /// [`RestartBlock`](crate::task::RestartBlock).
    Block,
}

/// The end of a system call that gives no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SysError {
    /// The guest sees this error number.
    Errno(Errno),
    /// A signal came first.
    Restart(Restart),
}

impl From<Errno> for SysError {
    fn from(errno: Errno) -> Self {
        SysError::Errno(errno)
    }
}

/// What a system call handler answers.
pub type SysResult<T> = Result<T, SysError>;

/// What kernel objects that never wait answer.
pub type Result<T, E = Errno> = std::result::Result<T, E>;
