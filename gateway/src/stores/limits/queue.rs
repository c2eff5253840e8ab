//! Who of those that wait goes next.
//!
//! Urgent classes first, and callers of a class by their weight: each grant costs a caller the inverse of its weight in
//! virtual time, and the one that is furthest behind goes next. Whoever comes begins at the class's own virtual time, which
//! each grant moves on by what it gives each of those who wait (worst-case fair weighted fair queueing): however many new
//! names come, they begin behind those who have waited for their share. Nobody starves: a class that was passed over seven
//! times has the next turn, so each class that waits gets at least one in ten.
//!
//! Who waits for something of their own, such as the pair limit, stands aside until then and does not hold the others up;
//! after that they have their old place, before all that came later from the same caller.
//!
//! No clock, no limits: this is the order alone.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::num::NonZeroU32;

use curfew_policies::SendClass;

use super::recipient::RecipientId;

/// After how many grants to more urgent classes a class has the next turn.
const TURN: u32 = 7;
/// What one grant costs a caller of weight 1, in virtual time: weights up to a hundred divide it with an error below
/// one in ten thousand.
const COST: u64 = 1 << 20;
/// How many callers of a class who have had more than their share are remembered while none of their sends waits.
const MOST_AHEAD: usize = 256;

/// Names one that waits.
pub(super) type Ticket = u64;

/// Whose the send is, for fairness.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Share {
    /// Tells callers apart.
    pub caller: u64,
    /// The caller's weight.
    pub weight: NonZeroU32,
}

/// What the order needs to know of one that waits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) class: SendClass,
    pub(super) share: Share,
    pub(super) recipient: Option<RecipientId>,
    /// How much memory its body takes while it waits.
    pub(super) bytes: usize,
    /// Until when it waits, in nanoseconds.
    pub(super) deadline: u64,
}

/// How many may wait for one number.
#[derive(Clone, Copy, Debug)]
pub struct WaitingRoom {
    /// Sends.
    pub sends: usize,
    /// Bytes of their bodies together.
    pub bytes: usize,
}

/// Those who wait for one number; `W` is what wakes them.
#[derive(Debug)]
pub(super) struct Queue<W> {
    waiting: HashMap<Ticket, Entry<W>>,
    classes: BTreeMap<SendClass, Class>,
    /// Who stands aside, by the moment until which.
    aside: BTreeSet<(u64, Ticket)>,
    deadlines: BTreeSet<(u64, Ticket)>,
    /// How many of those who wait write to each recipient.
    recipients: HashMap<RecipientId, u64>,
    bytes: usize,
    /// How many are asked for elsewhere.
    asked: usize,
    next: Ticket,
}

#[derive(Debug)]
struct Entry<W> {
    place: Place,
    waker: W,
    aside_until: Option<u64>,
    /// Whether somebody else was asked for its turn, and has not answered.
    is_asked: bool,
}

#[derive(Debug, Default)]
struct Class {
    /// The callers of whom something waits.
    flows: BTreeMap<u64, Flow>,
    /// The virtual times of callers of whom nothing waits, and who are ahead of the class.
    ahead: BTreeMap<u64, u64>,
    /// The virtual time at which whoever comes begins.
    time: u64,
    passed_over: u32,
}

/// One caller's sends of one class.
#[derive(Debug)]
struct Flow {
    weight: NonZeroU32,
    time: u64,
    /// In the order of their coming, without those who stand aside.
    ready: BTreeSet<Ticket>,
    /// With those who stand aside.
    waiting: usize,
}

impl<W> Default for Queue<W> {
    fn default() -> Self {
        Self {
            waiting: HashMap::new(),
            classes: BTreeMap::new(),
            aside: BTreeSet::new(),
            deadlines: BTreeSet::new(),
            recipients: HashMap::new(),
            bytes: 0,
            asked: 0,
            next: 0,
        }
    }
}

impl<W> Queue<W> {
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many wait of a class.
    pub(super) fn of_class(&self, class: SendClass) -> usize {
        let flows = self.classes.get(&class).map(|class| class.flows.values());
        flows.into_iter().flatten().map(|flow| flow.waiting).sum()
    }

    /// How many wait to write to `recipient`.
    pub(super) fn of_recipient(&self, recipient: RecipientId) -> u64 {
        self.recipients.get(&recipient).copied().unwrap_or_default()
    }

