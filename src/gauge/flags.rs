//! The command line, each flag also from the environment.

use std::ffi::OsString;
use std::net::{IpAddr, SocketAddr};

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};

use crate::backplane::redis::{Connector, StartError, Tuning};
use crate::config::{
    BackplaneConfig, LogFormat, LogLevel, RedisReachArgs, Secret, TelemetryConfig, parse_choice,
};

const EPILOGUE: &str = "Exit codes: 0 done, 1 failed, 64 wrong usage.";

/// Longest name that Kubernetes gives to anything here.
const MAX_NAME: usize = 253;

/// Reads a pod's connections from its /status, shows them on /metrics and tells them to the fleet through Redis.
#[derive(Debug, Parser)]
#[command(name = "connection-gauge", version, max_term_width = 110, after_help = EPILOGUE)]
pub(super) struct Flags {
    /// Where the service tells its connections; plain HTTP.
    #[arg(long, value_name = "URL", env = "CONNECTION_GAUGE_STATUS_URL", value_parser = status_url)]
    #[arg(default_value = "http://127.0.0.1:9004/status")]
    status_url: String,

    /// Address to listen on.
    #[arg(long, value_name = "ADDRESS", env = "CONNECTION_GAUGE_HOST", default_value = "0.0.0.0")]
    host: IpAddr,

    /// Port of /metrics, /gauge and /healthz.
    #[arg(long, value_name = "PORT", env = "CONNECTION_GAUGE_PORT", default_value = "9005", value_parser = port)]
    port: u16,

    /// Redis to report to (redis://, rediss:// or unix://); without it there are only /metrics and /gauge. Other users may
    /// see flags: the environment or --redis-url-file is better.
    #[arg(long, value_name = "URL", env = "WEBSOCKET_SERVICE_REDIS_URL", hide_env_values = true)]
    redis_url: Option<String>,

    /// File that holds the URL of Redis; reread at each connect.
    #[arg(long, value_name = "FILE", env = "WEBSOCKET_SERVICE_REDIS_URL_FILE")]
    redis_url_file: Option<String>,

    #[command(flatten)]
    redis_reach: RedisReachArgs,

    /// The pod's name (`metadata.name`); required.
    #[arg(long, value_name = "NAME", env = "POD_NAME", default_value = "", value_parser = name)]
    #[arg(hide_default_value = true)]
    pod_name: String,

    /// The pod's namespace (`metadata.namespace`); required.
    #[arg(long, value_name = "NAME", env = "POD_NAMESPACE", default_value = "", value_parser = name)]
    #[arg(hide_default_value = true)]
    pod_namespace: String,

    /// The pod's UID (`metadata.uid`); required.
    #[arg(long, value_name = "UID", env = "POD_UID", default_value = "", value_parser = name)]
    #[arg(hide_default_value = true)]
    pod_uid: String,

    /// The node that the pod runs on (`spec.nodeName`).
    #[arg(long, value_name = "NAME", env = "NODE_NAME", default_value = "", value_parser = name)]
    #[arg(hide_default_value = true)]
    node_name: String,

    /// The pod's address (`status.podIP`), under which other pods reach the service's admin port.
    #[arg(long, value_name = "ADDRESS", env = "POD_IP", default_value = "", value_parser = address)]
    #[arg(hide_default_value = true)]
    pod_ip: String,

    /// The pod template's hash (the label `pod-template-hash`), which tells one rollout from the next.
    #[arg(long, value_name = "HASH", env = "POD_TEMPLATE_HASH", default_value = "", value_parser = name)]
    #[arg(hide_default_value = true)]
    revision: String,

    /// Name of the Deployment whose pods are summed up; required.
    #[arg(long, value_name = "NAME", env = "CONNECTION_GAUGE_FLEET", default_value = "", value_parser = name)]
    #[arg(hide_default_value = true)]
    fleet: String,

    /// Least level that is logged: TRACE, DEBUG, INFO, WARNING or ERROR.
    #[arg(long, value_name = "NAME", env = "WEBSOCKET_SERVICE_LOG_LEVEL", default_value = "INFO")]
    #[arg(value_parser = parse_choice::<LogLevel>)]
    log_level: LogLevel,

    /// How a log line looks: text or json.
    #[arg(long, value_name = "NAME", env = "WEBSOCKET_SERVICE_LOG_FORMAT", default_value = "json")]
    #[arg(value_parser = parse_choice::<LogFormat>)]
    log_format: LogFormat,
}

