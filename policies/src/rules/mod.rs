//! The rules, one a file, in the order in which a refusal wins.
//!
//! A rule reads a [`Case`] and says what it thinks. None looks at another's verdict, so each can be tested, and
//! explained, alone.

mod callers;
mod links;
mod media_types;
mod message_shape;
mod modes;
mod numbers;
mod pins;
mod real_settings;
mod registration;
mod settings;
mod ttl;

use crate::decision::UnverifiedUse;
pub use registration::MOST_REGISTRATION_CALLS;

use crate::facts::Facts;
use crate::operation::{Request, Subject};
use crate::policy::{Caller, NumberPolicy, PolicySet};
use crate::reason::Reason;
use crate::storage::StorageMode;
use crate::ttl::TtlMinutes;

pub(crate) use pins::guards_a_caller;

/// What one rule thinks of one request.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// The rule has nothing to say about such a request.
    NotConcerned,
    /// The request keeps the rule.
    Passed,
    /// It keeps the rule, and its upload gets this life.
    PassedWithTtl(TtlMinutes),
    /// It passes only because `allow_unverified` says so.
    PassedUnverified(UnverifiedUse),
    /// It breaks the rule.
    Refused(Reason),
}

/// One request with everything that rules read, looked up once.
pub(crate) struct Case<'a> {
    pub(crate) policies: &'a PolicySet,
    pub(crate) caller: Caller<'a>,
    pub(crate) request: &'a Request<'a>,
    pub(crate) facts: &'a Facts<'a>,
    /// The policy of the number that the path names, if it names one of ours. A number in the query is only a claim, and
    /// chooses no policy.
    pub(crate) number: Option<&'a NumberPolicy>,
}

impl<'a> Case<'a> {
    pub(crate) fn new(
        policies: &'a PolicySet,
        caller: Caller<'a>,
        request: &'a Request<'a>,
        facts: &'a Facts<'a>,
    ) -> Self {
        let number = match request.subject {
            Subject::Number(number) => policies.numbers.get(&number),
            Subject::Media { .. } | Subject::Account(_) | Subject::Other => None,
        };
        Self {
            policies,
            caller,
            request,
            facts,
            number,
        }
    }

    /// The mode to judge by: the number's, or the strictest of the caller's where no number is named.
    pub(crate) fn mode(&self) -> StorageMode {
        self.number.map_or_else(
            || self.caller.strictest_mode(self.policies),
            |number| number.storage,
        )
    }
}

/// One rule.
pub(crate) struct Rule {
    /// Its name, as `curfew explain` prints it.
    pub(crate) name: &'static str,
    /// What it thinks of a case.
    pub(crate) judge: fn(&Case<'_>) -> Verdict,
}

/// The rules that need nothing but a request's head.
pub(crate) const ADMISSION_RULES: &[Rule] = &[
    Rule {
        name: "callers",
        judge: callers::judge,
    },
    Rule {
        name: "numbers",
        judge: numbers::judge,
    },
];

/// Every rule. Who may call comes first, so that nobody learns anything about a number that is not theirs; then what
/// may be called at all; then the rules in the order of the refusals that callers are promised.
pub(crate) const RULES: &[Rule] = &[
    Rule {
        name: "callers",
        judge: callers::judge,
    },
    Rule {
        name: "numbers",
        judge: numbers::judge,
    },
    Rule {
        name: "modes",
        judge: modes::judge,
    },
    Rule {
        name: "ttl",
        judge: ttl::judge,
    },
    Rule {
        name: "pins",
        judge: pins::judge,
    },
    Rule {
        name: "links",
        judge: links::judge,
    },
    Rule {
        name: "message_shape",
        judge: message_shape::judge,
    },
    Rule {
        name: "settings",
        judge: settings::judge,
    },
    Rule {
        name: "registration",
        judge: registration::judge,
    },
    Rule {
        name: "real_settings",
        judge: real_settings::judge,
    },
    Rule {
        name: "media_types",
        judge: media_types::judge,
    },
];

#[cfg(test)]
mod by_mode;
#[cfg(test)]
pub(crate) mod testing;
