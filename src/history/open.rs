use super::join::{Join, Read};
use super::{From, History, HistoryError};
use crate::protocol::{EventId, Record, UserId};

/// Longest part of a client's id that is shown back to it, in bytes: more than any real one has.
const MAX_SHOWN_BYTES: usize = 64;

/// A cursor that proves nothing: no entry is there.
const NOWHERE: EventId = EventId { milliseconds: 0, sequence: 0 };

/// How a connection begins.
#[derive(Debug)]
pub struct Opening {
    /// Where to resume from if nothing arrives.
    pub cursor: EventId,
    /// Everything after the id that the client gave follows.
    pub resumed: bool,
    /// The id after which something is missing, as the client gave it.
    pub gap: Option<String>,
    /// The first of what the client missed.
    pub messages: Vec<Record>,
    /// How it goes on: with a further read, or with what arrives live.
    pub join: Join,
    /// Whether history has no more.
    pub end: bool,
}

/// Finds where a client continues; `last_event_id` is what it says it has. Called when the user's channel is subscribed
/// and what arrives is held back.
///
/// # Errors
/// [`HistoryError::Unavailable`] when history cannot be read now; the client is to come again.
pub async fn open(
    history: &dyn History,
    user: &UserId,
    last_event_id: Option<&str>,
    limit: usize,
) -> Result<Opening, HistoryError> {
    match read(history, user, last_event_id, limit).await {
        // Nothing can be proved, now or by this cursor later; what arrives live is still good.
        Err(HistoryError::Refused(_)) => Ok(Opening {
            cursor: NOWHERE,
            resumed: false,
            gap: last_event_id.map(shown),
            messages: Vec::new(),
            join: Join::at(NOWHERE),
            end: true,
        }),
        opened => opened,
    }
}

async fn read(
    history: &dyn History,
    user: &UserId,
    last_event_id: Option<&str>,
    limit: usize,
) -> Result<Opening, HistoryError> {
    let Some(given) = last_event_id else {
        let cursor = history.newest(user.clone()).await?;
        let (messages, join) = (Vec::new(), Join::at(cursor));
        return Ok(Opening { cursor, resumed: false, gap: None, messages, join, end: true });
    };
    let mut join = match given.parse() {
        Ok(id) => {
            let mut join = Join::after(id);
            let entries = history.read(user.clone(), join.next(), limit).await?;
            let Read { gap, messages, end } = join.read(entries, limit);
            if gap.is_none() {
                return Ok(Opening { cursor: id, resumed: true, gap: None, messages, join, end });
            }
            join
        }
        Err(_) => Join::from_oldest(),
    };
    let entries = history.read(user.clone(), From::Oldest, limit).await?;
    // A position just before the oldest entry: whoever resumes from there gets all that is sent now.
    let oldest = entries.first().map(super::Entry::id);
    let Read { messages, end, .. } = join.read(entries, limit);
    let cursor = oldest.map_or(NOWHERE, EventId::predecessor);
    Ok(Opening { cursor, resumed: false, gap: Some(shown(given)), messages, join, end })
}

/// The beginning of what the client sent.
fn shown(given: &str) -> String {
    given
        .chars()
        .scan(0, |bytes, c| {
            *bytes += c.len_utf8();
            (*bytes <= MAX_SHOWN_BYTES).then_some(c)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use futures_util::future::BoxFuture;

    use super::super::{Entry, Live};
    use super::*;

    /// A history of which every question is answered so.
    struct Answers(HistoryError);

    impl History for Answers {
        fn read(&self, _: UserId, _: From, _: usize) -> BoxFuture<'_, Result<Vec<Entry>, HistoryError>> {
            Box::pin(async { Err(self.0.clone()) })
        }

        fn newest(&self, _: UserId) -> BoxFuture<'_, Result<EventId, HistoryError>> {
            Box::pin(async { Err(self.0.clone()) })
        }

        fn keep(&self, _: Vec<UserId>) -> BoxFuture<'_, Result<(), HistoryError>> {
            Box::pin(async { Err(self.0.clone()) })
        }
    }

    async fn asked(error: HistoryError, given: Option<&str>) -> Result<Opening, HistoryError> {
        open(&Answers(error), &UserId::new("ann").expect("an id"), given, 9).await
    }

    #[tokio::test]
    async fn a_history_that_refuses_is_a_gap_for_who_resumes_and_what_comes_is_good() {
        for (given, gap) in [(None, None), (Some("5-0"), Some("5-0"))] {
            let refusal = HistoryError::Refused("NOPERM".to_owned());
            let mut opening = asked(refusal, given).await.expect("opens");
            assert_eq!((opening.cursor, opening.resumed, opening.end), (NOWHERE, false, true));
            assert_eq!(opening.gap.as_deref(), gap);
            assert_eq!(opening.join.live(EventId { milliseconds: 7, sequence: 0 }), Live::Send);
        }
    }

    #[tokio::test]
    async fn a_history_that_is_away_is_an_error() {
        for given in [None, Some("5-0"), Some("nonsense")] {
            let error = asked(HistoryError::Unavailable, given).await.expect_err("away");
            assert_eq!(error, HistoryError::Unavailable);
        }
    }

    #[test]
    fn of_a_long_id_the_beginning_is_shown_in_whole_characters() {
        let longest = "x".repeat(MAX_SHOWN_BYTES);
        assert_eq!(shown(&longest), longest);
        assert_eq!(shown(&format!("{longest}x")), longest);
        assert_eq!(shown(&format!("x{}", "ü".repeat(40))), format!("x{}", "ü".repeat(31)));
    }
}
