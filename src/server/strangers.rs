//! What one address may cost before it has shown a good token.

use std::net::IpAddr;
use std::num::NonZeroUsize;

use tokio::time::Instant;

use super::client_address::share_of;
use super::refusal::refuse;
use crate::config::LimitsConfig;
use crate::protocol::{ErrorCode, ServiceError};
use crate::rate_limit::Budget;

/// Addresses that are remembered for each of the two limits: some 5 MB.
const ADDRESSES: NonZeroUsize = NonZeroUsize::new(65_536).expect("not zero");

/// Upgrades and refused tokens of each address. Without a limit nothing is counted.
#[derive(Debug)]
pub(super) struct Strangers {
    handshakes: Option<Budget<IpAddr>>,
    failures: Option<Budget<IpAddr>>,
}

impl Strangers {
    pub(super) fn new(limits: &LimitsConfig) -> Self {
        let budget = |per_minute| Budget::new(per_minute, ADDRESSES);
        Self {
            handshakes: limits.handshakes_per_address.map(budget),
            failures: limits.failures_per_address.map(budget),
        }
    }

    /// Counts an upgrade.
    ///
    /// # Errors
    /// 429 where the address asks too often, or showed too many bad tokens. The second is asked before the token is
    /// looked at: whoever guesses does not learn whether it was right.
    pub(super) fn come(&self, address: IpAddr) -> Result<(), ServiceError> {
        let (address, now) = (share_of(address), Instant::now());
        if self.failures.as_ref().is_some_and(|failures| failures.is_spent(&address, now)) {
            return Err(too_many("Too many refused tokens from this address"));
        }
        if self.handshakes.as_ref().is_some_and(|handshakes| !handshakes.spend(address, now)) {
            return Err(too_many("Too many upgrades from this address"));
        }
        Ok(())
    }

    /// Counts a token that was refused.
    pub(super) fn failed(&self, address: IpAddr) {
        if let Some(failures) = &self.failures {
            failures.spend(share_of(address), Instant::now());
        }
    }
}

fn too_many(message: &'static str) -> ServiceError {
    refuse(ErrorCode::RateLimit, message, (10, 60))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn status(strangers: &Strangers, of: &str) -> Option<u16> {
        strangers.come(address(of)).err().map(|error| error.status().as_u16())
    }

    #[tokio::test(start_paused = true)]
    async fn upgrades_of_an_address_come_at_its_rate() {
        let limits = LimitsConfig { handshakes_per_address: Some(2), ..LimitsConfig::default() };
        let strangers = Strangers::new(&limits);
        let seen: Vec<_> = (0..3).map(|_| status(&strangers, "192.0.2.1")).collect();
        assert_eq!(seen, [None, None, Some(429)]);
        assert_eq!(status(&strangers, "192.0.2.2"), None);
        tokio::time::advance(Duration::from_secs(30)).await;
        assert_eq!(status(&strangers, "192.0.2.1"), None);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_showed_bad_tokens_waits() {
        let limits = LimitsConfig { failures_per_address: Some(1), ..LimitsConfig::default() };
        let strangers = Strangers::new(&limits);
        assert_eq!(status(&strangers, "2001:db8::1"), None);
        strangers.failed(address("2001:db8::1"));
        assert_eq!(status(&strangers, "2001:db8::2"), Some(429), "the same customer");
        assert_eq!(status(&strangers, "2001:db8:0:1::1"), None);
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(status(&strangers, "2001:db8::1"), None);
    }

    #[tokio::test(start_paused = true)]
    async fn without_limits_nothing_is_refused() {
        let strangers = Strangers::new(&LimitsConfig::default());
        strangers.failed(address("192.0.2.1"));
        assert!((0..1_000).all(|_| status(&strangers, "192.0.2.1").is_none()));
    }
}
