//! What probes, scrapers and the sidecar ask.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::Service;
use crate::backplane::Status;
use crate::drain::Phase;
use crate::metrics::CONTENT_TYPE;

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
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], service.metrics.encode())
}

/// What the sidecar and an operator read.
pub(super) async fn status(State(service): State<Arc<Service>>) -> Json<serde_json::Value> {
    let backplane = match service.backplane.status() {
        Status::Up => "up",
        Status::Connecting => "connecting",
        Status::Down => "degraded",
    };
    Json(json!({
        "connections": service.metrics.active_connections.get(),
        "limit": service.config.limits.connections,
        "users": service.hub.users(),
        "draining": service.drain.phase() >= Phase::LameDuck,
        "backplane": backplane,
        "pod": service.pod,
        "version": env!("CARGO_PKG_VERSION"),
    }))
}
