//! The way to the collector: OTLP over HTTP, by a client of our own, in the runtime that serves.
//!
//! The SDK's threads hand batches over and wait; requests never do. What cannot be sent is given up after ten seconds, and
//! told in the log once a minute at most.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use opentelemetry_http::{HttpClient, HttpError, ResponseBodyTooLarge};
use opentelemetry_otlp::{
    ExporterBuildError, MetricExporter, Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _,
};
use tokio::runtime::Handle;
use tokio::time::timeout;
use tower::ServiceExt as _;

use crate::body::Outbound;
use crate::clock::{Clock, Moment};
use crate::upstream::{CollectError, Upstream, collect};

/// How long a batch may take, with all that is tried.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(10);
/// The largest answer of a collector, in bytes: it says little.
const ANSWER_BYTES: usize = 64 * 1024;
/// How long the log is silent about it once it was told that the collector takes nothing.
const SILENCE: Duration = Duration::from_secs(60);

/// The exporter of spans to the collector with this base.
pub(super) fn spans(collector: &Arc<Collector>, base: &str) -> Result<SpanExporter, ExporterBuildError> {
    SpanExporter::builder()
        .with_http()
        .with_shared_http_client(shared(collector))
        .with_endpoint(endpoint(base, "v1/traces"))
        .with_protocol(Protocol::HttpBinary)
        .with_timeout(EXPORT_TIMEOUT)
        .build()
}

/// The exporter of metrics to it.
pub(super) fn metrics(collector: &Arc<Collector>, base: &str) -> Result<MetricExporter, ExporterBuildError> {
    MetricExporter::builder()
        .with_http()
        .with_shared_http_client(shared(collector))
        .with_endpoint(endpoint(base, "v1/metrics"))
        .with_protocol(Protocol::HttpBinary)
        .with_timeout(EXPORT_TIMEOUT)
        .build()
}

fn shared(collector: &Arc<Collector>) -> Arc<dyn HttpClient> {
    Arc::<Collector>::clone(collector)
}

fn endpoint(base: &str, path: &str) -> String {
    format!("{}/{path}", base.trim_end_matches('/'))
}

/// The client.
pub(super) struct Collector {
    client: Upstream,
    runtime: Handle,
    clock: Clock,
    troubles: Mutex<Troubles>,
}

#[derive(Debug, Default)]
struct Troubles {
    told: Option<Moment>,
    since_then: u64,
}

impl Collector {
    /// Sends by `client`, in the runtime in which this is called.
    pub(super) fn new(client: Upstream, clock: Clock) -> Self {
        Self {
            client,
            runtime: Handle::current(),
            clock,
            troubles: Mutex::default(),
        }
    }

    fn tell(&self, trouble: &str) {
        let now = self.clock.monotonic();
        let mut troubles = self.troubles.lock().unwrap_or_else(PoisonError::into_inner);
        if troubles.told.is_some_and(|told| now.since(told) < SILENCE) {
            troubles.since_then += 1;
            return;
        }
        let others = std::mem::take(&mut troubles.since_then);
        troubles.told = Some(now);
        drop(troubles);
        tracing::warn!(trouble, others, "the collector does not take telemetry");
    }
}

impl fmt::Debug for Collector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Collector")
    }
}

async fn exchange(client: Upstream, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
    let request = request.map(Outbound::json);
    let (parts, body) = client
        .oneshot(request)
        .await
        .map_err(|error| {
            if error.is_unsent() {
                "there is no connection"
            } else {
                "the connection broke off"
            }
        })?
        .into_parts();
    let body = collect(body, ANSWER_BYTES).await.map_err(|error| match error {
        CollectError::TooLarge | CollectError::NoRoom => HttpError::from(ResponseBodyTooLarge::new()),
        CollectError::Broken(_) => "the connection broke off".into(),
    })?;
    Ok(Response::from_parts(parts, body))
}

type Sending<'a> = Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'a>>;

impl HttpClient for Collector {
    fn send_bytes<'s, 'a>(&'s self, request: Request<Bytes>) -> Sending<'a>
    where
        's: 'a,
        Self: 'a,
    {
        let exchange = exchange(self.client.clone(), request);
        // The caller's thread has no runtime: nothing of ours may be made on it, a timer neither.
        let sent = self
            .runtime
            .spawn(async move { timeout(EXPORT_TIMEOUT, exchange).await });
        Box::pin(async move {
            let answer = match sent.await {
                Ok(Ok(answer)) => answer,
                Ok(Err(_)) => Err("it took too long".into()),
                Err(_) => Err("the gateway ends".into()),
            };
            match &answer {
                Ok(answer) if answer.status().is_success() => {}
                Ok(answer) => self.tell(answer.status().as_str()),
                Err(error) => self.tell(&error.to_string()),
            }
            answer
        })
    }
}
