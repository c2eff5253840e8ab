//! What each restricted number's settings at Meta were last read as.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use curfew_policies::{Minute, NumberPolicy, ObservedStorage, PhoneNumberId, SettingsFact};

use crate::clock::{Clock, Moment};

/// How long, in quarters of a minute, a reading is kept that stops the number: long enough that a stopped number does not
/// flood Meta with questions, short enough that it works again soon after the settings were mended.
const QUARTERS_OF_A_MINUTE_WHEN_STOPPED: u32 = 1;

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
    last: Mutex<Option<Reading>>,
    asking: tokio::sync::Mutex<()>,
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
    /// `ask` answers `None` when Meta could not be asked; that is [`SettingsFact::Unread`], and stops the request. It is
    /// kept for a while only if `keep_failure` says so: what fails with one caller's token says nothing about another's.
    pub async fn current<F>(&self, number: &NumberPolicy, keep_failure: bool, ask: F) -> SettingsFact
    where
        F: Future<Output = Option<ObservedStorage>>,
    {
        let entry = self.entry(number.phone_number_id);
        if let Some(fact) = self.fresh(&entry) {
            return fact;
        }
        let _one_at_a_time = entry.asking.lock().await;
        if let Some(fact) = self.fresh(&entry) {
            return fact;
        }
        // The reading counts from before the question: what changed while Meta answered is caught by the next one.
        let asked_at = self.shared.clock.monotonic();
        let observed = ask.await;
        if observed.is_none() && !keep_failure {
            return SettingsFact::Unread;
        }
        let keep = if observed == Some(ObservedStorage::Mode(number.storage)) {
            self.shared.minute.times(number.verify_settings_minutes)
        } else {
            self.shared.minute.times(QUARTERS_OF_A_MINUTE_WHEN_STOPPED) / 4
        };
        let reading = Reading {
            observed,
            good_until: asked_at.after(keep),
        };
        *entry.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(reading);
        fact(observed)
    }

    /// Forgets `number`'s reading: a call that can change it went to Meta.
    pub fn forget(&self, number: PhoneNumberId) {
        let entry = self.entry(number);
        *entry.last.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn entry(&self, number: PhoneNumberId) -> Arc<Entry> {
        let mut entries = self.shared.entries.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(entries.entry(number).or_default())
    }

    fn fresh(&self, entry: &Entry) -> Option<SettingsFact> {
        let last = *entry.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.filter(|reading| self.shared.clock.monotonic() < reading.good_until)
            .map(|reading| fact(reading.observed))
    }
}

fn fact(observed: Option<ObservedStorage>) -> SettingsFact {
    observed.map_or(SettingsFact::Unread, SettingsFact::Read)
}
