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
    writer: Option<Arc<Writer>>,
    clock: Clock,
}

impl Registrations {
    /// A count that lasts as long as the process.
    #[must_use]
    pub fn in_memory(clock: Clock, minute: Minute) -> Self {
        Self {
            calls: Arc::new(CallLog::new(minute)),
            writer: None,
            clock,
        }
    }

    pub(super) fn kept_by(writer: Arc<Writer>, calls: Arc<CallLog>, clock: Clock) -> Self {
        Self {
            calls,
            writer: Some(writer),
            clock,
        }
    }

    /// How many calls of this kind were noted for `number` in the last 72 hours. Calls that a stepped clock has put into
    /// the future count.
    #[must_use]
    pub fn recent(&self, number: PhoneNumberId, call: RegistrationCall) -> u32 {
        self.calls.recent(number, call, self.clock.now())
    }

    /// Notes a call that is about to go out, and returns how many there are now with it, so that of two at once only one
    /// takes the last free place. To be awaited before the first byte is written.
    ///
    /// # Errors
    ///
    /// When the note could not be made durable; then the call must not go out.
    pub async fn note(&self, number: PhoneNumberId, call: RegistrationCall) -> Result<u32, StoreError> {
        match &self.writer {
            None => Ok(self.calls.note(number, call, self.clock.now())),
            Some(writer) => writer.note(number, call).await,
        }
    }
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

    pub(super) fn note(&self, number: PhoneNumberId, call: RegistrationCall, at: Timestamp) -> u32 {
        let mut calls = self.lock();
        let times = calls.entry((number, call)).or_default();
        times.retain(|time| self.counts(*time, at));
        times.push(at);
        count(times.len())
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

    fn recent(&self, number: PhoneNumberId, call: RegistrationCall, now: Timestamp) -> u32 {
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

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    const START: Timestamp = Timestamp::from_millis(1_800_000_000_000);

    fn number(id: u64) -> PhoneNumberId {
        id.to_string().parse().unwrap()
    }

    #[test]
    fn calls_count_for_72_hours_by_number_and_kind() {
        let (clock, time) = Clock::manual(START);
        let calls = Registrations::in_memory(clock, Minute::REAL);
        for expected in 1..=3 {
            let noted = calls
                .note(number(1), RegistrationCall::Register)
                .now_or_never()
                .unwrap();
            assert_eq!(noted.unwrap(), expected);
        }
        assert_eq!(calls.recent(number(1), RegistrationCall::Register), 3);
        assert_eq!(calls.recent(number(1), RegistrationCall::Deregister), 0);
        assert_eq!(calls.recent(number(2), RegistrationCall::Register), 0);
        time.advance(Duration::from_secs(72 * 3600) - Duration::from_millis(1));
        assert_eq!(calls.recent(number(1), RegistrationCall::Register), 3);
        time.advance(Duration::from_millis(1));
        assert_eq!(calls.recent(number(1), RegistrationCall::Register), 0);
    }

    #[test]
    fn a_clock_set_back_forgets_no_call() {
        let (clock, time) = Clock::manual(START);
        let calls = Registrations::in_memory(clock, Minute::REAL);
        calls
            .note(number(1), RegistrationCall::Deregister)
            .now_or_never()
            .unwrap()
            .unwrap();
        time.set_wall(Timestamp::from_millis(START.millis() - 3_600_000));
        assert_eq!(calls.recent(number(1), RegistrationCall::Deregister), 1);
    }

    #[test]
    fn the_window_is_counted_in_minutes_that_may_be_short() {
        let (clock, time) = Clock::manual(START);
        let calls = Registrations::in_memory(clock, Minute::lasting(Duration::from_secs(1)).unwrap());
        calls
            .note(number(1), RegistrationCall::Register)
            .now_or_never()
            .unwrap()
            .unwrap();
        time.advance(Duration::from_secs(72 * 60) - Duration::from_millis(1));
        assert_eq!(calls.recent(number(1), RegistrationCall::Register), 1);
        time.advance(Duration::from_millis(1));
        assert_eq!(calls.recent(number(1), RegistrationCall::Register), 0);
    }
}
