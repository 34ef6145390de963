//! The `health` command: asks a running server whether it lives, for a container without a shell or curl.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};

use crate::config::{Config, ServerConfig};
use crate::fetch::Fetch;

/// Below the 30 s after which a container's engine gives a check up by itself, so that the sentence is seen.
const BOUND: Duration = Duration::from_secs(5);

/// Asks a running server whether it lives.
#[derive(Debug, Clone, clap::Args)]
pub struct HealthArgs {
    /// What to ask, instead of /healthz on this machine's configured admin port
    #[arg(long, value_name = "URL")]
    url: Option<String>,
}

/// Succeeds, without a word, when the answer is 200.
///
/// # Errors
/// When there is another answer, or none within five seconds.
pub async fn run(args: &HealthArgs, config: &Config) -> anyhow::Result<ExitCode> {
    let url = match &args.url {
        Some(url) => url.clone(),
        None => own_url(&config.server)?,
    };
    Fetch::new(BOUND).ok(&url).await.context("not healthy")?;
    Ok(ExitCode::SUCCESS)
}

/// Where a server with these settings answers on this machine.
fn own_url(server: &ServerConfig) -> anyhow::Result<String> {
    if server.admin_port == 0 {
        bail!("ADMIN_PORT is 0, so only the server's log tells its port: give the address with --url");
    }
    let host = match server.host {
        IpAddr::V4(host) if host.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(host) if host.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        host => host,
    };
    Ok(format!("http://{}/healthz", SocketAddr::from((host, server.admin_port))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(host: &str, admin_port: u16) -> Result<String, String> {
        let host = host.parse().expect("an address");
        let server = ServerConfig { host, admin_port, ..ServerConfig::default() };
        own_url(&server).map_err(|error| error.to_string())
    }

    #[test]
    fn the_server_is_asked_where_it_listens() {
        for (host, expected) in [
            ("0.0.0.0", "http://127.0.0.1:9004/healthz"),
            ("::", "http://[::1]:9004/healthz"),
            ("10.0.0.7", "http://10.0.0.7:9004/healthz"),
        ] {
            assert_eq!(url(host, 9004), Ok(expected.to_owned()));
        }
        assert!(url("0.0.0.0", 0).expect_err("no port").contains("--url"));
    }
}
