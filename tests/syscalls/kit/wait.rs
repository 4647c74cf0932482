//! Waiting for something without depending on how fast the machine is.

use std::fmt::Display;

use libc::{c_int, timespec};

use super::check::{fail, ok};
use crate::sys;

/// Sleeps.
pub fn sleep_ms(ms: i64) {
    let mut left = timespec { tv_sec: ms / 1000, tv_nsec: ms % 1000 * 1_000_000 };
    // The kernel writes the rest back when a signal comes in between.
    while sys!(nanosleep, &left.clone(), &mut left).is_err() {}
}

/// A clock in nanoseconds.
#[track_caller]
pub fn now_ns(clock: c_int) -> i64 {
    let mut t = timespec { tv_sec: 0, tv_nsec: 0 };
    ok(sys!(clock_gettime, clock, &mut t));
    t.tv_sec * 1_000_000_000 + t.tv_nsec
}

/// Polls until it holds, for 8 seconds.
#[track_caller]
pub fn eventually(what: impl Display, mut holds: impl FnMut() -> bool) {
    let end = now_ns(libc::CLOCK_MONOTONIC) + 8_000_000_000;
    while !holds() {
        if now_ns(libc::CLOCK_MONOTONIC) > end {
            fail(format_args!("waited 8 seconds in vain: {what}"));
        }
        sleep_ms(1);
    }
}

/// The state letter of a process or thread from /proc, `?` when there is none.
pub fn state(pid: c_int) -> char {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(") ").next().and_then(|rest| rest.chars().next()).unwrap_or('?')
}

/// Waits until the process or thread sleeps in a call.
#[track_caller]
pub fn until_asleep(pid: c_int) {
    until_state(pid, 'S');
}

/// Waits until the process or thread is in this state.
#[track_caller]
pub fn until_state(pid: c_int, want: char) {
    let mut last = ' ';
    let end = now_ns(libc::CLOCK_MONOTONIC) + 8_000_000_000;
    loop {
        let now = state(pid);
        // Two looks, so that a sleep on the way to the call is not taken for the call.
        if now == want && last == want {
            return;
        }
        if now_ns(libc::CLOCK_MONOTONIC) > end {
            fail(format_args!("task {pid} did not reach state {want}, it is in {now}"));
        }
        last = now;
        sleep_ms(1);
    }
}
