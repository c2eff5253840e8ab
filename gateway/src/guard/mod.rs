//! What stands between the gateway and an outage: of Meta, of one number at Meta, or by too many requests of our own.
//!
//! Every exchange with Meta takes a place in a `lane`, so that none kind starves another and no caller all others, and passes the
//! breakers of its origin and of its number. Whoever is refused learns it at once, nothing was sent, and the exchange
//! holds nothing. What came of an exchange is told here by the [`Ticket`] that goes with it.
//!
//! It deliberately retries nothing, and cuts no exchange off that is under way: those end by their own deadlines.

mod adaptive;
mod breaker;
mod lane;
mod snapshot;
mod standing;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::hash::{BuildHasher as _, Hash, RandomState};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use curfew_policies::PhoneNumberId;
use http::StatusCode;
use thiserror::Error;

use self::breaker::{Attempt, Breaker, Report, Scope};
use self::lane::{Lane, Place};
use self::standing::Standing;
use crate::clock::{Clock, Moment};
use crate::graph::answer;

pub use self::breaker::Seen as BreakerNow;
pub use self::lane::Seen as LaneNow;
pub use self::snapshot::{BreakersNow, GuardNow};

/// The kinds of exchanges, each with places of its own.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Traffic {
    /// What reaches a user.
    Send,
    /// Any other call that is read whole: reads, settings, deletions.
    Call,
    /// The gateway's own questions, which other requests wait for.
    Question,
    /// Whose body comes from the caller while it is sent, or goes to the caller while it is read.
    Stream,
}

impl Traffic {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Send, Self::Call, Self::Question, Self::Stream];

    /// How many exchanges of the kind may be under way at once.
    #[must_use]
    pub const fn most(self) -> u32 {
        match self {
            Self::Send => 4096,
            Self::Call | Self::Stream => 1024,
            Self::Question => 256,
        }
    }

    const fn index(self) -> usize {
        match self {
            Self::Send => 0,
            Self::Call => 1,
            Self::Question => 2,
            Self::Stream => 3,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Send => "sends",
            Self::Call => "calls",
            Self::Question => "questions",
            Self::Stream => "streams",
        }
    }
}

/// Requests that the gateway has under way at once, from before their bodies are read until they are answered.
pub const MOST_REQUESTS: u32 = 16_384;

/// The part of the places of a kind that one caller may have, in percent.
pub const CALLER_SHARE_PERCENT: u8 = 25;

/// Where an exchange goes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Host {
    /// The Graph API.
    Graph,
    /// A host of media bytes.
    Media,
}

/// Stands for a caller in this process, without saying who it is. Two callers share one by a chance of one in 2^64: then they
/// share their share.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct CallerKey(u64);

impl CallerKey {
    /// All tokens together that Meta has not taken yet.
    pub const STRANGERS: Self = Self(0);

    /// As a number, the same for the life of the process.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

/// What an exchange is, as far as its place and its breakers go.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    /// Its kind.
    pub traffic: Traffic,
    /// Where it goes.
    pub host: Host,
    /// The number that it is about.
    pub number: Option<PhoneNumberId>,
    /// Whether its body comes from the caller while it is sent.
    pub is_upload: bool,
    /// Who asked for it.
    pub caller: CallerKey,
}

/// Why an exchange, or a request, was not let through. Nothing was sent.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum Refusal {
    /// A breaker is open.
    #[error("{} does not answer; nothing was sent", .whose.words())]
    Open {
        /// Whose.
        whose: Whose,
        /// After how many whole seconds it may be asked again; at least 1.
        retry_after: u32,
    },
    /// There is no place for one more of its kind, or of its caller.
    #[error("too many {0} are under way, or too many of this caller; nothing was sent")]
    Full(&'static str),
}

/// What fails.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Whose {
    /// An origin.
    Host(Host),
    /// One number.
    Number(PhoneNumberId),
}

