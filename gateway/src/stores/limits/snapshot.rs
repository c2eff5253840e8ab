//! What is used, waiting and closed at one moment, for people to look at.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use curfew_policies::SendClass;
use serde::Serialize;

use super::closures::{Closure, FOREVER, Place};
use super::lane::Lane;
use super::shared::Mode;
use super::{SendLimits, Shared, lock};

/// The state of all limits.
#[derive(Clone, Debug, Serialize)]
pub struct Snapshot {
    /// Each number, by its id.
    pub numbers: BTreeMap<String, NumberNow>,
    /// Each portfolio.
    pub portfolios: Vec<PortfolioNow>,
    /// What is closed beside pairs.
    pub closed: Vec<ClosedNow>,
    /// Who decides: `gateway`, `store` where a shared one does, or `nobody` while it is away and this gateway's share is not its
    /// own yet.
    pub decided_by: &'static str,
}

/// The state of one number.
#[derive(Clone, Debug, Serialize)]
pub struct NumberNow {
    /// Messages a second that the policy allows.
    pub per_second: u32,
    /// Messages a second at present: fewer after Meta's 130429.
    pub current_per_second: u32,
    /// How much of the burst is taken, inbound and outbound together; above the burst where inbound ran into debt.
    pub taken: u64,
    /// How much of the sends' part of the burst is taken.
    pub taken_by_sends: u64,
    /// Who waits.
    pub waiting: WaitingNow,
    /// How many sends were let go since the start.
    pub granted: u64,
    /// How many were told to come back later, by limit.
    pub limited: BTreeMap<&'static str, u64>,
    /// How many recipients are remembered for the pair limit.
    pub pairs: usize,
    /// How many service windows are remembered.
    pub service_windows: usize,
}

/// Who waits for a number.
#[derive(Clone, Debug, Serialize)]
pub struct WaitingNow {
    /// Sends.
    pub sends: usize,
    /// Bytes of their bodies.
    pub bytes: usize,
    /// Sends by class.
    pub by_class: BTreeMap<&'static str, usize>,
}

/// The state of one portfolio.
#[derive(Clone, Debug, Serialize)]
pub struct PortfolioNow {
    /// Its numbers.
    pub numbers: Vec<String>,
    /// How many recipients it may message outside a service window in 24 hours.
    pub unique_recipients_24h: usize,
    /// How many it did.
    pub counted: usize,
}

/// Something that Meta closed.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct ClosedNow {
    /// `number`, `account` or `app`.
    pub what: &'static str,
    /// The id of the number or account; nothing for an app, whose tag says nothing to people.
    pub id: Option<String>,
    /// Meta's code; 0 where a header alone said so.
    pub code: i64,
    /// Since when, RFC 3339.
    pub since: String,
    /// Until when, RFC 3339; nothing where an operator has to open it.
    pub until: Option<String>,
}

impl SendLimits {
    /// What is used, waiting and closed now. Numbers are looked at one after the other.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let shared = &self.0;
        let now = shared.now();
        let (lanes, mode) = (shared.lanes.load(), shared.mode());
        let closed = shared.closures.all(now);
        let mut closed: Vec<_> = closed
            .into_iter()
            .map(|(place, closure)| shared.closed_now(place, closure, now))
            .collect();
        closed.sort_unstable_by(|one, other| (one.what, &one.id).cmp(&(other.what, &other.id)));
        Snapshot {
            numbers: lanes
                .values()
                .map(|lane| (lane.number.to_string(), number_now(lane, mode, now)))
                .collect(),
            portfolios: portfolios_now(lanes.values(), now),
            closed,
            decided_by: match mode {
                Mode::Own => "gateway",
                Mode::Store => "store",
                Mode::Nobody => "nobody",
            },
        }
    }
}

impl Shared {
    fn closed_now(&self, place: Place, closure: Closure, now: u64) -> ClosedNow {
        let (what, id) = match place {
            Place::Number(number) => ("number", Some(number.to_string())),
            Place::Account(account) => ("account", Some(account.to_string())),
            Place::App(_) => ("app", None),
        };
        let wall = self.clock.now();
        let since = Duration::from_nanos(now.saturating_sub(closure.since));
        let started = wall
            .millis()
            .saturating_sub(u64::try_from(since.as_millis()).unwrap_or(u64::MAX));
        let ends = wall.after(Duration::from_nanos(closure.until.saturating_sub(now)));
        ClosedNow {
            what,
            id,
            code: closure.code,
            since: curfew_policies::Timestamp::from_millis(started).rfc3339(),
            until: (closure.until < FOREVER).then(|| ends.rfc3339()),
        }
    }
}

fn number_now(lane: &Lane, mode: Mode, now: u64) -> NumberNow {
    let mut books = lane.lock();
    let (current_per_second, per_second) = books.ledger.rate(now);
    let (taken, taken_by_sends) = match mode {
        // As of the last send: what a store knows is not asked for to be looked at.
        Mode::Store => books.view.taken,
        Mode::Own | Mode::Nobody => books.ledger.taken(now),
    };
    let (pairs, service_windows) = books.ledger.remembered();
    let classes = SendClass::ALL.map(|class| (class.name(), books.queue.of_class(class)));
    NumberNow {
        per_second,
        current_per_second,
        taken,
        taken_by_sends,
        waiting: WaitingNow {
            sends: books.queue.len(),
            bytes: books.queue.bytes(),
            by_class: classes.into(),
        },
        granted: books.granted,
        limited: books.limited.clone(),
        pairs,
        service_windows,
    }
}

fn portfolios_now<'l>(lanes: impl Iterator<Item = &'l Arc<Lane>>, now: u64) -> Vec<PortfolioNow> {
    let mut by_portfolio = BTreeMap::new();
    for lane in lanes {
        let Some(uniques) = lane.lock().uniques.clone() else {
            continue;
        };
        let (_, numbers) = by_portfolio
            .entry(Arc::as_ptr(&uniques).addr())
            .or_insert_with(|| (uniques, Vec::new()));
        numbers.push(lane.number);
    }
    let mut portfolios: Vec<_> = by_portfolio.into_values().collect();
    for (_, numbers) in &mut portfolios {
        numbers.sort_unstable();
    }
    portfolios.sort_unstable_by(|(_, one), (_, other)| one.cmp(other));
    portfolios
        .into_iter()
        .map(|(uniques, numbers)| {
            let mut uniques = lock(&uniques);
            PortfolioNow {
                numbers: numbers.iter().map(ToString::to_string).collect(),
                unique_recipients_24h: uniques.limit(),
                counted: uniques
                    .shared_count
                    .and_then(|count| usize::try_from(count).ok())
                    .unwrap_or_else(|| uniques.count(now)),
            }
        })
        .collect()
}
