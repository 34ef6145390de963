//! What tracing adds to a delivery, in front of the exporter.

use divan::Bencher;
use tokio::runtime::Builder;
use websocket_service::config::{TraceConfig, TraceExport, TraceProtocol, TraceSampling};
use websocket_service::protocol::ConnectionId;
use websocket_service::trace::{Route, Tracer, start};

use crate::outbox::through_session;
use crate::support::user;

/// The usual case, one message a write, with tracing off.
#[divan::bench(sample_size = 1000)]
fn off(bencher: Bencher<'_, '_>) {
    along(bencher, &Tracer::off());
}

/// The same with tracing on and a message that names no trace, one in a hundred of which is recorded.
#[divan::bench(sample_size = 1000)]
fn on(bencher: Bencher<'_, '_>) {
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let _context = runtime.enter();
    // Nobody answers at the default endpoint, so what is recorded is dropped a little later.
    let export = TraceExport {
        protocol: TraceProtocol::Http,
        tls: false,
        timeout: std::time::Duration::from_secs(1),
        service_name: None,
        sampling: TraceSampling { parent_based: true, ratio: 0.01 },
    };
    let tracer = start(&TraceConfig { export: Some(export), user_ids: false }, "bench").expect("an exporter");
    along(bencher, &tracer);
}

fn along(bencher: Bencher<'_, '_>, tracer: &Tracer) {
    let (connection_id, user) = (ConnectionId::random(), user(0));
    through_session(bencher, 1, Some(Route { tracer, connection_id, user: &user }));
}
