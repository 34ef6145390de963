//! What ties the backplane to the hub and to the metrics, none of which know each other.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::Notify;

use crate::auth::RevokedTokens;
use crate::backplane::{Arrival, Canary, Disconnect, Observer, Order, Sink, Status, Whose, Why};
use crate::config::{OutboxConfig, SessionConfig};
use crate::hub::{self, Hub};
use crate::metrics::Metrics;
use crate::protocol::{Close, Envelope};
use crate::server;
use crate::telemetry::events;

/// Takes published bytes in: checks and wraps them once, then hands them to the user's connections.
pub(super) struct Inbox {
    hub: Arc<Hub>,
    metrics: Arc<Metrics>,
    outbox: OutboxConfig,
    max_message_bytes: usize,
    revoked: Arc<RevokedTokens>,
    wakes: Arc<Wakes>,
}

/// What other tasks of this room wait for, each by one of them.
#[derive(Debug, Default)]
pub(super) struct Wakes {
    /// The link is there again: for who is connected.
    pub(super) present: Notify,
    /// The same, for what is revoked.
    pub(super) restored: Notify,
    /// Something is revoked.
    pub(super) revoked: Notify,
}

impl Inbox {
    pub(super) fn new(
        hub: Arc<Hub>,
        metrics: Arc<Metrics>,
        revoked: Arc<RevokedTokens>,
        config: &SessionConfig,
    ) -> Self {
        let (outbox, max_message_bytes) = (config.outbox, config.max_message_bytes);
        Self { hub, metrics, outbox, max_message_bytes, revoked, wakes: Arc::default() }
    }

    /// What it wakes.
    pub(super) fn wakes(&self) -> Arc<Wakes> {
        Arc::clone(&self.wakes)
    }

    fn disconnect(&self, which: &Disconnect) {
        for connection in self.hub.connections_of(which.user.as_str()) {
            if which.means(connection.id, connection.since) {
                connection.outbox.close(ordered(which.why));
            }
        }
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

    fn cut(&self, whose: &Whose<'_>) {
        self.hub.cut(whose, &self.metrics);
    }

    fn restored(&self, whose: &Whose<'_>, was_up: bool) {
        self.hub.restored(whose);
        if was_up {
            events::backplane_gap(&self.metrics);
        }
        self.wakes.present.notify_one();
        self.wakes.restored.notify_one();
    }

    fn order(&self, order: Order) {
        match order {
            Order::Disconnect(which) => self.disconnect(&which),
            Order::Revoke(revoked) => {
                self.revoked.add(revoked);
                self.wakes.revoked.notify_one();
            }
            Order::Lift(revoked) => {
                self.revoked.lift(&revoked);
                self.wakes.revoked.notify_one();
            }
        }
    }
}

fn ordered(why: Why) -> Close {
    match why {
        Why::Disconnected => server::disconnected(),
        Why::Replaced => hub::replaced(),
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
