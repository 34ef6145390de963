//! The subscriber connection: keeps the server's subscriptions as they are wanted, and hands on what arrives.

use std::sync::Arc;

use ::redis::RedisError;
use ::redis::aio::MultiplexedConnection;
use bytes::Bytes;
use futures_util::future::join_all;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::canary::Cage;
use super::channels::{Channel, Channels};
use super::errors::is_io;
use super::link::{Failure, Role, Up};
use super::table::Table;
use super::tuning::Tuning;
use crate::backplane::{Arrival, Observer, Sink, Status};
use crate::protocol::{Record, UserId};

/// The role of the subscriber connection.
pub(super) struct Subscriber {
    pub(super) table: Arc<Table>,
    pub(super) canary: Arc<Cage>,
    pub(super) channels: Channels,
    /// The name of the channel of the fleet's orders.
    pub(super) orders: String,
    pub(super) sink: Arc<dyn Sink>,
    pub(super) observer: Arc<dyn Observer>,
    pub(super) status: watch::Sender<Status>,
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

    async fn serve(&self, connection: MultiplexedConnection, up: &Up<'_>) -> Failure {
        if let Err(failure) = self.hear_orders(&connection).await {
            return failure;
        }
        self.table.link_up();
        let mut announced = false;
        loop {
            let batch = self.table.next((self.tuning.chunk / self.channels.of_each_user()).max(1));
            if !batch.is_empty() {
                // Different users, so their order among each other does not matter.
                let sent = tokio::try_join!(
                    self.join(&connection, &batch.join),
                    self.leave(&connection, &batch.leave)
                );
                if let Err(failure) = sent {
                    return failure;
                }
            }
            if !announced && self.table.caught_up() {
                announced = true;
                up.reached(Some(self.table.len()));
                let before = self.change(Status::Up);
                self.sink.restored(before == Status::Down);
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
        self.sink.cut();
        if *self.status.borrow() == Status::Up {
            self.change(Status::Down);
        }
    }
}

impl Subscriber {
    /// Returns what it was before.
    fn change(&self, to: Status) -> Status {
        let before = self.status.send_replace(to);
        if before != to {
            self.observer.status(to);
        }
        before
    }

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

    async fn join(&self, connection: &MultiplexedConnection, users: &[UserId]) -> Result<(), Failure> {
        if users.is_empty() {
            return Ok(());
        }
        match self.subscribe(connection, users).await? {
            Ok(()) => self.table.confirm_joined(users),
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
        Ok(())
    }

    /// The inner error is a refusal of these names by the server's ACL; the outer one condemns the link.
    async fn subscribe(
        &self,
        connection: &MultiplexedConnection,
        users: &[UserId],
    ) -> Result<Result<(), RedisError>, Failure> {
        let sent = Instant::now();
        let names = self.channels.names(users);
        match self.confirmed("SUBSCRIBE", connection.clone().subscribe(names)).await? {
            Ok(()) => {
                self.observer.subscribed(sent.elapsed());
                Ok(Ok(()))
            }
            Err(error) if !is_io(&error) && error.code() == Some("NOPERM") => Ok(Err(error)),
            Err(error) => Err(Failure::Command { what: "SUBSCRIBE", error }),
        }
    }

    async fn leave(&self, connection: &MultiplexedConnection, users: &[UserId]) -> Result<(), Failure> {
        if users.is_empty() {
            return Ok(());
        }
        let names = self.channels.names(users);
        match self.confirmed("UNSUBSCRIBE", connection.clone().unsubscribe(names)).await? {
            Ok(()) => {
                self.table.confirm_left(users);
                Ok(())
            }
            Err(error) => Err(Failure::Command { what: "UNSUBSCRIBE", error }),
        }
    }

    async fn confirmed<T>(&self, what: &'static str, answer: impl Future<Output = T>) -> Result<T, Failure> {
        let bound = self.tuning.confirm;
        timeout(bound, answer).await.map_err(|_| Failure::Unconfirmed { what, bound })
    }
}
