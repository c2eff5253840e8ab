//! What is remembered of a request while it is handled: enough for its log line, nothing of its content.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use curfew_policies::PhoneNumberId;
use http::Method;

use crate::clock::Moment;
use crate::telemetry::{Trace, method_name};

/// Filled on the way down, read when the answer comes back up. Every field is written once, by the layer that learns it; of
/// two who learn the same, the first counts.
#[derive(Debug, Default)]
pub struct Record {
    trace: Option<Trace>,
    method: Option<&'static str>,
    caller: OnceLock<Arc<str>>,
    route: OnceLock<(&'static str, &'static str)>,
    operation: OnceLock<&'static str>,
    number: OnceLock<PhoneNumberId>,
    observed: OnceLock<&'static str>,
    unverified: OnceLock<String>,
    reused: OnceLock<()>,
    replayed: OnceLock<()>,
    waited: OnceLock<(Moment, Duration)>,
}

impl Record {
    /// The record of a request with this method, at this place in a trace.
    #[must_use]
    pub fn new(method: &Method, trace: Trace) -> Self {
        Self {
            trace: Some(trace),
            method: Some(method_name(method)),
            ..Self::default()
        }
    }

    /// Who asks.
    pub fn caller(&self, name: Arc<str>) {
        let _ = self.caller.set(name);
    }

    /// What is asked for, as far as the head tells: its name, and its path without what callers fill in.
    pub fn route(&self, name: &'static str, template: &'static str) {
        let _ = self.route.set((name, template));
    }

    /// What is asked for, body and all.
    pub fn operation(&self, name: &'static str) {
        let _ = self.operation.set(name);
    }

    /// Which number it is about.
    pub fn number(&self, number: PhoneNumberId) {
        let _ = self.number.set(number);
    }

    /// Under `enforcement = "monitor"`: by which rule it would have been refused.
    pub fn observed(&self, slug: &'static str) {
        let _ = self.observed.set(slug);
    }

    /// What passed only because `allow_unverified` names it.
    pub fn unverified(&self, what: String) {
        let _ = self.unverified.set(what);
    }

    /// It was an upload, and a medium that was there already stands for it.
    pub fn reused(&self) {
        let _ = self.reused.set(());
    }

    /// It was a send, and was answered with the outcome of the first one.
    pub fn replayed(&self) {
        let _ = self.replayed.set(());
    }

    /// It was a send, and had to wait for its turn, from then on for so long.
    pub fn waited(&self, since: Moment, duration: Duration) {
        let _ = self.waited.set((since, duration));
    }

    /// Who asked, or `-`.
    #[must_use]
    pub fn caller_name(&self) -> &str {
        self.caller.get().map_or("-", |name| name)
    }

    /// What was asked for, or `-` where it was not found out.
    #[must_use]
    pub fn operation_name(&self) -> &'static str {
        let of_route = || self.route.get().map(|(name, _)| *name);
        self.operation.get().copied().or_else(of_route).unwrap_or("-")
    }

    /// The path without what callers fill in, where the route was found.
    #[must_use]
    pub fn template(&self) -> Option<&'static str> {
        self.route.get().map(|(_, template)| *template)
    }

    /// The method, `_OTHER` where it is none that a call can have.
    #[must_use]
    pub fn method_name(&self) -> &'static str {
        self.method.unwrap_or("_OTHER")
    }

    /// Where it stands in a trace.
    #[must_use]
    pub const fn trace(&self) -> Option<&Trace> {
        self.trace.as_ref()
    }

    /// The number, or 0 where there is none.
    #[must_use]
    pub fn number_id(&self) -> u64 {
        self.number.get().map_or(0, |number| number.get())
    }

    /// The rule that only watched.
    #[must_use]
    pub fn observed_slug(&self) -> Option<&'static str> {
        self.observed.get().copied()
    }

    /// Whether a medium that was there already stands for the upload.
    #[must_use]
    pub fn is_reused(&self) -> bool {
        self.reused.get().is_some()
    }

    /// Whether it was answered with the outcome of an earlier send.
    #[must_use]
    pub fn is_replayed(&self) -> bool {
        self.replayed.get().is_some()
    }

    /// Since when and how long a send waited for its turn, if it had to.
    #[must_use]
    pub fn wait(&self) -> Option<(Moment, Duration)> {
        self.waited.get().copied()
    }

    /// What passed by `allow_unverified`.
    #[must_use]
    pub fn unverified_use(&self) -> Option<&str> {
        self.unverified.get().map(String::as_str)
    }
}
