//! Timers as files (timerfd_create(2)).
//!
//! A timer is the moment when it goes off next; how often it has gone off is worked out when somebody asks. The timer
//! service only tells waiters, once until the next read, as on Linux.

use std::any::Any;
use std::sync::Arc;

use abi::Errno;
use abi::poll::PollEvents;
use abi::time::{CLOCK_MONOTONIC, Itimerspec};
use sync::Mutex;

use super::file::{Blocking, File, FileOps};
use super::io::{IoSink, IoSource};
use crate::time::clock::{Clocks, follows_realtime, ns_to_timespec};
use crate::time::{TimerHandle, TimerService};
use crate::wait::{WaitQueue, Wake};

/// A timer as a file.
pub struct TimerFd {
    inner: Arc<Inner>,
}

struct Inner {
    clock: i32,
    clocks: Clocks,
    service: TimerService,
    state: Mutex<State, sync::levels::FileState>,
    queue: WaitQueue,
}

#[derive(Default)]
struct State {
    /// The clock `next` is on: the timer's, or the monotonic one for a relative time.
    clock: i32,
    /// When it goes off next, nanoseconds; `None`: it is not set.
    next: Option<i64>,
    interval_ns: i64,
    /// How often it has gone off since the last read, as far as it has been counted.
    ticks: u64,
    /// Flags of the last settime.
    flags: u32,
    handle: Option<TimerHandle>,
}

impl State {
    /// Counts what has happened until `now` on the timer's clock.
    fn count(&mut self, now: i64) {
        let Some(next) = self.next.filter(|next| *next <= now) else { return };
        if self.interval_ns == 0 {
            self.ticks += 1;
            self.next = None;
            return;
        }
        let times = (now - next) / self.interval_ns + 1;
        self.ticks = self.ticks.saturating_add(times as u64);
        self.next = Some(next.saturating_add(times.saturating_mul(self.interval_ns)));
    }

    fn remaining(&self, now: i64) -> Itimerspec {
        let left = self.next.map_or(0, |next| next.saturating_sub(now).max(1));
        Itimerspec { it_interval: ns_to_timespec(self.interval_ns), it_value: ns_to_timespec(left) }
    }
}

impl TimerFd {
    /// A timer on `clock`, not set.
    pub fn new(clock: i32, clocks: Clocks, service: TimerService) -> TimerFd {
        let state = Mutex::new(State { clock, ..State::default() });
        TimerFd { inner: Arc::new(Inner { clock, clocks, service, state, queue: WaitQueue::new() }) }
    }

    /// timerfd_settime(2): goes off at `value_ns` of its clock, or that long from now; zero: never. Answers what was
    /// set before.
    pub fn set(
        &self,
        value_ns: i64,
        interval_ns: i64,
        absolute: bool,
        flags: u32,
    ) -> Result<Itimerspec, Errno> {
        let inner = &self.inner;
        let mut state = inner.state.lock();
        let now = inner.now(state.clock);
        state.count(now);
        let old = state.remaining(now);
        state.clock = if absolute { inner.clock } else { CLOCK_MONOTONIC };
        state.next = match (value_ns, absolute) {
            (0, _) => None,
            (at, true) => Some(at),
            (after, false) => Some(inner.now(CLOCK_MONOTONIC).saturating_add(after)),
        };
        state.interval_ns = if value_ns == 0 { 0 } else { interval_ns };
        state.ticks = 0;
        state.flags = flags;
        inner.arm(&mut state)?;
        Ok(old)
    }

    /// timerfd_gettime(2).
    pub fn get(&self) -> Result<Itimerspec, Errno> {
        let mut state = self.inner.state.lock();
        let now = self.inner.now(state.clock);
        let before = state.next;
        state.count(now);
        if state.next != before {
            self.inner.arm(&mut state)?;
        }
        Ok(state.remaining(now))
    }
}

impl Inner {
    fn now(&self, clock: i32) -> i64 {
        // Only clocks that are always there get here.
        self.clocks.now_ns(clock).unwrap_or(0)
    }

    /// Asks the service to wake us at the next moment.
    fn arm(self: &Arc<Self>, state: &mut State) -> Result<(), Errno> {
        state.handle = None;
        let deadline = state.next.and_then(|next| self.clocks.instant_of(state.clock, next));
        if let Some(deadline) = deadline {
            state.handle = Some(self.service.set(deadline, Arc::clone(self) as Arc<dyn Wake>)?);
        }
        Ok(())
    }

    /// The service's wake-up is used up too early when real time was set back meanwhile: asks for another.
    fn ask_again(self: &Arc<Self>, state: &mut State) {
        if follows_realtime(state.clock) && state.handle.as_ref().is_some_and(TimerHandle::is_due) {
            // Without a thread there is nothing to be told by; the next read or poll tries again.
            let _ = self.arm(state);
        }
    }

