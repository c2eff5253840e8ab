//! What the limits of sends say to the store: one script a decision, on keys of one hash tag.
//!
//! A number's keys carry the tag of its portfolio, `{sends:FIRST_NUMBER}`, or its own: what one send takes is on one node.
//! Recipients are keyed hashes.
//!
//! The limits' clock and who may take how much of it is in `scripts/beat.lua`; `scripts/number.lua` is how a number's books
//! are read.

use std::num::NonZeroU32;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use curfew_policies::{PhoneNumberId, SendsPolicy};
use redis::{Script, ScriptInvocation};

use super::Valkey;
use super::link::COMMAND_TIMEOUT;
use crate::stores::StoreError;

/// How long a seat is held without word of its gateway.
pub(in crate::stores) const LEASE: Duration = Duration::from_millis(400);
/// How long after it was asked for a renewal may still come true.
pub(in crate::stores) const RENEWAL: Duration = COMMAND_TIMEOUT;

const SEATS: &str = "curfew:{seats}";

static BEAT: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("scripts/beat.lua")));
static RECALL: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("scripts/recall.lua")));

macro_rules! about_a_number {
    ($($name:ident = $file:literal;)*) => {
        $(static $name: LazyLock<Script> = LazyLock::new(|| {
            Script::new(concat!(include_str!("scripts/number.lua"), include_str!(concat!("scripts/", $file))))
        });)*
    };
}

about_a_number! {
    TAKE = "take.lua";
    GIVE_BACK = "give_back.lua";
    INBOUND = "inbound.lua";
    CUT = "cut.lua";
    STRIKE = "strike.lua";
    ACCEPTED = "accepted.lua";
    JOIN = "join.lua";
}

/// A seat among the gateways that share the store, as it was at its last renewal. Times are the server's, in microseconds.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(in crate::stores) struct Seat {
    /// When it was renewed.
    pub(in crate::stores) at: u64,
    /// The clock that limits go by.
    v: u64,
    /// Until when that clock runs at this speed.
    until: u64,
    /// How many of the seats may take from the store; the others send at a share of their own.
    pub(in crate::stores) live: u32,
    /// What tells this store from one that has forgotten everything.
    pub(in crate::stores) born: String,
}

/// What came of asking for a seat.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(in crate::stores) enum Beat {
    /// It is ours until [`LEASE`] after.
    Seat(Seat),
    /// It is not; the reason is for the log.
    Refused(&'static str),
}

/// A number, and by which keys it is found.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(in crate::stores) struct Books {
    pub(in crate::stores) number: PhoneNumberId,
    /// The first number of its portfolio, or itself.
    pub(in crate::stores) tag: PhoneNumberId,
}

/// What a number may send.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::stores) struct Terms {
    per_second: u32,
    burst: u32,
    kept_for_inbound: u32,
    pair_seconds: u32,
    pair_burst: u32,
}

impl Seat {
    /// Whether the store is so young that a pair it does not know may have been used up before it.
    pub(in crate::stores) fn is_young(&self, terms: Terms) -> bool {
        self.v < u64::from(terms.pair_seconds) * u64::from(terms.pair_burst) * 1_000_000
    }
}

impl Terms {
    /// How many messages can go out within a second.
    pub(in crate::stores) fn most_in_a_second(&self) -> u64 {
        u64::from(self.burst) + u64::from(self.per_second)
    }

    pub(in crate::stores) fn of(policy: &SendsPolicy) -> Self {
        Self {
            per_second: policy.per_second.max(1),
            burst: policy.burst.max(1),
            kept_for_inbound: policy.kept_for_inbound,
            pair_seconds: policy.pair.seconds.max(1),
            pair_burst: policy.pair.burst.max(1),
        }
    }
}

/// One send's view of the store: whose, under which terms, as of which seat.
#[derive(Clone, Debug)]
pub(in crate::stores) struct About<'a> {
    pub(in crate::stores) books: &'a Books,
    pub(in crate::stores) terms: Terms,
    pub(in crate::stores) seat: &'a Seat,
    /// The recipient's keyed hash; `None` for receipts.
    pub(in crate::stores) recipient: Option<String>,
    /// A day, as the limits count it.
    pub(in crate::stores) day: Duration,
}

