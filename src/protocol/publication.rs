use super::payload::Payload;
use super::record::Traceparent;

/// Longest `Idempotency-Key`, in bytes: enough for any UUID, digest or URL that a caller makes one of.
const MAX_IDEMPOTENCY_KEY_BYTES: usize = 255;

/// What a publisher gives, to be taken once for its user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publication {
    /// The text to deliver.
    pub payload: Payload,
    /// By which a repetition is known.
    pub idempotency_key: Option<IdempotencyKey>,
    /// The trace it belongs to; travels with a message that has history.
    pub traceparent: Option<Traceparent>,
}

impl From<Payload> for Publication {
    fn from(payload: Payload) -> Self {
        Self { payload, idempotency_key: None, traceparent: None }
    }
}

/// A caller's name for one publication to one user: 1 to 255 visible ASCII characters.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct IdempotencyKey(Box<str>);

/// A text is no [`IdempotencyKey`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("Idempotency-Key must be 1 to {MAX_IDEMPOTENCY_KEY_BYTES} visible ASCII characters")]
pub struct IdempotencyKeyError;

impl IdempotencyKey {
    /// Checks and takes over a key.
    ///
    /// # Errors
    /// [`IdempotencyKeyError`] when it is empty, too long, or holds anything but visible ASCII.
    pub fn new(text: &[u8]) -> Result<Self, IdempotencyKeyError> {
        let visible = text.iter().all(u8::is_ascii_graphic);
        match std::str::from_utf8(text) {
            Ok(text) if visible && (1..=MAX_IDEMPOTENCY_KEY_BYTES).contains(&text.len()) => {
                Ok(Self(text.into()))
            }
            _ => Err(IdempotencyKeyError),
        }
    }

    /// The key of one message of a batch, for the caller named the batch.
    #[must_use]
    pub fn of_index(&self, index: usize) -> Self {
        Self(format!("{}:{index}", self.0).into())
    }

    /// The key itself.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_visible_ascii_within_its_bound() {
        for text in ["k", "2026-11-22/essay:7", &"x".repeat(MAX_IDEMPOTENCY_KEY_BYTES)] {
            assert_eq!(
                IdempotencyKey::new(text.as_bytes()).map(|key| key.as_str().to_owned()),
                Ok(text.to_owned())
            );
        }
        for text in ["", "a b", "a\n", "größe", &"x".repeat(MAX_IDEMPOTENCY_KEY_BYTES + 1)] {
            assert_eq!(IdempotencyKey::new(text.as_bytes()), Err(IdempotencyKeyError), "{text:?}");
        }
    }
}
