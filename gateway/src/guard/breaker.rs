//! A circuit breaker: stops asking whoever does not answer, and finds out when they do again.
//!
//! It opens on failures in a row, on a share of failures in a moving window, and on silence: a Meta that hangs gives no
//! failure before the answer's deadline, a minute later. Then single probes go through, and so many successes close it. It holds no
//! timer: everything is found out when somebody asks or tells, so that a clock that is moved by hand moves it too.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use curfew_policies::PhoneNumberId;
use serde::Serialize;

use crate::clock::{Clock, Moment};

/// A bucket of the moving window.
const BUCKET: Duration = Duration::from_millis(250);
/// Buckets of the moving window.
const BUCKETS: u64 = 8;
/// The moving window: a storm outweighs within two seconds what was well before it.
const WINDOW: Duration = Duration::from_secs(2);
/// Fewer failures than this open nothing.
const LEAST_FAILURES: u32 = 10;
/// Failures further apart than this are not in a row.
const ROW: Duration = Duration::from_secs(30);
/// Without any answer for so long, while [`LEAST_FAILURES`] wait for one: silence. Above what Meta takes at its slowest.
const SILENCE: Duration = Duration::from_millis(1_750);
/// An exchange that its caller gave up earlier than this says nothing of Meta.
const TELLING: Duration = Duration::from_secs(1);
/// How long it stays open at first; twice as long after each probe that fails.
const FIRST_REST: Duration = Duration::from_secs(1);
/// How long it stays open at most.
const LONGEST_REST: Duration = Duration::from_secs(4);
/// How long a probe may take.
const PROBE_PATIENCE: Duration = Duration::from_secs(3);
/// So many successes close it.
const SUCCESSES: u32 = 3;
/// An origin fails as a whole when so many of its numbers fail: one number's failures are its own.
const NUMBERS: usize = 3;

/// What happened to an exchange.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Report {
    /// Meta answered, whatever it said.
    Good,
    /// No connection, or one that broke, or a media host that cannot: the origin fails.
    Transport,
    /// Meta answered that it cannot, for this number.
    Server(Option<PhoneNumberId>),
}

/// What a breaker stands for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Scope {
    /// An origin, with all its numbers.
    Origin(&'static str),
    /// One number.
    Number(PhoneNumberId),
}

/// Why a breaker is open.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Cause {
    InARow,
    Share,
    Silence,
    Probe,
}

impl Cause {
    const fn slug(self) -> &'static str {
        match self {
            Self::InARow => "failures_in_a_row",
            Self::Share => "share_of_failures",
            Self::Silence => "silence",
            Self::Probe => "probe_failed",
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    Closed,
    Open {
        until: Moment,
        rest: Duration,
        cause: Cause,
    },
    HalfOpen {
        rest: Duration,
        /// When the newest probe went out.
        probed: Moment,
        probes: u32,
        successes: u32,
    },
}

/// One breaker.
#[derive(Debug)]
pub(super) struct Breaker {
    scope: Scope,
    clock: Clock,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    /// When it last opened or closed; half-open is a part of open.
    since: Moment,
    window: Window,
    /// Failures without a success between them, and when the last one was.
    in_a_row: u32,
    failed: Moment,
    /// Exchanges that began since the last answer.
    unanswered: u32,
    /// When there were [`LEAST_FAILURES`] of them.
    many_unanswered: Option<Moment>,
    /// The numbers that failed last, and when.
    failing: [Option<(PhoneNumberId, Moment)>; NUMBERS],
    opened: u64,
    refused: u64,
}

/// The state of one breaker.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Seen {
    /// `closed`, `open` or `half_open`.
    pub state: &'static str,
    /// Why it is not closed.
    pub cause: Option<&'static str>,
    /// How long it has been so, in milliseconds.
    pub for_ms: u64,
    /// How long it stays open before the next probe, in milliseconds.
    pub retry_in_ms: Option<u64>,
    /// How often it opened since the start.
    pub opened: u64,
    /// How many exchanges it refused since the start.
    pub refused: u64,
}

