//! What the tests of this folder stand on: that the cluster under them does what it is told.

use crate::support::cluster::{MASTERS, RedisCluster, partner, slot};

const KEY: &[u8] = b"{ws:ann}:history";

#[tokio::test]
async fn a_key_moves_with_its_slot_and_stays_through_failovers() {
    let mut cluster = RedisCluster::start().await;
    for name in ["ws:ann", "{ws:ann}:messages", "a{}b", "{", "}{größe}", "{a{b}c}", ""] {
        assert_eq!(cluster.servers[0].run::<u16>("CLUSTER KEYSLOT", &[name.as_bytes()]).await, slot(name));
    }
    for master in 0..MASTERS {
        for user in cluster.users_of(master, 3).await {
            assert_eq!(cluster.master_of(&format!("ws:{user}")).await, master);
        }
    }
    let from = cluster.master_of("ws:ann").await;
    let to = (from + 1) % MASTERS;
    cluster.servers[from].run::<()>("SET", &[KEY, b"here"]).await;
    cluster.move_slot(slot("ws:ann"), to).await;
    assert_eq!(cluster.master_of("ws:ann").await, to);
    let said = cluster.servers[from].try_run::<String>("GET", &[KEY]).await.expect_err("it is elsewhere");
    assert_eq!(said.code(), Some("MOVED"));

    let new = cluster.failover(to).await;
    assert_eq!((new, cluster.master_of("ws:ann").await), (partner(to), new));
    cluster.servers[new].settle().await;
    cluster.kill(new);
    assert_eq!(cluster.replaced(new).await, to);
    assert_eq!(cluster.servers[to].run::<String>("GET", &[KEY]).await, "here");
    cluster.restart(new).await;
    assert!(cluster.servers[new].run::<String>("INFO replication", &[]).await.contains("role:slave"));
}

#[tokio::test]
async fn a_master_that_is_alone_goes_on_by_itself() {
    let mut cluster = RedisCluster::start().await;
    let old = cluster.master_of("ws:ann").await;
    let mut client = cluster.servers[old].keep().await;
    let new = cluster.isolate(old).await;
    assert_eq!(cluster.master_of("ws:ann").await, new);
    redis::cmd("SET").arg(&[KEY, b"old"]).exec_async(&mut client).await.expect("the old one takes it");
    assert_eq!(cluster.servers[new].run::<Option<String>>("GET", &[KEY]).await, None);
}

#[tokio::test]
async fn a_proxy_is_where_its_node_is_for_all_who_ask() {
    let cluster = RedisCluster::start().await;
    let proxy = cluster.behind_proxy(1).await;
    let name = cluster.users_of(1, 1).await.remove(0);
    let said = cluster.servers[0].try_run::<String>("GET", &[format!("ws:{name}").as_bytes()]).await;
    let said = said.expect_err("it is elsewhere").to_string();
    assert!(said.contains(&proxy.address()), "{said}");
    assert_eq!(cluster.failover(1).await, partner(1), "the replica found its master there");
}
