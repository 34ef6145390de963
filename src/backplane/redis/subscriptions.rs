//! The subscriber connection: keeps the server's subscriptions as they are wanted, and hands on what arrives.

use std::collections::HashSet;
use std::sync::Arc;

use ::redis::aio::MultiplexedConnection;
use ::redis::{RedisError, cmd};
use bytes::Bytes;
use futures_util::future::{join_all, try_join_all};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use super::canary::Cage;
use super::channels::{Channel, Channels};
use super::errors::{is_elsewhere, is_io};
use super::health::{Health, Standing};
use super::lines::Lines;
use super::link::{Failure, Role, Up};
use super::slots::NodeId;
use super::table::Table;
use super::tuning::{ELSEWHERE_PAUSE, Tuning};
use super::users::Users;
use crate::backplane::{Arrival, Observer, Sink, Status};
use crate::protocol::{Record, UserId};

/// The role of the subscriber connection.
pub(super) struct Subscriber {
    /// Which server it is to.
    pub(super) node: NodeId,
    /// The server's users.
    pub(super) table: Arc<Table>,
    /// Who serves whom.
    pub(super) users: Arc<Users>,
    pub(super) canary: Arc<Cage>,
    pub(super) channels: Channels,
    /// The name of the channel of the fleet's orders.
    pub(super) orders: String,
    pub(super) sink: Arc<dyn Sink>,
    pub(super) observer: Arc<dyn Observer>,
    pub(super) status: watch::Sender<Status>,
    pub(super) health: Arc<Health>,
    /// Told when the server turns out to have another's slots.
    pub(super) lines: Arc<Lines>,
    /// Sharded channels of which a SUNSUBSCRIBE is under way.
    pub(super) leaving: Mutex<HashSet<String>>,
    pub(super) tuning: Tuning,
}

impl Role for Subscriber {
    const NAME: &'static str = "subscriber";

    fn message(&self, channel: &[u8], payload: &[u8]) {
        if channel == self.orders.as_bytes() {
            match serde_json::from_slice(payload) {
                Ok(order) => self.sink.order(order),
                Err(_) => self.sink.malformed(payload.len()),
            }
            return;
        }
        let Some(channel) = self.channels.user(channel) else { return };
        let (Channel::Plain(user) | Channel::Messages(user)) = channel;
        // In a cluster what is published bare comes from every server that a user was ever served by.
        let Some(_serving) = self.users.serving(user).filter(|serving| serving.node == self.node) else {
            return;
        };
        if self.canary.hears(user, payload) {
            return;
        }
        // Copied, for it lies in what was read at once: one that waits in an outbox would keep all of that.
        let payload = Bytes::copy_from_slice(payload);
        match channel {
            Channel::Plain(user) => self.sink.deliver(user, Arrival::Bare(payload)),
            Channel::Messages(user) => match Record::decode(&payload) {
                Ok(record) => self.sink.deliver(user, Arrival::Kept(record)),
                Err(_) => self.sink.malformed(payload.len()),
            },
        }
    }

    /// A server says so by itself when a slot has gone to another one.
    fn left(&self, channel: &[u8]) -> bool {
        let unasked = std::str::from_utf8(channel).is_ok_and(|name| !self.leaving.lock().remove(name));
        if unasked {
            self.lines.outdate();
        }
        unasked
    }

    async fn serve(&self, connection: MultiplexedConnection, up: &Up<'_>) -> Failure {
        if let Err(failure) = self.hear_orders(&connection).await {
            return failure;
        }
        self.table.link_up();
        loop {
            let batch = self.table.next((self.tuning.chunk / self.channels.of_each_user()).max(1));
            if !batch.is_empty() {
                // Different users, so their order among each other does not matter.
                let sent = tokio::try_join!(
                    self.join(&connection, &batch.join),
                    self.leave(&connection, &batch.leave)
                );
                match sent {
                    Ok((true, ())) => sleep(ELSEWHERE_PAUSE).await,
                    Ok((false, ())) => {}
                    Err(failure) => return failure,
                }
            }
            if self.table.is_to_be_said() {
                up.reached(Some(self.table.len()));
                let was_up = self.health.status() != Status::Connecting;
                self.status.send_replace(Status::Up);
                self.health.tell(self.node, Standing::Up);
                self.users.with_those_of(self.node, |whose| self.sink.restored(whose, was_up));
            }
            if batch.is_empty() {
                self.table.changed().await;
            }
        }
    }

    async fn condemned(&self) -> Failure {
        self.canary.condemned().await;
        Failure::Deaf
    }

    fn lost(&self) {
        self.table.link_down();
        self.leaving.lock().clear();
        self.users.with_those_of(self.node, |whose| self.sink.cut(whose));
        if *self.status.borrow() == Status::Up {
            self.status.send_replace(Status::Down);
        }
        self.health.tell(self.node, Standing::Down);
        // Another may have its slots soon, or already.
        self.lines.outdate();
    }
}

