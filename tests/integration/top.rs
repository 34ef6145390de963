//! `top`: the fleet from its reports in Redis, or from pods' own words.

use std::sync::Arc;

use serde_json::{Value, json};
use tokio_util::task::AbortOnDropHandle;

use crate::commands::run;
use crate::support::daemon::command;
use crate::support::program::{Program, python};
use crate::support::redis::RedisServer;
use crate::support::service::Service;
use crate::support::sidecar::{INDEX, Sidecar};
use crate::support::{LOCAL, eventually};

/// The arguments of one reading for scripts.
const ONCE: [&str; 7] = ["top", "--once", "--json", "--fleet", "chat/ws", "--interval", "0.2"];

/// What `top --once --json` prints.
async fn once(settings: &[(&str, &str)], arguments: &[&str]) -> Value {
    let (code, said) = run(settings, arguments).await;
    assert_eq!(code, Some(0), "{said}");
    serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"))
}

/// Publishes to a user for as long as the handle lives.
fn publishing(service: &Arc<Service>, user: &'static str) -> AbortOnDropHandle<()> {
    let service = Arc::clone(service);
    AbortOnDropHandle::new(tokio::spawn(async move {
        loop {
            service.publish(user, "x").await;
        }
    }))
}

#[tokio::test]
async fn the_reports_in_redis_tell_of_all_pods() {
    let redis = RedisServer::start().await;
    let (one, two) =
        (Service::start(&[("MAX_CONNECTIONS", "50")]).await, Arc::new(Service::start(&[]).await));
    let _one = one.connect("ann").await;
    let mut ann = two.connect("ann").await;
    let _two = [two.connect("bob").await, two.connect("bob").await];
    let a = Sidecar::reporting("a", one.admin(), &redis).await;
    let b = Sidecar::reporting("b", two.admin(), &redis).await;
    a.reports(&redis, 1).await;
    b.reports(&redis, 3).await;
    let url = redis.url();
    let settings = [("REDIS_URL", url.as_str())];

    let _publishing = publishing(&two, "ann");
    // Reads what arrives, or the client would become a slow one.
    let _reading = AbortOnDropHandle::new(tokio::spawn(async move { while ann.next().await.is_ok() {} }));
    let mut view = Value::Null;
    eventually("the rate of the pod that sends", LOCAL, async || {
        view = once(&settings, &ONCE).await;
        view["pods"][0]["messages_per_second"].as_f64().is_some_and(|rate| rate > 0.0)
    })
    .await;
    let pod = |index: usize| {
        let mut pod = view["pods"][index].clone();
        let fields = pod.as_object_mut().expect("an object");
        let age = fields.remove("age_seconds").and_then(|age| age.as_f64()).expect("an age");
        assert!((0.0..15.0).contains(&age), "{age}");
        assert!(fields.remove("messages_per_second").is_some() && fields.remove("outbox_bytes").is_some());
        pod
    };
    let version = env!("CARGO_PKG_VERSION");
    let expected = json!({
        "pod": "pod-b", "node": "node-a", "state": "ready", "connections": 3, "limit": 10_000, "users": 2,
        "backplane": "up", "version": version, "admin": two.admin(),
    });
    assert_eq!(pod(0), expected, "the fullest first");
    let expected = json!({
        "pod": "pod-a", "node": "node-a", "state": "ready", "connections": 1, "limit": 50, "users": 1,
        "backplane": "up", "version": version, "admin": one.admin(),
    });
    assert_eq!(pod(1), expected);
    let total = &view["total"];
    assert_eq!(
        (&total["pods"], &total["connections"], &total["limit"]),
        (&json!(2), &json!(4), &json!(10_050))
    );

    // As a pod of the chart has the names.
    let mut program = command(&settings, &["top", "--once", "--interval", "0.2"]);
    let mut program =
        Program::start(program.env("CONNECTION_GAUGE_FLEET", "ws").env("POD_NAMESPACE", "chat"));
    program.says("2 pods   4/10050 connections   3 users", LOCAL).await;
    program.says("pod-b  node-a      3/10000  #.........", LOCAL).await;
    assert_eq!(program.exit_code().await, Some(0));
}

#[tokio::test]
async fn pods_that_leave_or_died_stand_out() {
    let redis = RedisServer::start().await;
    let service = Service::start(&[("DRAIN_LAME_DUCK_SECONDS", "600")]).await;
    let sidecar = Sidecar::reporting("a", service.admin(), &redis).await;
    sidecar.reports(&redis, 0).await;
    service.drain.start();
    eventually("the drain is reported", LOCAL, async || {
        sidecar.report(&redis).await.is_some_and(|report| report["draining"] == true)
    })
    .await;
    // Of a pod that was killed the index has a trace for a minute.
    redis.run::<()>("ZADD", &[INDEX.as_bytes(), b"9999999999999", b"dead"]).await;
    let url = redis.url();
    let view = once(&[("REDIS_URL", &url)], &ONCE).await;
    let states: Vec<_> =
        [0, 1].map(|index| (&view["pods"][index]["pod"], &view["pods"][index]["state"])).into();
    assert_eq!(states, [(&json!("pod-a"), &json!("draining")), (&json!("dead"), &json!("stale"))]);
    assert_eq!((&view["total"]["draining"], &view["total"]["missing"]), (&json!(1), &json!(1)));
}