impl Whose {
    fn words(self) -> String {
        match self {
            Self::Host(Host::Graph) => "Meta".to_owned(),
            Self::Host(Host::Media) => "Meta's media host".to_owned(),
            Self::Number(number) => format!("Meta, for phone number {number},"),
        }
    }
}

/// The guard. Clones are the same one.
#[derive(Clone, Debug)]
pub struct Guard(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    clock: Clock,
    hasher: RandomState,
    standing: Standing,
    requests: Arc<Lane>,
    lanes: [Arc<Lane>; 4],
    graph: Arc<Breaker>,
    media: Arc<Breaker>,
    /// Of numbers that anything was asked for: the policies' at most.
    numbers: RwLock<HashMap<PhoneNumberId, Arc<Breaker>>>,
}

/// A request's place among those that the gateway has under way, until it is dropped.
#[derive(Debug)]
pub struct Admission {
    _place: Place,
}

impl Guard {
    /// A guard that gives one caller `share_percent` of the places of a kind at most.
    #[must_use]
    pub fn new(clock: Clock, share_percent: u8) -> Self {
        let now = clock.monotonic();
        let lanes = Traffic::ALL.map(|traffic| match traffic {
            Traffic::Send => Lane::adaptive(traffic.most(), share_percent, now),
            _ => Lane::new(traffic.most(), share_percent),
        });
        Self(Arc::new(Shared {
            requests: Lane::new(MOST_REQUESTS, share_percent),
            lanes,
            graph: Breaker::new(Scope::Origin("graph"), clock.clone()),
            media: Breaker::new(Scope::Origin("media"), clock.clone()),
            numbers: RwLock::default(),
            hasher: RandomState::new(),
            standing: Standing::default(),
            clock,
        }))
    }

    /// The key of whoever is known by `identity`.
    pub fn caller_key(&self, identity: impl Hash) -> CallerKey {
        CallerKey(self.0.hasher.hash_one(identity))
    }

    /// Notes that Meta has taken a token for a number.
    pub fn prove(&self, caller: CallerKey, number: PhoneNumberId) {
        self.0.standing.prove(caller, number);
    }

    /// Whether Meta has taken a token for this number.
    #[must_use]
    pub fn is_proven_for(&self, caller: CallerKey, number: PhoneNumberId) -> bool {
        self.0.standing.has(caller, number)
    }

    /// Under which key a token has its share of anything: its own, once Meta has taken it.
    #[must_use]
    pub fn share_of_token(&self, caller: CallerKey) -> CallerKey {
        if self.0.standing.has_any(caller) {
            caller
        } else {
            CallerKey::STRANGERS
        }
    }

    /// A place for a request, before anything of its body is read.
    ///
    /// # Errors
    ///
    /// [`Refusal::Full`], at once.
    pub fn admit_request(&self, caller: CallerKey) -> Result<Admission, Refusal> {
        let place = self.0.requests.try_take(caller);
        let place = place.map_err(|lane::Full| Refusal::Full("requests"))?;
        Ok(Admission { _place: place })
    }

    /// Lets an exchange through, if its origin and its number answer and there is a place, which is waited for for a quarter of a
    /// second.
    ///
    /// # Errors
    ///
    /// [`Refusal`].
    pub async fn admit(&self, facts: Facts) -> Result<Ticket, Refusal> {
        let (origin, number) = self.pass(facts)?;
        let lane = self
            .0
            .lanes
            .get(facts.traffic.index())
            .unwrap_or(&self.0.requests);
        let place = lane.take(facts.caller).await;
        let place = place.map_err(|lane::Full| Refusal::Full(facts.traffic.name()))?;
        Ok(Ticket {
            clock: self.0.clock.clone(),
            began: self.0.clock.monotonic(),
            facts,
            origin,
            number,
            place: Some(place),
            fault: None,
        })
    }

