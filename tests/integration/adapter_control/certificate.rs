use std::time::Duration;

use http::Method;
use k8s_openapi::ByteString;
use rustls::pki_types::UnixTime;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep};
use websocket_service::adapter::control::ControlMetrics;
use websocket_service::adapter::control::authority::{Authority, Seen, watch_secret};
use websocket_service::adapter::control::certificate::{Standing, Stored, server_name};
use websocket_service::tls::Identity;

use super::{API_SERVICES, NAMESPACE, soon};
use crate::support::kube_api::KubeApi;

const DAY: u64 = 24 * 60 * 60;

/// One adapter: it shows what is in the Secret, and may lead.
struct Adapter {
    identity: watch::Receiver<Option<Identity>>,
    seen: watch::Receiver<Seen>,
    metrics: ControlMetrics,
}

impl Adapter {
    fn start(api: &KubeApi) -> Self {
        let (seen_sender, seen) = watch::channel(Seen::default());
        let (identity_sender, identity) = watch::channel(None);
        let client = api.client();
        tokio::spawn(async move {
            watch_secret(client, "ns", "tls", &seen_sender, &identity_sender).await;
        });
        Self { identity, seen, metrics: ControlMetrics::new() }
    }

    fn lead(&self, api: &KubeApi) -> AbortHandle {
        let seen = self.seen.clone();
        let authority = Authority::new(api.client(), "ns", "tls", "ws-metrics", seen, self.metrics.clone());
        tokio::spawn(authority.lead()).abort_handle()
    }

    async fn shows(&mut self, stored: &Stored) {
        let chain = stored.identity().expect("usable").chain;
        let shown = |identity: &Option<Identity>| identity.as_ref().is_some_and(|shown| shown.chain == chain);
        soon("it is shown", self.identity.wait_for(shown)).await.expect("a sender");
    }
}

fn secret() -> String {
    format!("{NAMESPACE}/secrets/tls")
}

fn cluster() -> KubeApi {
    let api = KubeApi::default();
    for path in API_SERVICES {
        let name = path.rsplit('/').next().expect("a name");
        let service = json!({"name": "ws-metrics", "namespace": "ns", "port": 443});
        let spec = json!({"group": "custom.metrics.k8s.io", "groupPriorityMinimum": 100, "version": "v1beta2",
            "versionPriority": 200, "service": service});
        api.put(path, json!({"metadata": {"name": name}, "spec": spec}));
    }
    api
}

fn empty_secret() -> Value {
    json!({"apiVersion": "v1", "kind": "Secret", "type": "Opaque", "metadata": {"name": "tls", "namespace": "ns"}})
}

fn text(value: &Value) -> String {
    let bytes = serde_json::from_value(value.clone()).map(|ByteString(bytes)| bytes).unwrap_or_default();
    String::from_utf8(bytes).expect("text")
}

fn stored(secret: &Value) -> Stored {
    let data = &secret["data"];
    Stored { ca: text(&data["ca.crt"]), certificate: text(&data["tls.crt"]), key: text(&data["tls.key"]) }
}

fn put_stored(api: &KubeApi, stored: &Stored) {
    let mut object = empty_secret();
    let base64 = |text: &str| serde_json::to_value(ByteString(text.as_bytes().to_vec())).expect("a string");
    object["data"] = json!({"ca.crt": base64(&stored.ca), "tls.crt": base64(&stored.certificate),
        "tls.key": base64(&stored.key)});
    api.put(&secret(), object);
}

/// As made so many days ago.
fn aged(days: u64) -> Stored {
    let then = UnixTime::now().as_secs() - days * DAY;
    let then = UnixTime::since_unix_epoch(Duration::from_secs(then));
    Stored::make(&server_name("ws-metrics", "ns"), None, then).expect("made")
}

fn standing(stored: &Stored) -> Standing {
    stored.standing(&server_name("ws-metrics", "ns"), UnixTime::now())
}

