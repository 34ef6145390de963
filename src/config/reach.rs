//! How Redis is reached beyond its URL: through sentinels, as a cluster, and by which certificates.

use std::fmt;

use secrecy::{ExposeSecret, SecretString};

use super::fault::{Problem, quoted};
use super::pem::{TlsIdentity, certificates, needs_both};
use super::values::Values;
use super::{BackplaneConfig, Secret, parse, table};

/// Where a sentinel listens if nothing else is said.
pub(super) const SENTINEL_PORT: u16 = 26_379;
/// Where a server listens if nothing else is said.
pub(super) const REDIS_PORT: u16 = 6379;

/// What the URL does not say.
#[derive(Debug, Clone, Default)]
pub struct RedisReach {
    /// Who knows where the master is; without them the URL leads to it.
    pub sentinel: Option<SentinelConfig>,
    /// The cluster that it is, if it is one.
    pub cluster: Option<ClusterConfig>,
    /// Certificates, for `rediss://`.
    pub tls: RedisTlsConfig,
}

/// The sentinels, and the master that they are asked for.
#[derive(Debug, Clone)]
pub struct SentinelConfig {
    /// `REDIS_SENTINELS`; at least one, none twice.
    pub servers: Vec<HostPort>,
    /// The master's name (`REDIS_SENTINEL_MASTER`).
    pub master: String,
    /// Who logs in at the sentinels (`REDIS_SENTINEL_USER`); none is their default user.
    pub user: Option<String>,
    /// The password for it (`REDIS_SENTINEL_PASSWORD`); none is no login.
    pub password: Option<Secret>,
}

/// A cluster, by some of its nodes.
#[derive(Debug, Clone)]
pub struct ClusterConfig {
    /// `REDIS_CLUSTER_NODES`; at least one, none twice.
    pub nodes: Vec<HostPort>,
    /// How messages with history travel (`REDIS_CLUSTER_PUBSUB`).
    pub pubsub: ClusterPubSub,
}

/// How messages with history travel in a cluster.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ClusterPubSub {
    /// By SPUBLISH: on the nodes that hold the user.
    #[default]
    Sharded,
    /// By PUBLISH: to every node.
    Classic,
}

/// What is trusted, and what is shown.
#[derive(Debug, Clone, Default)]
pub struct RedisTlsConfig {
    /// Authorities in PEM (`REDIS_TLS_CA`); without them the system's.
    pub authorities: Option<Secret>,
    /// The client's own certificate (`REDIS_TLS_CERTIFICATE`, `REDIS_TLS_KEY`), where servers ask for one.
    pub identity: Option<TlsIdentity>,
}

/// A host, by name or address, and a port.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HostPort {
    /// A name, or an address without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

impl RedisReach {
    pub(super) fn read(values: &mut Values) -> Self {
        let servers = values.servers(&table::REDIS_SENTINELS, SENTINEL_PORT);
        let nodes = values.servers(&table::REDIS_CLUSTER_NODES, REDIS_PORT);
        let pubsub = values.choice(&table::REDIS_CLUSTER_PUBSUB).unwrap_or_default();
        let master = values.text(&table::REDIS_SENTINEL_MASTER).unwrap_or_default();
        let user = values.text(&table::REDIS_SENTINEL_USER);
        let password = values.secret(&table::REDIS_SENTINEL_PASSWORD, |_| Ok(()));
        let authorities = values.secret(&table::REDIS_TLS_CA, certificates);
        let identity = TlsIdentity::read(values, &table::REDIS_TLS_CERTIFICATE, &table::REDIS_TLS_KEY);
        Self {
            sentinel: servers.map(|servers| SentinelConfig { servers, master, user, password }),
            cluster: nodes.map(|nodes| ClusterConfig { nodes, pubsub }),
            tls: RedisTlsConfig { authorities: authorities.map(Secret::with_line_breaks), identity },
        }
    }
}

