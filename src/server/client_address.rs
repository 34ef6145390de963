//! Whose request it is: the address of the connection, or what proxies that are trusted say of it.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use axum::http::HeaderMap;

use crate::config::Networks;

/// Each proxy adds the address it was asked from at the end.
const HEADER: &str = "x-forwarded-for";

/// Most addresses that are looked at, from the end. No chain of proxies is longer.
const MOST: usize = 32;

/// The address nearest to us that is no trusted proxy's. What stands before it was written by strangers.
#[must_use]
pub fn of(peer: IpAddr, headers: &HeaderMap, trusted: &Networks) -> IpAddr {
    if !trusted.contain(peer) {
        return peer;
    }
    let lines = headers.get_all(HEADER).iter().rev();
    let entries = lines.flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b','));
    let mut nearest = peer;
    for entry in entries.take(MOST) {
        // What cannot be read was not written by a proxy: the last address known stands for all behind it.
        let Some(address) = read(entry) else { break };
        nearest = address;
        if !trusted.contain(address) {
            break;
        }
    }
    nearest
}

/// An address, with or without a port.
fn read(entry: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(entry).ok()?.trim();
    let bare = || text.strip_prefix('[')?.strip_suffix(']')?.parse::<Ipv6Addr>().ok().map(IpAddr::from);
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    let address = text.parse().ok().or_else(bare).or_else(with_port)?;
    Some(address.to_canonical())
}

/// What counts as one address where addresses have a share: of IPv6 the network that one customer has, a /64.
pub(super) fn share_of(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => Ipv6Addr::from(u128::from(address) & !u128::from(u64::MAX)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn client(peer: &str, lines: &[&str]) -> String {
        let trusted = Networks::parse("10.0.0.0/8, fd00::/8, 192.0.2.7").expect("networks");
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(HEADER, HeaderValue::from_str(line).expect("a value"));
        }
        of(peer.parse().expect("an address"), &headers, &trusted).to_string()
    }

    #[test]
    fn a_stranger_is_not_believed() {
        assert_eq!(client("203.0.113.9", &["198.51.100.1"]), "203.0.113.9");
        assert_eq!(client("192.0.2.8", &["198.51.100.1"]), "192.0.2.8");
    }

    #[test]
    fn the_nearest_that_is_no_proxy_counts() {
        assert_eq!(client("10.1.1.1", &[]), "10.1.1.1");
        assert_eq!(client("10.1.1.1", &["198.51.100.1"]), "198.51.100.1");
        assert_eq!(client("10.1.1.1", &["1.1.1.1, 198.51.100.1 , 10.2.2.2"]), "198.51.100.1");
        assert_eq!(client("192.0.2.7", &["1.1.1.1", "198.51.100.1", "fd00::5"]), "198.51.100.1");
        assert_eq!(client("10.1.1.1", &["10.3.3.3, 10.2.2.2"]), "10.3.3.3", "all are proxies: the first");
    }

    #[test]
    fn what_cannot_be_read_ends_the_chain() {
        assert_eq!(client("10.1.1.1", &["198.51.100.1, unknown, 10.2.2.2"]), "10.2.2.2");
        assert_eq!(client("10.1.1.1", &[""]), "10.1.1.1");
        assert_eq!(client("10.1.1.1", &["198.51.100.1,"]), "10.1.1.1");
    }

    #[test]
    fn ports_and_brackets_are_left_out() {
        assert_eq!(client("10.1.1.1", &["198.51.100.1:4711"]), "198.51.100.1");
        assert_eq!(client("10.1.1.1", &["[2001:db8::1]:4711"]), "2001:db8::1");
        assert_eq!(client("10.1.1.1", &["[2001:db8::1]"]), "2001:db8::1");
        assert_eq!(client("10.1.1.1", &["::ffff:198.51.100.1"]), "198.51.100.1");
    }

    #[test]
    fn a_network_of_ipv6_shares() {
        let share = |text: &str| share_of(text.parse().expect("an address")).to_string();
        assert_eq!(share("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(share("198.51.100.1"), "198.51.100.1");
    }
}
