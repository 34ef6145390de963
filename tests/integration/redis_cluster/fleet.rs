//! The fleet from outside: `top`, `connections` and the sidecars, whose reports are on whichever masters.

use serde_json::{Value, json};

use super::{Fleet, SHARDED, URL, reach};
use crate::commands::run;
use crate::support::cluster::AGREED;
use crate::support::service::Service;
use crate::support::sidecar::Sidecar;
use crate::support::{LOCAL, eventually};

const FLEET: &str = "websocket_fleet_connections{fleet=\"ws\",namespace=\"chat\"}";

async fn sidecar(uid: &str, pod: &Service, list: &str) -> Sidecar {
    let environment = [("WEBSOCKET_SERVICE_REDIS_URL", URL), ("WEBSOCKET_SERVICE_REDIS_CLUSTER_NODES", list)];
    Sidecar::start(uid, pod.admin(), &environment).await
}

/// What a command prints as JSON; nothing while it fails.
async fn asked(fleet: &Fleet, arguments: &[&str]) -> Value {
    let list = fleet.cluster.list();
    let (code, said) =
        run(&reach(&list, SHARDED), &[arguments, &["--json", "--fleet", "chat/ws"]].concat()).await;
    if code == Some(0) { serde_json::from_str(&said).unwrap_or_default() } else { Value::Null }
}

/// Waits until `top` knows of two pods with so many connections together.
async fn top_shows(fleet: &Fleet, connections: u64) {
    eventually("top shows all", AGREED, async || {
        let view = asked(fleet, &["top", "--once", "--interval", "0.1"]).await;
        let total = &view["total"];
        (&total["pods"], &total["connections"]) == (&json!(2), &json!(connections))
            && view["pods"].as_array().is_some_and(|pods| pods.iter().all(|pod| pod["state"] == "ready"))
    })
    .await;
}

#[tokio::test]
async fn the_whole_fleet_is_seen_before_and_after_its_reports_have_moved() {
    let fleet = Fleet::start(SHARDED, &[]).await;
    let list = fleet.cluster.list();
    let [one, two] = &fleet.pods;
    let sidecars = [sidecar("a", one, &list).await, sidecar("b", two, &list).await];
    let user = fleet.user(2).await;
    let mut clients = vec![one.connect(&user).await, two.connect(&user).await, two.connect("ann").await];
    top_shows(&fleet, 3).await;
    for sidecar in &sidecars {
        sidecar.shows(FLEET, Some(3.0)).await;
        sidecar.shows("connection_gauge_redis_up", Some(1.0)).await;
    }
    eventually("the user is found on both pods", LOCAL, async || {
        let found = asked(&fleet, &["connections", &user]).await;
        found["connections"].as_array().map(Vec::len) == Some(2) && found["unanswered"] == json!([])
    })
    .await;

    // Wherever the reports and the index of the fleet are: all masters are replaced.
    for master in 0..3 {
        fleet.cluster.failover(master).await;
    }
    clients.push(one.connect("bob").await);
    top_shows(&fleet, 4).await;
    for sidecar in &sidecars {
        sidecar.shows(FLEET, Some(4.0)).await;
    }
}

#[tokio::test]
async fn a_sidecar_that_leaves_takes_its_report_along() {
    let fleet = Fleet::start(SHARDED, &[]).await;
    let list = fleet.cluster.list();
    let [one, two] = &fleet.pods;
    let stays = sidecar("a", one, &list).await;
    let mut leaves = sidecar("b", two, &list).await;
    top_shows(&fleet, 0).await;
    leaves.program.signal("INT");
    assert_eq!(leaves.program.exit_code().await, Some(0));
    let view = asked(&fleet, &["top", "--once", "--interval", "0.1"]).await;
    assert_eq!((&view["total"]["pods"], &view["total"]["missing"]), (&json!(1), &json!(0)), "{view}");
    stays.shows(FLEET, Some(0.0)).await;
}
