//! Making one connection to Redis.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use ::redis::aio::{AsyncPushSender, MultiplexedConnection, SendError};
use ::redis::{
    AsyncConnectionConfig, ConnectionAddr, ConnectionInfo, ErrorKind, IntoConnectionInfo, ProtocolVersion,
    RedisError, Value,
};
use secrecy::{ExposeSecret, SecretString};
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use super::cluster::Cluster;
use super::dial::dial;
use super::errors::{ConnectError, StartError, UrlError, is_io};
use super::route::Route;
use super::sentinel::{Manner, Sentinels};
use super::tap::{Said, Tap};
use super::tuning::Tuning;
use crate::config::{BackplaneConfig, HostPort, RedisReach, RedisTlsConfig, Secret};

/// The task that reads and writes for a connection; ends with this.
pub(super) type Driver = AbortOnDropHandle<()>;

/// A connection, and where it leads.
pub(super) struct Connected {
    pub(super) connection: MultiplexedConnection,
    /// The connection lives as long as this.
    pub(super) driver: Driver,
    pub(super) route: Route,
}

/// Makes connections, each from the URL and to the master as they are then: a rotated password needs no restart.
#[derive(Debug, Clone)]
pub struct Connector {
    url: Secret,
    tls: RedisTlsConfig,
    lead: Lead,
    name: String,
    bound: Duration,
}

