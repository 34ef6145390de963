//! The real sidecar beside a service, as a process.

use std::net::SocketAddr;
use std::process::{Command, Stdio};

use serde_json::Value;

use super::http::{self, Answer};
use super::program::Program;
use super::redis::RedisServer;
use super::{LOCAL, eventually};

/// Whose namespace and fleet every sidecar reports for, unless told otherwise.
pub(crate) const INDEX: &str = "websocket-service:fleet:chat/ws";

/// A running sidecar, killed when dropped.
pub(crate) struct Sidecar {
    pub(crate) program: Program,
    pub(crate) address: SocketAddr,
    uid: String,
}

impl Sidecar {
    /// The sidecar of a pod with this UID that asks `status` (host and port); listening when this returns.
    pub(crate) async fn start(uid: &str, status: impl ToString, environment: &[(&str, &str)]) -> Self {
        let (url, pod) = (format!("http://{}/status", status.to_string()), format!("pod-{uid}"));
        let own = [
            ("CONNECTION_GAUGE_STATUS_URL", url.as_str()),
            ("CONNECTION_GAUGE_HOST", "127.0.0.1"),
            ("CONNECTION_GAUGE_PORT", "0"),
            ("CONNECTION_GAUGE_FLEET", "ws"),
            ("POD_NAME", &pod),
            ("POD_NAMESPACE", "chat"),
            ("POD_UID", uid),
            ("POD_IP", "127.0.0.1"),
            ("NODE_NAME", "node-a"),
            ("POD_TEMPLATE_HASH", "7d4"),
        ];
        let mut program = Program::start(&mut command(&[&own[..], environment].concat(), &[]));
        let line = program.says("\"message\":\"listening\"", LOCAL).await;
        let fields: Value = serde_json::from_str(&line).expect("JSON");
        let address = fields["address"].as_str().and_then(|text| text.parse().ok()).expect("an address");
        Self { program, address, uid: uid.to_owned() }
    }

    /// A sidecar that reports to Redis.
    pub(crate) async fn reporting(uid: &str, status: impl ToString, redis: &RedisServer) -> Self {
        Self::start(uid, status, &[("WEBSOCKET_SERVICE_REDIS_URL", &redis.url())]).await
    }

    /// A GET on its port.
    pub(crate) async fn get(&self, path: &str) -> Answer {
        http::request(self.address, "GET", path, &[], b"").await
    }

    /// A metric's only series, by the metric's name or by the beginning of the series; none where there is none.
    pub(crate) async fn metric(&self, series: &str) -> Option<f64> {
        let text = String::from_utf8(self.get("/metrics").await.body).expect("text");
        let line = text
            .lines()
            .find(|line| line.strip_prefix(series).is_some_and(|rest| rest.starts_with([' ', '{', ','])))?;
        line.rsplit(' ').next()?.parse().ok()
    }

    /// Waits until a metric has this value, or no series.
    pub(crate) async fn shows(&self, series: &str, value: Option<f64>) {
        let what = format!("{series} is {value:?}");
        eventually(&what, LOCAL, async || self.metric(series).await == value).await;
    }

    /// The Redis key of its report.
    pub(crate) fn key(&self) -> String {
        format!("websocket-service:gauge:{}", self.uid)
    }

    /// Its report in Redis, if it is there.
    pub(crate) async fn report(&self, redis: &RedisServer) -> Option<Value> {
        let text: Option<String> = redis.run("GET", &[self.key().as_bytes()]).await;
        text.map(|text| serde_json::from_str(&text).expect("JSON"))
    }

    /// Waits until its report in Redis says so many connections.
    pub(crate) async fn reports(&self, redis: &RedisServer, connections: u64) {
        let what = format!("{} connections are reported", connections);
        eventually(&what, LOCAL, async || {
            self.report(redis).await.is_some_and(|report| report["connections"] == connections)
        })
        .await;
    }

    /// Whether it is in the fleet's index.
    pub(crate) async fn is_indexed(&self, redis: &RedisServer) -> bool {
        let score: Option<f64> = redis.run("ZSCORE", &[INDEX.as_bytes(), self.uid.as_bytes()]).await;
        score.is_some()
    }
}

/// The program with an environment that holds nothing else, and its arguments.
pub(crate) fn command(environment: &[(&str, &str)], arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_connection-gauge"));
    command.env_clear().args(arguments).stdin(Stdio::null());
    // Where coverage is measured, the process's counts as well.
    #[expect(clippy::disallowed_methods, reason = "no setting of the service")]
    if let Some(file) = std::env::var_os("LLVM_PROFILE_FILE") {
        command.env("LLVM_PROFILE_FILE", file);
    }
    command.envs(environment.iter().copied());
    command
}