    fn went_off(&self, state: &State) -> bool {
        state.ticks > 0 || state.next.is_some_and(|next| next <= self.now(state.clock))
    }
}

/// What the service calls. It knows only `&self`, so a clock that was set back is asked again by the next read or poll.
impl Wake for Inner {
    fn wake(&self, _events: PollEvents) -> bool {
        self.queue.notify(PollEvents::IN);
        true
    }
}

impl FileOps for TimerFd {
    fn has_write(&self) -> bool {
        false
    }

    fn blocking(&self) -> Blocking {
        Blocking::Record
    }

    fn read(&self, _file: &File, dst: &mut dyn IoSink, _offset: u64) -> Result<usize, Errno> {
        if dst.remaining() < 8 {
            return Err(Errno::EINVAL);
        }
        let ticks = {
            let mut state = self.inner.state.lock();
            let now = self.inner.now(state.clock);
            state.count(now);
            let ticks = std::mem::take(&mut state.ticks);
            if ticks > 0 {
                self.inner.arm(&mut state)?;
            } else {
                self.inner.ask_again(&mut state);
            }
            ticks
        };
        if ticks == 0 {
            return Err(Errno::EAGAIN);
        }
        match dst.put(&ticks.to_ne_bytes()) {
            Ok(8) => Ok(8),
            _ => Err(Errno::EFAULT),
        }
    }

    fn write(&self, _file: &File, _src: &mut dyn IoSource, _offset: &mut u64) -> Result<usize, Errno> {
        Err(Errno::EINVAL)
    }

    fn poll(&self, _file: &File) -> PollEvents {
        let mut state = self.inner.state.lock();
        if self.inner.went_off(&state) {
            return PollEvents::IN;
        }
        self.inner.ask_again(&mut state);
        PollEvents::empty()
    }

    fn wait_queue(&self) -> Option<&WaitQueue> {
        Some(&self.inner.queue)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn anonymous_name(&self) -> String {
        "anon_inode:[timerfd]".to_owned()
    }

    fn fdinfo(&self, _file: &File) -> String {
        let state = self.inner.state.lock();
        let now = self.inner.now(state.clock);
        let left = state.remaining(now);
        let (value, interval) = (left.it_value, left.it_interval);
        format!(
            "clockid: {}\nticks: {}\nsettime flags: 0{:o}\nit_value: ({}, {})\nit_interval: ({}, {})\n",
            self.inner.clock,
            state.ticks + u64::from(state.next.is_some_and(|next| next <= now)),
            state.flags,
            value.tv_sec,
            value.tv_nsec,
            interval.tv_sec,
            interval.tv_nsec
        )
    }
}

impl Drop for TimerFd {
    fn drop(&mut self) {
        // The service holds the inner part while the timer is set.
        self.inner.state.lock().handle = None;
    }
}

#[cfg(test)]
mod tests {
    use abi::time::CLOCK_REALTIME;

    use super::*;
    use crate::time::clock::SECOND_NS;

    fn timer(clock: i32) -> TimerFd {
        TimerFd::new(clock, Clocks::new(), TimerService::new())
    }

    #[test]
    fn counts_what_was_missed() {
        let mut state = State { next: Some(100), interval_ns: 10, ..State::default() };
        state.count(99);
        assert_eq!(state.ticks, 0);
        state.count(100);
        assert_eq!((state.ticks, state.next), (1, Some(110)));
        state.count(155);
        assert_eq!((state.ticks, state.next), (6, Some(160)));
    }

    #[test]
    fn set_and_get() {
        let timer = timer(CLOCK_REALTIME);
        timer.set(10 * SECOND_NS, SECOND_NS, false, 0).unwrap();
        let left = timer.get().unwrap();
        assert!((9..=10).contains(&left.it_value.tv_sec));
        assert_eq!(left.it_interval.tv_sec, 1);
        let old = timer.set(0, SECOND_NS, false, 0).unwrap();
        assert!(old.it_value.tv_sec >= 9);
        assert_eq!(timer.get().unwrap(), Itimerspec::default());
        // An absolute moment in the past goes off at once.
        timer.set(1, 0, true, 1).unwrap();
        assert!(timer.inner.went_off(&timer.inner.state.lock()));
    }

    #[test]
    fn waiters_are_told() {
        let timer = timer(CLOCK_MONOTONIC);
        let parker = crate::wait::Parker::for_current_thread();
        timer.inner.queue.register(PollEvents::IN, parker.clone());
        timer.set(5_000_000, 0, false, 0).unwrap();
        parker.park(None);
        assert!(timer.inner.went_off(&timer.inner.state.lock()));
    }
}
