use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;

use jsonwebtoken::{Algorithm, DecodingKey};
use secrecy::{ExposeSecret, SecretString};

use super::KeyError;
use super::reload::{RawKey, Source};
use crate::config::{KeyMaterial, Secret, TokenAlgorithm};

/// Shortest HS key that the strict rule lets pass, in bytes: as long as the shortest of the hashes (RFC 7518 §3.2).
const STRICT_SECRET_BYTES: usize = 32;

/// The name that the JWT library has for the algorithm.
pub(super) fn algorithm(algorithm: TokenAlgorithm) -> Algorithm {
    match algorithm {
        TokenAlgorithm::Hs256 => Algorithm::HS256,
        TokenAlgorithm::Hs384 => Algorithm::HS384,
        TokenAlgorithm::Hs512 => Algorithm::HS512,
        TokenAlgorithm::Rs256 => Algorithm::RS256,
        TokenAlgorithm::Rs384 => Algorithm::RS384,
        TokenAlgorithm::Rs512 => Algorithm::RS512,
        TokenAlgorithm::Ps256 => Algorithm::PS256,
        TokenAlgorithm::Ps384 => Algorithm::PS384,
        TokenAlgorithm::Ps512 => Algorithm::PS512,
        TokenAlgorithm::Es256 => Algorithm::ES256,
        TokenAlgorithm::Es384 => Algorithm::ES384,
        TokenAlgorithm::EdDsa => Algorithm::EdDSA,
    }
}

/// Chooses the JWT library's cryptography by name, so that a feature switched on elsewhere in the build cannot leave
/// it without one, which would panic at the first token.
pub(super) fn install_provider() {
    // An error says that it is installed already.
    let _ = jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default();
}

/// The settings that name the current and the previous key.
fn setting_names(algorithm: TokenAlgorithm) -> (&'static str, &'static str) {
    if algorithm.is_symmetric() {
        ("WEBSOCKET_SERVICE_JWT_SECRET_KEY", "WEBSOCKET_SERVICE_JWT_PREVIOUS_SECRET_KEY")
    } else {
        ("WEBSOCKET_SERVICE_JWT_PUBLIC_KEY", "WEBSOCKET_SERVICE_JWT_PREVIOUS_PUBLIC_KEY")
    }
}

/// Where the keys are, and which rules they must keep.
pub(super) struct KeySource {
    pub(super) algorithm: TokenAlgorithm,
    pub(super) material: KeyMaterial,
    pub(super) strict: bool,
}

/// The keys' texts at one look.
#[derive(Debug, PartialEq)]
pub(super) struct RawKeys {
    pub(super) current: Option<RawKey>,
    previous: Option<RawKey>,
    pub(super) named: BTreeMap<String, RawKey>,
}

/// The keys in force.
#[derive(Debug)]
pub(super) struct KeySet {
    current: Option<DecodingKey>,
    previous: Option<DecodingKey>,
    named: HashMap<String, DecodingKey>,
}

impl KeySet {
    /// The keys to try, in order. A `kid` is only ever compared with the names of keys already loaded, never made
    /// into a path.
    pub(super) fn candidates(&self, kid: Option<&str>) -> impl Iterator<Item = &DecodingKey> {
        match kid.and_then(|kid| self.named.get(kid)) {
            Some(named) => [Some(named), None],
            None => [self.current.as_ref(), self.previous.as_ref()],
        }
        .into_iter()
        .flatten()
    }
}

impl Source for KeySource {
    type Raw = RawKeys;
    type Built = KeySet;

    fn read(&self) -> Result<RawKeys, KeyError> {
        let read = |secret: &Option<Secret>| -> Result<Option<RawKey>, KeyError> {
            Ok(secret.as_ref().map(Secret::read).transpose()?.map(RawKey))
        };
        Ok(RawKeys {
            current: read(&self.material.current)?,
            previous: read(&self.material.previous)?,
            named: self.material.directory.as_deref().map(read_directory).transpose()?.unwrap_or_default(),
        })
    }

