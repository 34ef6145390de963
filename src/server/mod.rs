//! The HTTP front: two listeners, the upgrade, the publish API, and what an operator asks.

pub mod accept;
mod admin;
mod admission;
pub mod client_address;
mod correlation;
mod door;
mod guest;
mod handshake;
mod health;
mod origin;
mod page;
mod presence;
mod proxy_protocol;
mod publish;
mod query;
mod refusal;
mod revocations;
mod strangers;
mod stream;
mod upgrade;
mod v1;

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use axum::Router;
use axum::http::{Method, Request, StatusCode, Uri, header};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::Response;
use axum::routing::{delete, get, post, put};
use hyper::body::Incoming;

use crate::auth::{ApiKey, Verifier};
use crate::backplane::{Backplane, Registry, Revocations};
use crate::config::Config;
use crate::drain::Drain;
use crate::history::History;
use crate::hub::Hub;
use crate::metrics::Metrics;
use crate::protocol::{ErrorCode, ServiceError};
use crate::readiness::Readiness;
use crate::telemetry::Levels;
use crate::trace::{self, Side, Tracer};

pub use admission::Admission;
pub use door::Door;
pub use page::Page;
pub use presence::{disconnected, entry};
pub use revocations::revoked;
pub use v1::last_event_id;

/// Everything a request may need. One for the process, shared by both listeners.
#[expect(missing_docs, reason = "each is the part its type names")]
pub struct Service {
    pub config: Config,
    pub metrics: Arc<Metrics>,
    pub hub: Arc<Hub>,
    pub backplane: Arc<dyn Backplane>,
    /// What clients resume from; none while history is off.
    pub history: Option<Arc<dyn History>>,
    /// The connections of all pods; none where there is but this one.
    pub registry: Option<Arc<dyn Registry>>,
    /// The tokens that do not count any more, on all pods.
    pub revocations: Arc<dyn Revocations>,
    pub verifier: Arc<Verifier>,
    /// Without it the publish API is 404.
    pub api_key: Option<Arc<ApiKey>>,
    pub admission: Arc<Admission>,
    pub drain: Drain,
    pub readiness: Readiness,
    pub levels: Levels,
    pub tracer: Tracer,
    /// The page at `/`, in development only.
    pub page: Option<Page>,
    /// This pod's name, as answers show it.
    pub pod: String,
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service").field("pod", &self.pod).finish_non_exhaustive()
    }
}

/// Where clients connect.
const PATH: &str = "/ws";

/// What the world sees. Upgrades pass the router by: its layers, none of which concern them, were a tenth of what a
/// handshake cost.
#[derive(Debug, Clone)]
pub struct Public {
    service: Arc<Service>,
    router: Router,
}

impl Public {
    /// The public listener's answers.
    #[must_use]
    pub fn new(service: &Arc<Service>) -> Self {
        Self { service: Arc::clone(service), router: public_router(service) }
    }
}

impl accept::Answer for Public {
    async fn answer(&self, peer: IpAddr, request: Request<Incoming>) -> Response {
        let upgrades = request.method() == Method::GET
            && request.uri().path() == PATH
            && request.headers().contains_key(header::UPGRADE);
        if !upgrades {
            return self.router.answer(peer, request).await;
        }
        let id = correlation::of(&request);
        let caller = correlation::caller(request.headers());
        let span = self.service.tracer.span("websocket.connect", Side::Server, caller.as_ref());
        let connect = async {
            let answer = upgrade::connect(Arc::clone(&self.service), id, peer, request, &span).await;
            answer.unwrap_or_else(|error| correlation::failed(&trace::recorded(error, id), id))
        };
        correlation::named(span.cover(connect).await, id)
    }
}

fn public_router(service: &Arc<Service>) -> Router {
    let mut router = Router::new()
        .route(PATH, get(async || handshake::upgrade_required()))
        .route("/healthz", get(health::alive));
    if service.config.server.public_metrics {
        router = router.route("/metrics", get(health::metrics));
    }
    if service.page.is_some() {
        router = router.route("/", get(page::show));
    }
    if service.api_key.is_some() {
        router = router
            .route("/v1/users/{user_id}/messages", post(publish::one))
            .route("/v1/messages", post(publish::batch))
            .merge(revoking().route_layer(from_fn_with_state(Arc::clone(service), revocations::keyed)));
    }
    finish(with_fallbacks(router).layer(origin::cors(&service.config.server.allowed_origins)), service)
}

/// What the cluster sees.
pub fn admin_router(service: &Arc<Service>) -> Router {
    let router = Router::new()
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(health::metrics))
        .route("/status", get(health::status))
        .route("/drain", post(admin::drain))
        .route("/log-level", put(admin::log_level))
        .route("/v1/users/{user_id}/connections", get(presence::list).delete(presence::disconnect))
        .route("/v1/users/{user_id}/connections/{connection_id}", delete(presence::disconnect_one))
        .route("/v1/revocations", get(revocations::list))
        .route(
            "/v1/revocations/everybody",
            put(revocations::revoke_everybody).delete(revocations::lift_everybody),
        )
        .merge(revoking());
    finish(with_fallbacks(router), service)
}

/// What a back end may revoke too, when somebody logs out or is locked out.
fn revoking() -> Router<Arc<Service>> {
    Router::new()
        .route(
            "/v1/revocations/users/{user_id}",
            put(revocations::revoke_user).delete(revocations::lift_user),
        )
        .route("/v1/revocations/tokens/{jti}", put(revocations::revoke_token).delete(revocations::lift_token))
}

/// The error body for what is not there.
fn with_fallbacks(router: Router<Arc<Service>>) -> Router<Arc<Service>> {
    router.fallback(not_found).method_not_allowed_fallback(wrong_method)
}

/// The correlation id around everything, a browser's preflight included.
fn finish(router: Router<Arc<Service>>, service: &Arc<Service>) -> Router {
    router.layer(from_fn(correlation::around)).with_state(Arc::clone(service))
}

async fn wrong_method() -> ServiceError {
    ServiceError::new(ErrorCode::InvalidRequest, "route", "This path does not take this method")
        .with_status(StatusCode::METHOD_NOT_ALLOWED)
}

async fn not_found(uri: Uri) -> ServiceError {
    let path: String = uri.path().chars().take(256).collect();
    ServiceError::new(ErrorCode::ResourceNotFound, "route", "There is nothing at this path")
        .with_detail("path", path)
}
