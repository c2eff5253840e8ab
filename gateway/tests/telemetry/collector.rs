//! A collector that decodes what it gets, as a real one does.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use prost::Message as _;
use tokio::net::TcpListener;

/// A collector. Dropped, it goes on until its runtime ends.
#[derive(Clone)]
pub(crate) struct Collector {
    addr: SocketAddr,
    taken: Arc<Mutex<Taken>>,
}

#[derive(Default)]
struct Taken {
    traces: Vec<ExportTraceServiceRequest>,
    metrics: Vec<ExportMetricsServiceRequest>,
    bytes: Vec<u8>,
    keys: Vec<String>,
    /// Whether it refuses instead.
    refuses: bool,
}

impl Collector {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .expect("an address");
        let collector = Self {
            addr: listener.local_addr().expect("an address"),
            taken: Arc::default(),
        };
        let serving = collector.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let collector = serving.clone();
                let service = service_fn(move |request| collector.clone().take(request));
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service),
                );
            }
        });
        collector
    }

    /// One that takes nothing.
    pub(crate) async fn refusing() -> Self {
        let collector = Self::start().await;
        collector.taken().refuses = true;
        collector
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.addr)
    }

    async fn take(self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
        let path = request.uri().path().to_owned();
        let key = request.headers().get("x-key").cloned();
        let content_type = request.headers().get("content-type").cloned();
        assert_eq!(content_type.expect("a type"), "application/x-protobuf");
        let body = request
            .into_body()
            .collect()
            .await
            .expect("a whole body")
            .to_bytes();
        let mut taken = self.taken();
        let mut response = Response::new(Full::default());
        if taken.refuses {
            *response.status_mut() = StatusCode::BAD_REQUEST;
            return Ok(response);
        }
        taken.bytes.extend_from_slice(&body);
        taken
            .keys
            .extend(key.and_then(|key| key.to_str().map(ToOwned::to_owned).ok()));
        match path.as_str() {
            "/v1/traces" => taken
                .traces
                .push(ExportTraceServiceRequest::decode(body).expect("spans")),
            "/v1/metrics" => taken
                .metrics
                .push(ExportMetricsServiceRequest::decode(body).expect("metrics")),
            other => panic!("{other} is no signal's path"),
        }
        Ok(response)
    }

    fn taken(&self) -> std::sync::MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All spans, oldest batch first.
    pub(crate) fn spans(&self) -> Vec<Seen> {
        let taken = self.taken();
        let spans = taken
            .traces
            .iter()
            .flat_map(|request| &request.resource_spans)
            .flat_map(|resource| &resource.scope_spans)
            .flat_map(|scope| &scope.spans);
        spans.cloned().map(Seen).collect()
    }

    /// What the spans' senders say of themselves.
    pub(crate) fn resources(&self) -> Vec<(String, String)> {
        let taken = self.taken();
        let attributes = taken
            .traces
            .iter()
            .flat_map(|request| &request.resource_spans)
            .filter_map(|spans| spans.resource.as_ref())
            .flat_map(|resource| &resource.attributes);
        attributes
            .map(|attribute| (attribute.key.clone(), text(attribute.value.as_ref())))
            .collect()
    }

    /// The names of all metrics.
    pub(crate) fn metrics(&self) -> Vec<String> {
        let taken = self.taken();
        let metrics = taken
            .metrics
            .iter()
            .flat_map(|request| &request.resource_metrics)
            .flat_map(|resource| &resource.scope_metrics)
            .flat_map(|scope| &scope.metrics);
        metrics.map(|metric| metric.name.clone()).collect()
    }

    /// The values of `X-Key`, one of each request that had it.
    pub(crate) fn keys(&self) -> Vec<String> {
        self.taken().keys.clone()
    }

    /// Everything as it came.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.taken().bytes.clone()
    }
}

/// One span.
#[derive(Clone, Debug)]
pub(crate) struct Seen(pub(crate) Span);

impl Seen {
    pub(crate) fn is(&self, kind: SpanKind) -> bool {
        self.0.kind() == kind
    }

    /// An attribute as text; nothing where it is not there.
    pub(crate) fn get(&self, key: &str) -> Option<String> {
        let mut found = self.0.attributes.iter().filter(|attribute| attribute.key == key);
        let value = found.next().map(|attribute| text(attribute.value.as_ref()));
        assert!(found.next().is_none(), "{key} is there twice");
        value
    }

    pub(crate) fn trace(&self) -> String {
        hex(&self.0.trace_id)
    }

    pub(crate) fn id(&self) -> String {
        hex(&self.0.span_id)
    }

    /// The parent's id; empty where there is none.
    pub(crate) fn parent(&self) -> String {
        hex(&self.0.parent_span_id)
    }

    pub(crate) fn millis(&self) -> u64 {
        (self.0.end_time_unix_nano - self.0.start_time_unix_nano) / 1_000_000
    }
}

fn text(value: Option<&opentelemetry_proto::tonic::common::v1::AnyValue>) -> String {
    match value.and_then(|value| value.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(number)) => number.to_string(),
        Some(Value::BoolValue(truth)) => truth.to_string(),
        other => panic!("no typed value: {other:?}"),
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut text = String::new();
    for byte in bytes {
        write!(text, "{byte:02x}").expect("text");
    }
    text
}
