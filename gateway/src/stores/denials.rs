//! How often Meta may still be asked about ids that we do not know.
//!
//! Each "no" of Meta counts against the number: one partner of Meta's blocks a number's media calls for half an hour
//! after twenty failed ones in an hour, so one badly behaved service could stop all others. Ten an hour and number, then
//! unknown ids are answered without asking; and an id that Meta has denied is not asked about again for an hour.
//!
//! In pass-through, where each caller has a token of its own and Meta denies a wrong one everything, each token has its
//! own ten, and all of a number's together have thirty.
//!
//! In memory and by monotonic time: a restart forgets at most that many denials a number.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use curfew_policies::{MediaId, Minute, PhoneNumberId};

use super::CallerTag;
use crate::clock::{Clock, Moment};

/// How many denials a number may have in the window, in pass-through for each token.
const BUDGET: usize = 10;
/// How many denials a number may have in the window from all tokens together.
const BUDGET_OF_ALL_TOKENS: usize = 30;
/// How long a denial counts and is remembered, in minutes: an hour.
const WINDOW_MINUTES: u32 = 60;

/// What is left of each number's denials. Cheap to clone; clones share it.
///
/// Holds at most thirty ids for each number that it was asked about: ask only for numbers of the policy.
#[derive(Clone, Debug)]
pub struct DenialBudget {
    numbers: Arc<Mutex<HashMap<PhoneNumberId, Spending>>>,
    clock: Clock,
    window: Duration,
}

/// Whether Meta may be asked whether a medium is a number's.
#[derive(Debug)]
#[must_use]
pub enum Ask {
    /// Yes, and a place in the budget is held until the [`Question`] is settled.
    Yes(Question),
    /// No: Meta denied the same within the hour.
    AlreadyDenied,
    /// No: the number's ten are spent, or held by questions that are still open.
    BudgetSpent,
}

/// A question that Meta may be asked once.
///
/// Dropped unsettled, such as by a caller who hung up, it counts as denied: Meta may have counted it, and whoever hangs
/// up early must not get more questions than others.
#[derive(Debug)]
#[must_use]
pub struct Question {
    budget: DenialBudget,
    number: PhoneNumberId,
    asker: Asker,
    media: MediaId,
    is_settled: bool,
}

/// Whose token asks in pass-through; elsewhere the gateway's own does, for all.
type Asker = Option<CallerTag>;

#[derive(Debug, Default)]
struct Spending {
    denials: Vec<Denial>,
    /// Whose questions are still open.
    open_questions: Vec<Asker>,
}

#[derive(Debug)]
struct Denial {
    at: Moment,
    asker: Asker,
    /// Unless the outcome is not known: then the same may be asked again.
    media: Option<MediaId>,
}

impl DenialBudget {
    /// A budget that is whole for every number.
    #[must_use]
    pub fn new(clock: Clock, minute: Minute) -> Self {
        Self {
            numbers: Arc::default(),
            clock,
            window: minute.times(WINDOW_MINUTES),
        }
    }

    /// Whether Meta may be asked, naming `number`, about `media`; in pass-through with `asker`'s token.
    pub fn may_ask(&self, number: PhoneNumberId, asker: Option<CallerTag>, media: MediaId) -> Ask {
        let now = self.clock.monotonic();
        let mut numbers = self.lock();
        let spending = numbers.entry(number).or_default();
        spending
            .denials
            .retain(|denial| now.since(denial.at) < self.window);
        let is_same = |denial: &Denial| denial.media == Some(media) && denial.asker == asker;
        if spending.denials.iter().any(is_same) {
            return Ask::AlreadyDenied;
        }
        let denied = spending.denials.iter().map(|denial| denial.asker);
        let spent: Vec<_> = denied.chain(spending.open_questions.iter().copied()).collect();
        let by_asker = spent.iter().filter(|spender| **spender == asker).count();
        if by_asker >= BUDGET || spent.len() >= BUDGET_OF_ALL_TOKENS {
            return Ask::BudgetSpent;
        }
        spending.open_questions.push(asker);
        Ask::Yes(Question {
            budget: self.clone(),
            number,
            asker,
            media,
            is_settled: false,
        })
    }

