//! Keeps one connection to Redis: makes it, watches it, makes it anew, for ever.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use ::redis::aio::{MultiplexedConnection, SendError};
use ::redis::{PushInfo, PushKind, RedisError, cmd};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::connect::{Connected, Connector};
use super::errors::{ConnectError, is_io};
use super::route::Route;
use super::tap::Said;
use super::tuning::Tuning;
use crate::backoff::Backoff;
use crate::config::HostPort;

/// What a connection is for.
pub(super) trait Role: Send + Sync + 'static {
    /// The word for it in logs.
    const NAME: &'static str;

    /// A message came, on the connection's own task: must not block.
    fn message(&self, channel: &[u8], payload: &[u8]);

    /// A sharded channel is not subscribed any more; whether that is not to be taken as an answer.
    fn left(&self, _channel: &[u8]) -> bool {
        false
    }

    /// Uses a fresh connection until it fails, and says so through `up` once it serves its purpose.
    fn serve(&self, connection: MultiplexedConnection, up: &Up<'_>) -> impl Future<Output = Failure> + Send;

    /// Resolves when the connection is to be given up although nothing is wrong with it to see.
    fn condemned(&self) -> impl Future<Output = Failure> + Send {
        std::future::pending()
    }

    /// The connection is gone. Also called when none could be made.
    fn lost(&self);
}

/// Why a connection is given up.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("cannot connect: {0}")]
    Connect(#[from] ConnectError),
    #[error("the connection was closed")]
    Closed,
    #[error("the connection is open and dead: no answer to a PING within {0:?}")]
    Silent(Duration),
    #[error("the connection is open and deaf: what this pod publishes to itself does not come back")]
    Deaf,
    #[error("the sentinels name another master: {0}")]
    Moved(HostPort),
    #[error("the server has not got a slot that was left")]
    Elsewhere,
    #[error("the server takes no writes: it is a replica, or has become one")]
    ReadOnly,
    #[error("{what} was not confirmed within {bound:?}")]
    Unconfirmed { what: &'static str, bound: Duration },
    #[error("{what} failed: {error}")]
    Command { what: &'static str, error: RedisError },
}

/// Keeps a connection for `role` until `stop`.
pub(super) async fn supervise<R: Role>(
    role: Arc<R>,
    connector: Connector,
    tuning: Tuning,
    stop: CancellationToken,
) {
    let mut backoff = Backoff::new(tuning.backoff_base, tuning.backoff_cap);
    let mut report = Report::default();
    loop {
        let pulse = Arc::new(Pulse::default());
        let up = Up {
            role: R::NAME,
            address: connector.address(),
            attempt: backoff.attempt() + 1,
            route: OnceLock::new(),
            since: OnceLock::new(),
        };
        let failure = tokio::select! {
            biased;
            () = stop.cancelled() => None,
            failure = live(&role, &connector, &tuning, &pulse, &up) => Some(failure),
        };
        // From here on the old connection's task delivers nothing more, should it still have something.
        pulse.end();
        // Stopping is no outage: nothing is lost that anybody waits for, and nobody needs to hear of it.
        let Some(failure) = failure else { return };
        role.lost();

        let lived = up.since.get().map_or(Duration::ZERO, Instant::elapsed);
        report.failed(&failure, &up);
        // A link that comes up and breaks at once, again and again, is not worth a fresh start.
        if lived >= tuning.backoff_cap {
            backoff.reset();
        }
        let delay = backoff.next_delay();
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = sleep(delay) => {}
        }
    }
}

/// One connection's life.
async fn live<R: Role>(
    role: &Arc<R>,
    connector: &Connector,
    tuning: &Tuning,
    pulse: &Arc<Pulse>,
    up: &Up<'_>,
) -> Failure {
    let (listener, alive) = (Arc::clone(role), Arc::clone(pulse));
    let take = move |said: Said<'_>| {
        alive.beat();
        match said {
            Said::Message { channel, payload } => {
                if !alive.ended() {
                    listener.message(channel, payload);
                }
                true
            }
            Said::Left { channel } => listener.left(channel),
        }
    };
    let alive = Arc::clone(pulse);
    let pushes = move |push: PushInfo| {
        alive.beat();
        if push.kind == PushKind::Disconnection {
            alive.disconnected.notify_one();
        }
        Ok::<(), SendError>(())
    };
    let Connected { connection, driver: _driver, route } = match connector.connect(take, pushes).await {
        Ok(connected) => connected,
        Err(error) => return error.into(),
    };
    let route = up.route.get_or_init(|| route);
    tokio::select! {
        biased;
        () = pulse.disconnected.notified() => Failure::Closed,
        master = route.left() => Failure::Moved(master),
        failure = watch(connection.clone(), tuning, pulse) => failure,
        failure = role.condemned() => failure,
        failure = role.serve(connection.clone(), up) => failure,
    }
}