/// What says where the server is.
#[derive(Debug, Clone)]
enum Lead {
    /// The URL.
    Url,
    /// Sentinels.
    Sentinels(Arc<Sentinels>),
    /// A cluster's nodes.
    Cluster(Arc<Cluster>),
    /// Whoever made the connector.
    Node(HostPort),
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
        Ok(Self::to(url, &config.reach, name, tuning.connect))
    }

    /// Where the URL is looked at only when it is connected to: a bad one is then each attempt's error.
    #[must_use]
    pub fn to(url: Secret, reach: &RedisReach, name: &str, bound: Duration) -> Self {
        let lead = match (&reach.sentinel, &reach.cluster) {
            (Some(sentinel), _) => Lead::Sentinels(Arc::new(Sentinels::new(sentinel.clone()))),
            (None, Some(cluster)) => Lead::Cluster(Arc::new(Cluster::new(cluster.nodes.clone()))),
            (None, None) => Lead::Url,
        };
        Self { url, tls: reach.tls.clone(), lead, name: client_name(name), bound }
    }

    /// The cluster that it leads to, if it is one.
    pub(super) fn cluster(&self) -> Option<Arc<Cluster>> {
        match &self.lead {
            Lead::Cluster(cluster) => Some(Arc::clone(cluster)),
            _ => None,
        }
    }

    /// Whether certificates are checked, so that names are better than addresses.
    pub(super) fn is_by_name(&self) -> bool {
        self.url.read().is_ok_and(|url| url.expose_secret().starts_with("rediss://"))
    }

    /// To this node of the cluster.
    pub(super) fn at(&self, node: &HostPort) -> Self {
        Self { lead: Lead::Node(node.clone()), ..self.clone() }
    }

    /// The same under another name. Both follow the same master: when one learns of another, both leave.
    pub(super) fn named(&self, name: &str) -> Self {
        Self { name: client_name(name), ..self.clone() }
    }

    /// Host and port as configured now, without credentials.
    pub(super) fn address(&self) -> String {
        match &self.lead {
            Lead::Sentinels(_) => return "as the sentinels say".to_owned(),
            Lead::Cluster(_) => return "as the cluster says".to_owned(),
            Lead::Node(node) => return node.to_string(),
            Lead::Url => {}
        }
        let info = self.url.read().ok().and_then(|url| parse(&url).ok());
        info.map_or_else(|| "unknown".to_owned(), |info| info.addr().to_string())
    }

    /// Connects, logs in and gives the connection its name. Messages go to `take`, and ends of sharded subscriptions, which
    /// it may keep to itself; all other pushes go to `pushes`.
    pub(super) async fn connect(
        &self,
        take: impl FnMut(Said<'_>) -> bool + Send + Unpin + 'static,
        pushes: impl AsyncPushSender,
    ) -> Result<Connected, ConnectError> {
        match timeout(self.bound, self.try_connect(take, pushes)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(ConnectError::Timeout(self.bound)),
        }
    }

    /// Connects for commands alone: what the server pushes is dropped. The connection breaks when the master moves.
    ///
    /// # Errors
    /// [`ConnectError`]; after `Tuning::connect` at the latest.
    pub(super) async fn connect_for_commands(&self) -> Result<MultiplexedConnection, ConnectError> {
        let Connected { connection, driver, route } =
            self.connect(|_| false, |_| Ok::<(), SendError>(())).await?;
        tokio::spawn(async move {
            tokio::select! {
                // It ends by itself when nobody has the connection any more.
                _ = driver => {}
                master = route.left() => tracing::info!(%master, "the sentinels name another master"),
            }
        });
        Ok(connection)
    }

    async fn try_connect(
        &self,
        take: impl FnMut(Said<'_>) -> bool + Send + Unpin + 'static,
        pushes: impl AsyncPushSender,
    ) -> Result<Connected, ConnectError> {
        let info = parse(&self.url.read()?)?;
        let secured = matches!(info.addr(), ConnectionAddr::TcpTls { .. });
        let manner = Manner { tls: secured.then(|| self.tls.clone()) };
        let sentinels = match &self.lead {
            Lead::Sentinels(sentinels) => sentinels,
            Lead::Node(node) => return self.direct(&info, &manner.address(node), take, pushes).await,
            // Whoever has a cluster connects to its nodes; the URL's host would be any.
            Lead::Url | Lead::Cluster(_) => return self.direct(&info, info.addr(), take, pushes).await,
        };
        let master = sentinels.find(&manner).await?;
        let (address, at) = (manner.address(&master.at), master.at.clone());
        let opened = async {
            let (mut connection, driver) = self.open(&info, &address, take, pushes).await?;
            is_master(&mut connection)
                .await?
                .then_some((connection, driver))
                .ok_or(ConnectError::Replica(at.clone()))
        };
        let (connection, driver) = tokio::select! {
            biased;
            // Its node may be gone, and an attempt to connect lasts.
            _ = sentinels.moved(&master.at, &manner) => return Err(ConnectError::Moved(master.at)),
            opened = opened => opened.map_err(|error| error.of_master(&at))?,
        };
        Ok(Connected { connection, driver, route: Route::followed(Arc::clone(sentinels), master.at, manner) })
    }

    async fn direct(
        &self,
        info: &ConnectionInfo,
        address: &ConnectionAddr,
        take: impl FnMut(Said<'_>) -> bool + Send + Unpin + 'static,
        pushes: impl AsyncPushSender,
    ) -> Result<Connected, ConnectError> {
        let (connection, driver) = self.open(info, address, take, pushes).await?;
        Ok(Connected { connection, driver, route: Route::fixed(address) })
    }

    async fn open(
        &self,
        info: &ConnectionInfo,
        address: &ConnectionAddr,
        take: impl FnMut(Said<'_>) -> bool + Send + Unpin + 'static,
        pushes: impl AsyncPushSender,
    ) -> Result<(MultiplexedConnection, Driver), ConnectError> {
        let login = info
            .redis_settings()
            .clone()
            .set_protocol(ProtocolVersion::RESP3)
            .set_lib_name("websocket-service", env!("CARGO_PKG_VERSION"));
        let stream = Tap::new(dial(address, &self.tls).await?, take);
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

/// A master that came back after a failover says it is one until the sentinels have told it otherwise; one that they have
/// told is a replica. HELLO tells as ROLE does, and needs no right that the login did not need.
async fn is_master(connection: &mut MultiplexedConnection) -> Result<bool, ConnectError> {
    let hello = ::redis::cmd("HELLO").query_async::<HashMap<String, Value>>(connection).await;
    let hello = hello.map_err(ConnectError::Redis)?;
    Ok(hello.get("role").is_none_or(|role| *role == Value::BulkString(b"master".to_vec())))
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
