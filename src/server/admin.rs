//! What an operator does to the pod and to its users' connections.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::extract::{Path, State};
use axum::http::StatusCode;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::Service;
use super::publish::{user, whole};
use crate::protocol::{Close, ErrorCode, ServiceError};

/// Starts the drain; the same steps as SIGTERM, but the process stays.
pub(super) async fn drain(State(service): State<Arc<Service>>) -> (StatusCode, Json<Value>) {
    service.drain.start();
    (StatusCode::ACCEPTED, Json(json!({ "draining": true })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LogLevel {
    level: String,
    module: Option<String>,
}

/// Changes what is logged, until the next start.
pub(super) async fn log_level(
    State(service): State<Arc<Service>>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Value>, ServiceError> {
    let wanted: LogLevel = serde_json::from_slice(&whole(body, "log_level")?).map_err(|error| {
        ServiceError::new(ErrorCode::Validation, "log_level", r#"The body must be like {"level":"debug"}"#)
            .with_detail("reason", error.to_string())
    })?;
    let directives = service
        .levels
        .set(&wanted.level, wanted.module.as_deref())
        .map_err(|error| ServiceError::new(ErrorCode::Validation, "log_level", error.to_string()))?;
    tracing::info!(directives, "log level changed");
    Ok(Json(json!({ "level": wanted.level, "module": wanted.module })))
}

/// The user's connections on this pod.
pub(super) async fn connections(
    State(service): State<Arc<Service>>,
    path: Result<Path<String>, PathRejection>,
) -> Result<Json<Value>, ServiceError> {
    let user = user(path, "connections")?;
    let open: Vec<Value> = service
        .hub
        .connections_of(user.as_str())
        .iter()
        .map(|connection| {
            let since = OffsetDateTime::from(connection.since).format(&Rfc3339).unwrap_or_default();
            json!({
                "connection_id": connection.id,
                "pod": service.pod,
                "since": since,
                "address": connection.address,
            })
        })
        .collect();
    Ok(Json(json!({ "connections": open })))
}

/// Closes the user's connections on this pod with 4004.
pub(super) async fn disconnect(
    State(service): State<Arc<Service>>,
    path: Result<Path<String>, PathRejection>,
) -> Result<Json<Value>, ServiceError> {
    let user = user(path, "disconnect")?;
    let open = service.hub.connections_of(user.as_str());
    for connection in &open {
        connection.outbox.close(Close::of(ErrorCode::Authorization, "Disconnected"));
    }
    tracing::info!(?user, connections = open.len(), "user disconnected by an operator");
    Ok(Json(json!({ "closed": open.len() })))
}
