use std::pin::Pin;

use proptest::prelude::*;

use super::*;

/// One message of a class, to nobody else, on behalf of a caller.
fn ask(to: &str, class: SendClass, share: Share) -> Ask<'_> {
    Ask {
        share,
        ..template(to, class)
    }
}

/// Those that wait, by a name that the test gives them.
struct Line<'w> {
    world: &'w World,
    waiting: Vec<(u64, Pin<Box<Admit>>)>,
    next: u64,
}

impl<'w> Line<'w> {
    fn new(world: &'w World) -> Self {
        Self {
            world,
            waiting: Vec::new(),
            next: 0,
        }
    }

    fn join(&mut self, name: u64, class: SendClass, share: Share) {
        let to = format!("+49{:010}", self.next);
        self.next += 1;
        let admit = self.world.limits.admit(&ask(&to, class, share));
        self.waiting.push((name, Box::pin(admit)));
    }

    /// Those whose wait is over, and whether they may send.
    fn served(&mut self) -> Vec<(u64, bool)> {
        let mut served = Vec::new();
        self.waiting
            .retain_mut(|(name, admit)| match admit.as_mut().now_or_never() {
                Some(answer) => {
                    served.push((*name, answer.is_ok()));
                    false
                }
                None => true,
            });
        served
    }

    /// Who goes first when one after the other can: one message a second passes.
    fn order(&mut self) -> Vec<u64> {
        let mut order = Vec::new();
        while !self.waiting.is_empty() {
            self.world.advance(SECOND);
            order.extend(
                self.served()
                    .into_iter()
                    .filter(|(_, ok)| *ok)
                    .map(|(name, _)| name),
            );
        }
        order
    }
}

/// One message a second, and up to a minute of waiting.
const SLOW: &str = "per_second = 1\nmax_wait_ms = 60000";
use SendClass::{Authentication, Marketing, Service, Utility};

#[test]
fn a_send_waits_for_its_turn_and_no_longer() {
    let world = world("per_second = 10\nburst = 1\nmax_wait_ms = 250");
    let _driving = world.driving();
    let mut line = Line::new(&world);
    for name in 0..5 {
        line.join(name, Utility, share(1, 1));
    }
    assert_eq!(line.served(), [(0, true)]);
    assert_eq!(world.number_now().waiting.sends, 4);
    world.advance(Duration::from_millis(99));
    assert_eq!(line.served(), []);
    world.advance(Duration::from_millis(1));
    assert_eq!(line.served(), [(1, true)]);
    world.advance(Duration::from_millis(149));
    assert_eq!(line.served(), [(2, true)]);
    // Told true: the last one waits for its own turn, behind the other.
    let answers: Vec<_> = {
        world.advance(Duration::from_millis(2));
        line.waiting
            .iter_mut()
            .map(|(_, admit)| limited(admit.as_mut().now_or_never().unwrap()))
            .collect()
    };
    let millis = |millis| Some(Duration::from_millis(millis));
    assert_eq!(answers, [("throughput", millis(150)), ("throughput", millis(50))]);
}

#[test]
fn urgent_classes_go_first_and_no_class_starves() {
    let world = world(SLOW);
    let _driving = world.driving();
    drop(world.now(&receipt()));
    let mut line = Line::new(&world);
    for (name, class) in [(4, Marketing), (3, Service), (2, Utility), (1, Authentication)] {
        for _ in 0..12 {
            line.join(name, class, share(1, 1));
        }
    }
    let order = line.order();
    assert_eq!(order[..7], [1; 7]);
    // Whoever was passed over seven times goes next, the least urgent first.
    assert_eq!(order[7..12], [4, 3, 2, 1, 1]);
    for name in 1..=4 {
        let turns: Vec<_> = (0..)
            .zip(&order)
            .filter(|(_, who)| **who == name)
            .map(|(at, _)| at)
            .collect();
        assert_eq!(turns.len(), 12);
        let gaps = turns.windows(2).map(|pair| pair[1] - pair[0]);
        assert!(turns[0] < 10 && gaps.max().unwrap() <= 10, "{name}: {turns:?}");
    }
}

#[test]
fn an_urgent_send_that_does_not_wait_still_goes_before_those_who_do() {
    let classes = format!("{SLOW}\n[number.sends.classes]\nauthentication.when_limited = \"reject\"");
    let world = world(&classes);
    let _driving = world.driving();
    drop(world.now(&receipt()));
    let mut line = Line::new(&world);
    line.join(9, Marketing, share(1, 1));
    let code = ask("+15550001111", Authentication, share(2, 1));
    assert_eq!(limited(world.now(&code)), ("throughput", Some(2 * SECOND)));
    // The second has passed, and the driver has not looked yet.
    world.time.advance(SECOND);
    assert!(world.now(&code).is_ok());
    assert_eq!(line.served(), []);
    world.advance(SECOND);
    assert_eq!(line.served(), [(9, true)]);
}

