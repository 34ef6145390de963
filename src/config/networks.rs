use std::net::IpAddr;

use ipnet::IpNet;

/// Addresses and networks, such as those of trusted proxies.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Networks(Vec<IpNet>);

impl Networks {
    /// Reads addresses and networks (`10.0.0.0/8`) separated by commas.
    ///
    /// # Errors
    /// The first entry that is neither.
    pub fn parse(text: &str) -> Result<Self, &str> {
        let read = |entry: &'_ str| -> Option<IpNet> {
            entry.parse::<IpNet>().ok().or_else(|| entry.parse::<IpAddr>().ok().map(IpNet::from))
        };
        text.split(',')
            .map(str::trim)
            .map(|entry| read(entry).ok_or(entry))
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// Whether the address is one of them. An IPv4 address in IPv6's clothes is none; make it canonical first.
    #[must_use]
    pub fn contain(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_networks_are_taken() {
        let networks = Networks::parse("10.0.0.0/8,192.0.2.7 , 2001:db8::/32").expect("networks");
        let contains = |text: &str| networks.contain(text.parse().expect("an address"));
        for inside in ["10.255.0.1", "192.0.2.7", "2001:db8::1"] {
            assert!(contains(inside), "{inside}");
        }
        for outside in ["11.0.0.1", "192.0.2.8", "2001:db9::1", "::ffff:10.0.0.1"] {
            assert!(!contains(outside), "{outside}");
        }
        for (text, bad) in [("10.0.0.0/33", "10.0.0.0/33"), ("10.0.0.1, proxy", "proxy"), ("10.0.0.1,", "")] {
            assert_eq!(Networks::parse(text), Err(bad));
        }
        assert!(!Networks::default().contain(IpAddr::from([127, 0, 0, 1])));
    }
}
