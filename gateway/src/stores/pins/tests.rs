use curfew_policies::PhoneNumberId;
use futures_util::FutureExt;
use proptest::prelude::*;

use super::*;

const START: Timestamp = Timestamp::from_millis(1_800_000_000_000);
const DAY: Duration = Duration::from_secs(24 * 3600);

fn media(id: u64) -> MediaId {
    id.to_string().parse().unwrap()
}

fn number(id: u64) -> PhoneNumberId {
    id.to_string().parse().unwrap()
}

fn upload(by: u64, ends: Timestamp) -> Pin {
    Pin {
        number: number(by),
        ends,
        origin: Origin::Upload,
    }
}

/// Pins in memory answer at once.
fn record(pins: &MediaPins, id: MediaId, pin: Pin) -> Pin {
    pins.record(id, pin).now_or_never().unwrap().unwrap()
}

fn bury(pins: &MediaPins, id: MediaId) -> Option<Pin> {
    pins.bury(id).now_or_never().unwrap().unwrap()
}

fn sweep(pins: &MediaPins) -> usize {
    pins.sweep().now_or_never().unwrap().unwrap()
}

#[derive(Clone, Debug)]
enum Step {
    Record(MediaId, Pin),
    Bury(MediaId),
    Pass(Duration),
}

/// Few media and numbers, so that they meet; ends before and after the time that passes.
fn steps() -> impl Strategy<Value = Vec<Step>> {
    let minutes = |range| proptest::strategy::Strategy::prop_map(range, |minutes: u64| minutes * 60_000);
    let origin = prop_oneof![
        Just(Origin::Upload),
        Just(Origin::Inbound),
        Just(Origin::Webhook),
        Just(Origin::Deleted)
    ];
    let pin = (1u64..4, minutes(0u64..600), origin).prop_map(|(by, ends, origin)| Pin {
        number: number(by),
        ends: Timestamp::from_millis(START.millis() + ends),
        origin,
    });
    let step = prop_oneof![
        6 => (1u64..4, pin).prop_map(|(id, pin)| Step::Record(media(id), pin)),
        1 => (1u64..4).prop_map(|id| Step::Bury(media(id))),
        2 => minutes(0u64..90).prop_map(|millis| Step::Pass(Duration::from_millis(millis))),
    ];
    proptest::collection::vec(step, 1..40)
}

proptest! {
    #[test]
    fn a_pin_recorded_is_found(pins in proptest::collection::hash_map(1u64.., (1u64.., 0u64..=1 << 62), 1..200)) {
        let (clock, _) = Clock::manual(START);
        let store = MediaPins::in_memory(clock, Minute::REAL);
        for (id, (by, ends)) in &pins {
            let pin = upload(*by, Timestamp::from_millis(*ends));
            prop_assert_eq!(record(&store, media(*id), pin), pin);
        }
        prop_assert_eq!(store.len(), pins.len());
        for (id, (by, ends)) in &pins {
            let pin = upload(*by, Timestamp::from_millis(*ends));
            prop_assert_eq!(store.find(media(*id)), Some(pin));
        }
    }

    #[test]
    fn a_live_pin_never_changes_its_owner(steps in steps()) {
        let (clock, time) = Clock::manual(START);
        let pins = MediaPins::in_memory(clock.clone(), Minute::REAL);
        for step in steps {
            let (id, in_force) = match step {
                Step::Record(id, pin) => (id, (pins.find(id), Some(record(&pins, id, pin)))),
                Step::Bury(id) => (id, (pins.find(id), bury(&pins, id))),
                Step::Pass(duration) => { time.advance(duration); continue; }
            };
            let (before, returned) = in_force;
            let after = pins.find(id);
            prop_assert_eq!(returned, after, "what is returned is what is found");
            let (Some(before), Some(after)) = (before, after) else { continue };
            if before.ends > clock.now() {
                prop_assert_eq!(before.number, after.number);
            }
            if before.number == after.number {
                prop_assert!(after.ends <= before.ends, "the end got later");
            }
            if before.origin == Origin::Deleted {
                prop_assert_eq!(after.origin, Origin::Deleted, "a gravestone came to life");
            }
            if before.origin != Origin::Inbound {
                prop_assert_ne!(after.origin, Origin::Inbound, "certain knowledge gave way to a guess");
            }
        }
    }
}

#[test]
fn what_was_never_recorded_is_not_found_and_not_buried() {
    let pins = MediaPins::in_memory(Clock::system(), Minute::REAL);
    assert_eq!(pins.find(media(1)), None);
    assert_eq!(bury(&pins, media(1)), None);
    assert!(pins.is_empty());
}

