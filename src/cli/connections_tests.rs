use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::*;
use crate::fleet::Heard;
use crate::protocol::{Mode, PodGauge};

fn open(pod: &str, since: &str) -> OpenConnection {
    OpenConnection {
        connection_id: format!("id-{pod}"),
        pod: pod.to_owned(),
        since: since.to_owned(),
        address: IpAddr::V4(Ipv4Addr::LOCALHOST),
        client: None,
        mode: Some(Mode::V1),
        queued_messages: Some(2),
        queued_bytes: Some(1_536),
        last_id: Some("1795376330502-0".to_owned()),
    }
}

fn closed(at: &str, reason: &str) -> LastClose {
    LastClose {
        connection_id: "id".to_owned(),
        pod: "ws-9".to_owned(),
        code: 4002,
        reason: reason.to_owned(),
        at: at.to_owned(),
        lasted_seconds: 34.25,
    }
}

fn found() -> Found {
    let user_id = UserId::new("zoë\n").expect("an id");
    Found { user_id, pods: 0, connections: Vec::new(), last_close: None, unanswered: Vec::new() }
}

#[test]
fn a_page_answers_where_since_when_how_far_and_why_not() {
    let mut found = found();
    let old = OpenConnection {
        mode: None,
        queued_messages: None,
        queued_bytes: None,
        last_id: None,
        ..open("ws-2", "2026-11-23T05:30:00Z")
    };
    let connections = vec![open("ws-1", "2026-11-23T05:00:00.123Z"), old];
    let last_close = Some(closed("2026-11-23T04:59:58.5Z", "Reads too slowly"));
    found.add(UserConnections { connections, last_close, scope: None });
    found.unanswered.push(Unanswered { pod: "ws-3".to_owned(), reason: "refused\u{1b}".to_owned() });
    let expected = "\
POD   CONNECTION  SINCE                 ADDRESS    MODE        QUEUE  LAST ID
ws-1  id-ws-1     2026-11-23T05:00:00Z  127.0.0.1  v1    2 (1.5 KiB)  1795376330502-0
ws-2  id-ws-2     2026-11-23T05:30:00Z  127.0.0.1  -               -  -

last close: 2026-11-23T04:59:58Z, code 4002: Reads too slowly
            on ws-9, after 34 s, connection id
incomplete: no answer of ws-3: refused\u{20}
";
    assert_eq!(page(&found), expected);
}

#[test]
fn nobody_there_is_said_so() {
    let mut found = found();
    found.add(UserConnections::default());
    let expected = "\"zoë\\n\" has no connection on the 1 pod that answered\n\n\
                    no close of one of its connections is remembered\n";
    assert_eq!(page(&found), expected);
}

#[test]
fn the_last_of_several_closes_counts() {
    let mut found = found();
    for (at, reason) in [
        ("2026-11-23T05:00:00.5Z", "second"),
        ("2026-11-23T05:00:00.75Z", "last"),
        ("2026-11-23T05:00:00Z", "first"),
        ("2026-11-22T23:59:59.99Z", "long ago"),
    ] {
        let last_close = Some(closed(at, reason));
        found.add(UserConnections { connections: Vec::new(), last_close, scope: None });
    }
    assert_eq!((found.last_close.map(|close| close.reason), found.pods), (Some("last".to_owned()), 4));
}

#[test]
fn pods_that_cannot_be_asked_are_named() {
    let gauge = |pod: &str, admin| PodGauge { pod: pod.to_owned(), admin, ..PodGauge::default() };
    let admin = SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], 9004));
    let words = [
        Word::Report(Box::new(gauge("ws-1", Some(admin)))),
        Word::Report(Box::new(gauge("ws-2", None))),
        Word::Expired { at: 1_000 },
    ];
    let pods = words.into_iter().map(|word| Heard { key: "uid".to_owned(), word }).collect();
    let (pods, unknown) = reporting(Reading { at: 31_000, pods });
    assert_eq!(pods.iter().map(|asked| asked.url.as_str()).collect::<Vec<_>>(), ["http://[::1]:9004"]);
    let named: Vec<_> = unknown.iter().map(|unanswered| unanswered.pod.as_str()).collect();
    assert_eq!(named, ["ws-2", "uid"]);
    assert!(unknown[1].reason.ends_with("for 30 s"), "{}", unknown[1].reason);
}
