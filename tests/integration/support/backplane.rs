//! A backplane under test, and what it does, as events.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use websocket_service::backplane::redis::{RedisBackplane, Tuning};
use websocket_service::backplane::{
    Arrival, Backplane, Canary, Observer, Order, Sink, Status, Subscription, Whose,
};
use websocket_service::config::{BackplaneConfig, HistoryConfig, Secret};
use websocket_service::protocol::{Payload, Publication, Record, UserId};

use super::{LOCAL, within};

/// Everything a backplane told its sink and its observer, in order.
#[derive(Debug, Default, Clone)]
pub(crate) struct Seen {
    /// User and payload.
    pub(crate) messages: Vec<(String, Vec<u8>)>,
    /// Those of them that have history.
    pub(crate) kept: Vec<Record>,
    /// Restored after an outage.
    pub(crate) gaps: usize,
    /// Orders to close connections.
    pub(crate) orders: Vec<Order>,
    /// Messages that were none.
    pub(crate) malformed: usize,
    /// Changes of status.
    pub(crate) statuses: Vec<Status>,
    /// Confirmed SUBSCRIBE commands.
    pub(crate) subscribes: usize,
    /// What became of canaries.
    pub(crate) canaries: Vec<Canary>,
}

/// The other side of a backplane.
#[derive(Debug, Default)]
pub(crate) struct Recorder(watch::Sender<Seen>);

impl Sink for Recorder {
    fn deliver(&self, user: &str, arrival: Arrival) {
        self.0.send_modify(|seen| {
            let payload = match arrival {
                Arrival::Bare(payload) => payload.to_vec(),
                Arrival::Kept(record) => {
                    let payload = record.payload.to_vec();
                    seen.kept.push(record);
                    payload
                }
            };
            seen.messages.push((user.to_owned(), payload));
        });
    }

    fn malformed(&self, _bytes: usize) {
        self.0.send_modify(|seen| seen.malformed += 1);
    }

    fn cut(&self, _whose: &Whose<'_>) {}

    fn order(&self, order: Order) {
        self.0.send_modify(|seen| seen.orders.push(order));
    }

    fn restored(&self, _whose: &Whose<'_>, was_up: bool) {
        self.0.send_modify(|seen| seen.gaps += usize::from(was_up));
    }
}

impl Observer for Recorder {
    fn subscribed(&self, _took: Duration) {
        self.0.send_modify(|seen| seen.subscribes += 1);
    }

    fn status(&self, status: Status) {
        self.0.send_modify(|seen| seen.statuses.push(status));
    }

    fn canary(&self, canary: Canary) {
        self.0.send_modify(|seen| seen.canaries.push(canary));
    }
}

/// One pod's backplane, and its recorder.
pub(crate) struct Pod {
    pub(crate) backplane: Arc<RedisBackplane>,
    pub(crate) stop: CancellationToken,
    recorder: Arc<Recorder>,
}

/// Short delays, so that tests of outages take tenths of a second. Bounds stay long enough for a busy machine, and the
/// watchdog, the canary and the roll of pods sleep, except where a test is about them.
pub(crate) fn quick() -> Tuning {
    Tuning {
        backoff_base: Duration::from_millis(10),
        backoff_cap: Duration::from_millis(50),
        ping_every: Duration::from_secs(3_600),
        canary_every: Duration::from_secs(3_600),
        roll_every: Duration::from_secs(3_600),
        ..Tuning::default()
    }
}

impl Pod {
    /// A backplane on `url`.
    pub(crate) fn start(url: &str) -> Self {
        Self::start_tuned(Secret::inline(url), quick())
    }

    /// A backplane with other bounds.
    pub(crate) fn start_tuned(url: Secret, tuning: Tuning) -> Self {
        Self::start_with(url, tuning, HistoryConfig::default())
    }

    /// A backplane with another history.
    pub(crate) fn start_with(url: Secret, tuning: Tuning, history: HistoryConfig) -> Self {
        let config = BackplaneConfig { redis_url: Some(url), ..BackplaneConfig::default() };
        Self::start_configured(&config, tuning, history)
    }

    /// A backplane with settings of its own.
    pub(crate) fn start_configured(config: &BackplaneConfig, tuning: Tuning, history: HistoryConfig) -> Self {
        let recorder = Arc::new(Recorder::default());
        let (sink, observer) =
            (Arc::clone(&recorder) as Arc<dyn Sink>, Arc::clone(&recorder) as Arc<dyn Observer>);
        let stop = CancellationToken::new();
        let backplane = RedisBackplane::start_tuned(config, history, sink, observer, "pod-1", &stop, tuning);
        Self { backplane: backplane.expect("a valid URL"), stop, recorder }
    }

    /// Subscribes a user.
    pub(crate) async fn subscribe(&self, name: &str) -> Subscription {
        let subscribed = within("a subscription", LOCAL, self.backplane.subscribe(user(name))).await;
        subscribed.expect("the server takes the subscription")
    }

    /// Waits for an event.
    pub(crate) async fn until(&self, what: &str, condition: impl FnMut(&Seen) -> bool) -> Seen {
        let mut events = self.recorder.0.subscribe();
        within(what, LOCAL, events.wait_for(condition)).await.expect("the recorder lives").clone()
    }

    /// Waits until the last change was to this status.
    pub(crate) async fn until_status(&self, status: Status) -> Seen {
        self.until(&format!("{status:?}"), |seen| seen.statuses.last() == Some(&status)).await
    }

    /// What has happened so far.
    pub(crate) fn seen(&self) -> Seen {
        self.recorder.0.borrow().clone()
    }
}

/// What a publisher gives.
pub(crate) fn publication(text: &str) -> Publication {
    Payload::from(text).into()
}

/// A user id.
pub(crate) fn user(name: &str) -> UserId {
    UserId::new(name).expect("a valid user id")
}
