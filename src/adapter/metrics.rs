//! What the adapter counts of its own doing.

use axum::http::StatusCode;
use prometheus::{IntCounterVec, IntGauge, Opts, Registry, TextEncoder};

use super::api::Resource;
use super::caller::Distrust;
use super::control::ControlMetrics;
use super::fleet::Fleet;

const FLEET: &str = "metrics_adapter_fleet_connections";
const BLIND: &str = "metrics_adapter_pods_blind";
const EXPIRY: &str = "metrics_adapter_certificate_expiry_timestamp_seconds";

/// The metrics of the serving half, and the registry of both.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: IntCounterVec,
    refused: IntCounterVec,
    fleet: IntGauge,
    blind: IntGauge,
    expiry: IntGauge,
}

impl Metrics {
    /// Declares and registers all of them, those of the control half as well.
    ///
    /// # Errors
    /// When the two halves use one name for two metrics.
    #[rustfmt::skip]
    pub fn new(control: &ControlMetrics) -> prometheus::Result<Self> {
        let counters = |name, help, labels: &[&str]| IntCounterVec::new(Opts::new(name, help), labels);
        let metrics = Self {
            registry: Registry::new(),
            requests: counters("metrics_adapter_requests_total", "Requests of the aggregator that were answered, by what they asked for.", &["resource", "code"])?,
            refused: counters("metrics_adapter_refused_total", "Requests and connections that were refused because nothing proves that they are the aggregator's.", &["reason"])?,
            fleet: IntGauge::new(FLEET, "Connections of the whole fleet, as served; no series while that is unknown.")?,
            blind: IntGauge::new(BLIND, "Ready pods without a fresh report; no series before the pods were listed.")?,
            expiry: IntGauge::new(EXPIRY, "When the certificate that is shown expires; no series while there is none.")?,
        };
        for resource in [Resource::Discovery, Resource::Pods, Resource::Deployments, Resource::Other] {
            metrics.requests.with_label_values(&[resource.label(), StatusCode::OK.as_str()]);
        }
        for reason in Distrust::ALL {
            metrics.refused.with_label_values(&[reason.label()]);
        }
        metrics.registry.register(Box::new(metrics.requests.clone()))?;
        metrics.registry.register(Box::new(metrics.refused.clone()))?;
        for gauge in [&metrics.fleet, &metrics.blind, &metrics.expiry] {
            metrics.registry.register(Box::new(gauge.clone()))?;
        }
        control.register(&metrics.registry)?;
        Ok(metrics)
    }

    /// Counts an answer. Codes are the server's own, so their number is small.
    pub fn answered(&self, resource: Resource, code: StatusCode) {
        self.requests.with_label_values(&[resource.label(), code.as_str()]).inc();
    }

    /// Counts a refusal.
    pub fn refused(&self, reason: Distrust) {
        self.refused.with_label_values(&[reason.label()]).inc();
    }

    /// Where all are registered, for the documentation.
    #[cfg(test)]
    pub(super) fn registry(&self) -> &Registry {
        &self.registry
    }

    /// The text exposition, without series for what is unknown.
    #[must_use]
    pub fn encode(&self, fleet: Option<&Fleet>, expiry: Option<i64>) -> String {
        let as_gauge = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let known = [
            (FLEET, &self.fleet, fleet.and_then(|fleet| fleet.total).map(as_gauge)),
            (BLIND, &self.blind, fleet.map(|fleet| as_gauge(fleet.blind as u64))),
            (EXPIRY, &self.expiry, expiry),
        ];
        for (_, gauge, value) in known {
            gauge.set(value.unwrap_or_default());
        }
        let mut families = self.registry.gather();
        families
            .retain(|family| known.iter().all(|(name, _, value)| value.is_some() || family.name() != *name));
        TextEncoder::new().encode_to_string(&families).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_unknown_has_no_series() {
        let metrics = Metrics::new(&ControlMetrics::new()).expect("no name twice");
        let text = metrics.encode(None, None);
        assert!(text.contains("metrics_adapter_refused_total{reason=\"wrong_name\"} 0"), "{text}");
        assert!(text.contains("metrics_adapter_leader 0"), "{text}");
        for name in [FLEET, BLIND, EXPIRY] {
            assert!(!text.contains(name), "{text}");
        }
        let blind = Fleet { blind: 3, ..Fleet::default() };
        let text = metrics.encode(Some(&blind), Some(1_795_321_628));
        assert!(!text.contains(FLEET) && text.contains("metrics_adapter_pods_blind 3"), "{text}");
        assert!(text.contains("metrics_adapter_certificate_expiry_timestamp_seconds 1795321628"), "{text}");
        let text = metrics.encode(Some(&Fleet { total: Some(7), ..Fleet::default() }), None);
        assert!(text.contains("metrics_adapter_fleet_connections 7"), "{text}");
    }

    #[test]
    fn answers_are_counted_by_what_was_asked_for() {
        let metrics = Metrics::new(&ControlMetrics::new()).expect("no name twice");
        metrics.answered(Resource::Pods, StatusCode::OK);
        metrics.answered(Resource::Deployments, StatusCode::SERVICE_UNAVAILABLE);
        metrics.refused(Distrust::NoCertificate);
        let text = metrics.encode(None, None);
        for series in [
            "metrics_adapter_requests_total{code=\"200\",resource=\"pods\"} 1",
            "metrics_adapter_requests_total{code=\"503\",resource=\"deployments\"} 1",
            "metrics_adapter_requests_total{code=\"200\",resource=\"other\"} 0",
            "metrics_adapter_refused_total{reason=\"no_certificate\"} 1",
        ] {
            assert!(text.contains(series), "{series} in\n{text}");
        }
    }
}
