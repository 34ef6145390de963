//! Sentinels: real ones over a master and its replicas, and scripted ones that say what a test wants.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use redis::{FromRedisValue, RedisResult};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::redis::{Options, RedisServer, field, free_port};
use super::{Bound, LOCAL, eventually};

/// The name under which the sentinels watch the master.
pub(crate) const MASTER: &str = "mymaster";

/// For sentinels to agree on something.
pub(crate) const AGREED: Bound = Bound {
    limit: Duration::from_secs(150),
    reason: "some seconds; a sentinel that finds itself stalled does nothing for half a minute, and tries again after that",
};

/// A `redis-server --sentinel`, killed when dropped.
pub(crate) struct Sentinel {
    child: Child,
    port: u16,
    directory: TempDir,
    password: Option<&'static str>,
}

impl Sentinel {
    /// Watches a master; `lines` are further ones of its configuration.
    pub(crate) async fn start(master: &RedisServer, quorum: usize, lines: &[&str]) -> Self {
        Self::launch(master.port(), quorum, false, lines).await
    }

    /// Watches a master by TLS and is itself spoken to by TLS only, by clients with certificates. The folder holds those
    /// of the server and of its authority.
    pub(crate) async fn start_tls(master: &RedisServer, folder: &str) -> Self {
        let files = [("cert", "server.pem"), ("key", "server.key"), ("ca-cert", "ca.pem")];
        let mut lines = files.map(|(what, name)| format!("tls-{what}-file {folder}/{name}")).to_vec();
        lines.push("tls-replication yes".to_owned());
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        Self::launch(master.tls_port(), 1, true, &lines).await
    }

    async fn launch(master: u16, quorum: usize, tls: bool, lines: &[&str]) -> Self {
        for _ in 0..5 {
            let (directory, port) = (tempfile::tempdir().expect("a temporary folder"), free_port());
            configure(directory.path(), port, tls, (master, quorum), lines);
            let mut child = Command::new("redis-server")
                .arg(directory.path().join("sentinel.conf"))
                .arg("--sentinel")
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .expect("cannot run redis-server: `make tools-test` installs it");
            let mut ended = false;
            eventually("the sentinel listens, or has ended for want of its port", LOCAL, async || {
                ended = !matches!(child.try_wait(), Ok(None));
                ended || TcpStream::connect(("127.0.0.1", port)).await.is_ok()
            })
            .await;
            if !ended {
                let password =
                    lines.iter().find_map(|line| line.strip_prefix("requirepass ")).map(|_| "hush");
                return Self { child, port, directory, password };
            }
        }
        panic!("no sentinel starts");
    }

    /// Host and port.
    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Runs a command, over a new connection.
    pub(crate) async fn run<T: FromRedisValue>(&self, words: &[&str]) -> RedisResult<T> {
        let login = self.password.map(|password| format!(":{password}@")).unwrap_or_default();
        let patient = redis::AsyncConnectionConfig::new()
            .set_connection_timeout(Some(LOCAL.limit))
            .set_response_timeout(Some(LOCAL.limit));
        let client = redis::Client::open(format!("redis://{login}{}", self.address()))?;
        let mut connection = client.get_multiplexed_async_connection_with_config(&patient).await?;
        redis::cmd("SENTINEL").arg(words).query_async(&mut connection).await
    }

    /// The port of the master, as this one knows it.
    pub(crate) async fn master(&self) -> u16 {
        let found: RedisResult<(String, u16)> = self.run(&["GET-MASTER-ADDR-BY-NAME", MASTER]).await;
        found.expect("it knows the master").1
    }

    /// Whether it knows of so many replicas and other sentinels.
    async fn knows(&self, replicas: usize, sentinels: usize) -> bool {
        let state: RedisResult<std::collections::HashMap<String, String>> =
            self.run(&["MASTER", MASTER]).await;
        state.is_ok_and(|state| {
            state.get("num-slaves") == Some(&replicas.to_string())
                && state.get("num-other-sentinels") == Some(&sentinels.to_string())
        })
    }

    /// What it logged.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn configure(directory: &Path, port: u16, tls: bool, (master, quorum): (u16, usize), lines: &[&str]) {
    let ports = if tls { format!("port 0\ntls-port {port}") } else { format!("port {port}") };
    let folder = directory.display();
    let mut text = format!(
        "bind 127.0.0.1 ::1\n{ports}\ndir {folder}\nlogfile {folder}/log\n\
         sentinel monitor {MASTER} 127.0.0.1 {master} {quorum}\n\
         sentinel down-after-milliseconds {MASTER} 3000\nsentinel failover-timeout {MASTER} 6000\n\
         sentinel parallel-syncs {MASTER} 2\n"
    );
    for line in lines {
        text += line;
        text.push('\n');
    }
    fs::write(directory.join("sentinel.conf"), text).expect("the configuration can be written");
}

/// A master with two replicas, and three sentinels that know each other and all of them.
pub(crate) struct Watched {
    pub(crate) servers: Vec<RedisServer>,
    pub(crate) sentinels: Vec<Sentinel>,
}