/// Who reports.
#[derive(Debug, Clone, Default)]
pub struct Identity {
    /// The pod's name.
    pub pod: String,
    /// The pod's namespace.
    pub namespace: String,
    /// The pod's UID.
    pub uid: String,
    /// The node that it runs on; empty when unknown.
    pub node: String,
    /// The pod template's hash; empty when unknown.
    pub revision: String,
    /// The Deployment that it belongs to.
    pub fleet: String,
    /// Where other pods reach its admin port; none when unknown.
    pub admin: Option<SocketAddr>,
}

/// What the command line asks for, checked.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where the service tells its connections.
    pub status_url: String,
    /// Where to listen.
    pub address: SocketAddr,
    /// Where to report; none is nowhere.
    pub redis: Option<Connector>,
    /// Who reports.
    pub identity: Identity,
    /// What is logged, and how.
    pub telemetry: TelemetryConfig,
}

/// Reads the command line; the first argument is the program's name.
///
/// # Errors
/// What is to be shown instead of going on: a usage error, the help or the version.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Settings, clap::Error> {
    let flags = Flags::try_parse_from(arguments)?;
    let fault = |kind, text: String| Flags::command().error(kind, text);
    let required = [
        ("--pod-name", "POD_NAME", &flags.pod_name),
        ("--pod-namespace", "POD_NAMESPACE", &flags.pod_namespace),
        ("--pod-uid", "POD_UID", &flags.pod_uid),
        ("--fleet", "CONNECTION_GAUGE_FLEET", &flags.fleet),
    ];
    let missing: Vec<String> = required
        .iter()
        .filter(|(_, _, value)| value.is_empty())
        .map(|(flag, variable, _)| format!("{flag} is missing: give it, or set {variable}"))
        .collect();
    if !missing.is_empty() {
        return Err(fault(ErrorKind::MissingRequiredArgument, missing.join("\nerror: ")));
    }
    let redis = redis(&flags).map_err(|text| fault(ErrorKind::ValueValidation, text))?;
    let admin = admin(&flags.pod_ip, &flags.status_url);
    Ok(Settings {
        status_url: flags.status_url,
        address: SocketAddr::new(flags.host, flags.port),
        redis,
        identity: Identity {
            pod: flags.pod_name,
            namespace: flags.pod_namespace,
            uid: flags.pod_uid,
            node: flags.node_name,
            revision: flags.revision,
            fleet: flags.fleet,
            admin,
        },
        telemetry: TelemetryConfig { level: flags.log_level, format: flags.log_format },
    })
}

/// An empty text is no value, as in the service's settings. A file that cannot be read yet is no fault: the pod would
/// wait for the sidecar, and the sidecar for the file.
fn redis(flags: &Flags) -> Result<Option<Connector>, String> {
    let url = flags.redis_url.as_deref().filter(|url| !url.is_empty());
    let file = flags.redis_url_file.as_deref().filter(|file| !file.is_empty());
    let (flag, secret) = match (url, file) {
        (None, None) => return Ok(None),
        (Some(_), Some(_)) => {
            return Err(
                "--redis-url and --redis-url-file are both given: leave one out (they may come from \
                        WEBSOCKET_SERVICE_REDIS_URL and WEBSOCKET_SERVICE_REDIS_URL_FILE)"
                    .to_owned(),
            );
        }
        (Some(url), None) => ("--redis-url", Secret::inline(url)),
        (None, Some(file)) => ("--redis-url-file", Secret::File(file.into())),
    };
    let reach = flags.redis_reach.reach()?;
    let config = BackplaneConfig { redis_url: Some(secret), reach, ..BackplaneConfig::default() };
    let tuning = Tuning { connect: super::report::BOUND, ..Tuning::default() };
    match Connector::new(&config, &format!("{}-gauge", flags.pod_name), &tuning) {
        Ok(connector) => Ok(Some(connector)),
        // Fixed words: neither the URL nor parts of it may be shown.
        Err(StartError::Url(_) | StartError::NoUrl) => Err(format!(
            "{flag} has no usable URL: give redis://[user:password@]host[:port][/database], or rediss:// for TLS"
        )),
    }
}

fn status_url(text: &str) -> Result<String, String> {
    let uri: Option<http::Uri> = text.parse().ok();
    let sound =
        uri.is_some_and(|uri| uri.scheme_str() == Some("http") && uri.host().is_some_and(|h| !h.is_empty()));
    if sound { Ok(text.to_owned()) } else { Err("give http://HOST:PORT/status".to_owned()) }
}

/// The pod's address with the port on which the service is asked within the pod.
fn admin(pod_ip: &str, status_url: &str) -> Option<SocketAddr> {
    let uri: http::Uri = status_url.parse().ok()?;
    Some(SocketAddr::new(pod_ip.parse().ok()?, uri.port_u16().unwrap_or(80)))
}