/// The rules between the settings of Redis.
pub(super) fn check(config: &BackplaneConfig, values: &mut Values) {
    use table::{
        REDIS_CLUSTER_NODES, REDIS_SENTINEL_PASSWORD, REDIS_SENTINEL_USER, REDIS_SENTINELS, REDIS_TLS_CA,
        REDIS_TLS_CERTIFICATE, REDIS_TLS_KEY, REDIS_URL,
    };
    let needs = [
        (
            &REDIS_CLUSTER_NODES,
            &REDIS_URL,
            "give REDIS_URL too: its scheme, user and password are the nodes'",
        ),
        (
            &REDIS_SENTINELS,
            &REDIS_URL,
            "give REDIS_URL too: its scheme, user, password and database are the master's",
        ),
        (&REDIS_SENTINEL_PASSWORD, &REDIS_SENTINELS, "list the sentinels, or leave it out"),
        (&REDIS_SENTINEL_USER, &REDIS_SENTINEL_PASSWORD, "give the user's password, or leave the user out"),
    ];
    for (setting, other, remedy) in needs {
        values.needs(setting, other, remedy);
    }
    needs_both(values, &REDIS_TLS_CERTIFICATE, &REDIS_TLS_KEY);
    let url = config.redis_url.as_ref().and_then(|url| url.read().ok());
    if config.reach.cluster.is_some() {
        cluster(config, url.as_ref(), values);
    }
    let plain = url.is_none_or(|url| !url.expose_secret().starts_with("rediss://"));
    for setting in [&REDIS_TLS_CA, &REDIS_TLS_CERTIFICATE] {
        if plain && values.source(setting).is_some() && values.sound(&[&REDIS_URL, setting]) {
            let remedy = "make REDIS_URL a rediss:// URL, or leave the certificates out";
            values.fault(setting, Problem::new("is for TLS, which REDIS_URL does not ask for", remedy));
        }
    }
}

/// What a cluster cannot have.
fn cluster(config: &BackplaneConfig, url: Option<&SecretString>, values: &mut Values) {
    use table::{REDIS_CLUSTER_NODES, REDIS_SENTINELS, REDIS_URL, WEBSOCKET_CHANNEL_PREFIX};
    if config.reach.sentinel.is_some() {
        let remedy = "list the cluster's nodes or the sentinels, whichever there are";
        let problem = format!("is given beside {}", REDIS_SENTINELS.name);
        values.fault(&REDIS_CLUSTER_NODES, Problem::new(problem, remedy));
    }
    let database = url.map_or(0, |url| parse::redis_database(url.expose_secret()));
    if database != 0 && values.sound(&[&REDIS_URL]) {
        let remedy = "leave the number at its end out";
        values.fault(&REDIS_URL, Problem::new("names a database, of which a cluster has only 0", remedy));
    }
    // The hash tag of a user's keys is the channel's whole name.
    if config.channel_prefix.contains(['{', '}']) && values.sound(&[&WEBSOCKET_CHANNEL_PREFIX]) {
        let remedy = "make it a text without braces, such as ws:";
        let problem = format!("has a brace, which would part a user's keys in {}", REDIS_CLUSTER_NODES.name);
        values.fault(&WEBSOCKET_CHANNEL_PREFIX, Problem::new(problem, remedy));
    }
}

/// Hosts with ports, as JSON or separated by commas; `usual` is the port of those without one.
pub(super) fn servers(text: &str, usual: u16) -> Result<Vec<HostPort>, Problem> {
    const REMEDY: &str = "list HOST:PORT separated by commas, an IPv6 address as [ADDRESS]:PORT";
    // An address in brackets is no list.
    let entries: Vec<String> = serde_json::from_str(text)
        .unwrap_or_else(|_| text.split(',').map(|entry| entry.trim().to_owned()).collect());
    let mut servers = Vec::new();
    for entry in &entries {
        let server = server(entry, usual)
            .ok_or_else(|| Problem::new(format!("{} is no host and port", quoted(entry)), REMEDY))?;
        if servers.contains(&server) {
            return Err(Problem::new(format!("{} is there twice", quoted(entry)), "list each once"));
        }
        servers.push(server);
    }
    if servers.is_empty() { Err(Problem::new("lists nobody", REMEDY)) } else { Ok(servers) }
}

