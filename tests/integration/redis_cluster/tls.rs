//! A cluster that speaks TLS only with those who show a certificate, and is known by the names that its nodes announce.

use std::path::Path;

use super::{CLASSIC, Fleet, SHARDED, both_subscribe, published};
use crate::redis_tls::{Authority, mounted, texts};
use crate::support::cluster::{MASTERS, RedisCluster};
use crate::support::mounted::Mounted;
use crate::support::redis::{Options, RedisServer, field};

/// The nodes speak TLS with each other too, and tell clients of their TLS ports, by this name.
const LINES: [&str; 3] = ["tls-cluster yes", "tls-replication yes", "cluster-announce-hostname localhost"];

/// Certificates for the name and for no address.
fn certificates() -> Mounted {
    let authority = Authority::new();
    let [server, client] = ["localhost", "pod"].map(|name| authority.issue_for(&[name]));
    Mounted::new(&mounted(&texts(&authority, server, client)))
}

async fn cluster(folder: &Mounted) -> RedisCluster {
    let options = Options {
        lines: LINES.to_vec(),
        tls: Some(Path::new(&folder.path("")).to_owned()),
        clients_of: Some(folder.path("ca.pem").into()),
        ..Options::default()
    };
    RedisCluster::start_of(options).await
}

async fn everybody_hears_over_tls(pubsub: &str) {
    let folder = certificates();
    let cluster = cluster(&folder).await;
    let one = format!("localhost:{}", cluster.servers[0].tls_port());
    let files = ["ca.pem", "client.pem", "client.key"].map(|name| folder.path(name));
    let settings = [
        ("REDIS_URL", "rediss://nobody.invalid"),
        ("REDIS_CLUSTER_NODES", &*one),
        ("REDIS_TLS_CA_FILE", &*files[0]),
        ("REDIS_TLS_CERTIFICATE_FILE", &*files[1]),
        ("REDIS_TLS_KEY_FILE", &*files[2]),
    ];
    let fleet = Fleet::start_on(cluster, pubsub, &settings).await;
    let mut users = Vec::new();
    for master in 0..MASTERS {
        let user = fleet.user(master).await;
        let mut clients = fleet.clients(&user).await;
        let id = published(&fleet.pods[master % 2], &user, "\"before\"").await;
        clients.hear("\"before\"", &id).await;
        users.push((user, clients));
    }
    let new = fleet.cluster.failover(0).await;
    both_subscribe(&fleet.cluster.servers[new], &users[0].0).await;
    for (user, clients) in &mut users {
        let id = published(&fleet.pods[0], user, "\"after\"").await;
        clients.hear("\"after\"", &id).await;
    }
    for master in [new, 1, 2] {
        assert!(speaks_tls_with_pods(&fleet.cluster.servers[master]).await, "{master}");
    }
}

/// Whether the service's connections there came by the TLS port, all of them.
async fn speaks_tls_with_pods(server: &RedisServer) -> bool {
    let list: String = server.run("CLIENT LIST", &[]).await;
    let port = format!(":{}", server.tls_port());
    let mut own = list.lines().filter(|line| line.contains("name=websocket-service")).peekable();
    own.peek().is_some() && own.all(|line| field(line, "laddr=").ends_with(&port))
}

#[tokio::test]
async fn announced_names_are_what_certificates_are_checked_against_by_sharded_channels() {
    everybody_hears_over_tls(SHARDED).await;
}

#[tokio::test]
async fn announced_names_are_what_certificates_are_checked_against_by_classic_channels() {
    everybody_hears_over_tls(CLASSIC).await;
}
