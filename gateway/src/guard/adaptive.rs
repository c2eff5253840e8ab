//! How many sends may be under way at once, learnt from how long they take.
//!
//! It starts at the most, since a healthy Meta needs no limit of ours. When sends take much longer than the quickest that were
//! seen, or break off, the limit falls to below what was under way; while they are quick it rises. Only sends that Meta took count: what
//! it refuses, it refuses quickly, and one number's faults are no reason to hold back another's. That sends take long because of us, and not
//! because Meta takes its time today, is tested: if fewer at once are not quicker, the limit was not the cause, and is given up.

use std::time::Duration;

use crate::clock::Moment;

/// The least limit.
pub(super) const LEAST: u32 = 16;
/// Fewer than this under way at once are no load: while they take long, it is not for us to hold anything back.
const LOAD: u32 = 64;
/// How long is looked at before the limit is changed, at least.
const WINDOW: Duration = Duration::from_millis(250);
/// How many answers are looked at before the limit is changed, at least.
const SAMPLES: u32 = 20;
/// What was seen longer ago says nothing any more.
const STALE: Duration = Duration::from_secs(10);
/// So many times the quickest mean is still well: Meta's own latency varies threefold.
const TOLERANCE: u64 = 4;
/// So much above the quickest mean is still well, in microseconds: a pause of the machine is no overload.
const SLACK_MICROS: u64 = 250_000;

/// The limit.
#[derive(Debug)]
pub(super) struct Adaptive {
    limit: u32,
    most: u32,
    /// The quickest mean, in microseconds.
    quickest: Option<u64>,
    window: Window,
    /// What was before the limit was lowered.
    lowered: Option<Lowered>,
    /// Exchanges that began earlier say nothing of the limit that is.
    valid_from: Moment,
}

#[derive(Debug)]
struct Window {
    began: Moment,
    samples: u32,
    failures: u32,
    micros: u64,
    /// How many were under way when they began, all added up.
    among: u64,
    /// Most under way.
    peak: u32,
    /// The least limit under which those could be, which each caller has only a share of.
    needed: u32,
}

#[derive(Clone, Copy, Debug)]
struct Lowered {
    /// The limit to go back to.
    limit: u32,
    mean: u64,
    /// Among how many exchanges began, on average.
    among: u64,
}

impl Window {
    const fn new(began: Moment) -> Self {
        Self {
            began,
            samples: 0,
            failures: 0,
            micros: 0,
            among: 0,
            peak: 0,
            needed: 0,
        }
    }
}

impl Adaptive {
    pub(super) const fn new(most: u32, now: Moment) -> Self {
        Self {
            limit: most,
            most,
            quickest: None,
            window: Window::new(now),
            lowered: None,
            valid_from: now,
        }
    }

    pub(super) const fn limit(&self) -> u32 {
        self.limit
    }

    /// Takes in one send that Meta took, or whose exchange failed, with how many were under way when it began, itself included, and
    /// what limit that `needs` at least.
    pub(super) fn observe(&mut self, now: Moment, began: Moment, has_failed: bool, among: u32, needs: u32) {
        if began < self.valid_from {
            return;
        }
        if now.since(self.window.began) > STALE {
            self.window = Window::new(now);
        }
        let window = &mut self.window;
        window.samples += 1;
        window.failures += u32::from(has_failed);
        let micros = u64::try_from(now.since(began).as_micros()).unwrap_or(u64::MAX);
        window.micros = window.micros.saturating_add(micros);
        window.among = window.among.saturating_add(u64::from(among));
        window.peak = window.peak.max(among);
        window.needed = window.needed.max(needs);
        if window.samples >= SAMPLES && now.since(window.began) >= WINDOW {
            self.judge(now);
            self.window = Window::new(now);
        }
    }

    fn judge(&mut self, now: Moment) {
        let Window {
            samples,
            failures,
            micros,
            among,
            peak,
            needed,
            ..
        } = self.window;
        let mean = micros / u64::from(samples);
        let among = among / u64::from(samples);
        let quickest = *self.quickest.get_or_insert(mean);
        let bearable = (quickest * TOLERANCE).max(quickest + SLACK_MICROS);
        let is_failing = failures * 5 > samples;
        if !is_failing && mean <= bearable {
            self.well(mean, quickest, needed);
            return;
        }
        if self.lowered.is_none() && peak < LOAD {
            return;
        }
        if let Some(lowered) = self.lowered
            && !is_failing
            && among * 10 <= lowered.among * 8
            && mean * 10 >= lowered.mean * 9
        {
            // Fewer at once, and no quicker.
            self.quickest = Some(mean / 2);
            self.limit = lowered.limit;
            self.lowered = None;
            return;
        }
        self.lowered = Some(Lowered {
            limit: self.lowered.map_or(self.limit, |lowered| lowered.limit),
            mean,
            among,
        });
        // Between three fifths and three quarters of what was under way: where one caller's share held it, of the limit that gave
        // that share.
        let share = if is_failing {
            700
        } else {
            bearable * 1000 / mean.max(1)
        };
        let next = u64::from(self.limit.min(needed)) * share.clamp(600, 750) / 1000;
        self.limit = u32::try_from(next).unwrap_or(self.most).max(LEAST);
        self.valid_from = now;
    }

    fn well(&mut self, mean: u64, quickest: u64, needed: u32) {
        let is_used = u64::from(needed) * 5 >= u64::from(self.limit) * 4;
        if mean < quickest {
            self.quickest = Some(mean);
        } else if !is_used {
            // Meta's own pace drifts. While the limit is felt, slowness may be ours, and is not learnt.
            self.quickest = Some(quickest + (mean - quickest) / 50);
        }
        let step = if mean <= quickest * 2 || mean <= SLACK_MICROS {
            4
        } else {
            20
        };
        self.limit = self
            .limit
            .saturating_add((self.limit / step).max(1))
            .min(self.most);
        if self.limit == self.most {
            self.lowered = None;
        }
    }
}
