//! Fds to wait for and to wake with: eventfd, timerfd, epoll. All close-on-exec.

use std::io::Result;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

use crate::{check_int, retry};

/// An eventfd: a counter to wake a waiter in poll(2) or epoll. Non-blocking.
#[derive(Debug)]
pub struct EventFd(OwnedFd);

impl EventFd {
    /// A new one, at zero.
    pub fn new() -> Result<EventFd> {
        // SAFETY: numbers only; the fd is new and ours.
        let fd = check_int(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) })?;
        // SAFETY: as above.
        Ok(EventFd(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Adds one: the fd becomes readable.
    pub fn signal(&self) {
        // Only a full counter can fail, and then the waiter is awake already.
        let _ = rustix::io::write(&self.0, &1u64.to_ne_bytes());
    }

    /// Takes the counter back to zero; what it was.
    pub fn take(&self) -> u64 {
        let mut bytes = [0u8; 8];
        match rustix::io::read(&self.0, &mut bytes) {
            Ok(8) => u64::from_ne_bytes(bytes),
            _ => 0,
        }
    }
}

impl AsFd for EventFd {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Waits until `fd` can be read from; false after `timeout`.
pub fn wait_readable(fd: impl AsFd, timeout: Duration) -> Result<bool> {
    let mut poll = libc::pollfd { fd: fd.as_fd().as_raw_fd(), events: libc::POLLIN, revents: 0 };
    let millis = timeout.as_millis().min(i32::MAX as u128) as i32;
    // SAFETY: the structure is valid for the call, and its number is one.
    let ready = retry(|| check_int(unsafe { libc::poll(&mut poll, 1, millis) }))?;
    Ok(ready != 0)
}

/// A timerfd on the monotonic clock. Non-blocking.
#[derive(Debug)]
pub struct TimerFd(OwnedFd);

impl TimerFd {
    /// A disarmed timer.
    pub fn new() -> Result<TimerFd> {
        let flags = libc::TFD_CLOEXEC | libc::TFD_NONBLOCK;
        // SAFETY: numbers only.
        let fd = check_int(unsafe { libc::timerfd_create(libc::CLOCK_MONOTONIC, flags) })?;
        // SAFETY: the fd is new and ours.
        Ok(TimerFd(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Fires once after `delay` (at once for zero); `None` disarms.
    pub fn set(&self, delay: Option<Duration>) -> Result<()> {
        let none = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        let value = match delay {
            None => none,
            Some(d) if d.is_zero() => libc::timespec { tv_sec: 0, tv_nsec: 1 },
            Some(d) => {
                libc::timespec { tv_sec: d.as_secs().min(1 << 40) as i64, tv_nsec: d.subsec_nanos().into() }
            }
        };
        let new = libc::itimerspec { it_interval: none, it_value: value };
        // SAFETY: the structure is valid for the call; the old value is not asked for.
        check_int(unsafe { libc::timerfd_settime(self.0.as_raw_fd(), 0, &new, std::ptr::null_mut()) })
            .map(drop)
    }

    /// Whether it fired since the last call.
    pub fn take(&self) -> bool {
        matches!(rustix::io::read(&self.0, &mut [0u8; 8]), Ok(8))
    }
}

impl AsFd for TimerFd {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// One ready fd.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ready {
    /// What was given when the fd was added.
    pub token: u64,
    /// `EPOLL*` bits.
    pub events: u32,
}

/// An epoll instance.
#[derive(Debug)]
pub struct Epoll(OwnedFd);

impl Epoll {
    /// An empty one.
    pub fn new() -> Result<Epoll> {
        // SAFETY: numbers only.
        let fd = check_int(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
        // SAFETY: the fd is new and ours.
        Ok(Epoll(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    fn control(&self, operation: i32, fd: impl AsFd, token: u64, events: u32) -> Result<()> {
        let mut event = libc::epoll_event { events, u64: token };
        let fd = fd.as_fd().as_raw_fd();
        // SAFETY: the structure is valid for the call.
        check_int(unsafe { libc::epoll_ctl(self.0.as_raw_fd(), operation, fd, &mut event) }).map(drop)
    }

    /// Watches `fd` for `events` (`EPOLL*` bits).
    pub fn add(&self, fd: impl AsFd, token: u64, events: u32) -> Result<()> {
        self.control(libc::EPOLL_CTL_ADD, fd, token, events)
    }

    /// Changes what is watched.
    pub fn modify(&self, fd: impl AsFd, token: u64, events: u32) -> Result<()> {
        self.control(libc::EPOLL_CTL_MOD, fd, token, events)
    }

    /// Watches `fd` no more.
    pub fn remove(&self, fd: impl AsFd) -> Result<()> {
        self.control(libc::EPOLL_CTL_DEL, fd, 0, 0)
    }

    /// Waits until something is ready or `timeout` has passed (rounded up to milliseconds); appends to `ready` up to
    /// 64 at once. Interrupted calls are repeated with the whole timeout.
    pub fn wait(&self, ready: &mut Vec<Ready>, timeout: Option<Duration>) -> Result<()> {
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; 64];
        let millis = match timeout {
            None => -1,
            Some(t) => t.as_nanos().div_ceil(1_000_000).min(i32::MAX as u128) as i32,
        };
        let count = retry(|| {
            // SAFETY: the array has the length that is passed.
            check_int(unsafe {
                libc::epoll_wait(self.0.as_raw_fd(), events.as_mut_ptr(), events.len() as i32, millis)
            })
        })?;
        ready.extend(events[..count as usize].iter().map(|e| Ready { token: e.u64, events: e.events }));
        Ok(())
    }
}

impl AsFd for Epoll {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_and_timers_wake_an_epoll() {
        let (epoll, event, timer) =
            (Epoll::new().expect("epoll"), EventFd::new().expect("event"), TimerFd::new().expect("timer"));
        epoll.add(&event, 1, libc::EPOLLIN as u32).expect("add");
        epoll.add(&timer, 2, libc::EPOLLIN as u32).expect("add");
        let mut ready = Vec::new();
        epoll.wait(&mut ready, Some(Duration::ZERO)).expect("wait");
        assert!(ready.is_empty());
        event.signal();
        event.signal();
        epoll.wait(&mut ready, None).expect("wait");
        assert_eq!(ready, [Ready { token: 1, events: libc::EPOLLIN as u32 }]);
        assert_eq!((event.take(), event.take()), (2, 0));
        ready.clear();
        timer.set(Some(Duration::ZERO)).expect("set");
        epoll.wait(&mut ready, None).expect("wait");
        assert_eq!(ready[0].token, 2);
        assert!(timer.take() && !timer.take());
    }
}