impl Watched {
    /// Ready for a failover when this returns.
    pub(crate) async fn start() -> Self {
        let mut servers = Vec::new();
        for _ in 0..3 {
            let lines = vec!["repl-diskless-sync-delay 0", "repl-ping-replica-period 1"];
            servers.push(RedisServer::start_with(Options { lines, ..Options::default() }).await);
        }
        let master = servers[0].port().to_string();
        for replica in &servers[1..] {
            replica.run::<()>("REPLICAOF", &[b"127.0.0.1", master.as_bytes()]).await;
            eventually("the replica is in step", LOCAL, async || {
                replica.run::<String>("INFO replication", &[]).await.contains("master_link_status:up")
            })
            .await;
        }
        let mut sentinels = Vec::new();
        for _ in 0..3 {
            sentinels.push(Sentinel::start(&servers[0], 2, &[]).await);
        }
        let watched = Self { servers, sentinels };
        for sentinel in &watched.sentinels {
            eventually("the sentinels know everybody", AGREED, async || sentinel.knows(2, 2).await).await;
        }
        watched
    }

    /// `REDIS_SENTINELS`.
    pub(crate) fn list(&self) -> String {
        self.sentinels.iter().map(Sentinel::address).collect::<Vec<_>>().join(",")
    }

    /// The master's place among the servers, once all sentinels say the same.
    pub(crate) async fn master(&self) -> usize {
        let mut place = None;
        eventually("the sentinels agree on a master", AGREED, async || {
            let mut ports = Vec::new();
            for sentinel in &self.sentinels {
                ports.push(sentinel.master().await);
            }
            ports.dedup();
            place = self.servers.iter().position(|server| ports == [server.port()]);
            place.is_some()
        })
        .await;
        place.expect("found")
    }

    /// Takes a master away from sentinels and replicas, and leaves it open to those who are connected.
    pub(crate) async fn abandon(&self, master: usize) {
        let old = &self.servers[master];
        let clients: String = old.run("CLIENT LIST", &[]).await;
        let mut connection = old.keep().await;
        // Who was connected stays logged in, and nobody else can log in.
        redis::cmd("CONFIG")
            .arg(&["SET", "requirepass", "abandoned"])
            .exec_async(&mut connection)
            .await
            .expect("set");
        for line in clients.lines() {
            let is_sentinel = field(line, " name=").starts_with("sentinel-");
            if is_sentinel || field(line, " flags=").contains('S') {
                let kill = ["KILL", "ID", field(line, "id=")];
                redis::cmd("CLIENT").arg(&kill).exec_async(&mut connection).await.expect("killed");
            }
        }
    }

    /// What the sentinels logged, for a failure's message.
    pub(crate) fn logs(&self) -> String {
        self.sentinels.iter().map(Sentinel::log).collect::<Vec<_>>().join("\n---\n")
    }
}

/// What a scripted sentinel knows.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Knows {
    /// A master at this port, since the failover of this number.
    Master(u16, u64),
    /// It takes connections and questions, and says nothing.
    Silent,
}

/// Speaks just enough for one that is asked for a master.
pub(crate) struct Scripted {
    port: u16,
    knows: Arc<Mutex<Knows>>,
    asked: Arc<AtomicUsize>,
    _tasks: JoinSet<()>,
}

impl Scripted {
    /// Listening when this returns.
    pub(crate) async fn start(knows: Knows) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let (knows, asked) = (Arc::new(Mutex::new(knows)), Arc::new(AtomicUsize::new(0)));
        let (answers, count) = (Arc::clone(&knows), Arc::clone(&asked));
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (answers, count) = (Arc::clone(&answers), Arc::clone(&count));
                connections.spawn(async move {
                    // The other side is gone: so is this.
                    let _ = converse(stream, &answers, &count).await;
                });
            }
        });
        Self { port, knows, asked, _tasks: tasks }
    }

    /// Host and port.
    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// From now on it knows this.
    pub(crate) fn learn(&self, knows: Knows) {
        *self.knows.lock() = knows;
    }

    /// Waits until it was asked so many times more.
    pub(crate) async fn asked(&self, times: usize) {
        let before = self.asked.load(Ordering::Relaxed);
        eventually("the sentinel is asked", LOCAL, async || {
            self.asked.load(Ordering::Relaxed) >= before + times
        })
        .await;
    }
}

async fn converse(stream: TcpStream, knows: &Mutex<Knows>, asked: &AtomicUsize) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let words = command(&mut stream).await?;
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let known = *knows.lock();
        let answer = match (words.as_slice(), known) {
            (["SENTINEL", ..], Knows::Silent) => String::new(),
            (["SENTINEL", "MASTER", _], Knows::Master(_, epoch)) => {
                let epoch = epoch.to_string();
                format!("*2\r\n$12\r\nconfig-epoch\r\n${}\r\n{epoch}\r\n", epoch.len())
            }
            (["SENTINEL", ..], Knows::Master(port, _)) => {
                let port = port.to_string();
                format!("*2\r\n$9\r\n127.0.0.1\r\n${}\r\n{port}\r\n", port.len())
            }
            _ => "+OK\r\n".to_owned(),
        };
        if words.get(1) == Some(&"GET-MASTER-ADDR-BY-NAME") {
            asked.fetch_add(1, Ordering::Relaxed);
        }
        stream.write_all(answer.as_bytes()).await?;
    }
}

async fn command(stream: &mut BufReader<TcpStream>) -> std::io::Result<Vec<String>> {
    let mut line = async || -> std::io::Result<String> {
        let mut line = String::new();
        match stream.read_line(&mut line).await? {
            0 => Err(std::io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(line.trim_end().to_owned()),
        }
    };
    let count = line().await?.trim_start_matches('*').parse().unwrap_or(0);
    let mut words = Vec::new();
    for _ in 0..count {
        // Its length first, which no word here needs.
        line().await?;
        words.push(line().await?);
    }
    Ok(words)
}
