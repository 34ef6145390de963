//! Sentinels: how the master is found, and followed when there is another one.

use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use websocket_service::backplane::{Backplane, BackplaneError, Status};
use websocket_service::config::HistoryConfig;

use crate::support::backplane::{Pod, publication, quick, user};
use crate::support::daemon::{Daemon, command};
use crate::support::http;
use crate::support::logs::Logs;
use crate::support::program::Program;
use crate::support::redis::RedisServer;
use crate::support::sentinel::{AGREED, Knows, MASTER, Scripted, Sentinel, Watched};
use crate::support::service::{SECRET, Service, config};
use crate::support::sidecar::Sidecar;
use crate::support::{LOCAL, eventually};

/// The URL's host is nobody: only its scheme, login and database count.
const URL: &str = "redis://nobody.invalid";

/// Three sentinels that know the same.
async fn scripted(knows: Knows) -> Vec<Scripted> {
    let mut sentinels = Vec::new();
    for _ in 0..3 {
        sentinels.push(Scripted::start(knows).await);
    }
    sentinels
}

fn learn(sentinels: &[Scripted], knows: Knows) {
    sentinels.iter().for_each(|sentinel| sentinel.learn(knows));
}

/// A pod that follows these sentinels, with further settings.
fn pod(sentinels: &[String], more: &[(&str, &str)]) -> Pod {
    let list = sentinels.join(",");
    let mut settings = vec![("REDIS_URL", URL), ("REDIS_SENTINELS", &list)];
    settings.extend_from_slice(more);
    Pod::start_configured(&config(&settings).backplane, quick(), HistoryConfig::default())
}

fn addresses(sentinels: &[Scripted]) -> Vec<String> {
    sentinels.iter().map(Scripted::address).collect()
}

#[tokio::test]
async fn both_links_leave_a_master_that_was_replaced_and_stays_open() {
    let (old, new) = (RedisServer::start().await, RedisServer::start().await);
    let sentinels = scripted(Knows::Master(old.port(), 1)).await;
    let pod = pod(&addresses(&sentinels), &[]);
    let _ann = pod.subscribe("ann").await;
    assert_eq!(old.publish("ann", b"before").await, 1);
    pod.until("the first message", |seen| seen.messages.len() == 1).await;

    learn(&sentinels, Knows::Master(new.port(), 2));
    pod.until("the gap", |seen| seen.gaps == 1).await;
    // What a session reads after the gap comes from where its messages come from.
    let published = pod.backplane.publish(user("ann"), publication("after")).await;
    assert_eq!(published.map(|published| published.subscribers), Ok(1));
    pod.until("the second message", |seen| seen.messages.len() == 2).await;
    eventually("nobody is left at the old one", LOCAL, async || {
        old.subscribers("ws:ann").await == 0 && !old.run::<String>("CLIENT LIST", &[]).await.contains("pod-1")
    })
    .await;
}

#[tokio::test]
async fn a_sentinel_that_is_away_or_knows_only_the_past_changes_nothing() {
    let (master, past) = (RedisServer::start().await, RedisServer::start().await);
    let sentinels = scripted(Knows::Master(master.port(), 5)).await;
    sentinels[0].learn(Knows::Silent);
    sentinels[1].learn(Knows::Master(past.port(), 4));
    let pod = pod(&addresses(&sentinels), &[]);
    let _ann = pod.subscribe("ann").await;
    assert_eq!(master.publish("ann", b"hello").await, 1);

    // From here on the one that knows the past is the only one to answer.
    sentinels[2].learn(Knows::Silent);
    sentinels[1].asked(3).await;
    assert_eq!((pod.seen().statuses, pod.seen().gaps), (vec![Status::Up], 0));
    // Also not for a new link.
    let logs = Logs::capture();
    assert!(master.run::<u64>("CLIENT KILL TYPE pubsub", &[]).await > 0);
    eventually("the past is refused", LOCAL, async || logs.count("know nothing of the last failover") > 0)
        .await;
    sentinels[2].learn(Knows::Master(master.port(), 5));
    pod.until("the gap", |seen| seen.gaps == 1).await;
    assert_eq!((master.publish("ann", b"again").await, past.subscribers("ws:ann").await), (1, 0));
}

#[tokio::test]
async fn sentinels_that_were_set_up_anew_are_believed_together() {
    let (old, new) = (RedisServer::start().await, RedisServer::start().await);
    let sentinels = scripted(Knows::Master(old.port(), 7)).await;
    let pod = pod(&addresses(&sentinels), &[]);
    let _ann = pod.subscribe("ann").await;
    learn(&sentinels, Knows::Master(new.port(), 0));
    pod.until("the gap", |seen| seen.gaps == 1).await;
    assert_eq!(new.publish("ann", b"hello").await, 1);
}

