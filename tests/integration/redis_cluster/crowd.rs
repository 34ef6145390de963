//! Resuming clients over all masters, each with a publisher of its own that repeats until it is answered for.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::support::client::Client;
use crate::support::cluster::{MASTERS, RedisCluster};
use crate::support::daemon::Daemon;
use crate::support::service::bearer;
use crate::support::{Bound, eventually, http, within};

/// Between two messages to a user: two hundred a second for a hundred users.
const PACE: Duration = Duration::from_millis(500);

/// Before a publication is repeated that was not answered for.
const AGAIN: Duration = Duration::from_millis(50);

/// For everybody to hear some messages more.
const FLOW: Bound = Bound {
    limit: Duration::from_secs(150),
    reason: "two messages a second, an outage of some seconds, and the rest for a busy machine",
};

/// What a client heard: messages are numbered, from one.
#[derive(Debug, Default)]
struct Ear {
    last: u64,
    at: Option<Instant>,
    silence: Duration,
    lost: u64,
    twice: u64,
    gaps: u64,
    end: Option<String>,
}

/// A user with one connection.
struct Member {
    user: String,
    master: usize,
    accepted: Mutex<u64>,
    ear: Mutex<Ear>,
}

/// How they fared.
#[derive(Debug, Default)]
pub(super) struct Report {
    pub(super) published: u64,
    pub(super) lost: u64,
    pub(super) twice: u64,
    pub(super) gaps: u64,
    /// Connections that ended.
    pub(super) ended: Vec<String>,
    /// The longest time that any user of each master heard nothing.
    pub(super) silence: [Duration; MASTERS],
    /// By how much a clock of the test's own was late at most: how busy the machine was.
    pub(super) late: Duration,
}

/// Clients, publishers and a clock. All end when dropped.
pub(super) struct Crowd {
    members: Vec<Arc<Member>>,
    stop: CancellationToken,
    publishers: JoinSet<()>,
    _listeners: JoinSet<()>,
    late: Arc<Mutex<Duration>>,
}

impl Crowd {
    /// So many users of each master, all connected, on both pods in turn.
    pub(super) async fn start(cluster: &RedisCluster, pods: &[Daemon; 2], of_each: usize) -> Self {
        let (stop, late) = (CancellationToken::new(), Arc::default());
        let (mut publishers, mut listeners) = (JoinSet::new(), JoinSet::new());
        let mut members = Vec::new();
        for master in 0..MASTERS {
            for user in cluster.users_of(master, of_each).await {
                let offer = [("Sec-WebSocket-Protocol", "websocket-service.v1")];
                let client = Client::connect_with(&pods[members.len() % 2].url(&user), &offer).await;
                let (accepted, ear) = (Mutex::default(), Mutex::default());
                let member = Arc::new(Member { user, master, accepted, ear });
                listeners.spawn(listen(Arc::clone(&member), client.expect("taken")));
                members.push(member);
            }
        }
        for member in &members {
            let addresses = [pods[0].public, pods[1].public];
            publishers.spawn(publish(Arc::clone(member), addresses, stop.clone()));
        }
        listeners.spawn(clock(Arc::clone(&late)));
        Self { members, stop, publishers, _listeners: listeners, late }
    }

    /// Waits until each has heard so many messages more.
    pub(super) async fn hears(&self, more: u64) {
        let before: Vec<u64> = self.members.iter().map(|member| member.ear.lock().last).collect();
        eventually("everybody hears more", FLOW, async || {
            self.members.iter().zip(&before).all(|(member, before)| {
                let ear = member.ear.lock();
                assert_eq!(ear.end, None, "{}", member.user);
                ear.last >= before + more
            })
        })
        .await;
    }

    /// Ends the publishing, and waits until the last message of each user has arrived.
    pub(super) async fn finish(mut self) -> Report {
        self.stop.cancel();
        while let Some(end) = within("the last answers", FLOW, self.publishers.join_next()).await {
            end.expect("no publisher panics");
        }
        eventually("the last messages arrive", FLOW, async || {
            self.members.iter().all(|member| member.ear.lock().last == *member.accepted.lock())
        })
        .await;
        let mut report = Report { late: *self.late.lock(), ..Report::default() };
        for member in &self.members {
            let ear = member.ear.lock();
            report.published += *member.accepted.lock();
            report.lost += ear.lost;
            report.twice += ear.twice;
            report.gaps += ear.gaps;
            report.ended.extend(ear.end.clone());
            let silence = &mut report.silence[member.master];
            *silence = ear.silence.max(*silence);
        }
        report
    }
}

async fn publish(member: Arc<Member>, pods: [SocketAddr; 2], stop: CancellationToken) {
    let (path, bearer) = (format!("/v1/users/{}/messages", http::escape(&member.user)), bearer());
    for number in 1.. {
        let (key, body) = (number.to_string(), json!({ "n": number }).to_string());
        let headers = [("authorization", bearer.as_str()), ("idempotency-key", &key)];
        for pod in pods.iter().cycle() {
            let answer = http::request(*pod, "POST", &path, &headers, body.as_bytes()).await;
            match answer.status {
                202 => break,
                503 => sleep(AGAIN).await,
                _ => panic!("refused: {answer:?}"),
            }
        }
        *member.accepted.lock() = number;
        if stop.run_until_cancelled(sleep(PACE)).await.is_none() {
            return;
        }
    }
}

async fn listen(member: Arc<Member>, mut client: Client) {
    loop {
        let next = client.next().await;
        let mut ear = member.ear.lock();
        match next {
            Ok(text) => ear.hear(&serde_json::from_str(&text).unwrap_or_default()),
            Err(closed) => {
                ear.end = Some(format!("{}: {closed:?}", member.user));
                return;
            }
        }
    }
}

impl Ear {
    fn hear(&mut self, frame: &Value) {
        match (frame["type"].as_str(), frame["data"]["n"].as_u64()) {
            (Some("message"), Some(number)) if number <= self.last => self.twice += 1,
            (Some("message"), Some(number)) => {
                self.lost += number - self.last - 1;
                self.last = number;
                let before = self.at.replace(Instant::now());
                self.silence = self.silence.max(before.map(|at| at.elapsed()).unwrap_or_default());
            }
            (Some("gap"), _) => self.gaps += 1,
            _ => {}
        }
    }
}

async fn clock(late: Arc<Mutex<Duration>>) {
    let tick = Duration::from_millis(10);
    loop {
        let start = Instant::now();
        sleep(tick).await;
        let mut late = late.lock();
        *late = late.max(start.elapsed().saturating_sub(tick));
    }
}
