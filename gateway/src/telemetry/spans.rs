//! Spans, written when what they are about has ended. Every attribute is typed, and comes from the record.

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use curfew_policies::Reason;
use opentelemetry::trace::{SpanId, SpanKind, Status};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_sdk::trace::{BatchSpanProcessor, SpanData, SpanEvents, SpanLinks, SpanProcessor as _};

use super::exchange::Seen;
use super::trace::{Trace, Tracer};
use super::{End, scope};
use crate::clock::Moment;
use crate::error::GatewayError;
use crate::record::Record;

/// Writes spans to a processor, which never makes anybody wait.
#[derive(Debug)]
pub(super) struct Spans {
    processor: BatchSpanProcessor,
    scope: InstrumentationScope,
}

impl Spans {
    pub(super) fn new(processor: BatchSpanProcessor) -> Self {
        Self {
            processor,
            scope: scope(),
        }
    }

    /// Sends what is there, for at most `most`.
    pub(super) fn shutdown(&self, most: Duration) {
        let _ = self.processor.shutdown_with_timeout(most);
    }

    /// Writes a request: its own span, one for the wait for its turn, one for each exchange with Meta.
    pub(super) fn write(
        &self,
        tracer: &Tracer,
        record: &Record,
        trace: &Trace,
        end: End<'_>,
        ended: Moment,
        exchanges: &[Seen],
    ) {
        for seen in exchanges {
            self.write_exchange(trace, seen);
        }
        if let Some((since, wait)) = record.wait() {
            let number = KeyValue::new("curfew.number", record.number_id().to_string());
            self.write_span(Written {
                trace,
                span_id: tracer.span_id(),
                parent: trace.span_id(),
                kind: SpanKind::Internal,
                name: "wait for the number's pace".into(),
                from: trace.time_of(since),
                to: trace.time_of(since.after(wait)),
                attributes: vec![number],
                status: Status::Unset,
            });
        }
        let method = record.method_name();
        let name = match record.template() {
            Some(template) => Cow::Owned(format!("{method} {template}")),
            None => Cow::Borrowed(method),
        };
        // A refusal is an answer; what the gateway or Meta failed at is an error (HTTP spans, "Status").
        let status = if end.status >= 500 || end.status == 0 {
            Status::error(
                end.reason
                    .map_or(Cow::Borrowed(""), |reason| reason.to_owned().into()),
            )
        } else {
            Status::Unset
        };
        self.write_span(Written {
            trace,
            span_id: trace.span_id(),
            parent: trace.parent_id,
            kind: SpanKind::Server,
            name,
            from: trace.time_of(trace.began),
            to: trace.time_of(ended),
            attributes: of_request(record, end),
            status,
        });
    }

    /// Writes one exchange with Meta.
    pub(super) fn write_exchange(&self, trace: &Trace, seen: &Seen) {
        let method = method_name(&seen.what.method);
        self.write_span(Written {
            trace,
            span_id: seen.span_id,
            parent: trace.span_id(),
            kind: SpanKind::Client,
            name: format!("{method} {}", seen.what.operation).into(),
            from: trace.time_of(seen.began),
            to: trace.time_of(seen.ended),
            attributes: of_exchange(seen),
            status: if seen.has_failed() {
                Status::error(seen.failure.unwrap_or_default())
            } else {
                Status::Unset
            },
        });
    }

    fn write_span(&self, written: Written<'_>) {
        self.processor.on_end(SpanData {
            span_context: written.trace.context(written.span_id),
            parent_span_id: written.parent,
            parent_span_is_remote: written.kind == SpanKind::Server && written.parent != SpanId::INVALID,
            span_kind: written.kind,
            name: written.name,
            start_time: written.from,
            end_time: written.to,
            attributes: written.attributes,
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: written.status,
            instrumentation_scope: self.scope.clone(),
        });
    }
}

