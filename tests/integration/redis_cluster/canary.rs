//! A pod proves of each master that it hears it.

use serde_json::json;

use super::{SHARDED, published, reach, subscribed};
use crate::support::cluster::RedisCluster;
use crate::support::service::Service;
use crate::support::{LOCAL, eventually};
use crate::v1::V1;

/// The master whose link becomes deaf.
const DEAF: usize = 2;

#[tokio::test]
async fn a_link_to_one_master_that_is_open_and_deaf_is_made_anew() {
    let cluster = RedisCluster::start().await;
    let proxy = cluster.behind_proxy(DEAF).await;
    // Another one, which tells of it.
    let node = cluster.servers[0].address();
    let pod = Service::start(&reach(&node, SHARDED)).await;
    let mut user = V1::connect(&pod, &cluster.users_of(DEAF, 1).await[0], None).await;
    let name = user.hello["user_id"].as_str().expect("a name").to_owned();
    let id = published(&pod, &name, "1").await;
    assert_eq!(json!(user.message().await), json!([id, 1]));
    eventually("canaries are back", LOCAL, async || {
        pod.metric("websocket_canary_round_trip_seconds_count").await >= 3.0
    })
    .await;
    let others = [subscribed(&cluster.servers[0]).await, subscribed(&cluster.servers[1]).await];

    proxy.deafen(false);
    let answer = pod.publish(&name, "2").await.json();
    assert_eq!(answer["subscribers"], 1, "Redis believes that it is heard");
    // The canary's loss makes the link anew, and the client is caught up.
    assert_eq!(json!(user.message().await), json!([answer["id"], 2]));
    assert!(pod.metric("websocket_canary_lost_total").await >= 1.0);
    let id = published(&pod, &name, "3").await;
    assert_eq!(json!(user.message().await), json!([id, 3]));
    let now = [subscribed(&cluster.servers[0]).await, subscribed(&cluster.servers[1]).await];
    assert_eq!(now, others, "links to other masters stay");
}
