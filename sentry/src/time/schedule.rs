//! When a timer goes off, on a clock that it does not know.

/// A moment, and how often again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Schedule {
    /// When it goes off next, nanoseconds of its clock; `None`: it is not set.
    pub deadline_ns: Option<i64>,
    /// Nanoseconds until the time after; 0: never again.
    pub interval_ns: i64,
}

impl Schedule {
    /// Nanoseconds until it goes off: 0 when it is not set, at least 1 when it is.
    pub fn left(&self, now_ns: i64) -> i64 {
        match self.deadline_ns {
            None => 0,
            Some(deadline) if deadline > now_ns => deadline - now_ns,
            // What is due and comes again is told as if it had been noticed.
            Some(deadline) if self.interval_ns > 0 => {
                self.interval_ns - (now_ns - deadline) % self.interval_ns
            }
            Some(_) => 1,
        }
    }

    /// Whether it has gone off.
    pub fn is_due(&self, now_ns: i64) -> bool {
        self.deadline_ns.is_some_and(|deadline| deadline <= now_ns)
    }

    /// Goes on to the next time after `now_ns`, or to never; answers how often it has gone off.
    pub fn advance(&mut self, now_ns: i64) -> u64 {
        let Some(deadline) = self.deadline_ns.filter(|deadline| *deadline <= now_ns) else { return 0 };
        if self.interval_ns <= 0 {
            self.deadline_ns = None;
            return 1;
        }
        let times = (now_ns - deadline) / self.interval_ns + 1;
        self.deadline_ns = Some(deadline.saturating_add(times.saturating_mul(self.interval_ns)));
        times as u64
    }
}

#[cfg(test)]
mod tests {
    use super::Schedule;

    #[test]
    fn goes_off_once_or_again() {
        let mut once = Schedule { deadline_ns: Some(10), interval_ns: 0 };
        assert_eq!((once.left(4), once.left(10), once.is_due(9)), (6, 1, false));
        assert_eq!((once.advance(9), once.advance(11), once.advance(12)), (0, 1, 0));
        assert_eq!(once.left(12), 0);
        let mut again = Schedule { deadline_ns: Some(10), interval_ns: 7 };
        assert_eq!((again.left(10), again.left(11), again.left(17)), (7, 6, 7));
        assert_eq!(again.advance(24), 3);
        assert_eq!(again.deadline_ns, Some(31));
    }

    #[test]
    fn far_moments_do_not_overflow() {
        let mut far = Schedule { deadline_ns: Some(1), interval_ns: i64::MAX };
        assert_eq!(far.advance(5), 1);
        assert_eq!(far.deadline_ns, Some(i64::MAX));
    }
}
