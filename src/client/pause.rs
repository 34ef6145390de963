//! When to come back, and whether: a plain value, decided by how the last connection ended (`docs/codes.md`).

use std::time::Duration;

use crate::backoff::Backoff;

/// A server that was sent too much (4003) is stayed away from for so long at least.
const TOO_FAST: Duration = Duration::from_secs(10);

/// Refused tokens in a row after which a new one is no help.
const MAX_REFUSALS: u8 = 2;

/// Longest wait that a `reconnect` frame can ask for.
pub(super) const MAX_ANNOUNCED: Duration = Duration::from_secs(300);

/// What comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Connect after this long.
    After(Duration),
    /// The same with a token that was not refused yet.
    FreshTokenAfter(Duration),
    /// Nothing: it would end the same way.
    Stop,
}

/// How long to stay away after what happened last. Whoever holds it sleeps.
#[derive(Debug)]
pub struct Pause {
    backoff: Backoff,
    /// Tokens refused since one was accepted.
    refusals: u8,
}

impl Pause {
    /// Random waits of at most `base` after the first failure, and of at most `cap` after many.
    #[must_use]
    pub fn new(base: Duration, cap: Duration) -> Self {
        Self { backoff: Backoff::new(base, cap), refusals: 0 }
    }

    /// The token was accepted beyond doubt.
    pub fn accepted(&mut self) {
        self.refusals = 0;
    }

    /// A connection has lived: whatever failed before is over.
    pub fn lived(&mut self) {
        self.refusals = 0;
        self.backoff.reset();
    }

    /// After a close; 1006 is a connection that was lost. `announced` is what is left of the wait that a `reconnect`
    /// frame asked for.
    pub fn closed(&mut self, code: u16, announced: Option<Duration>) -> Next {
        match code {
            1000 | 1002 | 1003 | 1007 | 1009 | 4000 | 4004 => Next::Stop,
            1008 => self.token_refused(),
            4003 => Next::After(TOO_FAST + self.backoff.next_delay()),
            // The server has spread its clients already.
            _ => Next::After(announced.unwrap_or_else(|| self.backoff.next_delay())),
        }
    }

    /// After an answer in HTTP.
    pub fn refused(&mut self, status: u16, retry_after: Option<Duration>) -> Next {
        match status {
            400 | 403 | 404 | 426 => Next::Stop,
            401 => self.token_refused(),
            _ => Next::After(retry_after.unwrap_or_default() + self.backoff.next_delay()),
        }
    }

    /// After an attempt that came to nothing.
    pub fn failed(&mut self) -> Next {
        Next::After(self.backoff.next_delay())
    }

    fn token_refused(&mut self) -> Next {
        self.refusals = self.refusals.saturating_add(1);
        match self.refusals {
            MAX_REFUSALS.. => Next::Stop,
            _ => Next::FreshTokenAfter(self.backoff.next_delay()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::CLOSE_CODES;

    const BASE: Duration = Duration::from_millis(100);

    fn pause() -> Pause {
        Pause::new(BASE, Duration::from_secs(10))
    }

    #[test]
    fn each_close_code_is_answered_as_its_row_advises() {
        for row in &CLOSE_CODES {
            let next = pause().closed(row.number, None);
            let stop = row.advice.starts_with("do not reconnect") || row.advice == "nothing";
            match next {
                Next::Stop => assert!(stop, "{row:?}"),
                Next::FreshTokenAfter(_) => assert_eq!(row.advice, "fetch a new token, then reconnect"),
                Next::After(wait) if row.number == 4003 => assert!(wait >= TOO_FAST),
                Next::After(wait) => assert!(!stop && wait <= BASE, "{row:?}"),
            }
        }
        assert!(matches!(pause().closed(1006, None), Next::After(_)));
        assert!(matches!(pause().closed(4999, None), Next::After(_)), "one that is new");
    }

    #[test]
    fn an_announced_wait_is_kept_and_counts_as_no_failure() {
        let mut pause = pause();
        let wait = Duration::from_millis(1234);
        assert_eq!(pause.closed(1012, Some(wait)), Next::After(wait));
        assert_eq!(pause.backoff.attempt(), 0);
        assert_eq!(pause.closed(4004, Some(wait)), Next::Stop);
    }

    #[test]
    fn retry_after_comes_on_top_of_the_jitter() {
        let asked = Duration::from_secs(7);
        for status in [429, 503] {
            let Next::After(wait) = pause().refused(status, Some(asked)) else { panic!("{status}") };
            assert!((asked..=asked + BASE).contains(&wait));
        }
        for status in [400, 403, 404, 426] {
            assert_eq!(pause().refused(status, None), Next::Stop);
        }
    }

    #[test]
    fn a_second_refused_token_in_a_row_is_the_last() {
        let mut pause = pause();
        assert!(matches!(pause.closed(1008, None), Next::FreshTokenAfter(_)));
        pause.lived();
        assert!(matches!(pause.refused(401, None), Next::FreshTokenAfter(_)));
        assert_eq!(pause.closed(1008, None), Next::Stop);
    }
}
