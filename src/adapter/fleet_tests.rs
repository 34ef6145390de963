use proptest::prelude::*;

use super::*;

const NOW: u64 = 1_800_000_000_000;

fn gauge(connections: u64, at: u64, draining: bool) -> PodGauge {
    PodGauge { connections, limit: 1_000, draining, at, ..PodGauge::default() }
}

fn pod(name: &str) -> KnownPod {
    KnownPod { name: name.to_owned(), uid: format!("uid-{name}"), ready: true, ..KnownPod::default() }
}

fn reports(of: &[(&str, u64)]) -> Reports {
    let mut reports = Reports::default();
    for (name, connections) in of {
        reports.hear(&format!("uid-{name}"), &gauge(*connections, NOW, false), NOW);
    }
    reports
}

#[test]
fn sums_live_and_leaving_pods() {
    let leaving = KnownPod { terminating: true, ..pod("b") };
    let failed = KnownPod { over: true, ..pod("c") };
    let fleet =
        Fleet::join(&[leaving, pod("a"), failed], &reports(&[("a", 3), ("b", 4), ("c", 100)]), NOW + 1);
    assert_eq!((fleet.total, fleet.blind), (Some(7), 0));
    let seen: Vec<_> =
        fleet.pods.iter().map(|pod| (pod.name.as_str(), pod.connections, pod.leaving)).collect();
    assert_eq!(seen, [("a", 3, false), ("b", 4, true)]);
}

#[test]
fn counts_a_silent_ready_pod_as_the_mean_of_the_live_ones() {
    let leaving = KnownPod { terminating: true, ..pod("c") };
    let known = [pod("a"), pod("b"), leaving, pod("silent")];
    let fleet = Fleet::join(&known, &reports(&[("a", 3), ("b", 4), ("c", 1_000)]), NOW);
    assert_eq!((fleet.total, fleet.blind, fleet.pods.len()), (Some(1_007 + 4), 1, 3));

    let starting = KnownPod { ready: false, ..pod("silent") };
    let ended = KnownPod { terminating: true, ..pod("gone") };
    let fleet = Fleet::join(&[pod("a"), starting, ended], &reports(&[("a", 3)]), NOW);
    assert_eq!((fleet.total, fleet.blind), (Some(3), 0), "neither holds connections that will stay");
}

#[test]
fn knows_no_total_without_any_live_report() {
    assert_eq!(Fleet::default().total, None, "before anything is known");
    assert_eq!(Fleet::join(&[], &Reports::default(), NOW).total, Some(0), "no pods hold no connections");
    assert_eq!(Fleet::join(&[pod("a")], &Reports::default(), NOW).total, None);
    let starting = KnownPod { ready: false, ..pod("a") };
    assert_eq!(Fleet::join(&[starting], &Reports::default(), NOW).total, Some(0));
    let leaving = KnownPod { terminating: true, ..pod("b") };
    let fleet = Fleet::join(&[pod("a"), leaving], &reports(&[("b", 9)]), NOW);
    assert_eq!(fleet.total, None, "what a leaving pod holds says nothing of a live one");
}

#[test]
fn leaves_out_what_is_stale_at_15_seconds() {
    let reports = reports(&[("a", 3)]);
    assert_eq!(Fleet::join(&[pod("a")], &reports, NOW + 14_999).total, Some(3));
    let stale = Fleet::join(&[pod("a")], &reports, NOW + 15_000);
    assert_eq!((stale.total, stale.blind, stale.pods.len()), (None, 1, 0));
}

#[test]
fn believes_a_fast_clock_only_while_it_ticks() {
    let ahead = NOW + 3_600_000;
    let mut reports = Reports::default();
    reports.hear("uid-a", &gauge(3, ahead, false), NOW);
    assert_eq!(Fleet::join(&[pod("a")], &reports, NOW).pods[0].at, NOW, "the future counts as now");
    // The same report again and again.
    for second in 0..15 {
        reports.hear("uid-a", &gauge(3, ahead, false), NOW + second * 1_000);
    }
    assert_eq!(Fleet::join(&[pod("a")], &reports, NOW + 15_000).total, None);
    reports.hear("uid-a", &gauge(5, ahead + 15_000, false), NOW + 15_000);
    assert_eq!(Fleet::join(&[pod("a")], &reports, NOW + 15_000).total, Some(5));
    // The clock is put right.
    reports.hear("uid-a", &gauge(6, NOW + 30_000, false), NOW + 30_000);
    assert_eq!(Fleet::join(&[pod("a")], &reports, NOW + 30_000).total, Some(6));
}

#[test]
fn keeps_the_newer_report_and_forgets_the_gone() {
    let mut reports = reports(&[("a", 3), ("b", 4)]);
    reports.hear("uid-a", &gauge(1, NOW - 1_000, true), NOW);
    assert_eq!(reports.fresh("uid-a", NOW), Some(Report { connections: 3, at: NOW, draining: false }));
    reports.keep(&[pod("a")]);
    assert_eq!((reports.fresh("uid-a", NOW).is_some(), reports.fresh("uid-b", NOW)), (true, None));
}

prop_compose! {
    fn any_pod()(over: bool, ready: bool, terminating: bool, report in proptest::option::of((0..5_000_u64, 0..30_000_u64, any::<bool>())))
        -> (KnownPod, Option<PodGauge>) {
        let known = KnownPod { over, ready, terminating, ..KnownPod::default() };
        (known, report.map(|(connections, age, draining)| gauge(connections, NOW - age, draining)))
    }
}

proptest! {
    #[test]
    fn the_total_is_the_sum_plus_a_mean_for_each_blind_pod(pods in proptest::collection::vec(any_pod(), 0..12)) {
        let mut reports = Reports::default();
        let mut known = Vec::new();
        for (index, (pod, gauge)) in pods.into_iter().enumerate() {
            let uid = format!("uid-{index}");
            if let Some(gauge) = gauge {
                reports.hear(&uid, &gauge, NOW);
            }
            known.push(KnownPod { name: format!("pod-{index:02}"), uid, ..pod });
        }
        let fleet = Fleet::join(&known, &reports, NOW);

        prop_assert!(fleet.pods.is_sorted_by(|a, b| a.name < b.name));
        prop_assert!(fleet.pods.iter().all(|pod| NOW - pod.at < 15_000));
        for pod in &known {
            let listed = fleet.pods.iter().any(|listed| listed.name == pod.name);
            prop_assert_eq!(listed, !pod.over && reports.fresh(&pod.uid, NOW).is_some());
        }
        let sum: u64 = fleet.pods.iter().map(|pod| pod.connections).sum();
        let live: Vec<u64> = fleet.pods.iter().filter(|pod| !pod.leaving).map(|pod| pod.connections).collect();
        match fleet.total {
            None => prop_assert!(fleet.blind > 0 && live.is_empty()),
            Some(total) => {
                // Never below what is known, and a blind pod is neither emptier than the emptiest nor fuller than
                // the fullest.
                let (least, most) = (live.iter().min().copied(), live.iter().max().copied());
                let blind = fleet.blind as u64;
                prop_assert!(total >= sum + blind * least.unwrap_or(0));
                prop_assert!(total <= sum + blind * most.unwrap_or(0));
            }
        }
    }
}
