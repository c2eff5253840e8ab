//! A bounded number of places, of which one caller has a share at most.
//!
//! Who finds none waits for a moment in a queue that is bounded as well; one caller fills only a part of it. Places that are given
//! back go to the callers who hold the fewest, and among those in order.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::CallerKey;
use super::adaptive::Adaptive;
use crate::clock::Moment;

/// How long a place is waited for.
pub(super) const WAIT: Duration = Duration::from_millis(250);
/// How many wait.
const QUEUE: usize = 256;
/// How many of one caller wait.
const QUEUE_SHARE: usize = QUEUE / 4;

/// Places of one kind.
#[derive(Debug)]
pub(super) struct Lane {
    most: u32,
    share_percent: u8,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Without one, the limit is the most.
    adaptive: Option<Adaptive>,
    taken: u32,
    by_caller: HashMap<CallerKey, u32>,
    queue: VecDeque<Waiter>,
    shed: u64,
}

#[derive(Debug)]
struct Waiter {
    caller: CallerKey,
    place: oneshot::Sender<Place>,
}

/// There is no place.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Full;

/// A right to go. Dropped, the next has it.
#[derive(Debug)]
pub(super) struct Place {
    lane: Arc<Lane>,
    caller: CallerKey,
    reserved: Reserved,
}

/// What was taken when a place was.
#[derive(Clone, Copy, Debug)]
struct Reserved {
    /// How many, with it.
    among: u32,
    /// The least limit under which they could be: for their number, and for what their caller has of them.
    needs: u32,
}

/// The state of the places of one kind.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
pub struct Seen {
    /// How many places there are at present.
    pub limit: u32,
    /// How many are taken.
    #[serde(rename = "under_way")]
    pub taken: u32,
    /// How many wait for one.
    pub waiting: usize,
    /// How many found none since the start.
    pub shed: u64,
}

impl Lane {
    /// So many places, of which one caller may have `share_percent`.
    pub(super) fn new(most: u32, share_percent: u8) -> Arc<Self> {
        Self::of(most, share_percent, None)
    }

    /// The same, with a limit that adapts.
    pub(super) fn adaptive(most: u32, share_percent: u8, now: Moment) -> Arc<Self> {
        Self::of(most, share_percent, Some(Adaptive::new(most, now)))
    }

