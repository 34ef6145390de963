//! Latencies in little memory: buckets that are 1/16 of their power of two wide.

use serde::Serialize;

/// Buckets of each power of two: the error is at most 1/16.
const PARTS: u64 = 16;

/// How many values fell where; in microseconds.
#[derive(Debug, Default)]
pub(super) struct Latencies {
    buckets: Vec<u64>,
    count: u64,
    longest: u64,
}

/// In milliseconds, all zero where nothing was measured.
#[derive(Debug, Default, Clone, Copy, Serialize)]
pub(super) struct Summary {
    p50: f64,
    p99: f64,
    max: f64,
}

impl Latencies {
    pub(super) fn add(&mut self, micros: u64) {
        let bucket = bucket(micros);
        if self.buckets.len() <= bucket {
            self.buckets.resize(bucket + 1, 0);
        }
        self.buckets[bucket] += 1;
        self.count += 1;
        self.longest = self.longest.max(micros);
    }

    /// The longest, exactly, in milliseconds.
    pub(super) fn longest(&self) -> f64 {
        milliseconds(self.longest)
    }

    pub(super) fn summary(&self) -> Summary {
        Summary { p50: self.quantile(50), p99: self.quantile(99), max: self.longest() }
    }

    /// The value that so many per cent do not exceed: the upper end of its bucket.
    fn quantile(&self, percent: u64) -> f64 {
        let rank = (self.count * percent).div_ceil(100);
        let mut seen = 0;
        for (bucket, count) in (0..).zip(&self.buckets) {
            seen += count;
            if seen >= rank {
                return milliseconds(upper(bucket).min(self.longest));
            }
        }
        milliseconds(self.longest)
    }
}

/// Below 16 each value has a bucket of its own.
fn bucket(value: u64) -> usize {
    let shift = (value | PARTS).ilog2() - PARTS.ilog2();
    // At most 61 × 16.
    usize::try_from(u64::from(shift) * PARTS + (value >> shift)).unwrap_or(usize::MAX)
}

/// The largest value of a bucket.
fn upper(bucket: u64) -> u64 {
    let shift = (bucket / PARTS).saturating_sub(1);
    let part = bucket - shift * PARTS;
    ((part + 1) << shift) - 1
}

/// To a hundredth.
#[expect(clippy::cast_precision_loss, reason = "a report")]
fn milliseconds(micros: u64) -> f64 {
    (micros as f64 / 10.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_holds_its_values_and_is_narrow() {
        let values = (0..5_000).chain([1 << 20, (1 << 20) + 77_777, 86_400_000_000]);
        for value in values {
            let end = upper(u64::try_from(bucket(value)).expect("small"));
            assert!(end >= value && end - value <= value / PARTS, "{value}: {end}");
        }
    }

    #[test]
    fn quantiles_are_near_and_the_longest_is_exact() {
        let mut latencies = Latencies::default();
        assert_eq!(latencies.summary().p99, 0.0);
        for micros in 1..=10_000 {
            latencies.add(micros);
        }
        latencies.add(123_456);
        let Summary { p50, p99, max } = latencies.summary();
        assert!((5.0..5.4).contains(&p50) && (9.9..10.6).contains(&p99), "{p50} {p99}");
        assert_eq!((max, latencies.longest()), (123.46, 123.46));
    }
}
