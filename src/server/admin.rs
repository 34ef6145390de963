//! What an operator does to the pod and to its users' connections.

use std::sync::Arc;
use std::time::SystemTime;

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
use crate::hub::{Closed, Connection};
use crate::protocol::{Close, ErrorCode, LastClose, OpenConnection, ServiceError, UserConnections};

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

/// The user's connections on this pod, and how the last one ended.
pub(super) async fn connections(
    State(service): State<Arc<Service>>,
    path: Result<Path<String>, PathRejection>,
) -> Result<Json<UserConnections>, ServiceError> {
    let user = user(path, "connections")?;
    let open = service.hub.connections_of(user.as_str());
    let closed = service.hub.last_close(user.as_str());
    Ok(Json(UserConnections {
        connections: open.iter().map(|connection| listed(connection, &service.pod)).collect(),
        last_close: closed.map(|closed| told(&closed, &service.pod)),
    }))
}

fn listed(connection: &Connection, pod: &str) -> OpenConnection {
    let standing = connection.outbox.standing();
    OpenConnection {
        connection_id: connection.id.to_string(),
        pod: pod.to_owned(),
        since: rfc3339(connection.since),
        address: connection.address,
        mode: Some(connection.mode),
        queued_messages: Some(standing.messages as u64),
        queued_bytes: Some(standing.bytes as u64),
        last_id: standing.last_id.map(|id| id.to_string()),
    }
}

fn told(closed: &Closed, pod: &str) -> LastClose {
    LastClose {
        connection_id: closed.id.to_string(),
        pod: pod.to_owned(),
        code: closed.with.number(),
        reason: closed.reason.clone().into_owned(),
        at: rfc3339(closed.at),
        // Milliseconds are enough for a person.
        lasted_seconds: closed.lasted.as_millis() as f64 / 1_000.0,
    }
}

fn rfc3339(time: SystemTime) -> String {
    OffsetDateTime::from(time).format(&Rfc3339).unwrap_or_default()
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
