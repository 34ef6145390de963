//! What a client sends behind its upgrade: any bytes, to a whole session, plain or in v1 mode; and any text as a frame.
#![no_main]

use std::pin::Pin;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use secrecy::SecretString;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio::runtime::Builder;
use tokio::time::Instant;
use websocket_service::config::SessionConfig;
use websocket_service::metrics::Metrics;
use websocket_service::protocol::frame::{self, ClientFrame};
use websocket_service::protocol::{CorrelationId, ErrorCode, ServiceError};
use websocket_service::session::transport::{WebSocket, WebSocketLimits};
use websocket_service::session::{Machine, NotRenewed, Outbox, Renewals, Surroundings, V1, run};

/// Nobody here can sign.
struct Nobody;

impl Renewals for Nobody {
    fn renew(&self, _: SecretString) -> Pin<Box<dyn Future<Output = Result<Instant, NotRenewed>> + Send>> {
        let error = ServiceError::new(ErrorCode::Authentication, "renew", "Token is invalid");
        Box::pin(async { Err(NotRenewed::Refused(error)) })
    }
}

/// A ping is answered with its own data, as one JSON object.
fn read(text: &str) {
    let Ok(ClientFrame::Ping(data)) = ClientFrame::read(text) else { return };
    let pong = frame::pong(data.as_deref());
    let end = data.as_ref().map_or("}".to_owned(), |data| format!(",\"data\":{}}}", data.get()));
    assert_eq!(pong, format!("{{\"type\":\"pong\"{end}"));
    // What nests deeper than the parser goes is passed on all the same.
    if let Err(error) = serde_json::from_str::<Value>(&pong) {
        assert!(
            error.to_string().contains("recursion limit") || error.to_string().contains("out of range"),
            "{error}"
        );
    }
}

fuzz_target!(|data: (u8, bool, &[u8])| {
    let (read_ahead, in_v1, bytes) = data;
    if let Ok(text) = std::str::from_utf8(bytes) {
        read(text);
    }
    let (ahead, rest) = bytes.split_at(usize::from(read_ahead).min(bytes.len()));
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
    runtime.block_on(async {
        let (client, server) = duplex(64 * 1024);
        let (mut answers, mut sends) = tokio::io::split(client);
        let config = SessionConfig { max_message_bytes: 1024, ..SessionConfig::default() };
        let (outbox, metrics) = (Outbox::default(), Metrics::new());
        let now = Instant::now();
        let around = Surroundings {
            outbox: &outbox,
            config: &config,
            metrics: &metrics,
            correlation_id: CorrelationId::random(),
            route: None,
        };
        let session = async {
            let limits = WebSocketLimits { max_message_bytes: config.max_message_bytes };
            let mut socket = WebSocket::accept(server, ahead, limits);
            let machine = Machine::new(&config, now + Duration::from_secs(3600), now);
            if in_v1 {
                let v1 = V1::new("{}".to_owned(), None, Box::new(Nobody));
                run(&mut socket, machine.v1(), Some(Box::new(v1)), around).await
            } else {
                run(&mut socket, machine, None, around).await
            }
        };
        let client = async {
            let _ = sends.write_all(rest).await;
            let _ = sends.shutdown().await;
            let _ = answers.read_to_end(&mut Vec::new()).await;
        };
        // Paused time makes every bound pass at once: a session that does not end hangs the fuzzer.
        tokio::join!(session, client);
    });
});
