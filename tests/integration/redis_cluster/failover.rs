//! Masters that are lost or replaced under a crowd of resuming clients: nobody misses anything, and users of other masters
//! do not notice.

use std::time::Duration;

use super::crowd::{Crowd, Report};
use super::{CLASSIC, SHARDED, reach, subscribed};
use crate::support::cluster::{MASTERS, RedisCluster};
use crate::support::daemon::Daemon;
use crate::support::http;
use crate::support::{LOCAL, eventually};

/// How the master is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Loss {
    /// It is killed, and started again when its replica has taken over.
    Killed,
    /// All other nodes lose it; clients stay connected to it, and it believes that it is a cluster of its own.
    Isolated,
    /// Its replica takes over while all are well.
    Planned,
}

/// The master that is lost.
const OLD: usize = 1;

/// Users of each master: about a hundred, and two hundred messages a second.
const OF_EACH: usize = 34;

/// How long a user of another master may hear nothing, where one message comes every half second and the machine is idle.
const UNTOUCHED: Duration = Duration::from_secs(2);

async fn failover(loss: Loss, pubsub: &str) -> Report {
    let mut cluster = RedisCluster::start().await;
    let list = cluster.list();
    let settings = [&reach(&list, pubsub)[..], &[("MAX_CONNECTIONS", "5000")]].concat();
    let pods = [Daemon::start(&settings).await, Daemon::start(&settings).await];
    let crowd = Crowd::start(&cluster, &pods, OF_EACH).await;
    crowd.hears(4).await;
    let mut before = Vec::new();
    for server in &cluster.servers[..MASTERS] {
        before.push(subscribed(server).await);
    }

    let new = match loss {
        Loss::Killed => {
            cluster.servers[OLD].settle().await;
            cluster.kill(OLD);
            let new = cluster.replaced(OLD).await;
            cluster.restart(OLD).await;
            new
        }
        Loss::Isolated => {
            cluster.servers[OLD].settle().await;
            cluster.isolate(OLD).await
        }
        Loss::Planned => cluster.failover(OLD).await,
    };
    crowd.hears(6).await;
    let report = crowd.finish().await;

    for other in (0..MASTERS).filter(|other| *other != OLD) {
        assert_eq!(subscribed(&cluster.servers[other]).await, before[other], "links to others stay");
    }
    eventually("both pods are at the new master, and nobody at the old one", LOCAL, async || {
        let (left, there) =
            (subscribed(&cluster.servers[OLD]).await, subscribed(&cluster.servers[new]).await);
        left.is_empty() && there.len() == before[OLD].len()
    })
    .await;
    for pod in &pods {
        assert!(pod.unready().await.is_empty());
        assert_eq!(pod.admin("/status").await.json()["backplane"], "up");
        for (series, value) in [("websocket_backplane_up", 1.0), ("websocket_deaf", 0.0)] {
            assert_eq!(http::metric(pod.admin, series).await, value, "{series}");
        }
    }
    // The plain channels moved as well: what any master is told arrives.
    for user in cluster.users_of(new, 2).await {
        let mut clients = [pods[0].connect(&user).await, pods[1].connect(&user).await];
        for (at, text) in [(new, "at its master"), (0, "elsewhere")] {
            cluster.servers[at].publish(&user, text.as_bytes()).await;
            for client in &mut clients {
                assert_eq!(client.text().await, text);
            }
        }
    }
    report
}

#[expect(clippy::print_stdout, reason = "figures for docs/redis.md, shown with --nocapture")]
async fn loses_nothing(loss: Loss, pubsub: &str) {
    let report = failover(loss, pubsub).await;
    assert_eq!((report.lost, report.twice, report.gaps), (0, 0, 0), "{report:?}");
    assert_eq!(report.ended, Vec::<String>::new(), "clients stay connected");
    let others = (0..MASTERS).filter(|other| *other != OLD).map(|other| report.silence[other]);
    let others = others.max().unwrap_or_default();
    println!(
        "{loss:?}, {pubsub}: {} published, {} lost; longest silence {:.1?}, of users of other masters {others:.1?}",
        report.published, report.lost, report.silence[OLD],
    );
    assert!(others < UNTOUCHED + report.late, "users of other masters do not notice: {report:?}");
}

#[tokio::test]
async fn a_killed_master_loses_nothing_by_sharded_channels() {
    loses_nothing(Loss::Killed, SHARDED).await;
}

#[tokio::test]
async fn a_killed_master_loses_nothing_by_classic_channels() {
    loses_nothing(Loss::Killed, CLASSIC).await;
}

#[tokio::test]
async fn a_master_that_is_cut_off_and_stays_open_loses_nothing() {
    loses_nothing(Loss::Isolated, SHARDED).await;
}

#[tokio::test]
async fn a_planned_failover_loses_nothing_by_sharded_channels() {
    loses_nothing(Loss::Planned, SHARDED).await;
}

#[tokio::test]
async fn a_planned_failover_loses_nothing_by_classic_channels() {
    loses_nothing(Loss::Planned, CLASSIC).await;
}
