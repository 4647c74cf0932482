//! Any process killed at any moment: `state` tells the truth, and `delete --force` removes everything.
//!
//! A round kills one process with SIGKILL, either after a random time or just before a random system call of it, and then looks
//! at what is left. `CRASH_SEED=N` repeats a run, `CRASH_ROUND=N` one round of it, `CRASH_ROUNDS=N` makes more or fewer, and
//! `CRASH_PLATFORM=ptrace` takes another platform than the usual one.

mod hooks;
mod left;
mod round;
mod site;
mod steps;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::{cannot, is_foreign};
use round::{Costs, Killed};
use site::Site;

/// Rounds without `CRASH_ROUNDS`.
const ROUNDS: u64 = 400;

/// Rounds at the same time: they wait more than they work.
const WORKERS: usize = 3;

/// Numbers that are the same for the same seed.
struct Random(u64);

impl Random {
    /// For a round.
    fn new(seed: u64, round: u64) -> Random {
        // splitmix64, so that neighbours have nothing in common.
        let mut x = seed.wrapping_add(round.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Random((x ^ (x >> 31)) | 1)
    }

    /// Less than this.
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit.max(1)
    }

    fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len() as u64) as usize]
    }
}

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text}: give a number")))
}

#[test]
fn killed_at_random_moments() {
    if cannot() || is_foreign() {
        return;
    }
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let seed = number("CRASH_SEED").unwrap_or(now.as_nanos() as u64 % 1_000_000_000);
    let (first, count) = match number("CRASH_ROUND") {
        Some(round) => (round, 1),
        None => (0, number("CRASH_ROUNDS").unwrap_or(ROUNDS)),
    };
    println!("crash: CRASH_SEED={seed}");
    let costs = Costs::measure(Site::make("m"));
    let (next, failed) = (AtomicU64::new(first), AtomicBool::new(false));
    let tally = Mutex::new(BTreeMap::<String, (u64, u64)>::new());
    let work = |worker: usize| {
        let mut site = Site::make(&format!("w{worker}"));
        loop {
            let round = next.fetch_add(1, Ordering::Relaxed);
            if round >= first + count || failed.load(Ordering::Relaxed) {
                return site.close();
            }
            let again = Again { seed, round, failed: &failed };
            let (what, killed) = round::run(&mut site, round, &mut Random::new(seed, round), &costs);
            std::mem::forget(again);
            let mut tally = tally.lock().unwrap();
            let of_kind = tally.entry(what).or_default();
            of_kind.0 += 1;
            of_kind.1 += u64::from(killed == Killed::Yes);
        }
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..WORKERS.min(count as usize))
            .map(|n| {
                let work = &work;
                scope.spawn(move || work(n))
            })
            .collect();
        for worker in workers {
            worker.join().unwrap();
        }
    });
    let tally = tally.into_inner().unwrap();
    for (what, (rounds, killed)) in &tally {
        println!("crash: {what}: {killed} killed in {rounds} rounds");
    }
    let killed: u64 = tally.values().map(|(_, killed)| killed).sum();
    println!("crash: {killed} killed in {count} rounds");
    // The rest ended before its time came.
    assert!(count == 1 || killed * 10 > count * 6, "only {killed} of {count} rounds killed something");
}

/// Says how to repeat a round, and ends the others, unless it went well.
struct Again<'a> {
    seed: u64,
    round: u64,
    failed: &'a AtomicBool,
}

impl Drop for Again<'_> {
    fn drop(&mut self) {
        self.failed.store(true, Ordering::Relaxed);
        println!("crash: again with CRASH_SEED={} CRASH_ROUND={}", self.seed, self.round);
    }
}
