//! How a client behaves.

use std::net::IpAddr;
use std::time::Duration;

use super::endpoint::Endpoint;

/// How a client connects, waits and comes back.
#[derive(Debug, Clone)]
pub struct ClientConfig {
    /// Where to connect.
    pub endpoint: Endpoint,
    /// The local address to connect from; none leaves it to the system.
    pub source: Option<IpAddr>,
    /// Whether to speak `websocket-service.v1`, with ids and resumption. Without it each text is a message.
    pub v1: bool,
    /// The cursor of an earlier client ([`Client::cursor`](super::Client::cursor)), to go on where it stopped.
    pub last_event_id: Option<String>,
    /// Bound of the first random wait after a failure; it doubles with each.
    pub backoff_base: Duration,
    /// Bound of all random waits.
    pub backoff_cap: Duration,
    /// A connection that was open for so long has worked: the next wait is short again. Opening alone proves nothing.
    pub steady: Duration,
    /// A connection without any frame for so long, pings included, is lost. The server pings every 30 s.
    pub silence: Duration,
    /// For one attempt, from the look-up of the name to the 101.
    pub connect_bound: Duration,
    /// How long before its expiry a token is replaced on the open connection.
    pub refresh_before: Duration,
}

impl ClientConfig {
    /// The usual behaviour, with `websocket-service.v1`.
    #[must_use]
    pub fn new(endpoint: Endpoint) -> Self {
        Self {
            endpoint,
            source: None,
            v1: true,
            last_event_id: None,
            backoff_base: Duration::from_millis(100),
            backoff_cap: Duration::from_secs(10),
            steady: Duration::from_secs(10),
            silence: Duration::from_secs(75),
            connect_bound: Duration::from_secs(10),
            refresh_before: Duration::from_secs(30),
        }
    }
}
