//! Latencies: how many took how long.

use hdrhistogram::Histogram;
use serde::Serialize;

/// Longest that is told apart, in microseconds: a day. Longer ones count as that.
const LONGEST: u64 = 24 * 3600 * 1_000_000;

/// Significant digits that are kept.
const DIGITS: u8 = 3;

/// Upper end of the histogram's first step in microseconds, and how much wider each is than the one before.
const FIRST_STEP: u64 = 50;
const STEP: f64 = 1.25;

/// How many values fell where.
#[derive(Debug, Clone)]
pub(super) struct Latencies(Histogram<u64>);

/// In milliseconds, all zero where nothing was measured.
#[derive(Debug, Default, Clone, Copy, Serialize)]
pub(super) struct Summary {
    pub(super) p50: f64,
    pub(super) p90: f64,
    pub(super) p99: f64,
    pub(super) p999: f64,
    pub(super) max: f64,
}

impl Default for Latencies {
    fn default() -> Self {
        // Constants that the crate takes: any test would see otherwise.
        Self(Histogram::new_with_max(LONGEST, DIGITS).expect("sound bounds"))
    }
}

impl Latencies {
    pub(super) fn add(&mut self, micros: u64) {
        self.0.saturating_record(micros);
    }

    /// The longest, in milliseconds.
    pub(super) fn longest(&self) -> f64 {
        milliseconds(self.0.max())
    }

    pub(super) fn summary(&self) -> Summary {
        let at = |quantile| milliseconds(self.0.value_at_quantile(quantile).min(self.0.max()));
        Summary { p50: at(0.5), p90: at(0.9), p99: at(0.99), p999: at(0.999), max: self.longest() }
    }

    /// Steps with their upper ends in milliseconds and what fell into each; the last holds the longest.
    pub(super) fn histogram(&self) -> Vec<(f64, u64)> {
        if self.0.is_empty() {
            return Vec::new();
        }
        let steps = self.0.iter_log(FIRST_STEP, STEP);
        steps
            .map(|step| (milliseconds(step.value_iterated_to()), step.count_since_last_iteration()))
            .collect()
    }
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
    fn quantiles_are_near_and_nothing_is_left_out_of_the_histogram() {
        let mut latencies = Latencies::default();
        assert_eq!((latencies.summary().p99, latencies.histogram().len()), (0.0, 0));
        for micros in 1..=10_000 {
            latencies.add(micros);
        }
        latencies.add(123_456);
        latencies.add(u64::MAX);
        let Summary { p50, p90, p99, max, .. } = latencies.summary();
        assert!((4.99..5.01).contains(&p50) && (8.99..9.02).contains(&p90), "{p50} {p90}");
        assert!((9.89..9.92).contains(&p99) && max > 86_000_000.0, "{p99} {max}");
        let histogram = latencies.histogram();
        assert_eq!(histogram.iter().map(|(_, count)| count).sum::<u64>(), 10_002);
        assert!(histogram.is_sorted_by(|a, b| a.0 < b.0), "{histogram:?}");
    }
}
