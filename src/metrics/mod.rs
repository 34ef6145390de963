//! The declared metrics: one struct a program, a registry of its own, help texts that are the documentation.

mod allocator;
mod declare;
#[cfg(test)]
mod doc;
mod gauge;
mod labels;
mod process;

use std::fmt;

use prometheus::{Histogram, IntCounter, IntGauge};

use declare::Declare;
pub use declare::{Description, Family, Known, Label};
pub use gauge::{GaugeMetrics, GaugeOwner};
pub use labels::{
    ClosedWith, ConnectionStatus, FailedMessage, KeyFetch, Publishing, Report, Resume, TokenResult,
};

/// Content type of what `encode` gives.
pub const CONTENT_TYPE: &str = prometheus::TEXT_FORMAT;

/// Seconds from half a millisecond (a delivery on an idle pod) to 10 s (a backplane that hardly answers).
const LATENCY: &[f64] =
    &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// Seconds from one (a page that was left at once) to a week.
const LIFETIME: &[f64] = &[1.0, 10.0, 60.0, 300.0, 1_800.0, 3_600.0, 21_600.0, 86_400.0, 604_800.0];
/// Messages: from one, on an idle pod, to what `BATCH_MAX_MESSAGES` lets a flush hold.
const FLUSH: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0];
/// Bytes from a bare event to the default `MAX_MESSAGE_BYTES`.
const SIZE: &[f64] = &[64.0, 256.0, 1_024.0, 4_096.0, 16_384.0, 65_536.0];

/// Every metric of the server. Handles are held, so that counting needs no lookup.
#[expect(missing_docs, reason = "each is described where it is declared, in `Metrics::new`")]
pub struct Metrics {
    pub active_connections: IntGauge,
    pub connections_limit: IntGauge,
    pub users: IntGauge,
    pub connections: Family<ConnectionStatus>,
    pub closes: Family<ClosedWith>,
    pub connection_duration: Histogram,
    pub handshake_duration: Histogram,
    pub messages_sent: IntCounter,
    pub messages_failed: Family<FailedMessage>,
    pub gaps: IntCounter,
    pub resumes: Family<Resume>,
    pub message_size: Histogram,
    pub delivery_latency: Histogram,
    pub publish_latency: Histogram,
    pub backplane_lag: Histogram,
    pub flush_messages: Histogram,
    pub outbox_bytes: IntGauge,
    pub publications: Family<Publishing>,
    pub jwt_validation: Family<TokenResult>,
    pub jwks_fetches: Family<KeyFetch>,
    pub jwks_age: Known,
    pub subscription_duration: Histogram,
    pub subscriptions: IntGauge,
    pub subscriptions_pending: IntGauge,
    pub backplane_up: IntGauge,
    pub backplane_reconnects: IntCounter,
    pub canary_round_trip: Histogram,
    pub canary_age: Known,
    pub canary_lost: IntCounter,
    pub deaf: IntGauge,
    pub memory_percent: Known,
    pub revocations: IntGauge,
    pub draining: IntGauge,
    pub drain_remaining: IntGauge,
    pub drain_closed: IntCounter,
    pub drain_forced: IntCounter,
    pub log_lines_suppressed: IntCounter,
    declared: Declare,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Declares and registers all of them.
    #[must_use]
    #[rustfmt::skip]
    pub fn new() -> Self {
        let mut d = Declare::default();
        let version = [("version", env!("CARGO_PKG_VERSION"))];
        d.known("websocket_build_info", &version, "1; the label says which version runs.").set(Some(1));
        Self {
            active_connections: d.gauge("websocket_active_connections", "Open connections of this pod."),
            connections_limit: d.gauge("websocket_connections_limit", "Most connections that this pod takes: `MAX_CONNECTIONS`."),
            users: d.gauge("websocket_users", "Users with an open connection to this pod."),
            connections: d.family("websocket_connections_total", "Upgrades accepted and rejected, and accepted connections closed."),
            closes: d.family("websocket_closes_total", "Accepted connections closed, by close code; 1000 is any close the client began, 1006 one lost without a close frame."),
            connection_duration: d.histogram("websocket_connection_duration_seconds", LIFETIME, "How long accepted connections lasted."),
            handshake_duration: d.histogram("websocket_handshake_duration_seconds", LATENCY, "From an upgrade request to its 101, for those that were accepted: token, subscription and, in v1 mode, history."),
            messages_sent: d.counter("websocket_messages_sent_total", "Published messages written to a connection, once for each connection; frames of the service's own are not counted."),
            messages_failed: d.family("websocket_messages_failed_total", "Published messages that did not reach a connection, or were not accepted from a publisher."),
            gaps: d.counter("websocket_gaps_total", "Gap frames: a client was told that it misses messages that history does not hold any more."),
            resumes: d.family("websocket_resumes_total", "Connections in v1 mode, by how they began."),
            message_size: d.histogram("websocket_message_size_bytes", SIZE, "Payload of published messages that arrived at this pod, once a message."),
            delivery_latency: d.histogram("websocket_delivery_latency_seconds", LATENCY, "From a message's arrival at this pod to its write to a connection's socket."),
            publish_latency: d.histogram("websocket_publish_latency_seconds", LATENCY, "From the time in a message's id (Redis's clock) to its write to a connection's socket, by this pod's clock; live messages with history only."),
            backplane_lag: d.histogram("websocket_backplane_lag_seconds", LATENCY, "From the time in a message's id (Redis's clock) to its arrival at this pod, by this pod's clock; messages with history only, once a message."),
            flush_messages: d.histogram("websocket_flush_messages", FLUSH, "Published messages written to a connection in one flush."),
            outbox_bytes: d.gauge("websocket_outbox_bytes", "Payload bytes that wait in the outboxes of this pod's connections."),
            publications: d.family("websocket_publications_total", "Messages given to this pod's publish API; a call that is refused as a whole counts as one."),
            jwt_validation: d.family("jwt_validation_total", "Tokens looked at."),
            jwks_fetches: d.family("jwks_fetches_total", "Fetches of key sets that issuers publish (`JWT_JWKS_URL`), of all issuers."),
            jwks_age: d.known("jwks_age_seconds", &[], "Seconds since a key set was last fetched, or since the start where it never was; of several, the oldest one's. No series without `JWT_JWKS_URL`."),
            subscription_duration: d.histogram("redis_subscription_duration_seconds", LATENCY, "From SUBSCRIBE to its confirmation."),
            subscriptions: d.gauge("redis_subscriptions", "Users whose channels are subscribed and confirmed, the pod's canary included."),
            subscriptions_pending: d.gauge("redis_subscriptions_pending", "Users who wait for the confirmation of their channels' SUBSCRIBE."),
            backplane_up: d.gauge("websocket_backplane_up", "1 while the backplane is connected and everything wanted is subscribed, else 0."),
            backplane_reconnects: d.counter("websocket_backplane_reconnects_total", "Times that the subscriber link was made anew after it had been up."),
            canary_round_trip: d.histogram("websocket_canary_round_trip_seconds", LATENCY, "From the PUBLISH of the pod's own canary to its arrival on the subscriber link."),
            canary_age: d.known("websocket_canary_age_seconds", &[], "Seconds since the pod's canary last came back; no series before the first one, and none without Redis."),
            canary_lost: d.counter("websocket_canary_lost_total", "Canaries that Redis took and that did not come back in time."),
            deaf: d.gauge("websocket_deaf", "1 while the pod's canary does not come back although Redis takes it, else 0."),
            revocations: d.gauge("websocket_revocations", "Revocations in force that this pod knows."),
            memory_percent: d.known("websocket_memory_percent", &[], "Share of the container's memory limit that is taken, pages of files left out; no series without a limit."),
            draining: d.gauge("websocket_draining", "1 once the pod drains, else 0."),
            drain_remaining: d.gauge("websocket_drain_remaining", "Connections still to be closed by a drain; 0 when none is under way."),
            drain_closed: d.counter("websocket_drain_closed_total", "Connections that a drain has asked to close."),
            drain_forced: d.counter("websocket_drain_forced_total", "Connections cut at the drain's deadline or by its fast path."),
            log_lines_suppressed: d.counter("websocket_log_lines_suppressed_total", "Log lines left out because strangers caused too many of their kind."),
            declared: d.with_allocator().with_process(),
        }
    }