impl Breaker {
    pub(super) fn new(scope: Scope, clock: Clock) -> Arc<Self> {
        let now = clock.monotonic();
        Arc::new(Self {
            scope,
            clock,
            state: Mutex::new(State {
                phase: Phase::Closed,
                since: now,
                window: Window::new(now),
                in_a_row: 0,
                failed: now,
                unanswered: 0,
                many_unanswered: None,
                failing: [None; NUMBERS],
                opened: 0,
                refused: 0,
            }),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets an exchange through, or says after how long to ask again. `awaits_head` is false for exchanges whose answer waits for
    /// what the caller still has to send: their silence says nothing, and they are no probes, or their callers could keep it open.
    /// They pass where a probe would, so that it closes where nothing else is asked for. Nor does silence say anything that began
    /// before the last change of `within`, the origin that let the exchange through.
    pub(super) fn admit(
        self: &Arc<Self>,
        awaits_head: bool,
        within: Option<&Attempt>,
    ) -> Result<Attempt, Duration> {
        let now = self.clock.monotonic();
        let mut state = self.state();
        if let (Some(within), Some(many)) = (within, state.many_unanswered)
            && many < within.since
        {
            state.heard();
        }
        if matches!(state.phase, Phase::Closed) && state.is_silent(now) {
            state.open(self.scope, now, FIRST_REST, Cause::Silence);
        }
        let is_probe = match state.phase {
            Phase::Closed => false,
            Phase::Open { until, .. } if now < until => {
                state.refused += 1;
                return Err(until.since(now));
            }
            Phase::Open { .. } if !awaits_head => false,
            Phase::HalfOpen {
                probes, successes, ..
            } if !awaits_head && probes <= successes => false,
            Phase::Open { rest, .. } => {
                state.phase = Phase::HalfOpen {
                    rest,
                    probed: now,
                    probes: 1,
                    successes: 0,
                };
                true
            }
            Phase::HalfOpen {
                rest,
                probed,
                probes,
                successes,
            } => {
                if probes > successes {
                    state.refused += 1;
                    if now.since(probed) < PROBE_PATIENCE {
                        return Err(PROBE_PATIENCE - now.since(probed));
                    }
                    let rest = longer(rest);
                    state.open(self.scope, now, rest, Cause::Probe);
                    return Err(rest);
                }
                state.phase = Phase::HalfOpen {
                    rest,
                    probed: now,
                    probes: probes + 1,
                    successes,
                };
                true
            }
        };
        if awaits_head {
            state.unanswered += 1;
            if state.unanswered == LEAST_FAILURES {
                state.many_unanswered = Some(now);
            }
        }
        let since = state.since;
        drop(state);
        Ok(Attempt {
            breaker: Arc::clone(self),
            began: now,
            since,
            is_probe,
            awaits_head,
            is_told: false,
        })
    }

    pub(super) fn seen(&self) -> Seen {
        let now = self.clock.monotonic();
        let state = self.state();
        let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let (name, cause, retry) = match state.phase {
            Phase::Closed => ("closed", None, None),
            Phase::Open { until, cause, .. } => ("open", Some(cause.slug()), Some(until.since(now))),
            Phase::HalfOpen { .. } => ("half_open", None, None),
        };
        Seen {
            state: name,
            cause,
            for_ms: millis(now.since(state.since)),
            retry_in_ms: retry.map(millis),
            opened: state.opened,
            refused: state.refused,
        }
    }
}

impl State {
    fn is_silent(&self, now: Moment) -> bool {
        self.many_unanswered
            .is_some_and(|many| now.since(many) >= SILENCE)
    }

    fn open(&mut self, scope: Scope, now: Moment, rest: Duration, cause: Cause) {
        let (until, was_closed) = (now.after(rest), matches!(self.phase, Phase::Closed));
        self.phase = Phase::Open { until, rest, cause };
        if was_closed {
            self.since = now;
            self.opened += 1;
            let (origin, number) = scope.fields();
            tracing::warn!(origin, number, cause = cause.slug(), "circuit breaker opened");
        }
    }

    fn close(&mut self, scope: Scope, now: Moment) {
        let open_ms = u64::try_from(now.since(self.since).as_millis()).unwrap_or(u64::MAX);
        self.phase = Phase::Closed;
        self.since = now;
        self.window = Window::new(now);
        self.in_a_row = 0;
        self.failing = [None; NUMBERS];
        let (origin, number) = scope.fields();
        tracing::warn!(origin, number, open_ms, "circuit breaker closed");
    }

    fn heard(&mut self) {
        self.unanswered = 0;
        self.many_unanswered = None;
    }

    fn good(&mut self, scope: Scope, now: Moment, began: Moment) {
        self.heard();
        match self.phase {
            Phase::Closed => {
                self.in_a_row = 0;
                self.window.count(now, true);
            }
            // The silence is over. After failures, only what began later is news.
            Phase::Open { rest, cause, .. } if cause == Cause::Silence || began >= self.since => {
                self.phase = Phase::HalfOpen {
                    rest,
                    probed: now,
                    probes: 1,
                    successes: 1,
                };
            }
            Phase::Open { .. } => {}
            Phase::HalfOpen { successes, .. } if successes + 1 >= SUCCESSES => self.close(scope, now),
            Phase::HalfOpen {
                rest,
                probed,
                probes,
                successes,
            } => {
                self.phase = Phase::HalfOpen {
                    rest,
                    probed,
                    probes: probes.max(successes + 1),
                    successes: successes + 1,
                };
            }
        }
    }

    fn bad(&mut self, scope: Scope, now: Moment, report: Report, attempt: &Attempt) {
        self.heard();
        match self.phase {
            Phase::Closed => {
                if !self.counts(scope, now, report) {
                    return;
                }
                let is_next = now.since(self.failed) <= ROW;
                self.in_a_row = if is_next { self.in_a_row + 1 } else { 1 };
                self.failed = now;
                self.window.count(now, false);
                if self.in_a_row >= LEAST_FAILURES {
                    self.open(scope, now, FIRST_REST, Cause::InARow);
                } else if self.window.is_failing(now) {
                    self.open(scope, now, FIRST_REST, Cause::Share);
                }
            }
            Phase::HalfOpen { rest, .. } if attempt.is_probe => {
                self.open(scope, now, longer(rest), Cause::Probe);
            }
            // It passed where a probe would.
            Phase::Open { until, rest, .. } if attempt.began >= until => {
                self.open(scope, now, longer(rest), Cause::Probe);
            }
            Phase::Open { .. } | Phase::HalfOpen { .. } => {}
        }
    }

    /// Whether a failure is one of this scope: an origin's are those of the connection, and those of many numbers.
    fn counts(&mut self, scope: Scope, now: Moment, report: Report) -> bool {
        let (Scope::Origin(_), Report::Server(number)) = (scope, report) else {
            return true;
        };
        let recent = |failing: &Option<(PhoneNumberId, Moment)>| {
            failing.is_some_and(|(_, at)| now.since(at) <= WINDOW)
        };
        if let Some(number) = number {
            let is_it =
                |failing: &Option<(PhoneNumberId, Moment)>| failing.is_some_and(|(known, _)| known == number);
            let place = self.failing.iter().position(is_it);
            let place = place.or_else(|| self.failing.iter().position(|failing| !recent(failing)));
            if let Some(place) = place.and_then(|place| self.failing.get_mut(place)) {
                *place = Some((number, now));
            }
        }
        self.failing.iter().all(recent)
    }

    /// An exchange whose caller gave up, or whose failure is the caller's.
    fn abandoned(&mut self, now: Moment, attempt: &Attempt) {
        if attempt.awaits_head && now.since(attempt.began) < TELLING && self.unanswered > 0 {
            self.unanswered -= 1;
            if self.unanswered < LEAST_FAILURES {
                self.many_unanswered = None;
            }
        }
        if let Phase::HalfOpen { probes, .. } = &mut self.phase
            && attempt.is_probe
        {
            *probes = probes.saturating_sub(1);
        }
    }
}

impl Scope {
    const fn fields(self) -> (Option<&'static str>, Option<u64>) {
        match self {
            Self::Origin(name) => (Some(name), None),
            Self::Number(number) => (None, Some(number.get())),
        }
    }
}

fn longer(rest: Duration) -> Duration {
    (rest * 2).min(LONGEST_REST)
}

/// One exchange that a breaker let through. Dropped without a word, its caller gave it up.
#[derive(Debug)]
pub(super) struct Attempt {
    breaker: Arc<Breaker>,
    began: Moment,
    /// When the breaker last opened or closed.
    since: Moment,
    is_probe: bool,
    awaits_head: bool,
    is_told: bool,
}

impl Attempt {
    /// Tells what happened. An answer that breaks off after its head is told twice.
    pub(super) fn tell(&mut self, report: Report) {
        self.is_told = true;
        let now = self.breaker.clock.monotonic();
        let mut state = self.breaker.state();
        match report {
            Report::Good => state.good(self.breaker.scope, now, self.began),
            Report::Transport | Report::Server(_) => {
                state.bad(self.breaker.scope, now, report, self);
            }
        }
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if !self.is_told {
            let now = self.breaker.clock.monotonic();
            self.breaker.state().abandoned(now, self);
        }
    }
}

/// Answers and failures of the last two seconds.
#[derive(Debug)]
struct Window {
    began: Moment,
    /// The newest bucket's number, from `began` on.
    newest: u64,
    buckets: [Bucket; 8],
}

#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    number: u64,
    good: u32,
    bad: u32,
}

impl Window {
    fn new(now: Moment) -> Self {
        Self {
            began: now,
            newest: 0,
            buckets: [Bucket::default(); 8],
        }
    }

    fn number(&self, now: Moment) -> u64 {
        let buckets = now.since(self.began).as_millis() / BUCKET.as_millis();
        u64::try_from(buckets).unwrap_or(u64::MAX).max(self.newest)
    }

    fn count(&mut self, now: Moment, is_good: bool) {
        let number = self.number(now);
        self.newest = number;
        let place = usize::try_from(number % BUCKETS).unwrap_or(0);
        let Some(bucket) = self.buckets.get_mut(place) else {
            return;
        };
        if bucket.number != number {
            *bucket = Bucket {
                number,
                ..Bucket::default()
            };
        }
        if is_good {
            bucket.good = bucket.good.saturating_add(1);
        } else {
            bucket.bad = bucket.bad.saturating_add(1);
        }
    }

    /// Whether half of what happened failed.
    fn is_failing(&self, now: Moment) -> bool {
        let number = self.number(now);
        let recent = self
            .buckets
            .iter()
            .filter(|bucket| bucket.number + BUCKETS > number);
        let (good, bad) = recent.fold((0_u32, 0_u32), |(good, bad), bucket| {
            (good.saturating_add(bucket.good), bad.saturating_add(bucket.bad))
        });
        bad >= LEAST_FAILURES && bad >= good
    }
}
