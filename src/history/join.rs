use super::{Entry, From};
use crate::protocol::{EventId, Record};

/// Joins what is read from history and what arrives live, for one connection: every message once, in order, or an honest
/// gap. Decides only; whoever drives it reads, and holds live messages back until [`Read::end`].
///
/// # What the driver sees to
/// * It reads after the user's channel was subscribed, and again after every cut of the link.
/// * Live messages that arrive during a read are given to [`Join::live`] after it, or left out if a further read
///   follows: they are in history. They are left out when the link is cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Join {
    /// Everything up to here was delivered, or given up with a gap. `None`: only the oldest entry can be begun with.
    position: Option<EventId>,
    /// The newest message that the client has.
    delivered: Option<EventId>,
    /// Up to here, what arrives live may have been read already.
    overlap: Option<EventId>,
}

/// What is to be sent after a read.
#[derive(Debug, PartialEq, Eq)]
pub struct Read {
    /// Continuity could not be proved: what came after this message is gone, and it is sent before anything else.
    pub gap: Option<Gap>,
    /// The messages to send, in order.
    pub messages: Vec<Record>,
    /// History has no more: what arrives live follows on.
    pub end: bool,
}

/// A hole: what followed this message is gone; `None` where the client had none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap(pub Option<EventId>);

/// What to do with a message that arrived live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Live {
    /// Send it.
    Send,
    /// It was read and sent already.
    Repeated,
    /// Ids went backwards: whoever keeps the history has lost some of it. Send a gap first.
    SendAfter(Gap),
}

impl Join {
    /// A client that comes for the first time: it gets what follows this position.
    #[must_use]
    pub fn at(position: EventId) -> Self {
        Self { position: Some(position), delivered: None, overlap: Some(position) }
    }

    /// A client that has everything up to this id.
    #[must_use]
    pub fn after(id: EventId) -> Self {
        Self { position: Some(id), delivered: Some(id), overlap: None }
    }

    /// A client of which nobody knows what it has: it gets all that history holds.
    #[must_use]
    pub fn from_oldest() -> Self {
        Self { position: None, delivered: None, overlap: None }
    }

    /// Where the next read begins.
    #[must_use]
    pub fn next(&self) -> From {
        self.position.map_or(From::Oldest, From::Entry)
    }

    /// Takes what a read from [`Join::next`] with this limit returned.
    pub fn read(&mut self, entries: Vec<Entry>, limit: usize) -> Read {
        let count = entries.len();
        let mut entries = entries.into_iter().peekable();
        if let Some(position) = self.position {
            match entries.peek().map(Entry::id) {
                Some(first) if first == position => drop(entries.next()),
                // A position just before an entry is as good as the entry.
                Some(first) if first == position.successor() => {}
                _ => {
                    self.position = None;
                    return Read { gap: Some(Gap(self.delivered)), messages: Vec::new(), end: false };
                }
            }
        }
        let mut messages = Vec::with_capacity(entries.len());
        for entry in entries {
            self.position = Some(entry.id());
            if let Entry::Message(record) = entry {
                self.delivered = Some(record.id);
                messages.push(record);
            }
        }
        self.overlap = self.position;
        Read { gap: None, messages, end: count < limit }
    }

    /// History cannot be read: what was missed stays so, and what arrives live follows.
    pub fn give_up(&mut self) -> Gap {
        self.position = Some(EventId { milliseconds: 0, sequence: 0 });
        self.overlap = None;
        Gap(self.delivered)
    }

    /// Decides on a message that arrived live, after the last read.
    pub fn live(&mut self, id: EventId) -> Live {
        let verdict = match (self.position, self.overlap) {
            (Some(position), _) if id > position => {
                self.overlap = None;
                Live::Send
            }
            (_, Some(overlap)) if id <= overlap => return Live::Repeated,
            _ => Live::SendAfter(Gap(self.delivered)),
        };
        self.position = Some(id);
        self.delivered = Some(id);
        verdict
    }
}

#[cfg(test)]
#[path = "join_tests.rs"]
mod tests;
