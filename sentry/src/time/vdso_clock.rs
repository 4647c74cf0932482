//! Keeps the clock values of the vDSO true.
//!
//! Time is a line through the time stamp counter: base plus counts times a factor. A thread of its own compares the line
//! with the host's clock now and then and bends it: never backwards, and a clock that ran ahead is slowed down until the
//! host's has caught up. The layout of the page is in `vdso.s`.

use std::sync::{Arc, Weak};
use std::time::Duration;

use platform::MemoryFile;

use super::Clocks;
use crate::Kernel;

/// When the first line is drawn, after start: long enough for a good factor.
const FIRST: Duration = Duration::from_millis(20);
/// From then on.
const LATER: Duration = Duration::from_secs(2);

const SEQUENCE: u64 = 0;
const READY: u64 = 8;

/// One look at both clocks.
#[derive(Clone, Copy)]
struct Sample {
    count: u64,
    monotonic_ns: i64,
}

/// What the page says.
#[derive(Clone, Copy)]
struct Line {
    count: u64,
    monotonic_ns: i64,
    /// Nanoseconds a count, 32.32 fixed point.
    factor: u64,
}

impl Line {
    fn at(&self, count: u64) -> i64 {
        let counts = count.saturating_sub(self.count);
        self.monotonic_ns + ((u128::from(counts) * u128::from(self.factor)) >> 32) as i64
    }
}

/// Reads both clocks as close together as a few tries get them.
fn sample(clocks: &Clocks) -> Sample {
    let mut best = (u64::MAX, Sample { count: 0, monotonic_ns: 0 });
    for _ in 0..5 {
        let before = platform::cpu::time_stamp();
        let monotonic_ns = clocks.monotonic_ns();
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

fn keep(kernel: &Weak<Kernel>, first: Sample) {
    let mut sleep = FIRST;
    let mut last = first;
    let mut line: Option<Line> = None;
    let mut sequence = 0u32;
    loop {
        std::thread::sleep(sleep);
        let Some(kernel) = kernel.upgrade() else { return };
        let now = sample(&kernel.clocks);
        let Some(true_factor) = factor(last, now) else { continue };
        let next = match line {
            None => Line { count: now.count, monotonic_ns: now.monotonic_ns, factor: true_factor },
            Some(old) => {
                let shown = old.at(now.count);
                let ahead = shown - now.monotonic_ns;
                if ahead <= 0 {
                    Line { count: now.count, monotonic_ns: now.monotonic_ns, factor: true_factor }
                } else {
                    // Slower by as much as makes up for it until the next look; half speed at the least.
                    let window = LATER.as_nanos() as i64;
                    let keep = (window - ahead.min(window / 2)) as u128;
                    let factor = (u128::from(true_factor) * keep / window as u128) as u64;
                    Line { count: now.count, monotonic_ns: shown, factor }
                }
            }
        };
        let ahead = kernel.clocks.realtime_ns() - kernel.clocks.monotonic_ns();
        sequence = sequence.wrapping_add(2);
        write(kernel.platform.memory(), kernel.vdso.values_offset(), sequence, &next, ahead);
        // The first, short distance gives a rough factor; from here on it is measured over the whole time.
        if line.is_some() {
            last = now;
        }
        line = Some(next);
        sleep = LATER;
    }
}

/// Writes the page: readers that meet the odd number wait.
fn write(memory: &MemoryFile, page: u64, sequence: u32, line: &Line, realtime_ahead: i64) {
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
    put(40, &realtime_ahead.to_ne_bytes());
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
        let line = Line { count: a.count, monotonic_ns: a.monotonic_ns, factor };
        assert!((line.at(b.count) - b.monotonic_ns).abs() <= 1);
        assert_eq!(line.at(0), a.monotonic_ns);
    }
}
