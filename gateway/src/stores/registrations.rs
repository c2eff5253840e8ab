//! How many register and deregister calls of a number went to Meta in the last 72 hours.
//!
//! Meta locks a number out for 72 hours after the tenth (Cloud API, "Registration", error 133016), so the count must
//! survive a restart, and a call counts before it goes out: one too many refuses, one too few locks out.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use curfew_policies::{Minute, PhoneNumberId, Timestamp};

use super::StoreError;
use super::sqlite::Writer;
use super::valkey::Valkey;
use crate::clock::Clock;

/// The window in which Meta counts, in minutes: 72 hours.
const WINDOW_MINUTES: u32 = 72 * 60;

/// Which of the two calls that Meta counts.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum RegistrationCall {
    /// `POST /{phone_number_id}/register`.
    Register,
    /// `POST /{phone_number_id}/deregister`.
    Deregister,
}

/// The register and deregister calls that went to Meta. Cheap to clone; clones share them.
#[derive(Clone, Debug)]
pub struct Registrations {
    calls: Arc<CallLog>,
    keeper: Keeper,
    clock: Clock,
}

#[derive(Clone, Debug)]
enum Keeper {
    Memory,
    File(Arc<Writer>),
    Shared(Valkey),
}

impl Registrations {
    /// A count that lasts as long as the process.
    #[must_use]
    pub fn in_memory(clock: Clock, minute: Minute) -> Self {
        Self {
            calls: Arc::new(CallLog::new(minute)),
            keeper: Keeper::Memory,
            clock,
        }
    }

    pub(super) fn kept_by(writer: Arc<Writer>, calls: Arc<CallLog>, clock: Clock) -> Self {
        Self {
            calls,
            keeper: Keeper::File(writer),
            clock,
        }
    }

    pub(super) fn shared(store: Valkey, clock: Clock, minute: Minute) -> Self {
        Self {
            calls: Arc::new(CallLog::new(minute)),
            keeper: Keeper::Shared(store),
            clock,
        }
    }

    /// How many calls of this kind were noted for `number` in the last 72 hours. Calls that a stepped clock has put into
    /// the future count.
    ///
    /// # Errors
    ///
    /// When a shared store does not answer; then the call must not go out.
    pub async fn recent(&self, number: PhoneNumberId, call: RegistrationCall) -> Result<u32, StoreError> {
        let now = self.clock.now();
        match &self.keeper {
            Keeper::Memory | Keeper::File(_) => Ok(self.calls.recent(number, call, now)),
            Keeper::Shared(store) => {
                let not_counted = self.calls.last_not_counted(now);
                store.recent_calls(number, call, not_counted).await
            }
        }
    }

    /// Notes a call that is about to go out, unless `most` of its kind count already: of two at once only one takes the last
    /// free place, and the other is not noted. To be awaited before the first byte is written.
    ///
    /// # Errors
    ///
    /// When the note could not be made durable; then the call must not go out.
    pub async fn note(
        &self,
        number: PhoneNumberId,
        call: RegistrationCall,
        most: u32,
    ) -> Result<Note, StoreError> {
        let now = self.clock.now();
        match &self.keeper {
            Keeper::Memory => Ok(self.calls.note(number, call, now, most)),
            Keeper::File(writer) => writer.note(number, call, most).await,
            Keeper::Shared(store) => {
                let window = (self.calls.last_not_counted(now), self.calls.window);
                store.note_call(number, call, now, window, most).await
            }
        }
    }

    /// Takes back the note of a call that was made `at` this time: Meta did not take it for one.
    ///
    /// # Errors
    ///
    /// When that could not be made durable; then the call counts on.
    pub async fn take_back(
        &self,
        number: PhoneNumberId,
        call: RegistrationCall,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        match &self.keeper {
            Keeper::Memory => {
                self.calls.take_back(number, call, at);
                Ok(())
            }
            Keeper::File(writer) => writer.take_back(number, call, at).await,
            Keeper::Shared(store) => store.take_back_call(number, call, at).await,
        }
    }
}

/// What came of noting a call.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[must_use]
pub enum Note {
    /// It counts.
    Taken {
        /// How many there are now with it.
        calls: u32,
        /// As of when it counts, which is also what it is [taken back](Registrations::take_back) by.
        at: Timestamp,
    },
    /// There were as many as may be: it was not noted.
    Full {
        /// How many there are.
        calls: u32,
    },
}

/// The calls of the last 72 hours, in memory.
#[derive(Debug)]
pub(super) struct CallLog {
    window: Duration,
    calls: Mutex<HashMap<(PhoneNumberId, RegistrationCall), Vec<Timestamp>>>,
}

impl CallLog {
    pub(super) fn new(minute: Minute) -> Self {
        Self {
            window: minute.times(WINDOW_MINUTES),
            calls: Mutex::default(),
        }
    }

    pub(super) fn note(
        &self,
        number: PhoneNumberId,
        call: RegistrationCall,
        at: Timestamp,
        most: u32,
    ) -> Note {
        let mut calls = self.lock();
        let times = calls.entry((number, call)).or_default();
        times.retain(|time| self.counts(*time, at));
        let noted = count(times.len());
        if noted >= most {
            return Note::Full { calls: noted };
        }
        times.push(at);
        Note::Taken {
            calls: count(times.len()),
            at,
        }
    }

