//! Which pods go first when the fleet shrinks: the emptiest.
//!
//! Kubernetes asks that the deletion cost be not written by the beat of a metric, so it is written only while a scale-in
//! is about to come, which the adapter knows minutes before the autoscaler acts: that waits for its stabilization window.
//! A fleet that is not about to shrink causes no write at all.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::adapter::fleet::{Fleet, KnownPod};
use crate::adapter::settings::DeletionCost;

/// How long a scale-in must have been due before costs are written: longer than a burst of closes, and far shorter than
/// the least that an autoscaler with a sensible window waits (the chart's waits 600 s).
const HELD: Duration = Duration::from_secs(15);
/// Between two writes of one pod.
const PER_POD: Duration = Duration::from_secs(60);
/// How long no scale-in must have been due before the costs are taken away.
const QUIET: Duration = Duration::from_secs(60);
/// The label by which a Deployment tells the pods of one template from those of another.
const REVISION: &str = "pod-template-hash";

/// A cost to put on a pod, or to take from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// The pod's name.
    pub pod: String,
    /// Its UID: a successor of the same name is not meant.
    pub uid: String,
    /// 0 to 64; `None` takes it away.
    pub cost: Option<i32>,
}

/// Decides what is written when. Does no I/O, and is told the time.
#[derive(Debug)]
pub struct Planner {
    goal: DeletionCost,
    due_since: Option<Instant>,
    quiet_since: Option<Instant>,
    marks: BTreeMap<String, Mark>,
}

/// What has been done to a pod.
#[derive(Debug, Clone, Copy, Default)]
struct Mark {
    written: Option<Instant>,
    cost: Option<i32>,
    stood_down: bool,
}

impl Planner {
    /// Knows nothing yet, not even what is on the pods: that comes with them.
    #[must_use]
    pub fn new(goal: DeletionCost) -> Self {
        Self { goal, due_since: None, quiet_since: None, marks: BTreeMap::new() }
    }

    /// What to write after a reading. Each write counts as tried, whatever comes of it.
    pub fn plan(&mut self, fleet: &Fleet, known: &[KnownPod], now: Instant) -> Vec<Write> {
        self.marks.retain(|uid, _| known.iter().any(|pod| pod.uid == *uid));
        if self.is_due(fleet, known) {
            self.quiet_since = None;
            let since = *self.due_since.get_or_insert(now);
            if now - since >= HELD { self.put(fleet, known, now) } else { Vec::new() }
        } else {
            self.due_since = None;
            let since = *self.quiet_since.get_or_insert(now);
            if now - since >= QUIET { self.take_away(known, now) } else { Vec::new() }
        }
    }

    /// A write came to nothing: what is on the pod is what was seen there. It is tried again when its minute is over.
    pub fn failed(&mut self, uid: &str) {
        if let Some(mark) = self.marks.get_mut(uid) {
            mark.cost = None;
        }
    }

    /// Another owns the pod's cost: it is left alone from now on.
    pub fn stand_down(&mut self, uid: &str) {
        self.marks.entry(uid.to_owned()).or_default().stood_down = true;
    }

    /// Whether the autoscaler is about to take a pod away. Not while anything is uncertain: it will not either. Nor
    /// during a rollout: the pods that are too many then are the new ones.
    fn is_due(&self, fleet: &Fleet, known: &[KnownPod]) -> bool {
        let Some(total) = fleet.total.filter(|_| fleet.blind == 0) else { return false };
        let live: Vec<_> =
            known.iter().filter(|pod| pod.is_live()).map(|pod| pod.labels.get(REVISION)).collect();
        if live.windows(2).any(|two| two[0] != two[1]) {
            return false;
        }
        let live = live.len() as u64;
        total.div_ceil(self.goal.target.get()) < live && live > u64::from(self.goal.min_replicas.get())
    }

    fn put(&mut self, fleet: &Fleet, known: &[KnownPod], now: Instant) -> Vec<Write> {
        let by_name: BTreeMap<&str, &KnownPod> = known.iter().map(|pod| (pod.name.as_str(), pod)).collect();
        let mut writes = Vec::new();
        for counted in fleet.pods.iter().filter(|pod| !pod.leaving) {
            let Some(pod) = by_name.get(counted.name.as_str()).filter(|pod| pod.is_live()) else { continue };
            // A pod without a cost counts as one with 0.
            let has = self.cost(pod).unwrap_or(0);
            let cost = settled(has, counted.connections);
            if cost != has {
                writes.extend(self.write(pod, Some(cost), now));
            }
        }
        writes
    }

    fn take_away(&mut self, known: &[KnownPod], now: Instant) -> Vec<Write> {
        let mut writes = Vec::new();
        for pod in known.iter().filter(|pod| pod.is_live()) {
            if self.cost(pod).is_some() {
                writes.extend(self.write(pod, None, now));
            }
        }
        writes
    }

    /// The adapter's own cost on a pod: as seen, or as written since.
    fn cost(&self, pod: &KnownPod) -> Option<i32> {
        let written = self.marks.get(&pod.uid).and_then(|mark| mark.cost);
        written.or_else(|| pod.own_cost.as_ref().map(|text| text.parse().unwrap_or(0)))
    }

    fn write(&mut self, pod: &KnownPod, cost: Option<i32>, now: Instant) -> Option<Write> {
        let mark = self.marks.entry(pod.uid.clone()).or_default();
        if mark.stood_down || mark.written.is_some_and(|last| now - last < PER_POD) {
            return None;
        }
        *mark = Mark { written: Some(now), cost, stood_down: false };
        Some(Write { pod: pod.name.clone(), uid: pod.uid.clone(), cost })
    }
}

/// The cost of so many connections: the length of the number in bits, so that it changes when the pod is twice as full
/// or half as empty. 0 for an empty pod, 64 at most.
fn cost_of(connections: u64) -> i32 {
    // 0 to 64.
    (u64::BITS - connections.leading_zeros()).cast_signed()
}

/// The same, but what a pod has is kept while the count is within an eighth of it: a count that hovers about a power of
/// two writes nothing.
fn settled(has: i32, connections: u64) -> i32 {
    let slack = connections / 8;
    let near = cost_of(connections - slack)..=cost_of(connections.saturating_add(slack));
    if near.contains(&has) { has } else { cost_of(connections) }
}

#[cfg(test)]
#[path = "deletion_cost_tests.rs"]
mod tests;
