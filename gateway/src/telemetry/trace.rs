//! Where a request stands in a trace, and what was seen of its exchanges with Meta.
//!
//! A request gets its ids when it comes, so that its log line and Meta can be told them, and nothing else is made then. Spans
//! are written when it has ended, from what its record holds: what is not kept costs two random numbers.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::Context;
use opentelemetry::propagation::TextMapPropagator as _;
use opentelemetry::trace::{
    SpanContext, SpanId, SpanKind, TraceContextExt as _, TraceFlags, TraceId, TraceState,
};
use opentelemetry_http::HeaderExtractor;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{
    IdGenerator as _, ParentBasedSampler, RandomIdGenerator, Sampler, SamplingDecision, ShouldSample as _,
};

use super::exchange::Seen;
use crate::clock::{Clock, Moment};

/// The header that continues a trace (W3C Trace Context, section 3.2).
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// What vendors add to it (section 3.3).
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
/// The longest `tracestate` that is continued, in bytes: what every tracer has to take (section 3.3.1.5).
const MOST_TRACESTATE: usize = 512;
/// How many exchanges are noted of one request. None makes so many.
const MOST_EXCHANGES: usize = 16;

/// Begins traces, or continues callers'.
#[derive(Debug)]
pub(super) struct Tracer {
    sampler: ParentBasedSampler,
    ids: RandomIdGenerator,
    clock: Clock,
}

impl Tracer {
    /// A tracer that keeps `ratio` of the traces that begin here, and of callers' traces those that they keep.
    pub(super) fn new(ratio: f64, clock: Clock) -> Self {
        Self {
            sampler: Sampler::parent_based(Sampler::TraceIdRatioBased(ratio)),
            ids: RandomIdGenerator::default(),
            clock,
        }
    }

    /// The place of a request with these headers.
    pub(super) fn begin(&self, headers: &HeaderMap) -> Trace {
        let parent = parent(headers);
        let remote = parent.as_ref().map(|context| {
            let span = context.span();
            let remote = span.span_context();
            (remote.trace_id(), remote.span_id(), remote.trace_state().clone())
        });
        let (trace_id, parent_id, state) =
            remote.unwrap_or_else(|| (self.ids.new_trace_id(), SpanId::INVALID, TraceState::NONE));
        let sampled = self
            .sampler
            .should_sample(parent.as_ref(), trace_id, "", &SpanKind::Server, &[], &[]);
        Trace {
            trace_id,
            span_id: self.ids.new_span_id(),
            parent_id,
            state,
            is_sampled: sampled.decision == SamplingDecision::RecordAndSample,
            began: self.clock.monotonic(),
            began_at: self.clock.system_time(),
            exchanges: Mutex::default(),
        }
    }

    /// The id of one span more.
    pub(super) fn span_id(&self) -> SpanId {
        self.ids.new_span_id()
    }
}

/// What a caller says of its own span, where it says it once and as it should be said.
fn parent(headers: &HeaderMap) -> Option<Context> {
    let mut parents = headers.get_all(TRACEPARENT).iter();
    let (Some(_), None) = (parents.next(), parents.next()) else {
        return None;
    };
    let mut states = headers.get_all(TRACESTATE).iter();
    let state_is_fit = match (states.next(), states.next()) {
        (None, _) => true,
        (Some(state), None) => state.len() <= MOST_TRACESTATE,
        (Some(_), Some(_)) => false,
    };
    let propagator = TraceContextPropagator::new();
    let none = Context::new();
    let context = if state_is_fit {
        propagator.extract_with_context(&none, &HeaderExtractor(headers))
    } else {
        let mut parent_alone = HeaderMap::with_capacity(1);
        parent_alone.extend(headers.get(TRACEPARENT).map(|value| (TRACEPARENT, value.clone())));
        propagator.extract_with_context(&none, &HeaderExtractor(&parent_alone))
    };
    context.has_active_span().then_some(context)
}

/// A request's place in a trace.
#[derive(Debug)]
pub struct Trace {
    trace_id: TraceId,
    span_id: SpanId,
    /// The caller's span; invalid where there is none.
    pub(super) parent_id: SpanId,
    state: TraceState,
    pub(super) is_sampled: bool,
    pub(super) began: Moment,
    began_at: SystemTime,
    exchanges: Mutex<Exchanges>,
}

#[derive(Debug, Default)]
struct Exchanges {
    /// Most requests make one at most: it costs no allocation.
    first: Option<Seen>,
    more: Vec<Seen>,
    /// Once the request's spans are written: whether they were kept.
    kept: Option<bool>,
}

impl Trace {
    /// The trace's id.
    #[must_use]
    pub const fn trace_id(&self) -> TraceId {
        self.trace_id
    }

    /// The id of the request's own span.
    #[must_use]
    pub const fn span_id(&self) -> SpanId {
        self.span_id
    }

    /// What a span of this trace is known by. It is marked as kept: no other is ever written.
    pub(super) fn context(&self, span_id: SpanId) -> SpanContext {
        SpanContext::new(
            self.trace_id,
            span_id,
            TraceFlags::SAMPLED,
            false,
            self.state.clone(),
        )
    }

