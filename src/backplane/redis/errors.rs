//! Why there is no connection, and what a server's errors mean for one that there is.

use std::io;
use std::time::Duration;

use ::redis::{ErrorKind, RedisError, ServerErrorKind};

use super::cluster::ClusterError;
use super::sentinel::SentinelError;
use super::tls::TlsError;
use crate::config::{HostPort, SecretError};

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
    #[error(transparent)]
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
    /// The certificates cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The sentinels name no master.
    #[error(transparent)]
    Sentinel(#[from] SentinelError),
    /// Nothing is known of the cluster.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// They do, and it is none (yet, or any more).
    #[error("{0}, which the sentinels name as master, is a replica")]
    Replica(HostPort),
    /// It has been replaced while it was connected to.
    #[error("the sentinels do not name {0} as master any more")]
    Moved(HostPort),
    /// There was no connection to the one that they name.
    #[error("{at}, which the sentinels name as master: {reason}")]
    Master {
        /// Where it is.
        at: HostPort,
        /// Why.
        reason: String,
    },
    /// Refused by the network or by TLS.
    #[error(transparent)]
    Network(#[from] io::Error),
    /// Refused by the server.
    #[error("{0}")]
    Redis(RedisError),
}

impl ConnectError {
    /// Only the sentinels know who was tried: it is in no setting.
    pub(super) fn of_master(self, at: &HostPort) -> Self {
        match self {
            Self::Network(_) | Self::Redis(_) => Self::Master { at: at.clone(), reason: self.to_string() },
            other => other,
        }
    }
}

/// Whether the connection failed, as opposed to a server that answered with an error.
pub(super) fn is_io(error: &RedisError) -> bool {
    matches!(error.kind(), ErrorKind::Io | ErrorKind::Parse)
}

/// Whether the server did nothing, and will when it is asked a little later: it loads its data, has lost its master, runs
/// somebody's long script, its
/// replicas are away, or its cluster is being mended.
pub(super) fn is_passing(error: &RedisError) -> bool {
    use ServerErrorKind::{BusyLoading, ClusterDown, MasterDown, TryAgain};
    matches!(error.kind(), ErrorKind::Server(BusyLoading | ClusterDown | MasterDown | TryAgain))
        || matches!(error.code(), Some("BUSY" | "NOREPLICAS"))
}

/// Whether a cluster's server did nothing because it has not got the slot, or does not know who has.
pub(super) fn is_elsewhere(error: &RedisError) -> bool {
    use ServerErrorKind::{Ask, ClusterDown, Moved, TryAgain};
    matches!(error.kind(), ErrorKind::Server(Moved | Ask | ClusterDown | TryAgain))
}

/// Whether the server is a replica that takes no writes: a master that has been replaced. Redis 6 has it in a script's own
/// words.
pub(super) fn is_read_only(error: &RedisError) -> bool {
    error.kind() == ErrorKind::Server(ServerErrorKind::ReadOnly)
        || error.detail().is_some_and(|detail| detail.contains("-READONLY"))
}
