//! Phases, rate, deadline and force, with paused time and sessions on scripted connections.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::{Drain, Phase};
use crate::config::{DrainConfig, SessionConfig, UserLimitPolicy};
use crate::hub::{Connection, Hub, UserLimit};
use crate::metrics::Metrics;
use crate::protocol::{CorrelationId, Mode, UserId};
use crate::session::transport::Incoming;
use crate::session::{Ended, Machine, Outbox, Surroundings, run, scripted};
use crate::trace::Tracer;

struct Pod {
    hub: Arc<Hub>,
    metrics: Arc<Metrics>,
    drain: Drain,
    draining: JoinHandle<()>,
}

fn pod() -> Pod {
    let (hub, metrics, drain) = (Hub::new(), Arc::new(Metrics::new()), Drain::default());
    let draining = tokio::spawn({
        let (hub, metrics, drain) = (Arc::clone(&hub), Arc::clone(&metrics), drain.clone());
        async move { drain.run(&hub, &DrainConfig::default(), &metrics, &Tracer::off()).await }
    });
    Pod { hub, metrics, drain, draining }
}

impl Pod {
    /// A connection whose client answers a close, or never reads anything.
    fn connect(&self, n: usize, reads: bool) -> JoinHandle<(Ended, Instant)> {
        let limit = UserLimit { connections: 5, policy: UserLimitPolicy::Reject };
        let user = UserId::new(&format!("user-{n}")).expect("valid");
        let connection = Connection::new(IpAddr::V4(Ipv4Addr::LOCALHOST), Mode::Plain, Outbox::default());
        let registration = self.hub.register(user, connection, limit).expect("within the limit");
        let (mut transport, client) = scripted::connection();
        client.reads(reads);
        if reads {
            let client = client.clone();
            tokio::spawn(async move {
                client.has_closed().await;
                client.sends(Incoming::Close);
            });
        }
        let metrics = Arc::clone(&self.metrics);
        tokio::spawn(async move {
            let config = SessionConfig { timeout: Duration::from_secs(3600), ..SessionConfig::default() };
            let now = Instant::now();
            let around = Surroundings {
                outbox: &registration.connection().outbox,
                config: &config,
                metrics: &metrics,
                correlation_id: CorrelationId::random(),
                route: None,
            };
            let ended = run(
                &mut transport,
                Machine::new(&config, now + Duration::from_secs(7200), now),
                None,
                around,
            )
            .await;
            (ended, Instant::now())
        })
    }
}

#[tokio::test(start_paused = true)]
async fn closes_with_1012_after_the_lame_duck_at_a_steady_rate() {
    let pod = pod();
    let connections: Vec<_> = (0..300).map(|n| pod.connect(n, true)).collect();
    let start = Instant::now();
    pod.drain.start();
    let mut closes = Vec::new();
    for connection in connections {
        let (ended, at) = connection.await.expect("no panic");
        assert_eq!(ended.with.number(), 1012);
        closes.push((at - start).as_secs_f64());
    }
    pod.draining.await.expect("the drain ends");
    assert_eq!((pod.drain.phase(), pod.metrics.draining.get()), (Phase::Drained, 1));
    assert_eq!((pod.metrics.drain_forced.get(), pod.metrics.drain_remaining.get()), (0, 0));
    closes.sort_by(f64::total_cmp);
    assert!(closes[0] >= 10.0, "nobody is closed in the lame duck: {}", closes[0]);
    let busiest =
        (10..71).map(|s| closes.iter().filter(|at| (s as f64..s as f64 + 1.0).contains(*at)).count()).max();
    assert!(busiest <= Some(8), "planned are 5 a second, {busiest:?} came");
}

#[tokio::test(start_paused = true)]
async fn with_nobody_connected_it_ends_after_the_lame_duck() {
    let pod = pod();
    let start = Instant::now();
    pod.drain.start();
    pod.draining.await.expect("the drain ends");
    assert_eq!(start.elapsed().as_secs(), 10);
}

#[tokio::test(start_paused = true)]
async fn whoever_does_not_leave_is_cut_by_the_deadline_and_counted() {
    let pod = pod();
    let stuck = pod.connect(0, false);
    for _ in 0..200 {
        let envelope = crate::protocol::Envelope::new(b"x".to_vec(), 10).expect("text");
        pod.hub.deliver("user-0", &envelope, &SessionConfig::default().outbox, &pod.metrics);
    }
    let start = Instant::now();
    pod.drain.start();
    stuck.await.expect("no panic");
    pod.draining.await.expect("the drain ends");
    assert!(start.elapsed() <= Duration::from_secs(10 + 60 + 10 + 1), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn the_fast_path_waits_for_nothing_but_the_close() {
    let pod = pod();
    let (polite, stuck) = (pod.connect(0, true), pod.connect(1, false));
    let start = Instant::now();
    pod.drain.start();
    pod.drain.hurry();
    assert_eq!(polite.await.expect("no panic").0.with.number(), 1012);
    stuck.await.expect("no panic");
    pod.draining.await.expect("the drain ends");
    assert!(start.elapsed() <= Duration::from_secs(7), "{:?}", start.elapsed());
    assert_eq!(pod.hub.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn ends_as_soon_as_nobody_is_left_although_more_closes_were_planned() {
    let pod = pod();
    let connections: Vec<_> = (0..60).map(|n| pod.connect(n, true)).collect();
    let start = Instant::now();
    pod.drain.start();
    // Into the spread: time is paused, so this takes none.
    tokio::time::sleep(Duration::from_secs(15)).await;
    // Everybody goes away by itself.
    connections.iter().for_each(JoinHandle::abort);
    pod.draining.await.expect("the drain ends");
    assert!(start.elapsed() <= Duration::from_secs(16), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn phases_never_go_back() {
    let drain = Drain::default();
    drain.hurry();
    drain.start();
    assert_eq!(drain.phase(), Phase::Hurrying);
}
