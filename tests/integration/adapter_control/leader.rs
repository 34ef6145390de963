use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::Method;
use kube::Client;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use websocket_service::adapter::control::ControlMetrics;
use websocket_service::adapter::control::leader::{Candidate, while_leading};
use websocket_service::adapter::settings::Leadership;

use super::soon;
use crate::support::kube_api::KubeApi;

const LEASE: &str = "/apis/coordination.k8s.io/v1/namespaces/ns/leases/ws";

struct Standing {
    leading: watch::Receiver<bool>,
    metrics: ControlMetrics,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Standing {
    fn new(client: Client, identity: &str) -> Self {
        let metrics = ControlMetrics::new();
        let leadership = Leadership { lease: "ws".to_owned(), identity: identity.to_owned() };
        let candidate = Candidate::new(client, "ns", &leadership, metrics.clone());
        let (sender, leading) = watch::channel(false);
        let stop = CancellationToken::new();
        let task = tokio::spawn(candidate.run(sender, stop.clone()));
        Self { leading, metrics, stop, task }
    }

    fn leads(&self) -> bool {
        *self.leading.borrow()
    }

    async fn wins(&mut self) {
        soon("it leads", self.leading.wait_for(|leads| *leads)).await.expect("it stands");
    }

    async fn loses(&mut self) {
        soon("it leads no more", self.leading.wait_for(|leads| !leads)).await.expect("it stands");
    }
}

fn holder(api: &KubeApi) -> String {
    let lease = api.get(LEASE).expect("a Lease");
    lease["spec"]["holderIdentity"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test(start_paused = true)]
async fn exactly_one_leads_and_a_release_hands_over_at_once() {
    let api = KubeApi::default();
    let mut standing = [Standing::new(api.client(), "a"), Standing::new(api.client(), "b")];
    soon("a Lease", api.until(|objects| objects.contains_key(LEASE))).await;
    for _ in 0..60 {
        sleep(Duration::from_secs(1)).await;
        assert!(standing.iter().filter(|one| one.leads()).count() == 1);
    }
    let leader = usize::from(standing[1].leads());
    assert_eq!(standing[leader].metrics.leader.get(), 1);

    let start = Instant::now();
    standing[leader].stop.cancel();
    let [a, b] = &mut standing;
    let (old, new) = if leader == 0 { (a, b) } else { (b, a) };
    soon("it ends", &mut old.task).await.expect("no panic");
    assert!(!old.leads());
    assert_eq!(old.metrics.leader.get(), 0);
    new.wins().await;
    assert!(start.elapsed() < Duration::from_secs(6), "{:?}", start.elapsed());
    assert_eq!(api.get(LEASE).expect("a Lease")["spec"]["leaseTransitions"], 1);
    assert_eq!(api.rights_used(), ["leases create", "leases get", "leases update"]);
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_died_is_followed_when_its_lease_ran_out() {
    let api = KubeApi::default();
    let mut old = Standing::new(api.client(), "old");
    old.wins().await;
    let mut new = Standing::new(api.client(), "new");
    sleep(Duration::from_secs(60)).await;
    assert!(!new.leads(), "it is renewed");

    old.task.abort();
    let start = Instant::now();
    new.wins().await;
    let waited = start.elapsed();
    assert!(waited >= Duration::from_secs(10) && waited < Duration::from_secs(26), "{waited:?}");
    assert_eq!(holder(&api), "new");
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_is_cut_off_stops_before_another_begins() {
    let api = KubeApi::default();
    let cut = Arc::new(AtomicBool::new(false));
    let mut old = Standing::new(api.cut_off_by(&cut), "old");
    old.wins().await;
    let mut new = Standing::new(api.client(), "new");
    sleep(Duration::from_secs(30)).await;

    // What the leader does: it counts as long as it runs.
    let (at_work, mut working) = watch::channel(false);
    struct Work(watch::Sender<bool>);
    impl Drop for Work {
        fn drop(&mut self) {
            self.0.send_replace(false);
        }
    }
    tokio::spawn(while_leading(old.leading.clone(), move || {
        let work = Work(at_work.clone());
        async move {
            work.0.send_replace(true);
            std::future::pending::<()>().await;
        }
    }));
    soon("it works", working.wait_for(|working| *working)).await.expect("a sender");

    cut.store(true, Ordering::SeqCst);
    let start = Instant::now();
    old.loses().await;
    assert!(start.elapsed() <= Duration::from_secs(10), "{:?}", start.elapsed());
    assert!(!new.leads());
    soon("its work stops", working.wait_for(|working| !working)).await.expect("a sender");
    new.wins().await;

    cut.store(false, Ordering::SeqCst);
    sleep(Duration::from_secs(60)).await;
    assert!(new.leads() && !old.leads(), "who comes back finds the Lease taken");
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_may_not_renew_stops_and_comes_back() {
    let api = KubeApi::default();
    let mut only = Standing::new(api.client(), "only");
    only.wins().await;
    api.refuse(Method::PUT, LEASE, 403);
    only.loses().await;
    api.allow_all();
    only.wins().await;
    // Somebody else takes the Lease, whoever it is.
    let mut lease = api.get(LEASE).expect("a Lease");
    lease["spec"]["holderIdentity"] = "operator".into();
    api.put(LEASE, lease);
    only.loses().await;
    assert_eq!(holder(&api), "operator");
    only.wins().await;
}
