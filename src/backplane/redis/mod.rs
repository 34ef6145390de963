//! The backplane on Redis: one subscriber connection and one command connection a pod, however many users it has; in a
//! cluster a pair of them to each master.

mod canary;
mod channels;
mod cluster;
mod commands;
mod connect;
mod dial;
mod errors;
mod health;
mod history;
mod interest;
mod keys;
mod leaving;
mod lines;
mod link;
mod nodes;
mod registry;
mod resp;
mod revocations;
mod route;
mod scripts;
mod sentinel;
mod slots;
mod subscriptions;
mod table;
mod tap;
mod tls;
mod topology;
mod tuning;
mod users;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

pub use cluster::ClusterError;
pub use commands::{PublishOnceError, publish_once};
pub use connect::Connector;
pub use errors::{ConnectError, StartError, UrlError};
pub use keys::{Keyed, Keys};
pub use sentinel::SentinelError;
pub use tls::TlsError;
pub use tuning::Tuning;

use self::channels::Channels;
use self::commands::Commands;
use self::health::Health;
use self::history::Histories;
use self::lines::{Line, Lines};
use self::nodes::{Nodes, Shared};
use self::registry::FleetRegistry;
use self::revocations::FleetRevocations;
use self::slots::Routing;
use self::users::Users;
use super::{
    Backplane, BackplaneError, Observer, Published, Registry, Revocations, Sink, Status, Subscription,
    Subscriptions,
};
use crate::config::{BackplaneConfig, HistoryConfig};
use crate::history::{Entry, From, History, HistoryError};
use crate::protocol::{EventId, Publication, UserId};
use crate::trace::{self, Side};

/// The backplane on Redis. All connections heal by themselves, for as long as it takes.
pub struct RedisBackplane {
    channels: Channels,
    users: Arc<Users>,
    nodes: Arc<Nodes>,
    health: Arc<Health>,
    commands: Arc<Commands>,
    histories: Histories,
    registry: Arc<FleetRegistry>,
    revocations: Arc<FleetRevocations>,
    stop: CancellationToken,
    tasks: TaskTracker,
    /// Ends the tasks when the last owner lets go.
    _guard: DropGuard,
}

impl RedisBackplane {
    /// Starts the connections and returns at once, whether or not Redis is there. They end with `stop`, or when the
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
        let channels = Channels::new(config, history.is_on());
        let subscriber = Connector::new(config, &format!("{name}-subscriber"), &tuning)?;
        let publisher = subscriber.named(&format!("{name}-publisher"));
        let cluster = publisher.cluster();

        let line = Arc::new(Line::default());
        let (routing, lines) = match &cluster {
            None => (Routing::One, Lines::one(Arc::clone(&line))),
            Some(_) => (Routing::of_cluster(channels.prefix()), Lines::of_cluster()),
        };
        let (users, lines) = (Arc::new(Users::new(routing)), Arc::new(lines));
        let commands = Arc::new(Commands::new(channels.clone(), &history, Arc::clone(&lines), &tuning));
        let health = Arc::new(Health::new(Arc::clone(&observer)));
        let histories = Histories::new(history, tuning.publish);
        let (registry, left) = FleetRegistry::new(Arc::clone(&commands), tuning.clone());
        let revocations = Arc::new(FleetRevocations::new(Arc::clone(&commands), tuning.publish));
        let (stop, tasks) = (stop.child_token(), TaskTracker::new());
        let nodes = Arc::new(Nodes::new(Shared {
            channels: channels.clone(),
            sink,
            observer,
            users: Arc::clone(&users),
            lines,
            commands: Arc::clone(&commands),
            health: Arc::clone(&health),
            subscriber,
            publisher,
            tuning,
            tasks: tasks.clone(),
            stop: stop.clone(),
        }));
        match cluster {
            None => nodes.begin(line),
            Some(cluster) => drop(tasks.spawn(Arc::clone(&nodes).follow(cluster))),
        }
        tasks.spawn(Arc::clone(&registry).work(left, stop.clone()));
        tasks.close();
        Ok(Arc::new(Self {
            channels,
            users,
            nodes,
            health,
            commands,
            histories,
            registry,
            revocations,
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

    /// The tokens that do not count any more.
    #[must_use]
    pub fn revocations(&self) -> Arc<dyn Revocations> {
        Arc::clone(&self.revocations) as Arc<dyn Revocations>
    }

    fn servable(&self, user: &UserId) -> Result<(), BackplaneError> {
        if self.channels.is_servable(user) { Ok(()) } else { Err(BackplaneError::UserId) }
    }

    /// Resolves when all connections' tasks have ended, after `stop`.
    pub async fn stopped(&self) {
        self.tasks.wait().await;
    }
}

impl Backplane for RedisBackplane {
    fn subscribe(&self, user: UserId) -> BoxFuture<'_, Result<Subscription, BackplaneError>> {
        Box::pin(operation("redis.subscribe", async move {
            self.servable(&user)?;
            let wanted = self.users.want(user.clone());
            tokio::select! {
                biased;
                joined = self.users.joined(&user) => joined.map(|link| wanted.confirmed(link)),
                () = self.stop.cancelled() => Err(BackplaneError::Unavailable),
            }
        }))
    }

    fn publish(
        &self,
        user: UserId,
        publication: Publication,
    ) -> BoxFuture<'_, Result<Published, BackplaneError>> {
        Box::pin(operation("redis.publish", async move {
            self.servable(&user)?;
            self.commands.publish(&user, &publication).await
        }))
    }

    fn publish_all(
        &self,
        messages: Vec<(UserId, Publication)>,
    ) -> BoxFuture<'_, Result<Vec<Published>, BackplaneError>> {
        Box::pin(operation("redis.publish", async move {
            messages.iter().try_for_each(|(user, _)| self.servable(user))?;
            self.commands.publish_all(&messages).await
        }))
    }

    fn unbroken(&self, subscription: &Subscription) -> bool {
        self.users.link_of(&subscription.user) == Some(subscription.link)
    }

    fn status(&self) -> Status {
        self.health.status()
    }

    fn subscriptions(&self) -> Subscriptions {
        self.users.subscriptions()
    }

    fn canary_age(&self) -> Option<Duration> {
        self.nodes.canary_age()
    }

    fn deaf_alone(&self) -> bool {
        self.nodes.deaf_alone()
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