    fn build(&self, raw: &RawKeys) -> Result<KeySet, KeyError> {
        let (current, previous) = setting_names(self.algorithm);
        if raw.current.is_none() && raw.named.is_empty() {
            return Err(KeyError::Missing(current));
        }
        let build = |name: &str, key: &RawKey| {
            decoding_key(self.algorithm, &key.0, self.strict)
                .map_err(|problem| KeyError::Invalid { key: name.to_owned(), problem })
        };
        Ok(KeySet {
            current: raw.current.as_ref().map(|key| build(current, key)).transpose()?,
            previous: raw.previous.as_ref().map(|key| build(previous, key)).transpose()?,
            named: raw
                .named
                .iter()
                .map(|(kid, key)| Ok((kid.clone(), build(&format!("kid {kid:?}"), key)?)))
                .collect::<Result<_, KeyError>>()?,
        })
    }
}

/// One key a file; the file's name without its ending is the `kid`. Names that begin with a dot (the kubelet's `..data`)
/// and folders are passed over.
fn read_directory(path: &Path) -> Result<BTreeMap<String, RawKey>, KeyError> {
    let failed = |source| KeyError::Directory { path: path.to_owned(), source };
    let mut keys = BTreeMap::new();
    for entry in fs::read_dir(path).map_err(failed)? {
        let file = entry.map_err(failed)?.path();
        if file.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b".")) {
            continue;
        }
        // Follows symlinks, which is what the files of a mounted Secret are.
        if !fs::metadata(&file).map_err(failed)?.is_file() {
            continue;
        }
        let invalid = |problem| KeyError::Invalid { key: file.display().to_string(), problem };
        let kid =
            file.file_stem().and_then(|stem| stem.to_str()).ok_or_else(|| invalid("its name is no UTF-8"))?;
        let key = Secret::File(file.clone()).read()?;
        if keys.insert(kid.to_owned(), RawKey(key)).is_some() {
            return Err(invalid("another file has the same name but for the ending, so the kid is in doubt"));
        }
    }
    Ok(keys)
}

/// Makes a key, and refuses at once what would only show later as tokens that never verify, or verify too easily.
fn decoding_key(
    algorithm: TokenAlgorithm,
    text: &SecretString,
    strict: bool,
) -> Result<DecodingKey, &'static str> {
    let text = text.expose_secret();
    let pem = text.as_bytes();
    if text.trim().is_empty() {
        return Err("the key is empty");
    }
    if algorithm.is_symmetric() {
        // A public key as HS secret lets everybody sign.
        if text.trim_start().starts_with("-----BEGIN ") {
            return Err("a PEM is no shared secret; JWT_ALGORITHM is one of HS256, HS384, HS512");
        }
        if strict && pem.len() < STRICT_SECRET_BYTES {
            return Err("the key is shorter than 32 bytes");
        }
        return Ok(DecodingKey::from_secret(pem));
    }
    if text.contains("PRIVATE KEY-----") {
        return Err(
            "this is a private key; verifying takes the public one, and the private one should not be here",
        );
    }
    use TokenAlgorithm::{Es256, Es384};
    let (key, problem) = match algorithm {
        Es256 => (DecodingKey::from_ec_pem(pem), "not the PEM of a public key on the curve P-256"),
        Es384 => (DecodingKey::from_ec_pem(pem), "not the PEM of a public key on the curve P-384"),
        TokenAlgorithm::EdDsa => (DecodingKey::from_ed_pem(pem), "not the PEM of a public Ed25519 key"),
        _ => (DecodingKey::from_rsa_pem(pem), "not the PEM of a public RSA key of 2048 to 8192 bits"),
    };
    let key = key.map_err(|_| problem)?;
    let der = key.try_get_as_bytes().map_err(|_| problem)?;
    let fits = match algorithm {
        Es256 => der.len() == 65,
        Es384 => der.len() == 97,
        TokenAlgorithm::EdDsa => der.len() == 32,
        _ => rsa_modulus_bytes(der).is_some_and(|bytes| (256..=1025).contains(&bytes)),
    };
    if fits { Ok(key) } else { Err(problem) }
}

/// The length of the modulus in a PKCS#1 public key, in bytes: a sequence whose first integer has a two-byte length.
fn rsa_modulus_bytes(der: &[u8]) -> Option<usize> {
    match der {
        [0x30, 0x82, _, _, 0x02, 0x82, high, low, ..] => Some(usize::from(*high) << 8 | usize::from(*low)),
        _ => None,
    }
}

#[cfg(test)]
#[path = "keys_tests.rs"]
mod tests;
