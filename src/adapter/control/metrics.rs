//! What the control half counts.

use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry};

/// The metrics; handles are held, so that counting needs no look-up.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "each is described where it is declared, in `ControlMetrics::new`")]
pub struct ControlMetrics {
    pub leader: IntGauge,
    pub redis_up: IntGauge,
    pub deletion_cost_applied: IntCounter,
    pub deletion_cost_conflict: IntCounter,
    pub deletion_cost_failed: IntCounter,
    pub certificate_rotations: IntCounter,
    pub ca_bundle_failures: IntCounter,
    pub pods_watch_failures: IntCounter,
    deletion_cost: IntCounterVec,
}

impl Default for ControlMetrics {
    fn default() -> Self {
        Self::new()
    }
}

impl ControlMetrics {
    /// Declares them; [`ControlMetrics::register`] makes them visible.
    #[must_use]
    #[rustfmt::skip]
    pub fn new() -> Self {
        let deletion_cost = declared(IntCounterVec::new(
            Opts::new("metrics_adapter_deletion_cost_writes_total", "Writes of a pod's deletion cost: applied, refused because another owns it (conflict), or failed."),
            &["result"],
        ));
        Self {
            leader: gauge("metrics_adapter_leader", "1 while this adapter is the one that writes to the cluster, else 0."),
            redis_up: gauge("metrics_adapter_redis_up", "1 while the pods' reports are read from Redis, else 0; also 0 without a Redis."),
            // Asked for now, so that each series is there from the start.
            deletion_cost_applied: deletion_cost.with_label_values(&["applied"]),
            deletion_cost_conflict: deletion_cost.with_label_values(&["conflict"]),
            deletion_cost_failed: deletion_cost.with_label_values(&["failed"]),
            certificate_rotations: counter("metrics_adapter_certificate_rotations_total", "Certificates that this adapter has made and stored."),
            ca_bundle_failures: counter("metrics_adapter_ca_bundle_failures_total", "Failed attempts to tell an APIService the adapter's authority."),
            pods_watch_failures: counter("metrics_adapter_pods_watch_failures_total", "Failures of the watch on the fleet's pods."),
            deletion_cost,
        }
    }

    /// Adds them to a registry.
    ///
    /// # Errors
    /// When the registry holds one of the names already.
    pub fn register(&self, registry: &Registry) -> prometheus::Result<()> {
        registry.register(Box::new(self.leader.clone()))?;
        registry.register(Box::new(self.redis_up.clone()))?;
        registry.register(Box::new(self.deletion_cost.clone()))?;
        registry.register(Box::new(self.certificate_rotations.clone()))?;
        registry.register(Box::new(self.ca_bundle_failures.clone()))?;
        registry.register(Box::new(self.pods_watch_failures.clone()))
    }
}

fn gauge(name: &str, help: &str) -> IntGauge {
    declared(IntGauge::new(name, help))
}

fn counter(name: &str, help: &str) -> IntCounter {
    declared(IntCounter::new(name, help))
}

/// Names and labels are constants above, and a test declares them all.
fn declared<T>(metric: prometheus::Result<T>) -> T {
    metric.expect("a well-formed name")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_are_visible_from_the_start() {
        let registry = Registry::new();
        ControlMetrics::new().register(&registry).expect("no name twice");
        let text = prometheus::TextEncoder::new().encode_to_string(&registry.gather()).expect("text");
        for series in [
            "metrics_adapter_leader 0",
            "metrics_adapter_redis_up 0",
            "metrics_adapter_deletion_cost_writes_total{result=\"applied\"} 0",
            "metrics_adapter_deletion_cost_writes_total{result=\"conflict\"} 0",
            "metrics_adapter_deletion_cost_writes_total{result=\"failed\"} 0",
            "metrics_adapter_certificate_rotations_total 0",
            "metrics_adapter_ca_bundle_failures_total 0",
            "metrics_adapter_pods_watch_failures_total 0",
        ] {
            assert!(text.lines().any(|line| line == series), "{series} in\n{text}");
        }
    }
}
