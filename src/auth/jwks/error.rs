use std::time::Duration;

use crate::config::TokenAlgorithm;

/// Why a key set cannot be had. Safe to log: no part of the answer is in it but the place of a fault.
#[derive(Debug, thiserror::Error)]
pub enum KeySetError {
    /// Nothing listens there, or the connection broke, or its certificate is not trusted.
    #[error("it cannot be reached: {0}")]
    Unreachable(String),
    /// This system's certificate authorities cannot be read.
    #[error("the certificate authorities cannot be read: {0}; see SSL_CERT_FILE")]
    Authorities(String),
    /// Not whole within the bound.
    #[error("it was not answered within {0:?}")]
    Timeout(Duration),
    /// Not a 200.
    #[error("it was answered {0}")]
    Status(u16),
    /// It is elsewhere.
    #[error("it was answered {0}, and redirects are not followed: set JWT_JWKS_URL to where it leads")]
    Redirect(u16),
    /// Larger than this many KiB.
    #[error("it is larger than {0} KiB")]
    TooLarge(usize),
    /// No JWK Set.
    #[error("it is no JSON Web Key Set: {0}")]
    Document(String),
    /// So many entries.
    #[error("it has {0} keys, which are more than 100")]
    TooMany(usize),
    /// No entry is a key for the algorithm.
    #[error("it has no key for signatures of JWT_ALGORITHM {0:?}")]
    NoKey(TokenAlgorithm),
}
