//! The messages of a run: numbered, with the time at which they set out.

use std::fmt::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Deserialize;
use tokio::time::Instant;

use super::tally::Arrived;

/// Bytes of a text without its padding, at most.
const LONGEST_BARE: usize = 80;

const END: &str = "\"}";

/// Writes and recognises the messages of one run.
#[derive(Debug)]
pub(super) struct Messages {
    /// Tells this run's messages from those of an earlier one that are still in history.
    run: String,
    /// What each text begins with.
    head: String,
    /// Pads to so many bytes.
    bytes: usize,
    pad: String,
    /// A clock that is not set back during the run: the time at its start, in microseconds since 1970.
    epoch: u64,
    start: Instant,
}

#[derive(Deserialize)]
struct Body<'a> {
    run: &'a str,
    n: u32,
    t: u64,
}

impl Messages {
    pub(super) fn new(bytes: u32) -> Self {
        let epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros();
        let run = format!("{:08x}", rand::random::<u32>());
        Self {
            head: format!(r#"{{"run":"{run}","n":"#),
            run,
            bytes: bytes as usize,
            pad: "x".repeat(bytes as usize),
            epoch: u64::try_from(epoch).unwrap_or(u64::MAX),
            start: Instant::now(),
        }
    }

    /// Microseconds since 1970.
    pub(super) fn now(&self) -> u64 {
        let elapsed = u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.epoch.saturating_add(elapsed)
    }

    /// The text of a message that sets out at `t`. Its fields are in the order that [`Messages::read`] is quick with.
    pub(super) fn text(&self, n: u32, t: u64) -> String {
        let Self { run, pad, bytes, .. } = self;
        let mut text = String::with_capacity((*bytes).max(LONGEST_BARE));
        // A String takes all that is written.
        let _ = write!(text, r#"{{"run":"{run}","n":{n},"t":{t},"pad":""#);
        let room = bytes.saturating_sub(text.len() + END.len());
        text.push_str(&pad[..room]);
        text.push_str(END);
        text
    }

    /// The same for each attempt, and for no other message.
    pub(super) fn key(&self, user: u32, n: u32) -> String {
        format!("{}-{user}-{n}", self.run)
    }

    /// What a text says; none where it is not of this run.
    pub(super) fn read(&self, text: &[u8]) -> Option<Arrived> {
        let (n, t) = self.quick(text).or_else(|| {
            // A server that takes JSON apart may write its fields in another order.
            let body: Body<'_> = serde_json::from_slice(text).ok()?;
            (body.run == self.run).then_some((body.n, body.t))
        })?;
        Some(Arrived { number: n, micros: self.now().saturating_sub(t) })
    }

    /// The same for a text as it was written, without a look at the rest of it.
    fn quick(&self, text: &[u8]) -> Option<(u32, u64)> {
        let text = text.strip_prefix(self.head.as_bytes())?;
        let (n, text) = digits(text);
        let (t, text) = digits(text.strip_prefix(br#","t":"#)?);
        text.strip_prefix(br#","pad":""#)?;
        Some((u32::try_from(n).ok()?, t))
    }
}

/// The number at the beginning, and what follows it.
fn digits(text: &[u8]) -> (u64, &[u8]) {
    let end = text.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    let value = text[..end]
        .iter()
        .fold(0u64, |value, digit| value.wrapping_mul(10).wrapping_add(u64::from(digit - b'0')));
    (value, &text[end..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_has_its_size_and_is_recognised() {
        let messages = Messages::new(200);
        let text = messages.text(7, messages.now());
        let read = |text: &str| messages.read(text.as_bytes()).map(|arrived| arrived.number);
        assert_eq!((text.len(), read(&text)), (200, Some(7)));
        assert!(messages.quick(text.as_bytes()).is_some() && serde_json::from_str::<Body<'_>>(&text).is_ok());
        let again = serde_json::from_str::<serde_json::Value>(&text).expect("JSON").to_string();
        assert_eq!((read(&again), messages.quick(again.as_bytes())), (Some(7), None), "in another order");
        let short = Messages::new(1);
        let text = short.text(u32::MAX, u64::MAX);
        assert!(short.read(text.as_bytes()).is_some() && text.len() <= LONGEST_BARE);
        assert_eq!(read(&text), None, "of another run");
        assert_eq!(read("Echo: hello"), None);
    }
}
