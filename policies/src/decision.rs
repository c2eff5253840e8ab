//! The decision: the only key to Meta, or a refusal with its numbers in it.

use std::fmt;

use crate::facts::{Facts, SettingsFact};
use crate::operation::{Request, UnverifiedOperation};
use crate::policy::{Caller, Enforcement, PolicySet};
use crate::reason::Reason;
use crate::rules::{ADMISSION_RULES, Case, RULES, Verdict, guards_a_caller};
use crate::time::Timestamp;
use crate::ttl::TtlMinutes;

/// What came of a request.
#[derive(Debug)]
#[must_use]
pub enum Decision {
    /// It may go to Meta.
    Allow(Permit),
    /// It goes nowhere.
    Deny(Reason),
}

/// Proof that [`decide`] allowed one operation.
///
/// Private fields, and no `Clone`: nothing else can make one, and it opens one door once.
///
/// ```compile_fail
/// let forged = curfew_policies::Permit { ttl: None, observed: None, unverified: Vec::new() };
/// ```
///
/// ```compile_fail
/// fn twice(permit: curfew_policies::Permit) -> (curfew_policies::Permit, curfew_policies::Permit) {
///     (permit.clone(), permit)
/// }
/// ```
#[derive(Debug)]
#[must_use]
pub struct Permit {
    ttl: Option<TtlMinutes>,
    observed: Option<Reason>,
    unverified: Vec<UnverifiedUse>,
}

impl Permit {
    /// The life to write into an upload: what the caller asked for, or the policy's default. `None` on numbers that have
    /// none, while an upload's form has not ended, and under monitoring where what the caller asked for breaks the rule:
    /// then it goes on as it came.
    #[must_use]
    pub const fn ttl(&self) -> Option<TtlMinutes> {
        self.ttl
    }

    /// Under `enforcement = "monitor"`: why the request would have been refused.
    #[must_use]
    pub const fn observed(&self) -> Option<&Reason> {
        self.observed.as_ref()
    }

    /// The first of [`Permit::unverified_uses`].
    #[must_use]
    pub fn unverified(&self) -> Option<&UnverifiedUse> {
        self.unverified.first()
    }

    /// What passed only because `allow_unverified` names it; each use is to be recorded. A marketing message of an unknown
    /// type can be two at once.
    #[must_use]
    pub fn unverified_uses(&self) -> &[UnverifiedUse] {
        &self.unverified
    }
}

/// Something that passed only because `allow_unverified` names it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum UnverifiedUse {
    /// An operation.
    Operation(UnverifiedOperation),
    /// A message type.
    MessageType(String),
}

impl fmt::Display for UnverifiedUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Operation(operation) => f.write_str(operation.name()),
            Self::MessageType(kind) => write!(f, "message type {kind}"),
        }
    }
}

/// Judges one request by every rule, in order; the first refusal is the answer.
///
/// Allocates nothing for what it allows, except to name what only `allow_unverified` let pass.
pub fn decide(
    policies: &PolicySet,
    caller: Caller<'_>,
    request: &Request<'_>,
    facts: &Facts<'_>,
) -> Decision {
    let case = Case::new(policies, caller, request, facts);
    let mut permit = Permit {
        ttl: None,
        observed: None,
        unverified: Vec::new(),
    };
    for rule in RULES {
        match (rule.judge)(&case) {
            Verdict::NotConcerned | Verdict::Passed => {}
            Verdict::PassedWithTtl(ttl) => permit.ttl = Some(ttl),
            Verdict::PassedUnverified(used) => permit.unverified.push(used),
            Verdict::Refused(reason) => {
                let refuses = policies.enforcement == Enforcement::Enforce
                    || !reason.can_be_observed()
                    || guards_a_caller(&case, &reason);
                if refuses {
                    return Decision::Deny(reason);
                }
                permit.observed.get_or_insert(reason);
            }
        }
    }
    Decision::Allow(permit)
}

/// Whether a caller may call at all what a request's head names: the rules on callers and numbers alone.
///
/// For before the body is read. It mints nothing: what passes here is still judged by [`decide`].
///
/// # Errors
///
/// The refusal that [`decide`] would begin with.
pub fn admit(policies: &PolicySet, caller: Caller<'_>, request: &Request<'_>) -> Result<(), Reason> {
    let facts = Facts {
        now: Timestamp::from_millis(0),
        media: &[],
        settings: SettingsFact::NotNeeded,
        recent_registrations: 0,
    };
    let case = Case::new(policies, caller, request, &facts);
    for rule in ADMISSION_RULES {
        if let Verdict::Refused(reason) = (rule.judge)(&case) {
            return Err(reason);
        }
    }
    Ok(())
}

/// Every rule's verdict, in order, for people who want to see why.
#[must_use]
pub fn explain(
    policies: &PolicySet,
    caller: Caller<'_>,
    request: &Request<'_>,
    facts: &Facts<'_>,
) -> Vec<(&'static str, Verdict)> {
    let case = Case::new(policies, caller, request, facts);
    RULES
        .iter()
        .map(|rule| (rule.name, (rule.judge)(&case)))
        .collect()
}

#[cfg(test)]
mod tests;
