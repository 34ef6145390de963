//! A real Redis of a test's own.

use std::collections::BTreeSet;
use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use parking_lot::Mutex;
use redis::FromRedisValue;
use redis::aio::MultiplexedConnection;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use super::{LOCAL, eventually};

/// What takes the server seconds to load with [`SLOW_LOADING`].
const FILL: &[u8] = b"for i = 1, 20000 do redis.call('SET', 'fill:' .. i, i) end";

/// A pause of 100 µs at least for each key, and a look at the clients every 1,024 bytes.
const SLOW_LOADING: &str = "key-load-delay 100\nloading-process-events-interval-bytes 1024\n";

/// The fleet's roll of pods.
const ROLL: &str = "{ws:websocket-service:pods}:roll";

/// A `redis-server` on a port of its own, killed when dropped.
pub(crate) struct RedisServer {
    child: Option<Child>,
    ports: Ports,
    directory: TempDir,
    password: Option<String>,
}

/// Where it listens.
#[derive(Debug, Clone, Copy)]
struct Ports {
    plain: u16,
    tls: u16,
    bus: u16,
}

/// What differs from an open server without TLS.
#[derive(Debug, Default, Clone)]
pub(crate) struct Options {
    /// Of the default user.
    pub(crate) password: Option<&'static str>,
    /// Further lines of its configuration: `user …`, `rename-command …`.
    pub(crate) lines: Vec<&'static str>,
    /// A folder with `server.pem` and `server.key`, for a TLS port besides the plain one.
    pub(crate) tls: Option<PathBuf>,
    /// The authority whose certificates clients have to show on that port.
    pub(crate) clients_of: Option<PathBuf>,
    /// Whether it is a node of a cluster, with a port for the bus.
    pub(crate) is_node: bool,
}

impl RedisServer {
    /// An open server.
    pub(crate) async fn start() -> Self {
        Self::start_with(Options::default()).await
    }

    /// A server with options; ready when this returns.
    pub(crate) async fn start_with(options: Options) -> Self {
        let mut log = String::new();
        // Between the choice of a free port and its use somebody else may take it.
        for _ in 0..5 {
            let directory = tempfile::tempdir().expect("a temporary folder");
            let ports = Ports { plain: free_port(), tls: free_port(), bus: free_port() };
            write_configuration(directory.path(), &options, ports);
            let password = options.password.map(str::to_owned);
            let child = spawn(directory.path());
            let mut server = Self { child: Some(child), ports, directory, password };
            if server.answers().await {
                return server;
            }
            log = server.log();
        }
        panic!("redis-server does not start:\n{log}");
    }

