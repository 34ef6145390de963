//! From a JWK Set (RFC 7517) to the keys that verify tokens of the one configured algorithm.

use jsonwebtoken::DecodingKey;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, KeyOperations, PublicKeyUse};
use serde::Deserialize;
use serde_json::Value;

use super::KeySetError;
use crate::auth::keys::algorithm;
use crate::config::TokenAlgorithm;

/// Most entries of a set. Issuers have two or three.
const MAX_KEYS: usize = 100;

/// Longest `kid` that is looked up, in bytes; a key with a longer one is passed over.
pub(super) const MAX_KID_BYTES: usize = 256;

/// Most keys that are tried for one token: verifying takes time that a stranger must not multiply.
const MAX_TRIED: usize = 10;

/// The keys of a set that verify tokens.
#[derive(Debug)]
pub(in crate::auth) struct PublicKeys(Vec<(Option<String>, DecodingKey)>);

#[derive(Deserialize)]
struct Set {
    keys: Vec<Value>,
}

impl PublicKeys {
    /// Reads a set. Entries that are for something else, are broken or too weak are passed over, as RFC 7517 §5 asks:
    /// issuers publish keys of several kinds in one set.
    ///
    /// # Errors
    /// [`KeySetError`] for what is no set, for more than [`MAX_KEYS`] entries, and where no key is left: an issuer that
    /// has none is broken, and the keys from before are better.
    pub(super) fn read(body: &[u8], configured: TokenAlgorithm) -> Result<Self, KeySetError> {
        let set: Set =
            serde_json::from_slice(body).map_err(|error| KeySetError::Document(error.to_string()))?;
        if set.keys.len() > MAX_KEYS {
            return Err(KeySetError::TooMany(set.keys.len()));
        }
        let usable = |entry: Value| {
            let jwk: Jwk = serde_json::from_value(entry).ok()?;
            let key = decoding_key(&jwk, configured)?;
            Some((jwk.common.key_id, key))
        };
        let keys: Vec<_> = set.keys.into_iter().filter_map(usable).collect();
        if keys.is_empty() { Err(KeySetError::NoKey(configured)) } else { Ok(Self(keys)) }
    }

    /// The keys to try: those of that `kid`, or all of them for a token without one.
    pub(in crate::auth) fn candidates(&self, kid: Option<&str>) -> impl Iterator<Item = &DecodingKey> {
        let fits = move |name: &Option<String>| kid.is_none() || name.as_deref() == kid;
        self.0.iter().filter(move |(name, _)| fits(name)).map(|(_, key)| key).take(MAX_TRIED)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether the other set has the same keys, by their names.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        self.0.iter().map(|(name, _)| name).eq(other.0.iter().map(|(name, _)| name))
    }
}

/// The key, if it verifies tokens of this algorithm and of no other. What the entry says of itself can only narrow it down:
/// a shared key (`oct`) is never one, since everybody has read it.
fn decoding_key(jwk: &Jwk, configured: TokenAlgorithm) -> Option<DecodingKey> {
    let common = &jwk.common;
    let for_signatures = common.public_key_use.as_ref().is_none_or(|it| *it == PublicKeyUse::Signature);
    let verifies = common.key_operations.as_ref().is_none_or(|all| all.contains(&KeyOperations::Verify));
    let ours = common.key_algorithm.is_none_or(|it| it == KeyAlgorithm::from(algorithm(configured)));
    let short_name = common.key_id.as_ref().is_none_or(|kid| kid.len() <= MAX_KID_BYTES);
    if !(for_signatures && verifies && ours && short_name) {
        return None;
    }
    use TokenAlgorithm::*;
    let fits = match (&jwk.algorithm, configured) {
        (AlgorithmParameters::RSA(rsa), Rs256 | Rs384 | Rs512 | Ps256 | Ps384 | Ps512) => {
            // In base64: 2048 to 8192 bits, and a zero before them that some add.
            (256..=1025).contains(&(rsa.n.trim_end_matches('=').len() * 3 / 4))
        }
        (AlgorithmParameters::EllipticCurve(ec), Es256) => ec.curve == EllipticCurve::P256,
        (AlgorithmParameters::EllipticCurve(ec), Es384) => ec.curve == EllipticCurve::P384,
        (AlgorithmParameters::OctetKeyPair(okp), EdDsa) => okp.curve == EllipticCurve::Ed25519,
        _ => false,
    };
    if fits { DecodingKey::from_jwk(jwk).ok() } else { None }
}

#[cfg(test)]
#[path = "read_tests.rs"]
mod tests;
