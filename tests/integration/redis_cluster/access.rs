//! Which rights the service needs in a cluster, and that a login is the same on all nodes.

use super::{CLASSIC, SHARDED, accepted, both_subscribe, published, reach, so_many_subscribe};
use crate::registry::admin;
use crate::support::cluster::{MASTERS, RedisCluster, slot};
use crate::support::schema::check_close;
use crate::support::service::Service;
use crate::support::{LOCAL, eventually};
use crate::v1::V1;

/// As docs/publishing.md and docs/redis.md have it.
const USER: &str = "user ws on >p@ss/w:rd resetchannels &ws:* &{ws:* resetkeys ~ws:* ~{ws:* -@all +subscribe +unsubscribe \
     +publish +ping +evalsha +eval +xadd +xlen +pexpire +get +set +del +xrange +xrevrange +time +zadd +zrem \
     +zremrangebyscore +zcard +zscore +hset +hsetnx +hdel +hgetall +hexists +hlen +hello +client +info \
     +cluster|nodes +ssubscribe +sunsubscribe +spublish";

async fn everything_is_allowed(pubsub: &str) {
    let cluster = RedisCluster::start_with(&[USER]).await;
    let list = cluster.list();
    let login = ("REDIS_URL", "redis://ws:p%40ss%2Fw%3Ard@nobody.invalid");
    let limits = [("MAX_CONNECTIONS_PER_USER", "2"), ("MAX_CONNECTIONS_PER_USER_POLICY", "evict_oldest")];
    let settings = [&reach(&list, pubsub)[1..], &[login], &limits].concat();
    let pods = [Service::start(&settings).await, Service::start(&settings).await];
    for master in 0..MASTERS {
        let user = cluster.users_of(master, 1).await.remove(0);
        let first = pods[0].connect(&user).await;
        let mut clients =
            [V1::connect(&pods[0], &user, None).await, V1::connect(&pods[1], &user, None).await];
        check_close(&first.closed().await, 4000, "QUOTA_EXCEEDED");
        // The last user is one that was there before: no text twice, for it would be a repetition.
        let [first, second] = [1, 2].map(|number| (10 * master + number).to_string());
        both_subscribe(&cluster.servers[master], &user).await;
        let answer = accepted(&pods[1], &user, &first).await;
        assert_eq!(answer["subscribers"], 2, "{answer}");
        let id = answer["id"].as_str().expect("an id").to_owned();
        for client in &mut clients {
            let (heard, data) = client.message().await;
            assert_eq!((heard, data.to_string()), (id.clone(), first.clone()));
        }
        let missed = published(&pods[0], &user, &second).await;
        drop(clients);
        let mut back = V1::connect(&pods[1], &user, Some(&id)).await;
        assert_eq!(back.hello["resumed"], true, "{}", back.hello);
        assert_eq!(missed, back.message().await.0);

        let answer = admin(&pods[0], "DELETE", &format!("/v1/users/{user}/connections")).await.json();
        assert!(answer["closed"].as_u64() >= Some(1), "{answer}");
        let closed = back.next().await.expect_err("it is closed");
        check_close(&closed, 4004, "AUTHORIZATION_ERROR");
        let path = format!("/v1/revocations/users/{user}");
        for (by, method, [field, said], known) in
            [(0, "PUT", ["pods", "2"], 1.0), (1, "DELETE", ["lifted", "true"], 0.0)]
        {
            let answer = admin(&pods[by], method, &path).await.json();
            assert_eq!(answer[field].to_string(), said, "{answer}");
            for pod in &pods {
                eventually("the pod knows", LOCAL, async || {
                    pod.metric("websocket_revocations").await == known
                })
                .await;
            }
        }

        // Away from its master and back, with channels that are left and taken; the other pod has nobody left to hear for.
        let (slot, other) = (slot(&format!("ws:{user}")), (master + 1) % MASTERS);
        let mut client = V1::connect(&pods[0], &user, None).await;
        so_many_subscribe(&cluster.servers[master], &user, 1).await;
        cluster.move_slot(slot, other).await;
        so_many_subscribe(&cluster.servers[other], &user, 1).await;
        cluster.servers[other].publish(&user, b"3").await;
        let frame = client.frame().await;
        assert_eq!(frame["data"], 3, "{frame}");
    }
    for pod in &pods {
        eventually("a canary is back", LOCAL, async || {
            pod.metric("websocket_canary_round_trip_seconds_count").await > 0.0
        })
        .await;
    }
    for server in &cluster.servers {
        let stats: String = server.run("INFO errorstats", &[]).await;
        assert!(!stats.contains("NOPERM") && !stats.contains("NOAUTH"), "{stats}");
    }
}

#[tokio::test]
async fn the_rights_it_needs_are_those_of_the_documentation_by_sharded_channels() {
    everything_is_allowed(SHARDED).await;
}

#[tokio::test]
async fn the_rights_it_needs_are_those_of_the_documentation_by_classic_channels() {
    everything_is_allowed(CLASSIC).await;
}
