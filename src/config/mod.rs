//! Settings: one struct a concern, every setting declared once, every fault reported at once.

mod auth;
mod backplane;
mod drain;
mod secret;
mod server;
mod session;
mod telemetry;

pub use auth::{AuthConfig, KeyMaterial, TokenAlgorithm};
pub use backplane::{BackplaneConfig, PublishConfig};
pub use drain::DrainConfig;
pub use secret::{Secret, SecretError};
pub use server::{AllowedOrigins, Environment, LimitsConfig, ServerConfig, UserLimitPolicy};
pub use session::{OutboxConfig, OverflowPolicy, SessionConfig};
pub use telemetry::{LogFormat, LogLevel, TelemetryConfig};

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
    /// How back ends publish over HTTP.
    pub publish: PublishConfig,
    /// How the pod goes.
    pub drain: DrainConfig,
    /// What is logged, and how.
    pub telemetry: TelemetryConfig,
}
