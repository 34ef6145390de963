//! Strangers at the door: half requests, garbage, too much, and nothing at all.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::service::Service;
use crate::support::{Bound, http, within};

/// For what the service's own header timeout ends.
const HEADER_TIMEOUT: Bound = Bound {
    limit: Duration::from_secs(60),
    reason: "the service waits 5 s for a request's head, which is no setting; the rest is for a busy machine",
};

/// A whole round through the service.
async fn works(service: &Service) {
    let mut client = service.connect("ann").await;
    service.publish("ann", "hello").await;
    assert_eq!(client.text().await, "hello");
}

/// Reads to the end and returns what came.
async fn read_to_end(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    // A reset is an end like any other.
    let _ = within("the service cuts the connection", HEADER_TIMEOUT, stream.read_to_end(&mut bytes)).await;
    bytes
}

#[tokio::test]
async fn half_a_request_is_cut_after_the_header_timeout() {
    let service = Service::start(&[]).await;
    let mut halves = Vec::new();
    for half in
        ["", "G", "GET /healthz HTTP/1.1\r\nhost: a\r\n", "GET /ws?token=x HTTP/1.1\r\nupgrade: websocket"]
    {
        let mut stream = TcpStream::connect(service.public()).await.expect("connected");
        stream.write_all(half.as_bytes()).await.expect("written");
        halves.push(stream);
    }
    works(&service).await;
    for stream in &mut halves {
        let answer = String::from_utf8_lossy(&read_to_end(stream).await).into_owned();
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408"), "{answer}");
    }
}

#[tokio::test]
async fn garbage_hurts_nobody() {
    let service = Service::start(&[]).await;
    let tls_hello = [&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3][..], &[0; 200]].concat();
    let garbage: [&[u8]; 6] = [
        &tls_hello,
        b"\0\0\0\0\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.0\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nhost\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\ncontent-length: -1\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ];
    for bytes in garbage {
        let mut stream = TcpStream::connect(service.public()).await.expect("connected");
        stream.write_all(bytes).await.expect("written");
        let answer = String::from_utf8_lossy(&read_to_end(&mut stream).await).into_owned();
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
    }
    works(&service).await;
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused() {
    let service = Service::start(&[]).await;
    let head = |bytes: usize| {
        format!(
            "GET /healthz HTTP/1.1\r\nhost: a\r\nconnection: close\r\nx-filling: {}\r\n\r\n",
            "x".repeat(bytes)
        )
    };
    let fits = http::exchange(service.public(), head(16 * 1024).as_bytes()).await.expect("an answer");
    assert_eq!(fits.status, 200);
    // The connection may be reset with the answer still on its way.
    let answer = http::exchange(service.public(), head(1 << 20).as_bytes()).await;
    assert!(answer.is_none_or(|answer| answer.status == 431));
    let many: String = (0..1_000).map(|n| format!("x-{n}: y\r\n")).collect();
    let many = format!("GET /healthz HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{many}\r\n");
    let answer = http::exchange(service.public(), many.as_bytes()).await;
    assert!(answer.is_none_or(|answer| answer.status == 431));
    works(&service).await;
}

#[tokio::test]
async fn idle_connections_do_not_keep_others_out() {
    let service = Service::start(&[]).await;
    let mut idle = Vec::new();
    for _ in 0..500 {
        idle.push(TcpStream::connect(service.public()).await.expect("connected"));
    }
    works(&service).await;
    assert_eq!(idle.len(), 500);
}

#[tokio::test]
async fn a_client_that_leaves_within_its_body_hurts_nobody() {
    let service = Service::start(&[]).await;
    for _ in 0..10 {
        let mut stream = TcpStream::connect(service.public()).await.expect("connected");
        let head = format!(
            "POST /v1/users/ann/messages HTTP/1.1\r\nhost: a\r\nauthorization: {}\r\ncontent-length: 100\r\n\r\nhalf",
            crate::support::service::bearer()
        );
        stream.write_all(head.as_bytes()).await.expect("written");
    }
    works(&service).await;
}
