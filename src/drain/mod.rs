//! How the pod goes: a trigger, phases that only move forward, a steady rate of closes, a deadline, and force.

mod pace;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, interval, sleep_until, timeout};

use crate::config::DrainConfig;
use crate::hub::Hub;
use crate::metrics::Metrics;
use crate::protocol::frame::ReconnectReason;
use crate::protocol::{Close, ErrorCode};
use crate::session::CLOSE_WAIT;
use crate::telemetry::events;
use crate::trace::{Side, Tracer};
use pace::Pace;

/// Over how long clients in v1 mode come back that were closed in one moment.
const APART: Duration = Duration::from_secs(1);

/// How far the pod's end has come. Phases only move forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Not draining.
    Serving,
    /// Unready, and upgrades are still accepted, for endpoints take time to spread.
    LameDuck,
    /// Upgrades are refused, and connections are closed one after another.
    Closing,
    /// The fast path: everything is closed at once.
    Hurrying,
    /// Nobody is connected any more, or was cut.
    Drained,
}

/// The drain's state, shared by whoever triggers or watches it.
#[derive(Debug, Clone)]
pub struct Drain {
    phase: Arc<watch::Sender<Phase>>,
}

impl Default for Drain {
    fn default() -> Self {
        Self { phase: Arc::new(watch::Sender::new(Phase::Serving)) }
    }
}

impl Drain {
    /// Starts the drain, if it has not started.
    pub fn start(&self) {
        self.advance(Phase::LameDuck);
    }

    /// Takes the fast path, whether or not the drain has started.
    pub fn hurry(&self) {
        self.advance(Phase::Hurrying);
    }

    /// How far it has come.
    #[must_use]
    pub fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    /// Resolves once the phase is reached or passed.
    pub async fn reached(&self, phase: Phase) {
        // The sender lives in `self`, so the channel is not closed.
        let _ = self.phase.subscribe().wait_for(|now| *now >= phase).await;
    }

    fn advance(&self, to: Phase) {
        self.phase.send_if_modified(|phase| {
            let forward = to > *phase;
            if forward {
                *phase = to;
            }
            forward
        });
    }

    /// Waits for the trigger, then takes all the steps. Ends with [`Phase::Drained`].
    pub async fn run(&self, hub: &Hub, config: &DrainConfig, metrics: &Metrics, tracer: &Tracer) {
        self.reached(Phase::LameDuck).await;
        let span = tracer.span("websocket.drain", Side::Internal, None);
        span.set("websocket.connections", count(hub.len()));
        let started = Instant::now();
        metrics.draining.set(1);
        events::drain_started(hub.len(), config);

        let _ = timeout(config.lame_duck, self.reached(Phase::Hurrying)).await;
        self.advance(Phase::Closing);

        let deadline = Instant::now() + config.spread + config.linger;
        tokio::select! {
            () = hub.emptied() => {}
            () = close_at_a_rate(hub, config, metrics) => {}
            () = sleep_until(deadline) => {}
            () = self.reached(Phase::Hurrying) => close_at_once(hub, config, metrics).await,
        }
        let forced = cut(hub, config);
        metrics.drain_forced.inc_by(forced as u64);
        // Aborted sessions end as soon as they run.
        let _ = timeout(Duration::from_secs(1), hub.emptied()).await;
        metrics.drain_remaining.set(0);
        span.set("websocket.forced", count(forced));
        events::drain_finished(forced, started.elapsed());
        self.advance(Phase::Drained);
    }
}

/// Closes everybody over the spread, in random order, and waits until nobody is left. Whoever came in while the list
/// was gone through is on the next one.
async fn close_at_a_rate(hub: &Hub, config: &DrainConfig, metrics: &Metrics) {
    while !hub.is_empty() {
        let connections = hub.all();
        let mut pace = Pace::new(connections.len(), config.spread);
        for connection in pace.shuffle(connections) {
            sleep_until(pace.next()).await;
            // The closes are spread already; this only keeps those of one moment apart.
            let invited = close(config, "Server is draining").inviting(jitter(APART), ReconnectReason::Drain);
            connection.outbox.close(invited);
            metrics.drain_closed.inc();
            metrics.drain_remaining.set(count(hub.len()));
        }
        let mut tick = interval(Duration::from_secs(1));
        let everyone_closing = async {
            loop {
                tick.tick().await;
                metrics.drain_remaining.set(count(hub.len()));
            }
        };
        tokio::select! {
            () = hub.emptied() => {}
            () = everyone_closing => {}
            // Later than the longest close: who is left has come since.
            () = tokio::time::sleep(2 * CLOSE_WAIT) => {}
        }
    }
}

/// The fast path: everybody is told at once, and has as long to answer as any closed peer.
async fn close_at_once(hub: &Hub, config: &DrainConfig, metrics: &Metrics) {
    metrics.drain_remaining.set(count(hub.len()));
    for connection in hub.all() {
        let apart = jitter(config.spread.max(APART));
        connection
            .outbox
            .close(close(config, "Server shuts down").inviting(apart, ReconnectReason::Shutdown));
        metrics.drain_closed.inc();
    }
    let _ = timeout(CLOSE_WAIT, hub.emptied()).await;
}

/// Ends whoever is left, without waiting; returns how many there were.
fn cut(hub: &Hub, config: &DrainConfig) -> usize {
    let left = hub.all();
    for connection in &left {
        connection.outbox.abort(close(config, "Server shuts down"));
    }
    left.len()
}

/// When one of many comes back.
fn jitter(most: Duration) -> Duration {
    most.mul_f64(rand::random_range(0.0..=1.0))
}

fn close(config: &DrainConfig, message: &'static str) -> Close {
    Close::with_code(config.close_code, ErrorCode::ServiceUnavailable, message)
}

fn count(connections: usize) -> i64 {
    i64::try_from(connections).unwrap_or(i64::MAX)
}
