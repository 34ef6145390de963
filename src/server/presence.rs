//! Who is connected, on this pod and on the others, and closing connections by an operator's word.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, header};
use serde::Deserialize;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::Service;
use super::publish::user;
use crate::backplane::{Disconnect, Entry, Why};
use crate::hub::{Closed, Connection};
use crate::protocol::{
    Close, ConnectionId, ErrorCode, LastClose, OpenConnection, Scope, ServiceError, UserConnections, UserId,
};

/// Most of what a client calls itself, in bytes.
const MAX_CLIENT_BYTES: usize = 128;

/// Of `GET …/connections`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    /// Whether only this pod's are wanted.
    #[serde(default)]
    scope: Scope,
}

/// The user's connections on all pods, or with `?scope=pod` on this one, and how the last one here ended.
pub(super) async fn list(
    State(service): State<Arc<Service>>,
    path: Result<Path<String>, PathRejection>,
    query: Result<Query<Asked>, QueryRejection>,
) -> Result<Json<UserConnections>, ServiceError> {
    let user = user(path, "connections")?;
    let Query(asked) = query.map_err(|_| {
        ServiceError::new(ErrorCode::Validation, "connections", "The query may be scope=fleet or scope=pod")
    })?;
    let closed = service.hub.last_close(user.as_str());
    let here: Vec<_> = service.hub.connections_of(user.as_str());
    let mut listed: HashMap<String, OpenConnection> = HashMap::new();
    let scope = match (asked.scope, &service.registry) {
        (Scope::Pod, _) => Scope::Pod,
        (Scope::Fleet, None) => Scope::Fleet,
        (Scope::Fleet, Some(registry)) => match registry.list(user.clone()).await {
            Ok(entries) => {
                listed.extend(entries.into_iter().map(|entry| (entry.id.to_string(), elsewhere(entry))));
                Scope::Fleet
            }
            Err(error) => {
                tracing::debug!(%error, "the fleet cannot be asked for a user's connections");
                Scope::Pod
            }
        },
    };
    for connection in &here {
        let client = listed.remove(&connection.id.to_string()).and_then(|known| known.client);
        listed.insert(connection.id.to_string(), shown(connection, &service.pod, client));
    }
    let mut connections: Vec<_> = listed.into_values().collect();
    connections.sort_by(|a, b| (&a.since, &a.connection_id).cmp(&(&b.since, &b.connection_id)));
    let last_close = closed.map(|closed| told(&closed, &service.pod));
    Ok(Json(UserConnections { connections, last_close, scope: Some(scope) }))
}

/// Closes the user's connections on all pods with 4004.
pub(super) async fn disconnect(
    State(service): State<Arc<Service>>,
    path: Result<Path<String>, PathRejection>,
) -> Result<Json<Value>, ServiceError> {
    let user = user(path, "disconnect")?;
    let closed = close(&service, &user, None).await?;
    tracing::info!(?user, connections = closed, "user disconnected by an operator");
    Ok(Json(json!({ "closed": closed })))
}

/// Closes one of them.
pub(super) async fn disconnect_one(
    State(service): State<Arc<Service>>,
    path: Result<Path<(String, String)>, PathRejection>,
) -> Result<Json<Value>, ServiceError> {
    let invalid = |message| ServiceError::new(ErrorCode::Validation, "disconnect", message);
    let Path((user, connection)) =
        path.map_err(|_| invalid("The ids in the path are not UTF-8".to_owned()))?;
    let user = UserId::new(&user).map_err(|error| invalid(error.to_string()))?;
    let connection = ConnectionId::parse(&connection)
        .ok_or_else(|| invalid("The connection's id is a UUID, as in the list of connections".to_owned()))?;
    let closed = close(&service, &user, Some(connection)).await?;
    if closed == 0 {
        let message = "The user has no such connection";
        return Err(ServiceError::new(ErrorCode::ResourceNotFound, "disconnect", message));
    }
    tracing::info!(?user, %connection, "connection closed by an operator");
    Ok(Json(json!({ "closed": closed })))
}