fn address(text: &str) -> Result<String, String> {
    if text.is_empty() || text.parse::<IpAddr>().is_ok() {
        Ok(text.to_owned())
    } else {
        Err("give an IP address".to_owned())
    }
}

fn port(text: &str) -> Result<u16, String> {
    text.parse().map_err(|_| {
        if text.starts_with("tcp://") {
            "Kubernetes made this variable for a Service called connection-gauge: set enableServiceLinks: false \
             in the pod, or give --port"
                .to_owned()
        } else {
            "give a number from 0 to 65535; 0 is any free port".to_owned()
        }
    })
}

fn name(text: &str) -> Result<String, String> {
    if text.len() <= MAX_NAME && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        Ok(text.to_owned())
    } else {
        Err(format!("give at most {MAX_NAME} letters, digits and signs, without spaces"))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::gauge) fn identity() -> Identity {
        let text = |text: &str| text.to_owned();
        Identity {
            pod: text("ws-1"),
            namespace: text("chat"),
            uid: text("0b6f"),
            node: text("node-a"),
            revision: text("7d4"),
            fleet: text("ws"),
            admin: Some(SocketAddr::from(([10, 0, 0, 7], 9004))),
        }
    }

    const OWN: &[&str] =
        &["connection-gauge", "--pod-name=ws-1", "--pod-namespace=chat", "--pod-uid=0b6f", "--fleet=ws"];

    fn parsed(more: &[&str]) -> Result<Settings, String> {
        parse(OWN.iter().chain(more).map(OsString::from)).map_err(|error| error.to_string())
    }

    #[test]
    fn the_declaration_is_sound() {
        Flags::command().debug_assert();
    }

    #[test]
    fn what_is_not_given_has_its_default() {
        let settings = parsed(&[]).expect("sound");
        assert_eq!(settings.status_url, "http://127.0.0.1:9004/status");
        assert_eq!(settings.address.to_string(), "0.0.0.0:9005");
        assert!(settings.redis.is_none() && settings.identity.admin.is_none());
        assert_eq!(settings.telemetry.format, LogFormat::Json);
        assert!(parsed(&["--redis-url=", "--redis-url-file="]).expect("no value").redis.is_none());
        assert!(parsed(&["--redis-url-file=/not/there/yet"]).expect("may come").redis.is_some());
    }

    #[test]
    fn the_admin_port_is_that_of_status_at_the_pod_s_address() {
        for (pod_ip, status_url, expected) in [
            ("10.0.0.7", "http://127.0.0.1:9004/status", "10.0.0.7:9004"),
            ("fd00::7", "http://[::1]:1234/status", "[fd00::7]:1234"),
            ("10.0.0.7", "http://localhost/status", "10.0.0.7:80"),
        ] {
            let settings = parsed(&[&format!("--pod-ip={pod_ip}"), &format!("--status-url={status_url}")]);
            let admin = settings.expect("sound").identity.admin.expect("an address");
            assert_eq!(admin.to_string(), expected);
        }
        assert_eq!(parsed(&["--pod-ip="]).expect("no value").identity.admin, None);
    }

    #[test]
    fn faults_say_what_to_do_and_show_no_secret() {
        for (more, part) in [
            (&["--status-url=127.0.0.1:9004"][..], "http://HOST:PORT/status"),
            (&["--status-url=https://ws/status"], "http://HOST:PORT/status"),
            (&["--port=tcp://10.0.0.1:9005"], "enableServiceLinks"),
            (&["--port=65536"], "0 to 65535"),
            (&["--host=localhost"], "--host"),
            (&["--node-name=a b"], "without spaces"),
            (&["--pod-ip=ws-1"], "give an IP address"),
            (&["--log-level=loud"], "WARNING"),
            (&["--log-format=xml"], "text, json"),
            (&["--redis-url=http://:hush@redis"], "--redis-url has no usable URL: give redis://"),
            (&["--redis-url=redis://hush", "--redis-url-file=f"], "leave one out"),
            (&["--pod-uid="], "--pod-uid is missing: give it, or set POD_UID"),
        ] {
            // The later of two wins nowhere: each is given once.
            let own = OWN
                .iter()
                .filter(|own| !more.iter().any(|more| more.starts_with(*own) || own.starts_with(*more)));
            let error = parse(own.chain(more).map(OsString::from)).expect_err(part).to_string();
            assert!(error.contains(part) && !error.contains("hush"), "{error}");
        }
    }
}