    /// Host and port of the plain port.
    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.ports.plain)
    }

    /// The TLS port.
    pub(crate) fn tls_port(&self) -> u16 {
        self.ports.tls
    }

    /// The plain port.
    pub(crate) fn port(&self) -> u16 {
        self.ports.plain
    }

    /// The port where other nodes of its cluster talk to it.
    pub(crate) fn bus_port(&self) -> u16 {
        self.ports.bus
    }

    /// The URL of the plain port, as the default user.
    pub(crate) fn url(&self) -> String {
        match &self.password {
            Some(password) => format!("redis://:{password}@{}", self.address()),
            None => format!("redis://{}", self.address()),
        }
    }

    /// The URL of the TLS port.
    pub(crate) fn tls_url(&self) -> String {
        format!("rediss://localhost:{}", self.ports.tls)
    }

    /// Kills it: its port refuses.
    pub(crate) fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Fails only when it is gone already.
            let _ = child.kill();
            child.wait().expect("redis-server can be waited for");
        }
    }

    /// Starts it again on the same ports.
    pub(crate) async fn restart(&mut self) {
        self.stop();
        self.child = Some(spawn(self.directory.path()));
        assert!(self.answers().await, "redis-server does not come back:\n{}", self.log());
    }

    /// Kills it and starts it again, with data that takes it some time to load: until it has refused so many commands
    /// for that.
    pub(crate) async fn restart_loading(&mut self, refusals: u64) {
        self.run::<()>("EVAL", &[FILL, b"0"]).await;
        // What is loaded from a snapshot is loaded in small steps, with a look at the clients between them.
        self.run::<()>("BGREWRITEAOF", &[]).await;
        eventually("the data is in a snapshot", LOCAL, async || {
            let state: String = self.run("INFO persistence", &[]).await;
            state.contains("aof_rewrite_in_progress:0") && state.contains("aof_rewrite_scheduled:0")
        })
        .await;
        self.stop();
        let configuration = self.directory.path().join("redis.conf");
        let text = fs::read_to_string(&configuration).expect("the configuration can be read");
        fs::write(&configuration, text + SLOW_LOADING).expect("the configuration can be written");
        self.child = Some(spawn(self.directory.path()));
        eventually("commands are refused while it loads", LOCAL, async || {
            let stats = self.try_run::<String>("INFO errorstats", &[]).await.unwrap_or_default();
            let count = stats.lines().find_map(|line| line.strip_prefix("errorstat_LOADING:count="));
            count.and_then(|count| count.parse().ok()) >= Some(refusals)
        })
        .await;
        self.run::<()>("CONFIG SET key-load-delay 0", &[]).await;
        assert!(self.answers().await, "redis-server does not come back:\n{}", self.log());
    }

    /// Stops it in its tracks: connections stay open and nothing is answered.
    pub(crate) fn pause(&self) {
        self.signal("STOP");
    }

    /// Ends a pause.
    pub(crate) fn resume(&self) {
        self.signal("CONT");
    }

    /// Lets nobody write any more, and waits until its replicas have everything: what was answered survives a failover.
    pub(crate) async fn settle(&self) {
        self.run::<()>("CLIENT PAUSE", &[b"600000", b"WRITE"]).await;
        eventually("the replicas have everything", LOCAL, async || {
            let state: String = self.run("INFO replication", &[]).await;
            let wanted = field(&state, "master_repl_offset:");
            let behind =
                |line: &&str| line.starts_with("slave") && !line.contains(&format!("offset={wanted},"));
            !state.lines().any(|line| behind(&line) && line.contains("offset="))
        })
        .await;
    }

    /// Runs a command, over a new connection.
    pub(crate) async fn run<T: FromRedisValue>(&self, command: &str, arguments: &[&[u8]]) -> T {
        self.try_run(command, arguments).await.expect("the server takes the command")
    }

    /// The same for one that may be refused.
    pub(crate) async fn try_run<T: FromRedisValue>(
        &self,
        command: &str,
        arguments: &[&[u8]],
    ) -> redis::RedisResult<T> {
        let mut connection = self.connect().await?;
        let mut words = command.split(' ');
        let mut command = redis::cmd(words.next().unwrap_or_default());
        command.arg(words.collect::<Vec<_>>()).arg(arguments);
        command.query_async(&mut connection).await
    }

    /// Publishes for a user, as a back end does. Returns the number of subscribers.
    pub(crate) async fn publish(&self, user: &str, payload: &[u8]) -> u64 {
        self.run("PUBLISH", &[format!("ws:{user}").as_bytes(), payload]).await
    }

    /// Subscribers of a channel.
    pub(crate) async fn subscribers(&self, channel: &str) -> u64 {
        let (_, count): (Vec<u8>, u64) = self.run("PUBSUB NUMSUB", &[channel.as_bytes()]).await;
        count
    }

    /// How often a command was called since the start (`INFO commandstats`).
    pub(crate) async fn calls(&self, command: &str) -> u64 {
        let stats: String = self.run("INFO commandstats", &[]).await;
        let prefix = format!("cmdstat_{command}:calls=");
        let line = stats.lines().find_map(|line| line.strip_prefix(prefix.as_str()));
        line.map_or(0, |rest| rest.split(',').next().unwrap_or_default().parse().expect("a number"))
    }

    /// The keys of users: without the fleet's roll of pods.
    pub(crate) async fn user_keys(&self) -> Vec<String> {
        let mut keys: Vec<String> = self.run("KEYS *", &[]).await;
        keys.retain(|key| key != ROLL);
        keys
    }

    /// The channels of users that somebody is subscribed to: without the fleet's orders.
    pub(crate) async fn user_channels(&self) -> Vec<String> {
        let mut channels: Vec<String> = self.run("PUBSUB CHANNELS", &[]).await;
        channels.retain(|channel| !channel.ends_with(":orders"));
        channels
    }

    /// How often EVALSHA and EVAL were called, once a pod is on the fleet's roll.
    pub(crate) async fn script_calls(&self) -> [u64; 2] {
        eventually("a pod is on the roll", LOCAL, async || self.run("EXISTS", &[ROLL.as_bytes()]).await)
            .await;
        [self.calls("evalsha").await, self.calls("eval").await]
    }

    /// A connection to keep.
    pub(crate) async fn keep(&self) -> MultiplexedConnection {
        self.connect().await.expect("the server takes connections")
    }

    async fn connect(&self) -> redis::RedisResult<MultiplexedConnection> {
        // The crate's own second for everything is too short on a busy machine.
        let patient = redis::AsyncConnectionConfig::new()
            .set_connection_timeout(Some(LOCAL.limit))
            .set_response_timeout(Some(LOCAL.limit));
        redis::Client::open(self.url())?.get_multiplexed_async_connection_with_config(&patient).await
    }

    /// Whether it becomes ready. False when it ends, as it does when a port is taken.
    async fn answers(&mut self) -> bool {
        let start = Instant::now();
        loop {
            if let Ok(mut connection) = self.connect().await
                && redis::cmd("PING").exec_async(&mut connection).await.is_ok()
            {
                return true;
            }
            let ended = self.child.as_mut().is_none_or(|child| !matches!(child.try_wait(), Ok(None)));
            if ended {
                return false;
            }
            assert!(start.elapsed() < LOCAL.limit, "redis-server does not answer:\n{}", self.log());
            sleep(Duration::from_millis(5)).await;
        }
    }

    fn signal(&self, signal: &str) {
        let id = self.child.as_ref().expect("a running server").id();
        let status = Command::new("sh").args(["-c", &format!("kill -{signal} {id}")]).status();
        assert!(status.is_ok_and(|status| status.success()), "cannot send SIG{signal}");
    }

    fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A port that nobody has now, and that nobody here was given before.