    /// Puts one more at the end of its caller's.
    pub(super) fn push(&mut self, place: Place, waker: W) -> Ticket {
        let ticket = self.next;
        self.next += 1;
        self.bytes += place.bytes;
        self.deadlines.insert((place.deadline, ticket));
        if let Some(recipient) = place.recipient {
            *self.recipients.entry(recipient).or_default() += 1;
        }
        let class = self.classes.entry(place.class).or_default();
        let (flows, ahead) = (&mut class.flows, &mut class.ahead);
        let flow = flows.entry(place.share.caller).or_insert_with(|| Flow {
            weight: place.share.weight,
            time: ahead.remove(&place.share.caller).unwrap_or_default(),
            ready: BTreeSet::new(),
            waiting: 0,
        });
        flow.weight = place.share.weight;
        flow.waiting += 1;
        flow.add(ticket, class.time);
        let entry = Entry {
            place,
            waker,
            aside_until: None,
            is_asked: false,
        };
        self.waiting.insert(ticket, entry);
        ticket
    }

    /// Who goes next, of those who do not stand aside.
    pub(super) fn next(&self) -> Option<(Ticket, Place)> {
        let ready = || self.classes.values().filter(|class| class.first().is_some());
        let overdue = ready().rev().find(|class| class.passed_over >= TURN);
        let (_, ticket, _) = overdue.or_else(|| ready().next())?.first()?;
        Some((ticket, self.waiting.get(&ticket)?.place))
    }

    /// `ticket` has its turn: takes it out, and counts the turn against its caller and class.
    pub(super) fn serve(&mut self, ticket: Ticket) -> Option<W> {
        let place = self.waiting.get(&ticket)?.place;
        for (name, class) in &mut self.classes {
            if *name == place.class {
                class.passed_over = 0;
                class.grant(place.share.caller);
            } else if *name > place.class && class.first().is_some() {
                class.passed_over += 1;
            }
        }
        self.remove(ticket).map(|(_, waker)| waker)
    }

    /// Takes one out who does not wait any more.
    pub(super) fn remove(&mut self, ticket: Ticket) -> Option<(Place, W)> {
        let Entry {
            place,
            waker,
            aside_until,
            is_asked,
        } = self.waiting.remove(&ticket)?;
        self.asked -= usize::from(is_asked);
        self.bytes -= place.bytes;
        self.deadlines.remove(&(place.deadline, ticket));
        if let Some(until) = aside_until {
            self.aside.remove(&(until, ticket));
        }
        if let Some(recipient) = place.recipient
            && let Some(count) = self.recipients.get_mut(&recipient)
        {
            *count -= 1;
            if *count == 0 {
                self.recipients.remove(&recipient);
            }
        }
        if let Some(class) = self.classes.get_mut(&place.class) {
            class.leave(place.share.caller, ticket);
            if class.flows.is_empty() {
                self.classes.remove(&place.class);
            }
        }
        Some((place, waker))
    }

    /// Has one stand aside until `until`.
    pub(super) fn set_aside(&mut self, ticket: Ticket, until: u64) {
        let Some(entry) = self.waiting.get_mut(&ticket) else {
            return;
        };
        entry.aside_until = Some(until);
        self.aside.insert((until, ticket));
        let place = entry.place;
        if let Some(flow) = self.flow(place) {
            flow.ready.remove(&ticket);
        }
    }

    /// Takes one out of the line for as long as somebody else is asked for its turn.
    pub(super) fn ask(&mut self, ticket: Ticket) {
        let Some(entry) = self.waiting.get_mut(&ticket).filter(|entry| !entry.is_asked) else {
            return;
        };
        entry.is_asked = true;
        self.asked += 1;
        let place = entry.place;
        if let Some(flow) = self.flow(place) {
            flow.ready.remove(&ticket);
        }
    }

    /// Lets one that was asked for stand in line again, where it stood.
    pub(super) fn answered(&mut self, ticket: Ticket) {
        let Some(entry) = self.waiting.get_mut(&ticket).filter(|entry| entry.is_asked) else {
            return;
        };
        entry.is_asked = false;
        self.asked -= 1;
        let place = entry.place;
        let time = self.classes.get(&place.class).map_or(0, |class| class.time);
        if let Some(flow) = self.flow(place) {
            flow.add(ticket, time);
        }
    }