    fn settle(&self, number: PhoneNumberId, asker: Asker, denial: Option<Denial>) {
        let mut numbers = self.lock();
        let spending = numbers.entry(number).or_default();
        let open = spending.open_questions.iter().position(|open| *open == asker);
        if let Some(index) = open {
            spending.open_questions.swap_remove(index);
        }
        spending.denials.extend(denial);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<PhoneNumberId, Spending>> {
        self.numbers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Question {
    /// Meta denied it: spent, and not asked again for an hour.
    pub fn denied(mut self) {
        self.settle(Some(Some(self.media)));
    }

    /// Meta did not deny it, or was not asked after all: nothing is spent.
    pub fn give_back(mut self) {
        self.settle(None);
    }

    fn settle(&mut self, denied: Option<Option<MediaId>>) {
        self.is_settled = true;
        let denial = denied.map(|media| Denial {
            at: self.budget.clock.monotonic(),
            asker: self.asker,
            media,
        });
        self.budget.settle(self.number, self.asker, denial);
    }
}

impl Drop for Question {
    fn drop(&mut self) {
        if !self.is_settled {
            self.settle(Some(None));
        }
    }
}

#[cfg(test)]
mod tests {
    use curfew_policies::Timestamp;
    use proptest::prelude::*;

    use super::*;
    use crate::clock::ManualTime;

    const HOUR: Duration = Duration::from_secs(3600);

    fn budget() -> (DenialBudget, ManualTime) {
        let (clock, time) = Clock::manual(Timestamp::from_millis(1_800_000_000_000));
        (DenialBudget::new(clock, Minute::REAL), time)
    }

    fn number(id: u64) -> PhoneNumberId {
        id.to_string().parse().unwrap()
    }

    fn media(id: u64) -> MediaId {
        id.to_string().parse().unwrap()
    }

    fn ask(budget: &DenialBudget, number_id: u64, media_id: u64) -> Question {
        match budget.may_ask(number(number_id), None, media(media_id)) {
            Ask::Yes(question) => question,
            refused => panic!("{refused:?}"),
        }
    }

    #[test]
    fn ten_in_flight_at_once_do_not_overspend() {
        let (budget, _) = budget();
        let mut open: Vec<_> = (1..=10).map(|id| ask(&budget, 1, id)).collect();
        assert!(matches!(
            budget.may_ask(number(1), None, media(11)),
            Ask::BudgetSpent
        ));
        drop(ask(&budget, 2, 11));
        open.remove(0).give_back();
        let again = ask(&budget, 1, 11);
        assert!(matches!(
            budget.may_ask(number(1), None, media(12)),
            Ask::BudgetSpent
        ));
        again.denied();
        open.into_iter().for_each(Question::denied);
        assert!(matches!(
            budget.may_ask(number(1), None, media(12)),
            Ask::BudgetSpent
        ));
    }

    #[test]
    fn a_denied_id_is_not_asked_again_for_an_hour() {
        let (budget, time) = budget();
        ask(&budget, 1, 5).denied();
        time.advance(HOUR - Duration::from_nanos(1));
        assert!(matches!(
            budget.may_ask(number(1), None, media(5)),
            Ask::AlreadyDenied
        ));
        ask(&budget, 2, 5).give_back();
        time.advance(Duration::from_nanos(1));
        ask(&budget, 1, 5).give_back();
    }

    #[test]
    fn hanging_up_spends_but_denies_nothing() {
        let (budget, time) = budget();
        for _ in 0..10 {
            drop(ask(&budget, 1, 5));
        }
        assert!(matches!(
            budget.may_ask(number(1), None, media(5)),
            Ask::BudgetSpent
        ));
        time.advance(HOUR);
        ask(&budget, 1, 5).give_back();
    }

    #[test]
    fn each_token_has_ten_and_all_together_thirty() {
        let (budget, time) = budget();
        let signer = crate::stores::UrlSigner::random(Minute::REAL).unwrap();
        let token = |id: u8| Some(signer.caller_tag(&[id]));
        for (asker, granted) in [(1, 10), (2, 10), (3, 10), (4, 0)] {
            let asked = (1..=15).filter(|id| match budget.may_ask(number(1), token(asker), media(*id)) {
                Ask::Yes(question) => {
                    question.denied();
                    true
                }
                Ask::AlreadyDenied | Ask::BudgetSpent => false,
            });
            assert_eq!(asked.count(), granted, "token {asker}");
        }
        let first = |asker| budget.may_ask(number(1), token(asker), media(1));
        assert!(matches!(first(1), Ask::AlreadyDenied));
        assert!(matches!(first(4), Ask::BudgetSpent));
        time.advance(HOUR);
        assert!(matches!(first(4), Ask::Yes(_)));
    }

    #[test]
    fn threads_together_get_no_more_than_ten() {
        let (budget, _) = budget();
        let granted: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8u64)
                .map(|thread| {
                    let budget = &budget;
                    scope.spawn(move || {
                        let ids = (1..=50).map(|id| media(thread * 50 + id));
                        let asked = ids.filter_map(|id| match budget.may_ask(number(1), None, id) {
                            Ask::Yes(question) => Some(question),
                            Ask::AlreadyDenied | Ask::BudgetSpent => None,
                        });
                        asked.map(Question::denied).count()
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(granted, 10);
    }

    proptest! {
        #[test]
        fn no_hour_sees_more_than_ten_denials(
            steps in proptest::collection::vec((0u64..900, 1u64..40, 0u8..3), 1..120),
        ) {
            let (budget, time) = budget();
            let mut elapsed = Duration::ZERO;
            let mut spent = Vec::new();
            for (seconds, id, outcome) in steps {
                let pause = Duration::from_secs(seconds);
                time.advance(pause);
                elapsed += pause;
                if let Ask::Yes(question) = budget.may_ask(number(1), None, media(id)) {
                    match outcome {
                        0 => question.give_back(),
                        1 => { question.denied(); spent.push(elapsed); }
                        _ => { drop(question); spent.push(elapsed); }
                    }
                }
                let in_hour = spent.iter().filter(|at| elapsed - **at < HOUR).count();
                prop_assert!(in_hour <= 10, "{in_hour}");
            }
        }
    }
}