pub(crate) fn free_port() -> u16 {
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    loop {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = listener.local_addr().expect("a bound address").port();
        if GIVEN.lock().insert(port) {
            return port;
        }
    }
}

/// What follows a name in a line of `INFO` or `CLIENT LIST`, up to the next space or comma.
pub(crate) fn field<'a>(text: &'a str, name: &str) -> &'a str {
    let rest = text.split_once(name).map_or("", |(_, rest)| rest);
    rest.split([' ', '\r', '\n', ',']).next().unwrap_or_default()
}

fn write_configuration(directory: &Path, options: &Options, Ports { plain: port, tls, bus }: Ports) {
    let (folder, tls_port) = (directory.display(), tls);
    let mut text = format!(
        "bind 127.0.0.1 ::1\nport {port}\ndir {folder}\nlogfile {folder}/log\nsave \"\"\nappendonly no\n"
    );
    if let Some(tls) = &options.tls {
        let tls = tls.display();
        text += &format!(
            "tls-port {tls_port}\ntls-cert-file {tls}/server.pem\ntls-key-file {tls}/server.key\n\
             {}\n",
            match &options.clients_of {
                Some(authority) => format!("tls-auth-clients yes\ntls-ca-cert-file {}", authority.display()),
                None => "tls-auth-clients no".to_owned(),
            }
        );
    }
    if options.is_node {
        text += &format!("cluster-enabled yes\ncluster-port {bus}\n");
    }
    if let Some(password) = options.password {
        text += &format!("requirepass {password}\n");
    }
    for line in &options.lines {
        text += line;
        text.push('\n');
    }
    fs::write(directory.join("redis.conf"), text).expect("the configuration can be written");
}

fn spawn(directory: &Path) -> Child {
    Command::new("redis-server")
        .arg(directory.join("redis.conf"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("cannot run redis-server (6.0 or later): `make tools-test` installs it")
}
