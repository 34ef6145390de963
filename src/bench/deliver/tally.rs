//! Everything that happened in a run, in one place.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::timeout;

use super::ledger::{Arrival, Ledger};
use super::report::{Counts, Report};
use super::window::Window;
use crate::bench::latency::Latencies;
use crate::client::Event;

/// Without a delivery for so long, what is under way is not waited for: it is lost, or its connection is.
const STALL: Duration = Duration::from_millis(500);

/// Counts, ledger and latencies of one run.
#[derive(Debug, Clone)]
pub(super) struct Tally(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    inner: Mutex<Inner>,
    /// There is room for whoever waits in [`Tally::room`].
    room: Notify,
}

#[derive(Debug)]
struct Inner {
    counts: Counts,
    ledger: Ledger,
    delivery: Latencies,
    publication: Latencies,
    window: Window,
}

/// A message of this run, as it arrived.
#[derive(Debug, Clone, Copy)]
pub(super) struct Arrived {
    pub(super) number: u32,
    /// From the first attempt to publish it, in microseconds.
    pub(super) micros: u64,
}

impl Tally {
    pub(super) fn new(users: u32, connections: &[u32]) -> Self {
        let inner = Mutex::new(Inner {
            counts: Counts::default(),
            ledger: Ledger::new(users, connections),
            delivery: Latencies::default(),
            publication: Latencies::default(),
            window: Window::default(),
        });
        Self(Arc::new(Shared { inner, room: Notify::new() }))
    }

    /// Counts an event of a connection; messages are counted with [`Tally::arrived`]. `open` is whether the connection was
    /// open before it, and is brought up to date.
    pub(super) fn event(&self, connection: usize, event: &Event, open: &mut bool) {
        let mut inner = self.0.inner.lock();
        let Inner { counts, ledger, .. } = &mut *inner;
        match event {
            Event::Opened(opened) => {
                *open = true;
                counts.open += 1;
                counts.opened += 1;
                counts.reconnects += u64::from(!ledger.opened(connection));
                counts.resumed += u64::from(opened.resumed);
            }
            Event::Closed { code, again_in, .. } => {
                counts.open -= u64::from(std::mem::take(open));
                *counts.closes.entry(*code).or_default() += 1;
                counts.ended += u64::from(again_in.is_none());
            }
            Event::Refused { status, again_in, .. } => {
                *counts.refused.entry(*status).or_default() += 1;
                counts.ended += u64::from(again_in.is_none());
            }
            Event::Failed { kind, reason, .. } => {
                *counts.connect_errors_by_kind.entry(kind).or_default() += 1;
                counts.last_connect_error = Some(reason.clone());
            }
            Event::Gap { .. } => counts.gaps += 1,
            Event::Error { .. } => counts.error_frames += 1,
            Event::Message(_) | Event::Pong(_) => {}
        }
    }

    /// A message arrived; none is one of somebody else.
    pub(super) fn arrived(&self, connection: usize, arrived: Option<Arrived>) {
        let mut inner = self.0.inner.lock();
        let Inner { counts, ledger, delivery, window, .. } = &mut *inner;
        let arrival = arrived.map_or(Arrival::Foreign, |arrived| ledger.arrived(connection, arrived.number));
        match arrival {
            Arrival::InOrder => {}
            Arrival::Disorder => counts.disorder += 1,
            Arrival::Twice => counts.twice += 1,
            Arrival::Foreign => counts.foreign += 1,
        }
        if matches!(arrival, Arrival::InOrder | Arrival::Disorder) {
            counts.received += 1;
            delivery.add(arrived.map_or(0, |arrived| arrived.micros));
            if window.arrived() {
                self.0.room.notify_one();
            }
        }
    }

    /// So many messages were recognised by their id and not delivered again.
    pub(super) fn repeated(&self, more: u64) {
        if more > 0 {
            self.0.inner.lock().counts.repeated += more;
        }
    }

