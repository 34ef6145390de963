//! The adapter's settings: flags, each also from the environment, and the rules between them.

use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::{NonZeroU16, NonZeroU32, NonZeroU64};
use std::path::PathBuf;

use clap::builder::NonEmptyStringValueParser as NotEmpty;
use clap::error::ErrorKind;
use clap::{CommandFactory, FromArgMatches, Parser};

use super::api::parse_selector;
use crate::config::{LogFormat, LogLevel, RedisReach, RedisReachArgs, Secret, TelemetryConfig, parse_choice};

const EPILOGUE: &str = "\
Give either --tls-certificate and --tls-key, or --tls-secret, --service and --lease. Flags beat the environment. \
docs/metrics-adapter.md tells more.

Exit codes: 0 done, 1 failed, 64 wrong usage.";

/// Serves the connection counts of a Deployment's pods to the HorizontalPodAutoscaler, as custom.metrics.k8s.io.
#[derive(Debug, Parser)]
#[command(name = "metrics-adapter", version, max_term_width = 110, after_help = EPILOGUE)]
struct Flags {
    /// Namespace of the Deployment and of the adapter itself; without it that of --pod-namespace.
    #[arg(long, env = "METRICS_ADAPTER_NAMESPACE", value_name = "NAME", value_parser = NotEmpty::new())]
    namespace: Option<String>,
    /// Namespace of the adapter's pod, from the downward API.
    #[arg(long, env = "POD_NAMESPACE", value_name = "NAME", value_parser = NotEmpty::new())]
    pod_namespace: Option<String>,
    /// Name of the adapter's pod, from the downward API: who leads, in the Lease.
    #[arg(long, env = "POD_NAME", value_name = "NAME", value_parser = NotEmpty::new())]
    pod_name: Option<String>,
    /// The Deployment that the metrics describe.
    #[arg(long, env = "METRICS_ADAPTER_DEPLOYMENT", value_name = "NAME", value_parser = NotEmpty::new())]
    deployment: String,
    /// Label selector of the Deployment's pods.
    #[arg(long, env = "METRICS_ADAPTER_SELECTOR", value_name = "SELECTOR", value_parser = selector)]
    selector: String,
    /// Address of both ports.
    #[arg(long, env = "METRICS_ADAPTER_HOST", value_name = "ADDRESS", default_value_t = IpAddr::V4(Ipv4Addr::UNSPECIFIED))]
    host: IpAddr,
    /// Port of the metrics' API, TLS.
    #[arg(long, env = "METRICS_ADAPTER_PORT", value_name = "NUMBER", default_value_t = 10_250)]
    port: u16,
    /// Port of /healthz, /readyz and /metrics, plain HTTP.
    #[arg(long, env = "METRICS_ADAPTER_HEALTH_PORT", value_name = "NUMBER", default_value_t = 9006)]
    health_port: u16,
    /// Port of the pods' own gauges, which are asked while Redis is away.
    #[arg(long, env = "METRICS_ADAPTER_GAUGE_PORT", value_name = "NUMBER", default_value = "9005")]
    gauge_port: NonZeroU16,
    /// URL of the Redis with the pods' reports; without it the pods' own gauges are always asked. Other users may see
    /// flags: the environment or --redis-url-file is better.
    #[arg(long, env = "WEBSOCKET_SERVICE_REDIS_URL", value_name = "URL", hide_env_values = true, value_parser = NotEmpty::new())]
    redis_url: Option<String>,
    /// File that holds --redis-url; read anew at each connect.
    #[arg(long, env = "WEBSOCKET_SERVICE_REDIS_URL_FILE", value_name = "FILE")]
    redis_url_file: Option<PathBuf>,
    #[command(flatten)]
    redis_reach: RedisReachArgs,
    /// PEM file of the certificate chain to show, leaf first; read anew when it changes.
    #[arg(long, env = "METRICS_ADAPTER_TLS_CERTIFICATE", value_name = "FILE")]
    tls_certificate: Option<PathBuf>,
    /// PEM file of the certificate's key; read anew when it changes.
    #[arg(long, env = "METRICS_ADAPTER_TLS_KEY", value_name = "FILE")]
    tls_key: Option<PathBuf>,
    /// Secret that keeps the adapter's own authority and certificate, which it makes itself.
    #[arg(long, env = "METRICS_ADAPTER_TLS_SECRET", value_name = "NAME", value_parser = NotEmpty::new())]
    tls_secret: Option<String>,
    /// Service in front of the adapter; its own certificate is for <service>.<namespace>.svc.
    #[arg(long, env = "METRICS_ADAPTER_SERVICE", value_name = "NAME", value_parser = NotEmpty::new())]
    service: Option<String>,
    /// Lease that elects the one adapter which writes to the cluster.
    #[arg(long, env = "METRICS_ADAPTER_LEASE", value_name = "NAME", value_parser = NotEmpty::new())]
    lease: Option<String>,
    /// Connections a pod that the autoscaler aims at; without it no pod's deletion cost is written.
    #[arg(long, env = "METRICS_ADAPTER_TARGET", value_name = "CONNECTIONS")]
    target: Option<NonZeroU64>,
    /// The autoscaler's least number of pods, for the deletion cost.
    #[arg(long, env = "METRICS_ADAPTER_MIN_REPLICAS", value_name = "NUMBER", default_value = "1")]
    min_replicas: NonZeroU32,
    /// Least level that is logged: TRACE, DEBUG, INFO, WARNING or ERROR.
    #[arg(long, env = "WEBSOCKET_SERVICE_LOG_LEVEL", value_name = "NAME", default_value = "INFO", value_parser = parse_choice::<LogLevel>)]
    log_level: LogLevel,
    /// How a log line looks: text or json.
    #[arg(long, env = "WEBSOCKET_SERVICE_LOG_FORMAT", value_name = "NAME", default_value = "json", value_parser = parse_choice::<LogFormat>)]
    log_format: LogFormat,
}

