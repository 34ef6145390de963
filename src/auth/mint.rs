use std::time::{Duration, SystemTime};

use jsonwebtoken::{EncodingKey, Header, encode};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use uuid::Uuid;

use super::keys::{algorithm, install_provider};
use super::verify::MAX_EXP;
use super::{KeyError, Token};
use crate::config::{AuthConfig, TokenAlgorithm};
use crate::protocol::UserId;

/// Signs tokens: for the `token mint` command, the ready-made URL of `development`, and tests.
#[derive(Debug, Clone)]
pub struct Minter {
    algorithm: TokenAlgorithm,
    key: EncodingKey,
}

/// What a token is to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// `sub`.
    pub user: UserId,
    /// From now to `exp`, in whole seconds; fractions are cut off.
    pub lifetime: Duration,
    /// `iss`.
    pub issuer: Option<String>,
    /// `aud`.
    pub audience: Option<String>,
    /// The header's `kid`.
    pub key_id: Option<String>,
}

impl Grant {
    /// A token that the settings let pass: with their issuer and audience, and no `kid`.
    #[must_use]
    pub fn new(config: &AuthConfig, user: UserId, lifetime: Duration) -> Self {
        let (issuer, audience) = (config.issuer.clone(), config.audience.clone());
        Self { user, lifetime, issuer, audience, key_id: None }
    }
}

/// Why no token is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MintError {
    /// `exp` would be beyond the year 9999, which is refused when verified.
    #[error("the token would expire after the year 9999")]
    TooLong,
    /// The key cannot sign by the algorithm.
    #[error("the private key cannot sign by the configured algorithm")]
    Signing,
}

#[derive(Serialize)]
struct Claims<'a> {
    sub: &'a str,
    iat: u64,
    exp: u64,
    /// So that this one can be revoked.
    jti: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    iss: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    aud: Option<&'a str>,
}

impl Minter {
    /// Takes the shared secret (HS algorithms) or the private key in PEM (the others; EC and Ed25519 in PKCS#8,
    /// `BEGIN PRIVATE KEY`).
    ///
    /// # Errors
    /// [`KeyError::Invalid`] when the text is no such key; it names the key `the signing key`.
    pub fn new(algorithm: TokenAlgorithm, key: &SecretString) -> Result<Self, KeyError> {
        use TokenAlgorithm::{EdDsa, Es256, Es384, Hs256, Hs384, Hs512};
        install_provider();
        let invalid = |problem| KeyError::Invalid { key: "the signing key".to_owned(), problem };
        let text = key.expose_secret();
        if text.trim().is_empty() {
            return Err(invalid("the key is empty"));
        }
        let pem = text.as_bytes();
        let key = match algorithm {
            Hs256 | Hs384 | Hs512 if text.trim_start().starts_with("-----BEGIN ") => {
                return Err(invalid(
                    "a PEM is no shared secret; JWT_ALGORITHM is one of HS256, HS384, HS512",
                ));
            }
            Hs256 | Hs384 | Hs512 => Ok(EncodingKey::from_secret(pem)),
            _ if !text.contains("PRIVATE KEY-----") => return Err(invalid("not the PEM of a private key")),
            Es256 | Es384 => EncodingKey::from_ec_pem(pem)
                .map_err(|_| "not the PEM of a private EC key in PKCS#8 (BEGIN PRIVATE KEY)"),
            EdDsa => EncodingKey::from_ed_pem(pem)
                .map_err(|_| "not the PEM of a private Ed25519 key in PKCS#8 (BEGIN PRIVATE KEY)"),
            _ => EncodingKey::from_rsa_pem(pem).map_err(|_| "not the PEM of a private RSA key"),
        };
        Ok(Self { algorithm, key: key.map_err(invalid)? })
    }

    /// As [`Minter::new`], for a key that was made up.
    pub(super) fn made_up(algorithm: TokenAlgorithm, key: &SecretString) -> Result<Self, KeyError> {
        if !algorithm.is_symmetric() {
            return Err(KeyError::Missing("WEBSOCKET_SERVICE_JWT_PUBLIC_KEY"));
        }
        Self::new(algorithm, key)
    }

    /// Signs a token.
    ///
    /// # Errors
    /// [`MintError`].
    pub fn mint(&self, grant: &Grant) -> Result<Token, MintError> {
        // A clock before 1970 makes a token that has expired long ago.
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let exp = now.checked_add(grant.lifetime.as_secs()).filter(|exp| *exp <= MAX_EXP);
        let claims = Claims {
            sub: grant.user.as_str(),
            iat: now,
            jti: Uuid::from_u128(rand::random()).to_string(),
            exp: exp.ok_or(MintError::TooLong)?,
            iss: grant.issuer.as_deref(),
            aud: grant.audience.as_deref(),
        };
        let mut header = Header::new(algorithm(self.algorithm));
        header.kid.clone_from(&grant.key_id);
        encode(&header, &claims, &self.key).map(Token::from).map_err(|_| MintError::Signing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::test_support::{SECRET, hs_config, now, token_by, user};
    use crate::auth::{TokenError, Verifier};

    #[test]
    fn a_token_never_outlives_what_is_verified() {
        let minter = Minter::new(TokenAlgorithm::Hs256, &SecretString::from(SECRET)).expect("a good key");
        for lifetime in [Duration::MAX, Duration::from_secs(MAX_EXP)] {
            let grant = Grant::new(&hs_config(), user("alice"), lifetime);
            assert_eq!(minter.mint(&grant).map(|_| ()), Err(MintError::TooLong));
        }
    }

    #[test]
    fn a_key_of_the_wrong_kind_is_refused_without_showing_it() {
        use TokenAlgorithm::*;
        for algorithm in [Hs256, Rs256, Ps512, Es256, Es384, EdDsa] {
            for text in ["", " \n", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"] {
                let error =
                    Minter::new(algorithm, &SecretString::from(text)).expect_err("no good").to_string();
                assert!(!error.contains("AAAA"), "{error}");
            }
        }
        let ec = "-----BEGIN EC PRIVATE KEY-----\nAAAA\n-----END EC PRIVATE KEY-----\n";
        let error = Minter::new(Es256, &SecretString::from(ec)).expect_err("not PKCS#8").to_string();
        assert!(error.contains("PKCS#8"), "{error}");
    }

    #[test]
    fn a_made_up_key_verifies_what_its_minter_signs_and_nothing_else() {
        let config = AuthConfig::default();
        let (verifier, minter) = Verifier::generated(&config).expect("a made-up key");
        let token =
            minter.mint(&Grant::new(&config, user("demo"), Duration::from_secs(60))).expect("a token");
        assert_eq!(verifier.verify(token.expose()).map(|identity| identity.user), Ok(user("demo")));
        let (other, _) = Verifier::generated(&config).expect("a made-up key");
        assert_eq!(other.verify(token.expose()), Err(TokenError::Signature));
        assert_eq!(verifier.verify_at(&token_by("", None), now()), Err(TokenError::Signature));
        let pair = AuthConfig { algorithm: TokenAlgorithm::Es256, ..config };
        assert!(matches!(Verifier::generated(&pair), Err(KeyError::Missing(_))));
    }
}
