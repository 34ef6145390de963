//! Redis Cluster: a user is where the slot of the user's channel is, and stays a user wherever that goes.

mod access;
mod bench;
mod canary;
mod crowd;
mod failover;
mod fleet;
mod ground;
mod outage;
mod refusals;
mod registry;
mod slots;
mod tls;
mod ways;

use std::collections::BTreeSet;

use serde_json::Value;

use crate::support::client::Client;
use crate::support::cluster::{AGREED, RedisCluster};
use crate::support::http;
use crate::support::redis::{RedisServer, field};
use crate::support::service::{Service, bearer};
use crate::support::{LOCAL, eventually};
use crate::v1::V1;

/// The URL's host is nobody: only its scheme and login count.
const URL: &str = "redis://nobody.invalid";

/// `REDIS_CLUSTER_PUBSUB`.
const SHARDED: &str = "sharded";
const CLASSIC: &str = "classic";

/// How a cluster is reached, by settings.
fn reach<'a>(list: &'a str, pubsub: &'a str) -> [(&'a str, &'a str); 3] {
    [("REDIS_URL", URL), ("REDIS_CLUSTER_NODES", list), ("REDIS_CLUSTER_PUBSUB", pubsub)]
}

/// A cluster, and two pods on it.
struct Fleet {
    cluster: RedisCluster,
    pods: [Service; 2],
}

impl Fleet {
    async fn start(pubsub: &str, more: &[(&str, &str)]) -> Self {
        Self::start_on(RedisCluster::start().await, pubsub, more).await
    }

    async fn start_on(cluster: RedisCluster, pubsub: &str, more: &[(&str, &str)]) -> Self {
        let list = cluster.list();
        let settings = [&reach(&list, pubsub), more].concat();
        let pods = [Service::start(&settings).await, Service::start(&settings).await];
        Self { cluster, pods }
    }

    /// A user of this master.
    async fn user(&self, master: usize) -> String {
        self.cluster.users_of(master, 1).await.remove(0)
    }

    /// A plain and a v1 client of a user on each pod.
    async fn clients(&self, user: &str) -> Clients {
        let (mut plain, mut v1) = (Vec::new(), Vec::new());
        for pod in &self.pods {
            plain.push(pod.connect(user).await);
            v1.push(V1::connect(pod, user, None).await);
        }
        Clients { plain, v1 }
    }

    /// The connections that are subscribed at each server.
    async fn subscribed(&self) -> Vec<BTreeSet<String>> {
        let mut all = Vec::new();
        for server in &self.cluster.servers {
            all.push(subscribed(server).await);
        }
        all
    }
}

/// Publishes JSON for a user, repeating until it is answered for. Returns the id.
async fn published(pod: &Service, user: &str, text: &str) -> Value {
    accepted(pod, user, text).await["id"].take()
}

/// The same; returns the whole answer.
async fn accepted(pod: &Service, user: &str, text: &str) -> Value {
    let path = format!("/v1/users/{}/messages", http::escape(user));
    let bearer = bearer();
    let headers = [("authorization", bearer.as_str()), ("idempotency-key", text)];
    let mut body = Value::Null;
    eventually("it is published", AGREED, async || {
        let answer = http::request(pod.public(), "POST", &path, &headers, text.as_bytes()).await;
        assert!(matches!(answer.status, 202 | 503), "{answer:?}");
        body = answer.json();
        answer.status == 202
    })
    .await;
    body
}

/// Waits until both pods are subscribed to the plain channel of a user there.
async fn both_subscribe(server: &RedisServer, user: &str) {
    so_many_subscribe(server, user, 2).await;
}

/// Waits until just so many pods are.
async fn so_many_subscribe(server: &RedisServer, user: &str, pods: u64) {
    let (what, channel) = (format!("{pods} pods are subscribed"), format!("ws:{user}"));
    eventually(&what, LOCAL, async || server.subscribers(&channel).await == pods).await;
}

/// The ids of the connections that are subscribed to something there.
async fn subscribed(server: &RedisServer) -> BTreeSet<String> {
    let list: String = server.run("CLIENT LIST TYPE pubsub", &[]).await;
    list.lines().map(|line| field(line, "id=").to_owned()).collect()
}

/// Clients of one user.
struct Clients {
    plain: Vec<Client>,
    v1: Vec<V1>,
}

impl Clients {
    /// The next that each of them hears is this JSON; for v1 with the id, or with none for a bare message.
    async fn hear(&mut self, text: &str, id: &Value) {
        for client in &mut self.plain {
            assert_eq!(client.text().await, text);
        }
        let data: Value = serde_json::from_str(text).expect("JSON");
        for client in &mut self.v1 {
            let frame = client.frame().await;
            assert_eq!(
                (&frame["type"], &frame["id"], &frame["data"]),
                (&"message".into(), id, &data),
                "{frame}"
            );
        }
    }
}
