use http::HeaderValue;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

/// A server that answers one request with these bytes, over and over where there are to be more; the request's head.
async fn asked(answer: String, again: usize) -> (Result<Document, KeySetError>, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let uri = format!("http://{}/keys?kind=sig", listener.local_addr().expect("an address"));
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("accepted");
        let mut head = vec![0; 4096];
        let read = stream.read(&mut head).await.expect("a request");
        for part in std::iter::repeat_n(answer, again) {
            if stream.write_all(part.as_bytes()).await.is_err() {
                break;
            }
        }
        String::from_utf8_lossy(&head[..read]).into_owned()
    });
    let outcome = Web(uri.parse().expect("a URL")).get().await;
    (outcome, server.await.expect("no panic"))
}

fn answer(head: &str, body: &str) -> String {
    format!("HTTP/1.1 {head}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len())
}

async fn refused(answer: String, again: usize) -> String {
    asked(answer, again).await.0.expect_err("refused").to_string()
}

#[tokio::test]
async fn a_document_comes_with_its_age() {
    let (document, request) = asked(answer("200 OK\r\ncache-control: public, max-age=300", "{}"), 1).await;
    let document = document.expect("fetched");
    assert_eq!((&document.body[..], document.max_age), (&b"{}"[..], Some(Duration::from_secs(300))));
    assert!(request.starts_with("GET /keys?kind=sig HTTP/1.1\r\n"), "{request}");
    assert!(request.to_ascii_lowercase().contains("\r\nuser-agent: websocket-service/"), "{request}");
}

#[tokio::test]
async fn what_is_no_document_is_told_apart() {
    assert_eq!(refused(answer("500 Broken", ""), 1).await, "it was answered 500");
    let moved = refused(answer("302 Found\r\nlocation: http://127.0.0.1:1/", ""), 1).await;
    assert!(moved.starts_with("it was answered 302, and redirects are not followed"), "{moved}");
    let large = answer("200 OK", &"x".repeat(MAX_BODY_BYTES + 1));
    assert_eq!(refused(large, 1).await, "it is larger than 512 KiB");
    assert!(refused("nonsense\r\n\r\n".to_owned(), 1).await.starts_with("it cannot be reached"));
    let cut = "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{".to_owned();
    assert!(refused(cut, 1).await.starts_with("it cannot be reached"));
}

#[tokio::test]
async fn an_answer_without_end_is_read_up_to_the_bound() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let uri = format!("http://{}/", listener.local_addr().expect("an address"));
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("accepted");
        let _ = stream.read(&mut [0; 4096]).await.expect("a request");
        let head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        let chunk = [b"1000\r\n".as_slice(), &[b' '; 0x1000], b"\r\n"].concat();
        stream.write_all(head).await.expect("written");
        while stream.write_all(&chunk).await.is_ok() {}
    });
    let error = Web(uri.parse().expect("a URL")).get().await.expect_err("refused");
    assert!(matches!(error, KeySetError::TooLarge(512)), "{error}");
    server.await.expect("cut off by the client");
}

#[tokio::test]
async fn a_server_that_never_answers_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let uri = format!("http://{}/", listener.local_addr().expect("an address"));
    let error = Web(uri.parse().expect("a URL")).get().await.expect_err("given up");
    assert!(matches!(error, KeySetError::Timeout(BOUND)), "{error}");
    drop(listener);
    let error = Web(uri.parse().expect("a URL")).get().await.expect_err("nobody there");
    assert!(error.to_string().starts_with("it cannot be reached: "), "{error}");
}

#[tokio::test]
async fn https_is_not_spoken_in_the_clear() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let uri = format!("https://{}/", listener.local_addr().expect("an address"));
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("accepted");
        let mut first = [0; 1];
        stream.read_exact(&mut first).await.expect("a hello");
        first[0]
    });
    let error = Web(uri.parse().expect("a URL")).get().await.expect_err("no TLS there");
    assert!(matches!(error, KeySetError::Unreachable(_) | KeySetError::Authorities(_)), "{error}");
    if matches!(error, KeySetError::Unreachable(_)) {
        assert_eq!(server.await.expect("asked"), 22, "a TLS handshake");
    }
}

#[tokio::test]
async fn where_nobody_listens_the_innermost_cause_is_told() {
    // The port of tcpmux, which nobody has.
    let error = Web(Uri::from_static("http://127.0.0.1:1/keys")).get().await.expect_err("nobody there");
    assert!(error.to_string().contains("refused"), "{error}");
}

#[test]
fn the_age_is_read_out_of_any_cache_control() {
    let age = |lines: &[&'static str]| {
        let lines = lines.iter().map(|line| (CACHE_CONTROL, HeaderValue::from_static(line)));
        max_age(&lines.collect()).map(|age| age.as_secs())
    };
    assert_eq!(age(&[]), None);
    assert_eq!(age(&["public"]), None);
    assert_eq!(age(&["Max-Age=60"]), Some(60));
    assert_eq!(age(&["public , max-age=\"60\", must-revalidate"]), Some(60));
    assert_eq!(age(&["public", "max-age=60"]), Some(60));
    assert_eq!(age(&["no-store"]), Some(0));
    assert_eq!(age(&["no-cache, max-age=60"]), Some(0));
    for odd in ["max-age", "max-age=", "max-age=-1", "max-age=1e3", "max-age=99999999999999999999999"] {
        assert_eq!(age(&[odd]), None, "{odd}");
    }
}
