//! Settings: one struct a concern, every setting declared once, every fault reported at once.
//!
//! [`SETTINGS`] declares them; names in the environment, in YAML and on the command line, `--help` and
//! `docs/settings.md` follow from it. [`Sources`] holds what the values are read from, [`Config::load`] lays the
//! sources over each other, reads the texts into the structs below and applies the rules between them.

mod auth;
mod backplane;
mod check;
mod choice;
#[cfg(test)]
mod doc;
mod drain;
mod fault;
mod history;
mod jwks;
mod keys;
mod layers;
mod links;
mod networks;
mod parse;
mod pem;
mod reach;
mod reach_args;
mod secret;
mod server;
mod session;
mod setting;
mod source;
mod table;
mod telemetry;
#[cfg(test)]
mod tests;
mod traces;
mod values;
mod yaml;

pub use auth::{AuthConfig, KeyMaterial, TokenAlgorithm};
pub use backplane::{BackplaneConfig, PublishConfig};
pub use choice::{Choice, parse_choice};
pub use drain::DrainConfig;
pub use fault::{Fault, Faults, Source};
pub use history::HistoryConfig;
pub use jwks::KeySetUrl;
pub(crate) use layers::kebab;
pub use networks::Networks;
pub use pem::TlsIdentity;
pub use reach::{ClusterConfig, ClusterPubSub, HostPort, RedisReach, RedisTlsConfig, SentinelConfig};
pub use reach_args::RedisReachArgs;
pub use secret::{Secret, SecretError};
pub use server::{AllowedOrigins, Environment, LimitsConfig, ServerConfig, UserLimitPolicy};
pub use session::{OutboxConfig, OverflowPolicy, SessionConfig};
pub use setting::{Form, Group, Initial, Kind, PREFIX, Setting};
pub use source::{MAX_FILE_BYTES, Sources};
pub use table::SETTINGS;
pub use telemetry::{LogFormat, LogLevel, TelemetryConfig};
pub use traces::{TraceConfig, TraceExport, TraceProtocol, TraceSampling};
pub use values::Origin;
use values::Values;

/// All settings in force.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// What kind of place this is; decides what is made up when it is missing.
    pub environment: Environment,
    /// Ports, origins, how refusals are told.
    pub server: ServerConfig,
    /// How many connections, and how fast.
    pub limits: LimitsConfig,
    /// How tokens are verified.
    pub auth: AuthConfig,
    /// One connection's life.
    pub session: SessionConfig,
    /// How messages reach this pod.
    pub backplane: BackplaneConfig,
    /// What is kept of each user's messages.
    pub history: HistoryConfig,
    /// How back ends publish over HTTP.
    pub publish: PublishConfig,
    /// How the pod goes.
    pub drain: DrainConfig,
    /// What is logged, and how.
    pub telemetry: TelemetryConfig,
    /// Spans.
    pub traces: TraceConfig,
}

/// A sound configuration, and where each value came from.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The settings.
    pub config: Config,
    /// The same as text, in the order of [`SETTINGS`]; secrets are hidden.
    pub origins: Vec<Origin>,
}

impl Config {
    /// Reads and checks all settings. Reads the files of secrets given as `…_FILE`, to see that they can be.
    ///
    /// # Errors
    /// [`Faults`]: everything that is wrong, at once.
    pub fn load(sources: &Sources) -> Result<Loaded, Faults> {
        let mut values = Values::new(sources);
        let environment = values.choice(&table::ENVIRONMENT).unwrap_or_default();
        let config = Self {
            environment,
            server: ServerConfig::read(&mut values),
            limits: LimitsConfig::read(&mut values),
            auth: AuthConfig::read(&mut values),
            session: SessionConfig::read(&mut values),
            backplane: BackplaneConfig::read(&mut values),
            history: HistoryConfig::read(&mut values),
            publish: PublishConfig::read(&mut values),
            drain: DrainConfig::read(&mut values),
            telemetry: TelemetryConfig::read(&mut values, environment),
            traces: TraceConfig::read(&mut values),
        };
        check::check(&config, &mut values);
        let origins = values.finish().map_err(Faults::new)?;
        Ok(Loaded { config, origins })
    }
}