impl Subscriber {
    /// Without the right to it users are served all the same.
    async fn hear_orders(&self, connection: &MultiplexedConnection) -> Result<(), Failure> {
        let name = std::slice::from_ref(&self.orders);
        match self.confirmed("SUBSCRIBE", connection.clone().subscribe(name)).await? {
            Err(error) if !is_io(&error) && error.code() == Some("NOPERM") => {
                tracing::warn!(%error, "the server refused the channel of orders: other pods cannot close connections here");
                Ok(())
            }
            Err(error) => Err(Failure::Command { what: "SUBSCRIBE", error }),
            Ok(()) => Ok(()),
        }
    }

    /// Whether the server sent some elsewhere: they are asked for again, unless they turn out to be another server's.
    async fn join(&self, connection: &MultiplexedConnection, users: &[UserId]) -> Result<bool, Failure> {
        if users.is_empty() {
            return Ok(false);
        }
        let mut elsewhere = false;
        match self.subscribe(connection, users).await? {
            Ok(()) => self.table.confirm_joined(users),
            Err(error) if users.len() == 1 && is_elsewhere(&error) => elsewhere = self.put_off(users),
            Err(error) if users.len() == 1 => {
                tracing::warn!(%error, "the server refused a user's channel");
                self.table.refuse(users);
            }
            // One forbidden name refuses the whole command; the others must not go deaf for it.
            Err(_) => {
                let each = users.iter().map(|user| async move {
                    let user = std::slice::from_ref(user);
                    Ok::<_, Failure>((user, self.subscribe(connection, user).await?))
                });
                let mut refused = None;
                for outcome in join_all(each).await {
                    match outcome? {
                        (user, Ok(())) => self.table.confirm_joined(user),
                        (user, Err(error)) if is_elsewhere(&error) => elsewhere = self.put_off(user),
                        (user, Err(error)) => {
                            self.table.refuse(user);
                            refused = Some((refused.map_or(1, |(count, _)| count + 1), error));
                        }
                    }
                }
                if let Some((count, error)) = refused {
                    tracing::warn!(count, %error, "the server refused users' channels");
                }
            }
        }
        Ok(elsewhere)
    }

    fn put_off(&self, users: &[UserId]) -> bool {
        self.lines.outdate();
        self.table.put_off(users);
        true
    }

    /// The inner error is a refusal of these names by the server's ACL, or of a slot that it has not got; the outer one
    /// condemns the link.
    async fn subscribe(
        &self,
        connection: &MultiplexedConnection,
        users: &[UserId],
    ) -> Result<Result<(), RedisError>, Failure> {
        let sent = Instant::now();
        let names = self.channels.names(users);
        let sharded = self.channels.sharded_names(users);
        let mut plain = connection.clone();
        let subscribing = async {
            tokio::try_join!(plain.subscribe(names), each_alone(connection, "SSUBSCRIBE", &sharded))
        };
        match self.confirmed("SUBSCRIBE", subscribing).await? {
            Ok(_) => {
                self.observer.subscribed(sent.elapsed());
                Ok(Ok(()))
            }
            Err(error) if !is_io(&error) && error.code() == Some("NOPERM") => Ok(Err(error)),
            Err(error) if is_elsewhere(&error) => Ok(Err(error)),
            Err(error) => Err(Failure::Command { what: "SUBSCRIBE", error }),
        }
    }

    async fn leave(&self, connection: &MultiplexedConnection, users: &[UserId]) -> Result<(), Failure> {
        if users.is_empty() {
            return Ok(());
        }
        let names = self.channels.names(users);
        // Those of a slot that has gone to another server are left already, and there is no asking for it here.
        let here: Vec<UserId> =
            users.iter().filter(|user| self.users.is_of(self.node, user.as_str())).cloned().collect();
        let sharded = self.channels.sharded_names(&here);
        self.leaving.lock().extend(sharded.iter().cloned());
        let mut plain = connection.clone();
        let leaving = async {
            tokio::try_join!(plain.unsubscribe(names), each_alone(connection, "SUNSUBSCRIBE", &sharded))
        };
        match self.confirmed("UNSUBSCRIBE", leaving).await? {
            Ok(_) => {
                self.table.confirm_left(users);
                Ok(())
            }
            // Answers cannot be told apart any more from what the server said by itself.
            Err(error) if is_elsewhere(&error) => {
                self.lines.outdate();
                Err(Failure::Elsewhere)
            }
            Err(error) => Err(Failure::Command { what: "UNSUBSCRIBE", error }),
        }
    }

    async fn confirmed<T>(&self, what: &'static str, answer: impl Future<Output = T>) -> Result<T, Failure> {
        let bound = self.tuning.confirm;
        timeout(bound, answer).await.map_err(|_| Failure::Unconfirmed { what, bound })
    }
}

/// The command takes names of one slot only, and each user has another.
async fn each_alone(
    connection: &MultiplexedConnection,
    command: &str,
    names: &[String],
) -> Result<(), RedisError> {
    let each =
        names.iter().map(async |name| cmd(command).arg(name).exec_async(&mut connection.clone()).await);
    try_join_all(each).await.map(drop)
}