/// Closes here what is here, and has the other pods close theirs. Returns how many that are.
async fn close(service: &Service, user: &UserId, one: Option<ConnectionId>) -> Result<usize, ServiceError> {
    let asked = SystemTime::now();
    let mut ids: Vec<ConnectionId> = service
        .hub
        .connections_of(user.as_str())
        .iter()
        .filter(|connection| one.is_none_or(|one| one == connection.id))
        .map(|connection| {
            connection.outbox.close(disconnected());
            connection.id
        })
        .collect();
    let Some(registry) = &service.registry else { return Ok(ids.len()) };
    let elsewhere = async {
        let entries = registry.list(user.clone()).await?;
        let known = entries.iter().map(|entry| entry.id).filter(|id| one.is_none_or(|one| one == *id));
        let others: Vec<_> = known.filter(|id| !ids.contains(id)).collect();
        // Also where none is known: one that came in while Redis was away is not listed.
        let opened_before = one.is_none().then_some(asked);
        if opened_before.is_some() || !others.is_empty() {
            let (user, connections, why) = (user.clone(), others.clone(), Why::Disconnected);
            registry.disconnect(Disconnect { user, connections, opened_before, why }).await?;
        }
        Ok::<_, crate::backplane::BackplaneError>(others)
    };
    match elsewhere.await {
        Ok(others) => ids.extend(others),
        Err(error) => {
            tracing::debug!(%error, "other pods cannot be told to close connections");
            let message = "Closed on this pod only: the backplane does not answer";
            return Err(ServiceError::new(ErrorCode::ServiceUnavailable, "disconnect", message)
                .with_detail("closed", ids.len()));
        }
    }
    Ok(ids.len())
}

/// How an operator's word ends a connection.
#[must_use]
pub fn disconnected() -> Close {
    Close::of(ErrorCode::Authorization, "Disconnected")
}

/// What a client calls itself, as much of it as an operator can read.
pub(super) fn client(headers: &HeaderMap) -> Option<String> {
    let text = headers.get(header::USER_AGENT)?.to_str().ok()?;
    let end = text.floor_char_boundary(MAX_CLIENT_BYTES);
    Some(text[..end].to_owned()).filter(|text| !text.is_empty())
}

/// What the fleet is told of a connection of this pod.
#[must_use]
pub fn entry(connection: &Connection, pod: &str, client: Option<String>) -> Entry {
    let since = connection.since.duration_since(UNIX_EPOCH).unwrap_or_default();
    Entry {
        id: connection.id,
        since: u64::try_from(since.as_millis()).unwrap_or(u64::MAX),
        pod: pod.to_owned(),
        address: connection.address,
        mode: connection.mode,
        client,
    }
}

fn elsewhere(entry: Entry) -> OpenConnection {
    let since = UNIX_EPOCH.checked_add(Duration::from_millis(entry.since)).unwrap_or(UNIX_EPOCH);
    OpenConnection {
        connection_id: entry.id.to_string(),
        pod: entry.pod,
        since: rfc3339(since),
        address: entry.address,
        mode: Some(entry.mode),
        client: entry.client,
        queued_messages: None,
        queued_bytes: None,
        last_id: None,
    }
}

fn shown(connection: &Connection, pod: &str, client: Option<String>) -> OpenConnection {
    let standing = connection.outbox.standing();
    OpenConnection {
        queued_messages: Some(standing.messages as u64),
        queued_bytes: Some(standing.bytes as u64),
        last_id: standing.last_id.map(|id| id.to_string()),
        ..elsewhere(entry(connection, pod, client))
    }
}

fn told(closed: &Closed, pod: &str) -> LastClose {
    LastClose {
        connection_id: closed.id.to_string(),
        pod: pod.to_owned(),
        code: closed.with.number(),
        reason: closed.reason.clone().into_owned(),
        at: rfc3339(closed.at),
        lasted_seconds: closed.lasted.as_millis() as f64 / 1_000.0,
    }
}

fn rfc3339(time: SystemTime) -> String {
    OffsetDateTime::from(time).truncate_to_millisecond().format(&Rfc3339).unwrap_or_default()
}