struct Written<'a> {
    trace: &'a Trace,
    span_id: SpanId,
    parent: SpanId,
    kind: SpanKind,
    name: Cow<'static, str>,
    from: SystemTime,
    to: SystemTime,
    attributes: Vec<KeyValue>,
    status: Status,
}

fn of_request(record: &Record, end: End<'_>) -> Vec<KeyValue> {
    let text = |key: &'static str, value: &str| KeyValue::new(key, value.to_owned());
    let mut attributes = vec![
        KeyValue::new("http.request.method", record.method_name()),
        KeyValue::new("curfew.operation", record.operation_name()),
        text("curfew.caller", record.caller_name()),
        KeyValue::new("curfew.decision", decision(record, end)),
    ];
    attributes.extend(
        record
            .template()
            .map(|template| KeyValue::new("http.route", template)),
    );
    if end.status != 0 {
        let status = i64::from(end.status);
        attributes.push(KeyValue::new("http.response.status_code", status));
    }
    if record.number_id() != 0 {
        attributes.push(KeyValue::new("curfew.number", record.number_id().to_string()));
    }
    attributes.extend(end.reason.map(|reason| text("curfew.reason", reason)));
    attributes.extend(end.cache.map(|cache| text("curfew.cache", cache)));
    attributes.extend(
        record
            .observed_slug()
            .map(|slug| KeyValue::new("curfew.observed", slug)),
    );
    attributes.extend(
        record
            .unverified_use()
            .map(|used| text("curfew.unverified", used)),
    );
    if let Some((_, wait)) = record.wait() {
        let millis = i64::try_from(wait.as_millis()).unwrap_or(i64::MAX);
        attributes.push(KeyValue::new("curfew.wait_ms", millis));
    }
    if record.is_reused() {
        attributes.push(KeyValue::new("curfew.reused", true));
    }
    if record.is_replayed() {
        attributes.push(KeyValue::new("curfew.replayed", true));
    }
    attributes
}

fn of_exchange(seen: &Seen) -> Vec<KeyValue> {
    let mut attributes = vec![
        KeyValue::new("http.request.method", method_name(&seen.what.method)),
        KeyValue::new("curfew.operation", seen.what.operation),
        KeyValue::new(
            "curfew.upstream",
            if seen.what.is_media { "media" } else { "graph" },
        ),
        KeyValue::new("curfew.attempt", i64::from(seen.resent) + 1),
    ];
    if seen.status != 0 {
        let status = i64::from(seen.status);
        attributes.push(KeyValue::new("http.response.status_code", status));
    }
    if seen.resent != 0 {
        let resent = i64::from(seen.resent);
        attributes.push(KeyValue::new("http.request.resend_count", resent));
    }
    attributes.extend(seen.code.map(|code| KeyValue::new("curfew.graph.code", code)));
    let fb_trace = seen.fb_trace.as_deref();
    attributes.extend(fb_trace.map(|id| KeyValue::new("curfew.graph.fbtrace_id", id.to_owned())));
    attributes.extend(seen.failure.map(|failure| KeyValue::new("error.type", failure)));
    attributes
}

/// What became of a request, in one word. What policy permitted and could not be done has failed, and is no refusal.
pub(super) fn decision(record: &Record, end: End<'_>) -> &'static str {
    let is_failure = |slug: &str| {
        slug == GatewayError::OutcomeUnknown.slug() || end.status >= 500 && !Reason::SLUGS.contains(&slug)
    };
    match (end.reason, record.observed_slug()) {
        _ if end.status == 0 => "gone",
        (Some(slug), _) if is_failure(slug) => "failed",
        (Some(_), _) => "refused",
        (None, Some(_)) => "observed",
        (None, None) => "allowed",
    }
}

/// A method's name where it is one of those that the front door takes (HTTP semantic conventions: others are `_OTHER`).
pub(crate) fn method_name(method: &http::Method) -> &'static str {
    match *method {
        http::Method::GET => "GET",
        http::Method::POST => "POST",
        http::Method::DELETE => "DELETE",
        http::Method::HEAD => "HEAD",
        _ => "_OTHER",
    }
}
