//! Where a client's tokens come from.

use std::error::Error;
use std::time::{Duration, SystemTime};

use secrecy::SecretString;

/// Shortest time to the next refresh, so that a source which gives the same token again and again is not pressed.
const SHORTEST_REFRESH: Duration = Duration::from_secs(1);

/// A token to connect with. Its `Debug` does not show it.
#[derive(Debug, Clone)]
pub struct Bearer {
    /// The token.
    pub token: SecretString,
    /// Its `exp`, where the source knows it: then a connection of `websocket-service.v1` is given a new one in time.
    pub expires: Option<SystemTime>,
}

/// Why there is no token, in words.
pub type TokenFault = Box<dyn Error + Send + Sync>;

/// Gives a client its tokens.
pub trait TokenSource: Send + Sync + 'static {
    /// A token for the next connection, or to go on with this one. `fresh`: the last one was refused or is about to expire,
    /// so a cache is no help.
    ///
    /// # Errors
    /// When there is none now; it is asked for again later.
    fn token(&self, fresh: bool) -> impl Future<Output = Result<Bearer, TokenFault>> + Send;
}

/// Always the same token.
impl TokenSource for Bearer {
    async fn token(&self, _fresh: bool) -> Result<Bearer, TokenFault> {
        Ok(self.clone())
    }
}

/// When to ask for the next token: `before` the end, or at half of what is left where that is later.
pub(super) fn refresh_in(expires: SystemTime, before: Duration) -> Duration {
    let left = expires.duration_since(SystemTime::now()).unwrap_or_default();
    left.saturating_sub(before).max(left / 2).max(SHORTEST_REFRESH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refresh_comes_before_the_end_and_never_at_once() {
        let refresh = |left: u64| {
            let seconds = Duration::from_secs(left);
            refresh_in(SystemTime::now() + seconds, Duration::from_secs(30)).as_secs_f64().round()
        };
        assert_eq!([3600, 60, 40, 0].map(refresh), [3570.0, 30.0, 20.0, 1.0]);
        let past = SystemTime::now() - Duration::from_secs(60);
        assert_eq!(refresh_in(past, Duration::ZERO), SHORTEST_REFRESH);
    }

    #[test]
    fn a_token_is_not_shown() {
        let bearer = Bearer { token: SecretString::from("hush"), expires: None };
        assert!(!format!("{bearer:?}").contains("hush"));
    }
}
