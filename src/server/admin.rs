//! What an operator does to the pod.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::StatusCode;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Service;
use super::publish::whole;
use crate::protocol::{ErrorCode, ServiceError};

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
