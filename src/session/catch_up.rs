use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::time::sleep;

use super::hold::Follow;
use super::outbox::Outbox;
use super::v1::gap_frame;
use crate::backoff::Backoff;
use crate::config::SessionConfig;
use crate::history::{Entry, From, Gap, History, HistoryError, Join, Live, Opening, Read};
use crate::metrics::{FailedMessage, Metrics};
use crate::protocol::{Envelope, EventId, Record, UserId, frame};

/// Delays between attempts to read. The first is about a round trip of a busy server; the last is how long after the end
/// of an outage a client may still wait.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// Most entries of one read.
const MAX_PAGE: usize = 100;

/// Keeps one connection in step with its user's history: reads what it missed, page by page, as fast as its socket takes
/// them, then lets what arrives live follow on.
pub struct CatchUp {
    history: Arc<dyn History>,
    user: UserId,
    join: Join,
    limit: usize,
    max_message_bytes: usize,
    reading: Option<BoxFuture<'static, Result<Vec<Entry>, HistoryError>>>,
    /// The last read left something, or nothing was read yet.
    more: bool,
}

/// Entries of one read: together not more than an outbox may hold, plus the one that proves continuity.
#[must_use]
pub fn page_limit(config: &SessionConfig) -> usize {
    (config.outbox.bytes / config.max_message_bytes.max(1)).clamp(1, MAX_PAGE) + 1
}

impl CatchUp {
    /// Goes on from how the connection began, and gives what is written first.
    #[must_use]
    pub fn new(
        history: Arc<dyn History>,
        user: UserId,
        opening: Opening,
        config: &SessionConfig,
        metrics: &Metrics,
    ) -> (Self, Vec<Arc<Envelope>>) {
        let mut first = VecDeque::new();
        let catch_up = Self {
            history,
            user,
            join: opening.join,
            limit: page_limit(config),
            max_message_bytes: config.max_message_bytes,
            reading: None,
            more: !opening.end,
        };
        if let Some(given) = &opening.gap {
            metrics.gaps.inc();
            first.push_back(Envelope::own(frame::gap(Some(given))));
        }
        catch_up.wrap(opening.messages, &mut first, metrics);
        (catch_up, first.into())
    }

    /// Goes on reading; ready when the backlog has something to write. Called whether or not the socket takes more, for
    /// a read under way holds a place that others wait for.
    pub(super) fn poll(
        &mut self,
        backlog: &mut VecDeque<Arc<Envelope>>,
        outbox: &Outbox,
        metrics: &Metrics,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        while backlog.is_empty() {
            let Some(reading) = &mut self.reading else {
                if !self.more {
                    return Poll::Pending;
                }
                outbox.begin_read();
                self.reading =
                    Some(read(Arc::clone(&self.history), self.user.clone(), self.join.next(), self.limit));
                continue;
            };
            let Poll::Ready(outcome) = reading.as_mut().poll(cx) else { return Poll::Pending };
            self.reading = None;
            match outcome {
                Ok(entries) => {
                    let Read { gap, messages, end } = self.join.read(entries, self.limit);
                    self.say(gap, backlog, metrics);
                    self.wrap(messages, backlog, metrics);
                    self.more = !end;
                }
                Err(_) => {
                    // Refused for good: the client is told that it may miss something, and goes on with what comes.
                    let gap = self.join.give_up();
                    self.say(Some(gap), backlog, metrics);
                    self.more = false;
                }
            }
            if !self.more {
                self.follow(outbox);
            }
        }
        Poll::Ready(())
    }

    /// Whether the backlog is to be filled from history now.
    pub(super) fn is_reading(&self) -> bool {
        self.more
    }

    /// Messages were missed.
    pub(super) fn fell_behind(&mut self) {
        self.more = true;
    }

    /// History has no more: what arrives live follows on, if nothing happened meanwhile.
    pub(super) fn follow(&mut self, outbox: &Outbox) {
        self.more = outbox.follow() == Follow::Again;
    }

    /// The connection closes: what is not read by now is read by the next one.
    pub(super) fn stop(&mut self) {
        self.reading = None;
        self.more = false;
    }

    pub(super) fn live(&mut self, id: EventId) -> Live {
        self.join.live(id)
    }

    fn say(&self, gap: Option<Gap>, backlog: &mut VecDeque<Arc<Envelope>>, metrics: &Metrics) {
        if let Some(gap) = gap {
            metrics.gaps.inc();
            backlog.push_back(Envelope::own(gap_frame(gap)));
        }
    }

    fn wrap(&self, messages: Vec<Record>, backlog: &mut VecDeque<Arc<Envelope>>, metrics: &Metrics) {
        for record in messages {
            match Envelope::kept(record, self.max_message_bytes) {
                Ok(envelope) => backlog.push_back(envelope),
                // Published under other limits, or by another script: it cannot be sent to anybody.
                Err(error) => metrics.messages_failed.of(FailedMessage::from(error)).inc(),
            }
        }
    }
}

/// One page, however long the server is away.
fn read(
    history: Arc<dyn History>,
    user: UserId,
    from: From,
    limit: usize,
) -> BoxFuture<'static, Result<Vec<Entry>, HistoryError>> {
    Box::pin(async move {
        let mut backoff = Backoff::new(RETRY.0, RETRY.1);
        loop {
            match history.read(user.clone(), from, limit).await {
                Err(HistoryError::Unavailable) => sleep(backoff.next_delay()).await,
                outcome => return outcome,
            }
        }
    })
}

impl fmt::Debug for CatchUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CatchUp").field("join", &self.join).field("more", &self.more).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::OutboxConfig;

    #[test]
    fn a_page_is_what_an_outbox_may_hold_and_the_entry_that_proves() {
        for (bytes, max_message_bytes, limit) in
            [(1_000, 300, 4), (100, 300, 2), (1 << 30, 1, 101), (10, 0, 11)]
        {
            let outbox = OutboxConfig { bytes, ..OutboxConfig::default() };
            let config = SessionConfig { outbox, max_message_bytes, ..SessionConfig::default() };
            assert_eq!(page_limit(&config), limit, "{bytes} / {max_message_bytes}");
        }
    }
}
