//! What a proxy, or somebody who plays one, says of whose request it is.
#![no_main]

use std::net::IpAddr;

use http::{HeaderMap, HeaderValue};
use libfuzzer_sys::fuzz_target;
use websocket_service::config::Networks;
use websocket_service::server::client_address;

fuzz_target!(|data: (IpAddr, Vec<&[u8]>, &str)| {
    let (peer, lines, networks) = data;
    let mut headers = HeaderMap::new();
    for line in lines.into_iter().take(8) {
        if let Ok(line) = HeaderValue::from_bytes(line) {
            headers.append("x-forwarded-for", line);
        }
    }
    let trusted = Networks::parse("10.0.0.0/8,fd00::/8").expect("networks");
    let client = client_address::of(peer, &headers, &trusted);
    if !trusted.contain(peer) {
        assert_eq!(client, peer, "a stranger is not believed");
    }
    // Whoever trusts nobody hears nobody.
    assert_eq!(client_address::of(peer, &headers, &Networks::default()), peer);
    let _ = Networks::parse(networks);
});
