//! The clients of a drain, and what is seen of it.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde::Serialize;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::bench::access::{Mint, Tokens};
use crate::bench::crowd::CrowdArgs;
use crate::bench::ramp::Turn;
use crate::bench::score::Score;
use crate::client::{Client, ClientConfig, DialError, Event};
use crate::protocol::UserId;

/// Between two looks at whether it is over.
const LOOK: Duration = Duration::from_millis(50);

/// What happened in one second; in the worst, the highest of each.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) struct Second {
    pub(super) closed: u64,
    pub(super) reconnects: u64,
}

/// What the clients share.
pub(super) struct Crowd {
    config: Vec<Arc<ClientConfig>>,
    mint: Arc<Mint>,
    pub(super) score: Score,
    pub(super) stop: CancellationToken,
    pub(super) drain: Mutex<Drain>,
}

/// What was seen of the drain.
pub(super) struct Drain {
    pub(super) begun: Instant,
    pub(super) curve: Vec<Second>,
    last_close: Option<Instant>,
    pub(super) last_back: Instant,
    pub(super) reconnects: u64,
}

impl Crowd {
    /// # Errors
    /// When the key cannot be read.
    pub(super) fn new(args: &CrowdArgs) -> anyhow::Result<Self> {
        let target = args.target()?;
        let config = |turn| {
            Arc::new(ClientConfig {
                v1: args.mode.protocol().is_some(),
                source: target.source(turn),
                silence: target.silence,
                ..ClientConfig::new(target.endpoint.clone())
            })
        };
        let config = (0..target.sources.len().max(1)).map(config).collect();
        let (score, stop) = (Score::default(), CancellationToken::new());
        Ok(Self { config, mint: Arc::new(target.mint), score, stop, drain: Mutex::new(Drain::new()) })
    }

    /// Waits until so many are open. Nothing announces it that is worth its cost.
    pub(super) async fn until(&self, enough: impl Fn(u64) -> bool) {
        while !self.score.look(|counts| enough(counts.open)) {
            sleep(LOOK).await;
        }
    }

    /// Waits until all are back and it is quiet.
    pub(super) async fn over(&self, all: u64, quiet: Duration) {
        loop {
            self.until(|open| open >= all).await;
            let last = self.drain.lock().last_close;
            if last.is_some_and(|last| last.elapsed() >= quiet) {
                return;
            }
            sleep(LOOK).await;
        }
    }

    /// One client, until it is told not to come back or the run ends.
    pub(super) async fn live(self: Arc<Self>, number: usize, user: UserId, turn: Turn) {
        let config = Arc::clone(&self.config[number % self.config.len()]);
        let mut client = Client::new(config, Tokens { mint: Arc::clone(&self.mint), user });
        let (mut begun, mut open, mut was_open, mut turn) = (Instant::now(), false, false, turn);
        while let Some(Some(event)) = self.stop.run_until_cancelled(client.next()).await {
            match event {
                Event::Opened(_) => {
                    self.score.opened(begun);
                    if was_open {
                        self.drain.lock().back();
                    }
                    (open, was_open) = (true, true);
                }
                Event::Closed { code, .. } => {
                    self.score.closed(code);
                    self.drain.lock().closed();
                    open = false;
                }
                Event::Refused { status, .. } => self.score.failed(&DialError::refused(status, None, b"")),
                Event::Failed { kind, reason, .. } => self.score.failed(&DialError::Failed { kind, reason }),
                _ => continue,
            }
            turn = None;
            begun = Instant::now();
        }
        drop(turn);
        let answered = client.close().await;
        if open {
            self.score.left(answered);
        }
    }
}

impl Drain {
    fn new() -> Self {
        let now = Instant::now();
        Self { begun: now, curve: Vec::new(), last_close: None, last_back: now, reconnects: 0 }
    }

    /// What was before is forgotten.
    pub(super) fn begin(&mut self) {
        *self = Self::new();
    }

    fn closed(&mut self) {
        self.last_close = Some(Instant::now());
        self.second().closed += 1;
    }

    fn back(&mut self) {
        self.last_back = Instant::now();
        self.reconnects += 1;
        self.second().reconnects += 1;
    }

    fn second(&mut self) -> &mut Second {
        let second = usize::try_from(self.begun.elapsed().as_secs()).unwrap_or_default();
        if self.curve.len() <= second {
            self.curve.resize(second + 1, Second::default());
        }
        &mut self.curve[second]
    }

    /// The highest of each, in one second or another.
    pub(super) fn worst(&self) -> Second {
        let highest = |value: fn(&Second) -> u64| self.curve.iter().map(value).max().unwrap_or_default();
        Second { closed: highest(|second| second.closed), reconnects: highest(|second| second.reconnects) }
    }
}