    /// An open connection was closed from here; whether the close was answered.
    pub(super) fn left(&self, answered: bool) {
        let mut inner = self.0.inner.lock();
        inner.counts.open = inner.counts.open.saturating_sub(1);
        inner.counts.left += u64::from(answered);
    }

    /// Whether each connection was open once.
    pub(super) fn all_opened(&self) -> bool {
        self.0.inner.lock().ledger.never_opened() == 0
    }

    /// Whether no connection was ever open.
    pub(super) fn none_opened(&self) -> bool {
        self.0.inner.lock().counts.opened == 0
    }

    /// A message is to be published, or is not because too many wait.
    pub(super) fn scheduled(&self, user: u32, fits: bool) {
        let mut inner = self.0.inner.lock();
        let Inner { counts, ledger, window, .. } = &mut *inner;
        counts.scheduled += u64::from(fits);
        counts.publish_skipped += u64::from(!fits);
        if fits {
            window.published(ledger.listeners(user));
        }
    }

    /// Waits until so many deliveries more are at most `limit` under way, or none is. What does not arrive within half a
    /// second is not waited for. Nothing is lost when this is cancelled.
    pub(super) async fn room(&self, more: u64, limit: u64) {
        loop {
            let before = {
                let window = &mut self.0.inner.lock().window;
                if window.wait_for(limit.saturating_sub(more)) {
                    return;
                }
                window.progress()
            };
            if timeout(STALL, self.0.room.notified()).await.is_err() {
                let window = &mut self.0.inner.lock().window;
                if window.progress() == before {
                    window.write_off();
                }
            }
        }
    }

    /// Deliveries that are under way.
    pub(super) fn under_way(&self) -> u64 {
        self.0.inner.lock().window.under_way()
    }

    /// The number of a message that is about to be published.
    pub(super) fn begin(&self, user: u32) -> u32 {
        self.0.inner.lock().ledger.begin(user)
    }

    /// Publications were answered, so many microseconds after their first attempt.
    pub(super) fn accepted(&self, messages: &[(u32, u32)], micros: u64) {
        let mut inner = self.0.inner.lock();
        for (user, number) in messages {
            inner.ledger.accepted(*user, *number);
            inner.counts.accepted += 1;
            inner.publication.add(micros);
        }
    }

    /// An attempt to publish so many failed; `again` is whether it will be repeated.
    pub(super) fn not_accepted(&self, messages: u64, error: String, again: bool) {
        let counts = &mut self.0.inner.lock().counts;
        counts.publish_retries += if again { messages } else { 0 };
        counts.publish_unknown += if again { 0 } else { messages };
        counts.last_publish_error = Some(error);
    }

    /// All delivery latencies so far.
    pub(super) fn latencies(&self) -> Latencies {
        self.0.inner.lock().delivery.clone()
    }

    /// How many are open, were opened, and have arrived.
    pub(super) fn brief(&self) -> (u64, u64, u64) {
        let counts = &self.0.inner.lock().counts;
        (counts.open, counts.opened, counts.received)
    }

    /// The line at `t` seconds since the start. `judged`: whether to say in the last one if it was lossless.
    pub(super) fn report(&self, t: f64, phase: &'static str, last: bool, judged: bool) -> Report {
        let inner = self.0.inner.lock();
        let Inner { counts, ledger, delivery, publication, .. } = &*inner;
        let (expected, missing, sample) = ledger.balance();
        let never_opened = ledger.never_opened();
        let clean = missing + counts.twice + counts.disorder == 0 && expected > 0 && never_opened == 0;
        Report {
            t: (t * 10.0).round() / 10.0,
            phase,
            never_opened,
            unaccepted: counts.scheduled.saturating_sub(counts.accepted + counts.publish_unknown),
            expected,
            outstanding: (!last).then_some(missing),
            lost: last.then_some(missing),
            lost_first: if last { sample } else { Vec::new() },
            latency_ms: delivery.summary(),
            longest_silence_ms: delivery.longest(),
            publish_ms: publication.summary(),
            lossless: (last && judged).then_some(clean),
            last,
            counts: counts.clone(),
        }
    }
}
