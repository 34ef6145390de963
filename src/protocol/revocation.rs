//! Tokens that do not count any more, although nothing is wrong with them.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::UserId;
use super::limits::MAX_TOKEN_ID_BYTES;

/// A token's `jti`: 1 to [`MAX_TOKEN_ID_BYTES`] bytes. Cloning shares.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct TokenId(Arc<str>);

/// The text is no [`TokenId`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a token's id (jti) has 1 to {MAX_TOKEN_ID_BYTES} bytes")]
pub struct TokenIdError;

impl TokenId {
    /// Checks and takes over an id.
    ///
    /// # Errors
    /// [`TokenIdError`] when the text is empty or too long.
    pub fn new(text: &str) -> Result<Self, TokenIdError> {
        if (1..=MAX_TOKEN_ID_BYTES).contains(&text.len()) {
            Ok(Self(Arc::from(text)))
        } else {
            Err(TokenIdError)
        }
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for TokenId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// Escapes line breaks and control characters.
impl fmt::Debug for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl Serialize for TokenId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for TokenId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

/// What of a token tells whether it was revoked, besides its user.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Credential {
    /// Its `iat`, in seconds since 1970; 0 where it does not say, so that it counts as older than any revocation.
    pub issued_at: u64,
    /// Its `jti`, where that is a text of a length that can be revoked.
    pub id: Option<TokenId>,
}

/// Which tokens are meant.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "of", rename_all = "snake_case")]
pub enum Revoked {
    /// All that were issued before a time, in seconds since 1970.
    Everybody {
        /// The time.
        issued_before: u64,
    },
    /// Those of them that are a user's.
    User {
        /// Whose.
        user_id: UserId,
        /// The time.
        issued_before: u64,
    },
    /// One.
    Token {
        /// Its `jti`.
        token_id: TokenId,
    },
}

impl Revoked {
    /// What it is called among all: a later revocation of the same name takes its place.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Everybody { .. } => "everybody".to_owned(),
            Self::User { user_id, .. } => format!("user:{user_id}"),
            Self::Token { token_id } => format!("token:{}", token_id.as_str()),
        }
    }
}

/// An operator's word that tokens do not count any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revocation {
    /// Which.
    #[serde(flatten)]
    pub revoked: Revoked,
    /// Until when it is kept, in seconds since 1970; the tokens should have expired by then.
    pub kept_until: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_written_and_read_the_same() {
        let user_id = UserId::new("ann").expect("an id");
        let token_id = TokenId::new("a b").expect("an id");
        for (revoked, name, json) in [
            (
                Revoked::Everybody { issued_before: 7 },
                "everybody",
                r#"{"of":"everybody","issued_before":7,"kept_until":9}"#,
            ),
            (
                Revoked::User { user_id, issued_before: 7 },
                "user:ann",
                r#"{"of":"user","user_id":"ann","issued_before":7,"kept_until":9}"#,
            ),
            (Revoked::Token { token_id }, "token:a b", r#"{"of":"token","token_id":"a b","kept_until":9}"#),
        ] {
            assert_eq!(revoked.name(), name);
            let revocation = Revocation { revoked, kept_until: 9 };
            assert_eq!(serde_json::to_string(&revocation).expect("JSON"), json);
            assert_eq!(serde_json::from_str::<Revocation>(json).expect("a revocation"), revocation);
        }
    }

    #[test]
    fn an_id_has_a_length() {
        assert_eq!(TokenId::new(""), Err(TokenIdError));
        assert_eq!(TokenId::new(&"x".repeat(MAX_TOKEN_ID_BYTES + 1)), Err(TokenIdError));
        assert!(TokenId::new(&"x".repeat(MAX_TOKEN_ID_BYTES)).is_ok());
        assert!(serde_json::from_str::<TokenId>(r#""""#).is_err());
    }
}
