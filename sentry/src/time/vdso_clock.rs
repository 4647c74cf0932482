//! Keeps the clock values of the vDSO true.
//!
//! Time is a [`Line`] through the time stamp counter. A thread of its own compares it with the host's clock now and then and
//! bends it: it never jumps, but runs faster or slower until it is where the host's clock is. So it does not matter that the
//! vDSO's page and the kernel's own copy ([`SharedLine`](super::line::SharedLine)) change one after the other. The layout of
//! the page is in `vdso.s`.

use std::sync::{Arc, Weak};
use std::time::Duration;

use platform::MemoryFile;

use super::Clocks;
use super::line::Line;
use crate::Kernel;

/// When the first line is drawn, after start: long enough for a good factor.
const FIRST: Duration = Duration::from_millis(20);
/// From then on.
const LATER: Duration = Duration::from_secs(2);
/// What real time may seem to move against monotonic time because the two are not read at the same moment.
const JITTER_NS: i64 = 2_000;

const NS_PER_SEC: i64 = 1_000_000_000;

const SEQUENCE: u64 = 0;
const READY: u64 = 8;

/// One look at both clocks.
#[derive(Clone, Copy)]
struct Sample {
    count: u64,
    monotonic_ns: i64,
}

/// Reads both clocks as close together as a few tries get them.
fn sample(clocks: &Clocks) -> Sample {
    let mut best = (u64::MAX, Sample { count: 0, monotonic_ns: 0 });
    for _ in 0..5 {
        let before = platform::cpu::time_stamp();
        let monotonic_ns = clocks.host_monotonic_ns();
        let after = platform::cpu::time_stamp();
        let apart = after.saturating_sub(before);
        if apart < best.0 {
            best = (apart, Sample { count: before + apart / 2, monotonic_ns });
        }
    }
    best.1
}

fn factor(from: Sample, to: Sample) -> Option<u64> {
    let counts = to.count.checked_sub(from.count).filter(|c| *c > 0)?;
    let ns = u128::try_from(to.monotonic_ns - from.monotonic_ns).ok()?;
    u64::try_from((ns << 32) / u128::from(counts)).ok()
}

/// Starts the thread, where the processor has a counter that can be trusted.
pub fn start(kernel: &Arc<Kernel>) {
    if !platform::cpu::has_invariant_time_stamp() {
        tracing::info!("no invariant time stamp counter: the vdso asks the kernel for the time");
        return;
    }
    let first = sample(&kernel.clocks);
    let kernel: Weak<Kernel> = Arc::downgrade(kernel);
    let run = move || keep(&kernel, first);
    let thread = std::thread::Builder::new().name("vdso-clock".into()).stack_size(64 << 10).spawn(run);
    if let Err(error) = thread {
        tracing::warn!(%error, "the vdso asks the kernel for the time");
    }
}

/// What real time is ahead of monotonic time: the look of a few at which no time passed in between.
fn realtime_ahead_ns(clocks: &Clocks) -> i64 {
    let look = |_| {
        let before = clocks.host_monotonic_ns();
        let realtime_ns = Clocks::realtime_now_ns();
        let after = clocks.host_monotonic_ns();
        (after - before, realtime_ns - before - (after - before) / 2)
    };
    (0..5).map(look).min_by_key(|(apart, _)| *apart).map_or(0, |(_, ahead)| ahead)
}

/// The line that goes on from where `old` is now, and meets the host's clock at the next look.
fn bend(old: &Line, now: Sample, true_factor: u64, ahead_ns: i64) -> Line {
    let window_ns = LATER.as_nanos() as i64;
    let shown_ns = old.at(now.count);
    let behind_ns = now.monotonic_ns - shown_ns;
    let realtime_ahead_ns =
        if (ahead_ns - old.realtime_ahead_ns).abs() > JITTER_NS { ahead_ns } else { old.realtime_ahead_ns };
    if behind_ns > window_ns {
        // The host had stopped the sandbox for long: nothing is gained by years of haste.
        return Line {
            count: now.count,
            monotonic_ns: now.monotonic_ns,
            factor: true_factor,
            realtime_ahead_ns,
        };
    }
    // Half speed at the least.
    let run_ns = (window_ns + behind_ns.max(-window_ns / 2)) as u128;
    let factor = (u128::from(true_factor) * run_ns / window_ns as u128) as u64;
    Line { count: now.count, monotonic_ns: shown_ns, factor, realtime_ahead_ns }
}