    /// The wall-clock time of a moment since the request came. Durations are the monotonic clock's, whatever the wall clock did
    /// meanwhile.
    pub(super) fn time_of(&self, moment: Moment) -> SystemTime {
        let since = moment.since(self.began);
        self.began_at.checked_add(since).unwrap_or(self.began_at)
    }

    /// What Meta is told of the exchange with this span: the trace and the span, nothing that came from the caller beside the
    /// trace's id.
    pub(super) fn header(&self, span_id: SpanId) -> Option<HeaderValue> {
        let flags = u8::from(self.is_sampled);
        HeaderValue::from_str(&format!("00-{}-{span_id}-{flags:02x}", self.trace_id)).ok()
    }

    /// Notes an exchange that is over. `Some` gives it back: the request's spans are written and were kept, and this one is to
    /// be written on its own.
    pub(super) fn note(&self, seen: Seen) -> Option<Seen> {
        let mut exchanges = self.exchanges();
        match exchanges.kept {
            Some(true) => return Some(seen),
            Some(false) => {}
            None if exchanges.first.is_none() => exchanges.first = Some(seen),
            None if exchanges.more.len() + 1 < MOST_EXCHANGES => exchanges.more.push(seen),
            None => {}
        }
        None
    }

    /// Takes the exchanges, at the end of the request. `keep` says, of each, whether it is reason enough to keep the request.
    pub(super) fn close(&self, is_kept: bool, is_reason: impl Fn(&Seen) -> bool) -> Option<Vec<Seen>> {
        let mut exchanges = self.exchanges();
        let is_kept = is_kept || exchanges.first.iter().chain(&exchanges.more).any(is_reason);
        exchanges.kept = Some(is_kept);
        let first = exchanges.first.take();
        let more = std::mem::take(&mut exchanges.more);
        drop(exchanges);
        is_kept.then(|| first.into_iter().chain(more).collect())
    }

    fn exchanges(&self) -> MutexGuard<'_, Exchanges> {
        self.exchanges.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use curfew_policies::Timestamp;

    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn tracer(ratio: f64) -> Tracer {
        let (clock, _) = Clock::manual(Timestamp::from_millis(1_800_000_000_000));
        Tracer::new(ratio, clock)
    }

    fn headers(lines: &[(HeaderName, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(name, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    #[test]
    fn a_callers_trace_goes_on_and_its_word_on_keeping_it_counts() {
        for (flag, ratio, is_sampled) in [("01", 0.0, true), ("00", 1.0, false), ("03", 0.0, true)] {
            let line = PARENT.replace("-01", &format!("-{flag}"));
            let trace = tracer(ratio).begin(&headers(&[(TRACEPARENT, &line), (TRACESTATE, "a=1,b=2")]));
            assert_eq!(trace.trace_id().to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
            assert_eq!(trace.parent_id.to_string(), "00f067aa0ba902b7");
            assert_eq!(trace.state.header(), "a=1,b=2");
            assert_eq!(trace.is_sampled, is_sampled, "{flag}");
            assert_ne!(trace.span_id(), trace.parent_id);
        }
    }

    #[test]
    fn what_is_no_single_valid_parent_begins_a_new_trace() {
        for lines in [
            &[][..],
            &[(TRACEPARENT, "")],
            &[(
                TRACEPARENT,
                "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            )],
            &[(
                TRACEPARENT,
                "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            )],
            &[(TRACEPARENT, PARENT), (TRACEPARENT, PARENT)],
            &[(TRACESTATE, "a=1")],
        ] {
            let trace = tracer(1.0).begin(&headers(lines));
            assert_eq!(trace.parent_id, SpanId::INVALID, "{lines:?}");
            assert_ne!(trace.trace_id().to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
            assert!(trace.is_sampled && trace.state == TraceState::NONE);
        }
    }

    #[test]
    fn a_state_that_is_too_long_or_doubled_is_left_behind() {
        let long = format!("a={}", "b".repeat(MOST_TRACESTATE));
        for lines in [
            &[(TRACEPARENT, PARENT), (TRACESTATE, &long)][..],
            &[(TRACEPARENT, PARENT), (TRACESTATE, "a=1"), (TRACESTATE, "b=2")],
        ] {
            let trace = tracer(0.0).begin(&headers(lines));
            assert_eq!(trace.parent_id.to_string(), "00f067aa0ba902b7");
            assert_eq!(trace.state, TraceState::NONE);
        }
    }

    #[test]
    fn a_share_of_the_traces_that_begin_here_is_kept() {
        for (ratio, least, most) in [(0.0, 0, 0), (0.1, 20, 300), (1.0, 1000, 1000)] {
            let tracer = tracer(ratio);
            let kept = (0..1000)
                .filter(|_| tracer.begin(&HeaderMap::new()).is_sampled)
                .count();
            assert!((least..=most).contains(&kept), "{ratio}: {kept}");
        }
    }
}