/// What the adapter runs with; every combination that this type can hold is a sound one.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where the Deployment and the adapter are.
    pub namespace: String,
    /// The Deployment that the metrics describe.
    pub deployment: String,
    /// Label selector of its pods, as given.
    pub selector: String,
    /// Where the metrics' API listens.
    pub listen: SocketAddr,
    /// Where health and the adapter's own metrics are.
    pub health: SocketAddr,
    /// Port of the pods' own gauges.
    pub gauge_port: u16,
    /// The Redis with the pods' reports; `None`: the pods' own gauges are always asked.
    pub redis_url: Option<Secret>,
    /// How it is reached beyond that.
    pub redis_reach: RedisReach,
    /// Where the certificate to show comes from.
    pub certificate: CertificateSource,
    /// How the one that writes to the cluster is elected; `None` when there is nothing to write.
    pub leadership: Option<Leadership>,
    /// What the pods' deletion cost is made from; `None`: it is not written.
    pub deletion_cost: Option<DeletionCost>,
    /// What is logged, and how.
    pub telemetry: TelemetryConfig,
}

/// Where the certificate to show comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CertificateSource {
    /// Mounted files, which somebody else renews. Neither a Secret nor an APIService is touched.
    Files {
        /// PEM of the chain, leaf first.
        certificate: PathBuf,
        /// PEM of the leaf's key.
        key: PathBuf,
    },
    /// Made by the adapter, whose leader keeps it in a Secret and tells the APIServices its authority.
    SelfMade {
        /// The Secret's name.
        secret: String,
        /// The Service whose `<service>.<namespace>.svc` the certificate is for.
        service: String,
    },
}

/// How the leader is elected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leadership {
    /// The Lease's name.
    pub lease: String,
    /// This candidate: its pod's name.
    pub identity: String,
}

/// What the autoscaler goes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeletionCost {
    /// Connections a pod that it aims at.
    pub target: NonZeroU64,
    /// Fewest pods that it leaves.
    pub min_replicas: NonZeroU32,
}

impl Settings {
    /// Reads the command line, whose first argument is the program's name, and the environment.
    ///
    /// # Errors
    /// What is to be shown instead of going on: a usage error with exit code 64, the help or the version.
    pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        let matches = Flags::command().try_get_matches_from(arguments)?;
        let flags = Flags::from_arg_matches(&matches)?;
        flags.settings().map_err(|sentence| Flags::command().error(ErrorKind::ArgumentConflict, sentence))
    }
}

impl Flags {
    fn settings(self) -> Result<Settings, String> {
        let namespace = self.namespace.or(self.pod_namespace).ok_or("give --namespace or POD_NAMESPACE")?;
        let redis_url = match (self.redis_url, self.redis_url_file) {
            (Some(_), Some(_)) => return Err("give --redis-url or --redis-url-file, not both".to_owned()),
            (Some(url), None) => Some(Secret::inline(url)),
            (None, file) => file.map(Secret::File),
        };
        let redis_reach = self.redis_reach.reach()?;
        let certificate = match (self.tls_certificate, self.tls_key, self.tls_secret, self.service) {
            (Some(certificate), Some(key), None, _) => CertificateSource::Files { certificate, key },
            (None, None, Some(secret), Some(service)) => CertificateSource::SelfMade { secret, service },
            (None, None, Some(_), None) => {
                return Err("--tls-secret needs --service, whose name the certificate is for".to_owned());
            }
            (Some(_), None, ..) => return Err("--tls-certificate needs --tls-key".to_owned()),
            (None, Some(_), ..) => return Err("--tls-key needs --tls-certificate".to_owned()),
            (Some(_), Some(_), Some(_), _) => {
                return Err("give --tls-certificate and --tls-key, or --tls-secret, not both".to_owned());
            }
            (None, None, None, _) => {
                return Err(
                    "give --tls-certificate and --tls-key, or --tls-secret, --service and --lease".to_owned()
                );
            }
        };
        let deletion_cost =
            self.target.map(|target| DeletionCost { target, min_replicas: self.min_replicas });
        let leads = deletion_cost.is_some() || matches!(certificate, CertificateSource::SelfMade { .. });
        let leadership = match (leads, self.lease, self.pod_name) {
            (false, ..) => None,
            (true, Some(lease), Some(identity)) => Some(Leadership { lease, identity }),
            (true, None, _) => {
                return Err("--tls-secret and --target need --lease: only one adapter may write".to_owned());
            }
            (true, _, None) => return Err("--lease needs --pod-name or POD_NAME: who leads".to_owned()),
        };
        Ok(Settings {
            namespace,
            deployment: self.deployment,
            selector: self.selector,
            listen: SocketAddr::new(self.host, self.port),
            health: SocketAddr::new(self.host, self.health_port),
            gauge_port: self.gauge_port.get(),
            redis_url,
            redis_reach,
            certificate,
            leadership,
            deletion_cost,
            telemetry: TelemetryConfig { level: self.log_level, format: self.log_format },
        })
    }
}

/// A selector of labels; an empty one would take every pod of the namespace for the Deployment's.
fn selector(text: &str) -> Result<String, String> {
    match parse_selector(text) {
        Ok(selector) if selector.selects_all() => Err("selects every pod of the namespace".to_owned()),
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// The declared command line, for the documentation.
#[cfg(test)]
pub(super) fn command() -> clap::Command {
    Flags::command()
}

#[cfg(test)]
#[path = "settings_tests.rs"]
mod tests;