/// Waits until a good certificate is stored and both APIServices trust it.
async fn settled(api: &KubeApi) -> Stored {
    let all = |objects: &std::collections::BTreeMap<String, Value>| {
        let stored = objects.get(&secret()).map(stored)?;
        let trusted = API_SERVICES.iter().all(|path| text(&objects[*path]["spec"]["caBundle"]) == stored.ca);
        (trusted && standing(&stored) == Standing::Good).then_some(stored)
    };
    let mut found = None;
    soon(
        "the certificate is in place",
        api.until(|objects| {
            found = all(objects);
            found.is_some()
        }),
    )
    .await;
    found.expect("found")
}

#[tokio::test(start_paused = true)]
async fn the_leader_fills_the_chart_s_empty_secret_and_every_adapter_shows_it() {
    let api = cluster();
    api.put(&secret(), empty_secret());
    let (mut leader, mut follower) = (Adapter::start(&api), Adapter::start(&api));
    leader.lead(&api);
    let made = settled(&api).await;
    leader.shows(&made).await;
    follower.shows(&made).await;
    let object = api.get(&secret()).expect("a Secret");
    assert_eq!(object["type"], "Opaque", "the type of a Secret cannot be changed");
    assert_eq!(leader.metrics.certificate_rotations.get(), 1);

    // From then on there is nothing to write.
    let writes = api.writes("/").len();
    sleep(Duration::from_secs(3_600)).await;
    assert_eq!(api.writes("/").len(), writes);
    let rights = ["apiservices get", "apiservices patch", "secrets list", "secrets patch", "secrets watch"];
    assert_eq!(api.rights_used(), rights);
}

#[tokio::test(start_paused = true)]
async fn a_secret_that_is_deleted_is_made_again_and_the_old_certificate_shown_until_then() {
    let api = cluster();
    let mut adapter = Adapter::start(&api);
    adapter.lead(&api);
    let first = settled(&api).await;
    assert_eq!(api.get(&secret()).expect("a Secret")["type"], "kubernetes.io/tls");

    adapter.shows(&first).await;
    api.delete(&secret());
    sleep(Duration::from_secs(1)).await;
    assert_eq!(api.get(&secret()), None);
    adapter.shows(&first).await;
    let second = settled(&api).await;
    adapter.shows(&second).await;
    assert_ne!(first.certificate, second.certificate);
    let create = api.writes(&format!("{NAMESPACE}/secrets")).pop().expect("a write");
    for path in API_SERVICES {
        let bundle = text(&create.objects[path]["spec"]["caBundle"]);
        assert!(bundle.contains(first.ca.trim()) && bundle.contains(second.ca.lines().nth(1).expect("PEM")));
    }
}