#[tokio::test]
async fn a_master_that_came_back_as_a_replica_is_not_used() {
    let (master, other) = (RedisServer::start().await, RedisServer::start().await);
    let port = other.port().to_string();
    master.run::<()>("REPLICAOF", &[b"127.0.0.1", port.as_bytes()]).await;
    let logs = Logs::capture();
    let sentinels = scripted(Knows::Master(master.port(), 1)).await;
    let pod = pod(&addresses(&sentinels), &[]);
    eventually("the reason is logged", LOCAL, async || logs.count("is a replica") > 0).await;
    assert_eq!(pod.backplane.status(), Status::Connecting);
    master.run::<()>("REPLICAOF", &[b"NO", b"ONE"]).await;
    pod.until_status(Status::Up).await;
}

#[tokio::test]
async fn a_master_that_takes_no_writes_is_left() {
    let (old, new) = (RedisServer::start().await, RedisServer::start().await);
    let sentinels = scripted(Knows::Master(old.port(), 1)).await;
    let pod = pod(&addresses(&sentinels), &[]);
    let _ann = pod.subscribe("ann").await;
    // A connection that is made only after the change is refused as one to a replica, and never finds out.
    let written = pod.backplane.publish(user("ann"), publication("written")).await;
    assert_eq!(written.map(|published| published.subscribers), Ok(1));
    let port = new.port().to_string();
    let logs = Logs::capture();
    old.run::<()>("REPLICAOF", &[b"127.0.0.1", port.as_bytes()]).await;
    let refused = pod.backplane.publish(user("ann"), publication("not written")).await;
    assert_eq!(refused.err(), Some(BackplaneError::Unavailable));
    eventually("its connection is given up", LOCAL, async || logs.count("takes no writes") > 0).await;
    learn(&sentinels, Knows::Master(new.port(), 2));
    pod.until("the gap", |seen| seen.gaps == 1).await;
    let published = pod.backplane.publish(user("ann"), publication("written")).await;
    assert_eq!(published.map(|published| published.subscribers), Ok(1));
}

