//! Where to connect to.

use http::Uri;

/// The URL of `/ws`, taken apart.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// The whole URL.
    pub uri: Uri,
    /// Name or address, without the brackets of IPv6.
    pub host: String,
    /// 80 where the URL names none.
    pub port: u16,
}

impl Endpoint {
    /// Takes a URL apart.
    ///
    /// # Errors
    /// In words for whoever wrote the URL: only `ws://` is spoken here.
    pub fn parse(text: &str) -> Result<Self, String> {
        let uri: Uri = text.parse().map_err(|error| format!("not a URL: {error}"))?;
        let host = match uri.host() {
            Some(host) if uri.scheme_str() == Some("ws") && !host.is_empty() => {
                host.trim_start_matches('[').trim_end_matches(']').to_owned()
            }
            _ => return Err("expected ws://HOST:PORT/ws (there is no TLS here)".to_owned()),
        };
        let names_port =
            uri.authority().is_some_and(|authority| !authority.as_str().ends_with(authority.host()));
        match uri.port_u16() {
            None if names_port => Err("the port is none: expected 1 to 65535".to_owned()),
            port => Ok(Self { uri, host, port: port.unwrap_or(80) }),
        }
    }
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
}
