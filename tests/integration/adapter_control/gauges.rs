use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::Json;
use axum::routing::get;
use parking_lot::Mutex;
use tokio::net::TcpListener;
use websocket_service::adapter::control::ControlMetrics;
use websocket_service::adapter::control::gauges::Gauges;
use websocket_service::adapter::fleet::{Fleet, KnownPod};
use websocket_service::adapter::settings::Settings;
use websocket_service::protocol::{PodGauge, gauge_key};

use crate::support::cluster::{AGREED, RedisCluster};
use crate::support::redis::RedisServer;
use crate::support::sentinel::{Knows, Scripted};
use crate::support::{LOCAL, eventually};

/// The pods' own gauges: `v4` on 127.0.0.1 and `v6` on `::1`, with one port for both as in a cluster.
struct Pods {
    port: u16,
    answers: Arc<Mutex<[PodGauge; 2]>>,
}

impl Pods {
    async fn start(v4: PodGauge, v6: PodGauge) -> Self {
        let answers = Arc::new(Mutex::new([v4, v6]));
        let (first, second) = loop {
            let first = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
            let port = first.local_addr().expect("bound").port();
            // Somebody else may have the same port there.
            if let Ok(second) = TcpListener::bind(SocketAddr::new("::1".parse().expect("IPv6"), port)).await {
                break (first, second);
            }
        };
        let port = first.local_addr().expect("bound").port();
        for (index, listener) in [first, second].into_iter().enumerate() {
            let answers = Arc::clone(&answers);
            let answer = get(move || async move { Json(answers.lock()[index].clone()) });
            tokio::spawn(async move {
                axum::serve(listener, axum::Router::new().route("/gauge", answer)).await.expect("it serves");
            });
        }
        Self { port, answers }
    }

    fn say(&self, index: usize, gauge: PodGauge) {
        self.answers.lock()[index] = gauge;
    }

    fn gauges(&self, redis: &[&str]) -> (Gauges, ControlMetrics) {
        let port = self.port.to_string();
        let mut arguments =
            vec!["metrics-adapter", "--namespace", "ns", "--deployment", "ws", "--selector", "app=ws"];
        arguments.extend(["--tls-certificate", "c", "--tls-key", "k", "--gauge-port", &port]);
        arguments.extend(redis);
        let settings = Settings::parse(arguments.into_iter().map(Into::into)).expect("sound");
        let metrics = ControlMetrics::new();
        (Gauges::new(&settings, &metrics), metrics)
    }
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    u64::try_from(since.as_millis()).expect("before the year 500 million")
}

fn gauge(pod: &str, connections: u64, age: u64) -> PodGauge {
    PodGauge {
        pod: pod.to_owned(),
        namespace: "ns".to_owned(),
        connections,
        limit: 100,
        at: now() - age,
        ..PodGauge::default()
    }
}

fn known() -> [KnownPod; 2] {
    [("v4", "127.0.0.1"), ("v6", "::1")].map(|(name, ip)| KnownPod {
        name: name.to_owned(),
        uid: format!("uid-{name}"),
        ip: ip.parse().ok(),
        ready: true,
        ..KnownPod::default()
    })
}

async fn report(redis: &RedisServer, gauge: &PodGauge) {
    let key = gauge_key(&format!("uid-{}", gauge.pod));
    let json = serde_json::to_vec(gauge).expect("JSON");
    redis.run::<()>("SET", &[key.as_bytes(), &json]).await;
}

fn counts(fleet: &Fleet) -> Vec<(&str, u64)> {
    fleet.pods.iter().map(|pod| (pod.name.as_str(), pod.connections)).collect()
}

#[tokio::test]
async fn reports_come_from_redis_and_from_the_pods_while_it_is_away() {
    let mut redis = RedisServer::start().await;
    let pods = Pods::start(gauge("v4", 100, 0), gauge("v6", 200, 0)).await;
    report(&redis, &gauge("v4", 1, 1_000)).await;
    report(&redis, &gauge("v6", 2, 1_000)).await;
    let (mut gauges, metrics) = pods.gauges(&["--redis-url", &redis.url()]);
    let fleet = gauges.read(&known()).await;
    assert_eq!((counts(&fleet), fleet.total, fleet.blind), (vec![("v4", 1), ("v6", 2)], Some(3), 0));
    assert_eq!((metrics.redis_up.get(), redis.calls("get").await), (1, 2));

    redis.stop();
    let fleet = gauges.read(&known()).await;
    assert_eq!((counts(&fleet), fleet.total), (vec![("v4", 100), ("v6", 200)], Some(300)));
    assert_eq!(metrics.redis_up.get(), 0);

    redis.restart().await;
    report(&redis, &gauge("v4", 7, 0)).await;
    report(&redis, &gauge("v6", 8, 0)).await;
    eventually("Redis is read again", LOCAL, async || gauges.read(&known()).await.total == Some(15)).await;
    assert_eq!(metrics.redis_up.get(), 1);
}

#[tokio::test]
async fn reports_come_from_the_master_that_sentinels_name() {
    let (old, new) = (RedisServer::start().await, RedisServer::start().await);
    let sentinel = Scripted::start(Knows::Master(old.port(), 1)).await;
    let pods = Pods::start(gauge("v4", 100, 0), gauge("v6", 200, 0)).await;
    for (redis, connections) in [(&old, 1), (&new, 2)] {
        report(redis, &gauge("v4", connections, 0)).await;
        report(redis, &gauge("v6", connections, 0)).await;
    }
    let list = sentinel.address();
    let flags = ["--redis-url", "redis://nobody.invalid", "--redis-sentinels", list.as_str()];
    let (mut gauges, metrics) = pods.gauges(&flags);
    assert_eq!(gauges.read(&known()).await.total, Some(2));
    assert_eq!(metrics.redis_up.get(), 1);
    // The old one stays open, and answers.
    sentinel.learn(Knows::Master(new.port(), 2));
    eventually("the new master is read", LOCAL, async || {
        // A report is fresh for seconds, which a busy machine may take.
        report(&new, &gauge("v4", 2, 0)).await;
        report(&new, &gauge("v6", 2, 0)).await;
        gauges.read(&known()).await.total == Some(4)
    })
    .await;
}

