//! What the gateway tells of what it does: metrics, traces, and the trace's ids for its log.
//!
//! `metrics` are OpenTelemetry instruments, counted whether anybody looks or not; `observed` are those that are read from the
//! stores when somebody does. `trace` is where a request stands in a trace, `exchange` what was seen of one exchange with
//! Meta, `spans` what both become when the request has ended. `collector` is the way out.
//!
//! Nothing of content, recipients, queries or tokens can come in here: names, ids and figures are taken from a request's
//! [`Record`], which has none of them.

mod collector;
mod exchange;
mod metrics;
mod observed;
mod process;
mod spans;
mod trace;

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, Method};
use opentelemetry::metrics::MeterProvider as _;
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::{PeriodicReader, SdkMeterProvider, Stream};
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, IdGenerator as _, RandomIdGenerator, SpanProcessor as _,
};
use prometheus::TextEncoder;
use thiserror::Error;
use tokio::time::timeout;

use self::collector::Collector;
use self::metrics::Metrics;
use self::spans::Spans;
use self::trace::Tracer;
use crate::clock::{Clock, Moment};
use crate::config::Config;
use crate::record::Record;
use crate::upstream::Upstream;

pub use self::exchange::{ExchangeNote, What};
pub use self::observed::Observed;
pub(crate) use self::spans::method_name;
pub use self::trace::{TRACEPARENT, Trace};

/// Under which name the gateway is known where it reports to.
const SERVICE: &str = "curfew";
/// The most values that one instrument may have: 2,000 numbers, with each of their limits by itself.
const MOST_SERIES: usize = 10_000;
/// Spans that wait to be sent. What comes on top of them is not kept, and nobody waits.
const QUEUE: usize = 8192;
/// Spans that are sent at once.
const BATCH: usize = 512;

/// Why there is no telemetry.
#[derive(Debug, Error)]
#[error("{0}")]
pub struct TelemetryError(String);

/// How a request ended.
#[derive(Clone, Copy, Debug)]
pub struct End<'a> {
    /// The answer's status; 0 where nobody waited for it.
    pub status: u16,
    /// `Curfew-Reason`.
    pub reason: Option<&'a str>,
    /// `Curfew-Cache`.
    pub cache: Option<&'a str>,
}

/// The telemetry of one gateway. Clones are the same.
#[derive(Clone)]
pub struct Telemetry(Arc<Inner>);

struct Inner {
    clock: Clock,
    tracer: Tracer,
    propagates: bool,
    metrics: Metrics,
    meters: SdkMeterProvider,
    page: prometheus::Registry,
    /// Without a collector no span is written.
    spans: Option<Spans>,
}

impl std::fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Telemetry")
    }
}

impl Telemetry {
    /// Begins to count, and to send where there is a collector: by `client`, of which no connection is ever one to Meta. To be
    /// called within a runtime, by which it is sent.
    ///
    /// # Errors
    ///
    /// When the collector's address makes no request, or an exporter cannot be built.
    pub fn start(config: &Config, client: Upstream, clock: Clock) -> Result<Self, TelemetryError> {
        let (upstream, config) = (&config.upstream, &config.telemetry);
        let failed = |error: &dyn std::fmt::Display| TelemetryError(error.to_string());
        let resource = resource();
        let page = prometheus::Registry::new();
        let pulled = opentelemetry_prometheus::exporter()
            .with_registry(page.clone())
            .scope_info_enabled(false)
            .build()
            .map_err(|error| failed(&error))?;
        let mut meters = SdkMeterProvider::builder()
            .with_resource(resource.clone())
            .with_reader(pulled)
            .with_view(|_: &opentelemetry_sdk::metrics::Instrument| {
                Stream::builder().with_cardinality_limit(MOST_SERIES).build().ok()
            });
        let mut spans = None;
        if let Some(endpoint) = &config.otlp_endpoint {
            let collector = Arc::new(Collector::new(client, clock.clone()));
            let base = endpoint.to_string();
            let pushed = collector::metrics(&collector, &base).map_err(|error| failed(&error))?;
            meters = meters.with_reader(PeriodicReader::builder(pushed).build());
            let exporter = collector::spans(&collector, &base).map_err(|error| failed(&error))?;
            let config = BatchConfigBuilder::default()
                .with_max_queue_size(QUEUE)
                .with_max_export_batch_size(BATCH)
                .with_scheduled_delay(Duration::from_secs(1))
                .build();
            let mut processor = BatchSpanProcessor::builder(exporter)
                .with_batch_config(config)
                .build();
            processor.set_resource(&resource);
            spans = Some(Spans::new(processor));
        }
        let meters = meters.build();
        let meter = meters.meter_with_scope(scope());
        let metrics = Metrics::new(&meter, &upstream.graph, upstream.media.first());
        process::observe(&meter);
        Ok(Self(Arc::new(Inner {
            tracer: Tracer::new(config.sample_ratio, clock.clone()),
            clock,
            propagates: config.propagate_upstream,
            metrics,
            meters,
            page,
            spans,
        })))
    }

