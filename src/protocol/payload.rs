use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::event_id::EventId;
use super::frame;
use super::record::{Record, Traceparent};

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
#[derive(Debug)]
pub struct Envelope {
    /// The published text, byte for byte.
    pub payload: Payload,
    /// When it reached this pod; the start of the delivery latency.
    pub received: Instant,
    /// Whose it is, and its place in history.
    pub origin: Origin,
    /// The frame of v1 mode, made when the first connection asks for it.
    framed: OnceLock<Payload>,
}

/// Where an [`Envelope`] came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A frame of the service's own (an echo), which metrics do not count as a message.
    Own,
    /// A bare PUBLISH: there is no history of it.
    Bare,
    /// A message with history.
    Kept(EventId, Option<Traceparent>),
}

impl Envelope {
    /// Checks a bare PUBLISH and wraps it without copying.
    ///
    /// # Errors
    /// [`PayloadError`] when it is no UTF-8 or longer than `limit` bytes.
    pub fn new(bytes: impl Into<Bytes>, limit: usize) -> Result<Arc<Self>, PayloadError> {
        Self::checked(bytes.into(), limit, Origin::Bare)
    }

    /// Checks a message with history and wraps it without copying.
    ///
    /// # Errors
    /// As for [`Envelope::new`].
    pub fn kept(record: Record, limit: usize) -> Result<Arc<Self>, PayloadError> {
        Self::checked(record.payload, limit, Origin::Kept(record.id, record.traceparent))
    }

    /// Wraps a frame of the service's own.
    #[must_use]
    pub fn own(text: String) -> Arc<Self> {
        Self::wrapped(Payload::from(text), Origin::Own)
    }

    fn checked(bytes: Bytes, limit: usize, origin: Origin) -> Result<Arc<Self>, PayloadError> {
        if bytes.len() > limit {
            return Err(PayloadError::TooLarge { limit });
        }
        let payload = Payload::try_from(bytes).map_err(|_| PayloadError::NotUtf8)?;
        Ok(Self::wrapped(payload, origin))
    }

    fn wrapped(payload: Payload, origin: Origin) -> Arc<Self> {
        Arc::new(Self { payload, received: Instant::now(), origin, framed: OnceLock::new() })
    }

    /// Its place in history.
    #[must_use]
    pub fn id(&self) -> Option<EventId> {
        match self.origin {
            Origin::Kept(id, _) => Some(id),
            Origin::Own | Origin::Bare => None,
        }
    }

    /// The trace that its publisher named.
    #[must_use]
    pub fn traceparent(&self) -> Option<&Traceparent> {
        match &self.origin {
            Origin::Kept(_, traceparent) => traceparent.as_ref(),
            Origin::Own | Origin::Bare => None,
        }
    }

    /// Whether it is a frame of the service's own.
    #[must_use]
    pub fn is_own(&self) -> bool {
        self.origin == Origin::Own
    }

    /// The `message` frame of v1 mode; of a frame of the service's own, itself.
    #[must_use]
    pub fn framed(&self) -> &Payload {
        let (id, traceparent) = match &self.origin {
            Origin::Own => return &self.payload,
            Origin::Bare => (None, None),
            Origin::Kept(id, traceparent) => (Some(*id), traceparent.as_ref()),
        };
        self.framed.get_or_init(|| frame::message(id, traceparent, &self.payload).into())
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
        let envelope = Envelope::new(text, 64).expect("valid");
        assert_eq!(envelope.payload.as_str(), text);
        let refused = |bytes: Vec<u8>| Envelope::new(bytes, 64).err();
        assert_eq!(refused(vec![0xff, 0xfe]), Some(PayloadError::NotUtf8));
        assert_eq!(refused(vec![b'x'; 65]), Some(PayloadError::TooLarge { limit: 64 }));
    }

    #[test]
    fn is_framed_once() {
        let envelope = Envelope::new("7", 64).expect("valid");
        assert_eq!(envelope.framed().as_str(), r#"{"type":"message","data":7}"#);
        assert_eq!(envelope.framed().as_str().as_ptr(), envelope.framed().as_str().as_ptr());
        assert_eq!(Envelope::own("Echo: x".to_owned()).framed().as_str(), "Echo: x");
    }
}
