//! What a pod's sidecar tells the fleet: how many connections the pod holds, and what else `top` shows.

use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Between two reports of a pod (kubernetes.md §2).
pub const GAUGE_INTERVAL: Duration = Duration::from_secs(2);

/// Age beyond which a report says nothing any more; also its expiry in Redis. Seven reports may be lost before.
pub const GAUGE_EXPIRY: Duration = Duration::from_secs(15);

/// One report, as JSON in Redis and on the sidecar's `/gauge`.
///
/// While pods are replaced, those of two versions read each other's: what only one of them knows may be missing.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PodGauge {
    /// The pod's name.
    pub pod: String,
    /// The pod's namespace.
    pub namespace: String,
    /// The node that it runs on; empty when unknown.
    pub node: String,
    /// Open WebSocket connections.
    pub connections: u64,
    /// `MAX_CONNECTIONS` of the pod.
    pub limit: u64,
    /// Whether the pod is on its way out: its connections are about to reconnect elsewhere.
    pub draining: bool,
    /// The pod template's hash, which tells one rollout from the next; empty when unknown.
    pub revision: String,
    /// When the service was asked, in milliseconds since 1970, by the pod's clock.
    pub at: u64,
    /// Users with a connection here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub users: Option<u64>,
    /// Published messages written to connections since the service's start, once for each connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub messages_sent: Option<u64>,
    /// Payload bytes that wait in the outboxes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outbox_bytes: Option<u64>,
    /// How the link to the backplane stands: `up`, `connecting` or `degraded`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backplane: Option<String>,
    /// The service's version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Where other pods reach this one's admin port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub admin: Option<SocketAddr>,
}

/// The Redis key of a pod's report. A UID is never used twice, so a restarted `StatefulSet`'s pod cannot be mistaken.
#[must_use]
pub fn gauge_key(pod_uid: &str) -> String {
    format!("websocket-service:gauge:{pod_uid}")
}

/// The Redis key of a fleet's index: a sorted set of pod UIDs by the time of their last report, in milliseconds since
/// 1970. Spares readers without Kubernetes rights a SCAN over a Redis that others use too.
#[must_use]
pub fn fleet_key(namespace: &str, fleet: &str) -> String {
    format!("websocket-service:fleet:{namespace}/{fleet}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As pods before `top` report.
    const BEFORE: &str = r#"{"pod":"ws-1","namespace":"chat","node":"a","connections":3,"limit":10,"draining":false,"revision":"7d4","at":5}"#;

    #[test]
    fn pods_of_two_versions_read_each_other() {
        let gauge: PodGauge = serde_json::from_str(BEFORE).expect("a report");
        assert_eq!((gauge.connections, gauge.messages_sent, gauge.admin), (3, None, None));
        assert_eq!(serde_json::to_string(&gauge).expect("JSON"), BEFORE, "what is unknown is not told");
        let later = BEFORE.replace("\"at\":5", "\"at\":5,\"admin\":\"[::1]:9004\",\"yet_to_come\":[1]");
        let gauge: PodGauge = serde_json::from_str(&later).expect("a report");
        assert_eq!(gauge.admin, Some(SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], 9004))));
    }
}
