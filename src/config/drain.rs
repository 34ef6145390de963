use std::time::Duration;

use super::choice::DrainClose;
use super::table;
use super::values::Values;
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

impl DrainConfig {
    pub(super) fn read(values: &mut Values) -> Self {
        let default = Self::default();
        Self {
            lame_duck: values.seconds(&table::DRAIN_LAME_DUCK_SECONDS).unwrap_or(default.lame_duck),
            spread: values.seconds(&table::DRAIN_SPREAD_SECONDS).unwrap_or(default.spread),
            linger: values.seconds(&table::DRAIN_LINGER_SECONDS).unwrap_or(default.linger),
            close_code: values
                .choice(&table::DRAIN_CLOSE_CODE)
                .map_or(default.close_code, |DrainClose(code)| code),
        }
    }
}
