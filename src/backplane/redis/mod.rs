//! The backplane on Redis: one subscriber connection and one command connection a pod, however many users it has.

mod canary;
mod channels;
mod commands;
mod connect;
mod dial;
mod errors;
mod history;
mod interest;
mod link;
mod registry;
mod resp;
mod route;
mod scripts;
mod sentinel;
mod subscriptions;
mod table;
mod tap;
mod tls;
mod tuning;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

pub use commands::{PublishOnceError, publish_once};
pub use connect::Connector;
pub use errors::{ConnectError, StartError, UrlError};
pub use sentinel::SentinelError;
pub use tls::TlsError;
pub use tuning::Tuning;

use self::canary::{Cage, Keeper};
use self::channels::Channels;
use self::commands::Commands;
use self::history::Histories;
use self::registry::FleetRegistry;
use self::subscriptions::Subscriber;
use self::table::Table;
use super::{
    Backplane, BackplaneError, Observer, Published, Registry, Sink, Status, Subscription, Subscriptions,
};
use crate::config::{BackplaneConfig, HistoryConfig};
use crate::history::{Entry, From, History, HistoryError};
use crate::protocol::{EventId, Publication, UserId};
use crate::trace::{self, Side};

/// The backplane on Redis. Both connections heal by themselves, for as long as it takes.
pub struct RedisBackplane {
    table: Arc<Table>,
    canary: Arc<Cage>,
    commands: Arc<Commands>,
    histories: Histories,
    registry: Arc<FleetRegistry>,
    status: watch::Receiver<Status>,
    stop: CancellationToken,
    tasks: TaskTracker,
    /// Ends the tasks when the last owner lets go.
    _guard: DropGuard,
}

impl RedisBackplane {
    /// Starts both connections and returns at once, whether or not Redis is there. They end with `stop`, or when the
    /// value is dropped. `name` is what `CLIENT LIST` shows, with the connection's role appended.
    ///
    /// Must be called within a Tokio runtime.
    ///
    /// # Errors
    /// [`StartError`] when there is no URL, or one that does not parse.
    pub fn start(
        config: &BackplaneConfig,
        history: HistoryConfig,
        sink: Arc<dyn Sink>,
        observer: Arc<dyn Observer>,
        name: &str,
        stop: &CancellationToken,
    ) -> Result<Arc<Self>, StartError> {
        Self::start_tuned(config, history, sink, observer, name, stop, Tuning::default())
    }

    /// [`RedisBackplane::start`] with other bounds and periods, for tests.
    ///
    /// # Errors
    /// As for [`RedisBackplane::start`].
    pub fn start_tuned(
        config: &BackplaneConfig,
        history: HistoryConfig,
        sink: Arc<dyn Sink>,
        observer: Arc<dyn Observer>,
        name: &str,
        stop: &CancellationToken,
        tuning: Tuning,
    ) -> Result<Arc<Self>, StartError> {
        let channels = Channels::new(&config.channel_prefix, history.is_on());
        let subscriber_link = Connector::new(config, &format!("{name}-subscriber"), &tuning)?;
        let publisher_link = subscriber_link.named(&format!("{name}-publisher"));

        let (sender, status) = watch::channel(Status::Connecting);
        let (table, canary) = (Arc::new(Table::default()), Arc::new(Cage::default()));
        let commands = Arc::new(Commands::new(channels.clone(), &history, &tuning));
        let subscriber = Arc::new(Subscriber {
            table: Arc::clone(&table),
            canary: Arc::clone(&canary),
            orders: channels.orders(),
            channels,
            sink,
            observer: Arc::clone(&observer),
            status: sender,
            tuning: tuning.clone(),
        });

        let keeper = Keeper::new(
            Arc::clone(&canary),
            Arc::clone(&table),
            Arc::clone(&commands),
            observer,
            status.clone(),
            tuning.clone(),
        );
        let histories = Histories::new(history, tuning.publish);
        let (registry, left) = FleetRegistry::new(Arc::clone(&commands), tuning.clone());
        let stop = stop.child_token();
        let tasks = TaskTracker::new();
        tasks.spawn(link::supervise(subscriber, subscriber_link, tuning.clone(), stop.clone()));
        tasks.spawn(link::supervise(Arc::clone(&commands), publisher_link, tuning, stop.clone()));
        tasks.spawn(keeper.run(stop.clone()));
        tasks.spawn(Arc::clone(&registry).work(left, stop.clone()));
        tasks.close();
        Ok(Arc::new(Self {
            table,
            canary,
            commands,
            histories,
            registry,
            status,
            tasks,
            _guard: stop.clone().drop_guard(),
            stop,
        }))
    }

    /// The connections of the fleet.
    #[must_use]
    pub fn registry(&self) -> Arc<dyn Registry> {
        Arc::clone(&self.registry) as Arc<dyn Registry>
    }

    /// Resolves when both connections' tasks have ended, after `stop`.
    pub async fn stopped(&self) {
        self.tasks.wait().await;
    }
}

impl Backplane for RedisBackplane {
    fn subscribe(&self, user: UserId) -> BoxFuture<'_, Result<Subscription, BackplaneError>> {
        Box::pin(operation("redis.subscribe", async move {
            let wanted = self.table.want(user.clone());
            tokio::select! {
                biased;
                joined = self.table.joined(&user) => joined.map(|link| wanted.confirmed(link)),
                () = self.stop.cancelled() => Err(BackplaneError::Unavailable),
            }
        }))
    }

    fn publish(
        &self,
        user: UserId,
        publication: Publication,
    ) -> BoxFuture<'_, Result<Published, BackplaneError>> {
        Box::pin(operation("redis.publish", async move { self.commands.publish(&user, &publication).await }))
    }

    fn publish_all(
        &self,
        messages: Vec<(UserId, Publication)>,
    ) -> BoxFuture<'_, Result<Vec<Published>, BackplaneError>> {
        Box::pin(operation("redis.publish", async move { self.commands.publish_all(&messages).await }))
    }

    fn unbroken(&self, subscription: &Subscription) -> bool {
        self.table.link() == Some(subscription.link)
    }

    fn status(&self) -> Status {
        *self.status.borrow()
    }

    fn subscriptions(&self) -> Subscriptions {
        self.table.subscriptions()
    }

    fn canary_age(&self) -> Option<Duration> {
        self.canary.age()
    }

    fn deaf_alone(&self) -> bool {
        self.canary.deaf_alone()
    }
}

impl History for RedisBackplane {
    fn read(
        &self,
        user: UserId,
        from: From,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Entry>, HistoryError>> {
        Box::pin(operation("redis.read_history", async move {
            self.histories.read(&self.commands, &user, from, limit).await
        }))
    }

    fn newest(&self, user: UserId) -> BoxFuture<'_, Result<EventId, HistoryError>> {
        Box::pin(operation("redis.read_history", async move {
            self.histories.newest(&self.commands, &user).await
        }))
    }

    fn keep(&self, users: Vec<UserId>) -> BoxFuture<'_, Result<(), HistoryError>> {
        Box::pin(async move { self.histories.keep(&self.commands, &users).await })
    }
}

/// A span around what Redis is asked, where whoever asks has one.
async fn operation<T, E: fmt::Display>(
    name: &'static str,
    asked: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    let span = trace::child(name, Side::Client);
    span.set("db.system.name", "redis");
    span.cover(asked).await.inspect_err(|error| span.failed(&error.to_string()))
}

impl fmt::Debug for RedisBackplane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisBackplane").field("status", &self.status()).finish_non_exhaustive()
    }
}
