//! What happened to the connections of a run, in one place.

use std::collections::BTreeMap;

use parking_lot::Mutex;
use serde::Serialize;
use tokio::time::Instant;

use super::latency::Latencies;
use crate::client::DialError;

/// Counts and handshake latencies of one run.
#[derive(Debug, Default)]
pub(super) struct Score(Mutex<Counts>);

/// All of it, at one time.
#[derive(Debug, Default, Clone)]
pub(super) struct Counts {
    pub(super) open: u64,
    pub(super) opened: u64,
    pub(super) failed: Failures,
    /// By code; 1006 is a connection that was lost, 1005 a close frame without a code.
    pub(super) closes: BTreeMap<u16, u64>,
    /// Closed from here, and answered.
    pub(super) left: u64,
    pub(super) handshakes: Latencies,
}

/// Attempts that came to nothing, by kind: a word of [`DialError`], or `http_` and the status.
#[derive(Debug, Default, Clone, Serialize)]
#[serde(transparent)]
pub(super) struct Failures(BTreeMap<String, u64>);

impl Failures {
    pub(super) fn add(&mut self, error: &DialError) {
        let kind = match error {
            DialError::Refused { status, .. } => format!("http_{status}"),
            DialError::Failed { kind, .. } => (*kind).to_owned(),
        };
        *self.0.entry(kind).or_default() += 1;
    }

    pub(super) fn total(&self) -> u64 {
        self.0.values().sum()
    }

    /// `reset 3, timeout 1`, or `none`.
    pub(super) fn words(&self) -> String {
        words(&self.0)
    }
}

/// `1012 40, 1006 1`, or `none`.
pub(super) fn words(counts: &BTreeMap<impl std::fmt::Display, u64>) -> String {
    match counts.is_empty() {
        true => "none".to_owned(),
        false => {
            let each = counts.iter().map(|(what, count)| format!("{what} {count}"));
            each.collect::<Vec<_>>().join(", ")
        }
    }
}

impl Score {
    /// A connection that was begun then is open.
    pub(super) fn opened(&self, begun: Instant) {
        let mut counts = self.0.lock();
        counts.open += 1;
        counts.opened += 1;
        counts.handshakes.add(u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX));
    }

    /// An attempt came to nothing.
    pub(super) fn failed(&self, error: &DialError) {
        self.0.lock().failed.add(error);
    }

    /// An open connection was closed by the other side, or was lost.
    pub(super) fn closed(&self, code: u16) {
        let mut counts = self.0.lock();
        counts.open = counts.open.saturating_sub(1);
        *counts.closes.entry(code).or_default() += 1;
    }

    /// An open connection was closed from here; whether that was answered.
    pub(super) fn left(&self, answered: bool) {
        let mut counts = self.0.lock();
        counts.open = counts.open.saturating_sub(1);
        counts.left += u64::from(answered);
    }

    /// How it stands.
    pub(super) fn counts(&self) -> Counts {
        self.0.lock().clone()
    }

    /// Looks at one thing without a copy of all.
    pub(super) fn look<T>(&self, look: impl FnOnce(&Counts) -> T) -> T {
        look(&self.0.lock())
    }

    /// An open connection was cut from here.
    pub(super) fn cut(&self) {
        let mut counts = self.0.lock();
        counts.open = counts.open.saturating_sub(1);
    }

    /// Handshake latencies and failures begin anew.
    pub(super) fn begin_anew(&self) {
        let mut counts = self.0.lock();
        counts.handshakes = Latencies::default();
        counts.failed = Failures::default();
    }
}
