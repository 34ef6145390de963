use super::choice::{DrainClose, Refusal, names};
use super::setting::Initial::{Default, Unset};
use super::setting::{Group, Kind, Setting};
use super::{
    ClusterPubSub, Environment, LogFormat, LogLevel, OverflowPolicy, TokenAlgorithm, UserLimitPolicy,
};

const MIB: u64 = 1 << 20;
const MINUTE: u64 = 60_000;

/// The key in `.env.example`, long enough to pass as a real one, so production knows it by heart.
pub(super) const EXAMPLE_KEY: &str = "change-me-to-the-output-of-openssl-rand-hex-32";

/// What sentinels call a master in the example of their own documentation, and most charts after it.
pub(super) const DEFAULT_MASTER: &str = "mymaster";

macro_rules! settings {
    ($($name:ident: $group:ident, $kind:expr, $initial:expr, $doc:expr;)*) => {
        $(
            pub(super) const $name: Setting = Setting {
                name: stringify!($name),
                group: Group::$group,
                kind: $kind,
                initial: $initial,
                doc: $doc,
            };
        )*

        /// Every setting, in the order of the documentation.
        pub const SETTINGS: &[Setting] = &[$($name),*];
    };
}

settings! {
    ENVIRONMENT: Place, Kind::Choice(names::<Environment>), Default("development"),
        "What kind of place this is. `development` makes up a missing token key and serves a page to try things \
         with; `production` refuses to start with a missing, example or short key.";

    HOST: Server, Kind::Address, Default("0.0.0.0"), "Address that both listeners bind; `::` for IPv6.";
    PORT: Server, Kind::Number(0, 65_535), Default("8004"), "Public port; 0 picks a free one.";
    ADMIN_PORT: Server, Kind::Number(0, 65_535), Default("9004"),
        "Cluster-internal port: probes, metrics, status, drain; 0 picks a free one. Never expose it.";
    ALLOWED_ORIGINS: Server, Kind::Origins, Default("http://localhost:3000"),
        "Which browsers may connect, by their `Origin`; others are refused with 403. Clients without an `Origin` \
         pass. Quote a `*` in YAML.";
    REJECT_WITH: Server, Kind::Choice(names::<Refusal>), Default("close"),
        "How a refused token is told: `close` upgrades and closes with 1008, so that a browser can see why; `http` \
         answers 401.";
    PUBLIC_METRICS: Server, Kind::Switch, Default("true"), "Whether the public port serves `/metrics` too.";

    TRUSTED_PROXIES: Server, Kind::Networks, Unset("10.0.0.0/8,fd00::/8"),
        "Proxies and load balancers whose `X-Forwarded-For` is believed: a client's address is then the last one \
         there that is none of these. Unset, it is the address of the connection.";

    PROXY_PROTOCOL: Server, Kind::Switch, Default("false"),
        "Whether connections of `TRUSTED_PROXIES` to the public port begin with a header of the PROXY protocol (version 1 or \
         2) that says whose they are. One without it is closed.";
    TLS_CERTIFICATE: Server, Kind::Secret, Unset("'-----BEGIN CERTIFICATE-----…'"),
        "Certificate in PEM with its chain, leaf first: the public port then speaks TLS (`wss://`) and nothing else. Mounted \
         files are reread every five seconds, and renewed ones shown without a restart.";
    TLS_KEY: Server, Kind::Secret, Unset("'-----BEGIN PRIVATE KEY-----…'"), "The certificate's key in PEM.";

    MAX_CONNECTIONS: Limits, Kind::Number(1, 10_000_000), Default("10000"),
        "Connections of this pod; beyond it upgrades are answered 503.";
    MAX_CONNECTIONS_PER_USER: Limits, Kind::Number(1, 1_000_000), Default("5"), "Connections of one user, over all pods; on each pod by itself while Redis does not answer.";
    MAX_CONNECTIONS_PER_USER_POLICY: Limits, Kind::Choice(names::<UserLimitPolicy>), Default("reject"),
        "What is closed with 4000 beyond that: the new connection, or the user's oldest one.";
    MAX_CONNECTIONS_PER_ADDRESS: Limits, Kind::Limit(1_000_000), Unset("100"),
        "Connections from one address on this pod. Behind proxies it needs `TRUSTED_PROXIES`, or all share one \
         address. Of IPv6, a /64 counts as one, here and below.";
    HANDSHAKES_PER_MINUTE_PER_ADDRESS: Limits, Kind::Limit(1_000_000), Unset("60"),
        "Upgrades a minute from one address on this pod, with bursts of as many; beyond it they are answered 429.";
    AUTH_FAILURES_PER_MINUTE_PER_ADDRESS: Limits, Kind::Limit(1_000_000), Unset("30"),
        "Refused tokens a minute from one address on this pod; beyond it its upgrades are answered 429, their tokens \
         not looked at.";
    MAX_MEMORY_PERCENT: Limits, Kind::Limit(100), Default("90"),
        "Share of the container's memory limit beyond which upgrades are answered 503, so that those who are there are \
         not killed with the pod. Pages of files are not counted. Without a limit nothing is refused.";
    HANDSHAKES_PER_SECOND: Limits, Kind::Limit(1_000_000), Unset("500"),
        "Upgrades a second on this pod, with bursts of as many; beyond it they are answered 503.";

    JWT_ALGORITHM: Tokens, Kind::Choice(names::<TokenAlgorithm>), Default("HS256"),
        "Signature algorithm of tokens. It is never taken from a token.";
    JWT_SECRET_KEY: Tokens, Kind::Secret, Unset(EXAMPLE_KEY),
        "Shared key of the HS algorithms; at least 32 bytes in production.";
    JWT_PUBLIC_KEY: Tokens, Kind::Secret, Unset("'-----BEGIN PUBLIC KEY-----…'"),
        "Public key of the other algorithms, in PEM; in place, `\\n` may stand for a line break.";
    JWT_PREVIOUS_SECRET_KEY: Tokens, Kind::Secret, Unset(EXAMPLE_KEY),
        "The shared key before the current one, still accepted while keys are rotated.";
    JWT_PREVIOUS_PUBLIC_KEY: Tokens, Kind::Secret, Unset("'-----BEGIN PUBLIC KEY-----…'"),
        "The public key before the current one, still accepted while keys are rotated.";
    JWT_KEYS_DIR: Tokens, Kind::Folder, Unset("/etc/websocket-service/keys"),
        "A folder with one key a file, reread when it changes; the file's name without its ending is the `kid`. \
         May take the place of the keys above.";
    JWT_JWKS_URL: Tokens, Kind::KeySets, Unset("https://login.example.com/.well-known/jwks.json"),
        "Where the issuer publishes its public keys, instead of the keys above; fetched at start, ahead of their age and for \
         a new `kid`. Several issuers: `<issuer>=<URL>` each, and a token's `iss` says which set it is verified with. Only \
         `https` in production.";
    JWT_ISSUER: Tokens, Kind::Text(1024), Unset("https://login.example.com"),
        "`iss` must be this. Not where `JWT_JWKS_URL` names issuers.";
    JWT_AUDIENCE: Tokens, Kind::Text(1024), Unset("notifications"),
        "`aud` must hold this; unset, a token's `aud` is not looked at.";
    JWT_LEEWAY_SECONDS: Tokens, Kind::Seconds(0, 5 * MINUTE), Default("5"),
        "Allowed difference of clocks for `exp` and `nbf`.";

    WEBSOCKET_HEARTBEAT_INTERVAL: Session, Kind::Seconds(1, 60 * MINUTE), Default("30"),
        "Time between pings, before jitter; less than the connection timeout.";
    WEBSOCKET_CONNECTION_TIMEOUT: Session, Kind::Seconds(1, 24 * 60 * MINUTE), Default("60"),
        "Silence after which a connection is closed with 4001.";
    ECHO: Session, Kind::Switch, Default("true"),
        "Whether a client's text is answered `Echo: <the text>`, a connection test.";
    MAX_MESSAGE_BYTES: Session, Kind::Bytes(1, 64 * MIB), Default("65536"),
        "Largest message in either direction; a larger one from a client closes with 1009.";
    CLIENT_MESSAGES_PER_SECOND: Session, Kind::Limit(1_000_000), Default("100"),
        "Messages and control frames a client may send a second, with bursts of twice as many; beyond it: 4003.";

    OUTBOX_BYTES: Outbox, Kind::Bytes(1, 1024 * MIB), Default("1MiB"),
        "Payload bytes that may wait for a slow client; at least `MAX_MESSAGE_BYTES`.";
    OUTBOX_MESSAGES: Outbox, Kind::Number(1, 1_000_000), Default("1024"), "Messages that may wait for a slow client.";
    OUTBOX_POLICY: Outbox, Kind::Choice(names::<OverflowPolicy>), Default("close"),
        "What happens beyond that: the connection is closed with 4002, or the oldest waiting messages make room.";
    BATCH_MAX_MESSAGES: Outbox, Kind::Number(1, 100_000), Default("64"), "Most messages in one write to a socket.";
    BATCH_LINGER_MS: Outbox, Kind::Milliseconds(1_000), Default("0"),
        "How long the first message of a batch may wait for others; 0 sends at once.";

    REDIS_URL: Backplane, Kind::Secret, Unset("redis://127.0.0.1:6379"),
        "`redis://` or `rediss://`. Unset, messages stay within this process: one pod only.";
    REDIS_SENTINELS: Backplane, Kind::Servers, Unset("sentinel-0:26379,sentinel-1:26379,sentinel-2:26379"),
        "Sentinels that are asked for the master. REDIS_URL then gives scheme, user, password and database of the \
         master; its host does not count. With `rediss://` the sentinels are spoken to by TLS as well.";
    REDIS_SENTINEL_MASTER: Backplane, Kind::Text(256), Default(DEFAULT_MASTER), "Name of the master that they watch.";
    REDIS_SENTINEL_USER: Backplane, Kind::Text(256), Unset("websocket"),
        "User at the sentinels, where they have one besides the default user.";
    REDIS_SENTINEL_PASSWORD: Backplane, Kind::Secret, Unset("change-me"),
        "Password at the sentinels; unset, nobody logs in there.";
    REDIS_CLUSTER_NODES: Backplane, Kind::Servers, Unset("redis-0:6379,redis-1:6379,redis-2:6379"),
        "Some nodes of a Redis Cluster; the others are learned from them. REDIS_URL then gives scheme, user and password \
         of all; its host does not count. Not together with REDIS_SENTINELS.";
    REDIS_CLUSTER_PUBSUB: Backplane, Kind::Choice(names::<ClusterPubSub>), Default("sharded"),
        "How messages with history travel in a cluster: `sharded` keeps each on the nodes that hold its user (Redis 7.0 \
         or later), `classic` tells them to every node. The publish script of `websocket-service publisher` follows it.";
    REDIS_TLS_CA: Backplane, Kind::Secret, Unset("'-----BEGIN CERTIFICATE-----…'"),
        "Authorities in PEM that are trusted for `rediss://` instead of the system's; read anew for each connection.";
    REDIS_TLS_CERTIFICATE: Backplane, Kind::Secret, Unset("'-----BEGIN CERTIFICATE-----…'"),
        "Client certificate in PEM with its chain, leaf first, for a Redis that asks for one; read anew for each \
         connection.";
    REDIS_TLS_KEY: Backplane, Kind::Secret, Unset("'-----BEGIN PRIVATE KEY-----…'"),
        "The client certificate's key in PEM.";
    WEBSOCKET_CHANNEL_PREFIX: Backplane, Kind::Text(256), Default("ws:"),
        "What stands before the user id in a channel's name; no braces while there is history.";
    API_KEY: Backplane, Kind::Secret, Unset("change-me"),
        "Key of the HTTP publish API; at least 16 bytes in production. Unset, that API is 404.";

    HISTORY_SIZE: History, Kind::Number(0, 100_000), Default("100"),
        "Messages of each user that are kept for clients that come back; Redis keeps up to a hundred more. 0 keeps none.";
    HISTORY_TTL_SECONDS: History, Kind::Seconds(1_000, 30 * 24 * 60 * MINUTE), Default("3600"),
        "How long they are kept after the user's last message; at least two thirds of it after the last resuming client left.";

    DRAIN_LAME_DUCK_SECONDS: Drain, Kind::Seconds(0, 60 * MINUTE), Default("10"),
        "How long upgrades are still accepted after SIGTERM, while the cluster learns that the pod goes.";
    DRAIN_SPREAD_SECONDS: Drain, Kind::Seconds(0, 60 * MINUTE), Default("60"),
        "Over how long the connections are closed, so that clients do not come back all at once.";
    DRAIN_LINGER_SECONDS: Drain, Kind::Seconds(0, 60 * MINUTE), Default("10"),
        "How long closed peers have to answer before they are cut.";
    DRAIN_CLOSE_CODE: Drain, Kind::Choice(names::<DrainClose>), Default("1012"),
        "Close code of a drain, for clients that know only 1001.";

    LOG_LEVEL: Logs, Kind::Choice(names::<LogLevel>), Default("INFO"),
        "Least level that is logged; `PUT /log-level` changes it at run time.";
    LOG_FORMAT: Logs, Kind::Choice(names::<LogFormat>), Unset("json"),
        "How a log line looks. Unset: `text` in development, `json` elsewhere.";
    TRACE_USER_IDS: Logs, Kind::Switch, Default("false"),
        "Whether spans show user ids as they are, not as pseudonyms. Tracing itself is switched on by the standard \
         `OTEL_EXPORTER_OTLP_ENDPOINT`.";
}
