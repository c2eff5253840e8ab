//! Who of those that wait goes next.
//!
//! Urgent classes first, and callers of a class by their weight: each grant costs a caller the inverse of its weight in
//! virtual time, and the one that is furthest behind goes next (start-time fair queueing). Nobody starves: a class that
//! was passed over seven times has the next turn, so each class that waits gets at least one in ten.
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
    flows: BTreeMap<u64, Flow>,
    /// The virtual time of the last grant.
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
        let flow = class.flows.entry(place.share.caller).or_insert(Flow {
            weight: place.share.weight,
            time: 0,
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
                if let Some(flow) = class.flows.get_mut(&place.share.caller) {
                    class.time = flow.time.max(class.time);
                    flow.time += COST / u64::from(flow.weight.get());
                }
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
            if let Some(flow) = class.flows.get_mut(&place.share.caller) {
                flow.ready.remove(&ticket);
                flow.waiting -= 1;
            }
            // A caller that is ahead of its share is remembered as long as others of the class wait.
            let time = class.time;
            class.flows.retain(|_, flow| flow.waiting > 0 || flow.time > time);
            if class.flows.values().all(|flow| flow.waiting == 0) {
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
