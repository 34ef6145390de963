use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use jsonwebtoken::{Algorithm, decode_header};
use serde::Deserialize;
use serde_json::Value;

use super::jwks::{KeySet, Newer};
use super::keys::{algorithm, install_provider};
use super::mint::Minter;
use super::reload::{Reload, Reloaded};
use super::trusted::Keys;
use super::{Identity, KeyError, RevokedTokens, TokenError};
use crate::config::{AuthConfig, Secret};
use crate::protocol::limits::MAX_TOKEN_BYTES;
use crate::protocol::{Credential, TokenId, UserId};

/// Latest `exp` that is taken: the last second of the year 9999, in seconds since 1970. It fits every type a time
/// goes through from here (`SystemTime`, RFC 3339, a deadline), and milliseconds by mistake are beyond it.
pub const MAX_EXP: u64 = 253_402_300_799;

/// Verifies tokens. One for the whole process, shared; its keys change under it by [`Reload`].
pub struct Verifier {
    algorithm: Algorithm,
    leeway: Duration,
    keys: Keys,
    revoked: Arc<RevokedTokens>,
}

/// The claims that count, of whatever type: what is wrong with them is said one by one.
#[derive(Deserialize)]
struct Claims {
    sub: Option<Value>,
    exp: Option<Value>,
    nbf: Option<Value>,
    iat: Option<Value>,
    jti: Option<Value>,
}

impl Verifier {
    /// A verifier with the configured keys.
    ///
    /// # Errors
    /// [`KeyError`] when there is no key, or one cannot be read or does not suit the algorithm.
    pub fn new(config: &AuthConfig) -> Result<Self, KeyError> {
        Self::build(config, false)
    }

    /// As [`Verifier::new`], and HS keys shorter than 32 bytes are refused, now and whenever files are reread.
    ///
    /// # Errors
    /// [`KeyError`], as above.
    pub fn strict(config: &AuthConfig) -> Result<Self, KeyError> {
        Self::build(config, true)
    }