fn server(entry: &str, usual: u16) -> Option<HostPort> {
    let (host, port) = match entry.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']')?;
            host.parse::<std::net::Ipv6Addr>().ok()?;
            (host, port.strip_prefix(':').or_else(|| port.is_empty().then_some(""))?)
        }
        None => {
            let (host, port) = entry.split_once(':').unwrap_or((entry, ""));
            let sound = host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
            (Some(host).filter(|host| sound && !host.is_empty())?, port)
        }
    };
    let port = if port.is_empty() && !entry.ends_with(':') { usual } else { port.parse().ok()? };
    (port != 0).then(|| HostPort { host: host.to_owned(), port })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Sources};

    const TLS: (&str, &str) = ("redis-url", "rediss://redis");

    fn load(settings: &[(&str, &str)]) -> Result<RedisReach, String> {
        let sources =
            settings.iter().fold(Sources::default(), |sources, (flag, value)| sources.with_flag(flag, value));
        Config::load(&sources)
            .map(|loaded| loaded.config.backplane.reach)
            .map_err(|faults| faults.to_string())
    }

    #[test]
    fn sentinels_are_hosts_with_ports() {
        let list = "s-1.redis.svc:26380, 10.0.0.7,[fd00::7]:5,[::1]";
        let shown: Vec<String> =
            servers(list, SENTINEL_PORT).expect("sound").iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["s-1.redis.svc:26380", "10.0.0.7:26379", "[fd00::7]:5", "[::1]:26379"]);
        assert_eq!(servers(r#"["a:1","b:2"]"#, REDIS_PORT).expect("sound").len(), 2);
        for bad in [
            "a:1,",
            "a:",
            "a:0",
            "a:65536",
            "::1",
            "redis://a:1",
            "u@a:1",
            "[a]:1",
            "[::1]x",
            "a b",
            "[]",
            "[1]",
        ] {
            assert!(servers(bad, REDIS_PORT).is_err(), "{bad}");
        }
        assert!(servers("a,b,a:26379", SENTINEL_PORT).expect_err("twice").problem.contains("twice"));
    }

    #[test]
    fn a_master_has_a_name_even_if_nobody_gave_one() {
        let reach = load(&[("redis-url", "redis://redis"), ("redis-sentinels", "a,b,c")]).expect("sound");
        let sentinel = reach.sentinel.expect("there");
        assert_eq!((sentinel.servers.len(), sentinel.master.as_str()), (3, "mymaster"));
        let yaml = Sources::default()
            .with_yaml("a.yaml", "redis_url: redis://redis\nredis_sentinels: ['a:1', 'b:2']\n");
        let loaded = Config::load(&yaml).expect("a list in YAML").config;
        assert_eq!(loaded.backplane.reach.sentinel.expect("there").servers.len(), 2);
    }

    #[test]
    fn a_cluster_is_some_of_its_nodes() {
        let url = ("redis-url", "redis://ws:hush@nodes");
        let reach = load(&[url, ("redis-cluster-nodes", "a,b:7000")]).expect("sound");
        let cluster = reach.cluster.expect("there");
        assert_eq!(cluster.pubsub, ClusterPubSub::Sharded);
        assert_eq!(cluster.nodes.iter().map(ToString::to_string).collect::<Vec<_>>(), ["a:6379", "b:7000"]);
        let classic = [url, ("redis-cluster-nodes", "a"), ("redis-cluster-pubsub", "CLASSIC")];
        assert_eq!(load(&classic).expect("sound").cluster.expect("there").pubsub, ClusterPubSub::Classic);

        let nodes = ("redis-cluster-nodes", "a");
        for (settings, part) in [
            (&[nodes][..], "needs REDIS_URL"),
            (&[url, nodes, ("redis-sentinels", "s")], "is given beside REDIS_SENTINELS"),
            (&[("redis-url", "redis://:hush@a/3"), nodes], "of which a cluster has only 0"),
            (
                &[url, nodes, ("websocket-channel-prefix", "{ws}:"), ("history-size", "0")],
                "would part a user's keys",
            ),
        ] {
            let text = load(settings).expect_err(part);
            assert!(text.contains(part) && !text.contains("hush"), "{text}");
        }
    }

    #[test]
    fn certificates_are_looked_at_at_the_start() {
        let key = rcgen::KeyPair::generate().expect("a key");
        let certificate = rcgen::CertificateParams::new(Vec::new()).expect("valid").self_signed(&key);
        let (certificate, key) = (certificate.expect("made").pem(), key.serialize_pem());
        let escaped = key.replace('\n', "\\n");
        let reach = load(&[TLS, ("redis-tls-certificate", &certificate), ("redis-tls-key", &escaped)]);
        let identity = reach.expect("sound").tls.identity.expect("there");
        assert_eq!(identity.key.read().expect("in place").expose_secret(), key);

        for (settings, part) in [
            (&[TLS, ("redis-tls-certificate", certificate.as_str())][..], "needs REDIS_TLS_KEY"),
            (&[TLS, ("redis-tls-key", key.as_str())], "needs REDIS_TLS_CERTIFICATE"),
            (&[TLS, ("redis-tls-ca", key.as_str())], "holds no certificate"),
            (&[TLS, ("redis-tls-key", certificate.as_str())], "holds no private key"),
            (
                &[("redis-url", "redis://r"), ("redis-tls-ca", certificate.as_str())],
                "make REDIS_URL a rediss://",
            ),
            (&[("redis-sentinels", "a")], "needs REDIS_URL"),
            (&[TLS, ("redis-sentinel-password", "hush")], "needs REDIS_SENTINELS"),
            (
                &[TLS, ("redis-sentinels", "a"), ("redis-sentinel-user", "ws")],
                "needs REDIS_SENTINEL_PASSWORD",
            ),
        ] {
            let text = load(settings).expect_err(part);
            assert!(
                text.contains(part) && !text.contains("hush") && !text.contains("BEGIN PRIVATE KEY-----\n"),
                "{text}"
            );
        }
    }
}
