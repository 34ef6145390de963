//! The messages of a run: numbered, with the time at which they set out.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::tally::Arrived;

/// Writes and recognises the messages of one run.
#[derive(Debug)]
pub(super) struct Messages {
    /// Tells this run's messages from those of an earlier one that are still in history.
    run: String,
    /// Pads to so many bytes.
    bytes: usize,
    /// A clock that is not set back during the run: the time at its start, in microseconds since 1970.
    epoch: u64,
    start: Instant,
}

#[derive(Serialize, Deserialize)]
struct Body<'a> {
    run: &'a str,
    n: u32,
    t: u64,
    #[serde(default)]
    pad: &'a str,
}

impl Messages {
    pub(super) fn new(bytes: u32) -> Self {
        let epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros();
        Self {
            run: format!("{:08x}", rand::random::<u32>()),
            bytes: bytes as usize,
            epoch: u64::try_from(epoch).unwrap_or(u64::MAX),
            start: Instant::now(),
        }
    }

    /// Microseconds since 1970.
    pub(super) fn now(&self) -> u64 {
        let elapsed = u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.epoch.saturating_add(elapsed)
    }

    /// The text of a message that sets out at `t`.
    pub(super) fn text(&self, n: u32, t: u64) -> String {
        // Plain fields: it cannot fail.
        let written = |pad| serde_json::to_string(&Body { run: &self.run, n, t, pad }).unwrap_or_default();
        let bare = written("");
        match self.bytes.checked_sub(bare.len()) {
            None | Some(0) => bare,
            Some(room) => written(&"x".repeat(room)),
        }
    }

    /// The same for each attempt, and for no other message.
    pub(super) fn key(&self, user: u32, n: u32) -> String {
        format!("{}-{user}-{n}", self.run)
    }

    /// What a text says; none where it is not of this run.
    pub(super) fn read(&self, text: &str) -> Option<Arrived> {
        let body: Body<'_> = serde_json::from_str(text).ok()?;
        let arrived = Arrived { number: body.n, micros: self.now().saturating_sub(body.t) };
        (body.run == self.run).then_some(arrived)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_has_its_size_and_is_recognised() {
        let messages = Messages::new(200);
        let text = messages.text(7, messages.now());
        assert_eq!((text.len(), messages.read(&text).map(|arrived| arrived.number)), (200, Some(7)));
        let short = Messages::new(1);
        let text = short.text(u32::MAX, short.now());
        assert!(short.read(&text).is_some());
        assert!(messages.read(&text).is_none(), "of another run");
        assert!(messages.read("Echo: hello").is_none());
    }
}
