//! One function an event: its log line, and with it its counters, so that the two never disagree.

use std::fmt::Display;
use std::time::Duration;

use tracing::{Level, debug, info, warn};

use crate::backplane::{Canary, Status};
use crate::config::DrainConfig;
use crate::hub::Registration;
use crate::metrics::{ConnectionStatus, FailedMessage, KeyFetch, Metrics};
use crate::protocol::{CloseCode, CorrelationId, PayloadError, SERVICE, ServiceError, TraceIds};
use crate::session::Ended;
use crate::trace::{self, Connected};

/// A connection is open: its 101 is on the way and its user's channel is subscribed.
pub fn connection_opened(
    metrics: &Metrics,
    registration: &Registration,
    correlation_id: CorrelationId,
    began: Option<&Connected>,
) {
    metrics.connections.of(ConnectionStatus::Accepted).inc();
    metrics.active_connections.inc();
    let connection_id = registration.connection().id;
    let trace_id = began.map(|began| began.ids().trace_id);
    debug!(%connection_id, %correlation_id, trace_id, user = ?registration.user(), "connection opened");
}

/// An open connection ended.
pub fn connection_closed(
    metrics: &Metrics,
    registration: &Registration,
    correlation_id: CorrelationId,
    ended: &Ended,
    lasted: Duration,
) {
    metrics.active_connections.dec();
    metrics.connections.of(ConnectionStatus::Closed).inc();
    metrics.closes.of(ended.with).inc();
    metrics.connection_duration.observe(lasted.as_secs_f64());
    let connection_id = registration.connection().id;
    let code = ended.with.number();
    let reason = ended.close.as_ref().map_or("", |close| &close.message);
    let (trace_id, seconds) = (trace::ids().map(|span| span.trace_id), lasted.as_secs_f64());
    debug!(%connection_id, %correlation_id, trace_id, code, reason, seconds, "connection closed");
    if let Some((close, error)) = ended.close.as_ref().and_then(|close| Some((close, close.error?))) {
        // A drain is one event with a line of its own, however many connections it closes.
        if !matches!(close.code, CloseCode::Restart | CloseCode::GoingAway) {
            let error = ServiceError::new(error, "session", close.message.clone())
                .with_detail("connection_id", connection_id.to_string())
                .with_detail("close_code", code);
            failed(&trace::recorded(error, correlation_id), correlation_id);
        }
    }
}

/// An upgrade was refused; the error itself is logged by [`failed`].
pub fn connection_rejected(metrics: &Metrics) {
    metrics.connections.of(ConnectionStatus::Rejected).inc();
}

/// Something was refused or failed, and the caller is told. The one place that logs an error's detail.
pub fn failed(error: &ServiceError, correlation_id: CorrelationId) {
    let level = error.code.row().level;
    let (error_code, operation, message) = (error.code.as_str(), error.operation, &*error.message);
    let (trace_id, span_id) = match error.trace.as_deref() {
        Some(TraceIds { trace_id, span_id }) => (Some(trace_id), Some(span_id)),
        None => (None, None),
    };
    let details = serde_json::Value::Object(error.details.clone());
    macro_rules! line {
        ($level:expr) => {
            tracing::event!(
                $level, error_code, %correlation_id, trace_id, span_id, service = SERVICE, operation, %details,
                "{message}"
            )
        };
    }
    if level == Level::ERROR {
        line!(Level::ERROR);
    } else if level == Level::WARN {
        line!(Level::WARN);
    } else {
        line!(Level::INFO);
    }
}

/// A published message cannot be sent to anybody.
pub fn payload_dropped(metrics: &Metrics, error: PayloadError, bytes: usize) {
    metrics.messages_failed.of(FailedMessage::from(error)).inc();
    warn!(error_type = error.label(), bytes, "published message dropped: {error}");
}

/// Something on a user's channel of messages is none of the service's making.
pub fn record_malformed(metrics: &Metrics, bytes: usize) {
    metrics.messages_failed.of(FailedMessage::Malformed).inc();
    warn!(
        bytes,
        "dropped what is no record from a channel of messages: only the publish script may write there"
    );
}

/// The backplane came or went.
pub fn backplane_changed(metrics: &Metrics, status: Status) {
    metrics.backplane_up.set(i64::from(status == Status::Up));
    match status {
        Status::Up => info!("backplane is up"),
        Status::Down => warn!("backplane is down; connections stay, messages do not flow"),
        Status::Connecting => info!("backplane is connecting"),
    }
}

/// The link was down and is back.
pub fn backplane_gap(metrics: &Metrics) {
    metrics.backplane_reconnects.inc();
    warn!("messages published while the backplane was down were missed");
}

/// What the pod published to itself came back, or did not. A line for each change only.
pub fn canary(metrics: &Metrics, canary: Canary) {
    let was_deaf = metrics.deaf.get() == 1;
    metrics.deaf.set(i64::from(canary == Canary::Lost));
    match canary {
        Canary::Back(took) => {
            metrics.canary_round_trip.observe(took.as_secs_f64());
            if was_deaf {
                info!("messages arrive again");
            }
        }
        Canary::Lost => {
            metrics.canary_lost.inc();
            if !was_deaf {
                warn!(
                    "deaf: Redis takes what is published, and it does not arrive here; making the link anew"
                );
            }
        }
        Canary::Unknown => {}
    }
}

/// An issuer's key set was fetched and has so many keys, or it could not be had. A line for news only.
pub fn keys_fetched(metrics: &Metrics, url: &str, outcome: Result<usize, &dyn Display>, is_news: bool) {
    metrics.jwks_fetches.of(if outcome.is_ok() { KeyFetch::Ok } else { KeyFetch::Failed }).inc();
    match outcome {
        Ok(keys) if is_news => info!(url, keys, "token keys fetched"),
        Err(error) if is_news => {
            warn!(url, %error, "token keys cannot be fetched; those from before stay in force, up to a day");
        }
        _ => {}
    }
}

/// So many lines were left out of the log, because strangers caused too many of their kind.
pub fn lines_left_out(metrics: &Metrics, lines: u64) {
    metrics.log_lines_suppressed.inc_by(lines);
    info!(lines, "log lines left out: too many of their kind, the counters have them all");
}

/// The drain began.
pub fn drain_started(connections: usize, config: &DrainConfig) {
    let (lame_duck, spread) = (config.lame_duck.as_secs_f64(), config.spread.as_secs_f64());
    info!(connections, lame_duck_seconds = lame_duck, spread_seconds = spread, "drain started");
}

/// The drain ended.
pub fn drain_finished(forced: usize, took: Duration) {
    info!(forced, seconds = took.as_secs_f64(), "drain finished");
}
