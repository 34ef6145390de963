//! Kubernetes tells pods of every Service in their namespace through variables named after it. A Service called
//! `websocket-service`, or anything that begins so (`websocket-service-admin`), lands inside our prefix.

use std::net::IpAddr;

/// Whether a variable (without the prefix) is such a link and no setting. Name and value both have to have the form
/// that the kubelet gives them, so that a misspelt setting is not taken for a link.
pub(super) fn is_service_link(key: &str, value: &str) -> bool {
    let port = |text: &str| text.parse::<u16>().is_ok();
    let address = |text: &str| text.parse::<IpAddr>().is_ok();
    let url = |text: &str| ["tcp://", "udp://", "sctp://"].iter().any(|scheme| text.starts_with(scheme));
    let words: Vec<&str> = key.split('_').collect();
    match words.as_slice() {
        [.., "SERVICE", "HOST"] => address(value),
        [.., "PORT", number, protocol] if port(number) && is_protocol(protocol) => url(value),
        [.., "PORT", number, protocol, last] if port(number) && is_protocol(protocol) => match *last {
            "PROTO" => is_protocol(&value.to_ascii_uppercase()),
            "PORT" => port(value),
            "ADDR" => address(value),
            _ => false,
        },
        [.., "PORT"] if url(value) => true,
        // SERVICE_PORT, or with the port's own name behind it.
        words => words.windows(2).any(|pair| pair == ["SERVICE", "PORT"]) && port(value),
    }
}

fn is_protocol(word: &str) -> bool {
    matches!(word, "TCP" | "UDP" | "SCTP")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_every_form_of_a_link() {
        let links = [
            ("SERVICE_HOST", "10.0.0.1"),
            ("SERVICE_HOST", "fd00::1"),
            ("SERVICE_PORT", "8004"),
            ("SERVICE_PORT_HTTP", "8004"),
            ("SERVICE_PORT_HTTP_ALT", "8004"),
            ("PORT", "tcp://10.0.0.1:8004"),
            ("PORT", "udp://[fd00::1]:8004"),
            ("PORT_8004_TCP", "tcp://10.0.0.1:8004"),
            ("PORT_8004_TCP_PROTO", "tcp"),
            ("PORT_8004_TCP_PORT", "8004"),
            ("PORT_8004_TCP_ADDR", "10.0.0.1"),
            // Of the Service `websocket-service-admin`.
            ("ADMIN_PORT", "tcp://10.0.0.2:9004"),
            ("ADMIN_SERVICE_HOST", "10.0.0.2"),
            ("ADMIN_PORT_9004_TCP_ADDR", "10.0.0.2"),
        ];
        for (key, value) in links {
            assert!(is_service_link(key, value), "{key}={value}");
        }
    }

    #[test]
    fn takes_no_setting_or_misspelling_for_a_link() {
        let others = [
            ("PORT", "8004"),
            ("PORT", ""),
            ("ADMIN_PORT", "9004"),
            ("POTR", "tcp://10.0.0.1:8004"),
            ("SERVICE_HOST", "localhost"),
            ("SERVICE_PORT", "http"),
            ("PORT_8004", "8004"),
            ("PORT_8004_TCP_NAME", "x"),
            ("HOST", "10.0.0.1"),
            ("", ""),
        ];
        for (key, value) in others {
            assert!(!is_service_link(key, value), "{key}={value}");
        }
    }
}
