//! From a number and six registers to a handler.

use abi::Errno;
use sentry::SysResult;
use sentry::task::CurrentTask;

use crate::counters;
use crate::row::Row;
use crate::table::BY_NUMBER;

/// The row of a number. Linux looks at the low 32 bits only; numbers of the x32 ABI have none here.
#[inline]
pub fn row(number: u64) -> Option<&'static Row> {
    *BY_NUMBER.get(number as u32 as usize)?
}

/// Answers a call.
#[inline]
pub fn call(task: &mut CurrentTask, number: u64, args: &[u64; 6]) -> SysResult<u64> {
    match row(number) {
        Some(row) => {
            counters::count(row.number);
            (row.call)(task, args)
        }
        None => {
            counters::count_unknown();
            Err(Errno::ENOSYS.into())
        }
    }
}

/// The handler of rows that have none.
pub(crate) fn no_handler(_: &mut CurrentTask, _: &[u64; 6]) -> SysResult<u64> {
    Err(Errno::ENOSYS.into())
}
