use std::num::{NonZeroU32, NonZeroU64};

use proptest::prelude::*;

use super::*;
use crate::adapter::fleet::Pod;

fn goal(target: u64, min_replicas: u32) -> DeletionCost {
    let target = NonZeroU64::new(target).expect("above 0");
    DeletionCost { target, min_replicas: NonZeroU32::new(min_replicas).expect("above 0") }
}

/// A fleet whose pods report, and what is on them by now.
struct World {
    known: Vec<KnownPod>,
    fleet: Fleet,
}

impl World {
    fn new(connections: &[u64]) -> Self {
        let known = (0..connections.len()).map(|index| KnownPod {
            name: format!("pod-{index:02}"),
            uid: format!("uid-{index:02}"),
            ready: true,
            ..KnownPod::default()
        });
        let mut world = Self { known: known.collect(), fleet: Fleet::default() };
        world.report(connections);
        world
    }

    fn report(&mut self, connections: &[u64]) {
        let pods = self.known.iter().zip(connections).map(|(pod, connections)| Pod {
            name: pod.name.clone(),
            labels: BTreeMap::new(),
            connections: *connections,
            at: 0,
            leaving: pod.terminating,
        });
        self.fleet = Fleet { pods: pods.collect(), total: Some(connections.iter().sum()), blind: 0 };
    }

    /// Plans, and puts on the pods what was planned.
    fn step(&mut self, planner: &mut Planner, now: Instant) -> Vec<Write> {
        let writes = planner.plan(&self.fleet, &self.known, now);
        for write in &writes {
            let pod = self.known.iter_mut().find(|pod| pod.uid == write.uid).expect("a pod");
            pod.own_cost = write.cost.map(|cost| cost.to_string());
        }
        writes
    }

