//! The reference client against a server that does what the test says.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use secrecy::SecretString;
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};
use websocket_service::client::{
    Bearer, Client, ClientConfig, Endpoint, Event, Message, Opened, TokenFault, TokenSource,
};

use crate::support::scripted::{Guest, Scripted};
use crate::support::{LOCAL, within};

/// Tokens `t1`, `t2` and so on: a new one only where a fresh one is asked for.
#[derive(Clone, Default)]
struct Tokens {
    made: Arc<AtomicUsize>,
    lifetime: Option<Duration>,
}

impl TokenSource for Tokens {
    async fn token(&self, fresh: bool) -> Result<Bearer, TokenFault> {
        let number = self.made.fetch_add(usize::from(fresh), Ordering::SeqCst) + usize::from(fresh);
        let token = SecretString::from(format!("t{number}"));
        Ok(Bearer { token, expires: self.lifetime.map(|lifetime| SystemTime::now() + lifetime) })
    }
}

fn config(server: &Scripted) -> ClientConfig {
    ClientConfig {
        backoff_base: Duration::from_millis(1),
        backoff_cap: Duration::from_millis(20),
        ..ClientConfig::new(Endpoint::parse(&server.url).expect("a URL"))
    }
}

/// A client that runs by itself, and what it tells.
struct Running {
    events: mpsc::Receiver<Event>,
}

impl Running {
    fn start(config: ClientConfig, tokens: Tokens) -> Self {
        let (sender, events) = mpsc::channel(64);
        let mut client = Client::new(config, tokens);
        tokio::spawn(async move {
            while let Some(event) = client.next().await {
                if sender.send(event).await.is_err() {
                    break;
                }
            }
        });
        Self { events }
    }

    /// The next event; none when the client has ended.
    async fn next(&mut self) -> Option<Event> {
        within("an event", LOCAL, self.events.recv()).await
    }

    async fn opened(&mut self) -> Opened {
        match self.next().await {
            Some(Event::Opened(opened)) => opened,
            other => panic!("{other:?}"),
        }
    }

    async fn message(&mut self) -> Message {
        match self.next().await {
            Some(Event::Message(message)) => message,
            other => panic!("{other:?}"),
        }
    }

    /// The id of the next message.
    async fn id(&mut self) -> String {
        self.message().await.id.expect("an id")
    }