#[test]
fn nothing_waits_without_a_driver() {
    let world = world(SLOW);
    drop(world.now(&receipt()));
    assert_eq!(limited(world.now(&receipt())), ("throughput", Some(SECOND)));
}

#[test]
fn who_waits_for_a_pair_holds_nobody_up() {
    let world = world("per_second = 10\npair = { seconds = 2, burst = 1 }\nmax_wait_ms = 5000");
    let _driving = world.driving();
    drop(world.now(&message("+11")));
    let mut to_same: Vec<_> = (0..2)
        .map(|_| Box::pin(world.limits.admit(&message("+11"))))
        .collect();
    // A third would wait for six seconds, longer than it may.
    assert_eq!(limited(world.now(&message("+11"))), ("pair", Some(6 * SECOND)));
    assert!(world.now(&message("+12")).is_ok());
    world.advance(2 * SECOND);
    assert!(to_same[0].as_mut().now_or_never().unwrap().is_ok());
    assert!(to_same[1].as_mut().now_or_never().is_none());
    world.advance(2 * SECOND);
    assert!(to_same[1].as_mut().now_or_never().unwrap().is_ok());
}

#[test]
fn whoever_hangs_up_frees_their_place_and_what_was_taken_for_them() {
    let world = world(SLOW);
    let _driving = world.driving();
    drop(world.now(&receipt()));
    let mut line = Line::new(&world);
    for name in 0..3 {
        line.join(name, Utility, share(1, 1));
    }
    assert_eq!(world.number_now().waiting.bytes, 300);
    drop(line.waiting.remove(0));
    let waiting = world.number_now().waiting;
    assert_eq!(
        (waiting.sends, waiting.bytes, waiting.by_class["utility"]),
        (2, 200, 2)
    );
    // Granted, and gone before it knew: the next one has the turn at once.
    world.advance(SECOND);
    drop(line.waiting.remove(0));
    assert_eq!(line.served(), [(2, true)]);
    let now = world.number_now();
    assert_eq!((now.waiting.sends, now.granted, now.taken), (0, 2, 1));
    // An answer that nobody saw is none either.
    world.advance(SECOND);
    drop(world.limits.admit(&receipt()));
    assert!(world.now(&receipt()).is_ok());
}

#[test]
fn the_waiting_room_is_bounded_in_number_and_bytes() {
    let room = WaitingRoom {
        sends: 3,
        bytes: 1_000,
    };
    let world = world_with(&policies(SLOW, ""), room);
    let _driving = world.driving();
    drop(world.now(&receipt()));
    let sized = |bytes| Ask {
        bytes,
        ..message("+15")
    };
    let _first = world.limits.admit(&sized(600));
    assert!(limited(world.now(&sized(401))).1 == Some(2 * SECOND));
    assert!(world.now(&sized(usize::MAX)).is_err());
    let _second = world.limits.admit(&sized(399));
    let _third = world.limits.admit(&sized(1));
    assert!(world.now(&sized(0)).is_err());
    assert_eq!(world.number_now().waiting.sends, 3);
}

#[test]
fn a_full_room_makes_place_for_what_is_more_urgent_or_others() {
    let room = WaitingRoom {
        sends: 4,
        bytes: 10_000,
    };
    let world = world_with(&policies(SLOW, ""), room);
    let _driving = world.driving();
    drop(world.now(&receipt()));
    let mut line = Line::new(&world);
    for name in 0..4 {
        line.join(name, Marketing, share(1, 1));
    }
    // The flood's last one goes for another caller, for one of weight two twice, and for any that is more urgent.
    line.join(10, Marketing, share(2, 1));
    assert_eq!(line.served(), [(3, false)]);
    line.join(11, Utility, share(1, 1));
    assert_eq!(line.served(), [(2, false)]);
    line.join(12, Authentication, share(1, 1));
    line.join(13, Authentication, share(1, 1));
    let mut gone = line.served();
    gone.sort_unstable();
    assert_eq!(gone.len(), 2);
    assert!(
        gone.iter().all(|(name, ok)| !ok && [0, 1, 10].contains(name)),
        "{gone:?}"
    );
    // Nobody goes for what is less urgent, nor for the greediest caller's own.
    line.join(14, Marketing, share(1, 1));
    line.join(15, Marketing, share(9, 1));
    assert_eq!(line.order().len(), 4);
}

#[test]
fn a_long_wait_is_refused_before_it_begins() {
    let world = world("per_second = 1\nmax_wait_ms = 500");
    let _driving = world.driving();
    drop(world.now(&receipt()));
    assert_eq!(limited(world.now(&receipt())), ("throughput", Some(SECOND)));
    assert_eq!(world.number_now().waiting.sends, 0);
}

#[test]
fn a_share_of_weight_three_is_three_times_as_large() {
    let world = world(SLOW);
    let _driving = world.driving();
    drop(world.now(&receipt()));
    let mut line = Line::new(&world);
    for _ in 0..40 {
        line.join(1, Utility, share(1, 1));
        line.join(3, Utility, share(3, 3));
    }
    let order = line.order();
    let early = order[..40].iter().filter(|who| **who == 3).count();
    assert_eq!(early, 30);
}