fn keep(kernel: &Weak<Kernel>, first: Sample) {
    let mut sleep = FIRST;
    let mut last = first;
    let mut line: Option<Line> = None;
    let mut sequence = 0u32;
    loop {
        std::thread::sleep(sleep);
        let Some(kernel) = kernel.upgrade() else { return };
        let ahead_ns = realtime_ahead_ns(&kernel.clocks);
        let now = sample(&kernel.clocks);
        let Some(true_factor) = factor(last, now) else { continue };
        let next = match &line {
            None => Line {
                count: now.count,
                monotonic_ns: now.monotonic_ns,
                factor: true_factor,
                realtime_ahead_ns: ahead_ns,
            },
            Some(old) => bend(old, now, true_factor, ahead_ns),
        };
        sequence = sequence.wrapping_add(2);
        kernel.clocks.line().set(&next);
        write(kernel.platform.memory(), kernel.vdso.values_offset(), sequence, &next);
        // The first, short distance gives a rough factor; from here on it is measured over the whole time.
        if line.is_some() {
            last = now;
        }
        line = Some(next);
        sleep = LATER;
    }
}

/// Writes the page: readers that meet the odd number wait.
fn write(memory: &MemoryFile, page: u64, sequence: u32, line: &Line) {
    let put = |offset: u64, bytes: &[u8]| {
        if memory.write(page + offset, bytes).is_err() {
            tracing::error!("the page of the vdso's clock is gone");
        }
    };
    let order = || std::sync::atomic::fence(std::sync::atomic::Ordering::SeqCst);
    put(SEQUENCE, &sequence.wrapping_sub(1).to_ne_bytes());
    order();
    put(16, &line.count.to_ne_bytes());
    put(24, &line.monotonic_ns.to_ne_bytes());
    put(32, &line.factor.to_ne_bytes());
    put(40, &line.realtime_ahead_ns.to_ne_bytes());
    let realtime_ns = line.monotonic_ns.wrapping_add(line.realtime_ahead_ns);
    for (offset, ns) in [(56, line.monotonic_ns), (72, realtime_ns)] {
        put(offset, &ns.div_euclid(NS_PER_SEC).to_ne_bytes());
        put(offset + 8, &ns.rem_euclid(NS_PER_SEC).to_ne_bytes());
    }
    put(READY, &1u64.to_ne_bytes());
    order();
    put(SEQUENCE, &sequence.to_ne_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_goes_through_its_samples() {
        let a = Sample { count: 1_000_000, monotonic_ns: 5_000 };
        let b = Sample { count: 4_000_000, monotonic_ns: 1_005_000 };
        let factor = factor(a, b).expect("b is later");
        let line = Line { count: a.count, monotonic_ns: a.monotonic_ns, factor, realtime_ahead_ns: 0 };
        assert!((line.at(b.count) - b.monotonic_ns).abs() <= 1);
        assert_eq!(line.at(0), a.monotonic_ns);
    }

    #[test]
    fn a_line_never_jumps_and_comes_back() {
        let per_ns = 1 << 32;
        let window_ns = LATER.as_nanos() as i64;
        for error_ns in [-700_000_000, -5_000, 0, 5_000, 900_000_000] {
            let old = Line { count: 0, monotonic_ns: 0, factor: per_ns, realtime_ahead_ns: 70 };
            let now = Sample { count: 1_000_000, monotonic_ns: 1_000_000 + error_ns };
            let bent = bend(&old, now, per_ns, 60);
            assert_eq!(bent.at(now.count), old.at(now.count), "{error_ns}");
            let (then, true_ns) = (now.count + window_ns as u64, now.monotonic_ns + window_ns);
            assert!((bent.at(then) - true_ns).abs() <= 1, "{error_ns}: {} for {true_ns}", bent.at(then));
            assert_eq!(bent.realtime_ahead_ns, 70, "jitter is no change");
            assert_eq!(bend(&old, now, per_ns, 5_000_000).realtime_ahead_ns, 5_000_000);
        }
    }
}
