use std::path::PathBuf;

use crate::config::SecretError;
use crate::protocol::{ErrorCode, ServiceError};

/// Why a token is refused.
///
/// The message ([`std::fmt::Display`]) is at most 17 bytes, so that it stands whole in a close reason; [`detail`]
/// says it at length. Neither holds anything from the token, so both may be logged and shown to a stranger.
///
/// [`detail`]: TokenError::detail
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum TokenError {
    /// The request names no token, or an empty one.
    #[error("Token is missing")]
    Missing,
    /// More than one token in one request.
    #[error("Several tokens")]
    Several,
    /// Longer than [`MAX_TOKEN_BYTES`](crate::protocol::limits::MAX_TOKEN_BYTES); it was not read.
    #[error("Token is too long")]
    TooLong,
    /// Broken percent-encoding, or not text.
    #[error("Token is garbled")]
    Encoding,
    /// No signed JWT of a known algorithm (`alg: none` is none), or claims that cannot be read.
    #[error("Token is invalid")]
    Malformed,
    /// The header asks for rules (`crit`) that this service does not know.
    #[error("Unknown crit rule")]
    Critical,
    /// The header's `alg` is not the configured one.
    #[error("Wrong algorithm")]
    Algorithm,
    /// There is no key for this token.
    #[error("Unknown key")]
    UnknownKey,
    /// The keys of the token's issuer are not there now; the token may be good.
    #[error("No keys at hand")]
    NoKeys,
    /// The signature is not by the key it must be by.
    #[error("Wrong signature")]
    Signature,
    /// `sub` is absent.
    #[error("Token lacks sub")]
    NoSubject,
    /// `sub` is not a text of 1 to 256 bytes.
    #[error("Bad sub in token")]
    BadSubject,
    /// `exp` is absent.
    #[error("Token lacks exp")]
    NoExpiry,
    /// `exp` is no number of seconds since 1970, or beyond the year 9999.
    #[error("Bad exp in token")]
    BadExpiry,
    /// `exp` has passed, leeway included.
    #[error("Token has expired")]
    Expired,
    /// `nbf` is no number of seconds since 1970.
    #[error("Bad nbf in token")]
    BadNotBefore,
    /// `nbf` has not come yet, leeway included.
    #[error("Token not active")]
    NotActive,
    /// It was good, and was revoked.
    #[error("Token is revoked")]
    Revoked,
    /// `iss` is absent or not the configured one.
    #[error("Wrong issuer")]
    Issuer,
    /// `aud` is absent or does not hold the configured one.
    #[error("Wrong audience")]
    Audience,
}

impl TokenError {
    /// The `result` label of `jwt_validation_total`: `expired`, `unavailable` or `invalid`.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::NoKeys => "unavailable",
            _ => "invalid",
        }
    }

    /// What is wrong and what to do, for HTTP bodies and logs.
    #[must_use]
    pub fn detail(self) -> &'static str {
        match self {
            Self::Missing => {
                "no token: send ?token=, Authorization: Bearer, or the subprotocols bearer and the token"
            }
            Self::Several => "the token must be given once and in one place",
            Self::TooLong => "the token is longer than 8192 bytes",
            Self::Encoding => "the token is not valid percent-encoded UTF-8 text",
            Self::Malformed => {
                "the token is no signed JWT of a known algorithm, or its claims have impossible types"
            }
            Self::Critical => "the token's header has crit, and no such extension is known here",
            Self::Algorithm => "the token's alg is not the configured JWT_ALGORITHM",
            Self::UnknownKey => "no key has the token's kid, and there is no current key for it",
            Self::NoKeys => {
                "the issuer's keys cannot be fetched now, so nothing is known of the token: try again"
            }
            Self::Signature => "the token is not signed by the key it should be signed by",
            Self::NoSubject => "the token has no sub (the user id)",
            Self::BadSubject => "the token's sub must be a string of 1 to 256 bytes",
            Self::NoExpiry => "the token has no exp",
            Self::BadExpiry => {
                "the token's exp must be a number of seconds since 1970, not milliseconds, up to the year 9999"
            }
            Self::Expired => "the token's exp has passed",
            Self::BadNotBefore => "the token's nbf must be a number of seconds since 1970",
            Self::NotActive => "the token's nbf has not come yet; check the clocks",
            Self::Revoked => "the token was revoked by an operator: log in again",
            Self::Issuer => "the token's iss is not a configured one (JWT_ISSUER, JWT_JWKS_URL)",
            Self::Audience => "the token's aud does not hold the configured JWT_AUDIENCE",
        }
    }
}

impl From<TokenError> for ServiceError {
    /// An `AUTHENTICATION_ERROR` of the operation `authenticate`, a `SERVICE_UNAVAILABLE` where the token may be good, or an
    /// `AUTHORIZATION_ERROR` where it was revoked, with the short message: it serves as a close reason too.
    /// [`TokenError::detail`] is in its details.
    fn from(error: TokenError) -> Self {
        let code = match error {
            TokenError::NoKeys => ErrorCode::ServiceUnavailable,
            TokenError::Revoked => ErrorCode::Authorization,
            _ => ErrorCode::Authentication,
        };
        Self::new(code, "authenticate", error.to_string()).with_detail("reason", error.detail())
    }
}

/// Why keys cannot be used. Names settings, files and key ids, never a key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// No key is configured.
    #[error(
        "no key to verify tokens with: set {0} (or {0}_FILE), or put keys in WEBSOCKET_SERVICE_JWT_KEYS_DIR"
    )]
    Missing(&'static str),
    /// A key's file cannot be read.
    #[error(transparent)]
    Unreadable(#[from] SecretError),
    /// The folder of keys cannot be read.
    #[error("cannot read the folder of keys {}: {source}", path.display())]
    Directory {
        /// Its path.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A key is there, and is no good.
    #[error("{key}: {problem}")]
    Invalid {
        /// Which: a setting, or `kid "…"`.
        key: String,
        /// What is wrong, and what is expected.
        problem: &'static str,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::CorrelationId;
    use TokenError::*;

    const ALL: [TokenError; 20] = [
        Missing,
        Several,
        TooLong,
        Encoding,
        Malformed,
        Critical,
        Algorithm,
        UnknownKey,
        NoKeys,
        Signature,
        NoSubject,
        BadSubject,
        NoExpiry,
        BadExpiry,
        Expired,
        BadNotBefore,
        NotActive,
        Revoked,
        Issuer,
        Audience,
    ];

    #[test]
    fn every_message_stands_whole_in_a_close_reason() {
        for error in ALL {
            let reason = ServiceError::from(error).to_close().reason(CorrelationId::random());
            assert!(reason.contains(&format!("\"{error}\"")), "{error} is cut: {reason}");
            assert!(error.detail().len() > 17);
        }
    }

    #[test]
    fn expiry_and_what_is_nobody_s_fault_have_labels_of_their_own() {
        for error in ALL {
            let label = match error {
                Expired => "expired",
                NoKeys => "unavailable",
                _ => "invalid",
            };
            assert_eq!(error.label(), label);
            let code = ServiceError::from(error).code;
            assert_eq!(code == ErrorCode::ServiceUnavailable, error == NoKeys, "{error}");
        }
    }
}
