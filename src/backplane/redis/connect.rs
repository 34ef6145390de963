//! Making one connection to Redis.

use std::io;
use std::time::Duration;

use ::redis::aio::{AsyncPushSender, MultiplexedConnection, SendError};
use ::redis::{
    AsyncConnectionConfig, ConnectionInfo, ErrorKind, IntoConnectionInfo, ProtocolVersion, RedisError,
    ServerErrorKind,
};
use secrecy::{ExposeSecret, SecretString};
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use super::dial::dial;
use super::tap::Tap;
use super::tuning::Tuning;
use crate::config::{BackplaneConfig, Secret, SecretError};

/// Why a backplane on Redis cannot be started. Everything else heals by itself.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No `REDIS_URL` is configured.
    #[error("REDIS_URL is not set")]
    NoUrl,
    /// The URL is none that can be connected to.
    #[error(transparent)]
    Url(#[from] UrlError),
}

/// `REDIS_URL` does not parse. Fixed words: the parser's own errors quote parts of the URL.
#[derive(Debug, thiserror::Error)]
#[error(
    "REDIS_URL cannot be used: expected redis://, rediss:// or unix://, a host, and a number as database"
)]
pub struct UrlError;

/// Why there is no connection. Safe to log: the texts hold neither URL nor password.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The mounted file with the URL cannot be read.
    #[error("{0}")]
    Secret(#[from] SecretError),
    /// What the mounted file holds by now is no URL.
    #[error(transparent)]
    Url(#[from] UrlError),
    /// Not within the bound.
    #[error("no connection within {0:?}")]
    Timeout(Duration),
    /// The server has no RESP3.
    #[error("the server does not speak RESP3; Redis 6.0 is the oldest that does")]
    NoResp3,
    /// Refused by the network or by TLS.
    #[error("{0}")]
    Network(#[from] io::Error),
    /// Refused by the server.
    #[error("{0}")]
    Redis(RedisError),
}

/// The task that reads and writes for a connection; ends with this.
pub(super) type Driver = AbortOnDropHandle<()>;

/// Makes connections, each from the URL as it is then: a rotated password needs no restart.
#[derive(Debug, Clone)]
pub struct Connector {
    url: Secret,
    name: String,
    bound: Duration,
}

impl Connector {
    /// Checks the URL, where it can be read already. `name` is what `CLIENT LIST` shows.
    ///
    /// # Errors
    /// [`StartError`] when there is no URL, or one that does not parse.
    pub fn new(config: &BackplaneConfig, name: &str, tuning: &Tuning) -> Result<Self, StartError> {
        let url = config.redis_url.clone().ok_or(StartError::NoUrl)?;
        if let Ok(text) = url.read() {
            parse(&text)?;
        }
        Ok(Self::to(url, name, tuning.connect))
    }

    /// Where the URL is looked at only when it is connected to: a bad one is then each attempt's error.
    #[must_use]
    pub fn to(url: Secret, name: &str, bound: Duration) -> Self {
        Self { url, name: client_name(name), bound }
    }

    /// Host and port as configured now, without credentials.
    pub(super) fn address(&self) -> String {
        let info = self.url.read().ok().and_then(|url| parse(&url).ok());
        info.map_or_else(|| "unknown".to_owned(), |info| info.addr().to_string())
    }

    /// Connects, logs in and gives the connection its name. Messages go to `take`, as channel and payload, all other
    /// pushes to `pushes`. The connection lives as long as the driver's task.
    pub(super) async fn connect(
        &self,
        take: impl FnMut(&[u8], &[u8]) + Send + Unpin + 'static,
        pushes: impl AsyncPushSender,
    ) -> Result<(MultiplexedConnection, Driver), ConnectError> {
        match timeout(self.bound, self.try_connect(take, pushes)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(ConnectError::Timeout(self.bound)),
        }
    }

    /// Connects for commands alone: what the server pushes is dropped.
    ///
    /// # Errors
    /// [`ConnectError`]; after `Tuning::connect` at the latest.
    pub async fn connect_for_commands(&self) -> Result<MultiplexedConnection, ConnectError> {
        let (connection, driver) = self.connect(|_, _| {}, |_| Ok::<(), SendError>(())).await?;
        // Ends by itself when nobody has the connection any more.
        driver.detach();
        Ok(connection)
    }

    async fn try_connect(
        &self,
        take: impl FnMut(&[u8], &[u8]) + Send + Unpin + 'static,
        pushes: impl AsyncPushSender,
    ) -> Result<(MultiplexedConnection, Driver), ConnectError> {
        let info = parse(&self.url.read()?)?;
        let login = info
            .redis_settings()
            .clone()
            .set_protocol(ProtocolVersion::RESP3)
            .set_lib_name("websocket-service", env!("CARGO_PKG_VERSION"));
        let stream = Tap::new(dial(info.addr()).await?, take);
        // Every wait has its own bound here, so the crate's 500 ms for an answer are switched off.
        let config = AsyncConnectionConfig::new().set_response_timeout(None).set_push_sender(pushes);
        let (mut connection, driver) =
            MultiplexedConnection::new_with_config(&login, stream, config).await.map_err(classify)?;
        let driver = Driver::new(tokio::spawn(driver));
        let named = ::redis::cmd("CLIENT").arg("SETNAME").arg(&self.name).exec_async(&mut connection).await;
        match named {
            // The name is for whoever reads CLIENT LIST; an ACL without CLIENT is no reason to stay deaf.
            Err(error) if is_io(&error) => return Err(ConnectError::Redis(error)),
            Err(error) => tracing::debug!(%error, "CLIENT SETNAME was refused"),
            Ok(()) => {}
        }
        Ok((connection, driver))
    }
}

/// Whether the connection failed, as opposed to a server that answered with an error.
pub(super) fn is_io(error: &RedisError) -> bool {
    matches!(error.kind(), ErrorKind::Io | ErrorKind::Parse)
}

/// Whether the server did nothing, and will when it is asked a little later: it loads its data, has lost its master, runs
/// somebody's long script, or its cluster is being mended.
pub(super) fn is_passing(error: &RedisError) -> bool {
    use ServerErrorKind::{BusyLoading, ClusterDown, MasterDown, TryAgain};
    matches!(error.kind(), ErrorKind::Server(BusyLoading | ClusterDown | MasterDown | TryAgain))
        || error.code() == Some("BUSY")
}

fn parse(url: &SecretString) -> Result<ConnectionInfo, UrlError> {
    url.expose_secret().into_connection_info().map_err(|_| UrlError)
}

fn classify(error: RedisError) -> ConnectError {
    let unknown = error.detail().is_some_and(|detail| detail.starts_with("unknown command"));
    if error.kind() == ErrorKind::RESP3NotSupported || error.code() == Some("NOPROTO") || unknown {
        ConnectError::NoResp3
    } else {
        ConnectError::Redis(error)
    }
}

/// Redis takes printable ASCII without spaces only.
fn client_name(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_graphic() { c } else { '-' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connector(url: &str) -> Result<Connector, StartError> {
        let config = BackplaneConfig { redis_url: Some(Secret::inline(url)), ..BackplaneConfig::default() };
        Connector::new(&config, "pod 1\n", &Tuning::default())
    }

    #[test]
    fn takes_the_usual_urls() {
        for url in [
            "redis://localhost",
            "rediss://user:p%40ss@redis.example:6380/2",
            "redis://:only-password@[::1]:6379",
            "redis://host/?protocol=resp2",
            "unix:///run/redis.sock",
        ] {
            assert!(connector(url).is_ok(), "{url}");
        }
        assert_eq!(connector("redis://localhost").expect("valid").name, "pod-1-");
    }

    #[test]
    fn refuses_others_without_quoting_them() {
        for url in ["", "http://:s3cret@host", "redis://:s3cret@host/s3cret", "redis://h?protocol=s3cret"] {
            let error = connector(url).expect_err(url).to_string();
            assert!(error.starts_with("REDIS_URL cannot be used"), "{error}");
            assert!(!error.contains("s3cret"), "{error}");
        }
        let none = Connector::new(&BackplaneConfig::default(), "pod", &Tuning::default());
        assert!(matches!(none, Err(StartError::NoUrl)));
    }
}