/// What a script said of one send. Spans are rounded up, so whoever comes back after them passes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::stores) struct Taken {
    pub(in crate::stores) is_taken: bool,
    /// How long the throughput would have it wait, or the next one if it was taken.
    pub(in crate::stores) throughput: Duration,
    pub(in crate::stores) pair: Duration,
    pub(in crate::stores) uniques: Duration,
    /// How many of the burst are taken: of all messages, and of sends.
    pub(in crate::stores) taken: (u64, u64),
    pub(in crate::stores) rate: u32,
    /// How many recipients the portfolio has, where that was looked at.
    pub(in crate::stores) count: u32,
    /// When, by the server's clock, in microseconds.
    pub(in crate::stores) at: u64,
    pub(in crate::stores) changes: u64,
    pub(in crate::stores) is_new_unique: bool,
    pub(in crate::stores) strikes: u32,
    /// Whether the pair was taken from what the gateway has for itself.
    pub(in crate::stores) is_own_pair: bool,
}

impl Valkey {
    /// How many seats there are.
    pub(in crate::stores) const fn seats(&self) -> NonZeroU32 {
        self.instances
    }

    /// The server's time, in microseconds.
    pub(in crate::stores) async fn server_time(&self) -> Result<u64, StoreError> {
        let (seconds, micros): (u64, u64) = self.link.ask(&redis::cmd("TIME")).await?;
        Ok(seconds * 1_000_000 + micros)
    }

    /// Takes a seat as `id`, or keeps it, unless the server's clock is past `latest` by then. `key` is what all who share the
    /// store must agree on.
    pub(in crate::stores) async fn beat(&self, id: &str, key: &str, latest: u64) -> Result<Beat, StoreError> {
        let mut beat = BEAT.key(SEATS);
        beat.arg(id)
            .arg(self.instances.get())
            .arg(micros(LEASE))
            .arg(key)
            .arg(latest);
        let reply: Vec<redis::Value> = self.link.run(&beat).await?;
        let text = |nth: usize| {
            reply
                .get(nth)
                .and_then(|value| redis::from_redis_value_ref::<String>(value).ok())
        };
        let whole = |nth: usize| text(nth)?.parse::<u64>().ok();
        let seat = || {
            Some(Seat {
                at: whole(1)?,
                v: whole(2)?,
                until: whole(3)?,
                live: u32::try_from(whole(4)?).ok()?,
                born: text(5)?,
            })
        };
        Ok(match text(0).as_deref() {
            Some("ok") => Beat::Seat(seat().ok_or_else(not_understood)?),
            Some("late") => return Err(not_understood()),
            Some("full") => Beat::Refused("store.instances says fewer gateways than there are"),
            Some("seats") => Beat::Refused("other gateways have another store.instances"),
            Some("key") => Beat::Refused("other gateways have another upstream.token"),
            _ => return Err(not_understood()),
        })
    }

    /// Gives a seat up: whoever is left may send what it could.
    pub(in crate::stores) async fn leave(&self, id: &str) -> Result<(), StoreError> {
        let mut leave = redis::cmd("HDEL");
        leave.arg(SEATS).arg(format!("e:{id}"));
        self.link.ask(&leave).await
    }

    /// Takes one of every limit, if every limit has one. `most` is how many recipients the portfolio may have, `has_own_pair`
    /// whether the pair may be what the gateway has for itself.
    pub(in crate::stores) async fn take(
        &self,
        about: &About<'_>,
        (is_template, has_own_pair): (bool, bool),
        most: Option<u32>,
    ) -> Result<Taken, StoreError> {
        let mut take = self.prepared(&TAKE, about);
        take.key(format!("{}:lost", about.books.prefix()))
            .arg(u8::from(is_template))
            .arg(most.map_or(-1, i64::from))
            .arg(u8::from(has_own_pair));
        let said: [u64; 13] = self
            .link
            .run::<Vec<u64>>(&take)
            .await?
            .try_into()
            .map_err(|_| not_understood())?;
        let [
            is_taken,
            throughput,
            pair,
            uniques,
            all,
            sends,
            rate,
            count,
            at,
            changes,
            is_new,
            strikes,
            is_own,
        ] = said;
        let small = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
        Ok(Taken {
            is_taken: is_taken == 1,
            throughput: Duration::from_micros(throughput),
            pair: Duration::from_micros(pair),
            uniques: Duration::from_micros(uniques),
            taken: (all, sends),
            rate: small(rate),
            count: small(count),
            at,
            changes,
            is_new_unique: is_new == 1,
            strikes: small(strikes),
            is_own_pair: is_own == 1,
        })
    }