    /// A verifier whose current key is made up (256 random bits), with the one thing that can sign for it. For
    /// `development` without a configured key; nothing outlives the process.
    ///
    /// # Errors
    /// [`KeyError`] when the algorithm is not an HS one (a key pair is not made up), or another configured key is bad.
    pub fn generated(config: &AuthConfig) -> Result<(Self, Minter), KeyError> {
        let key: [u8; 32] = rand::random();
        let key = Secret::inline(key.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
        let mut config = config.clone();
        let minter = Minter::made_up(config.algorithm, &key.read()?)?;
        config.keys.current = Some(key);
        Ok((Self::new(&config)?, minter))
    }

    fn build(config: &AuthConfig, strict: bool) -> Result<Self, KeyError> {
        install_provider();
        Ok(Self::of(config, Keys::load(config, strict)?))
    }

    #[cfg(test)]
    pub(super) fn with_sets(config: &AuthConfig, sets: Vec<(Option<&str>, Arc<KeySet>)>) -> Self {
        install_provider();
        Self::of(config, Keys::published(config, sets))
    }

    fn of(config: &AuthConfig, keys: Keys) -> Self {
        let algorithm = algorithm(config.algorithm);
        Self { algorithm, leeway: config.leeway, keys, revoked: Arc::default() }
    }

    /// The revocations that it heeds.
    #[must_use]
    pub fn revoked(&self) -> &Arc<RevokedTokens> {
        &self.revoked
    }

    /// Verifies a token, as of now, with the keys at hand. Takes microseconds and never blocks.
    ///
    /// A token whose `kid` is a configured key's name must be signed by that key. All others are tried with the current
    /// key, then with the previous one. With key sets that issuers publish, a `kid` must be in the set of the token's
    /// issuer, and a token without one is tried with all of the set's keys, ten at most.
    ///
    /// # Errors
    /// [`TokenError`] says what is wrong; the order of checks is length, form, algorithm, signature, issuer and audience,
    /// `sub`, times, revocations. So [`TokenError::Expired`] means that the token was good once.
    pub fn verify(&self, token: &str) -> Result<Identity, TokenError> {
        self.verify_at(token, SystemTime::now())
    }

    /// As [`Verifier::verify`], and where the token's key may be newer than its issuer's set, waits for a fetch of that, some
    /// seconds at most. Holds nothing meanwhile, and any number of tokens cause one fetch.
    ///
    /// # Errors
    /// [`TokenError`], as above; [`TokenError::NoKeys`] says that the token may be good, and should be shown again.
    pub async fn verify_fresh(&self, token: &str) -> Result<Identity, TokenError> {
        let verified = self.verify(token);
        let Err(refusal @ (TokenError::UnknownKey | TokenError::NoKeys)) = verified else { return verified };
        let Some(set) = self.keys.set_for(token)? else { return verified };
        let kid = decode_header(token).map_err(|_| TokenError::Malformed)?.kid;
        let kid = kid.as_deref().filter(|_| refusal == TokenError::UnknownKey);
        match set.newer(kid).await {
            Newer::Fetched => {}
            Newer::No => return Err(TokenError::UnknownKey),
            Newer::NotNow => return Err(TokenError::NoKeys),
        }
        let verified = self.verify(token);
        if let (Err(TokenError::UnknownKey), Some(kid)) = (&verified, kid) {
            set.remember_unknown(kid);
        }
        verified
    }

    /// Whether tokens of some issuer can be verified, or could be once.
    #[must_use]
    pub fn has_keys(&self) -> bool {
        self.key_sets().is_none_or(|mut sets| sets.any(|set| set.was_fetched()))
    }

    /// How long ago the oldest of the key sets was fetched ([`KeySet::age`]); `None` where there are none.
    #[must_use]
    pub fn keys_age(&self) -> Option<Duration> {
        self.key_sets()?.map(|set| set.age()).max()
    }

    /// The sets that issuers publish, each of which wants a task ([`super::keep`]); `None` where keys are configured.
    #[must_use]
    pub fn key_sets(&self) -> Option<impl Iterator<Item = &Arc<KeySet>>> {
        self.keys.sets()
    }

    pub(in crate::auth) fn verify_at(&self, token: &str, now: SystemTime) -> Result<Identity, TokenError> {
        if token.is_empty() {
            return Err(TokenError::Missing);
        }
        if token.len() > MAX_TOKEN_BYTES {
            return Err(TokenError::TooLong);
        }
        let header = decode_header(token).map_err(|_| TokenError::Malformed)?;
        if header.alg != self.algorithm {
            return Err(TokenError::Algorithm);
        }
        // RFC 7515 §4.1.11; the library does not look.
        if header.crit.is_some() {
            return Err(TokenError::Critical);
        }
        self.identity(&self.keys.claims(token, header.kid.as_deref())?, now)
    }

    fn identity(&self, claims: &Claims, now: SystemTime) -> Result<Identity, TokenError> {
        let user = match &claims.sub {
            None => return Err(TokenError::NoSubject),
            Some(sub) => {
                sub.as_str().and_then(|text| UserId::new(text).ok()).ok_or(TokenError::BadSubject)?
            }
        };
        let expires_at = match &claims.exp {
            None => return Err(TokenError::NoExpiry),
            Some(exp) => {
                seconds(exp).filter(|exp| *exp <= MAX_EXP).and_then(time).ok_or(TokenError::BadExpiry)?
            }
        };
        // `exp` itself is too late already (RFC 7519 §4.1.4). Beyond what the clock can show is never.
        if expires_at.checked_add(self.leeway).is_some_and(|last| now >= last) {
            return Err(TokenError::Expired);
        }
        if let Some(nbf) = &claims.nbf {
            let nbf = seconds(nbf).ok_or(TokenError::BadNotBefore)?;
            let latest = now.checked_add(self.leeway);
            if time(nbf).is_none_or(|nbf| latest.is_some_and(|latest| latest < nbf)) {
                return Err(TokenError::NotActive);
            }
        }
        let id = claims.jti.as_ref().and_then(|jti| TokenId::new(jti.as_str()?).ok());
        let issued_at = claims.iat.as_ref().and_then(seconds).unwrap_or(0);
        let credential = Credential { issued_at, id };
        if self.revoked.hold(&user, &credential) {
            return Err(TokenError::Revoked);
        }
        Ok(Identity { user, expires_at, credential })
    }
}

/// Seconds since 1970, cut to whole ones: RFC 7519 allows fractions, and Python's `time.time() + 3600` makes them.
/// Negative numbers are refused, and strings.
fn seconds(value: &Value) -> Option<u64> {
    // A cast from beyond the range ends at its edge, which is later than any time that is taken.
    let whole = |number: f64| (number.is_finite() && number >= 0.0).then_some(number as u64);
    value.as_u64().or_else(|| value.as_f64().and_then(whole))
}

fn time(seconds: u64) -> Option<SystemTime> {
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}

impl Reload for Verifier {
    fn name(&self) -> &'static str {
        "token keys"
    }

    fn reload(&self) -> Reloaded {
        self.keys.reload()
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "verify_tests.rs"]
mod tests;