    /// How many are asked for.
    pub(super) const fn asked(&self) -> usize {
        self.asked
    }

    /// Lets those stand in line again who stood aside until `now` or earlier.
    pub(super) fn back_in_line(&mut self, now: u64) {
        while let Some((until, ticket)) = self.aside.first().copied()
            && until <= now
        {
            self.aside.remove(&(until, ticket));
            let Some(entry) = self.waiting.get_mut(&ticket) else {
                continue;
            };
            entry.aside_until = None;
            let place = entry.place;
            let time = self.classes.get(&place.class).map_or(0, |class| class.time);
            if let Some(flow) = self.flow(place) {
                flow.add(ticket, time);
            }
        }
    }

    /// Lets all stand in line again: what they waited for may have changed.
    pub(super) fn all_in_line(&mut self) {
        self.back_in_line(u64::MAX);
    }

    /// What wakes one who waits.
    pub(super) fn get(&self, ticket: Ticket) -> Option<&W> {
        self.waiting.get(&ticket).map(|entry| &entry.waker)
    }

    /// What wakes all who wait.
    pub(super) fn all_mut(&mut self) -> impl Iterator<Item = &mut W> {
        self.waiting.values_mut().map(|entry| &mut entry.waker)
    }

    /// Whether anybody stands in line.
    pub(super) fn has_ready(&self) -> bool {
        self.aside.len() + self.asked < self.waiting.len()
    }

    /// When the next one who stands aside is back.
    pub(super) fn next_back(&self) -> Option<u64> {
        self.aside.first().map(|(until, _)| *until)
    }

    /// Who waits no longer than anybody else, and until when.
    pub(super) fn next_deadline(&self) -> Option<(u64, Ticket)> {
        self.deadlines.first().copied()
    }

    /// Whether one more fits.
    pub(super) fn has_room(&self, room: WaitingRoom, bytes: usize) -> bool {
        self.len() < room.sends && bytes <= room.bytes.saturating_sub(self.bytes)
    }

    /// Who has to go for `place` to find room: the last of the least urgent class, of the caller that takes most of it for
    /// its weight; nobody, if that is `place` itself.
    pub(super) fn least(&self, place: Place) -> Option<Ticket> {
        let (name, class) = self.classes.last_key_value()?;
        if *name < place.class {
            return None;
        }
        let load = |caller: u64, flow: &Flow| {
            let own = usize::from(*name == place.class && caller == place.share.caller);
            let waiting = u64::try_from(flow.waiting + own).unwrap_or(u64::MAX);
            waiting.saturating_mul(COST) / u64::from(flow.weight.get())
        };
        let (caller, most) = class
            .flows
            .iter()
            .map(|(caller, flow)| (*caller, load(*caller, flow)))
            .max_by_key(|(_, load)| *load)?;
        if *name == place.class {
            let is_new = !class.flows.contains_key(&place.share.caller);
            let own = if is_new {
                COST / u64::from(place.share.weight.get())
            } else {
                0
            };
            if caller == place.share.caller || own >= most {
                return None;
            }
        }
        self.waiting
            .iter()
            .filter(|(_, entry)| entry.place.class == *name && entry.place.share.caller == caller)
            .map(|(ticket, _)| *ticket)
            .max()
    }

    fn flow(&mut self, place: Place) -> Option<&mut Flow> {
        let class = self.classes.get_mut(&place.class)?;
        class.flows.get_mut(&place.share.caller)
    }
}

impl Class {
    /// Its next one: the flow's time, the ticket, the caller.
    fn first(&self) -> Option<(u64, Ticket, u64)> {
        let heads = self.flows.iter().filter_map(|(caller, flow)| {
            let ticket = flow.ready.first()?;
            Some((flow.time, *ticket, *caller))
        });
        heads.min()
    }

