//! Time: clocks, sleeping.

use std::time::Duration;

use abi::time::Timespec;

/// A relative time as calls take it; `None` (EINVAL) for negative ones and nanoseconds out of range.
pub(crate) fn duration(time: &Timespec) -> Option<Duration> {
    let nanos = u32::try_from(time.tv_nsec).ok().filter(|n| *n < 1_000_000_000)?;
    Some(Duration::new(u64::try_from(time.tv_sec).ok()?, nanos))
}
