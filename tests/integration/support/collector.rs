//! A collector that keeps what it is sent, over HTTP or gRPC.

use std::net::SocketAddr;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::codegen::tokio_stream::wrappers::TcpListenerStream;

use websocket_service::server::{Door, accept};

use super::{LOCAL, within};

/// What was sent, request by request.
type Requests = watch::Sender<Vec<ExportTraceServiceRequest>>;

/// A running collector. Ends when dropped.
pub(crate) struct Collector {
    pub(crate) url: String,
    requests: Requests,
    _guard: DropGuard,
}

impl Collector {
    /// One that speaks `http/protobuf`.
    pub(crate) async fn http() -> Self {
        let (collector, listener, stop) = Self::bind().await;
        let router = Router::new().route("/v1/traces", post(take)).with_state(collector.requests.clone());
        tokio::spawn(accept::serve(listener, Door::default(), router, stop));
        collector
    }

    /// One that speaks `grpc`.
    pub(crate) async fn grpc() -> Self {
        let (collector, listener, stop) = Self::bind().await;
        let service = TraceServiceServer::new(Grpc(collector.requests.clone()));
        let serve = tonic::transport::Server::builder()
            .add_service(service)
            .serve_with_incoming(TcpListenerStream::new(listener));
        tokio::spawn(stop.run_until_cancelled_owned(serve));
        collector
    }

    async fn bind() -> (Self, TcpListener, CancellationToken) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address: SocketAddr = listener.local_addr().expect("bound");
        let stop = CancellationToken::new();
        let collector = Self {
            url: format!("http://{address}"),
            requests: watch::Sender::default(),
            _guard: stop.clone().drop_guard(),
        };
        (collector, listener, stop)
    }

    /// Waits for a span of this name that passes, and returns it.
    pub(crate) async fn span(&self, name: &str, passes: impl Fn(&Span) -> bool) -> Span {
        let find = |requests: &[ExportTraceServiceRequest]| {
            spans(requests).find(|span| span.name == name && passes(span)).cloned()
        };
        let mut requests = self.requests.subscribe();
        let what = format!("a span {name}");
        let found = within(&what, LOCAL, requests.wait_for(|requests| find(requests).is_some())).await;
        find(&found.expect("the collector runs")).expect("just found")
    }

    /// The names of all spans so far.
    pub(crate) fn names(&self) -> Vec<String> {
        spans(&self.requests.borrow()).map(|span| span.name.clone()).collect()
    }

    /// Everything so far, to look for what must not be there.
    pub(crate) fn text(&self) -> String {
        format!("{:?}", self.requests.borrow())
    }

    /// An attribute of the process that sent the first spans.
    pub(crate) fn resource(&self, key: &str) -> Option<String> {
        let requests = self.requests.borrow();
        let resource = requests.first()?.resource_spans.first()?.resource.as_ref()?;
        text(&resource.attributes, key)
    }
}

fn spans(requests: &[ExportTraceServiceRequest]) -> impl Iterator<Item = &Span> {
    requests
        .iter()
        .flat_map(|request| &request.resource_spans)
        .flat_map(|resource| &resource.scope_spans)
        .flat_map(|scope| &scope.spans)
}

/// An attribute, as text.
pub(crate) fn text(attributes: &[KeyValue], key: &str) -> Option<String> {
    let value = attributes.iter().find(|pair| pair.key == key)?.value.as_ref()?.value.as_ref()?;
    Some(match value {
        Value::StringValue(text) => text.clone(),
        Value::IntValue(number) => number.to_string(),
        Value::DoubleValue(number) => number.to_string(),
        other => format!("{other:?}"),
    })
}

/// An id as collectors show it.
pub(crate) fn hex(id: &[u8]) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}

async fn take(State(requests): State<Requests>, body: Bytes) -> impl IntoResponse {
    let request = ExportTraceServiceRequest::decode(body).expect("OTLP");
    requests.send_modify(|requests| requests.push(request));
    let answer = ExportTraceServiceResponse::default().encode_to_vec();
    ([(header::CONTENT_TYPE, "application/x-protobuf")], answer)
}

struct Grpc(Requests);

#[tonic::async_trait]
impl TraceService for Grpc {
    async fn export(
        &self,
        request: tonic::Request<ExportTraceServiceRequest>,
    ) -> Result<tonic::Response<ExportTraceServiceResponse>, tonic::Status> {
        self.0.send_modify(|requests| requests.push(request.into_inner()));
        Ok(tonic::Response::new(ExportTraceServiceResponse::default()))
    }
}
