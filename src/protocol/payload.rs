use std::sync::Arc;

use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Utf8Bytes;

/// What a back end published, checked to be UTF-8 once and then shared by reference up to every socket.
pub type Payload = Utf8Bytes;

/// Why published bytes are not delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PayloadError {
    /// A text frame can carry UTF-8 only.
    #[error("payload is not UTF-8")]
    NotUtf8,
    /// Longer than `MAX_MESSAGE_BYTES`.
    #[error("payload is larger than {limit} bytes")]
    TooLarge {
        /// The bound that was passed, in bytes.
        limit: usize,
    },
}

impl PayloadError {
    /// The value of the `error_type` label.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::NotUtf8 => "not_utf8",
            Self::TooLarge { .. } => "too_large",
        }
    }
}

/// One message on its way through this pod. Made once, shared by all of the user's connections.
#[derive(Debug, PartialEq, Eq)]
pub struct Envelope {
    /// The published text, byte for byte.
    pub payload: Payload,
    /// When it reached this pod; the start of the delivery latency.
    pub received: Instant,
    /// A frame of the service's own (an echo), which metrics do not count as a message.
    pub own: bool,
}

impl Envelope {
    /// Checks bytes from outside and wraps them without copying.
    ///
    /// # Errors
    /// [`PayloadError`] when they are no UTF-8 or longer than `limit` bytes.
    pub fn new(bytes: Vec<u8>, limit: usize) -> Result<Arc<Self>, PayloadError> {
        if bytes.len() > limit {
            return Err(PayloadError::TooLarge { limit });
        }
        let payload = Payload::try_from(bytes).map_err(|_| PayloadError::NotUtf8)?;
        Ok(Arc::new(Self { payload, received: Instant::now(), own: false }))
    }

    /// Wraps a frame of the service's own.
    #[must_use]
    pub fn own(text: String) -> Arc<Self> {
        Arc::new(Self { payload: Payload::from(text), received: Instant::now(), own: true })
    }

    /// Its length in bytes, as queues count it.
    #[must_use]
    pub fn len(&self) -> usize {
        self.payload.len()
    }

    /// Whether the published text is empty; such a message is delivered like any other.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.payload.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_bytes_and_refuses_what_cannot_be_sent() {
        let text = "{\"größe\": 1}\n";
        let envelope = Envelope::new(text.into(), 64).expect("valid");
        assert_eq!(envelope.payload.as_str(), text);
        assert_eq!(Envelope::new(vec![0xff, 0xfe], 64), Err(PayloadError::NotUtf8));
        assert_eq!(Envelope::new(vec![b'x'; 65], 64), Err(PayloadError::TooLarge { limit: 64 }));
    }
}
