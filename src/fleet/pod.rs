use std::net::SocketAddr;
use std::time::Duration;

use serde::Serialize;

use crate::protocol::{GAUGE_EXPIRY, GAUGE_INTERVAL, PodGauge};

/// Age from which a report is called stale: three were missed.
const STALE_AFTER: Duration = Duration::from_secs(3 * GAUGE_INTERVAL.as_secs());

/// A pod, with `None` for what is not known.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Pod {
    /// Its name; its UID or URL where it never told.
    pub pod: String,
    /// The node that it runs on.
    pub node: Option<String>,
    /// How it stands.
    pub state: State,
    /// Open connections.
    pub connections: Option<u64>,
    /// `MAX_CONNECTIONS`.
    pub limit: Option<u64>,
    /// Users with a connection there.
    pub users: Option<u64>,
    /// Messages written to connections, in one second, between the last two reports.
    pub messages_per_second: Option<f64>,
    /// Payload bytes that wait in the outboxes.
    pub outbox_bytes: Option<u64>,
    /// How its link to the backplane stands: `up`, `connecting` or `degraded`.
    pub backplane: Option<String>,
    /// Age of its last report, in seconds; unknown where its clock or this machine's is wrong.
    pub age_seconds: Option<f64>,
    /// The service's version.
    pub version: Option<String>,
    /// Where its admin port is reached.
    pub admin: Option<SocketAddr>,
    /// Why it is unreachable.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// How a pod stands, in one word. Where several hold, the first in this order is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It was asked and does not answer.
    Unreachable,
    /// It has not reported for 6 s.
    Stale,
    /// On its way out.
    Draining,
    /// Not connected to the backplane since its start.
    Starting,
    /// Cut off from the backplane.
    Degraded,
    /// At its limit: upgrades are refused.
    Full,
    /// None of these.
    Ready,
}

impl Pod {
    /// A pod that said how it stands, looked at `now`, in milliseconds since 1970.
    #[must_use]
    pub fn reporting(gauge: PodGauge, rate: Option<f64>, now: u64) -> Self {
        let age = age(gauge.at, now);
        Self {
            state: State::of(&gauge, age),
            pod: gauge.pod,
            node: if gauge.node.is_empty() { None } else { Some(gauge.node) },
            connections: Some(gauge.connections),
            limit: Some(gauge.limit),
            users: gauge.users,
            messages_per_second: rate.map(tenth),
            outbox_bytes: gauge.outbox_bytes,
            backplane: gauge.backplane,
            age_seconds: age.map(|age| tenth(age.as_secs_f64())),
            version: gauge.version,
            admin: gauge.admin,
            error: None,
        }
    }

    /// A pod of which no more than its name is known.
    #[must_use]
    pub fn silent(pod: String, state: State) -> Self {
        Self {
            pod,
            node: None,
            state,
            connections: None,
            limit: None,
            users: None,
            messages_per_second: None,
            outbox_bytes: None,
            backplane: None,
            age_seconds: None,
            version: None,
            admin: None,
            error: None,
        }
    }
}

impl State {
    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Stale => "stale",
            Self::Draining => "draining",
            Self::Starting => "starting",
            Self::Degraded => "degraded",
            Self::Full => "full",
            Self::Ready => "ready",
        }
    }

    fn of(gauge: &PodGauge, age: Option<Duration>) -> Self {
        match gauge.backplane.as_deref() {
            _ if age.is_some_and(|age| age >= STALE_AFTER) => Self::Stale,
            _ if gauge.draining => Self::Draining,
            Some("connecting") => Self::Starting,
            Some("degraded") => Self::Degraded,
            _ if gauge.connections >= gauge.limit => Self::Full,
            _ => Self::Ready,
        }
    }
}

/// Age of a report that is there. It expires by Redis' clock, so one that seems older, or to come from as far in the
/// future, says that one of the other two clocks is wrong.
fn age(at: u64, now: u64) -> Option<Duration> {
    // Between the moment that it tells of and its way into Redis.
    let slack = GAUGE_EXPIRY + GAUGE_INTERVAL;
    (Duration::from_millis(now.abs_diff(at)) <= slack).then(|| Duration::from_millis(now.saturating_sub(at)))
}

/// With one digit behind the point.
pub(super) fn tenth(number: f64) -> f64 {
    (number * 10.0).round() / 10.0
}
