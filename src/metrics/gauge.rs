use std::fmt;

use prometheus::IntGauge;

use super::declare::{Declare, Description, Family, Known};
use super::labels::Report;

/// Whose counts a sidecar shows: the values of their labels.
#[derive(Debug, Clone, Copy, Default)]
#[expect(missing_docs, reason = "each is the label of that name")]
pub struct GaugeOwner<'a> {
    pub pod: &'a str,
    pub namespace: &'a str,
    pub node: &'a str,
    pub fleet: &'a str,
}

/// Every metric of the sidecar.
#[expect(missing_docs, reason = "each is described where it is declared, in `GaugeMetrics::new`")]
pub struct GaugeMetrics {
    pub pod_connections: Known,
    pub fleet_connections: Known,
    pub status_up: IntGauge,
    pub redis_up: Known,
    pub reports: Family<Report>,
    declared: Declare,
}

impl fmt::Debug for GaugeMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GaugeMetrics")
    }
}

impl GaugeMetrics {
    /// Declares and registers all of them.
    #[must_use]
    #[rustfmt::skip]
    pub fn new(owner: &GaugeOwner<'_>) -> Self {
        let GaugeOwner { pod, namespace, node, fleet } = *owner;
        let mut d = Declare::default();
        Self {
            pod_connections: d.known("websocket_pod_connections", &[("pod", pod), ("namespace", namespace), ("node", node)], "Open connections of this pod."),
            fleet_connections: d.known("websocket_fleet_connections", &[("namespace", namespace), ("fleet", fleet)], "Open connections of all pods of the fleet that report to Redis; each of them shows the same sum."),
            status_up: d.gauge("connection_gauge_status_up", "1 while the service answers /status, else 0."),
            redis_up: d.known("connection_gauge_redis_up", &[], "1 while Redis takes reports, else 0."),
            reports: d.family("connection_gauge_reports_total", "Reports written to Redis, and reports that were not."),
            declared: d,
        }
    }

    /// What is declared, for the documentation.
    #[must_use]
    pub fn descriptions(&self) -> &[Description] {
        &self.declared.descriptions
    }

    /// The text exposition of all metrics.
    #[must_use]
    pub fn encode(&self) -> String {
        self.declared.encode()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_unknown_has_no_series() {
        let owner = GaugeOwner { pod: "ws-1", namespace: "chat", node: "", fleet: "ws" };
        let metrics = GaugeMetrics::new(&owner);
        let series = |name: &str| metrics.encode().lines().filter(|line| line.starts_with(name)).count();
        for name in ["websocket_pod_connections", "websocket_fleet_connections", "connection_gauge_redis_up"]
        {
            assert_eq!(series(name), 0, "{name}");
        }
        metrics.pod_connections.set(Some(3));
        metrics.fleet_connections.set(Some(12));
        metrics.redis_up.set(Some(0));
        let text = metrics.encode();
        for line in [
            "websocket_pod_connections{namespace=\"chat\",node=\"\",pod=\"ws-1\"} 3",
            "websocket_fleet_connections{fleet=\"ws\",namespace=\"chat\"} 12",
            "connection_gauge_status_up 0",
            "connection_gauge_redis_up 0",
            "connection_gauge_reports_total{result=\"ok\"} 0",
            "connection_gauge_reports_total{result=\"failed\"} 0",
        ] {
            assert!(text.lines().any(|l| l == line), "no line {line:?} in\n{text}");
        }
        metrics.pod_connections.set(None);
        assert_eq!(series("websocket_pod_connections"), 0);
    }
}
