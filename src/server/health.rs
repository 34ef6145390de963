//! What probes, scrapers and the sidecar ask.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::Service;
use crate::backplane::{Status, Subscriptions};
use crate::drain::Phase;
use crate::metrics::CONTENT_TYPE;
use crate::protocol::PodStatus;

/// The process lives. Depends on nothing, so that no outage elsewhere restarts pods.
pub(super) async fn alive() -> Json<serde_json::Value> {
    Json(json!({ "status": "ok" }))
}

/// Whether new connections should come here, and by name why not.
pub(super) async fn ready(State(service): State<Arc<Service>>) -> Response {
    let reasons = service.readiness.reasons();
    let status = if reasons.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(json!({ "ready": reasons.is_empty(), "reasons": reasons }))).into_response()
}

/// The metrics' text exposition.
pub(super) async fn metrics(State(service): State<Arc<Service>>) -> impl IntoResponse {
    let metrics = &service.metrics;
    // What is known elsewhere is looked up when it is asked for.
    metrics.users.set(gauge(service.hub.users()));
    let Subscriptions { confirmed, pending } = service.backplane.subscriptions();
    metrics.subscriptions.set(gauge(confirmed));
    metrics.subscriptions_pending.set(gauge(pending));
    metrics.jwks_age.set(service.verifier.keys_age().map(|age| age.as_secs()));
    metrics.canary_age.set(service.backplane.canary_age().map(|age| age.as_secs()));
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], metrics.encode())
}

fn gauge(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// What the sidecar and an operator read.
pub(super) async fn status(State(service): State<Arc<Service>>) -> Json<PodStatus> {
    let backplane = match service.backplane.status() {
        Status::Up => "up",
        Status::Connecting => "connecting",
        Status::Down => "degraded",
    };
    let metrics = &service.metrics;
    Json(PodStatus {
        pod: service.pod.clone(),
        connections: count(metrics.active_connections.get()),
        limit: service.config.limits.connections as u64,
        draining: service.drain.phase() >= Phase::LameDuck,
        users: Some(service.hub.users() as u64),
        messages_sent: Some(metrics.messages_sent.get()),
        outbox_bytes: Some(count(metrics.outbox_bytes.get())),
        backplane: Some(backplane.to_owned()),
        version: Some(env!("CARGO_PKG_VERSION").to_owned()),
    })
}

/// A gauge's value: it is read while others add and take away, and may be below zero for a moment.
fn count(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}
