//! Which tokens Meta has taken for which numbers.
//!
//! In pass-through anybody may present any token, and a new one with each request. So a token counts for itself only once
//! Meta has answered a call of it about one of our numbers with a success; all others together are one caller. A known caller
//! of the policy needs no standing.

use std::collections::{HashMap, HashSet};
use std::sync::{PoisonError, RwLock};

use curfew_policies::PhoneNumberId;

use super::CallerKey;

/// How many tokens are remembered. Only Meta's own successes fill it; tokens beyond stay strangers.
const MOST_TOKENS: usize = 16_384;

/// The tokens that Meta has taken.
#[derive(Debug, Default)]
pub(super) struct Standing(RwLock<HashMap<CallerKey, HashSet<PhoneNumberId>>>);

impl Standing {
    /// Meta has taken the token for this number.
    pub(super) fn prove(&self, caller: CallerKey, number: PhoneNumberId) {
        if self.has(caller, number) {
            return;
        }
        let mut tokens = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let has_room = tokens.len() < MOST_TOKENS;
        if let Some(numbers) = tokens.get_mut(&caller) {
            numbers.insert(number);
        } else if has_room {
            tokens.insert(caller, HashSet::from([number]));
        }
    }

    /// Whether Meta has taken it for this number.
    pub(super) fn has(&self, caller: CallerKey, number: PhoneNumberId) -> bool {
        let tokens = self.0.read().unwrap_or_else(PoisonError::into_inner);
        tokens
            .get(&caller)
            .is_some_and(|numbers| numbers.contains(&number))
    }

    /// Whether Meta has taken it for any number.
    pub(super) fn has_any(&self, caller: CallerKey) -> bool {
        let tokens = self.0.read().unwrap_or_else(PoisonError::into_inner);
        tokens.contains_key(&caller)
    }
}
