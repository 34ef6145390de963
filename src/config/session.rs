use std::time::Duration;

use super::table;
use super::values::Values;

/// What happens to a message for which the outbox has no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OverflowPolicy {
    /// The connection is closed with 4002.
    #[default]
    Close,
    /// The oldest queued messages make room.
    DropOldest,
}

/// Bounds of one connection's outgoing queue.
#[derive(Debug, Clone, Copy)]
pub struct OutboxConfig {
    /// Payload bytes (`OUTBOX_BYTES`).
    pub bytes: usize,
    /// Messages (`OUTBOX_MESSAGES`).
    pub messages: usize,
    /// `OUTBOX_POLICY`.
    pub policy: OverflowPolicy,
}

impl Default for OutboxConfig {
    fn default() -> Self {
        Self { bytes: 1024 * 1024, messages: 1024, policy: OverflowPolicy::Close }
    }
}

/// One connection's life.
#[derive(Debug, Clone)]
pub struct SessionConfig {
    /// Time between pings, before jitter (`WEBSOCKET_HEARTBEAT_INTERVAL`, seconds).
    pub heartbeat: Duration,
    /// Silence after which a connection counts as dead (`WEBSOCKET_CONNECTION_TIMEOUT`, seconds).
    pub timeout: Duration,
    /// Whether a text is answered `Echo: <text>` (`ECHO`).
    pub echo: bool,
    /// Largest message in either direction (`MAX_MESSAGE_BYTES`).
    pub max_message_bytes: usize,
    /// Messages and control frames a client may send a second, with bursts of twice as many
    /// (`CLIENT_MESSAGES_PER_SECOND`); 0 is no limit.
    pub client_messages_per_second: u32,
    /// Bounds of the outgoing queue.
    pub outbox: OutboxConfig,
    /// Most messages in one flush (`BATCH_MAX_MESSAGES`).
    pub batch_max_messages: usize,
    /// How long the first message of a batch may wait for others (`BATCH_LINGER_MS`); zero sends at once.
    pub batch_linger: Duration,
}

impl Default for SessionConfig {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_secs(30),
            timeout: Duration::from_secs(60),
            echo: true,
            max_message_bytes: 64 * 1024,
            client_messages_per_second: 100,
            outbox: OutboxConfig::default(),
            batch_max_messages: 64,
            batch_linger: Duration::ZERO,
        }
    }
}

impl SessionConfig {
    pub(super) fn read(values: &mut Values) -> Self {
        let default = Self::default();
        Self {
            heartbeat: values.seconds(&table::WEBSOCKET_HEARTBEAT_INTERVAL).unwrap_or(default.heartbeat),
            timeout: values.seconds(&table::WEBSOCKET_CONNECTION_TIMEOUT).unwrap_or(default.timeout),
            echo: values.switch(&table::ECHO).unwrap_or(default.echo),
            max_message_bytes: values.bytes(&table::MAX_MESSAGE_BYTES).unwrap_or(default.max_message_bytes),
            client_messages_per_second: values.limit(&table::CLIENT_MESSAGES_PER_SECOND).unwrap_or(0),
            outbox: OutboxConfig {
                bytes: values.bytes(&table::OUTBOX_BYTES).unwrap_or(default.outbox.bytes),
                messages: values.number(&table::OUTBOX_MESSAGES).unwrap_or(default.outbox.messages),
                policy: values.choice(&table::OUTBOX_POLICY).unwrap_or(default.outbox.policy),
            },
            batch_max_messages: values
                .number(&table::BATCH_MAX_MESSAGES)
                .unwrap_or(default.batch_max_messages),
            batch_linger: values.milliseconds(&table::BATCH_LINGER_MS).unwrap_or(default.batch_linger),
        }
    }
}
