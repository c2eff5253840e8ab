//! The limits under a clock that the tests move.

mod meta;
mod model;
mod races;
mod recipients;
mod reload;
mod waiting;

use std::num::NonZeroU32;
use std::sync::{Arc, Mutex};

use curfew_policies::{Timestamp, parse};
use futures_util::FutureExt as _;

use super::*;
use crate::clock::ManualTime;

const START: Timestamp = Timestamp::from_millis(1_800_000_000_000);
const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(86_400);
/// The number of most tests.
const NUMBER: &str = "1001";

/// Limits whose clock stands, and what they said.
struct World {
    limits: SendLimits,
    time: ManualTime,
    events: Arc<Mutex<Vec<Event>>>,
}

/// The policy of [`NUMBER`], `sends` being lines of its `[number.sends]`, and more of the file after it.
fn policies(sends: &str, more: &str) -> PolicySet {
    let text = format!(
        "[[number]]\nphone_number_id = \"1001\"\nwaba_id = \"77\"\nstorage = {{ mode = \"default\" }}\n[number.sends]\n{sends}\n\
         [[number]]\nphone_number_id = \"1002\"\nwaba_id = \"77\"\nstorage = {{ mode = \"default\" }}\n\
         [[number]]\nphone_number_id = \"1003\"\nstorage = {{ mode = \"default\" }}\n{more}\n"
    );
    parse(&text).unwrap()
}

fn world(sends: &str) -> World {
    world_with(&policies(sends, ""), WaitingRoom::DEFAULT)
}

fn world_with(policies: &PolicySet, room: WaitingRoom) -> World {
    let (clock, time) = Clock::manual(START);
    let events: Arc<Mutex<Vec<Event>>> = Arc::default();
    let heard = Arc::clone(&events);
    let key = RecipientKey::derived_from(b"a secret of the tests").unwrap();
    let on_event = move |event: &Event| heard.lock().unwrap().push(*event);
    World {
        limits: SendLimits::new(policies, key, clock, Minute::REAL, room, on_event),
        time,
        events,
    }
}

fn number(text: &str) -> PhoneNumberId {
    text.parse().unwrap()
}

fn share(caller: u64, weight: u32) -> Share {
    Share {
        caller,
        weight: NonZeroU32::new(weight).unwrap(),
    }
}

/// A free-form message to `to`.
fn message(to: &str) -> Ask<'_> {
    Ask {
        number: number(NUMBER),
        app: 0,
        share: share(1, 1),
        what: What::Message {
            recipient: Recipient::Phone(to),
            class: SendClass::Service,
            is_template: false,
        },
        bytes: 100,
    }
}

/// A template of `class` to `to`.
fn template(to: &str, class: SendClass) -> Ask<'_> {
    Ask {
        what: What::Message {
            recipient: Recipient::Phone(to),
            class,
            is_template: true,
        },
        ..message(to)
    }
}

fn receipt() -> Ask<'static> {
    Ask {
        what: What::Receipt,
        ..message("")
    }
}

impl World {
    /// What comes of `ask` at once.
    fn now(&self, ask: &Ask<'_>) -> Result<Grant, Limited> {
        self.limits.admit(ask).now_or_never().expect("an answer at once")
    }

    /// How many of `count` such messages, each to somebody else, pass at once.
    fn burst(&self, count: u64) -> usize {
        let passes = |nth: &u64| self.now(&message(&format!("+1{nth:010}"))).is_ok();
        (0..count).filter(passes).count()
    }

    /// As if `run` ran; whoever holds it has to call [`World::advance`].
    fn driving(&self) -> super::waiting::Driving<'_> {
        super::waiting::Driving::begin(&self.limits.0)
    }

    /// Lets time pass as a driver sees it: it wakes when it said it would.
    fn advance(&self, duration: Duration) {
        let mut left = duration;
        while let Some(next) = self.limits.0.serve_due()
            && next <= left
        {
            self.time.advance(next);
            left -= next;
        }
        self.time.advance(left);
        self.limits.0.serve_due();
    }

    fn events(&self) -> Vec<Event> {
        std::mem::take(&mut *self.events.lock().unwrap())
    }

    fn number_now(&self) -> NumberNow {
        self.limits.snapshot().numbers.remove(NUMBER).unwrap()
    }
}

fn limited(answer: Result<Grant, Limited>) -> (&'static str, Option<Duration>) {
    let limited = answer.expect_err("limited");
    (limited.which.name(), limited.retry_after)
}
