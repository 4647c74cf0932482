//! How long one time takes.

use std::time::{Duration, Instant};

/// What a batch of calls takes at least: less than a time slice, so that on a busy machine some batches run undisturbed.
const BATCH: Duration = Duration::from_millis(3);
/// Batches, of which the lower quartile counts.
const BATCHES: usize = 16;
/// More than this is not spent on a metric.
const ENOUGH: Duration = Duration::from_secs(2);

/// Nanoseconds for each call: the lower quartile of a few batches, after enough calls to get warm.
pub fn per_call(mut call: impl FnMut()) -> f64 {
    let mut times = 1u32;
    loop {
        let took = batch(times, &mut call);
        if took >= BATCH {
            break;
        }
        // Straight to the right number once the measurement says anything.
        let wanted = BATCH.as_nanos() * u128::from(times) / took.as_nanos().max(1);
        times = times.saturating_mul(2).max(wanted.min(u128::from(times) * 20) as u32);
    }
    let begun = Instant::now();
    let mut found = Vec::with_capacity(BATCHES);
    while found.len() < BATCHES && (found.is_empty() || begun.elapsed() < ENOUGH) {
        found.push(batch(times, &mut call).as_nanos() as f64 / f64::from(times));
    }
    quartile(&mut found)
}

fn batch(times: u32, call: &mut impl FnMut()) -> Duration {
    let begun = Instant::now();
    for _ in 0..times {
        call();
    }
    begun.elapsed()
}

/// The lower quartile of rounds that time themselves.
pub fn per_round(rounds: usize, mut round: impl FnMut() -> f64) -> f64 {
    round();
    let mut found: Vec<f64> = (0..rounds).map(|_| round()).collect();
    quartile(&mut found)
}

fn quartile(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 4]
}
