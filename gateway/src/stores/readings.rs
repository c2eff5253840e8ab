//! What each restricted number's settings at Meta were last read as.

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use curfew_policies::{Minute, NumberPolicy, ObservedStorage, PhoneNumberId, SettingsFact};

use crate::clock::{Clock, Moment};

/// How long, in quarters of a minute, a reading is kept that stops the number: long enough that a stopped number does not
/// flood Meta with questions, short enough that it works again soon after the settings were mended.
const QUARTERS_OF_A_MINUTE_WHEN_STOPPED: u32 = 1;

/// How often Meta is asked in a row when calls that can change the settings overtake the question.
const TRIES_WHEN_OVERTAKEN: u32 = 2;

/// What came of asking Meta for a number's settings.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Asked {
    /// These are the settings.
    Read(ObservedStorage),
    /// They could not be read, whoever asks.
    Unread,
    /// Meta does not tell them to whoever asked. That says nothing to anybody else, or one caller with a wrong token could
    /// stop the number for all.
    NotToThisCaller,
}

/// The readings, one per number. Asking is single-flight: a hundred sends that find a reading too old ask once.
#[derive(Clone, Debug)]
pub struct SettingsReadings {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    entries: Mutex<HashMap<PhoneNumberId, Arc<Entry>>>,
    clock: Clock,
    minute: Minute,
}

#[derive(Debug, Default)]
struct Entry {
    known: Mutex<Known>,
    asking: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Known {
    last: Option<Reading>,
    /// How often it was forgotten.
    forgotten: u64,
}

#[derive(Clone, Copy, Debug)]
struct Reading {
    observed: Option<ObservedStorage>,
    good_until: Moment,
}

impl SettingsReadings {
    /// Nothing read yet.
    #[must_use]
    pub fn new(clock: Clock, minute: Minute) -> Self {
        Self {
            shared: Arc::new(Shared {
                entries: Mutex::default(),
                clock,
                minute,
            }),
        }
    }

    /// What `number`'s settings are: the last reading while it is good, else what `ask` says now.
    ///
    /// What could not be read is [`SettingsFact::Unread`], and stops the number. What was read while a call that can change it
    /// went to Meta is asked for once more, since nobody knows which of the two came first; overtaken again, it stops the
    /// number too.
    pub async fn current<A, F>(&self, number: &NumberPolicy, ask: A) -> SettingsFact
    where
        A: Fn() -> F,
        F: Future<Output = Asked>,
    {
        self.good_for(number, Duration::ZERO, ask).await
    }

    /// What `number`'s settings were last read as, while that is good; nothing is asked.
    #[must_use]
    pub fn last(&self, number: PhoneNumberId) -> SettingsFact {
        self.fresh(&self.entry(number), Duration::ZERO)
            .unwrap_or(SettingsFact::Unread)
    }

    /// Keeps `number`'s reading good for as long as it is polled: for an upload, which may take longer than a reading is good
    /// and is judged once more at its end, where nothing can wait for Meta.
    pub async fn keep_good<A, F>(&self, number: &NumberPolicy, ask: A) -> Infallible
    where
        A: Fn() -> F,
        F: Future<Output = Asked>,
    {
        let interval = self.shared.minute.times(number.verify_settings_minutes);
        loop {
            tokio::time::sleep(interval / 8).await;
            self.good_for(number, interval / 2, &ask).await;
        }
    }

    /// A reading that is good for at least `longer`: the last one, or what `ask` says now.
    async fn good_for<A, F>(&self, number: &NumberPolicy, longer: Duration, ask: A) -> SettingsFact
    where
        A: Fn() -> F,
        F: Future<Output = Asked>,
    {
        let entry = self.entry(number.phone_number_id);
        if let Some(fact) = self.fresh(&entry, longer) {
            return fact;
        }
        let _one_at_a_time = entry.asking.lock().await;
        if let Some(fact) = self.fresh(&entry, longer) {
            return fact;
        }
        for _ in 0..TRIES_WHEN_OVERTAKEN {
            if let Some(fact) = self.read(&entry, number, &ask).await {
                return fact;
            }
        }
        SettingsFact::Unread
    }

    /// Asks, and keeps what comes of it; `None` when that was overtaken.
    async fn read<A, F>(&self, entry: &Entry, number: &NumberPolicy, ask: &A) -> Option<SettingsFact>
    where
        A: Fn() -> F,
        F: Future<Output = Asked>,
    {
        // The reading counts from before the question: what changed while Meta answered is caught by the next one.
        let asked_at = self.shared.clock.monotonic();
        let forgotten = entry.known().forgotten;
        let observed = match ask().await {
            Asked::Read(observed) => Some(observed),
            Asked::Unread => None,
            Asked::NotToThisCaller => return Some(SettingsFact::Unread),
        };
        let keep = if observed == Some(ObservedStorage::Mode(number.storage)) {
            self.shared.minute.times(number.verify_settings_minutes)
        } else {
            self.shared.minute.times(QUARTERS_OF_A_MINUTE_WHEN_STOPPED) / 4
        };
        let mut known = entry.known();
        if known.forgotten != forgotten {
            return None;
        }
        known.last = Some(Reading {
            observed,
            good_until: asked_at.after(keep),
        });
        Some(fact(observed))
    }

