use std::fmt;
use std::time::{Duration, SystemTime};

use jsonwebtoken::errors::{Error, ErrorKind};
use jsonwebtoken::{Algorithm, Validation, decode, decode_header};
use serde::Deserialize;
use serde_json::Value;

use super::keys::{KeySource, algorithm, install_provider};
use super::mint::Minter;
use super::reload::{Live, Reload, Reloaded};
use super::{Identity, KeyError, TokenError};
use crate::config::{AuthConfig, Secret};
use crate::protocol::UserId;
use crate::protocol::limits::MAX_TOKEN_BYTES;

/// Latest `exp` that is taken: the last second of the year 9999, in seconds since 1970. It fits every type a time
/// goes through from here (`SystemTime`, RFC 3339, a deadline), and milliseconds by mistake are beyond it.
pub(super) const MAX_EXP: u64 = 253_402_300_799;

/// Verifies tokens. One for the whole process, shared; its keys change under it by [`Reload`].
pub struct Verifier {
    algorithm: Algorithm,
    validation: Validation,
    leeway: Duration,
    keys: Live<KeySource>,
}

/// The claims that count, of whatever type: what is wrong with them is said one by one.
#[derive(Deserialize)]
struct Claims {
    sub: Option<Value>,
    exp: Option<Value>,
    nbf: Option<Value>,
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
        let algorithm = algorithm(config.algorithm);
        let mut validation = Validation::new(algorithm);
        validation.required_spec_claims.clear();
        // Times are checked here: the library rounds fractions and reads the wall clock, so no edge could be tested.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        // Without this a token that names an audience is refused where none is configured.
        validation.validate_aud = config.audience.is_some();
        if let Some(issuer) = &config.issuer {
            validation.set_issuer(&[issuer]);
            validation.required_spec_claims.insert("iss".to_owned());
        }
        if let Some(audience) = &config.audience {
            validation.set_audience(&[audience]);
            validation.required_spec_claims.insert("aud".to_owned());
        }
        let keys =
            Live::load(KeySource { algorithm: config.algorithm, material: config.keys.clone(), strict })?;
        Ok(Self { algorithm, validation, leeway: config.leeway, keys })
    }

    /// Verifies a token, as of now. Takes microseconds and never blocks.
    ///
    /// A token whose `kid` is a key's name must be signed by that key. All others are tried with the current key, then
    /// with the previous one.
    ///
    /// # Errors
    /// [`TokenError`] says what is wrong; the order of checks is length, form, algorithm, signature, issuer and audience,
    /// `sub`, times. So [`TokenError::Expired`] means that the token was good once.
    pub fn verify(&self, token: &str) -> Result<Identity, TokenError> {
        self.verify_at(token, SystemTime::now())
    }

    pub(super) fn verify_at(&self, token: &str, now: SystemTime) -> Result<Identity, TokenError> {
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
        self.identity(&self.claims(token, header.kid.as_deref())?, now)
    }

    fn claims(&self, token: &str, kid: Option<&str>) -> Result<Claims, TokenError> {
        let mut refusal = TokenError::UnknownKey;
        for key in self.keys.get().candidates(kid) {
            match decode::<Claims>(token, key, &self.validation) {
                Ok(data) => return Ok(data.claims),
                Err(error) => refusal = refused(&error),
            }
            if refusal != TokenError::Signature {
                break;
            }
        }
        Err(refusal)
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
        Ok(Identity { user, expires_at })
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

fn refused(error: &Error) -> TokenError {
    match error.kind() {
        ErrorKind::InvalidSignature => TokenError::Signature,
        ErrorKind::InvalidAlgorithm => TokenError::Algorithm,
        ErrorKind::InvalidIssuer => TokenError::Issuer,
        ErrorKind::InvalidAudience => TokenError::Audience,
        ErrorKind::MissingRequiredClaim(name) if name == "iss" => TokenError::Issuer,
        ErrorKind::MissingRequiredClaim(name) if name == "aud" => TokenError::Audience,
        _ => TokenError::Malformed,
    }
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
