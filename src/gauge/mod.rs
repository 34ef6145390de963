//! The sidecar `connection-gauge`: reads its pod's connection count and tells it to the fleet.
