use std::path::PathBuf;
use std::time::Duration;

use super::values::Values;
use super::{KeySetUrl, Secret, table};

/// The signature algorithm, fixed by configuration and never taken from a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[expect(missing_docs, reason = "the names of RFC 7518 and RFC 8037")]
pub enum TokenAlgorithm {
    #[default]
    Hs256,
    Hs384,
    Hs512,
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    Es256,
    Es384,
    EdDsa,
}

impl TokenAlgorithm {
    /// Whether keys are shared secrets (HS…) rather than public keys in PEM.
    #[must_use]
    pub fn is_symmetric(self) -> bool {
        matches!(self, Self::Hs256 | Self::Hs384 | Self::Hs512)
    }
}

/// Where the keys that verify tokens come from.
#[derive(Debug, Clone, Default)]
pub struct KeyMaterial {
    /// The key for tokens without a `kid` or with one that no other key has: `JWT_SECRET_KEY` for HS algorithms,
    /// `JWT_PUBLIC_KEY` (PEM) for the others.
    pub current: Option<Secret>,
    /// The key before it, still accepted (`JWT_PREVIOUS_SECRET_KEY`, `JWT_PREVIOUS_PUBLIC_KEY`).
    pub previous: Option<Secret>,
    /// A folder with one key a file, as a mounted Secret has it (`JWT_KEYS_DIR`). The file's name without its
    /// ending is the `kid`; names that begin with a dot are passed over.
    pub directory: Option<PathBuf>,
    /// Key sets that issuers publish, instead of all of these (`JWT_JWKS_URL`): one for all tokens, or each for the
    /// tokens of its issuer.
    pub published: Vec<KeySetUrl>,
}

/// How tokens are verified.
#[derive(Debug, Clone)]
pub struct AuthConfig {
    /// `JWT_ALGORITHM`.
    pub algorithm: TokenAlgorithm,
    /// The keys.
    pub keys: KeyMaterial,
    /// `iss` must be this (`JWT_ISSUER`).
    pub issuer: Option<String>,
    /// `aud` must hold this (`JWT_AUDIENCE`); without it a token's `aud` is not looked at.
    pub audience: Option<String>,
    /// Allowed difference of clocks for `exp` and `nbf` (`JWT_LEEWAY_SECONDS`).
    pub leeway: Duration,
}

impl Default for AuthConfig {
    fn default() -> Self {
        Self {
            algorithm: TokenAlgorithm::Hs256,
            keys: KeyMaterial::default(),
            issuer: None,
            audience: None,
            leeway: Duration::from_secs(5),
        }
    }
}

impl AuthConfig {
    pub(super) fn read(values: &mut Values) -> Self {
        let default = Self::default();
        let algorithm: TokenAlgorithm = values.choice(&table::JWT_ALGORITHM).unwrap_or_default();
        // All are read, so that a fault in one that the algorithm does not use shows as well.
        let secret = values.secret(&table::JWT_SECRET_KEY, |_| Ok(()));
        let previous_secret = values.secret(&table::JWT_PREVIOUS_SECRET_KEY, |_| Ok(()));
        let public = values.secret(&table::JWT_PUBLIC_KEY, |_| Ok(())).map(Secret::with_line_breaks);
        let previous_public =
            values.secret(&table::JWT_PREVIOUS_PUBLIC_KEY, |_| Ok(())).map(Secret::with_line_breaks);
        let (current, previous) =
            if algorithm.is_symmetric() { (secret, previous_secret) } else { (public, previous_public) };
        Self {
            algorithm,
            keys: KeyMaterial {
                current,
                previous,
                directory: values.folder(&table::JWT_KEYS_DIR),
                published: values.key_sets(&table::JWT_JWKS_URL).unwrap_or_default(),
            },
            issuer: values.text(&table::JWT_ISSUER),
            audience: values.text(&table::JWT_AUDIENCE),
            leeway: values.seconds(&table::JWT_LEEWAY_SECONDS).unwrap_or(default.leeway),
        }
    }
}
