//! The ways to publish, and the lanes in which it is done: several messages at a time, one after the other for each user.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::args::{DeliverArgs, MAX_MESSAGE_BYTES, Via};
use super::http::HttpPublisher;
use super::link::Link;
use super::message::Messages;
use super::tally::Tally;
use crate::backoff::Backoff;
use crate::history::publish_script;
use crate::protocol::UserId;

/// Messages that wait in a lane; beyond that they are counted as skipped. Minutes of an outage at a usual rate.
const LANE: usize = 4_096;

/// Bounds of the waits between attempts.
const BACKOFF_BASE: Duration = Duration::from_millis(50);
const BACKOFF_CAP: Duration = Duration::from_secs(1);

/// A message to publish.
#[derive(Debug, Clone, Copy)]
pub(super) struct Outgoing<'a> {
    pub(super) user: &'a str,
    pub(super) text: &'a str,
    /// The same for each attempt.
    pub(super) key: &'a str,
}

/// Why a publication was not answered as it should.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    /// It can be tried again: it did not happen, or the key sees to it that it happens once.
    Again(String),
    /// It may have happened, and again would be once too often.
    Unknown(String),
    /// It would be refused again: the run has no sense.
    Fatal(String),
}

enum Publisher {
    Redis(Arc<Link>),
    Http(HttpPublisher),
}

impl Publisher {
    async fn publish(&self, message: &Outgoing<'_>) -> Result<(), Failure> {
        match self {
            Self::Redis(link) => link.publish(message).await,
            Self::Http(publisher) => publisher.publish(message).await,
        }
    }
}

/// What the lanes share.
struct Shared {
    publisher: Publisher,
    users: Vec<UserId>,
    messages: Arc<Messages>,
    tally: Tally,
    /// What ended the run, and the signal of it.
    fatal: Mutex<Option<String>>,
    failed: CancellationToken,
}

/// All lanes. A user's messages keep to one.
pub(super) struct Lanes {
    lanes: Vec<Sender<u32>>,
    shared: Arc<Shared>,
    users: u32,
    next: u32,
}

impl Lanes {
    /// Starts them; they end when this is dropped and what waits is published, or with `stop`.
    ///
    /// # Errors
    /// When the flags do not say where to publish, or a secret cannot be read.
    pub(super) fn start(
        args: &DeliverArgs,
        users: Vec<UserId>,
        messages: &Arc<Messages>,
        tally: &Tally,
        tasks: &TaskTracker,
        stop: &CancellationToken,
    ) -> anyhow::Result<Self> {
        let script = || publish_script(&args.history(), MAX_MESSAGE_BYTES);
        let publisher = match args.via {
            Via::Redis => Publisher::Redis(Link::new(&args.redis()?, None)?),
            Via::Script => Publisher::Redis(Link::new(&args.redis()?, Some(script()))?),
            Via::Http => {
                let (url, key) = args.http()?;
                Publisher::Http(HttpPublisher::new(url, &key.read()?)?)
            }
        };
        if let Publisher::Redis(link) = &publisher {
            tasks.spawn(Arc::clone(link).keep(stop.clone()));
        }
        let (fatal, failed) = (Mutex::new(None), CancellationToken::new());
        let (messages, tally) = (Arc::clone(messages), tally.clone());
        let shared = Arc::new(Shared { publisher, users, messages, tally, fatal, failed });
        let lane = |_| {
            let (sender, receiver) = channel(LANE);
            let (shared, stop) = (Arc::clone(&shared), stop.clone());
            tasks.spawn(async move { stop.run_until_cancelled(shared.lane(receiver)).await });
            sender
        };
        let lanes = (0..args.in_flight.min(args.users)).map(lane).collect();
        Ok(Self { lanes, shared, users: args.users, next: 0 })
    }

    /// Sends the next user's next message on its way; nothing after [`Lanes::finish`].
    pub(super) fn push(&mut self) {
        let user = self.next;
        let Some(lane) = (user as usize).checked_rem(self.lanes.len()) else { return };
        self.next = (user + 1) % self.users;
        self.shared.tally.scheduled(self.lanes[lane].try_send(user).is_ok());
    }

    /// No more messages come: the lanes end with what waits.
    pub(super) fn finish(&mut self) {
        self.lanes.clear();
    }

    /// Waits for a refusal that ends the run, and returns it.
    pub(super) async fn failed(&self) -> String {
        self.shared.failed.cancelled().await;
        self.shared.fatal.lock().clone().unwrap_or_default()
    }
}

impl Shared {
    async fn lane(&self, mut queue: Receiver<u32>) {
        while let Some(user) = queue.recv().await {
            let number = self.tally.begin(user);
            self.publish(user, number).await;
        }
    }

    /// Until it is answered, or is not to be tried again.
    async fn publish(&self, user: u32, number: u32) {
        let (sent, key) = (self.messages.now(), self.messages.key(user, number));
        let text = self.messages.text(number, sent);
        let message = Outgoing { user: self.users[user as usize].as_str(), text: &text, key: &key };
        let mut backoff = Backoff::new(BACKOFF_BASE, BACKOFF_CAP);
        loop {
            match self.publisher.publish(&message).await {
                Ok(()) => {
                    return self.tally.accepted(user, number, self.messages.now().saturating_sub(sent));
                }
                Err(Failure::Again(error)) => self.tally.not_accepted(error, true),
                Err(Failure::Unknown(error)) => return self.tally.not_accepted(error, false),
                Err(Failure::Fatal(error)) => {
                    self.fatal.lock().get_or_insert(error);
                    return self.failed.cancel();
                }
            }
            sleep(backoff.next_delay()).await;
        }
    }
}