/// Finds a link that is open and dead. Whatever the server says counts as an answer: a link that is busy delivering is
/// alive, although its PONG queues behind the messages.
async fn watch(mut connection: MultiplexedConnection, tuning: &Tuning, pulse: &Pulse) -> Failure {
    loop {
        sleep(tuning.ping_every).await;
        pulse.listen();
        match timeout(tuning.ping_answer, cmd("PING").exec_async(&mut connection)).await {
            Ok(Err(error)) if is_io(&error) => return Failure::Command { what: "PING", error },
            Err(_) if !pulse.beaten() => return Failure::Silent(tuning.ping_answer),
            _ => {}
        }
    }
}

/// Signs of life of one connection.
#[derive(Debug, Default)]
struct Pulse {
    heard: AtomicBool,
    ended: AtomicBool,
    disconnected: Notify,
}

impl Pulse {
    fn beat(&self) {
        self.heard.store(true, Ordering::Relaxed);
    }

    fn listen(&self) {
        self.heard.store(false, Ordering::Relaxed);
    }

    fn beaten(&self) -> bool {
        self.heard.load(Ordering::Relaxed)
    }

    fn end(&self) {
        self.ended.store(true, Ordering::Release);
    }

    fn ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }
}

/// One attempt. A role tells it that its connection serves its purpose.
#[derive(Debug)]
pub(super) struct Up<'a> {
    role: &'a str,
    /// As configured.
    address: String,
    attempt: u32,
    /// Once it is connected.
    route: OnceLock<Route>,
    since: OnceLock<Instant>,
}

impl Up<'_> {
    /// Where the connection leads; none before it is made.
    pub(super) fn route(&self) -> Option<&Route> {
        self.route.get()
    }

    /// Host and port, without credentials.
    fn address(&self) -> String {
        self.route().map_or_else(|| self.address.clone(), ToString::to_string)
    }

    /// Logs it, with the number of users subscribed where that means something.
    pub(super) fn reached(&self, users: Option<usize>) {
        if self.since.set(Instant::now()).is_ok() {
            let (Self { role: link, attempt, .. }, address) = (self, self.address());
            tracing::info!(link, address, attempt, users, "the link to Redis is up");
        }
    }
}

/// One log line for each change: an outage of an hour is not a thousand lines.
#[derive(Debug, Default)]
struct Report {
    last: Option<String>,
}

impl Report {
    fn failed(&mut self, failure: &Failure, up: &Up<'_>) {
        let error = failure.to_string();
        let (Up { role: link, attempt, since, .. }, address) = (up, up.address());
        if since.get().is_none() && self.last.as_ref() == Some(&error) {
            tracing::debug!(link, address, attempt, error, "still no link to Redis");
            return;
        }
        if matches!(failure, Failure::Connect(ConnectError::NoResp3)) {
            tracing::error!(link, address, attempt, error, "no link to Redis; trying again");
        } else {
            tracing::warn!(link, address, attempt, error, "no link to Redis; trying again");
        }
        self.last = Some(error);
    }
}
