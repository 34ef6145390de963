//! How messages reach this pod, and leave it.
//!
//! # Delivery contract
//! * A message published for a user after [`Backplane::subscribe`] resolved is handed to the [`Sink`] once, in the
//!   order in which the backplane received it.
//! * At most once: what is published while the link is down is lost here (history is what catches up), and
//!   [`Sink::cut`] is called before anything else follows, and [`Sink::restored`] once the link is up again and everything
//!   is resubscribed. Both say of which users: where there are several servers, each has a link and users of its own.
//! * The sink is called on the backplane's own task and must not block.

pub mod memory;
pub mod redis;
mod registry;
mod revocations;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

use crate::protocol::{EventId, Publication, Record, Revoked, UserId};

pub use registry::{Disconnect, EnterError, Entry, Limit, Presence, Registry, Why};
pub use revocations::{MAX_REVOCATIONS, Revocations, RevokeError};

/// A message as it arrived, its payload not looked at yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Arrival {
    /// A bare PUBLISH: there is no history of it.
    Bare(Bytes),
    /// With its place in history.
    Kept(Record),
}

/// What all pods are told, besides messages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum Order {
    /// Close connections of a user.
    Disconnect(Disconnect),
    /// Tokens do not count any more.
    Revoke(Revoked),
    /// Nor does that, any more.
    Lift(Revoked),
}

/// Of which users something is said. Asked while the sink is called only, and must not be kept.
pub type Whose<'a> = dyn Fn(&str) -> bool + 'a;

/// Where received messages go: the hub, seen from here.
pub trait Sink: Send + Sync + 'static {
    /// Takes a message for a user. Called for every message, so it does not block or allocate needlessly.
    fn deliver(&self, user: &str, arrival: Arrival);

    /// Something came on a user's channel of messages that is no record: so many bytes.
    fn malformed(&self, bytes: usize);

    /// The link of these users is gone: what comes after the next [`Sink::restored`] may not follow on what came before.
    /// Called before anything of a new link is delivered, and perhaps several times in a row.
    fn cut(&self, whose: &Whose<'_>);

    /// Everything that these users want is subscribed on a new link; what was published meanwhile was not delivered. `was_up`
    /// tells an outage from a start.
    fn restored(&self, whose: &Whose<'_>, was_up: bool);

    /// All pods are to do something.
    fn order(&self, order: Order);
}

/// Who is told how the backplane does: the metrics, seen from here. Called on the backplane's own task, so it must not
/// block.
pub trait Observer: Send + Sync + 'static {
    /// A SUBSCRIBE, of one name or of many, was confirmed so long after it was sent.
    fn subscribed(&self, took: Duration);

    /// The status has changed to this one. The first call is the first change from [`Status::Connecting`].
    fn status(&self, status: Status);

    /// A canary's time is over: what it proved.
    fn canary(&self, canary: Canary);
}

/// What a message that the pod published to itself proved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Canary {
    /// It came back, so long after it was published.
    Back(Duration),
    /// It was taken and did not come back: the pod is deaf.
    Lost,
    /// It was not taken, which says nothing.
    Unknown,
}

/// Nobody is told.
impl Observer for () {
    fn subscribed(&self, _took: Duration) {}

    fn status(&self, _status: Status) {}

    fn canary(&self, _canary: Canary) {}
}

/// How the backplane stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Never connected since the start; the pod is not ready.
    Connecting,
    /// Connected, and everything wanted is subscribed.
    Up,
    /// Was connected once and is not now, or is not yet resubscribed. Connections stay.
    Down,
}

/// How many users' channels are subscribed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subscriptions {
    /// Subscribed and confirmed.
    pub confirmed: usize,
    /// Wanted, and not confirmed yet.
    pub pending: usize,
}

/// Why a subscription or a publication failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BackplaneError {
    /// No link at this moment.
    #[error("the backplane is not connected")]
    Unavailable,
    /// No answer within the bound.
    #[error("the backplane did not answer in time")]
    Timeout,
    /// There can be no channel for a user of this name.
    #[error("a user id with a closing brace cannot be served by a Redis Cluster")]
    UserId,
    /// The server answered with an error; its text is for the log only.
    #[error("the backplane refused: {0}")]
    Refused(String),
}

impl BackplaneError {
    /// A short name, safe to show a stranger.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::Unavailable => "unavailable",
            Self::Timeout => "timeout",
            Self::UserId => "user-id",
            Self::Refused(_) => "refused",
        }
    }
}

/// Where a message went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Published {
    /// Position in history; `None` (null) while there is none.
    pub id: Option<EventId>,
    /// Pods with a connection of the user.
    pub subscribers: u64,
}

/// One connection's interest in a user's messages. Interest is counted; the user's channel is left when the last one
/// is dropped.
pub struct Subscription {
    user: UserId,
    /// Which of the links, one after the other, confirmed it.
    link: u64,
    owner: Arc<dyn Release>,
}

/// Takes interest back; implemented by each backplane's table of users.
pub(crate) trait Release: Send + Sync {
    fn release(&self, user: &UserId);
}

impl Subscription {
    pub(crate) fn new(user: UserId, link: u64, owner: Arc<dyn Release>) -> Self {
        Self { user, link, owner }
    }

    /// The same interest, confirmed by this link.
    pub(crate) fn confirmed(mut self, link: u64) -> Self {
        self.link = link;
        self
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.owner.release(&self.user);
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription").field("user", &self.user).finish_non_exhaustive()
    }
}

/// The way messages come and go.
pub trait Backplane: Send + Sync + 'static {
    /// Resolves once the user's messages are sure to arrive. The caller bounds the wait; dropping the future gives
    /// the interest back.
    fn subscribe(&self, user: UserId) -> BoxFuture<'_, Result<Subscription, BackplaneError>>;

    /// Publishes one message.
    fn publish(
        &self,
        user: UserId,
        publication: Publication,
    ) -> BoxFuture<'_, Result<Published, BackplaneError>>;

    /// Publishes all of them, or none; answers in their order.
    fn publish_all(
        &self,
        messages: Vec<(UserId, Publication)>,
    ) -> BoxFuture<'_, Result<Vec<Published>, BackplaneError>>;

    /// Whether all that was published since the subscription was confirmed has been handed to the sink, or will be.
    fn unbroken(&self, subscription: &Subscription) -> bool;

    /// How it stands now.
    fn status(&self) -> Status;

    /// How many users it is subscribed for.
    fn subscriptions(&self) -> Subscriptions;

    /// How long ago a message that the pod published to itself last came back; `None` before the first one, and where
    /// nothing lies between.
    fn canary_age(&self) -> Option<Duration>;

    /// Whether this pod does not hear what is published although others do.
    fn deaf_alone(&self) -> bool;
}
