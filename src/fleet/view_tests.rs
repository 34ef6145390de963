use std::net::SocketAddr;

use super::*;
use crate::protocol::PodGauge;

const NOW: u64 = 1_800_000_000_000;

fn gauge(pod: &str, connections: u64) -> PodGauge {
    PodGauge {
        pod: pod.to_owned(),
        node: "node-a".to_owned(),
        connections,
        limit: 100,
        at: NOW - 1_250,
        users: Some(connections),
        outbox_bytes: Some(0),
        backplane: Some("up".to_owned()),
        ..PodGauge::default()
    }
}

fn state(change: impl FnOnce(&mut PodGauge)) -> State {
    let mut gauge = gauge("ws", 3);
    change(&mut gauge);
    Pod::reporting(gauge, None, NOW).state
}

#[test]
fn the_state_is_what_an_operator_should_look_at_first() {
    assert_eq!(state(|_| {}), State::Ready);
    assert_eq!(state(|gauge| gauge.backplane = None), State::Ready, "an older pod does not tell");
    assert_eq!(state(|gauge| gauge.connections = 100), State::Full);
    let degraded = |gauge: &mut PodGauge| {
        gauge.connections = 100;
        gauge.backplane = Some("degraded".to_owned());
    };
    assert_eq!(state(degraded), State::Degraded);
    assert_eq!(state(|gauge| gauge.backplane = Some("connecting".to_owned())), State::Starting);
    let draining = |gauge: &mut PodGauge| {
        degraded(gauge);
        gauge.draining = true;
    };
    assert_eq!(state(draining), State::Draining);
    let stale = |gauge: &mut PodGauge| {
        draining(gauge);
        gauge.at = NOW - 6_000;
    };
    assert_eq!(state(stale), State::Stale);
}

#[test]
fn a_clock_that_is_wrong_makes_no_pod_stale() {
    let aged = |at| {
        let pod = Pod::reporting(PodGauge { at, ..gauge("ws", 3) }, None, NOW);
        (pod.age_seconds, pod.state)
    };
    assert_eq!(aged(NOW - 1_250), (Some(1.3), State::Ready));
    assert_eq!(aged(NOW + 400), (Some(0.0), State::Ready), "a little ahead");
    assert_eq!(aged(NOW - 5_999), (Some(6.0), State::Ready));
    assert_eq!(aged(NOW - 17_000), (Some(17.0), State::Stale));
    for wrong in [NOW - 17_001, NOW + 60_000, 0, u64::MAX] {
        assert_eq!(aged(wrong), (None, State::Ready), "{wrong}");
    }
}

#[test]
fn the_sums_leave_out_what_is_not_known_and_say_so() {
    let mut draining = gauge("ws-2", 7);
    draining.draining = true;
    let pods = vec![
        Pod::reporting(gauge("ws-1", 3), Some(1.25), NOW),
        Pod::reporting(draining, None, NOW),
        Pod::silent("ws-3".to_owned(), State::Stale),
    ];
    let total = View::new(NOW, pods).total;
    let expected = Total {
        pods: 3,
        draining: 1,
        missing: 1,
        connections: 10,
        limit: 200,
        users: 10,
        messages_per_second: Some(1.3),
        outbox_bytes: 0,
    };
    assert_eq!(total, expected);
    assert_eq!(View::new(NOW, Vec::new()).total, Total::default());
}

#[test]
fn the_fullest_come_first_and_the_unknown_last() {
    let pod = |name, connections, rate, queued| {
        let gauge = PodGauge { outbox_bytes: queued, ..gauge(name, connections) };
        Pod::reporting(gauge, rate, NOW)
    };
    let pods = vec![
        Pod::silent("a".to_owned(), State::Stale),
        pod("d", 1, Some(0.5), Some(9)),
        pod("c", 5, None, Some(3)),
        pod("b", 5, Some(20.0), None),
    ];
    let mut view = View::new(NOW, pods);
    let names = |view: &View| view.pods.iter().map(|pod| pod.pod.clone()).collect::<String>();
    assert_eq!(names(&view), "bcda");
    let mut order = Order::default();
    for expected in ["bdac", "dcab", "abcd", "bcda"] {
        order = order.next();
        view.sort(order);
        assert_eq!(names(&view), expected, "by {}", order.as_str());
    }
}

#[test]
fn scripts_get_plain_names_and_null_for_what_is_not_known() {
    let mut gauge = gauge("ws-1", 3);
    gauge.admin = Some(SocketAddr::from(([10, 0, 0, 7], 9004)));
    let view = View::new(NOW + 120, vec![Pod::reporting(gauge, Some(2.0), NOW)]);
    let expected = serde_json::json!({
        "at": "2027-01-15T08:00:00Z",
        "pods": [{
            "pod": "ws-1", "node": "node-a", "state": "ready", "connections": 3, "limit": 100, "users": 3,
            "messages_per_second": 2.0, "outbox_bytes": 0, "backplane": "up", "age_seconds": 1.3,
            "version": null, "admin": "10.0.0.7:9004",
        }],
        "total": {
            "pods": 1, "draining": 0, "missing": 0, "connections": 3, "limit": 100, "users": 3,
            "messages_per_second": 2.0, "outbox_bytes": 0,
        },
    });
    assert_eq!(serde_json::to_value(&view).expect("JSON"), expected);
}
