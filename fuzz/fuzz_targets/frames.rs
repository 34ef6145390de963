//! What a client sends behind its upgrade: any bytes, to a whole session.
#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio::runtime::Builder;
use tokio::time::Instant;
use websocket_service::config::SessionConfig;
use websocket_service::metrics::Metrics;
use websocket_service::protocol::CorrelationId;
use websocket_service::session::transport::{WebSocket, WebSocketLimits};
use websocket_service::session::{Machine, Outbox, Surroundings, run};

fuzz_target!(|data: (u8, &[u8])| {
    let (read_ahead, bytes) = data;
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
        };
        let session = async {
            let limits = WebSocketLimits { max_message_bytes: config.max_message_bytes };
            let mut socket = WebSocket::accept(server, ahead, limits).await;
            let machine = Machine::new(&config, now + Duration::from_secs(3600), now);
            run(&mut socket, machine, around).await
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
