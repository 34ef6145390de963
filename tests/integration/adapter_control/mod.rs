//! What the metrics-adapter knows and does: against an API server in memory, most of it on paused time, and a real
//! Redis.

mod certificate;
mod cost;
mod gauges;
mod leader;
mod whole;

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::timeout;

/// Of the namespace that the tests' objects are in.
const NAMESPACE: &str = "/api/v1/namespaces/ns";
/// The two that lead to the adapter.
const API_SERVICES: [&str; 2] = [
    "/apis/apiregistration.k8s.io/v1/apiservices/v1beta1.custom.metrics.k8s.io",
    "/apis/apiregistration.k8s.io/v1/apiservices/v1beta2.custom.metrics.k8s.io",
];

/// Waits on paused time, where a bound costs nothing.
async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(3_600), future).await.unwrap_or_else(|_| panic!("not within an hour: {what}"))
}

fn pod(name: &str, ip: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": "ns", "uid": format!("uid-{name}"), "labels": {"app": "ws"},
            "annotations": {}},
        "status": {"phase": "Running", "podIP": ip, "conditions": [{"type": "Ready", "status": "True"}]},
    })
}

fn pod_path(name: &str) -> String {
    format!("{NAMESPACE}/pods/{name}")
}