    /// Forgets `number`'s reading, and the one that is under way: a call that can change it went to Meta.
    pub fn forget(&self, number: PhoneNumberId) {
        let entry = self.entry(number);
        let mut known = entry.known();
        known.last = None;
        known.forgotten = known.forgotten.wrapping_add(1);
    }

    fn entry(&self, number: PhoneNumberId) -> Arc<Entry> {
        let mut entries = self.shared.entries.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(entries.entry(number).or_default())
    }

    fn fresh(&self, entry: &Entry, longer: Duration) -> Option<SettingsFact> {
        let last = entry.known().last;
        last.filter(|reading| self.shared.clock.monotonic().after(longer) < reading.good_until)
            .map(|reading| fact(reading.observed))
    }
}

impl Entry {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn fact(observed: Option<ObservedStorage>) -> SettingsFact {
    observed.map_or(SettingsFact::Unread, SettingsFact::Read)
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};

    use curfew_policies::{StorageMode, Timestamp};
    use futures_util::FutureExt as _;
    use tokio::sync::oneshot;

    use super::*;
    use crate::clock::ManualTime;

    const RIGHT: Asked = Asked::Read(ObservedStorage::Mode(StorageMode::NoStorage));
    const WRONG: Asked = Asked::Read(ObservedStorage::Mode(StorageMode::Default));

    fn readings() -> (SettingsReadings, NumberPolicy, ManualTime) {
        let (clock, time) = Clock::manual(Timestamp::from_millis(1_800_000_000_000));
        let text = "[[number]]\nphone_number_id = \"1\"\nstorage = { mode = \"no_storage\" }\n";
        let policies = curfew_policies::parse(text).unwrap();
        let number = policies.numbers.into_values().next().unwrap();
        (SettingsReadings::new(clock, Minute::REAL), number, time)
    }

    /// The fact, and whether Meta was asked for it.
    fn current(readings: &SettingsReadings, number: &NumberPolicy, answer: Asked) -> (SettingsFact, bool) {
        let asked = Cell::new(false);
        let ask = || async {
            asked.set(true);
            answer
        };
        let fact = readings.current(number, ask).now_or_never().unwrap();
        (fact, asked.get())
    }

    #[test]
    fn a_reading_that_was_under_way_when_the_settings_changed_is_not_kept() {
        let (readings, number, _) = readings();
        for overtaken in 1..=2 {
            let (answers, answered): (Vec<_>, Vec<_>) = (0..2).map(|_| oneshot::channel()).unzip();
            let answered = RefCell::new(answered);
            let asked = || {
                let next = answered.borrow_mut().remove(0);
                async { next.await.unwrap() }
            };
            let mut early = Box::pin(readings.current(&number, asked));
            let mut known = None;
            for (round, answer) in answers.into_iter().enumerate() {
                assert!((&mut early).now_or_never().is_none());
                if round < overtaken {
                    readings.forget(number.phone_number_id);
                }
                answer.send(if round == 0 { WRONG } else { RIGHT }).unwrap();
                known = (&mut early).now_or_never();
            }
            if overtaken == 1 {
                assert_eq!(known, Some(fact_of(RIGHT)), "asked once more");
                assert_eq!(current(&readings, &number, WRONG), (fact_of(RIGHT), false));
                readings.forget(number.phone_number_id);
            } else {
                assert_eq!(known, Some(SettingsFact::Unread), "and no more");
                assert_eq!(current(&readings, &number, WRONG), (fact_of(WRONG), true));
            }
        }
    }

    #[test]
    fn what_one_caller_may_not_know_is_kept_for_nobody() {
        let (readings, number, _) = readings();
        let refused = (SettingsFact::Unread, true);
        assert_eq!(current(&readings, &number, Asked::NotToThisCaller), refused);
        assert_eq!(current(&readings, &number, RIGHT), (fact_of(RIGHT), true));
        assert_eq!(current(&readings, &number, WRONG), (fact_of(RIGHT), false));
    }

    #[test]
    fn a_good_reading_lasts_as_the_policy_says_and_a_bad_one_a_moment() {
        let (readings, number, time) = readings();
        let minutes = Duration::from_secs(60 * 15);
        assert_eq!(current(&readings, &number, RIGHT), (fact_of(RIGHT), true));
        time.advance(minutes - Duration::from_nanos(1));
        assert_eq!(current(&readings, &number, WRONG), (fact_of(RIGHT), false));
        time.advance(Duration::from_nanos(1));
        for bad in [WRONG, Asked::Unread] {
            assert_eq!(current(&readings, &number, bad), (fact_of(bad), true));
            time.advance(Duration::from_secs(15) - Duration::from_nanos(1));
            assert_eq!(current(&readings, &number, RIGHT), (fact_of(bad), false));
            time.advance(Duration::from_nanos(1));
        }
    }

    fn fact_of(asked: Asked) -> SettingsFact {
        match asked {
            Asked::Read(observed) => SettingsFact::Read(observed),
            Asked::Unread | Asked::NotToThisCaller => SettingsFact::Unread,
        }
    }
}