    pub(super) fn take_back(&self, number: PhoneNumberId, call: RegistrationCall, at: Timestamp) {
        let mut calls = self.lock();
        let Some(times) = calls.get_mut(&(number, call)) else {
            return;
        };
        if let Some(index) = times.iter().position(|time| *time == at) {
            times.swap_remove(index);
        }
    }

    /// Whether a call at `time` still counts at `now`.
    fn counts(&self, time: Timestamp, now: Timestamp) -> bool {
        now.since(time) < self.window
    }

    /// The last time whose calls no longer count at `now`, if there is one.
    pub(super) fn last_not_counted(&self, now: Timestamp) -> Option<Timestamp> {
        let window = u64::try_from(self.window.as_millis()).ok()?;
        now.millis().checked_sub(window).map(Timestamp::from_millis)
    }

    pub(super) fn recent(&self, number: PhoneNumberId, call: RegistrationCall, now: Timestamp) -> u32 {
        let calls = self.lock();
        let times = calls.get(&(number, call)).into_iter().flatten();
        count(times.filter(|time| self.counts(**time, now)).count())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(PhoneNumberId, RegistrationCall), Vec<Timestamp>>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn count(calls: usize) -> u32 {
    u32::try_from(calls).unwrap_or(u32::MAX)
}

/// What a call is called where it is kept.
pub(super) fn name_of_call(call: RegistrationCall) -> &'static str {
    match call {
        RegistrationCall::Register => "register",
        RegistrationCall::Deregister => "deregister",
    }
}

/// The call that is called so.
pub(super) fn call_named(name: &str) -> Option<RegistrationCall> {
    [RegistrationCall::Register, RegistrationCall::Deregister]
        .into_iter()
        .find(|call| name_of_call(*call) == name)
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    const START: Timestamp = Timestamp::from_millis(1_800_000_000_000);

    fn number(id: u64) -> PhoneNumberId {
        id.to_string().parse().unwrap()
    }

    /// A count in memory answers at once.
    fn recent(calls: &Registrations, number: PhoneNumberId, call: RegistrationCall) -> u32 {
        calls.recent(number, call).now_or_never().unwrap().unwrap()
    }

    #[test]
    fn calls_count_for_72_hours_by_number_and_kind() {
        let (clock, time) = Clock::manual(START);
        let calls = Registrations::in_memory(clock, Minute::REAL);
        for expected in 1..=3 {
            let noted = calls
                .note(number(1), RegistrationCall::Register, 3)
                .now_or_never()
                .unwrap();
            let taken = Note::Taken {
                calls: expected,
                at: START,
            };
            assert_eq!(noted.unwrap(), taken);
        }
        assert_eq!(recent(&calls, number(1), RegistrationCall::Register), 3);
        assert_eq!(recent(&calls, number(1), RegistrationCall::Deregister), 0);
        assert_eq!(recent(&calls, number(2), RegistrationCall::Register), 0);
        time.advance(Duration::from_secs(72 * 3600) - Duration::from_millis(1));
        assert_eq!(recent(&calls, number(1), RegistrationCall::Register), 3);
        time.advance(Duration::from_millis(1));
        assert_eq!(recent(&calls, number(1), RegistrationCall::Register), 0);
    }

    #[test]
    fn what_was_taken_back_or_not_noted_does_not_count() {
        let (clock, time) = Clock::manual(START);
        let calls = Registrations::in_memory(clock, Minute::REAL);
        let note = || {
            let noted = calls.note(number(1), RegistrationCall::Register, 2);
            noted.now_or_never().unwrap().unwrap()
        };
        let first = Note::Taken { calls: 1, at: START };
        assert_eq!(note(), first);
        time.advance(Duration::from_secs(1));
        assert!(matches!(note(), Note::Taken { calls: 2, .. }));
        for _ in 0..3 {
            assert_eq!(note(), Note::Full { calls: 2 });
        }
        for _ in 0..2 {
            let taken_back = calls.take_back(number(1), RegistrationCall::Register, START);
            taken_back.now_or_never().unwrap().unwrap();
            assert_eq!(recent(&calls, number(1), RegistrationCall::Register), 1);
        }
        assert!(matches!(note(), Note::Taken { calls: 2, .. }));
    }

    #[test]
    fn a_clock_set_back_forgets_no_call() {
        let (clock, time) = Clock::manual(START);
        let calls = Registrations::in_memory(clock, Minute::REAL);
        calls
            .note(number(1), RegistrationCall::Deregister, 1)
            .now_or_never()
            .unwrap()
            .map(|note| assert!(matches!(note, Note::Taken { .. })))
            .unwrap();
        time.set_wall(Timestamp::from_millis(START.millis() - 3_600_000));
        assert_eq!(recent(&calls, number(1), RegistrationCall::Deregister), 1);
    }

    #[test]
    fn the_window_is_counted_in_minutes_that_may_be_short() {
        let (clock, time) = Clock::manual(START);
        let calls = Registrations::in_memory(clock, Minute::lasting(Duration::from_secs(1)).unwrap());
        calls
            .note(number(1), RegistrationCall::Register, 1)
            .now_or_never()
            .unwrap()
            .map(|note| assert!(matches!(note, Note::Taken { .. })))
            .unwrap();
        time.advance(Duration::from_secs(72 * 60) - Duration::from_millis(1));
        assert_eq!(recent(&calls, number(1), RegistrationCall::Register), 1);
        time.advance(Duration::from_millis(1));
        assert_eq!(recent(&calls, number(1), RegistrationCall::Register), 0);
    }
}
