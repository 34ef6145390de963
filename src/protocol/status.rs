//! What a pod says of itself on its admin port: `/status`, and a user's connections.
//!
//! Read by programs of another version too, while pods are replaced: what an older pod does not tell is unknown, and no
//! error.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// The answer of `/status`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PodStatus {
    /// The pod's name, or that of the machine.
    #[serde(default)]
    pub pod: String,
    /// Open WebSocket connections.
    pub connections: u64,
    /// `MAX_CONNECTIONS`.
    pub limit: u64,
    /// Whether the pod is on its way out.
    pub draining: bool,
    /// Users with a connection here.
    pub users: Option<u64>,
    /// Published messages written to connections since the start, once for each connection.
    pub messages_sent: Option<u64>,
    /// Payload bytes that wait in the outboxes.
    pub outbox_bytes: Option<u64>,
    /// How the link to the backplane stands: `up`, `connecting` or `degraded`.
    pub backplane: Option<String>,
    /// The service's version.
    pub version: Option<String>,
}

/// The answer of `GET /v1/users/{id}/connections`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct UserConnections {
    /// The user's open connections, oldest first.
    pub connections: Vec<OpenConnection>,
    /// How the user's last connection on this pod ended, as far as that is remembered.
    pub last_close: Option<LastClose>,
    /// Whether the list is of all pods; `pod` also where the fleet could not be asked.
    #[serde(default)]
    pub scope: Option<Scope>,
}

/// Whose connections are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// All pods'.
    #[default]
    Fleet,
    /// Those of the pod that answers.
    Pod,
}

/// One open connection.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OpenConnection {
    /// Its id.
    pub connection_id: String,
    /// The pod that holds it.
    pub pod: String,
    /// When its upgrade was accepted, in RFC 3339.
    pub since: String,
    /// The peer's address.
    pub address: IpAddr,
    /// Which way of talking the client chose.
    pub mode: Option<Mode>,
    /// What the client calls itself (`User-Agent`), shortened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
    /// Messages that wait in its outbox; only of the pod that answers, as the rest below.
    pub queued_messages: Option<u64>,
    /// Their payload, in bytes.
    pub queued_bytes: Option<u64>,
    /// Id of the last message with history that was given to its socket.
    pub last_id: Option<String>,
}

/// How a connection ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LastClose {
    /// The connection's id.
    pub connection_id: String,
    /// The pod that held it.
    pub pod: String,
    /// The close code, as in metrics: 1000 is any close that the client began, 1006 a connection lost without a close frame.
    pub code: u16,
    /// Why, for a person.
    pub reason: String,
    /// When, in RFC 3339.
    pub at: String,
    /// How long it was open, in seconds.
    pub lasted_seconds: f64,
}

/// Which way of talking a client chose with its subprotocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// None: bare payloads.
    Plain,
    /// `websocket-service.v1`: frames with ids.
    V1,
}

impl Mode {
    /// Its name, as answers show it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::V1 => "v1",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answers_of_an_older_pod_are_read() {
        let status =
            r#"{"connections":3,"limit":10,"draining":false,"users":2,"backplane":"up","version":"0.0.9"}"#;
        let status: PodStatus = serde_json::from_str(status).expect("a status");
        assert_eq!((status.connections, status.users, status.messages_sent), (3, Some(2), None));
        let listed = r#"{"connections":[{"connection_id":"c","pod":"ws-1","since":"2026-11-23T05:00:00Z","address":"::1"}]}"#;
        let listed: UserConnections = serde_json::from_str(listed).expect("a list");
        assert_eq!((listed.connections[0].mode, listed.last_close), (None, None));
    }

    #[test]
    fn a_mode_is_called_the_same_everywhere() {
        for mode in [Mode::Plain, Mode::V1] {
            assert_eq!(serde_json::to_value(mode).expect("JSON"), mode.as_str());
        }
    }
}