#[tokio::test]
async fn a_wrong_name_is_told_with_its_setting() {
    let master = RedisServer::start().await;
    let sentinel = Sentinel::start(&master, 1, &[]).await;
    let logs = Logs::capture();
    let _pod = pod(&[sentinel.address()], &[("REDIS_SENTINEL_MASTER", "yourmaster")]);
    eventually("the setting is named", LOCAL, async || {
        logs.count(r#"no master called \"yourmaster\""#) + logs.count(r#"no master called "yourmaster""#) > 0
            && logs.count("REDIS_SENTINEL_MASTER") > 0
    })
    .await;
}

#[tokio::test]
async fn sentinels_may_ask_for_a_login_with_few_rights() {
    let master = RedisServer::start().await;
    // As docs/redis.md has it.
    let acl = "user websocket on >pass-word +auth +sentinel|master +sentinel|get-master-addr-by-name";
    let sentinel = Sentinel::start(&master, 1, &["requirepass hush", acl]).await;
    let logs = Logs::capture();
    let stranger = pod(&[sentinel.address()], &[]);
    eventually("a stranger is refused", LOCAL, async || logs.count("NOAUTH") > 0).await;
    assert_eq!(stranger.backplane.status(), Status::Connecting);
    let known = pod(
        &[sentinel.address()],
        &[("REDIS_SENTINEL_USER", "websocket"), ("REDIS_SENTINEL_PASSWORD", "pass-word")],
    );
    known.until_status(Status::Up).await;
    assert_eq!(logs.count("pass-word"), 0);
}

/// How the master is lost.
#[derive(Debug, Clone, Copy)]
enum Loss {
    /// It is killed, and started again later.
    Killed,
    /// Its replicas and the sentinels lose it; clients stay connected to it.
    Abandoned,
}

/// Loses the master under a crowd of resuming clients and a publisher that follows the sentinels as well.
async fn failover(loss: Loss) -> Value {
    let mut watched = Watched::start().await;
    let list = watched.list();
    let settings = [("REDIS_URL", URL), ("REDIS_SENTINELS", &list), ("MAX_CONNECTIONS", "5000")];
    let service = Daemon::start(&settings).await;
    let mut crowd = Command::new(env!("CARGO_BIN_EXE_websocket-bench"));
    crowd.env_clear().stdin(Stdio::null());
    crowd.args(["deliver", "--json", "--secret", SECRET, "--mode", "v1", "--via", "script"]);
    crowd.args(["--redis-url", URL, "--redis-sentinels", &list]);
    crowd.args(["--url", &format!("ws://{}/ws", service.public)]);
    crowd.args(["--users", "100", "--publish-rate", "200", "--seconds", "600", "--settle", "15"]);
    let mut crowd = Program::start(&mut crowd);
    let received = |crowd: &Program| line(crowd)["received"].as_u64().unwrap_or_default();
    eventually("messages flow", AGREED, async || received(&crowd) >= 400).await;

    let old = watched.master().await;
    watched.servers[old].settle().await;
    match loss {
        Loss::Killed => watched.servers[old].stop(),
        Loss::Abandoned => watched.abandon(old).await,
    }
    eventually("another one is promoted", AGREED, async || {
        watched.sentinels[0].master().await != watched.servers[old].port()
    })
    .await;
    if let Loss::Killed = loss {
        watched.servers[old].restart().await;
    }
    let before = received(&crowd);
    eventually("messages flow again", AGREED, async || received(&crowd) >= before + 600).await;
    crowd.signal("TERM");
    let status = crowd.exit(AGREED).await;
    assert!(status.success(), "{}\n{}", crowd.text(), watched.logs());
    let report = line(&crowd);
    assert_eq!(report["final"], true, "{}", crowd.text());

    let master = watched.master().await;
    assert_ne!(master, old, "{}", watched.logs());
    assert!(service.unready().await.is_empty());
    assert_eq!(http::metric(service.admin, "websocket_backplane_up").await, 1.0);
    let clients: String = watched.servers[master].run("CLIENT LIST", &[]).await;
    assert_eq!(
        clients.matches("-subscriber ").count() + clients.matches("-publisher ").count(),
        2,
        "{clients}"
    );
    if let Loss::Killed = loss {
        let clients: String = watched.servers[old].run("CLIENT LIST", &[]).await;
        assert_eq!(clients.matches("-subscriber ").count(), 0, "the old master is not followed: {clients}");
    }
    report
}

fn line(program: &Program) -> Value {
    program.out().last().and_then(|line| serde_json::from_str(line).ok()).unwrap_or_default()
}

#[expect(clippy::print_stdout, reason = "a figure for docs/redis.md, shown with --nocapture")]
async fn loses_nothing(loss: Loss) {
    let report = failover(loss).await;
    assert_eq!(report["lossless"], true, "{report}");
    assert_eq!(
        (&report["lost"], &report["twice"], &report["gaps"]),
        (&0.into(), &0.into(), &0.into()),
        "{report}"
    );
    println!(
        "{loss:?}: {} of {} arrived; longest silence {:?}",
        report["received"],
        report["expected"],
        Duration::from_millis(report["longest_silence_ms"].as_f64().unwrap_or_default() as u64)
    );
}

#[tokio::test]
async fn a_killed_master_loses_nothing() {
    loses_nothing(Loss::Killed).await;
}

#[tokio::test]
async fn a_master_that_is_cut_off_and_stays_open_loses_nothing() {
    loses_nothing(Loss::Abandoned).await;
}

#[tokio::test]
async fn the_sidecar_reports_to_the_new_master() {
    let (old, new) = (RedisServer::start().await, RedisServer::start().await);
    let sentinels = scripted(Knows::Master(old.port(), 1)).await;
    let service = Service::start(&[]).await;
    let list = addresses(&sentinels).join(",");
    let environment =
        [("WEBSOCKET_SERVICE_REDIS_URL", URL), ("WEBSOCKET_SERVICE_REDIS_SENTINELS", list.as_str())];
    let sidecar = Sidecar::start("a", service.admin(), &environment).await;
    sidecar.reports(&old, 0).await;
    // The old one stays open, and takes whatever is written.
    learn(&sentinels, Knows::Master(new.port(), 2));
    sidecar.reports(&new, 0).await;
}

#[tokio::test]
async fn a_message_from_the_shell_goes_to_the_master() {
    let master = RedisServer::start().await;
    let sentinel = Sentinel::start(&master, 1, &[]).await;
    let address = sentinel.address();
    let settings =
        [("REDIS_URL", URL), ("REDIS_SENTINELS", address.as_str()), ("REDIS_SENTINEL_MASTER", MASTER)];
    let mut publish = command(&settings, &["publish", "ann", "hello"]);
    let mut publish = Program::start(&mut publish);
    assert_eq!(publish.exit_code().await, Some(0), "{}", publish.text());
    assert_eq!(master.run::<u64>("XLEN", &[b"{ws:ann}:history"]).await, 1);
}
