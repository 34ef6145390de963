//! The Lua that publishes: one text for the service itself and for back ends that call it.

use std::time::Duration;

use crate::config::{ClusterPubSub, HistoryConfig, RedisReach};

/// How long an idempotency key is remembered. From the contract.
pub const REMEMBERED: Duration = Duration::from_secs(300);

const SHARED: &str = include_str!("publish.lua");
const ONE: &str = include_str!("publish_one.lua");
const CHECK: &str = include_str!("publish_check.lua");
const ALL: &str = include_str!("publish_all.lua");

/// How messages with history are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SendBy {
    /// To all nodes, if there are several.
    Publish,
    /// To the nodes of their slot.
    ShardedPublish,
}

impl SendBy {
    /// As it is for this Redis.
    #[must_use]
    pub fn for_redis(reach: &RedisReach) -> Self {
        match reach.cluster.as_ref().map(|cluster| cluster.pubsub) {
            Some(ClusterPubSub::Sharded) => Self::ShardedPublish,
            Some(ClusterPubSub::Classic) | None => Self::Publish,
        }
    }

    fn command(self) -> &'static str {
        match self {
            Self::Publish => "PUBLISH",
            Self::ShardedPublish => "SPUBLISH",
        }
    }
}

/// The script that publishes one message with history, as it is shown to back ends. It refuses a payload that is empty or
/// larger than `max_message_bytes`. Without history it publishes on the plain channel and returns no id.
#[must_use]
pub fn publish_script(history: &HistoryConfig, send: SendBy, max_message_bytes: usize) -> String {
    written(history, send, &max_message_bytes.to_string(), &[ONE])
}

/// The same for the service itself, which has looked at the payload's size already.
#[must_use]
pub(crate) fn unlimited_script(history: &HistoryConfig, send: SendBy) -> String {
    written(history, send, "math.huge", &[ONE])
}

/// Publishes many, all or nothing.
#[must_use]
pub(crate) fn batch_script(history: &HistoryConfig, send: SendBy) -> String {
    written(history, send, "math.huge", &[CHECK, ALL])
}

/// Refuses as the batch's script does, and does nothing else.
#[must_use]
pub(crate) fn check_script(history: &HistoryConfig, send: SendBy) -> String {
    written(history, send, "math.huge", &[CHECK])
}

/// Reads a history and makes a mark where there is none; its head says how it is called.
pub(crate) const READ_SCRIPT: &str = include_str!("read.lua");

fn written(history: &HistoryConfig, send: SendBy, limit: &str, calls: &[&str]) -> String {
    let shared = SHARED
        .replace("${SIZE}", &history.size.to_string())
        .replace("${AGE_MS}", &history.ttl.as_millis().to_string())
        .replace("${LIMIT}", limit)
        .replace("${SEND}", send.command())
        .replace("${REMEMBERED_S}", &REMEMBERED.as_secs().to_string());
    shared + &calls.concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_settings_are_written_in() {
        let history = HistoryConfig { size: 7, ttl: Duration::from_millis(1_500) };
        let script = publish_script(&history, SendBy::Publish, 64);
        for line in [
            "local SIZE = 7",
            "local AGE_MS = 1500",
            "local LIMIT = 64",
            "local REMEMBERED_S = 300",
            "local SEND = SIZE > 0 and 'PUBLISH' or 'PUBLISH'",
        ] {
            assert!(script.lines().any(|found| found == line), "{line}");
        }
        let send = SendBy::ShardedPublish;
        assert!(publish_script(&history, send, 64).contains("local SEND = SIZE > 0 and 'SPUBLISH'"));
        let others =
            [unlimited_script(&history, send), batch_script(&history, send), check_script(&history, send)];
        for script in std::iter::once(script).chain(others) {
            assert!(!script.contains("${"), "{script}");
        }
    }
}