    /// Reads these whenever somebody looks.
    pub fn observe(&self, observed: Observed) {
        observed.register(&self.0.meters.meter_with_scope(scope()));
    }

    /// The record of a request with this head.
    #[must_use]
    pub fn begin(&self, method: &Method, headers: &HeaderMap) -> Record {
        self.0.metrics.begin();
        Record::new(method, self.0.tracer.begin(headers))
    }

    /// Tells how a request ended: counts it, and writes its spans if they are kept. Says how long it took.
    pub fn end(&self, record: &Record, end: End<'_>) -> Duration {
        let Some(trace) = record.trace() else {
            return Duration::ZERO;
        };
        let now = self.now();
        let took = now.since(trace.began);
        self.0.metrics.end(record, end, took);
        let is_notable =
            end.status == 0 || end.status >= 400 || end.reason.is_some() || record.observed_slug().is_some();
        let is_kept = self.0.spans.is_some() && (trace.is_sampled || is_notable);
        let seen = trace.close(is_kept, |seen| self.0.spans.is_some() && seen.has_failed());
        if let (Some(seen), Some(spans)) = (seen, &self.0.spans) {
            spans.write(&self.0.tracer, record, trace, end, now, &seen);
        }
        took
    }

    /// An exchange with Meta begins.
    #[must_use]
    pub fn exchange(&self, record: &Arc<Record>, what: What) -> ExchangeNote {
        ExchangeNote::new(self.clone(), Arc::clone(record), self.0.tracer.span_id(), what)
    }

    /// The time, for what is told at its end.
    #[must_use]
    pub fn now(&self) -> Moment {
        self.0.clock.monotonic()
    }

    /// A webhook that began then was taken, or was not for this reason, one of few.
    pub fn webhook(&self, reason: &'static str, began: Moment) {
        self.0.metrics.webhook(reason, self.now().since(began));
    }

    /// Everything that is counted, in Prometheus's text format.
    ///
    /// # Errors
    ///
    /// When a name or a value does not fit the format.
    pub fn page(&self) -> Result<String, prometheus::Error> {
        TextEncoder::new().encode_to_string(&self.0.page.gather())
    }

    /// Sends what waits to be sent, for at most `most`, and no more from then on.
    pub async fn shutdown(&self, most: Duration) {
        let (of_spans, of_metrics) = (Arc::clone(&self.0), Arc::clone(&self.0));
        let spans = tokio::task::spawn_blocking(move || {
            if let Some(spans) = &of_spans.spans {
                spans.shutdown(most);
            }
        });
        let metrics = tokio::task::spawn_blocking(move || {
            // Whether it was taken is told where it is sent.
            let _ = of_metrics.meters.shutdown();
        });
        if timeout(most, async { tokio::join!(spans, metrics) })
            .await
            .is_err()
        {
            tracing::warn!("what was to be told last was not sent in time");
        }
    }

    fn write_late(&self, trace: &Trace, seen: &exchange::Seen) {
        if let Some(spans) = &self.0.spans {
            spans.write_exchange(trace, seen);
        }
    }

    fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    fn propagates(&self) -> bool {
        self.0.propagates
    }
}

/// What tells this process apart. `OTEL_RESOURCE_ATTRIBUTES` may add to it.
fn resource() -> Resource {
    Resource::builder()
        .with_service_name(SERVICE)
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .with_attribute(KeyValue::new(
            "service.instance.id",
            RandomIdGenerator::default().new_trace_id().to_string(),
        ))
        .build()
}

fn scope() -> InstrumentationScope {
    InstrumentationScope::builder(SERVICE)
        .with_version(env!("CARGO_PKG_VERSION"))
        .build()
}
