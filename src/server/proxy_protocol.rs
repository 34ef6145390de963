//! The PROXY protocol, versions 1 and 2: a load balancer that passes bytes on says first whose they are.

use std::io;
use std::net::IpAddr;

use proxy_header::{ParseConfig, ProxyHeader};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

/// What a header of either version has at least, in bytes: `PROXY UNKNOWN` and the end of its line.
const SHORTEST: usize = 15;

/// What version 2 begins with.
const BINARY: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// The part of version 2 that says how long the rest is, in bytes.
const FIXED: usize = BINARY.len() + 4;

/// Longest line of version 1, in bytes (its specification, section 2.1).
const LONGEST_LINE: usize = 107;

/// Most bytes that are taken behind the first sixteen of version 2: addresses need up to 216, and balancers add some
/// hundred of their own.
const MOST_BEHIND: usize = 4_096;

/// Reads the header, and not a byte beyond it. `None` where the proxy speaks for itself or does not know for whom.
///
/// # Errors
/// `InvalidData` for what is no header; what the connection says.
pub(super) async fn announced(stream: &mut TcpStream) -> io::Result<Option<IpAddr>> {
    let mut head = vec![0; SHORTEST];
    stream.read_exact(&mut head).await?;
    if head.starts_with(BINARY) {
        head.push(stream.read_u8().await?);
        let behind = usize::from(u16::from_be_bytes([head[14], head[15]]));
        if behind > MOST_BEHIND {
            return Err(invalid());
        }
        head.resize(FIXED + behind, 0);
        stream.read_exact(&mut head[FIXED..]).await?;
    } else if head.starts_with(b"PROXY ") {
        while !head.ends_with(b"\n") {
            let mut ahead = [0; LONGEST_LINE];
            let room = LONGEST_LINE.checked_sub(head.len()).filter(|room| *room > 0).ok_or_else(invalid)?;
            let seen = stream.peek(&mut ahead[..room]).await?;
            if seen == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let end = ahead[..seen].iter().position(|byte| *byte == b'\n').map_or(seen, |at| at + 1);
            // It is there already.
            stream.read_exact(&mut ahead[..end]).await?;
            head.extend_from_slice(&ahead[..end]);
        }
    }
    source(&head)
}

fn source(head: &[u8]) -> io::Result<Option<IpAddr>> {
    let config = ParseConfig { include_tlvs: false, ..ParseConfig::default() };
    let (header, _) = ProxyHeader::parse(head, config).map_err(|_| invalid())?;
    Ok(header.proxied_address().map(|address| address.source.ip().to_canonical()))
}

fn invalid() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "no PROXY protocol header")
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use proptest::prelude::*;
    use proxy_header::{ProxiedAddress, Tlv};
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    use super::*;

    /// What is made of these pieces, each sent by itself, and what is left to read behind it.
    async fn read(pieces: &[&[u8]]) -> (Result<Option<String>, io::ErrorKind>, Vec<u8>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let address = listener.local_addr().expect("bound");
        let sending = async {
            let mut client = TcpStream::connect(address).await.expect("connected");
            client.set_nodelay(true).expect("a socket");
            for piece in pieces {
                client.write_all(piece).await.expect("sent");
                tokio::task::yield_now().await;
            }
            client.shutdown().await.expect("shut");
            client
        };
        let receiving = async {
            let (mut stream, _) = listener.accept().await.expect("accepted");
            (announced(&mut stream).await, stream)
        };
        let (client, (outcome, mut stream)) = tokio::join!(sending, receiving);
        drop(client);
        let mut rest = Vec::new();
        // After a refusal the end may be a reset, for what was sent was not read.
        let _ = stream.read_to_end(&mut rest).await;
        let outcome = outcome.map(|source| source.map(|address| address.to_string()));
        (outcome.map_err(|error| error.kind()), rest)
    }

    fn binary(source: &str, destination: &str, extra: usize) -> Vec<u8> {
        let address = |text: &str| text.parse::<SocketAddr>().expect("an address");
        let addresses = ProxiedAddress::stream(address(source), address(destination));
        let more = [Tlv::Custom(0xE0, vec![7; extra].into())];
        let mut bytes = Vec::new();
        ProxyHeader::with_tlvs(Some(addresses), more).encode_v2(&mut bytes).expect("it fits");
        bytes
    }

    #[tokio::test]
    async fn both_versions_tell_whose_the_bytes_are_and_take_no_more() {
        let four = binary("198.51.100.7:4711", "192.0.2.1:443", 90);
        let six = binary("[2001:db8::7]:4711", "[2001:db8::1]:443", 0);
        let mapped = binary("[::ffff:198.51.100.7]:4711", "[2001:db8::1]:443", 0);
        let mut local = four.clone();
        local[12] = 0x20;
        for (head, source) in [
            (b"PROXY TCP4 198.51.100.7 192.0.2.1 4711 443\r\n".as_slice(), Some("198.51.100.7")),
            (b"PROXY TCP6 2001:db8::7 2001:db8::1 4711 443\r\n", Some("2001:db8::7")),
            (b"PROXY UNKNOWN\r\n", None),
            (b"PROXY UNKNOWN whatever\r\n", None),
            (&four, Some("198.51.100.7")),
            (&six, Some("2001:db8::7")),
            (&mapped, Some("198.51.100.7")),
            (&local, None),
        ] {
            let whole = [head, b"GET / HTTP/1.1\r\n\r\n"].concat();
            let expected = (Ok(source.map(str::to_owned)), b"GET / HTTP/1.1\r\n\r\n".to_vec());
            assert_eq!(read(&[&whole]).await, expected, "{head:?}");
            let bytes: Vec<&[u8]> = whole.chunks(1).collect();
            assert_eq!(read(&bytes).await, expected, "byte by byte: {head:?}");
        }
    }

    #[tokio::test]
    async fn what_is_no_header_is_refused() {
        let mut long = binary("198.51.100.7:4711", "192.0.2.1:443", 0);
        long[14..16].copy_from_slice(&[0xff, 0xff]);
        let line = [b"PROXY TCP4 ".as_slice(), &[b'1'; 200]].concat();
        for bytes in [
            b"GET /ws HTTP/1.1\r\n\r\n".as_slice(),
            b"PROXY TCP4 198.51.100.7 192.0.2.1 4711\r\n",
            b"PROXY TCP4 198.51.100.700 192.0.2.1 4711 443\r\n",
            b"PROXY TCP4 198.51.100.7 192.0.2.1 4711 443\n",
            &line,
            &long,
        ] {
            assert_eq!(read(&[bytes]).await.0, Err(io::ErrorKind::InvalidData), "{bytes:?}");
        }
        for cut in [b"".as_slice(), b"PROXY", b"PROXY TCP4 198.51.100.7 192"] {
            assert_eq!(read(&[cut]).await.0, Err(io::ErrorKind::UnexpectedEof), "{cut:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_much_for_it(bytes in prop::collection::vec(any::<u8>(), 0..300), version in 0..3_u8) {
            let prefix: &[u8] = match version {
                0 => b"",
                1 => b"PROXY TCP4 ",
                _ => BINARY,
            };
            let _ = source(&[prefix, &bytes].concat());
        }
    }
}
