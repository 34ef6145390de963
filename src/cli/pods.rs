//! Which pods a command is about: those of `--url`, else those that report to Redis, else the one on this machine.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::{Context, bail};

use crate::config::{Config, ServerConfig};
use crate::fleet::{Pods, ReadError, Reading, Reports, Source};

/// Arguments of commands about pods.
#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct PodsArgs {
    /// A pod's admin port, `http://HOST:9004`; may be given for several. Without it: all pods of the fleet where `REDIS_URL` is
    /// set, else the one on this machine
    #[arg(long, value_name = "URL", value_parser = base)]
    url: Vec<String>,
    /// The fleet whose pods report to Redis: namespace and Deployment. A pod of the chart knows its own
    #[arg(long, value_name = "NAMESPACE/FLEET", env = "CONNECTION_GAUGE_FLEET")]
    fleet: Option<String>,
    /// Namespace of a fleet that is given without one; a pod of the chart knows its own
    #[arg(long, value_name = "NAME", env = "POD_NAMESPACE", hide = true)]
    pod_namespace: Option<String>,
}

impl PodsArgs {
    /// Where the pods are read.
    ///
    /// # Errors
    /// When the fleet's name or the local admin port is not known, or `REDIS_URL` is no URL.
    pub(super) fn source(&self, config: &Config) -> anyhow::Result<Source> {
        if !self.url.is_empty() {
            return Ok(Source::Pods(Pods::new(self.url.clone())));
        }
        if config.backplane.redis_url.is_none() {
            return Ok(Source::Pods(Pods::new(vec![own_url(&config.server)?])));
        }
        let (namespace, fleet) = self.named().context(
            "the fleet in Redis is not known: give --fleet NAMESPACE/DEPLOYMENT (a pod of the chart has it in \
             POD_NAMESPACE and CONNECTION_GAUGE_FLEET), or ask pods with --url http://HOST:9004",
        )?;
        Ok(Source::Redis(Reports::new(&config.backplane, namespace, fleet)?))
    }

    fn named(&self) -> Option<(&str, &str)> {
        let fleet = self.fleet.as_deref()?;
        let (namespace, fleet) = match fleet.split_once('/') {
            Some(both) => both,
            None => (self.pod_namespace.as_deref()?, fleet),
        };
        (!namespace.is_empty() && !fleet.is_empty()).then_some((namespace, fleet))
    }
}

/// Reads the pods; there is at least one then.
///
/// # Errors
/// When they cannot be read, with what to do about it, or when there are none.
pub(super) async fn read(source: &mut Source) -> anyhow::Result<Reading> {
    let reading = source.read().await.map_err(explained)?;
    if let (Source::Redis(reports), true) = (&*source, reading.pods.is_empty()) {
        bail!(
            "no pod of {} reports to this Redis: see that --fleet names namespace and Deployment, and that the \
             pods' connection-gauge runs",
            reports.name()
        );
    }
    Ok(reading)
}

fn explained(error: ReadError) -> anyhow::Error {
    let advice = match error {
        ReadError::Silent(_) => {
            "no pod answers; give its admin port with --url, or REDIS_URL for all pods of a fleet"
        }
        ReadError::Connect(_) | ReadError::Timeout(_) | ReadError::Redis(_) => {
            "cannot read the fleet's reports; see that REDIS_URL can be reached from here, or ask pods with --url"
        }
    };
    anyhow::Error::from(error).context(advice)
}

/// Where a server with these settings answers on this machine.
///
/// # Errors
/// When its port is chosen by the system.
pub(super) fn own_url(server: &ServerConfig) -> anyhow::Result<String> {
    if server.admin_port == 0 {
        bail!("ADMIN_PORT is 0, so only the server's log tells its port: give the address with --url");
    }
    let host = match server.host {
        IpAddr::V4(host) if host.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(host) if host.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        host => host,
    };
    Ok(format!("http://{}", SocketAddr::from((host, server.admin_port))))
}

fn base(text: &str) -> Result<String, String> {
    let uri: Option<http::Uri> = text.parse().ok();
    let sound = uri.is_some_and(|uri| {
        uri.scheme_str() == Some("http")
            && uri.host().is_some_and(|host| !host.is_empty())
            && uri.path() == "/"
    });
    if sound { Ok(text.trim_end_matches('/').to_owned()) } else { Err("give http://HOST:PORT".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;

    fn url(host: &str, admin_port: u16) -> Result<String, String> {
        let host = host.parse().expect("an address");
        let server = ServerConfig { host, admin_port, ..ServerConfig::default() };
        own_url(&server).map_err(|error| error.to_string())
    }

    #[test]
    fn the_server_is_asked_where_it_listens() {
        for (host, expected) in [
            ("0.0.0.0", "http://127.0.0.1:9004"),
            ("::", "http://[::1]:9004"),
            ("10.0.0.7", "http://10.0.0.7:9004"),
        ] {
            assert_eq!(url(host, 9004), Ok(expected.to_owned()));
        }
        assert!(url("0.0.0.0", 0).expect_err("no port").contains("--url"));
    }

    /// The fleet's name, or the URLs.
    fn chosen(
        urls: &[&str],
        fleet: Option<&str>,
        namespace: Option<&str>,
        redis: bool,
    ) -> Result<String, String> {
        let args = PodsArgs {
            url: urls.iter().map(|url| base(url)).collect::<Result<_, _>>()?,
            fleet: fleet.map(str::to_owned),
            pod_namespace: namespace.map(str::to_owned),
        };
        let mut config = Config::default();
        config.backplane.redis_url = redis.then(|| Secret::inline("redis://localhost"));
        match args.source(&config).map_err(|error| error.to_string())? {
            Source::Redis(reports) => Ok(reports.name().to_owned()),
            Source::Pods(pods) => Ok(pods.urls().join(" ")),
        }
    }

    #[test]
    fn redis_tells_of_all_pods_unless_some_are_named() {
        let text = |text: &str| Ok(text.to_owned());
        assert_eq!(chosen(&[], Some("chat/ws"), None, true), text("chat/ws"));
        assert_eq!(
            chosen(&[], Some("ws"), Some("chat"), true),
            text("chat/ws"),
            "as a pod of the chart has it"
        );
        assert_eq!(chosen(&[], Some("chat/ws"), None, false), text("http://127.0.0.1:9004"));
        let urls = ["http://a:9004", "http://[::1]:9004/"];
        assert_eq!(chosen(&urls, Some("chat/ws"), None, true), text("http://a:9004 http://[::1]:9004"));
    }

    #[test]
    fn what_is_missing_or_wrong_is_told() {
        for (fleet, namespace) in
            [(None, Some("chat")), (Some("ws"), None), (Some("/ws"), None), (Some("ws/"), None)]
        {
            let error = chosen(&[], fleet, namespace, true).expect_err("not known");
            assert!(error.contains("--fleet NAMESPACE/DEPLOYMENT") && error.contains("--url"), "{error}");
        }
        for url in ["10.0.0.7:9004", "https://a:9004", "http://", "http://a:9004/status"] {
            assert_eq!(chosen(&[url], None, None, false), Err("give http://HOST:PORT".to_owned()), "{url}");
        }
    }
}
