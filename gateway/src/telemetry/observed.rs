//! What is read from the stores whenever somebody looks: nothing of it costs a request anything.

use std::sync::Arc;

use opentelemetry::KeyValue;
use opentelemetry::metrics::{AsyncInstrument, Meter};

use crate::guard::{BreakerNow, Guard, LaneNow};
use crate::stores::MediaPins;
use crate::stores::limits::{NumberNow, SendLimits, Snapshot};
use crate::stores::media_cache::{CacheStats, EndReason, MediaCache};
use crate::upstream::{Upstream, UpstreamStats};

/// What is looked at.
pub struct Observed {
    /// The pins.
    pub pins: MediaPins,
    /// The copies of media.
    pub media_cache: MediaCache,
    /// The limits of sends.
    pub limits: SendLimits,
    /// The connections to Meta.
    pub upstream: Upstream,
    /// What stands between the gateway and an outage.
    pub guard: Guard,
}

/// Makes an instrument of each kind from a name, a description, and what is to be told of it.
struct Instruments<'a> {
    meter: &'a Meter,
}

impl Instruments<'_> {
    fn gauge(
        &self,
        name: &'static str,
        unit: &'static str,
        description: &'static str,
        tell: impl Fn(&dyn AsyncInstrument<u64>) + Send + Sync + 'static,
    ) {
        self.meter
            .u64_observable_gauge(name)
            .with_unit(unit)
            .with_description(description)
            .with_callback(tell)
            .build();
    }

    fn counter(
        &self,
        name: &'static str,
        description: &'static str,
        tell: impl Fn(&dyn AsyncInstrument<u64>) + Send + Sync + 'static,
    ) {
        self.meter
            .u64_observable_counter(name)
            .with_description(description)
            .with_callback(tell)
            .build();
    }
}

impl Observed {
    pub(super) fn register(self, meter: &Meter) {
        let Self {
            pins,
            media_cache,
            limits,
            upstream,
            guard,
        } = self;
        let instruments = Instruments { meter };
        instruments.gauge(
            "curfew.pins",
            "{pin}",
            "Media whose number and end are known",
            move |to| to.observe(count(pins.len()), &[]),
        );
        cache(&instruments, &media_cache);
        numbers(&instruments, &limits);
        portfolios(&instruments, limits);
        connections(&instruments, &upstream);
        places(&instruments, &guard);
        breakers(&instruments, &guard);
    }
}

fn cache(instruments: &Instruments<'_>, cache: &MediaCache) {
    let with_stats = |tell: fn(&CacheStats, &dyn AsyncInstrument<u64>)| {
        let cache = cache.clone();
        move |to: &dyn AsyncInstrument<u64>| tell(&cache.stats(), to)
    };
    instruments.counter(
        "curfew.cache.requests",
        "Downloads, by how the medium was had",
        with_stats(|stats, to| {
            for (how, count) in [
                ("hit", stats.hits),
                ("join", stats.joins),
                ("miss", stats.leads),
                ("bypass", stats.bypasses),
            ] {
                to.observe(count, &[KeyValue::new("curfew.cache", how)]);
            }
        }),
    );
    instruments.counter(
        "curfew.cache.ends",
        "Copies of media that ended, by why",
        with_stats(|stats, to| {
            for (slug, count) in EndReason::SLUGS.iter().zip(stats.ended) {
                to.observe(count, &[KeyValue::new("curfew.reason", *slug)]);
            }
        }),
    );
    instruments.gauge(
        "curfew.cache.entries",
        "{copy}",
        "Copies of media that are there or coming",
        with_stats(|stats, to| to.observe(stats.entries, &[])),
    );
    instruments.gauge(
        "curfew.cache.size",
        "By",
        "Bytes of copies of media: held, and set aside",
        with_stats(|stats, to| {
            to.observe(stats.held_bytes, &[KeyValue::new("curfew.state", "held")]);
            to.observe(stats.reserved_bytes, &[KeyValue::new("curfew.state", "reserved")]);
        }),
    );
}

/// Of each number of the policies. What is told of a number says nothing of whom it writes to.
fn numbers(instruments: &Instruments<'_>, limits: &SendLimits) {
    let of_numbers = |tell: fn(&NumberNow, &KeyValue, &dyn AsyncInstrument<u64>)| {
        let limits = limits.clone();
        move |to: &dyn AsyncInstrument<u64>| {
            for (number, now) in &limits.snapshot().numbers {
                tell(now, &number_label(number), to);
            }
        }
    };
    instruments.gauge(
        "curfew.limits.rate",
        "{message}/s",
        "Messages a second: by policy, and at present",
        of_numbers(|now, number, to| {
            for (whose, rate) in [("policy", now.per_second), ("current", now.current_per_second)] {
                let labels = [number.clone(), KeyValue::new("curfew.rate", whose)];
                to.observe(rate.into(), &labels);
            }
        }),
    );
    instruments.gauge(
        "curfew.limits.taken",
        "{message}",
        "How much of a number's burst is taken, inbound and outbound together",
        of_numbers(|now, number, to| to.observe(now.taken, std::slice::from_ref(number))),
    );
    instruments.gauge(
        "curfew.limits.waiting",
        "{message}",
        "Sends that wait for their turn",
        of_numbers(|now, number, to| {
            for (class, waiting) in &now.waiting.by_class {
                let labels = [number.clone(), KeyValue::new("curfew.class", *class)];
                to.observe(count(*waiting), &labels);
            }
        }),
    );
    instruments.counter(
        "curfew.limits.granted",
        "Sends that were let go",
        of_numbers(|now, number, to| to.observe(now.granted, std::slice::from_ref(number))),
    );
    instruments.counter(
        "curfew.limits.limited",
        "Sends that were told to come back later, by the limit",
        of_numbers(|now, number, to| {
            for (limit, limited) in &now.limited {
                let labels = [number.clone(), KeyValue::new("curfew.limit", *limit)];
                to.observe(*limited, &labels);
            }
        }),
    );
}

