//! Arguments of `deliver`.

use std::time::Duration;

use anyhow::Context;
use http::Uri;

use crate::bench::access::{secret, secret_file};
use crate::bench::crowd::CrowdArgs;
use crate::bench::ramp::RampArgs;
use crate::config::{BackplaneConfig, ClusterPubSub, HistoryConfig, RedisReachArgs, Secret, parse_choice};

/// Largest message, in bytes: the service's default.
pub(super) const MAX_MESSAGE_BYTES: usize = 65_536;

/// Publications in one write where nothing is said, at most.
const PIPELINE: u32 = 50;

/// How messages are published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Via {
    /// A bare PUBLISH on the user's channel: no history.
    Redis,
    /// The publish script on Redis: history and publication in one step.
    Script,
    /// POST /v1/users/{id}/messages.
    Http,
    /// POST /api/batch of a Centrifugo.
    Centrifugo,
}

/// How fast messages are published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pace {
    /// So many a second.
    Rate(u32),
    /// As fast as they arrive.
    Max,
}

/// Arguments of `deliver`.
#[derive(Debug, Clone, clap::Args)]
pub struct DeliverArgs {
    #[command(flatten)]
    pub(super) crowd: CrowdArgs,
    #[command(flatten)]
    pub(super) ramp: RampArgs,
    /// How to publish
    #[arg(long, value_enum, default_value_t = Via::Redis)]
    pub(super) via: Via,
    /// Messages a second over all users, which take turns; or `max`: as many as arrive
    #[arg(long, value_name = "N", default_value = "100", value_parser = pace)]
    pub(super) publish_rate: Pace,
    /// With --publish-rate max: most deliveries that are under way. What has not arrived after 500 ms is not waited for
    #[arg(long, value_name = "N", default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(super) window: u32,
    /// With --via redis and --via centrifugo: publications in one write. A fiftieth of the rate unless given, at most 50
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pipeline: Option<u32>,
    /// Most publications that wait for their answers. Each user's are one after the other
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(super) in_flight: u32,
    /// Seconds from the last connection to the first message, for the server's idle memory
    #[arg(long, value_name = "S", default_value_t = 0, value_parser = clap::value_parser!(u64).range(0..=3_600))]
    pub(super) hold: u64,
    /// Seconds of publishing, which begins when all connections are open; SIGTERM or SIGINT ends it early
    #[arg(long, value_name = "S", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub(super) seconds: u64,
    /// Seconds to wait for stragglers afterwards, in which failed publications are tried again
    #[arg(long, value_name = "S", default_value_t = 15, value_parser = clap::value_parser!(u64).range(0..=3_600))]
    pub(super) settle: u64,
    /// Seconds from the last close to the last look at the server's memory
    #[arg(long, value_name = "S", default_value_t = 0, value_parser = clap::value_parser!(u64).range(0..=3_600))]
    pub(super) after: u64,
    /// Bytes of each message, where what it must say is shorter
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub(super) bytes: u32,
    #[command(flatten)]
    redis: RedisArgs,
    #[command(flatten)]
    reach: RedisReachArgs,
    /// With --via script on a cluster: how the service's messages travel there, sharded or classic
    #[arg(long, value_name = "HOW", default_value = "sharded", value_parser = parse_choice::<ClusterPubSub>)]
    redis_cluster_pubsub: ClusterPubSub,
    /// What stands before the user id in a channel's name
    #[arg(long, value_name = "TEXT", default_value = "ws:")]
    channel_prefix: String,
    /// With --via script: messages that a user's history keeps
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) history_size: u32,
    /// With --via script: seconds that a history is kept after its last message
    #[arg(long, value_name = "S", default_value_t = 3_600, value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) history_ttl: u32,
    /// With --via http and --via centrifugo: http://HOST:PORT
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
    /// With --via http and --via centrifugo: the API key. Other users may see flags: the file is better
    #[arg(long, value_name = "KEY", value_parser = secret)]
    api_key: Option<Secret>,
    /// File with the API key
    #[arg(long, value_name = "FILE", value_parser = secret_file)]
    api_key_file: Option<Secret>,
}

impl DeliverArgs {
    /// Publications in one write; none where each has a request of its own.
    pub(super) fn burst(&self) -> Option<u32> {
        let asked = match (self.pipeline, self.publish_rate) {
            (Some(pipeline), _) => pipeline,
            (None, Pace::Rate(rate)) => (rate / PIPELINE).clamp(1, PIPELINE),
            // One burst to many connections must fit into the window.
            (None, Pace::Max) => (self.window / self.crowd.fan_out()).clamp(1, PIPELINE),
        };
        match self.via {
            Via::Redis => Some(asked).filter(|burst| *burst > 1),
            Via::Centrifugo => Some(asked),
            Via::Script | Via::Http => None,
        }
    }

    /// The history that the script writes.
    pub(super) fn history(&self) -> HistoryConfig {
        HistoryConfig { size: self.history_size as usize, ttl: Duration::from_secs(self.history_ttl.into()) }
    }

    /// Where to publish through Redis.
    ///
    /// # Errors
    /// When no flag says where.
    pub(super) fn redis(&self) -> anyhow::Result<BackplaneConfig> {
        let url = self.redis.redis_url.as_ref().or(self.redis.redis_url_file.as_ref());
        let url = url.context("--via redis and --via script need --redis-url or --redis-url-file")?;
        let mut reach = self.reach.reach().map_err(anyhow::Error::msg)?;
        if let Some(cluster) = &mut reach.cluster {
            cluster.pubsub = self.redis_cluster_pubsub;
        }
        Ok(BackplaneConfig {
            redis_url: Some(url.clone()),
            reach,
            channel_prefix: self.channel_prefix.clone(),
        })
    }

    /// Where to publish over HTTP, and the key.
    ///
    /// # Errors
    /// When a flag is missing.
    pub(super) fn http(&self) -> anyhow::Result<(&Uri, &Secret)> {
        let url = self.publish_url.as_ref().context("--via http and --via centrifugo need --publish-url")?;
        let key = self.key.api_key.as_ref().or(self.key.api_key_file.as_ref());
        Ok((url, key.context("--via http and --via centrifugo need --api-key or --api-key-file")?))
    }
}

fn pace(text: &str) -> Result<Pace, String> {
    match text.parse() {
        _ if text == "max" => Ok(Pace::Max),
        Ok(rate @ 1..=1_000_000) => Ok(Pace::Rate(rate)),
        _ => Err("expected 1 to 1000000, or max".to_owned()),
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
    fn a_pace_is_a_number_or_max() {
        assert_eq!((pace("max"), pace("2000")), (Ok(Pace::Max), Ok(Pace::Rate(2_000))));
        assert!(["0", "", "MAX", "1000001", "-1"].iter().all(|text| pace(text).is_err()));
    }

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
