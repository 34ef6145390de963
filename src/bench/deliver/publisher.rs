//! The ways to publish, and the lanes in which it is done: several messages at a time, one after the other for each user; or
//! one lane, with several messages in each write.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::args::{DeliverArgs, MAX_MESSAGE_BYTES, Pace, Via};
use super::http::HttpPublisher;
use super::link::Link;
use super::message::Messages;
use super::tally::Tally;
use crate::backoff::Backoff;
use crate::history::{SendBy, publish_script};
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
    Http(Box<HttpPublisher>),
}

impl Publisher {
    /// Publishes one, or with `burst` all in one write.
    async fn publish(&self, messages: &[Outgoing<'_>], burst: bool) -> Result<(), Failure> {
        match (self, messages) {
            (Self::Redis(link), [message]) if !burst => link.publish(message).await,
            (Self::Http(publisher), [message]) if !burst => publisher.publish(message).await,
            (Self::Redis(link), messages) => link.publish_all(messages).await,
            (Self::Http(publisher), messages) => publisher.publish_batch(messages).await,
        }
    }
}

/// What the lanes share.
struct Shared {
    publisher: Publisher,
    /// Messages in one write; none where each has a request of its own.
    burst: Option<u32>,
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
        let publisher = match args.via {
            Via::Redis => Publisher::Redis(Link::new(&args.redis()?, None)?),
            Via::Script => {
                let redis = args.redis()?;
                let send = SendBy::for_redis(&redis.reach);
                Publisher::Redis(Link::new(
                    &redis,
                    Some(publish_script(&args.history(), send, MAX_MESSAGE_BYTES)),
                )?)
            }
            Via::Http => {
                let (url, key) = args.http()?;
                Publisher::Http(Box::new(HttpPublisher::new(url, &key.read()?)?))
            }
            Via::Centrifugo => {
                let (url, key) = args.http()?;
                Publisher::Http(Box::new(HttpPublisher::centrifugo(url, &key.read()?)?))
            }
        };
        if let Publisher::Redis(link) = &publisher {
            tasks.spawn(Arc::clone(link).keep(stop.clone()));
        }
        let (fatal, failed) = (Mutex::new(None), CancellationToken::new());
        let (messages, tally) = (Arc::clone(messages), tally.clone());
        let burst = args.burst();
        let shared = Arc::new(Shared { publisher, burst, users, messages, tally, fatal, failed });
        let capacity = match args.publish_rate {
            Pace::Rate(_) => LANE,
            // What waits here is not under way yet: one write, while the one before it is answered.
            Pace::Max => burst.unwrap_or(1) as usize,
        };
        let lane = |_| {
            let (sender, receiver) = channel(capacity);
            let (shared, stop) = (Arc::clone(&shared), stop.clone());
            tasks.spawn(async move { stop.run_until_cancelled(shared.lane(receiver)).await });
            sender
        };
        let users = args.crowd.users;
        // A burst has many users, so there is but one lane for the order of each.
        let lanes = if burst.is_some() { 1 } else { args.in_flight.min(users) };
        let lanes = (0..lanes).map(lane).collect();
        Ok(Self { lanes, shared, users, next: 0 })
    }

    /// Sends the next user's next message on its way; nothing after [`Lanes::finish`].
    pub(super) fn push(&mut self) {
        let user = self.next;
        let Some(lane) = (user as usize).checked_rem(self.lanes.len()) else { return };
        self.next = (user + 1) % self.users;
        self.shared.tally.scheduled(user, self.lanes[lane].try_send(user).is_ok());
    }

    /// Waits until the next so many can be pushed. Nothing is lost when this is cancelled.
    pub(super) async fn room(&self, messages: u32) {
        if let Some(lane) = (self.next as usize).checked_rem(self.lanes.len()) {
            // Nobody else pushes, so the room stays. A lane that has ended ends the run in another way.
            let _ = self.lanes[lane].reserve_many(messages as usize).await;
        }
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
        let most = self.burst.unwrap_or(1) as usize;
        let mut users = Vec::with_capacity(most);
        while queue.recv_many(&mut users, most).await > 0 {
            let sent = self.messages.now();
            let numbered: Vec<_> = users.drain(..).map(|user| (user, self.tally.begin(user))).collect();
            // Nothing that is published in bursts knows a key.
            let key = |user, number| match self.burst {
                Some(_) => String::new(),
                None => self.messages.key(user, number),
            };
            let written =
                |(user, number): &(u32, u32)| (self.messages.text(*number, sent), key(*user, *number));
            let texts: Vec<_> = numbered.iter().map(written).collect();
            let messages: Vec<_> = numbered
                .iter()
                .zip(&texts)
                .map(|((user, _), (text, key))| Outgoing {
                    user: self.users[*user as usize].as_str(),
                    text,
                    key,
                })
                .collect();
            self.publish(&numbered, &messages, sent).await;
        }
    }

    /// Until it is answered, or is not to be tried again.
    async fn publish(&self, numbered: &[(u32, u32)], messages: &[Outgoing<'_>], sent: u64) {
        let count = messages.len() as u64;
        let mut backoff = Backoff::new(BACKOFF_BASE, BACKOFF_CAP);
        loop {
            match self.publisher.publish(messages, self.burst.is_some()).await {
                Ok(()) => return self.tally.accepted(numbered, self.messages.now().saturating_sub(sent)),
                Err(Failure::Again(error)) => self.tally.not_accepted(count, error, true),
                Err(Failure::Unknown(error)) => return self.tally.not_accepted(count, error, false),
                Err(Failure::Fatal(error)) => {
                    self.fatal.lock().get_or_insert(error);
                    return self.failed.cancel();
                }
            }
            sleep(backoff.next_delay()).await;
        }
    }
}
