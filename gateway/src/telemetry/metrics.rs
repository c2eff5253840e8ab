//! What is counted as it happens. Every label has few values, and none stands for a person: routes, names of operations,
//! slugs, status codes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Histogram, Meter};

use super::End;
use super::exchange::Seen;
use super::spans::{decision, method_name};
use crate::config::Origin;
use crate::error::slugs;
use crate::record::Record;

/// Seconds: the buckets that the conventions advise for HTTP, with finer ones below five milliseconds, where sends are.
const SECONDS: [f64; 17] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
];

/// The instruments, made once.
#[derive(Debug)]
pub(super) struct Metrics {
    under_way: Arc<AtomicU64>,
    requests: Histogram<f64>,
    decisions: Counter<u64>,
    waits: Histogram<f64>,
    webhooks: Histogram<f64>,
    exchanges: Histogram<f64>,
    resends: Counter<u64>,
    errors: Counter<u64>,
    graph: Peer,
    media: Peer,
}

/// An origin, as the conventions name it.
#[derive(Debug)]
struct Peer {
    address: Arc<str>,
    port: i64,
}

impl Peer {
    fn of(origin: &Origin) -> Self {
        let authority = origin.authority();
        let host = match authority.rsplit_once(':') {
            Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
            _ => &authority,
        };
        Self {
            address: host.into(),
            port: origin.port().into(),
        }
    }
}

impl Metrics {
    pub(super) fn new(meter: &Meter, graph: &Origin, media: Option<&Origin>) -> Self {
        let histogram = |name: &'static str, description: &'static str| {
            meter
                .f64_histogram(name)
                .with_unit("s")
                .with_description(description)
                .with_boundaries(SECONDS.to_vec())
                .build()
        };
        let counter = |name: &'static str, description: &'static str| {
            meter.u64_counter(name).with_description(description).build()
        };
        let under_way = Arc::new(AtomicU64::new(0));
        let seen = Arc::clone(&under_way);
        meter
            .u64_observable_gauge("http.server.active_requests")
            .with_description("Requests under way, up to the head of their answers")
            .with_callback(move |to| to.observe(seen.load(Ordering::Relaxed), &[]))
            .build();
        Self {
            under_way,
            requests: histogram(
                "http.server.request.duration",
                "From a request's head to its answer's",
            ),
            decisions: counter("curfew.decisions", "What became of requests, and by which rule"),
            waits: histogram("curfew.wait.duration", "How long sends that had to wait did wait"),
            webhooks: histogram(
                "curfew.webhook.duration",
                "Webhooks, from their heads to what Meta is told, by what became of them",
            ),
            exchanges: histogram(
                "http.client.request.duration",
                "Exchanges with Meta, to the end of the answer",
            ),
            resends: counter(
                "curfew.upstream.resends",
                "Exchanges begun anew, before a byte of them was written",
            ),
            errors: counter(
                "curfew.upstream.errors",
                "Errors that Meta answered, by their code",
            ),
            graph: Peer::of(graph),
            media: Peer::of(media.unwrap_or(graph)),
        }
    }

    /// A request came.
    pub(super) fn begin(&self) {
        self.under_way.fetch_add(1, Ordering::Relaxed);
    }

    /// A request ended.
    pub(super) fn end(&self, record: &Record, end: End<'_>, took: Duration) {
        self.under_way.fetch_sub(1, Ordering::Relaxed);
        let labels = [
            KeyValue::new("http.request.method", record.method_name()),
            KeyValue::new("http.response.status_code", i64::from(end.status)),
            KeyValue::new("curfew.operation", record.operation_name()),
            KeyValue::new("http.route", record.template().unwrap_or_default()),
        ];
        // Without a route there is no such label, which comes last for that.
        let known = labels.len() - usize::from(record.template().is_none());
        self.requests
            .record(took.as_secs_f64(), labels.get(..known).unwrap_or(&labels));
        let slug = end.reason.and_then(known_slug).or(record.observed_slug());
        let labels = [
            KeyValue::new("curfew.decision", decision(record, end)),
            KeyValue::new("curfew.reason", slug.unwrap_or_default()),
        ];
        let known = labels.len() - usize::from(slug.is_none());
        self.decisions.add(1, labels.get(..known).unwrap_or(&labels));
        if let Some((_, wait)) = record.wait() {
            self.waits.record(wait.as_secs_f64(), &[]);
        }
    }

    /// A webhook ended.
    pub(super) fn webhook(&self, reason: &'static str, took: Duration) {
        let label = KeyValue::new("curfew.reason", reason);
        self.webhooks.record(took.as_secs_f64(), &[label]);
    }

    /// An exchange with Meta ended.
    pub(super) fn exchange(&self, seen: &Seen) {
        let peer = if seen.what.is_media {
            &self.media
        } else {
            &self.graph
        };
        let labels = [
            KeyValue::new("http.request.method", method_name(&seen.what.method)),
            KeyValue::new("server.address", Arc::clone(&peer.address)),
            KeyValue::new("server.port", peer.port),
            KeyValue::new("curfew.operation", seen.what.operation),
            KeyValue::new("http.response.status_code", i64::from(seen.status)),
            KeyValue::new("error.type", seen.failure.unwrap_or_default()),
        ];
        let known = labels.len() - usize::from(seen.failure.is_none());
        self.exchanges.record(
            seen.ended.since(seen.began).as_secs_f64(),
            labels.get(..known).unwrap_or(&labels),
        );
        if seen.resent > 0 {
            self.resends.add(seen.resent.into(), &[]);
        }
        if let Some(code) = seen.code {
            self.errors.add(1, &[KeyValue::new("curfew.graph.code", code)]);
        }
    }
}

/// The slug that a header has, as one of the list: a label never has a value that is not there.
fn known_slug(reason: &str) -> Option<&'static str> {
    slugs().find(|slug| *slug == reason)
}