proptest! {
    /// As long as they wait, no two callers' turns for their weight differ by more than one turn of each: the bound of
    /// start-time fair queueing.
    #[test]
    fn turns_are_shared_by_weight(weights in proptest::collection::vec(1u32..20, 2..6)) {
        let world = world(SLOW);
        let _driving = world.driving();
        drop(world.now(&receipt()));
        let mut line = Line::new(&world);
        for (name, weight) in (0u64..).zip(&weights) {
            for _ in 0..60 {
                line.join(name, Service, share(name, *weight));
            }
        }
        let mut turns = vec![0u32; weights.len()];
        for _ in 1..=55 {
            world.advance(SECOND);
            for (name, _) in line.served() {
                turns[usize::try_from(name).unwrap()] += 1;
            }
            for (one, weight) in turns.iter().zip(&weights) {
                for (other, others) in turns.iter().zip(&weights) {
                    prop_assert!((one * others).abs_diff(other * weight) <= weight + others, "{turns:?}");
                }
            }
        }
    }

    /// Whatever comes and goes: never above the limit, nothing lost, no place kept by somebody who is gone.
    #[test]
    fn coming_and_going_breaks_nothing(
        steps in proptest::collection::vec((0u8..6, 0u64..400, 0usize..4, 1u64..4), 1..120),
    ) {
        let world = world("per_second = 5\nburst = 3\npair = { seconds = 1, burst = 2 }\nmax_wait_ms = 1500");
        let _driving = world.driving();
        let mut waiting: Vec<Pin<Box<Admit>>> = Vec::new();
        let mut granted = Vec::new();
        let mut elapsed = Duration::ZERO;
        for (step, millis, class, who) in steps {
            match step {
                0..=2 => {
                    let to = format!("+1{}", millis % 7);
                    let ask = ask(&to, SendClass::ALL[class], share(who, u32::try_from(who).unwrap()));
                    waiting.push(Box::pin(world.limits.admit(&ask)));
                }
                3 if !waiting.is_empty() => {
                    let at = usize::try_from(millis).unwrap() % waiting.len();
                    drop(waiting.swap_remove(at));
                }
                _ => {
                    world.advance(Duration::from_millis(millis));
                    elapsed += Duration::from_millis(millis);
                }
            }
            waiting.retain_mut(|admit| match admit.as_mut().now_or_never() {
                Some(Ok(_)) => { granted.push(elapsed); false }
                Some(Err(_)) => false,
                None => true,
            });
            prop_assert_eq!(world.number_now().waiting.sends, waiting.len());
        }
        prop_assert_eq!(world.number_now().granted, u64::try_from(granted.len()).unwrap());
        // Seen at the end of a step of 0.4 s at most, so two more may fall into any second.
        for (nth, from) in granted.iter().enumerate() {
            let within = granted[nth..].iter().filter(|at| **at - *from <= SECOND).count();
            prop_assert!(within <= 3 + 5 + 2, "{within}");
        }
        world.advance(2 * SECOND);
        prop_assert!(waiting.iter_mut().all(|admit| admit.as_mut().now_or_never().is_some()));
        prop_assert_eq!(world.number_now().waiting.bytes, 0);
    }
}

/// `Retry-After` is true behind those who wait for the same portfolio.
#[test]
fn retry_after_is_true_behind_those_who_wait_for_the_portfolio() {
    let portfolio = "[[portfolio]]\nnumbers = [\"1001\", \"1003\"]\nunique_recipients_24h = 2";
    let room = WaitingRoom {
        sends: 1,
        bytes: 1 << 20,
    };
    let world = world_with(&policies("max_wait_ms = 60000", portfolio), room);
    let _driving = world.driving();
    let ask = |to| template(to, SendClass::Marketing);
    for to in ["+491", "+492"] {
        assert!(world.now(&ask(to)).is_ok());
        world.time.advance(SECOND);
    }
    world.time.advance(DAY - 3 * SECOND);
    // One second left for the first place, two for the next.
    let waits = world.limits.admit(&ask("+493"));
    assert!(waits.is_waiting());
    let wait = |to| world.now(&ask(to)).unwrap_err().retry_after.unwrap();
    assert_eq!(wait("+494"), 2 * SECOND);
    // A second send to whom one waits already takes no place of its own.
    assert_eq!(wait("+493"), SECOND);
    // The other number's waiting ones count as well; both places are taken for a day then.
    let other = Ask {
        number: number("1003"),
        ..ask("+495")
    };
    let waits_too = world.limits.admit(&other);
    assert!(waits_too.is_waiting());
    assert_eq!(wait("+494"), DAY + SECOND);
    // Whoever hangs up is ahead of nobody.
    drop((waits, waits_too));
    world.advance(SECOND);
    assert!(world.now(&ask("+494")).is_ok());
}