    /// Passes both breakers.
    fn pass(&self, facts: Facts) -> Result<(Attempt, Option<Attempt>), Refusal> {
        let open = |whose| {
            move |after: Duration| Refusal::Open {
                whose,
                retry_after: u32::try_from(after.as_millis().div_ceil(1000))
                    .unwrap_or(1)
                    .max(1),
            }
        };
        let awaits_head = !facts.is_upload;
        let origin = match facts.host {
            Host::Graph => &self.0.graph,
            Host::Media => &self.0.media,
        };
        let origin = origin
            .admit(awaits_head, None)
            .map_err(open(Whose::Host(facts.host)))?;
        let number = match (facts.host, facts.number) {
            (Host::Graph, Some(number)) => Some(
                self.number(number)
                    .admit(awaits_head, Some(&origin))
                    .map_err(open(Whose::Number(number)))?,
            ),
            (Host::Graph, None) | (Host::Media, _) => None,
        };
        Ok((origin, number))
    }

    fn number(&self, number: PhoneNumberId) -> Arc<Breaker> {
        let numbers = &self.0.numbers;
        let known = numbers.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(breaker) = known.get(&number) {
            return Arc::clone(breaker);
        }
        drop(known);
        let mut known = numbers.write().unwrap_or_else(PoisonError::into_inner);
        let make = || Breaker::new(Scope::Number(number), self.0.clock.clone());
        Arc::clone(known.entry(number).or_insert_with(make))
    }
}

/// The largest answer that is read as a Graph error, in bytes: Meta's have a few hundred.
const FAULT_BYTES: usize = 16 * 1024;

/// Meta's own words for "not now", among answers of 5xx (Cloud API, "Error codes"): 1 and 131000 unknown, 2 and
/// 131016 unavailable. Others of 5xx are about what was asked.
const UNAVAILABLE: [i64; 4] = [1, 2, 131_000, 131_016];

/// An exchange that was let through. It has its place until it is dropped, or told that the answer has ended.
#[derive(Debug)]
pub struct Ticket {
    clock: Clock,
    began: Moment,
    facts: Facts,
    origin: Attempt,
    number: Option<Attempt>,
    place: Option<Place>,
    /// What there is of the body of an answer of 5xx.
    fault: Option<BytesMut>,
}

impl Ticket {
    /// The answer's head came.
    pub fn answered(&mut self, status: StatusCode) {
        if status.is_server_error() {
            self.fault = Some(BytesMut::new());
            return;
        }
        if status.is_success() {
            self.sample(false);
        }
        self.origin.tell(Report::Good);
        if let Some(number) = &mut self.number {
            number.tell(Report::Good);
        }
    }

    /// Some of the answer's body came.
    pub fn passed(&mut self, bytes: &Bytes) {
        if let Some(fault) = &mut self.fault {
            let room = FAULT_BYTES.saturating_sub(fault.len());
            fault.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
        }
    }

    /// The answer is whole.
    pub fn ended(mut self) {
        self.judge_fault();
    }

    /// There is no answer, or none that is whole, and not because of the caller.
    pub fn broken(mut self) {
        if self.facts.is_upload {
            // It may have been the caller's body.
            return;
        }
        self.fault = None;
        self.sample(true);
        self.origin.tell(Report::Transport);
    }

    /// There is no connection.
    pub fn unsent(mut self) {
        self.sample(true);
        self.origin.tell(Report::Transport);
    }

    fn judge_fault(&mut self) {
        let Some(body) = self.fault.take() else { return };
        let code = answer::error_code(&body);
        let is_fault = code.is_none_or(|code| UNAVAILABLE.contains(&code));
        let report = match (is_fault, self.facts.host) {
            (false, _) => Report::Good,
            (true, Host::Graph) => Report::Server(self.facts.number),
            (true, Host::Media) => Report::Transport,
        };
        self.origin.tell(report);
        if let Some(number) = &mut self.number {
            number.tell(report);
        }
    }

    fn sample(&self, has_failed: bool) {
        if let Some(place) = &self.place {
            let now = self.clock.monotonic();
            place.observe(now, self.began, has_failed);
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        // An answer of 5xx that nobody reads to its end is one all the same.
        self.judge_fault();
    }
}
