//! The way to the collector.

use std::sync::Arc;

use async_trait::async_trait;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use opentelemetry::KeyValue;
use opentelemetry_http::hyper::HyperClient;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::tonic_types::transport::ClientTlsConfig;
use opentelemetry_otlp::{ExporterBuildError, SpanExporter, WithHttpConfig, WithTonicConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::resource::EnvResourceDetector;
use opentelemetry_sdk::trace::SdkTracerProvider;
use rustls::{ClientConfig, RootCertStore};
use tokio::runtime::Handle;

use super::{Inner, Tracer};
use crate::config::{TraceConfig, TraceProtocol};
use crate::protocol::SERVICE;
use crate::tls::system_roots;

/// Why there can be no spans.
#[derive(Debug, thiserror::Error)]
#[error("tracing cannot start: {0}; see the OTEL_ variables of the environment")]
pub struct ExportError(#[from] ExporterBuildError);

/// Makes spans as the settings want them, and sends them in batches. The exporter reads the standard `OTEL_*`
/// variables of the process by itself; the settings hold what decides how to build it, and the sampler. `pod` is the
/// `service.instance.id`.
///
/// Must be called within a Tokio runtime. No collector needs to be there: spans that find none are dropped, with a line
/// in the log.
///
/// # Errors
/// [`ExportError`] when the variables cannot be used.
pub fn start(config: &TraceConfig, pod: &str) -> Result<Tracer, ExportError> {
    let Some(export) = &config.export else { return Ok(Tracer::off()) };
    let exporter = match export.protocol {
        TraceProtocol::Grpc => {
            let builder = SpanExporter::builder().with_tonic();
            if export.tls {
                builder.with_tls_config(ClientTlsConfig::new().with_native_roots()).build()
            } else {
                builder.build()
            }
        }
        TraceProtocol::Http => {
            let client = HyperClient::new(connector(), export.timeout, None);
            let client = OnRuntime { client, runtime: Handle::current() };
            SpanExporter::builder().with_http().with_http_client(client).build()
        }
    }?;
    let provider = SdkTracerProvider::builder()
        .with_resource(resource(export.service_name.as_deref(), pod))
        .with_batch_exporter(exporter);
    let inner = Arc::new(Inner::new(provider, export.sampling, config.user_ids));
    tokio::spawn(Inner::keep_making(Arc::downgrade(&inner)));
    Ok(Tracer(Some(inner)))
}

/// What every span says of its process. `OTEL_RESOURCE_ATTRIBUTES` may say otherwise.
fn resource(service_name: Option<&str>, pod: &str) -> Resource {
    let resource = Resource::builder_empty()
        .with_attributes([
            KeyValue::new("service.name", SERVICE),
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
            KeyValue::new("service.instance.id", pod.to_owned()),
        ])
        .with_detector(Box::new(EnvResourceDetector::new()));
    match service_name {
        Some(name) => resource.with_service_name(name.to_owned()).build(),
        None => resource.build(),
    }
}

/// Plain or TLS, as the URL says. TLS trusts the system's authorities, as towards Redis.
fn connector() -> HttpsConnector<HttpConnector> {
    // Without any only a plain collector can be reached.
    let roots = system_roots().unwrap_or_else(|_| RootCertStore::empty());
    let tls = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().build()
}

/// The exporter runs on a thread of its own, and hyper needs the runtime.
#[derive(Debug)]
struct OnRuntime {
    client: HyperClient<HttpsConnector<HttpConnector>>,
    runtime: Handle,
}

#[async_trait]
impl HttpClient for OnRuntime {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let client = self.client.clone();
        self.runtime.spawn(async move { client.send_bytes(request).await }).await?
    }
}
