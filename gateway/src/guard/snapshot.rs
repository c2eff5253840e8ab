//! What stands between the gateway and an outage at one moment, for people to look at.

use std::collections::BTreeMap;
use std::sync::PoisonError;

use serde::Serialize;

use super::{BreakerNow, Guard, LaneNow, Traffic};

/// The state of the guard.
#[derive(Clone, Debug, Serialize)]
pub struct GuardNow {
    /// The breakers.
    pub breakers: BreakersNow,
    /// Requests from callers.
    pub requests: LaneNow,
    /// Exchanges with Meta, by their kind.
    pub exchanges: BTreeMap<&'static str, LaneNow>,
}

/// The state of all breakers.
#[derive(Clone, Debug, Serialize)]
pub struct BreakersNow {
    /// The Graph API's.
    pub graph: BreakerNow,
    /// The media hosts'.
    pub media: BreakerNow,
    /// Those of numbers, by their id. Those that never opened are left out.
    pub numbers: BTreeMap<u64, BreakerNow>,
}

impl Guard {
    /// What an operator is told: breakers, limits, what is under way, what was refused since the start.
    #[must_use]
    pub fn snapshot(&self) -> GuardNow {
        let shared = &self.0;
        let known = shared.numbers.read().unwrap_or_else(PoisonError::into_inner);
        let numbers = known
            .iter()
            .map(|(number, breaker)| (number.get(), breaker.seen()))
            .filter(|(_, seen)| seen.opened > 0)
            .collect();
        drop(known);
        GuardNow {
            breakers: BreakersNow {
                graph: shared.graph.seen(),
                media: shared.media.seen(),
                numbers,
            },
            requests: shared.requests.seen(),
            exchanges: Traffic::ALL
                .iter()
                .zip(&shared.lanes)
                .map(|(traffic, lane)| (traffic.name(), lane.seen()))
                .collect(),
        }
    }
}
