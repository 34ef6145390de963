use std::time::Duration;

use crate::protocol::CloseCode;

/// How the pod goes, on SIGTERM or `POST /drain`.
#[derive(Debug, Clone)]
pub struct DrainConfig {
    /// How long upgrades are still accepted, for endpoints take time to spread (`DRAIN_LAME_DUCK_SECONDS`).
    pub lame_duck: Duration,
    /// Over how long the connections are closed (`DRAIN_SPREAD_SECONDS`).
    pub spread: Duration,
    /// How long closed peers have to answer before they are cut (`DRAIN_LINGER_SECONDS`).
    pub linger: Duration,
    /// 1012, or 1001 (`DRAIN_CLOSE_CODE`).
    pub close_code: CloseCode,
}

impl Default for DrainConfig {
    fn default() -> Self {
        Self {
            lame_duck: Duration::from_secs(10),
            spread: Duration::from_secs(60),
            linger: Duration::from_secs(10),
            close_code: CloseCode::Restart,
        }
    }
}
