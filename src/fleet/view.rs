use std::cmp::Reverse;

use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::pod::{Pod, State, tenth};

/// A fleet at one moment, as `top` shows it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct View {
    /// When, in RFC 3339.
    pub at: String,
    /// The pods.
    pub pods: Vec<Pod>,
    /// Their sums.
    pub total: Total,
}

/// Sums over the pods whose numbers are known.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Total {
    /// Pods, whether or not their numbers are known.
    pub pods: usize,
    /// Those of them that drain.
    pub draining: usize,
    /// Those of them whose numbers are missing in the sums.
    pub missing: usize,
    /// Open connections.
    pub connections: u64,
    /// Sum of the limits.
    pub limit: u64,
    /// Users; one with connections to several pods counts for each.
    pub users: u64,
    /// Messages a second; unknown until one pod's rate is.
    pub messages_per_second: Option<f64>,
    /// Payload bytes that wait.
    pub outbox_bytes: u64,
}

/// What pods are sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Order {
    /// Most connections first.
    #[default]
    Connections,
    /// Most messages a second first.
    Messages,
    /// Most bytes in outboxes first.
    Queue,
    /// By name.
    Name,
}

impl Order {
    /// The one after it, round and round.
    #[must_use]
    pub fn next(self) -> Self {
        match self {
            Self::Connections => Self::Messages,
            Self::Messages => Self::Queue,
            Self::Queue => Self::Name,
            Self::Name => Self::Connections,
        }
    }

    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::Messages => "messages",
            Self::Queue => "queue",
            Self::Name => "name",
        }
    }
}

impl View {
    /// Sums the pods up and sorts them by connections. `at` is in milliseconds since 1970.
    #[must_use]
    pub fn new(at: u64, pods: Vec<Pod>) -> Self {
        // Whole seconds: the format leaves zeros at the end out, and the line would jump.
        let moment =
            i64::try_from(at / 1000).ok().and_then(|at| OffsetDateTime::from_unix_timestamp(at).ok());
        let at = moment.and_then(|moment| moment.format(&Rfc3339).ok()).unwrap_or_default();
        let total = Total::of(&pods);
        let mut view = Self { at, pods, total };
        view.sort(Order::default());
        view
    }

    /// Sorts the pods; those of which it is not known come last, equal ones by name.
    pub fn sort(&mut self, order: Order) {
        // Tenths are kept, and as whole numbers they can be compared.
        let tenths = |rate: f64| (rate * 10.0) as u64;
        self.pods.sort_by_cached_key(|pod| {
            let most = match order {
                Order::Connections => pod.connections,
                Order::Messages => pod.messages_per_second.map(tenths),
                Order::Queue => pod.outbox_bytes,
                Order::Name => None,
            };
            (Reverse(most), pod.pod.clone())
        });
    }
}

impl Total {
    fn of(pods: &[Pod]) -> Self {
        let sum = |number: fn(&Pod) -> Option<u64>| -> u64 { pods.iter().filter_map(number).sum() };
        let rates: Vec<f64> = pods.iter().filter_map(|pod| pod.messages_per_second).collect();
        Self {
            pods: pods.len(),
            draining: pods.iter().filter(|pod| pod.state == State::Draining).count(),
            missing: pods.iter().filter(|pod| pod.connections.is_none()).count(),
            connections: sum(|pod| pod.connections),
            limit: sum(|pod| pod.limit),
            users: sum(|pod| pod.users),
            messages_per_second: if rates.is_empty() { None } else { Some(tenth(rates.iter().sum())) },
            outbox_bytes: sum(|pod| pod.outbox_bytes),
        }
    }
}

#[cfg(test)]
#[path = "view_tests.rs"]
mod tests;