#[tokio::test]
async fn reports_come_from_whichever_masters_of_a_cluster_have_them() {
    let cluster = RedisCluster::start().await;
    let pods = Pods::start(gauge("v4", 100, 0), gauge("v6", 200, 0)).await;
    let list = cluster.list();
    let flags = ["--redis-url", "redis://nobody.invalid", "--redis-cluster-nodes", list.as_str()];
    let (mut gauges, metrics) = pods.gauges(&flags);
    let mut masters = Vec::new();
    for (name, connections) in [("v4", 1), ("v6", 2)] {
        let master = cluster.master_of(&gauge_key(&format!("uid-{name}"))).await;
        report(&cluster.servers[master], &gauge(name, connections, 0)).await;
        masters.push(master);
    }
    assert_ne!(masters[0], masters[1], "this test is about two of them");
    assert_eq!(gauges.read(&known()).await.total, Some(3));
    assert_eq!(metrics.redis_up.get(), 1);

    cluster.failover(masters[0]).await;
    let now = cluster.master_of(&gauge_key("uid-v4")).await;
    assert_ne!(now, masters[0]);
    eventually("its replica is read", AGREED, async || {
        report(&cluster.servers[now], &gauge("v4", 10, 0)).await;
        report(&cluster.servers[masters[1]], &gauge("v6", 2, 0)).await;
        gauges.read(&known()).await.total == Some(12)
    })
    .await;
}

#[tokio::test]
async fn a_redis_that_hangs_is_left_for_the_pods() {
    let redis = RedisServer::start().await;
    let pods = Pods::start(gauge("v4", 100, 0), gauge("v6", 200, 0)).await;
    report(&redis, &gauge("v4", 1, 1_000)).await;
    report(&redis, &gauge("v6", 2, 1_000)).await;
    let (mut gauges, metrics) = pods.gauges(&["--redis-url", &redis.url()]);
    assert_eq!(gauges.read(&known()).await.total, Some(3));
    redis.pause();
    assert_eq!(gauges.read(&known()).await.total, Some(300));
    assert_eq!(metrics.redis_up.get(), 0);
    redis.resume();
}

#[tokio::test]
async fn what_is_stale_in_redis_is_asked_of_the_pod_and_else_left_out() {
    let redis = RedisServer::start().await;
    let pods = Pods::start(gauge("v4", 100, 0), gauge("v6", 200, 0)).await;
    report(&redis, &gauge("v4", 1, 0)).await;
    report(&redis, &gauge("v6", 2, 16_000)).await;
    let (mut gauges, _) = pods.gauges(&["--redis-url", &redis.url()]);
    assert_eq!(counts(&gauges.read(&known()).await), [("v4", 1), ("v6", 200)]);

    // Nor does the pod know anything newer.
    pods.say(1, gauge("v6", 300, 20_000));
    let (mut gauges, _) = pods.gauges(&["--redis-url", &redis.url()]);
    let fleet = gauges.read(&known()).await;
    assert_eq!((counts(&fleet), fleet.total, fleet.blind), (vec![("v4", 1)], Some(2), 1));

    // Another pod's gauge under its address is not its own; neither is what is no report.
    pods.say(1, gauge("other", 300, 0));
    redis.run::<()>("SET", &[gauge_key("uid-v6").as_bytes(), b"{}"]).await;
    assert_eq!(counts(&gauges.read(&known()).await), [("v4", 1)]);
}

#[tokio::test]
async fn without_redis_the_pods_are_asked_and_one_that_does_not_answer_is_left_out() {
    let pods = Pods::start(gauge("v4", 100, 0), gauge("v6", 200, 0)).await;
    let (mut gauges, metrics) = pods.gauges(&[]);
    let [v4, v6] = known();
    let silent = KnownPod { name: "silent".to_owned(), uid: "uid-silent".to_owned(), ip: None, ..v4.clone() };
    let leaving = KnownPod { terminating: true, ready: false, ..v6 };
    let fleet = gauges.read(&[v4, leaving, silent]).await;
    assert_eq!((counts(&fleet), fleet.total, fleet.blind), (vec![("v4", 100), ("v6", 200)], Some(400), 1));
    assert!(fleet.pods[1].leaving);
    assert_eq!(metrics.redis_up.get(), 0);
}

#[tokio::test]
async fn the_url_s_file_is_read_anew_at_each_connect() {
    let redis = RedisServer::start().await;
    let pods = Pods::start(gauge("v4", 100, 0), gauge("v6", 200, 0)).await;
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("redis-url");
    std::fs::write(&file, "redis://127.0.0.1:1\n").expect("written");
    let (mut gauges, metrics) = pods.gauges(&["--redis-url-file", file.to_str().expect("UTF-8")]);
    assert_eq!(gauges.read(&known()).await.total, Some(300));
    std::fs::write(&file, redis.url() + "\n").expect("written");
    eventually("Redis is read", LOCAL, async || {
        gauges.read(&known()).await;
        metrics.redis_up.get() == 1
    })
    .await;
}
