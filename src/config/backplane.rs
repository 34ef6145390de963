use super::reach::RedisReach;
use super::values::Values;
use super::{Secret, parse, table};

/// How messages reach this pod.
#[derive(Debug, Clone)]
pub struct BackplaneConfig {
    /// `REDIS_URL` (`redis://`, `rediss://`); unset is the in-process backplane, for one pod.
    pub redis_url: Option<Secret>,
    /// How Redis is reached beyond that.
    pub reach: RedisReach,
    /// What stands before the user id in a channel's name (`WEBSOCKET_CHANNEL_PREFIX`).
    pub channel_prefix: String,
}

impl Default for BackplaneConfig {
    fn default() -> Self {
        Self { redis_url: None, reach: RedisReach::default(), channel_prefix: "ws:".to_owned() }
    }
}

/// How back ends publish over HTTP.
#[derive(Debug, Clone, Default)]
pub struct PublishConfig {
    /// `API_KEY`; without it the publish API is 404.
    pub api_key: Option<Secret>,
}

impl BackplaneConfig {
    pub(super) fn read(values: &mut Values) -> Self {
        Self {
            redis_url: values.secret(&table::REDIS_URL, parse::redis_url),
            reach: RedisReach::read(values),
            channel_prefix: values
                .text(&table::WEBSOCKET_CHANNEL_PREFIX)
                .unwrap_or_else(|| Self::default().channel_prefix),
        }
    }
}

impl PublishConfig {
    pub(super) fn read(values: &mut Values) -> Self {
        Self { api_key: values.secret(&table::API_KEY, |_| Ok(())) }
    }
}
