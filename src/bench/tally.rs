//! What happened to all connections of a run, in one place.

use std::collections::BTreeMap;
use std::ops::Not;

use parking_lot::Mutex;
use serde::Serialize;

/// Counts of one run.
#[derive(Debug, Default)]
pub(super) struct Tally(Mutex<Report>);

/// One line of the report; see the help of `clients` for what each means.
#[derive(Debug, Default, Clone, Serialize)]
pub(super) struct Report {
    t: f64,
    open: u64,
    opened: u64,
    refused: BTreeMap<u16, u64>,
    closes: BTreeMap<u16, u64>,
    reconnects: u64,
    reconnects_total: u64,
    messages: u64,
    connect_errors: u64,
    connect_errors_by_kind: BTreeMap<&'static str, u64>,
    left: u64,
    #[serde(rename = "final", skip_serializing_if = "Not::not")]
    last: bool,
}

impl Tally {
    /// A connection is open.
    pub(super) fn opened(&self) {
        let mut report = self.0.lock();
        report.open += 1;
        report.opened += 1;
    }

    /// An open connection was closed by the other side, or was lost: 1006.
    pub(super) fn closed(&self, code: u16) {
        let mut report = self.0.lock();
        report.open = report.open.saturating_sub(1);
        *report.closes.entry(code).or_default() += 1;
    }

    /// An open connection was closed from here, and the close was answered.
    pub(super) fn left(&self) {
        let mut report = self.0.lock();
        report.open = report.open.saturating_sub(1);
        report.left += 1;
    }

    /// An upgrade was refused with an HTTP status.
    pub(super) fn refused(&self, status: u16) {
        *self.0.lock().refused.entry(status).or_default() += 1;
    }

    /// A connection came about in no way, of which `kind` is a word.
    pub(super) fn failed(&self, kind: &'static str) {
        let mut report = self.0.lock();
        report.connect_errors += 1;
        *report.connect_errors_by_kind.entry(kind).or_default() += 1;
    }

    /// One that had been open before sets out to connect again.
    pub(super) fn reconnects(&self) {
        let mut report = self.0.lock();
        report.reconnects += 1;
        report.reconnects_total += 1;
    }

    /// A message arrived.
    pub(super) fn message(&self) {
        self.0.lock().messages += 1;
    }

    /// The report at `t` seconds since the start; the count of this second's reconnects begins anew.
    pub(super) fn report(&self, t: f64, last: bool) -> Report {
        let mut report = self.0.lock();
        let line = Report { t: (t * 10.0).round() / 10.0, last, ..report.clone() };
        report.reconnects = 0;
        line
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn line(tally: &Tally, t: f64, last: bool) -> Value {
        serde_json::to_value(tally.report(t, last)).expect("JSON")
    }

    #[test]
    fn everything_is_counted_where_it_belongs() {
        let tally = Tally::default();
        for _ in 0..4 {
            tally.opened();
        }
        tally.closed(1012);
        tally.closed(1006);
        tally.left();
        tally.refused(503);
        tally.refused(503);
        tally.failed("refused");
        tally.reconnects();
        tally.message();
        let mut expected = json!({
            "t": 1.2, "open": 1, "opened": 4, "refused": { "503": 2 }, "closes": { "1006": 1, "1012": 1 },
            "reconnects": 1, "reconnects_total": 1, "messages": 1, "connect_errors": 1,
            "connect_errors_by_kind": { "refused": 1 }, "left": 1,
        });
        assert_eq!(line(&tally, 1.2345, false), expected);
        expected["t"] = json!(2.0);
        expected["reconnects"] = json!(0);
        expected["final"] = json!(true);
        assert_eq!(line(&tally, 2.0, true), expected, "the second's count begins anew");
    }
}
