//! Arguments of `deliver`.

use std::time::Duration;

use anyhow::Context;
use http::Uri;

use crate::bench::access::{AccessArgs, secret, secret_file};
use crate::config::{BackplaneConfig, HistoryConfig, Secret};
use crate::protocol::{IdError, UserId};

/// Largest message, in bytes: the service's default.
pub(super) const MAX_MESSAGE_BYTES: usize = 65_536;

/// How clients connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Mode {
    /// Without a subprotocol: each text is a message, and what is missed is lost.
    Plain,
    /// With websocket-service.v1: ids, resumption, gaps.
    V1,
}

/// How messages are published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Via {
    /// A bare PUBLISH on the user's channel: no history.
    Redis,
    /// The publish script on Redis: history and publication in one step.
    Script,
    /// POST /v1/users/{id}/messages.
    Http,
}

/// Arguments of `deliver`.
#[derive(Debug, Clone, clap::Args)]
pub struct DeliverArgs {
    #[command(flatten)]
    pub(super) access: AccessArgs,
    /// Number of users: PREFIX0, PREFIX1 and so on
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(super) users: u32,
    /// Connections of each user
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(super) connections_per_user: u32,
    /// What stands before the number in a user id
    #[arg(long, value_name = "PREFIX", default_value = "u")]
    pub(super) user_prefix: String,
    /// New connections a second at the start; reconnects are not held back
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(super) rate: u32,
    /// How to connect
    #[arg(long, value_enum, default_value_t = Mode::Plain)]
    pub(super) mode: Mode,
    /// How to publish
    #[arg(long, value_enum, default_value_t = Via::Redis)]
    pub(super) via: Via,
    /// Messages a second over all users, which take turns
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(super) publish_rate: u32,
    /// Most publications that wait for their answers. Each user's are one after the other
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(super) in_flight: u32,
    /// Seconds of publishing, which begins when all connections are open; SIGTERM or SIGINT ends it early
    #[arg(long, value_name = "S", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub(super) seconds: u64,
    /// Seconds to wait for stragglers afterwards, in which failed publications are tried again
    #[arg(long, value_name = "S", default_value_t = 15, value_parser = clap::value_parser!(u64).range(0..=3_600))]
    pub(super) settle: u64,
    /// Bytes of each message, where what it must say is shorter
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub(super) bytes: u32,
    /// Seconds without a frame, a ping included, after which a connection counts as lost
    #[arg(long, value_name = "S", default_value_t = 75, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub(super) silence: u64,
    #[command(flatten)]
    redis: RedisArgs,
    /// What stands before the user id in a channel's name
    #[arg(long, value_name = "TEXT", default_value = "ws:")]
    channel_prefix: String,
    /// With --via script: messages that a user's history keeps
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) history_size: u32,
    /// With --via script: seconds that a history is kept after its last message
    #[arg(long, value_name = "S", default_value_t = 3_600, value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) history_ttl: u32,
    /// With --via http: http://HOST:PORT
    #[arg(long, value_name = "URL", value_parser = publish_url)]
    publish_url: Option<Uri>,
    #[command(flatten)]
    key: ApiKeyArgs,
}

#[derive(Debug, Clone, clap::Args)]
#[group(required = false, multiple = false)]
struct RedisArgs {
    /// With --via redis and --via script: redis:// or rediss://. Other users may see flags: the file is better
    #[arg(long, value_name = "URL", value_parser = secret)]
    redis_url: Option<Secret>,
    /// File with the URL
    #[arg(long, value_name = "FILE", value_parser = secret_file)]
    redis_url_file: Option<Secret>,
}

#[derive(Debug, Clone, clap::Args)]
#[group(required = false, multiple = false)]
struct ApiKeyArgs {
    /// With --via http: the API key. Other users may see flags: the file is better
    #[arg(long, value_name = "KEY", value_parser = secret)]
    api_key: Option<Secret>,
    /// File with the API key
    #[arg(long, value_name = "FILE", value_parser = secret_file)]
    api_key_file: Option<Secret>,
}

impl DeliverArgs {
    /// Every user.
    ///
    /// # Errors
    /// When the prefix makes ids too long.
    pub(super) fn all_users(&self) -> Result<Vec<UserId>, IdError> {
        (0..self.users).map(|user| UserId::new(&format!("{}{user}", self.user_prefix))).collect()
    }

    /// Every connection's user, by number, so that the users come one after the other, and then their further connections.
    pub(super) fn connections(&self) -> Vec<u32> {
        (0..self.connections_per_user).flat_map(|_| 0..self.users).collect()
    }

    /// The history that the script writes.
    pub(super) fn history(&self) -> HistoryConfig {
        HistoryConfig { size: self.history_size as usize, ttl: Duration::from_secs(self.history_ttl.into()) }
    }

    /// Bound of the whole start.
    pub(super) fn connect_bound(&self, connections: usize) -> Duration {
        let at_rate = u64::try_from(connections).unwrap_or(u64::MAX) / u64::from(self.rate);
        Duration::from_secs(at_rate.saturating_add(30))
    }

    /// Where to publish through Redis.
    ///
    /// # Errors
    /// When no flag says where.
    pub(super) fn redis(&self) -> anyhow::Result<BackplaneConfig> {
        let url = self.redis.redis_url.as_ref().or(self.redis.redis_url_file.as_ref());
        let url = url.context("--via redis and --via script need --redis-url or --redis-url-file")?;
        Ok(BackplaneConfig { redis_url: Some(url.clone()), channel_prefix: self.channel_prefix.clone() })
    }

    /// Where to publish over HTTP, and the key.
    ///
    /// # Errors
    /// When a flag is missing.
    pub(super) fn http(&self) -> anyhow::Result<(&Uri, &Secret)> {
        let url = self.publish_url.as_ref().context("--via http needs --publish-url")?;
        let key = self.key.api_key.as_ref().or(self.key.api_key_file.as_ref());
        Ok((url, key.context("--via http needs --api-key or --api-key-file")?))
    }
}

fn publish_url(text: &str) -> Result<Uri, String> {
    let uri: Uri = text.parse().map_err(|error| format!("not a URL: {error}"))?;
    let fits = uri.scheme_str() == Some("http") && uri.host().is_some_and(|host| !host.is_empty());
    match fits && uri.path() == "/" && uri.query().is_none() {
        true => Ok(uri),
        false => Err("expected http://HOST:PORT".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_publish_url_is_an_origin() {
        for good in ["http://localhost:8004", "http://h/", "http://[::1]:80"] {
            assert!(publish_url(good).is_ok(), "{good}");
        }
        for bad in ["https://h", "ws://h", "h:80", "http://h/v1", "http://h?x", ""] {
            assert!(publish_url(bad).is_err(), "{bad}");
        }
    }
}