    fn of(most: u32, share_percent: u8, adaptive: Option<Adaptive>) -> Arc<Self> {
        Arc::new(Self {
            most,
            share_percent,
            state: Mutex::new(State {
                adaptive,
                taken: 0,
                by_caller: HashMap::new(),
                queue: VecDeque::new(),
                shed: 0,
            }),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place that is free now.
    pub(super) fn try_take(self: &Arc<Self>, caller: CallerKey) -> Result<Place, Full> {
        let mut state = self.state();
        if let Some(reserved) = self.reserve(&mut state, caller) {
            drop(state);
            return Ok(self.place(caller, reserved));
        }
        state.shed += 1;
        Err(Full)
    }

    /// A place, as soon as there is one.
    ///
    /// # Errors
    ///
    /// When none is free within [`WAIT`], or too many wait.
    pub(super) async fn take(self: &Arc<Self>, caller: CallerKey) -> Result<Place, Full> {
        let mut place = match self.enter(caller)? {
            Entered::Place(place) => return Ok(place),
            Entered::Queue(place) => place,
        };
        match timeout(WAIT, &mut place).await {
            Ok(Ok(place)) => Ok(place),
            Ok(Err(_)) | Err(_) => {
                place.close();
                // It may have come just now.
                place.try_recv().map_err(|_| {
                    self.state().shed += 1;
                    Full
                })
            }
        }
    }

    fn enter(self: &Arc<Self>, caller: CallerKey) -> Result<Entered, Full> {
        let mut state = self.state();
        if let Some(reserved) = self.reserve(&mut state, caller) {
            drop(state);
            return Ok(Entered::Place(self.place(caller, reserved)));
        }
        state.queue.retain(|waiter| !waiter.place.is_closed());
        let own = state
            .queue
            .iter()
            .filter(|waiter| waiter.caller == caller)
            .count();
        if state.queue.len() >= QUEUE || own >= QUEUE_SHARE {
            state.shed += 1;
            return Err(Full);
        }
        let (sender, receiver) = oneshot::channel();
        state.queue.push_back(Waiter {
            caller,
            place: sender,
        });
        Ok(Entered::Queue(receiver))
    }

    fn place(self: &Arc<Self>, caller: CallerKey, reserved: Reserved) -> Place {
        Place {
            lane: Arc::clone(self),
            caller,
            reserved,
        }
    }

    fn limit(&self, state: &State) -> u32 {
        state.adaptive.as_ref().map_or(self.most, Adaptive::limit)
    }

    /// What one caller may have of the limit that is.
    fn share(&self, state: &State) -> u32 {
        let share = u64::from(self.limit(state)) * u64::from(self.share_percent) / 100;
        u32::try_from(share).unwrap_or(self.most).max(1)
    }

    /// Counts one more, if there may be one, and says how many there are then. Nobody who waits is passed by: whoever could go has
    /// gone with the last place that was given back.
    fn reserve(&self, state: &mut State, caller: CallerKey) -> Option<Reserved> {
        let own = state.held_by(caller);
        if state.taken >= self.limit(state) || own >= self.share(state) {
            return None;
        }
        let own = own + 1;
        state.by_caller.insert(caller, own);
        state.taken += 1;
        let by_share = u64::from(own) * 100 / u64::from(self.share_percent.max(1));
        Some(Reserved {
            among: state.taken,
            needs: u32::try_from(by_share).unwrap_or(self.most).max(state.taken),
        })
    }

    /// Gives free places to those who wait: to who holds the fewest, and among those in order; whoever has their share is passed
    /// over.
    fn call_next(&self, state: &mut State) -> Vec<(Waiter, Reserved)> {
        state.queue.retain(|waiter| !waiter.place.is_closed());
        let mut called = Vec::new();
        while let Some((index, caller)) = state.neediest()
            && let Some(reserved) = self.reserve(state, caller)
        {
            called.extend(state.queue.remove(index).map(|waiter| (waiter, reserved)));
        }
        called
    }

    fn hand_over(self: &Arc<Self>, called: Vec<(Waiter, Reserved)>) {
        for (waiter, reserved) in called {
            let place = self.place(waiter.caller, reserved);
            // Whoever does not wait any more gives it back at once.
            drop(waiter.place.send(place));
        }
    }

    /// Takes in how long an exchange took, from `began` on, among how many.
    fn observe(self: &Arc<Self>, now: Moment, began: Moment, has_failed: bool, reserved: Reserved) {
        let mut state = self.state();
        let Some(adaptive) = &mut state.adaptive else {
            return;
        };
        let before = adaptive.limit();
        let Reserved { among, needs } = reserved;
        adaptive.observe(now, began, has_failed, among, needs);
        if adaptive.limit() <= before || state.queue.is_empty() {
            return;
        }
        let called = self.call_next(&mut state);
        drop(state);
        self.hand_over(called);
    }

    pub(super) fn seen(&self) -> Seen {
        let state = self.state();
        Seen {
            limit: self.limit(&state),
            taken: state.taken,
            waiting: state
                .queue
                .iter()
                .filter(|waiter| !waiter.place.is_closed())
                .count(),
            shed: state.shed,
        }
    }
}

impl State {
    fn held_by(&self, caller: CallerKey) -> u32 {
        self.by_caller.get(&caller).copied().unwrap_or(0)
    }

    /// Who waits and holds the fewest places, and where in the queue.
    fn neediest(&self) -> Option<(usize, CallerKey)> {
        let waiters = self.queue.iter().map(|waiter| waiter.caller).enumerate();
        // The first of several that are equal.
        waiters.min_by_key(|(_, caller)| self.held_by(*caller))
    }

    fn release(&mut self, caller: CallerKey) {
        self.taken = self.taken.saturating_sub(1);
        if let Some(own) = self.by_caller.get_mut(&caller) {
            *own = own.saturating_sub(1);
            if *own == 0 {
                self.by_caller.remove(&caller);
            }
        }
    }
}

enum Entered {
    Place(Place),
    Queue(oneshot::Receiver<Place>),
}

impl Place {
    /// Tells how long the exchange took, from `began` on.
    pub(super) fn observe(&self, now: Moment, began: Moment, has_failed: bool) {
        self.lane.observe(now, began, has_failed, self.reserved);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.lane.state();
        state.release(self.caller);
        if state.queue.is_empty() {
            return;
        }
        let called = self.lane.call_next(&mut state);
        drop(state);
        self.lane.hand_over(called);
    }
}