#[test]
fn an_ended_inbound_pin_gives_way_to_another_number() {
    let (clock, time) = Clock::manual(START);
    let pins = MediaPins::in_memory(clock, Minute::REAL);
    let inbound = |by, ends| Pin {
        origin: Origin::Inbound,
        ..upload(by, ends)
    };
    let first = inbound(1, START.after(DAY));
    let second = inbound(2, START.after(2 * DAY));
    assert_eq!(record(&pins, media(9), first), first);
    assert_eq!(record(&pins, media(9), second), first);
    time.advance(DAY);
    assert_eq!(record(&pins, media(9), second), second);
}

#[test]
fn a_buried_medium_stays_buried() {
    let pins = MediaPins::in_memory(Clock::manual(START).0, Minute::REAL);
    let pin = upload(1, START.after(DAY));
    record(&pins, media(9), pin);
    let gravestone = Some(buried(pin));
    assert_eq!(bury(&pins, media(9)), gravestone);
    assert_eq!(bury(&pins, media(9)), gravestone);
    assert_eq!(record(&pins, media(9), pin), buried(pin));
    assert_eq!(pins.find(media(9)), gravestone);
}

#[test]
fn a_gravestone_stands_after_its_end_until_it_is_forgotten() {
    let (clock, time) = Clock::manual(START);
    let pins = MediaPins::in_memory(clock, Minute::REAL);
    let pin = upload(1, START.after(DAY));
    record(&pins, media(9), pin);
    bury(&pins, media(9));
    time.advance(2 * DAY - Duration::from_millis(1));
    sweep(&pins);
    for by in [1, 2] {
        let again = upload(by, START.after(9 * DAY));
        assert_eq!(record(&pins, media(9), again), buried(pin));
    }
    time.advance(Duration::from_millis(1));
    assert_eq!(sweep(&pins), 1);
    let again = upload(2, START.after(9 * DAY));
    assert_eq!(record(&pins, media(9), again), again);
}

#[test]
fn an_ended_pin_is_kept_for_a_day_and_then_forgotten() {
    let (clock, time) = Clock::manual(START);
    let pins = MediaPins::in_memory(clock, Minute::REAL);
    for id in 1..=2500 {
        record(&pins, media(id), upload(1, START.after(DAY)));
    }
    let longer = upload(1, START.after(DAY + Duration::from_millis(1)));
    record(&pins, media(3000), longer);
    time.advance(2 * DAY - Duration::from_millis(1));
    assert_eq!(sweep(&pins), 0);
    assert!(pins.find(media(1)).is_some());
    time.advance(Duration::from_millis(1));
    assert_eq!(sweep(&pins), 2500);
    assert_eq!(pins.find(media(1)), None);
    assert_eq!(pins.find(media(3000)), Some(longer));
    assert_eq!(pins.len(), 1);
}

#[test]
fn the_day_is_counted_in_minutes_that_may_be_short() {
    let (clock, time) = Clock::manual(START);
    let pins = MediaPins::in_memory(clock, Minute::lasting(Duration::from_secs(1)).unwrap());
    record(&pins, media(1), upload(1, START));
    time.advance(Duration::from_secs(24 * 60) - Duration::from_millis(1));
    assert_eq!(sweep(&pins), 0);
    time.advance(Duration::from_millis(1));
    assert_eq!(sweep(&pins), 1);
}

#[test]
fn of_numbers_that_claim_a_medium_at_once_one_gets_it() {
    let pins = MediaPins::in_memory(Clock::manual(START).0, Minute::REAL);
    for id in 1..=100 {
        let owners: Vec<_> = std::thread::scope(|scope| {
            let claim = |by| {
                let pins = &pins;
                scope.spawn(move || record(pins, media(id), upload(by, START.after(DAY))).number)
            };
            let claims: Vec<_> = (1..=4).map(claim).collect();
            claims.into_iter().map(|claim| claim.join().unwrap()).collect()
        });
        assert!(owners.iter().all(|owner| *owner == owners[0]), "{owners:?}");
    }
}

#[test]
fn ids_spread_over_the_shards() {
    let map = PinMap::default();
    for id in 106_540_352_000_000..106_540_352_064_000 {
        map.insert(media(id), upload(1, START));
    }
    let fullest = map.shards.iter().map(|shard| read(shard).len()).max();
    assert!(fullest.is_some_and(|pins| pins < 2000), "{fullest:?}");
}
