//! How often something took how long.

/// Buckets for each doubling.
const FINE: u32 = 4;
/// Up to 2^40 ns, a quarter of an hour.
const BUCKETS: usize = 40 * FINE as usize;

/// Counts of durations in buckets that grow by a fifth or so.
#[derive(Clone)]
pub struct Histogram {
    counts: Box<[u64; BUCKETS]>,
}

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram { counts: Box::new([0; BUCKETS]) }
    }
}

impl Histogram {
    fn bucket(ns: u64) -> usize {
        let ns = ns.max(1 << 3);
        let doublings = ns.ilog2();
        // The bits behind the first.
        let fine = (ns >> (doublings - 2)) & u64::from(FINE - 1);
        ((doublings * FINE) as usize + fine as usize).min(BUCKETS - 1)
    }

    /// The shortest duration of a bucket.
    fn lower_ns(bucket: usize) -> u64 {
        let (doublings, fine) = (bucket as u32 / FINE, bucket as u64 % u64::from(FINE));
        if doublings < 2 { 0 } else { (u64::from(FINE) + fine) << (doublings - 2) }
    }

    /// Counts one.
    pub fn add_one(&mut self, ns: u64) {
        self.counts[Self::bucket(ns)] += 1;
    }

    /// Counts another's.
    pub fn add(&mut self, other: &Histogram) {
        for (sum, count) in self.counts.iter_mut().zip(other.counts.iter()) {
            *sum += count;
        }
    }

    /// The lower bound of the bucket where so many hundredths of all are below.
    pub fn percentile_ns(&self, percent: u64) -> u64 {
        let all: u64 = self.counts.iter().sum();
        let wanted = (all * percent).div_ceil(100).max(1);
        let mut seen = 0;
        let found = self.counts.iter().position(|count| {
            seen += count;
            seen >= wanted
        });
        found.map_or(0, Self::lower_ns)
    }

    /// How many took less than each doubling, by its exponent; empty ones left out.
    pub fn doublings(&self) -> Vec<(u32, u64)> {
        let whole = self.counts.chunks(FINE as usize).map(|fine| fine.iter().sum::<u64>());
        whole.zip(1u32..).filter(|(count, _)| *count > 0).map(|(count, power)| (power, count)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::Histogram;

    #[test]
    fn buckets_hold_what_they_say() {
        for ns in [0, 8, 9, 100, 1023, 1024, 1_000_000, u64::MAX >> 8] {
            let mut histogram = Histogram::default();
            histogram.add_one(ns);
            let lower = histogram.percentile_ns(50);
            assert!(lower <= ns.max(8), "{ns} is counted at {lower}");
            assert!(ns > 1 << 40 || lower * 5 / 4 + 8 >= ns, "{ns} is counted at {lower}");
        }
    }

    #[test]
    fn percentiles_and_doublings() {
        let mut histogram = Histogram::default();
        (0..90).for_each(|_| histogram.add_one(100));
        (0..10).for_each(|_| histogram.add_one(5000));
        assert!((80..=100).contains(&histogram.percentile_ns(50)));
        assert!((80..=100).contains(&histogram.percentile_ns(90)));
        assert!((4096..=5000).contains(&histogram.percentile_ns(91)));
        assert_eq!(histogram.doublings(), [(7, 90), (13, 10)]);
    }
}
