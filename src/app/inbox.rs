//! What ties the backplane to the hub and to the metrics, none of which know each other.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::backplane::{Arrival, Canary, Observer, Sink, Status};
use crate::config::{OutboxConfig, SessionConfig};
use crate::hub::Hub;
use crate::metrics::Metrics;
use crate::protocol::Envelope;
use crate::telemetry::events;

/// Takes published bytes in: checks and wraps them once, then hands them to the user's connections.
pub(super) struct Inbox {
    hub: Arc<Hub>,
    metrics: Arc<Metrics>,
    outbox: OutboxConfig,
    max_message_bytes: usize,
}

impl Inbox {
    pub(super) fn new(hub: Arc<Hub>, metrics: Arc<Metrics>, config: &SessionConfig) -> Self {
        Self { hub, metrics, outbox: config.outbox, max_message_bytes: config.max_message_bytes }
    }
}

impl Sink for Inbox {
    fn deliver(&self, user: &str, arrival: Arrival) {
        let (bytes, checked) = match arrival {
            Arrival::Bare(payload) => (payload.len(), Envelope::new(payload, self.max_message_bytes)),
            Arrival::Kept(record) => (record.payload.len(), Envelope::kept(record, self.max_message_bytes)),
        };
        match checked {
            Ok(envelope) => {
                if let Some(id) = envelope.id() {
                    self.metrics.backplane_lag.observe(id.age(SystemTime::now()).as_secs_f64());
                }
                self.metrics.message_size.observe(bytes as f64);
                self.hub.deliver(user, &envelope, &self.outbox, &self.metrics);
            }
            Err(error) => events::payload_dropped(&self.metrics, error, bytes),
        }
    }

    fn malformed(&self, bytes: usize) {
        events::record_malformed(&self.metrics, bytes);
    }

    fn cut(&self) {
        self.hub.cut(&self.metrics);
    }

    fn restored(&self, was_up: bool) {
        self.hub.restored();
        if was_up {
            events::backplane_gap(&self.metrics);
        }
    }
}

/// Tells metrics and log how the link does.
pub(super) struct LinkObserver(Arc<Metrics>);

impl LinkObserver {
    pub(super) fn new(metrics: Arc<Metrics>) -> Self {
        Self(metrics)
    }
}

impl Observer for LinkObserver {
    fn subscribed(&self, took: Duration) {
        self.0.subscription_duration.observe(took.as_secs_f64());
    }

    fn status(&self, status: Status) {
        events::backplane_changed(&self.0, status);
    }

    fn canary(&self, canary: Canary) {
        events::canary(&self.0, canary);
    }
}
