//! The lines that `deliver` prints.

use std::collections::BTreeMap;
use std::ops::Not;

use serde::Serialize;

use super::latency::Summary;

/// What the lines mean, for the help.
pub(in crate::bench) const HELP: &str = "\
Publishes numbered messages and sees which of them arrive. A line of JSON every second, and a last one with \"final\": true. \
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
