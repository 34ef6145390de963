use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

use super::limits::MAX_USER_ID_BYTES;

/// Who a connection belongs to: the token's `sub`, the tail of a Redis channel, a path segment of the HTTP API.
///
/// Any non-empty UTF-8 of at most [`MAX_USER_ID_BYTES`] is carried as it is, spaces, colons, braces and line breaks
/// included: a Redis channel is binary safe, and paths are percent-decoded before they come here. Cloning shares.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UserId(Arc<str>);

/// Why a text is no [`UserId`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// The text is empty.
    #[error("user id is empty")]
    Empty,
    /// The text is longer than [`MAX_USER_ID_BYTES`].
    #[error("user id is longer than {MAX_USER_ID_BYTES} bytes")]
    TooLong,
}

impl UserId {
    /// Checks and takes over a user id.
    ///
    /// # Errors
    /// [`IdError`] when the text is empty or longer than [`MAX_USER_ID_BYTES`].
    pub fn new(text: &str) -> Result<Self, IdError> {
        match text.len() {
            0 => Err(IdError::Empty),
            1..=MAX_USER_ID_BYTES => Ok(Self(Arc::from(text))),
            _ => Err(IdError::TooLong),
        }
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for UserId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Escapes line breaks and control characters, so that an id cannot forge a line of the log.
impl fmt::Debug for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl Serialize for UserId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for UserId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

/// One connection, unique over pods and restarts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ConnectionId(Uuid);

impl ConnectionId {
    /// Makes a new random id.
    #[must_use]
    pub fn random() -> Self {
        Self(random())
    }

    /// Reads an id that was made before.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Uuid::try_parse(text).ok().map(Self)
    }
}

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Ties one request's answer, its log lines and its close frame together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct CorrelationId(Uuid);

impl CorrelationId {
    /// Makes a new random id.
    #[must_use]
    pub fn random() -> Self {
        Self(random())
    }

    /// Takes over a caller's id when it is a UUID in any of the usual spellings.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Uuid::try_parse(text).ok().map(Self)
    }
}

impl fmt::Display for CorrelationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A version 4 UUID from the thread's generator: `Uuid::new_v4` makes a system call for each, which a connect storm feels.
fn random() -> Uuid {
    uuid::Builder::from_random_bytes(rand::random()).into_uuid()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn carries_any_text_within_the_bound() {
        for text in ["a", "with space", "a:b", "{tag}", "größe", "line\nbreak", "\u{0}"] {
            assert_eq!(UserId::new(text).map(|id| id.to_string()), Ok(text.to_owned()));
        }
        assert!(UserId::new(&"x".repeat(MAX_USER_ID_BYTES)).is_ok());
    }

    #[test]
    fn refuses_empty_and_long() {
        assert_eq!(UserId::new(""), Err(IdError::Empty));
        assert_eq!(UserId::new(&"x".repeat(MAX_USER_ID_BYTES + 1)), Err(IdError::TooLong));
    }

    #[test]
    fn debug_escapes_line_breaks() {
        let id = UserId::new("a\nb").expect("a valid id");
        assert_eq!(format!("{id:?}"), r#""a\nb""#);
    }

    #[test]
    fn correlation_id_must_be_a_uuid() {
        let text = "6f0c2d3e-5a55-4c93-9d51-0f6f4a7b8c9d";
        assert_eq!(CorrelationId::parse(text).map(|id| id.to_string()), Some(text.to_owned()));
        assert_eq!(CorrelationId::parse("not-a-uuid"), None);
    }
}
