//! What is known at this moment, and for how long it holds.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::flags::Identity;
use crate::metrics::{GaugeMetrics, GaugeOwner, Report};
use crate::protocol::{GAUGE_EXPIRY, PodGauge};

/// The loop asks every 2 s and waits at most 1 s for an answer: after this long it hangs, and only a restart helps.
pub(super) const HANGS_AFTER: Duration = Duration::from_secs(30);

/// Shared by the loops, which write, and the HTTP server, which reads. Age is judged by whoever reads, so that a loop
/// that hangs does not leave old numbers standing.
#[derive(Debug)]
pub(super) struct State {
    metrics: GaugeMetrics,
    known: Mutex<Known>,
}

#[derive(Debug)]
struct Known {
    pod: Option<(PodGauge, Instant)>,
    fleet: Option<(u64, Instant)>,
    /// None before the first attempt, and where no Redis is configured.
    redis: Option<bool>,
    turned: Instant,
}

impl State {
    pub(super) fn new(identity: &Identity) -> Self {
        let Identity { pod, namespace, node, fleet, .. } = identity;
        let metrics = GaugeMetrics::new(&GaugeOwner { pod, namespace, node, fleet });
        let known = Known { pod: None, fleet: None, redis: None, turned: Instant::now() };
        Self { metrics, known: Mutex::new(known) }
    }

    /// The loop has turned once: with the service's answer and when it was asked, or without one.
    pub(super) fn turned(&self, reading: Option<(PodGauge, Instant)>) {
        self.metrics.status_up.set(i64::from(reading.is_some()));
        let mut known = self.known.lock();
        known.turned = Instant::now();
        if reading.is_some() {
            known.pod = reading;
        }
    }

    /// Redis answered with the fleet's sum; none where nobody reports.
    pub(super) fn redis_up(&self, fleet: Option<u64>) {
        let mut known = self.known.lock();
        known.redis = Some(true);
        known.fleet = fleet.map(|sum| (sum, Instant::now()));
    }

    /// Redis did not answer, or refused.
    pub(super) fn redis_down(&self) {
        self.known.lock().redis = Some(false);
    }

    /// A report was written, or was not.
    pub(super) fn reported(&self, result: Report) {
        self.metrics.reports.of(result).inc();
    }

    /// The latest reading, unless it is too old to say anything.
    pub(super) fn pod(&self) -> Option<PodGauge> {
        fresh(&self.known.lock().pod).cloned()
    }

    /// Whether the loop turns.
    pub(super) fn is_alive(&self) -> bool {
        self.known.lock().turned.elapsed() < HANGS_AFTER
    }

    /// The metrics' text exposition.
    pub(super) fn exposition(&self) -> String {
        let known = self.known.lock();
        self.metrics.pod_connections.set(fresh(&known.pod).map(|gauge| gauge.connections));
        self.metrics.fleet_connections.set(fresh(&known.fleet).copied());
        self.metrics.redis_up.set(known.redis.map(u64::from));
        drop(known);
        self.metrics.encode()
    }
}

fn fresh<T>(known: &Option<(T, Instant)>) -> Option<&T> {
    known.as_ref().filter(|(_, since)| since.elapsed() <= GAUGE_EXPIRY).map(|(value, _)| value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gauge::flags::tests::identity;
    use crate::gauge::poll::tests::reading;

    fn value(state: &State, name: &str) -> Option<u64> {
        let text = state.exposition();
        let line = text.lines().find(|line| line.starts_with(name))?;
        line.rsplit(' ').next()?.parse().ok()
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_too_old_is_not_shown() {
        let state = State::new(&identity());
        assert_eq!((state.pod(), value(&state, "connection_gauge_redis_up")), (None, None));
        let gauge = reading(7);
        state.turned(Some((gauge.clone(), Instant::now())));
        state.redis_up(Some(12));
        tokio::time::advance(GAUGE_EXPIRY).await;
        state.turned(None);
        state.redis_down();
        assert_eq!(state.pod(), Some(gauge));
        assert_eq!(value(&state, "websocket_pod_connections"), Some(7));
        assert_eq!(value(&state, "websocket_fleet_connections"), Some(12));
        assert_eq!(value(&state, "connection_gauge_status_up"), Some(0));
        assert_eq!(value(&state, "connection_gauge_redis_up"), Some(0));

        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(state.pod(), None);
        assert_eq!(value(&state, "websocket_pod_connections"), None);
        assert_eq!(value(&state, "websocket_fleet_connections"), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_loop_that_hangs_is_not_alive() {
        let state = State::new(&identity());
        tokio::time::advance(HANGS_AFTER - Duration::from_millis(1)).await;
        assert!(state.is_alive(), "whether or not the service answers");
        state.turned(None);
        tokio::time::advance(HANGS_AFTER).await;
        assert!(!state.is_alive());
    }
}