#[tokio::test]
async fn without_redis_pods_are_asked_themselves() {
    let service = Service::start(&[]).await;
    let _client = service.connect("ann").await;
    let gone = Service::start(&[]).await;
    let (here, there) = (format!("http://{}", service.admin()), format!("http://{}/", gone.admin()));
    gone.stop().await;
    let arguments = ["top", "--once", "--json", "--interval", "0.1", "--url", &there, "--url", &here];
    let view = once(&[], &arguments).await;
    let (found, lost) = (&view["pods"][0], &view["pods"][1]);
    assert_eq!(
        (&found["state"], &found["connections"], &found["users"]),
        (&json!("ready"), &json!(1), &json!(1))
    );
    assert_eq!(found["messages_per_second"], 0.0);
    assert_eq!((&lost["state"], &lost["connections"]), (&json!("unreachable"), &Value::Null));
    let there = there.trim_end_matches('/');
    assert_eq!(lost["pod"], there);
    assert!(lost["error"].as_str().is_some_and(|error| error.starts_with(there)), "{lost}");
    assert_eq!(view["total"]["missing"], 1);

    // The one of this machine.
    let port = service.admin().port().to_string();
    let view = once(&[("ADMIN_PORT", &port)], &["top", "--once", "--json", "--interval", "0.1"]).await;
    assert_eq!((&view["pods"][0]["connections"], &view["total"]["pods"]), (&json!(1), &json!(1)));
}

#[tokio::test]
async fn what_cannot_be_read_says_what_to_do() {
    let redis = RedisServer::start().await;
    let url = redis.url();
    // Nobody listens on port 1.
    for (settings, arguments, parts) in [
        (
            &[("REDIS_URL", "redis://:hush@127.0.0.1:1")][..],
            &ONCE[..],
            &["cannot connect to Redis", "REDIS_URL"][..],
        ),
        (&[("REDIS_URL", &url)], &["top"], &["--fleet NAMESPACE/DEPLOYMENT", "--url http://HOST:9004"]),
        (&[("REDIS_URL", &url)], &ONCE, &["no pod of chat/ws reports", "connection-gauge"]),
        (&[("ADMIN_PORT", "1")], &["top"], &["http://127.0.0.1:1/status: Connection refused", "REDIS_URL"]),
    ] {
        let mut program = Program::start(&mut command(settings, arguments));
        assert_eq!(program.exit_code().await, Some(1), "{}", program.text());
        let said = program.text();
        assert!(
            parts.iter().all(|part| said.contains(part)) && !said.contains("hush"),
            "{parts:?} in {said}"
        );
    }
    for wrong in [["top", "--interval", "0"], ["top", "--url", "10.0.0.7:9004"]] {
        assert_eq!(run(&[], &wrong).await, (Some(64), String::new()));
    }
}

#[tokio::test]
async fn where_there_is_no_terminal_tables_follow_each_other_through_an_outage() {
    let mut redis = RedisServer::start().await;
    let service = Service::start(&[]).await;
    let sidecar = Sidecar::reporting("a", service.admin(), &redis).await;
    sidecar.reports(&redis, 0).await;
    let url = redis.url();
    let arguments = ["top", "--fleet", "chat/ws", "--interval", "0.1"];
    let mut program = Program::start(&mut command(&[("REDIS_URL", &url)], &arguments));
    program.says("1 pod   0/10000 connections", LOCAL).await;
    redis.stop();
    program.notes("cannot connect to Redis", LOCAL).await;
    redis.restart().await;
    let _client = service.connect("ann").await;
    program.says("1 pod   1/10000 connections", LOCAL).await;
    assert!(program.runs());
}

#[tokio::test]
async fn on_a_terminal_it_is_left_by_a_key_and_left_as_it_was() {
    let service = Service::start(&[]).await;
    let url = format!("http://{}", service.admin());
    for key in ["q", "\u{3}", "SIGTERM"] {
        let top = command(&[], &["top", "--url", &url]);
        // The last text of the screen: by then all of it is there.
        let mut arguments = ["scroll", key, "env", "-i", "TERM=xterm-256color"].map(str::to_owned).to_vec();
        for (name, value) in top.get_envs() {
            let value = value.unwrap_or_default();
            arguments.push(format!("{}={}", name.to_string_lossy(), value.to_string_lossy()));
        }
        arguments.push(top.get_program().to_string_lossy().into_owned());
        arguments.extend(top.get_args().map(|argument| argument.to_string_lossy().into_owned()));
        let mut program = Program::start(&mut python("tests/integration/support/terminal.py", &arguments));
        assert_eq!(program.exit_code().await, Some(0), "{key:?}: {}", program.text());
        let said = program.out();
        assert!(said[0].contains("CONNECTIONS") && said[0].contains("0/10000"), "{said:?}");
        assert_eq!(said[1], "restored", "{key:?}: {said:?}");
    }
}
