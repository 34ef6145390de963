//! The Lua that publishes: one text for the service itself and for back ends that call it.

use std::time::Duration;

use crate::config::HistoryConfig;

/// How long an idempotency key is remembered. From the contract.
pub const REMEMBERED: Duration = Duration::from_secs(300);

const SHARED: &str = include_str!("publish.lua");
const ONE: &str = include_str!("publish_one.lua");
const ALL: &str = include_str!("publish_all.lua");

/// The script that publishes one message with history, as it is shown to back ends. It refuses a payload that is empty or
/// larger than `max_message_bytes`. Without history it publishes on the plain channel and returns no id.
#[must_use]
pub fn publish_script(history: &HistoryConfig, max_message_bytes: usize) -> String {
    written(history, &max_message_bytes.to_string(), ONE)
}

/// The same for the service itself, which has looked at the payload's size already.
#[must_use]
pub(crate) fn unlimited_script(history: &HistoryConfig) -> String {
    written(history, "math.huge", ONE)
}

/// Publishes many, all or nothing.
#[must_use]
pub(crate) fn batch_script(history: &HistoryConfig) -> String {
    written(history, "math.huge", ALL)
}

/// Reads a history and makes a mark where there is none; its head says how it is called.
pub(crate) const READ_SCRIPT: &str = include_str!("read.lua");

fn written(history: &HistoryConfig, limit: &str, call: &str) -> String {
    let shared = SHARED
        .replace("${SIZE}", &history.size.to_string())
        .replace("${AGE_MS}", &history.ttl.as_millis().to_string())
        .replace("${LIMIT}", limit)
        .replace("${REMEMBERED_S}", &REMEMBERED.as_secs().to_string());
    shared + call
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_settings_are_written_in() {
        let history = HistoryConfig { size: 7, ttl: Duration::from_millis(1_500) };
        let script = publish_script(&history, 64);
        for line in ["local SIZE = 7", "local AGE_MS = 1500", "local LIMIT = 64", "local REMEMBERED_S = 300"]
        {
            assert!(script.lines().any(|found| found == line), "{line}");
        }
        for script in [script, unlimited_script(&history), batch_script(&history)] {
            assert!(!script.contains("${"), "{script}");
        }
    }
}
