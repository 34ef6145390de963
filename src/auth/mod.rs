//! Where a token comes from, and how it is verified. Knows no socket.

mod api_key;
mod error;
mod jwks;
mod keys;
mod mint;
mod redact;
mod reload;
mod revoked;
#[cfg(test)]
pub(crate) mod test_support;
mod token;
mod trusted;
mod verify;

use std::time::SystemTime;

use crate::protocol::{Credential, UserId};

pub use api_key::{ApiKey, ApiKeyError};
pub use error::{KeyError, TokenError};
pub use jwks::{FetchObserver, Fetched, KeySet, KeySetError, keep};
pub use mint::{Grant, MintError, Minter};
pub use redact::redact_query;
pub use reload::{Reload, Reloaded, watch};
pub use revoked::RevokedTokens;
pub(crate) use token::decode_form;
pub use token::{BEARER_PROTOCOL, Presented, Token, from_request};
pub use verify::{MAX_EXP, Verifier};

/// Who a verified token speaks for, and until when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The token's `sub`.
    pub user: UserId,
    /// The token's `exp`, without leeway; not after the year 9999.
    pub expires_at: SystemTime,
    /// What it can be revoked by.
    pub credential: Credential,
}