    /// What is declared, for the documentation.
    #[must_use]
    pub fn descriptions(&self) -> &[Description] {
        &self.declared.descriptions
    }

    /// The text exposition of all metrics.
    #[must_use]
    pub fn encode(&self) -> String {
        self.declared.encode()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::CloseCode;

    /// The names and labels that the platform's dashboards use.
    const CONTRACT: &[&str] = &[
        "websocket_active_connections 0",
        "websocket_connections_total{status=\"accepted\"} 0",
        "websocket_connections_total{status=\"rejected\"} 0",
        "websocket_connections_total{status=\"closed\"} 0",
        "websocket_messages_sent_total 0",
        "websocket_messages_failed_total{error_type=\"outbox_full\"} 0",
        "websocket_connection_duration_seconds_count 0",
        "websocket_message_size_bytes_count 0",
        "jwt_validation_total{result=\"success\"} 0",
        "jwt_validation_total{result=\"expired\"} 0",
        "jwt_validation_total{result=\"invalid\"} 0",
        "redis_subscription_duration_seconds_count 0",
        "websocket_draining 0",
        "websocket_delivery_latency_seconds_count 0",
        "websocket_outbox_bytes 0",
        "websocket_closes_total{code=\"1006\"} 0",
        "websocket_drain_remaining 0",
        "websocket_drain_forced_total 0",
        "websocket_backplane_up 0",
    ];

    #[test]
    fn the_contract_s_series_are_there_from_the_start() {
        let text = Metrics::new().encode();
        for line in CONTRACT {
            assert!(text.lines().any(|l| l == *line), "no line {line:?}");
        }
    }

    #[test]
    fn a_close_code_has_its_own_series() {
        let metrics = Metrics::new();
        for &code in ClosedWith::ALL {
            metrics.closes.of(code).inc();
        }
        metrics.closes.of(ClosedWith::Code(CloseCode::SlowConsumer)).inc();
        let text = metrics.encode();
        assert!(text.contains("websocket_closes_total{code=\"4002\"} 2"));
        assert!(text.contains("websocket_closes_total{code=\"4004\"} 1"));
        assert!(text.contains("websocket_closes_total{code=\"1006\"} 1"));
    }
}
