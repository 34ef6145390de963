//! What a pod's sidecar tells the fleet: how many connections the pod holds.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Between two reports of a pod (kubernetes.md §2).
pub const GAUGE_INTERVAL: Duration = Duration::from_secs(2);

/// Age beyond which a report says nothing any more; also its expiry in Redis. Seven reports may be lost before.
pub const GAUGE_EXPIRY: Duration = Duration::from_secs(15);

/// One report, as JSON in Redis and on the sidecar's `/gauge`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
