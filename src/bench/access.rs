//! Where to connect, and by which right.

use std::time::Duration;

use anyhow::Context;
use http::Uri;

use super::dial::Dialer;
use crate::auth::Minter;
use crate::config::{AuthConfig, Choice, Secret, TokenAlgorithm};

/// What every command needs to connect.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct AccessArgs {
    /// Where to connect: ws://HOST:PORT/ws
    #[arg(long, value_parser = Endpoint::parse)]
    url: Endpoint,
    #[command(flatten)]
    key: KeyArgs,
    /// Algorithm of the tokens: HS256, HS384 or HS512
    #[arg(long, value_name = "NAME", default_value = "HS256", value_parser = algorithm)]
    algorithm: TokenAlgorithm,
    /// `iss` of the tokens
    #[arg(long, value_name = "TEXT")]
    issuer: Option<String>,
    /// `aud` of the tokens
    #[arg(long, value_name = "TEXT")]
    audience: Option<String>,
}

#[derive(Debug, Clone, clap::Args)]
#[group(required = true, multiple = false)]
struct KeyArgs {
    /// The shared key that the service verifies tokens with. Other users may see flags: the file is better
    #[arg(long, value_name = "KEY", value_parser = secret)]
    secret: Option<Secret>,
    /// File with the shared key; a line break at its end is not part of it
    #[arg(long, value_name = "FILE", value_parser = secret_file)]
    secret_file: Option<Secret>,
}

impl AccessArgs {
    /// Makes what connects. Each connection may take as long as `bound`, from the look-up of the name to the 101.
    ///
    /// # Errors
    /// When the key cannot be read or cannot sign.
    pub(super) fn dialer(&self, bound: Duration) -> anyhow::Result<Dialer> {
        let key = self.key.secret.as_ref().or(self.key.secret_file.as_ref()).context("there is no key")?;
        let minter = Minter::new(self.algorithm, &key.read()?)?;
        let grants = AuthConfig {
            issuer: self.issuer.clone(),
            audience: self.audience.clone(),
            ..AuthConfig::default()
        };
        Ok(Dialer::new(self.url.clone(), minter, grants, bound))
    }

    /// Where it is connected to.
    pub(super) fn endpoint(&self) -> &Endpoint {
        &self.url
    }
}

/// The URL of `/ws`, taken apart.
#[derive(Debug, Clone)]
pub(super) struct Endpoint {
    /// The whole URL.
    pub(super) uri: Uri,
    /// Name or address, without the brackets of IPv6.
    pub(super) host: String,
    /// 80 where the URL names none.
    pub(super) port: u16,
}

impl Endpoint {
    fn parse(text: &str) -> Result<Self, String> {
        let uri: Uri = text.parse().map_err(|error| format!("not a URL: {error}"))?;
        let host = match uri.host() {
            Some(host) if uri.scheme_str() == Some("ws") && !host.is_empty() => {
                host.trim_start_matches('[').trim_end_matches(']').to_owned()
            }
            _ => return Err("expected ws://HOST:PORT/ws (the bench speaks no TLS)".to_owned()),
        };
        let names_port =
            uri.authority().is_some_and(|authority| !authority.as_str().ends_with(authority.host()));
        match uri.port_u16() {
            None if names_port => Err("the port is none: expected 1 to 65535".to_owned()),
            port => Ok(Self { uri, host, port: port.unwrap_or(80) }),
        }
    }
}

/// For flags that hold a secret; its type hides it from `Debug`.
#[expect(clippy::unnecessary_wraps, reason = "the form of clap's parsers")]
pub(super) fn secret(text: &str) -> Result<Secret, std::convert::Infallible> {
    Ok(Secret::inline(text))
}

/// For flags that name a secret's file.
#[expect(clippy::unnecessary_wraps, reason = "the form of clap's parsers")]
pub(super) fn secret_file(text: &str) -> Result<Secret, std::convert::Infallible> {
    Ok(Secret::File(text.into()))
}

fn algorithm(text: &str) -> Result<TokenAlgorithm, String> {
    TokenAlgorithm::parse(text)
        .filter(|algorithm| algorithm.is_symmetric())
        .ok_or_else(|| "expected HS256, HS384 or HS512".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_taken_apart() {
        for (url, host, port) in [
            ("ws://localhost:8004/ws", "localhost", 8004),
            ("ws://10.0.0.1/ws", "10.0.0.1", 80),
            ("ws://[::1]:8004/ws", "::1", 8004),
        ] {
            let endpoint = Endpoint::parse(url).expect(url);
            assert_eq!((endpoint.host.as_str(), endpoint.port), (host, port), "{url}");
        }
    }

    #[test]
    fn only_what_signs_with_a_shared_key_is_an_algorithm() {
        assert_eq!(algorithm("hs512"), Ok(TokenAlgorithm::Hs512));
        assert!(algorithm("RS256").is_err() && algorithm("none").is_err());
    }
}