#[tokio::test(start_paused = true)]
async fn a_rotation_is_trusted_before_it_is_shown() {
    let api = cluster();
    let old = aged(300);
    assert_eq!(standing(&old), Standing::Ageing);
    put_stored(&api, &old);
    let mut adapter = Adapter::start(&api);
    adapter.shows(&old).await;
    let start = Instant::now();
    adapter.lead(&api);
    let new = settled(&api).await;
    adapter.shows(&new).await;
    assert!(start.elapsed() >= Duration::from_secs(10), "the API servers have time to hear of it");

    let written = api.writes(&secret()).pop().expect("a write");
    for path in API_SERVICES {
        let bundle = text(&written.objects[path]["spec"]["caBundle"]);
        let under = |stored: &Stored| standing(&Stored { ca: bundle.clone(), ..stored.clone() });
        assert_eq!((under(&old), under(&new)), (Standing::Ageing, Standing::Good), "{path}");
    }
    assert_eq!(adapter.metrics.certificate_rotations.get(), 1);
    assert_eq!(api.writes(&secret()).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_ageing_certificate_stays_until_its_successor_can_be_announced() {
    let api = cluster();
    let old = aged(300);
    put_stored(&api, &old);
    api.refuse(Method::PATCH, API_SERVICES[1], 403);
    let mut adapter = Adapter::start(&api);
    adapter.lead(&api);
    sleep(Duration::from_secs(600)).await;
    assert!(api.writes(&secret()).is_empty());
    assert!(adapter.metrics.ca_bundle_failures.get() >= 10, "{:?}", adapter.metrics.ca_bundle_failures);
    adapter.shows(&old).await;
    api.allow_all();
    let new = settled(&api).await;
    adapter.shows(&new).await;
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_used_is_replaced_even_before_the_apiservices_are_there() {
    let other_name = Stored::make("other.ns.svc", None, UnixTime::now()).expect("made");
    let broken = Stored { key: "x".to_owned(), ..aged(0) };
    for bad in [other_name, broken, aged(400)] {
        let api = KubeApi::default();
        put_stored(&api, &bad);
        let mut adapter = Adapter::start(&api);
        adapter.lead(&api);
        let mut good = None;
        soon(
            "a good one",
            api.until(|objects| {
                good = objects.get(&secret()).map(stored).filter(|stored| standing(stored) == Standing::Good);
                good.is_some()
            }),
        )
        .await;
        let good = good.expect("found");
        adapter.shows(&good).await;
        assert_eq!(good.ca.matches("BEGIN").count(), 1, "what nobody accepts need not stay trusted");
        // The chart installs the APIServices last.
        for (path, object) in API_SERVICES.iter().map(|path| (path, cluster().get(path).expect("one"))) {
            api.put(path, object);
        }
        assert_eq!(settled(&api).await, good);
    }
}

#[tokio::test(start_paused = true)]
async fn the_bundle_is_put_right_when_somebody_changes_it() {
    let api = cluster();
    let adapter = Adapter::start(&api);
    adapter.lead(&api);
    let made = settled(&api).await;
    let mut object = api.get(API_SERVICES[0]).expect("one");
    object["spec"]["caBundle"] = "".into();
    api.put(API_SERVICES[0], object);
    let start = Instant::now();
    assert_eq!(settled(&api).await, made);
    assert!(start.elapsed() <= Duration::from_secs(31));
}

#[tokio::test(start_paused = true)]
async fn another_provider_s_apiservice_is_not_touched() {
    let api = cluster();
    let mut theirs = api.get(API_SERVICES[0]).expect("one");
    theirs["spec"]["service"] = json!({"name": "prometheus-adapter", "namespace": "monitoring", "port": 443});
    theirs["spec"]["caBundle"] = "dGhlaXJz".into();
    api.put(API_SERVICES[0], theirs);
    let mut adapter = Adapter::start(&api);
    adapter.lead(&api);
    sleep(Duration::from_secs(600)).await;
    assert!(api.writes(API_SERVICES[0]).is_empty());
    let made = stored(&api.get(&secret()).expect("a Secret"));
    adapter.shows(&made).await;
    assert_eq!(text(&api.get(API_SERVICES[1]).expect("one")["spec"]["caBundle"]), made.ca);
}

#[tokio::test(start_paused = true)]
async fn a_new_leader_ends_what_the_last_one_began() {
    let api = cluster();
    let old = aged(300);
    put_stored(&api, &old);
    let adapter = Adapter::start(&api);
    let first = adapter.lead(&api);
    let announced = |objects: &std::collections::BTreeMap<String, Value>| {
        API_SERVICES.iter().all(|path| !objects[*path]["spec"]["caBundle"].is_null())
    };
    soon("announced", api.until(announced)).await;
    first.abort();
    sleep(Duration::from_secs(60)).await;
    assert_eq!(stored(&api.get(&secret()).expect("one")), old, "nobody leads, nobody writes");
    adapter.lead(&api);
    let new = settled(&api).await;
    assert_eq!(new.ca.matches("BEGIN").count(), 2);
}