    /// The code of a close, and when the client comes back.
    async fn closed(&mut self) -> (u16, Option<Duration>) {
        match self.next().await {
            Some(Event::Closed { code, again_in, .. }) => (code, again_in),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn it_resumes_after_the_last_message_and_delivers_none_twice() {
    let server = Scripted::start().await;
    let mut client = Running::start(config(&server), Tokens::default());
    let mut first = server.welcome("5-0", false).await;
    assert_eq!(first.header("authorization"), Some("Bearer t0"));
    assert_eq!(first.header("sec-websocket-protocol"), Some("websocket-service.v1"));
    assert_eq!(first.header("last-event-id"), None);
    first.message("6-0", &json!({ "n": 1 })).await;
    let opened = client.opened().await;
    assert_eq!((opened.cursor.as_deref(), opened.resumed), (Some("5-0"), false));
    let message = client.message().await;
    assert_eq!((message.id.as_deref(), message.body.as_str()), (Some("6-0"), r#"{"n":1}"#));
    drop(first);
    assert_eq!(client.closed().await.0, 1006);

    let mut second = server.welcome("6-0", true).await;
    assert_eq!(second.header("last-event-id"), Some("6-0"));
    assert!(client.opened().await.resumed);
    for id in ["6-0", "7-0", "7-0", "8-0"] {
        second.message(id, &json!(1)).await;
    }
    assert_eq!([client.id().await, client.id().await], ["7-0", "8-0"]);
    second.close(1011).await;
    assert_eq!(client.closed().await.0, 1011);
    let third = server.accept().await;
    assert_eq!(third.header("last-event-id"), Some("8-0"));
}

#[tokio::test]
async fn a_gap_is_told_and_only_what_is_new_of_its_replay_is_delivered() {
    let server = Scripted::start().await;
    let mut client = Running::start(config(&server), Tokens::default());
    let mut first = server.welcome("5-0", false).await;
    for id in ["6-0", "7-0", "8-0"] {
        first.message(id, &json!(1)).await;
    }
    first.close(1012).await;
    let mut second = server.welcome("0-0", false).await;
    assert_eq!(second.header("last-event-id"), Some("8-0"));
    second.say(json!({ "type": "gap", "after": "8-0" })).await;
    // A failover lost 8-0, and its clock is behind: 6-5 is new.
    for id in ["6-0", "7-0", "6-5", "9-0"] {
        second.message(id, &json!(1)).await;
    }
    second.say(json!({ "type": "message", "text": "bare" })).await;
    client.opened().await;
    for id in ["6-0", "7-0", "8-0"] {
        assert_eq!(client.id().await, id);
    }
    client.closed().await;
    assert!(!client.opened().await.resumed);
    assert!(matches!(client.next().await, Some(Event::Gap { after: Some(after) }) if after == "8-0"));
    assert_eq!([client.id().await, client.id().await], ["6-5", "9-0"]);
    assert!(client.message().await.id.is_none(), "one without history");
}

#[tokio::test]
async fn a_reconnect_frame_says_when_to_come_back() {
    let server = Scripted::start().await;
    // A wait of its own choice would last longer than the test.
    let patient = Duration::from_secs(100_000);
    let slow = ClientConfig { backoff_base: patient, backoff_cap: patient, ..config(&server) };
    let mut client = Running::start(slow, Tokens::default());
    let mut guest = server.welcome("5-0", false).await;
    let start = Instant::now();
    guest.say(json!({ "type": "reconnect", "after_ms": 400, "reason": "drain" })).await;
    guest.close(1012).await;
    client.opened().await;
    let (code, again_in) = client.closed().await;
    let again_in = again_in.expect("it comes back");
    assert!(code == 1012 && again_in <= Duration::from_millis(400), "{again_in:?}");
    let back = server.accept().await;
    assert!(start.elapsed() >= Duration::from_millis(395), "{:?}", start.elapsed());
    assert_eq!(back.header("last-event-id"), Some("5-0"));
}

#[tokio::test]
async fn a_refusal_that_names_a_time_is_kept_to() {
    let server = Scripted::start().await;
    let mut client = Running::start(config(&server), Tokens::default());
    let start = Instant::now();
    server.refuse("503 Service Unavailable\r\nretry-after: 1").await;
    let Some(Event::Refused { status: 503, retry_after, again_in: Some(wait) }) = client.next().await else {
        panic!("a refusal")
    };
    let second = Duration::from_secs(1);
    assert!(retry_after == Some(second) && wait >= second, "{wait:?}");
    server.welcome("5-0", false).await;
    assert!(start.elapsed() >= second);
    client.opened().await;
}

#[tokio::test]
async fn a_refused_token_is_replaced_once() {
    let server = Scripted::start().await;
    let mut client = Running::start(config(&server), Tokens::default());
    let guest = server.accept().await;
    assert_eq!(guest.header("authorization"), Some("Bearer t0"));
    guest.close(1008).await;
    assert!(matches!(client.closed().await, (1008, Some(_))));
    // Accepted, which its hello proves, and later expired.
    let guest = server.welcome("5-0", false).await;
    assert_eq!(guest.header("authorization"), Some("Bearer t1"));
    guest.close(1008).await;
    client.opened().await;
    assert!(matches!(client.closed().await, (1008, Some(_))));
    server.refuse("401 Unauthorized").await;
    let end = client.next().await;
    assert!(matches!(end, Some(Event::Refused { status: 401, again_in: None, .. })), "{end:?}");
    assert!(client.next().await.is_none(), "a third token is no help");
}

#[tokio::test]
async fn it_stays_away_where_coming_back_would_end_the_same_way() {
    let server = Scripted::start().await;
    for code in [1002, 1003, 1007, 1009, 4000, 4004] {
        let mut client = Running::start(config(&server), Tokens::default());
        server.welcome("5-0", false).await.close(code).await;
        client.opened().await;
        assert_eq!(client.closed().await, (code, None));
        assert!(client.next().await.is_none());
    }
}

#[tokio::test]
async fn a_token_is_replaced_on_the_open_connection_before_it_expires() {
    let server = Scripted::start().await;
    let tokens = Tokens { lifetime: Some(Duration::from_secs(2)), ..Tokens::default() };
    let mut client = Running::start(config(&server), tokens);
    let mut guest = server.welcome("5-0", false).await;
    for token in ["t1", "t2"] {
        assert_eq!(guest.hear().await, json!({ "type": "auth", "token": token }));
    }
    let error =
        json!({ "type": "error", "code": "AUTHENTICATION_ERROR", "message": "no", "correlation_id": "i" });
    guest.say(error).await;
    client.opened().await;
    let said = client.next().await;
    assert!(
        matches!(said, Some(Event::Error { ref code, .. }) if code == "AUTHENTICATION_ERROR"),
        "{said:?}"
    );
    guest.message("6-0", &json!(1)).await;
    assert_eq!(client.id().await, "6-0", "the connection stays");
}

#[tokio::test]
async fn silence_is_a_lost_connection_and_a_ping_is_none() {
    let server = Scripted::start().await;
    let silence = Duration::from_millis(600);
    let mut client = Running::start(ClientConfig { silence, ..config(&server) }, Tokens::default());
    let mut guest = server.welcome("5-0", false).await;
    client.opened().await;
    let start = Instant::now();
    for _ in 0..4 {
        // Longer than silence altogether.
        tokio::time::sleep(silence / 3).await;
        guest.ping().await;
    }
    let last = Instant::now();
    assert_eq!(client.closed().await.0, 1006);
    assert!(start.elapsed() > silence && last.elapsed() >= silence - Duration::from_millis(50));
    server.welcome("5-0", true).await;
    assert!(client.opened().await.resumed);
}

#[tokio::test]
async fn a_call_that_is_cancelled_loses_nothing() {
    let server = Scripted::start().await;
    let mut client = Client::new(config(&server), Tokens::default());
    let script = tokio::spawn(async move {
        let mut guest = server.welcome("5-0", false).await;
        for ms in 1..=200 {
            guest.message(&format!("{ms}-0"), &json!(ms)).await;
            if ms % 10 == 0 {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }
        guest.close(1012).await;
        server.accept().await.header("last-event-id").map(str::to_owned)
    });
    let (mut ids, mut cancelled) = (Vec::new(), 0);
    let all = async {
        loop {
            match timeout(Duration::from_micros(300), client.next()).await {
                Ok(Some(Event::Message(message))) => ids.extend(message.id),
                Ok(Some(_)) => {}
                Ok(None) => panic!("it has ended"),
                Err(_) => cancelled += 1,
            }
            if script.is_finished() {
                break;
            }
        }
    };
    within("the script's end", LOCAL, all).await;
    let expected: Vec<_> = (1..=200).map(|ms| format!("{ms}-0")).collect();
    assert!(cancelled > 0 && ids == expected, "{cancelled} {ids:?}");
    assert_eq!(script.await.expect("no panic").as_deref(), Some("200-0"));
}

#[tokio::test]
async fn without_frames_each_text_is_a_message() {
    let server = Scripted::start().await;
    let mut client = Running::start(ClientConfig { v1: false, ..config(&server) }, Tokens::default());
    for _ in 0..2 {
        let mut guest: Guest = server.accept().await;
        assert_eq!(guest.header("sec-websocket-protocol"), None);
        assert_eq!(guest.header("last-event-id"), None);
        assert_eq!(client.opened().await, Opened::default());
        for _ in 0..2 {
            guest.text(r#"{"type":"message","id":"1-0","data":1}"#).await;
            let message = client.message().await;
            assert_eq!(message.body.as_str(), r#"{"type":"message","id":"1-0","data":1}"#);
            assert!(message.id.is_none());
        }
        guest.close(1001).await;
        assert!(matches!(client.closed().await, (1001, Some(_))));
    }
}

#[tokio::test]
async fn a_ping_is_answered_and_a_close_is_seen_through() {
    let server = Scripted::start().await;
    let mut client = Client::new(config(&server), Tokens::default());
    let script = tokio::spawn(async move {
        let mut guest = server.welcome("5-0", false).await;
        let mut ping = guest.hear().await;
        ping["type"] = json!("pong");
        guest.say(json!({ "type": "news" })).await;
        guest.say(ping).await;
        guest.closed().await
    });
    let data = serde_json::value::to_raw_value(&json!([1, "a"])).expect("JSON");
    assert!(!client.ping(&data), "there is no connection yet");
    assert!(matches!(within("hello", LOCAL, client.next()).await, Some(Event::Opened(_))));
    assert!(client.ping(&data));
    let pong = within("a pong", LOCAL, client.next()).await;
    assert!(matches!(pong, Some(Event::Pong(Some(data))) if data.get() == r#"[1,"a"]"#));
    assert_eq!(client.cursor(), Some("5-0"));
    assert!(within("the close", LOCAL, client.close()).await);
    assert_eq!(script.await.expect("no panic"), 1000);
}

#[tokio::test]
async fn a_kept_cursor_is_gone_on_from() {
    let server = Scripted::start().await;
    let kept = ClientConfig { last_event_id: Some("7-3".to_owned()), ..config(&server) };
    let mut client = Running::start(kept, Tokens::default());
    let guest = server.welcome("7-3", true).await;
    assert_eq!(guest.header("last-event-id"), Some("7-3"));
    assert!(client.opened().await.resumed);
}