    /// Counts a grant against `caller`, and moves on the time at which whoever comes begins.
    fn grant(&mut self, caller: u64) {
        let weights: u64 = self.flows.values().map(|flow| u64::from(flow.weight.get())).sum();
        let Some(flow) = self.flows.get_mut(&caller) else {
            return;
        };
        let begun = flow.time;
        flow.time += COST / u64::from(flow.weight.get());
        // Not past those in line by more than a turn: they would have to catch up before anybody who comes has one.
        let step = self.time.saturating_add(COST / weights.max(1));
        let most = self.first().map_or(step, |(lowest, ..)| lowest + COST);
        self.time = self.time.max(begun).max(step.min(most));
    }

    /// Takes out one of a caller's. Who is ahead of their share is remembered, as long as others of the class wait.
    fn leave(&mut self, caller: u64, ticket: Ticket) {
        let Some(flow) = self.flows.get_mut(&caller) else {
            return;
        };
        flow.ready.remove(&ticket);
        flow.waiting -= 1;
        if flow.waiting > 0 {
            return;
        }
        let (time, until) = (self.time, flow.time);
        self.flows.remove(&caller);
        self.ahead.insert(caller, until);
        self.ahead.retain(|_, until| *until > time);
        if self.ahead.len() > MOST_AHEAD
            && let Some((least, _)) = self.ahead.iter().min_by_key(|(_, until)| **until)
        {
            let least = *least;
            self.ahead.remove(&least);
        }
    }
}

impl Flow {
    /// Adds one. A caller that had none in line does not save up what it did not use.
    fn add(&mut self, ticket: Ticket, time: u64) {
        if self.ready.is_empty() {
            self.time = self.time.max(time);
        }
        self.ready.insert(ticket);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(caller: u64, weight: u32) -> Place {
        Place {
            class: SendClass::Service,
            share: Share {
                caller,
                weight: NonZeroU32::new(weight).unwrap(),
            },
            recipient: None,
            bytes: 1,
            deadline: 1,
        }
    }

    fn serve(queue: &mut Queue<u64>) -> u64 {
        let (ticket, _) = queue.next().unwrap();
        queue.serve(ticket).unwrap()
    }

    /// With `crowd` others in line at any time, each under a name of its own, every caller has a turn each time that its
    /// share comes round, and what is remembered does not grow.
    #[test]
    fn fresh_names_starve_nobody() {
        for crowd in [1, 2, 30, 1_000] {
            let mut queue = Queue::default();
            let mut names = 1..;
            let mut turns = Vec::new();
            queue.push(place(0, 1), 0);
            for turn in 0..10 * crowd + 10 {
                while queue.len() <= crowd {
                    let name = names.next().unwrap();
                    queue.push(place(name, 1), name);
                }
                if serve(&mut queue) == 0 {
                    turns.push(turn);
                    queue.push(place(0, 1), 0);
                }
                let class = &queue.classes[&SendClass::Service];
                assert!(class.flows.len() <= crowd + 1 && class.ahead.len() <= MOST_AHEAD);
            }
            assert!(turns.len() >= 9, "{} turns beside {crowd}", turns.len());
            let longest = turns.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
            assert!(longest <= 2 * crowd + 2, "a turn after {longest} beside {crowd}");
        }
    }

    /// Nor does a crowd that came at once, and has gone, make anybody wait for more than those in line.
    #[test]
    fn who_comes_after_a_crowd_has_a_turn_soon() {
        let mut queue = Queue::default();
        for name in 1..=1_000 {
            queue.push(place(name, 1), name);
        }
        for caller in [1_001, 1_002] {
            for _ in 0..100 {
                queue.push(place(caller, 1), caller);
            }
        }
        for _ in 0..1_002 {
            serve(&mut queue);
        }
        queue.push(place(0, 1), 0);
        let before = (0..).take_while(|_| serve(&mut queue) != 0).count();
        assert!(before <= 4, "{before} went before");
    }

    /// Whoever had more than their share does not get rid of it by having nothing in line for a moment.
    #[test]
    fn who_comes_back_at_once_is_still_ahead() {
        let mut queue = Queue::default();
        for _ in 0..8 {
            queue.push(place(1, 1), 1);
        }
        queue.push(place(2, 1), 2);
        let mut served = [0u32; 3];
        for _ in 0..8 {
            let caller = serve(&mut queue);
            served[usize::try_from(caller).unwrap()] += 1;
            if caller == 2 {
                queue.push(place(2, 1), 2);
            }
        }
        assert_eq!(served[1..], [4, 4]);
    }
}