/// Of each portfolio, by the first of its numbers, and of what Meta closed.
fn portfolios(instruments: &Instruments<'_>, limits: SendLimits) {
    let limits = Arc::new(limits);
    let with_limits = |tell: fn(&Snapshot, &dyn AsyncInstrument<u64>)| {
        let limits = Arc::clone(&limits);
        move |to: &dyn AsyncInstrument<u64>| tell(&limits.snapshot(), to)
    };
    instruments.gauge(
        "curfew.limits.unique_recipients",
        "{recipient}",
        "Recipients outside a service window in 24 hours, of a portfolio: counted, and allowed",
        with_limits(|now, to| {
            for portfolio in &now.portfolios {
                let first = number_label(portfolio.numbers.first().map_or("", String::as_str));
                for (what, recipients) in [
                    ("counted", portfolio.counted),
                    ("allowed", portfolio.unique_recipients_24h),
                ] {
                    let labels = [first.clone(), KeyValue::new("curfew.state", what)];
                    to.observe(count(recipients), &labels);
                }
            }
        }),
    );
    instruments.gauge(
        "curfew.limits.closed",
        "{closure}",
        "What Meta has closed: 1 for each, with Meta's code",
        with_limits(|now, to| {
            for closed in &now.closed {
                let labels = [
                    KeyValue::new("curfew.closed", closed.what),
                    KeyValue::new("curfew.id", closed.id.clone().unwrap_or_default()),
                    KeyValue::new("curfew.graph.code", closed.code),
                ];
                to.observe(1, &labels);
            }
        }),
    );
}

fn connections(instruments: &Instruments<'_>, upstream: &Upstream) {
    let with_stats = |tell: fn(UpstreamStats, &dyn AsyncInstrument<u64>)| {
        let upstream = upstream.clone();
        move |to: &dyn AsyncInstrument<u64>| tell(upstream.stats(), to)
    };
    instruments.gauge(
        "http.client.active_requests",
        "{request}",
        "Exchanges with Meta under way",
        with_stats(|stats, to| to.observe(count(stats.active), &[])),
    );
    instruments.gauge(
        "http.client.open_connections",
        "{connection}",
        "Connections to Meta that wait for an exchange",
        with_stats(|stats, to| {
            let labels = [KeyValue::new("http.connection.state", "idle")];
            to.observe(count(stats.idle), &labels);
        }),
    );
}

/// Of requests, and of each kind of exchange.
fn places(instruments: &Instruments<'_>, guard: &Guard) {
    let of_lanes = |tell: fn(&LaneNow, &KeyValue, &dyn AsyncInstrument<u64>)| {
        let guard = guard.clone();
        move |to: &dyn AsyncInstrument<u64>| {
            let now = guard.snapshot();
            for (kind, lane) in std::iter::once(("requests", &now.requests))
                .chain(now.exchanges.iter().map(|(kind, lane)| (*kind, lane)))
            {
                tell(lane, &KeyValue::new("curfew.kind", kind), to);
            }
        }
    };
    instruments.gauge(
        "curfew.guard.limit",
        "{place}",
        "Places that there are, by kind",
        of_lanes(|lane, kind, to| to.observe(lane.limit.into(), std::slice::from_ref(kind))),
    );
    instruments.gauge(
        "curfew.guard.taken",
        "{place}",
        "Places that are taken",
        of_lanes(|lane, kind, to| to.observe(lane.taken.into(), std::slice::from_ref(kind))),
    );
    instruments.gauge(
        "curfew.guard.waiting",
        "{request}",
        "What waits for a place",
        of_lanes(|lane, kind, to| to.observe(count(lane.waiting), std::slice::from_ref(kind))),
    );
    instruments.counter(
        "curfew.guard.shed",
        "What found no place",
        of_lanes(|lane, kind, to| to.observe(lane.shed, std::slice::from_ref(kind))),
    );
}

/// Of both origins, and of the numbers whose breaker ever opened.
fn breakers(instruments: &Instruments<'_>, guard: &Guard) {
    let of_breakers = |tell: fn(&BreakerNow, &KeyValue, &dyn AsyncInstrument<u64>)| {
        let guard = guard.clone();
        move |to: &dyn AsyncInstrument<u64>| {
            let now = guard.snapshot().breakers;
            for (origin, breaker) in [("graph", &now.graph), ("media", &now.media)] {
                tell(breaker, &KeyValue::new("curfew.upstream", origin), to);
            }
            for (number, breaker) in &now.numbers {
                tell(breaker, &number_label(&number.to_string()), to);
            }
        }
    };
    instruments.gauge(
        "curfew.breaker.open",
        "{breaker}",
        "1 while a breaker lets nothing through, or only probes",
        of_breakers(|breaker, whose, to| {
            let is_open = breaker.state != "closed";
            to.observe(is_open.into(), std::slice::from_ref(whose));
        }),
    );
    instruments.counter(
        "curfew.breaker.opened",
        "How often a breaker opened",
        of_breakers(|breaker, whose, to| to.observe(breaker.opened, std::slice::from_ref(whose))),
    );
    instruments.counter(
        "curfew.breaker.refused",
        "Exchanges that a breaker did not let through",
        of_breakers(|breaker, whose, to| to.observe(breaker.refused, std::slice::from_ref(whose))),
    );
}

fn number_label(number: &str) -> KeyValue {
    KeyValue::new("curfew.number", number.to_owned())
}

fn count(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
