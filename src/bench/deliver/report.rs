//! The lines that `deliver` prints.

use std::collections::BTreeMap;
use std::ops::Not;

use serde::Serialize;

use crate::bench::dialect::Mode;
use crate::bench::latency::{Latencies, Summary};
use crate::bench::output::chart::Page;
use crate::bench::score::words;
use crate::bench::server::{Figures, Memory, cpu_us_each};
use crate::bench::session::Sample;

/// What the lines mean, for the help.
pub(in crate::bench) const HELP: &str = "\
Publishes numbered messages and sees which of them arrive. With --json a line every second, and a last one with \"final\": true. \
Counts are totals of all connections.

Connections: \"open\" now; \"opened\", of which \"reconnects\" were open before and \"resumed\" went on with nothing missing; \
\"gaps\" that the service told; \"closes\" by code (1006: lost; 1005: without a code), \"refused\" by HTTP status, \
\"connect_errors_by_kind\" with the \"last_connect_error\"; \"error_frames\"; \"ended\": told not to come back; \
\"never_opened\"; \"left\" were closed with 1000 at the end and answered.

Publications: \"accepted\" were answered; \"unaccepted\" not yet; \"publish_retries\"; \"publish_unknown\" broke off where only \
PUBLISH is used, which cannot be repeated safely; \"publish_skipped\" were not begun because too many waited; \
\"last_publish_error\".

Deliveries: \"received\" for the first time; \"expected\": of messages that were accepted, and begun after the connection first \
opened; \"outstanding\" have not arrived yet, and are called \"lost\" in the last line, where \"lost_first\" names some; \
\"twice\" arrived again, \"disorder\" came after a later one, \"foreign\" is of somebody else, \"repeated\" were sent again by \
the service and recognised by their id. \"latency_ms\" is from the first attempt to publish to the arrival; \
\"longest_silence_ms\" is its longest, that of the slowest client; \"publish_ms\" is from the first attempt to the answer.

The last line also has \"delivered\" and \"delivered_per_s\" (over the time of publishing), \"latency_histogram\": steps with their \
upper ends in ms and what fell into each; and with --pid or --metrics-url \"server\": its memory before the first connection, with \
all of them idle and after the last has left, CPU of a handshake, and of a delivery: all of the server's from the first message to \
the last arrival.

With --publish-rate max at most --window deliveries are under way. With --mode socket-io publish with --via redis, with --mode \
centrifugo with --via centrifugo.

With --mode v1 and --via script or http, \"lossless\" in the last line is true if every connection opened, something was \
expected, and nothing was lost, twice or out of order.";

/// One line.
#[derive(Debug, Default, Clone, Serialize)]
pub(super) struct Report {
    pub(super) t: f64,
    pub(super) phase: &'static str,
    #[serde(flatten)]
    pub(super) counts: Counts,
    pub(super) never_opened: usize,
    pub(super) unaccepted: u64,
    pub(super) expected: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) outstanding: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) lost: Option<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) lost_first: Vec<LostSample>,
    pub(super) latency_ms: Summary,
    pub(super) longest_silence_ms: f64,
    pub(super) publish_ms: Summary,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) lossless: Option<bool>,
    #[serde(rename = "final", skip_serializing_if = "Not::not")]
    pub(super) last: bool,
}

/// A message that one connection did not get.
#[derive(Debug, Clone, Serialize)]
pub(super) struct LostSample {
    pub(super) user: u32,
    pub(super) connection: usize,
    pub(super) number: u32,
}

/// What is counted as it happens.
#[derive(Debug, Default, Clone, Serialize)]
pub(super) struct Counts {
    pub(super) open: u64,
    pub(super) opened: u64,
    pub(super) reconnects: u64,
    pub(super) resumed: u64,
    pub(super) gaps: u64,
    pub(super) closes: BTreeMap<u16, u64>,
    pub(super) refused: BTreeMap<u16, u64>,
    pub(super) connect_errors_by_kind: BTreeMap<&'static str, u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) last_connect_error: Option<String>,
    pub(super) error_frames: u64,
    pub(super) ended: u64,
    pub(super) left: u64,
    #[serde(skip)]
    pub(super) scheduled: u64,
    pub(super) accepted: u64,
    pub(super) publish_retries: u64,
    pub(super) publish_unknown: u64,
    pub(super) publish_skipped: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) last_publish_error: Option<String>,
    pub(super) received: u64,
    pub(super) twice: u64,
    pub(super) disorder: u64,
    pub(super) foreign: u64,
    pub(super) repeated: u64,
}

/// The last line: a [`Report`] and what is known at the end.
#[derive(Debug, Serialize)]
pub(super) struct Final<'a> {
    pub(super) command: &'static str,
    pub(super) mode: &'static str,
    #[serde(flatten)]
    pub(super) report: &'a Report,
    pub(super) delivered: u64,
    pub(super) delivered_per_s: f64,
    pub(super) latency_histogram: Vec<(f64, u64)>,
    pub(super) server: Option<Spent>,
    pub(super) samples: &'a [Sample],
}

/// What the server spent.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Spent {
    cpu_us_per_delivery: Option<f64>,
    cpu_us_per_connect: Option<f64>,
    #[serde(flatten)]
    memory: Memory,
}

/// The server at five times; none where it was not looked at.
#[derive(Debug, Default)]
pub(super) struct Looks {
    pub(super) before: Option<Figures>,
    pub(super) opened: Option<Figures>,
    /// Before the first message.
    pub(super) idle: Option<Figures>,
    /// After the last arrival.
    pub(super) delivered: Option<Figures>,
    pub(super) after: Option<Figures>,
}

impl Looks {
    /// `open` connections were idle, of all that were ever `opened`.
    #[expect(clippy::cast_precision_loss, reason = "a report")]
    pub(super) fn spent(&self, open: u64, opened: u64, delivered: u64) -> Option<Spent> {
        self.before?;
        Some(Spent {
            cpu_us_per_delivery: cpu_us_each(self.idle, self.delivered, delivered as f64),
            cpu_us_per_connect: cpu_us_each(self.before, self.opened, opened as f64),
            memory: Memory::new(self.before, self.idle, self.after, open),
        })
    }
}

/// The report as text. `seconds` has the deliveries of each.
pub(super) fn text(last: &Final<'_>, mode: Mode, latencies: &Latencies, seconds: &[u64]) -> String {
    let Final { report, .. } = last;
    let counts = &report.counts;
    let mut page = Page::new(&format!("deliver, {} connections, {}", counts.opened, mode.name()));
    page.row("accepted", &counts.accepted.to_string());
    page.row("delivered", &format!("{}   {} a second", last.delivered, last.delivered_per_s));
    let wrong = [
        ("lost", report.lost.unwrap_or_default()),
        ("twice", counts.twice),
        ("out of order", counts.disorder),
        ("foreign", counts.foreign),
        ("gaps", counts.gaps),
    ];
    page.row("wrong", &wrong.map(|(what, count)| format!("{what} {count}")).join("   "));
    if let Some(lossless) = report.lossless {
        page.row("lossless", if lossless { "yes" } else { "no" });
    }
    page.latency("latency", report.latency_ms);
    page.latency("publication to answer", report.publish_ms);
    page.row("closed by the server", &words(&counts.closes));
    if let Some(spent) = last.server {
        page.number("CPU a delivery", spent.cpu_us_per_delivery.map(|us| (us, "µs")));
        page.number("CPU a handshake", spent.cpu_us_per_connect.map(|us| (us, "µs")));
        page.memory(spent.memory);
    }
    page.histogram("deliveries", latencies);
    page.curve("deliveries a second", seconds, "s");
    page.text()
}