    /// Gives back what was taken at `at`, after so many changes of pace.
    pub(in crate::stores) async fn give_back(
        &self,
        about: &About<'_>,
        (at, changes): (u64, u64),
        (is_new_unique, is_own_pair): (bool, bool),
    ) -> Result<(), StoreError> {
        let mut give_back = self.prepared(&GIVE_BACK, about);
        give_back
            .arg(at)
            .arg(changes)
            .arg(u8::from(is_new_unique))
            .arg(u8::from(is_own_pair));
        self.link.run(&give_back).await
    }

    /// Counts a message that came in.
    pub(in crate::stores) async fn inbound(&self, about: &About<'_>) -> Result<(), StoreError> {
        self.link.run(&self.prepared(&INBOUND, about)).await
    }

    /// Lowers a number's rate, unless that was done within the last second.
    pub(in crate::stores) async fn cut(&self, about: &About<'_>) -> Result<(), StoreError> {
        self.link.run(&self.prepared(&CUT, about)).await
    }

    /// Closes a pair, unless it is closed.
    pub(in crate::stores) async fn strike(&self, about: &About<'_>) -> Result<(), StoreError> {
        self.link.run(&self.prepared(&STRIKE, about)).await
    }

    /// Ends a pair's failures.
    pub(in crate::stores) async fn accepted(&self, about: &About<'_>) -> Result<(), StoreError> {
        self.link.run(&self.prepared(&ACCEPTED, about)).await
    }

    /// Counts what was counted for `before` as the recipient's.
    pub(in crate::stores) async fn join(&self, about: &About<'_>, before: &str) -> Result<(), StoreError> {
        let mut join = self.prepared(&JOIN, about);
        join.key(about.books.pair(before)).arg(before);
        self.link.run(&join).await
    }

    /// How many recipients a portfolio has, those of earlier than a day ago included that nobody has looked at since.
    pub(in crate::stores) async fn count(&self, books: &Books) -> Result<u32, StoreError> {
        self.link.ask(redis::cmd("ZCARD").arg(books.uniques())).await
    }

    /// Tells a store that has forgotten them which recipients were counted, each with how long ago, `known` of them at most.
    pub(in crate::stores) async fn recall(
        &self,
        books: &Books,
        known: u32,
        day: Duration,
        recipients: &[(String, Duration)],
    ) -> Result<(), StoreError> {
        let mut recall = RECALL.key(books.uniques());
        recall
            .key(format!("{}:lost", books.prefix()))
            .arg(known)
            .arg(micros(day));
        for (recipient, age) in recipients {
            recall.arg(recipient).arg(micros(*age));
        }
        self.link.run(&recall).await
    }

    fn prepared(&self, script: &'static Script, about: &About<'_>) -> ScriptInvocation<'static> {
        let (books, terms, seat) = (about.books, about.terms, about.seat);
        let recipient = about.recipient.as_deref().unwrap_or_default();
        let mut prepared = script.prepare_invoke();
        prepared
            .key(books.of_number("number"))
            .key(books.pair(recipient))
            .key(books.uniques())
            .key(books.of_number("windows"))
            .arg(seat.v)
            .arg(seat.at)
            .arg(seat.until)
            .arg(seat.live)
            .arg(self.instances.get())
            .arg(terms.per_second)
            .arg(terms.burst)
            .arg(terms.kept_for_inbound)
            .arg(u64::from(terms.pair_seconds) * 1_000_000)
            .arg(terms.pair_burst)
            .arg(recipient)
            .arg(micros(about.day));
        prepared
    }
}

impl Books {
    fn prefix(&self) -> String {
        format!("curfew:{{sends:{}}}", self.tag)
    }

    fn of_number(&self, what: &str) -> String {
        format!("{}:{what}:{}", self.prefix(), self.number)
    }

    fn pair(&self, recipient: &str) -> String {
        format!("{}:{recipient}", self.of_number("pair"))
    }

    fn uniques(&self) -> String {
        format!("{}:recipients", self.prefix())
    }
}

pub(in crate::stores) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn not_understood() -> StoreError {
    StoreError::Away {
        source: Arc::new(NotUnderstood),
    }
}

/// The store answered something else than its scripts do.
#[derive(Debug, thiserror::Error)]
#[error("the store's answer makes no sense")]
struct NotUnderstood;
