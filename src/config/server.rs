use super::choice::Refusal;
use super::table;
use super::values::Values;
use super::{Networks, TlsIdentity};

/// What kind of place the service runs in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Environment {
    /// A developer's machine: a missing key is made up, `/` serves a page to try things with.
    #[default]
    Development,
    /// Automated tests.
    Testing,
    /// Like production, but for the rules on keys.
    Staging,
    /// Refuses to start with a missing, example or short key.
    Production,
}

/// Which browsers may connect, by their `Origin`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AllowedOrigins {
    /// `*`: any.
    Any,
    /// These, compared as a whole (scheme, host and port) without regard to ASCII case.
    List(Vec<String>),
}

/// What happens to a connection beyond the user's limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum UserLimitPolicy {
    /// The new one is closed with 4000.
    #[default]
    Reject,
    /// The user's oldest one is closed with 4000.
    EvictOldest,
}

/// Ports, origins, how refusals are told.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// Address both listeners bind (`HOST`).
    pub host: std::net::IpAddr,
    /// Public port (`PORT`); 0 picks a free one.
    pub port: u16,
    /// Cluster-internal port (`ADMIN_PORT`); 0 picks a free one.
    pub admin_port: u16,
    /// Whose word on a client's address is taken (`TRUSTED_PROXIES`).
    pub trusted_proxies: Networks,
    /// Whether those say by the PROXY protocol whose a connection is (`PROXY_PROTOCOL`).
    pub proxy_protocol: bool,
    /// What the public port shows by TLS (`TLS_CERTIFICATE`, `TLS_KEY`); without it that is plain.
    pub tls: Option<TlsIdentity>,
    /// `ALLOWED_ORIGINS`.
    pub allowed_origins: AllowedOrigins,
    /// `REJECT_WITH=http`: a refused token is answered 401 instead of an upgrade and close 1008.
    pub reject_with_http: bool,
    /// `PUBLIC_METRICS`: whether the public port serves `/metrics` too.
    pub public_metrics: bool,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            host: std::net::Ipv4Addr::UNSPECIFIED.into(),
            port: 8004,
            admin_port: 9004,
            trusted_proxies: Networks::default(),
            proxy_protocol: false,
            tls: None,
            allowed_origins: AllowedOrigins::List(vec!["http://localhost:3000".to_owned()]),
            reject_with_http: false,
            public_metrics: true,
        }
    }
}

/// How many connections, and how fast. `None` is no limit.
#[derive(Debug, Clone)]
pub struct LimitsConfig {
    /// Connections of this pod (`MAX_CONNECTIONS`).
    pub connections: usize,
    /// Connections of one user, over all pods (`MAX_CONNECTIONS_PER_USER`).
    pub per_user: usize,
    /// `MAX_CONNECTIONS_PER_USER_POLICY`.
    pub per_user_policy: UserLimitPolicy,
    /// Connections from one address on this pod (`MAX_CONNECTIONS_PER_ADDRESS`); unset or 0 is no limit.
    pub per_address: Option<usize>,
    /// Upgrades a second on this pod (`HANDSHAKES_PER_SECOND`), with bursts of as many; unset or 0 is no limit.
    pub handshakes_per_second: Option<u32>,
    /// Upgrades a minute from one address (`HANDSHAKES_PER_MINUTE_PER_ADDRESS`); unset or 0 is no limit.
    pub handshakes_per_address: Option<u32>,
    /// Refused tokens a minute from one address (`AUTH_FAILURES_PER_MINUTE_PER_ADDRESS`); unset or 0 is no limit.
    pub failures_per_address: Option<u32>,
    /// Share of the memory limit beyond which nobody comes in (`MAX_MEMORY_PERCENT`); 0 is no limit.
    pub memory_percent: Option<u64>,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            connections: 10_000,
            per_user: 5,
            per_user_policy: UserLimitPolicy::Reject,
            per_address: None,
            handshakes_per_second: None,
            handshakes_per_address: None,
            failures_per_address: None,
            memory_percent: Some(90),
        }
    }
}

impl ServerConfig {
    pub(super) fn read(values: &mut Values) -> Self {
        let default = Self::default();
        Self {
            host: values.address(&table::HOST).unwrap_or(default.host),
            port: values.number(&table::PORT).unwrap_or(default.port),
            admin_port: values.number(&table::ADMIN_PORT).unwrap_or(default.admin_port),
            trusted_proxies: values.networks(&table::TRUSTED_PROXIES).unwrap_or_default(),
            proxy_protocol: values.switch(&table::PROXY_PROTOCOL).unwrap_or(default.proxy_protocol),
            tls: TlsIdentity::read(values, &table::TLS_CERTIFICATE, &table::TLS_KEY),
            allowed_origins: values.origins(&table::ALLOWED_ORIGINS).unwrap_or(default.allowed_origins),
            reject_with_http: values
                .choice(&table::REJECT_WITH)
                .map_or(default.reject_with_http, |refusal: Refusal| refusal.http),
            public_metrics: values.switch(&table::PUBLIC_METRICS).unwrap_or(default.public_metrics),
        }
    }
}

impl LimitsConfig {
    pub(super) fn read(values: &mut Values) -> Self {
        let default = Self::default();
        Self {
            connections: values.number(&table::MAX_CONNECTIONS).unwrap_or(default.connections),
            per_user: values.number(&table::MAX_CONNECTIONS_PER_USER).unwrap_or(default.per_user),
            per_user_policy: values
                .choice(&table::MAX_CONNECTIONS_PER_USER_POLICY)
                .unwrap_or(default.per_user_policy),
            per_address: values.limit(&table::MAX_CONNECTIONS_PER_ADDRESS),
            handshakes_per_second: values.limit(&table::HANDSHAKES_PER_SECOND),
            handshakes_per_address: values.limit(&table::HANDSHAKES_PER_MINUTE_PER_ADDRESS),
            failures_per_address: values.limit(&table::AUTH_FAILURES_PER_MINUTE_PER_ADDRESS),
            memory_percent: values.limit(&table::MAX_MEMORY_PERCENT),
        }
    }
}
