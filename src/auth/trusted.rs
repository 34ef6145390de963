//! Whose keys a token must be signed by.

use std::sync::Arc;

use jsonwebtoken::dangerous::insecure_decode;
use jsonwebtoken::errors::{Error, ErrorKind};
use jsonwebtoken::{DecodingKey, Validation, decode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::jwks::KeySet;
use super::keys::{KeySource, algorithm};
use super::reload::{Live, Reloaded};
use super::{KeyError, TokenError};
use crate::config::AuthConfig;

/// The keys, and what the JWT library checks of the tokens that they sign.
pub(super) enum Keys {
    /// The operator's own.
    Configured(Box<Configured>),
    /// Those that issuers publish: one set for all tokens, or one for each issuer.
    Published(Vec<Published>),
}

pub(super) struct Configured {
    validation: Validation,
    keys: Live<KeySource>,
}

/// One issuer's.
pub(super) struct Published {
    /// The `iss` of its tokens; none where the set is the only one.
    issuer: Option<String>,
    validation: Validation,
    set: Arc<KeySet>,
}

/// The claim that says which issuer's keys count, before it is known to be true.
#[derive(Deserialize)]
struct Said {
    iss: Option<Value>,
}

impl Keys {
    pub(super) fn load(config: &AuthConfig, strict: bool) -> Result<Self, KeyError> {
        if !config.keys.published.is_empty() {
            let sets = config.keys.published.iter();
            let sets = sets.map(|of| (of.issuer.as_deref(), KeySet::new(of, config.algorithm)));
            return Ok(Self::published(config, sets));
        }
        let material = config.keys.clone();
        let keys = Live::load(KeySource { algorithm: config.algorithm, material, strict })?;
        let validation = validation(config, config.issuer.as_deref());
        Ok(Self::Configured(Box::new(Configured { validation, keys })))
    }

    pub(super) fn published<'a>(
        config: &AuthConfig,
        sets: impl IntoIterator<Item = (Option<&'a str>, Arc<KeySet>)>,
    ) -> Self {
        let published = sets.into_iter().map(|(issuer, set)| Published {
            issuer: issuer.map(str::to_owned),
            validation: validation(config, issuer.or(config.issuer.as_deref())),
            set,
        });
        Self::Published(published.collect())
    }

    /// The claims of a token that one of the keys has signed, issuer and audience checked.
    pub(super) fn claims<T: DeserializeOwned>(
        &self,
        token: &str,
        kid: Option<&str>,
    ) -> Result<T, TokenError> {
        match self {
            Self::Configured(configured) => {
                signed(token, &configured.validation, configured.keys.get().candidates(kid))
            }
            Self::Published(all) => {
                let Published { validation, set, .. } = issued_by(all, token)?;
                set.with_keys(|keys| signed(token, validation, keys.candidates(kid)))
                    .unwrap_or(Err(TokenError::NoKeys))
            }
        }
    }

    /// The set that has the token's key, or will have it; none where keys are configured.
    pub(super) fn set_for(&self, token: &str) -> Result<Option<&KeySet>, TokenError> {
        match self {
            Self::Configured(_) => Ok(None),
            Self::Published(all) => Ok(Some(&*issued_by(all, token)?.set)),
        }
    }

    pub(super) fn sets(&self) -> Option<impl Iterator<Item = &Arc<KeySet>>> {
        match self {
            Self::Configured(_) => None,
            Self::Published(all) => Some(all.iter().map(|published| &published.set)),
        }
    }

    pub(super) fn reload(&self) -> Reloaded {
        match self {
            Self::Configured(configured) => configured.keys.reload(),
            Self::Published(_) => Reloaded::Unchanged,
        }
    }
}

/// Whose token it says it is. That this is true is seen when it is verified, for each issuer's validation asks for that
/// `iss` again.
fn issued_by<'a>(all: &'a [Published], token: &str) -> Result<&'a Published, TokenError> {
    if let [only] = all
        && only.issuer.is_none()
    {
        return Ok(only);
    }
    let said = insecure_decode::<Said>(token).map_err(|_| TokenError::Malformed)?.claims.iss;
    let said = said.as_ref().and_then(Value::as_str).ok_or(TokenError::Issuer)?;
    all.iter().find(|published| published.issuer.as_deref() == Some(said)).ok_or(TokenError::Issuer)
}

fn signed<'a, T: DeserializeOwned>(
    token: &str,
    validation: &Validation,
    keys: impl Iterator<Item = &'a DecodingKey>,
) -> Result<T, TokenError> {
    let mut refusal = TokenError::UnknownKey;
    for key in keys {
        match decode::<T>(token, key, validation) {
            Ok(data) => return Ok(data.claims),
            Err(error) => refusal = refused(&error),
        }
        if refusal != TokenError::Signature {
            break;
        }
    }
    Err(refusal)
}

/// What the JWT library checks besides the signature: issuer and audience.
fn validation(config: &AuthConfig, issuer: Option<&str>) -> Validation {
    let mut validation = Validation::new(algorithm(config.algorithm));
    validation.required_spec_claims.clear();
    // The verifier checks times: the library rounds fractions and reads the wall clock, so no edge could be tested.
    validation.validate_exp = false;
    validation.validate_nbf = false;
    // Without this a token that names an audience is refused where none is configured.
    validation.validate_aud = config.audience.is_some();
    if let Some(issuer) = issuer {
        validation.set_issuer(&[issuer]);
        validation.required_spec_claims.insert("iss".to_owned());
    }
    if let Some(audience) = &config.audience {
        validation.set_audience(&[audience]);
        validation.required_spec_claims.insert("aud".to_owned());
    }
    validation
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
