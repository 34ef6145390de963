//! The service's plain mode.

use std::borrow::Cow;

use super::Heard;

/// Each text is a message.
pub(super) fn hear(text: &[u8]) -> Heard<'_> {
    Heard::Message(Cow::Borrowed(text))
}
