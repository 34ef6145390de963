use super::declare::Label;
use crate::protocol::{CLOSE_CODES, CloseCode, PayloadError};

macro_rules! label {
    ($(#[$meta:meta])* $name:ident as $label:literal { $($(#[$doc:meta])* $variant:ident = $value:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name { $($(#[$doc])* $variant,)+ }

        impl Label for $name {
            const NAME: &'static str = $label;
            const ALL: &'static [Self] = &[$(Self::$variant,)+];
            fn index(self) -> usize { self as usize }
            fn value(self) -> String {
                match self { $(Self::$variant => $value,)+ }.to_owned()
            }
        }
    };
}

label! {
    /// What became of an upgrade, and of a connection.
    ConnectionStatus as "status" {
        /// The 101 was sent and the user's channel is subscribed.
        Accepted = "accepted",
        /// Refused, before or right after the upgrade.
        Rejected = "rejected",
        /// An accepted connection ended.
        Closed = "closed",
    }
}

label! {
    /// Why a message did not reach a connection, or was not published.
    FailedMessage as "error_type" {
        /// The outbox was full and the connection closed; counts what was queued.
        OutboxFull = "outbox_full",
        /// The outbox was full and the oldest made room.
        DroppedOldest = "dropped_oldest",
        /// The published bytes are no UTF-8.
        NotUtf8 = "not_utf8",
        /// The published text is larger than `MAX_MESSAGE_BYTES`.
        TooLarge = "too_large",
        /// What came on a channel of messages with history is no record.
        Malformed = "malformed",
        /// The connection was lost with the message in its outbox.
        ConnectionLost = "connection_lost",
        /// The backplane did not take a message of the publish API.
        PublishFailed = "publish_failed",
    }
}

label! {
    /// What became of messages given to the publish API.
    Publishing as "result" {
        /// Published.
        Accepted = "accepted",
        /// Refused: no key, or a body that breaks a rule.
        Rejected = "rejected",
        /// The backplane did not take it.
        Failed = "failed",
    }
}

label! {
    /// How a connection in v1 mode began, where history is on.
    Resume as "result" {
        /// Without an id: nothing to resume from.
        First = "first",
        /// Everything after the client's id followed.
        Resumed = "resumed",
        /// The client's id is not in history any more.
        Gap = "gap",
    }
}

impl From<PayloadError> for FailedMessage {
    fn from(error: PayloadError) -> Self {
        match error {
            PayloadError::NotUtf8 => Self::NotUtf8,
            PayloadError::TooLarge { .. } => Self::TooLarge,
        }
    }
}

label! {
    /// What a token turned out to be.
    TokenResult as "result" {
        /// Good.
        Success = "success",
        /// Past its `exp`.
        Expired = "expired",
        /// Missing or wrong in any other way.
        Invalid = "invalid",
        /// Not known: its issuer's keys cannot be fetched.
        Unavailable = "unavailable",
    }
}

label! {
    /// What became of a fetch of an issuer's key set.
    KeyFetch as "result" {
        /// It has keys, now in force.
        Ok = "ok",
        /// Not answered, or not with a set of keys for the algorithm; those from before stay in force.
        Failed = "failed",
    }
}

label! {
    /// What became of a sidecar's report to Redis.
    Report as "result" {
        /// Written.
        Ok = "ok",
        /// Refused, or not written in time.
        Failed = "failed",
    }
}

/// The code a connection ended with: one of ours, or 1006 for a connection that was lost without a close frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClosedWith {
    /// A close code of the table; 1000 for every close that the client began.
    Code(CloseCode),
    /// 1006: lost without a close frame.
    Lost,
}

impl ClosedWith {
    /// The number that the label shows.
    #[must_use]
    pub fn number(self) -> u16 {
        match self {
            Self::Code(code) => code.number(),
            Self::Lost => 1006,
        }
    }
}

const CLOSED_WITH: [ClosedWith; CLOSE_CODES.len() + 1] = {
    let mut all = [ClosedWith::Lost; CLOSE_CODES.len() + 1];
    let mut i = 0;
    while i < CLOSE_CODES.len() {
        all[i] = ClosedWith::Code(CLOSE_CODES[i].code);
        i += 1;
    }
    all
};

impl Label for ClosedWith {
    const NAME: &'static str = "code";
    const ALL: &'static [Self] = &CLOSED_WITH;

    fn index(self) -> usize {
        match self {
            Self::Code(code) => code as usize,
            Self::Lost => CLOSE_CODES.len(),
        }
    }

    fn value(self) -> String {
        self.number().to_string()
    }
}
