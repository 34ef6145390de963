//! What probes and scrapers ask, on a plain port: the kubelet has no certificate that the API would believe.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::json;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::api::Api;
use super::caller::expiry;
use super::front_proxy::Rules;
use super::metrics::Metrics;
use crate::readiness::Readiness;
use crate::tls::Identity;

/// What is looked at.
#[derive(Debug, Clone)]
pub struct Health {
    /// The API, for what it knows of the fleet.
    pub api: Api,
    /// Whom the aggregator's word is taken for.
    pub rules: watch::Receiver<Option<Arc<Rules>>>,
    /// The certificate to show.
    pub identity: watch::Receiver<Option<Identity>>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Cancelled once the adapter is to leave.
    pub leaving: CancellationToken,
}

impl Health {
    /// `/healthz`, `/readyz` and `/metrics`.
    pub fn router(self) -> Router {
        let readiness = Arc::new(self.readiness());
        Router::new()
            .route("/healthz", get(async || Json(json!({ "status": "ok" }))))
            .route("/readyz", get(async move || ready(&readiness)))
            .route("/metrics", get(metrics))
            .with_state(self)
    }

    /// An unready adapter is no endpoint of its APIService any more, and without endpoints every discovery in the
    /// cluster fails; so only what makes each answer an error counts. A fleet that was known once and is not now is
    /// told to the autoscaler, which holds.
    fn readiness(&self) -> Readiness {
        let (leaving, rules) = (self.leaving.clone(), self.rules.clone());
        let (identity, api) = (self.identity.clone(), self.api.clone());
        let known = AtomicBool::new(false);
        Readiness::default()
            .with("leaving", move || !leaving.is_cancelled())
            .with("front_proxy_rules", move || rules.borrow().is_some())
            .with("certificate", move || identity.borrow().is_some())
            .with("fleet", move || {
                let now = api.fleet().is_some();
                known.fetch_or(now, Ordering::Relaxed) || now
            })
    }
}

fn ready(readiness: &Readiness) -> Response {
    let reasons = readiness.reasons();
    let status = if reasons.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(json!({ "ready": reasons.is_empty(), "reasons": reasons }))).into_response()
}

async fn metrics(State(health): State<Health>) -> impl IntoResponse {
    let leaf = health.identity.borrow().as_ref().and_then(|identity| identity.chain.first().cloned());
    let fleet = health.api.fleet();
    let text = health.metrics.encode(fleet.as_deref(), leaf.as_ref().and_then(expiry));
    ([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], text)
}