    fn costs(&self) -> Vec<i32> {
        let cost = |pod: &KnownPod| pod.own_cost.as_ref().map_or(0, |text| text.parse().expect("a number"));
        self.known.iter().map(cost).collect()
    }
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn a_cost_doubles_with_the_connections() {
    let costs = [0, 1, 2, 3, 4, 7, 8, 1_000, 1_023, 1_024, u64::MAX].map(cost_of);
    assert_eq!(costs, [0, 1, 2, 2, 3, 3, 4, 10, 10, 11, 64]);
    assert_eq!([settled(10, 1_030), settled(10, 1_400), settled(11, 1_000), settled(0, 5)], [10, 11, 11, 3]);
}

#[test]
fn writes_once_when_a_scale_in_has_been_due_for_15_seconds() {
    let mut world = World::new(&[40, 10, 0]);
    let mut planner = Planner::new(goal(100, 1));
    let start = Instant::now();
    assert_eq!(world.step(&mut planner, start), []);
    assert_eq!(world.step(&mut planner, start + seconds(14)), []);
    let writes = world.step(&mut planner, start + seconds(15));
    let written: Vec<_> = writes.iter().map(|write| (write.pod.as_str(), write.cost)).collect();
    assert_eq!(written, [("pod-00", Some(6)), ("pod-01", Some(4))], "an empty pod has cost 0 as it is");
    for second in 16..600 {
        assert_eq!(world.step(&mut planner, start + seconds(second)), [], "nothing changed");
    }
}

#[test]
fn a_rollout_is_no_scale_in() {
    let mut world = World::new(&[40, 10, 0]);
    world.known[2].labels.insert(REVISION.to_owned(), "new".to_owned());
    let mut planner = Planner::new(goal(100, 1));
    let start = Instant::now();
    for second in 0..600 {
        assert_eq!(world.step(&mut planner, start + seconds(second)), []);
    }
    // Through, with a pod too many: that one is a scale-in.
    for pod in &mut world.known {
        pod.labels.insert(REVISION.to_owned(), "new".to_owned());
    }
    world.step(&mut planner, start + seconds(600));
    assert_ne!(world.step(&mut planner, start + seconds(615)), []);
}

#[test]
fn takes_the_costs_away_when_no_scale_in_was_due_for_60_seconds() {
    let mut world = World::new(&[40, 10]);
    let mut planner = Planner::new(goal(100, 1));
    let start = Instant::now();
    world.step(&mut planner, start);
    assert_eq!(world.step(&mut planner, start + seconds(15)).len(), 2);
    world.report(&[140, 50]);
    for second in 16..76 {
        assert_eq!(world.step(&mut planner, start + seconds(second)), []);
    }
    let writes = world.step(&mut planner, start + seconds(76));
    assert_eq!(writes.iter().map(|write| write.cost).collect::<Vec<_>>(), [None, None]);
    assert_eq!(world.step(&mut planner, start + seconds(200)), []);
}

#[test]
fn a_new_leader_takes_over_what_the_last_one_wrote() {
    let mut world = World::new(&[40, 10]);
    world.known[0].own_cost = Some("6".to_owned());
    let mut planner = Planner::new(goal(100, 1));
    let start = Instant::now();
    world.step(&mut planner, start);
    let writes = world.step(&mut planner, start + seconds(15));
    assert_eq!(writes.iter().map(|write| write.pod.as_str()).collect::<Vec<_>>(), ["pod-01"]);

    world.report(&[140, 60]);
    let mut planner = Planner::new(goal(100, 1));
    let later = start + seconds(30);
    assert_eq!(world.step(&mut planner, later), []);
    assert_eq!(world.step(&mut planner, later + seconds(60)).len(), 2, "it cleans up");
}

#[test]
fn waits_while_anything_is_uncertain_or_nobody_may_go() {
    let start = Instant::now();
    let due = |world: &mut World, goal: DeletionCost| {
        let mut planner = Planner::new(goal);
        world.step(&mut planner, start);
        world.step(&mut planner, start + seconds(20)).len()
    };
    assert_eq!(due(&mut World::new(&[40, 10]), goal(100, 1)), 2);
    assert_eq!(due(&mut World::new(&[40, 10]), goal(100, 2)), 0, "as few as may be");
    assert_eq!(due(&mut World::new(&[40, 10]), goal(49, 1)), 0, "two are wanted");
    let mut blind = World::new(&[40, 10]);
    blind.fleet.blind = 1;
    assert_eq!(due(&mut blind, goal(100, 1)), 0);
    let mut unknown = World::new(&[40, 10]);
    unknown.fleet.total = None;
    assert_eq!(due(&mut unknown, goal(100, 1)), 0);
    let mut leaving = World::new(&[40, 10, 7]);
    leaving.known[2].terminating = true;
    leaving.report(&[40, 10, 7]);
    assert_eq!(due(&mut leaving, goal(100, 1)), 2, "a pod on its way out has no use for a cost");
    let mut silent = World::new(&[40, 10, 7]);
    silent.known[2].ready = false;
    silent.report(&[40, 10]);
    assert_eq!(due(&mut silent, goal(100, 1)), 2, "nor one without a report");
}

#[test]
fn stands_down_for_a_pod_until_it_is_gone() {
    let mut world = World::new(&[40, 10]);
    let mut planner = Planner::new(goal(100, 1));
    let start = Instant::now();
    world.step(&mut planner, start);
    planner.stand_down("uid-00");
    assert_eq!(world.step(&mut planner, start + seconds(15)).len(), 1);
    world.report(&[99, 0]);
    let writes = world.step(&mut planner, start + seconds(600));
    assert_eq!(writes.iter().map(|write| write.pod.as_str()).collect::<Vec<_>>(), ["pod-01"]);
    world.known[0].uid = "uid-new".to_owned();
    assert_eq!(world.step(&mut planner, start + seconds(602)).len(), 1, "its successor is another pod");
}

proptest! {
    #[test]
    fn a_steady_fleet_costs_no_write(
        (target, counts) in (10..1_000_u64).prop_flat_map(|target| {
            // As full as the autoscaler wants them: no pod too many.
            (Just(target), proptest::collection::vec(proptest::collection::vec(target - target / 10..=target, 4), 1..60))
        }),
    ) {
        let mut planner = Planner::new(goal(target, 1));
        let mut world = World::new(&counts[0]);
        let start = Instant::now();
        for (index, reading) in counts.iter().enumerate() {
            world.report(reading);
            if reading.iter().sum::<u64>().div_ceil(target) >= 4 {
                prop_assert_eq!(world.step(&mut planner, start + seconds(index as u64 * 20)), []);
            }
        }
    }

    #[test]
    fn a_pod_is_written_at_most_once_a_minute(
        readings in proptest::collection::vec((1..40_u64, proptest::collection::vec(0..3_000_u64, 5)), 1..200),
    ) {
        let mut planner = Planner::new(goal(1_000, 1));
        let mut world = World::new(&[0; 5]);
        let mut last = BTreeMap::new();
        let mut now = Instant::now();
        for (pause, reading) in readings {
            now += seconds(pause);
            world.report(&reading);
            for write in world.step(&mut planner, now) {
                if let Some(before) = last.insert(write.uid, now) {
                    prop_assert!(now - before >= seconds(60));
                }
            }
        }
    }

    #[test]
    fn the_emptiest_pod_goes_first(
        before in proptest::collection::vec(0..3_000_u64, 2..8),
        counts in proptest::collection::vec(0..3_000_u64, 8),
    ) {
        let counts = &counts[..before.len()];
        let mut planner = Planner::new(goal(1_000_000, 1));
        let mut world = World::new(&before);
        let start = Instant::now();
        world.step(&mut planner, start);
        world.step(&mut planner, start + seconds(15));
        // Here nothing was on the pods, so the order is exact.
        let costs = world.costs();
        let emptiest = (0..before.len()).min_by_key(|at| before[*at]).expect("pods");
        prop_assert_eq!(costs[emptiest], *costs.iter().min().expect("pods"));

        world.report(counts);
        world.step(&mut planner, start + seconds(80));
        let costs = world.costs();
        for (at, count) in counts.iter().enumerate() {
            for (other, fuller) in counts.iter().enumerate() {
                // Costs are coarse: within a third they may stand in either order.
                if count * 4 < fuller * 3 {
                    prop_assert!(costs[at] <= costs[other], "{counts:?} {costs:?}");
                }
            }
        }
    }
}
