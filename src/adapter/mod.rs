//! `metrics-adapter`: serves `custom.metrics.k8s.io` from the gauges of the fleet's pods.

pub mod fleet;
pub mod tls;
