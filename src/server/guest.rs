//! The task of a connection: the upgraded socket, the session on it, and what is given back at its end.

use std::sync::Arc;
use std::time::Duration;

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::time::{Instant, timeout};
use tracing::debug;

use super::Service;
use super::admission::Place;
use super::stream::Stream;
use crate::backplane::{Presence, Subscription};
use crate::hub::Registration;
use crate::protocol::CorrelationId;
use crate::session::transport::{WebSocket, WebSocketLimits};
use crate::session::{Machine, Surroundings, V1, run};
use crate::telemetry::events;
use crate::trace::{Connected, Route};

/// How long the 101 may take to leave. It is written at once unless the client does not read at all.
const UPGRADE_WAIT: Duration = Duration::from_secs(10);

/// A connection that may come in, with everything it holds. Dropping it gives all of it back, on every path.
#[derive(Debug)]
pub(super) struct Guest {
    pub(super) registration: Registration,
    pub(super) subscription: Subscription,
    /// Its place in the fleet, where that is known.
    pub(super) presence: Option<Presence>,
    pub(super) place: Place,
    pub(super) expires_at: Instant,
    pub(super) correlation_id: CorrelationId,
    /// In v1 mode, what it needs beyond a plain connection.
    pub(super) v1: Option<Box<V1>>,
    /// The span of its upgrade, where that is sampled.
    pub(super) connected: Option<Connected>,
}

/// Runs the connection from its 101 to its end.
pub(super) async fn host(service: Arc<Service>, upgrade: OnUpgrade, mut guest: Guest) {
    let config = &service.config.session;
    let Some(mut socket) = open(upgrade, config.max_message_bytes).await else {
        return events::connection_rejected(&service.metrics);
    };
    let opened = Instant::now();
    let began = guest.connected.as_ref();
    events::connection_opened(&service.metrics, &guest.registration, guest.correlation_id, began);
    let route = service.tracer.is_on().then(|| Route {
        tracer: &service.tracer,
        connection_id: guest.registration.connection().id,
        user: guest.registration.user(),
    });
    let around = Surroundings {
        outbox: &guest.registration.connection().outbox,
        config,
        metrics: &service.metrics,
        correlation_id: guest.correlation_id,
        route,
    };
    let v1 = guest.v1.take();
    let machine = Machine::new(config, guest.expires_at, opened);
    let machine = if v1.is_some() { machine.v1() } else { machine };
    let ended = run(&mut socket, machine, v1, around).await;
    let lasted = opened.elapsed();
    let span = service.tracer.later("websocket.disconnect", guest.connected.as_ref());
    span.set("websocket.close_code", i64::from(ended.with.number()));
    span.set("websocket.duration_seconds", lasted.as_secs_f64());
    span.around(|| {
        let (metrics, correlation_id) = (&service.metrics, guest.correlation_id);
        events::connection_closed(metrics, &guest.registration, correlation_id, &ended, lasted);
    });
    service.hub.closed(&guest.registration, &ended, lasted);
    // Before the socket: a client that sees it end and comes back finds its place free.
    let Guest { registration, subscription, place, presence, .. } = guest;
    if let Some(presence) = presence {
        presence.end().await;
    }
    drop((registration, subscription, place));
}

/// The socket behind an upgrade; `None` when the client left first.
pub(super) async fn open(upgrade: OnUpgrade, max_message_bytes: usize) -> Option<WebSocket<Stream>> {
    let upgraded = match timeout(UPGRADE_WAIT, upgrade).await {
        Ok(Ok(upgraded)) => upgraded,
        Ok(Err(_)) | Err(_) => {
            debug!("the client left before its upgrade was done");
            return None;
        }
    };
    // The bare stream, without hyper's two layers around it, for as long as the connection lives.
    let parts = upgraded.downcast::<TokioIo<Stream>>().ok()?;
    Some(WebSocket::accept(parts.io.into_inner(), &parts.read_buf, WebSocketLimits { max_message_bytes }))
}
