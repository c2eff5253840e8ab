use curfew_policies::WabaId;

use super::*;

fn observe(world: &World, outcome: Outcome) {
    world.limits.observe(number(NUMBER), 0, None, &outcome);
}

fn from(id: &str) -> Ask<'_> {
    Ask {
        number: number(id),
        ..receipt()
    }
}

#[test]
fn too_fast_halves_the_rate_at_once_and_it_recovers_by_steps() {
    let world = world("when_limited = \"reject\"");
    let rate = || world.number_now().current_per_second;
    assert_eq!(rate(), 80);
    observe(&world, Outcome::TooFast);
    // Fifty answers to what was under way are one word of Meta's.
    for _ in 0..50 {
        observe(&world, Outcome::TooFast);
    }
    assert_eq!(rate(), 40);
    let slowed = Event::Slowed {
        number: number(NUMBER),
        per_second: 40,
    };
    assert_eq!(world.events(), [slowed]);
    // Nothing is left of the burst.
    assert_eq!(limited(world.now(&receipt())), ("throughput", Some(SECOND / 40)));
    world.time.advance(SECOND);
    assert_eq!(world.burst(200), 40);
    observe(&world, Outcome::TooFast);
    assert_eq!(rate(), 20);
    world.time.advance(10 * SECOND - Duration::from_nanos(1));
    assert_eq!(rate(), 20);
    for expected in [30, 40, 50, 60, 70, 80, 80] {
        world.time.advance(if expected == 30 {
            Duration::from_nanos(1)
        } else {
            10 * SECOND
        });
        assert_eq!(rate(), expected);
    }
    for _ in 0..20 {
        world.time.advance(SECOND);
        observe(&world, Outcome::TooFast);
    }
    assert_eq!(rate(), 1);
    world.time.advance(100 * SECOND);
    assert_eq!(rate(), 80);
    assert_eq!(world.burst(200), 80);
}

#[test]
fn what_is_kept_for_inbound_shrinks_with_the_rate() {
    let world = world("kept_for_inbound = 20\nwhen_limited = \"reject\"");
    assert_eq!(world.burst(200), 60);
    observe(&world, Outcome::TooFast);
    world.time.advance(5 * SECOND);
    assert_eq!(world.burst(200), 30);
}

#[test]
fn a_pair_is_closed_for_longer_with_each_failure() {
    let world = world("when_limited = \"reject\"");
    let to = "+16505551234";
    let id = world.limits.identify(number(NUMBER), Recipient::Phone(to));
    let fail = || {
        world
            .limits
            .observe(number(NUMBER), 0, Some(id), &Outcome::PairTooFast)
    };
    for seconds in [1, 4, 16, 64, 256, 1_024, 4_096, 4_096] {
        fail();
        // What was under way fails as well, and says nothing new.
        fail();
        let event = Event::PairClosed {
            number: number(NUMBER),
            seconds,
        };
        assert_eq!(world.events(), [event]);
        assert_eq!(
            limited(world.now(&message(to))),
            ("pair", Some(Duration::from_secs(seconds)))
        );
        assert!(world.now(&message("+16505551235")).is_ok());
        world.time.advance(Duration::from_secs(seconds));
        assert!(world.now(&message(to)).is_ok());
    }
    world
        .limits
        .observe(number(NUMBER), 0, Some(id), &Outcome::Accepted);
    fail();
    assert_eq!(limited(world.now(&message(to))), ("pair", Some(SECOND)));
    // Failures are forgotten an hour after they ended.
    world.time.advance(SECOND);
    fail();
    world.time.advance(4 * SECOND + Duration::from_secs(3_600));
    world.events();
    fail();
    assert!(matches!(
        world.events()[..],
        [Event::PairClosed { seconds: 1, .. }]
    ));
}

#[test]
fn a_pause_closes_what_it_names_and_no_more() {
    let account: WabaId = "77".parse().unwrap();
    for (scope, place, closed) in [
        (
            Scope::Number,
            Place::Number(number(NUMBER)),
            [true, false, false, true],
        ),
        (Scope::Account, Place::Account(account), [true, true, false, true]),
        (Scope::App, Place::App(0), [true, true, true, false]),
    ] {
        let world = world("when_limited = \"reject\"");
        observe(
            &world,
            Outcome::Pause {
                scope,
                code: 80_007,
                minutes: 3,
            },
        );
        let lasts = 180 * SECOND;
        let event = Event::Paused {
            place,
            code: 80_007,
            lasts,
        };
        assert_eq!(world.events(), [event]);
        let other_app = Ask { app: 5, ..receipt() };
        let asks = [from("1001"), from("1002"), from("1003"), other_app];
        for (ask, closed) in asks.iter().zip(closed) {
            // Those that wait cannot: it takes too long.
            let _driving = world.driving();
            assert_eq!(world.now(ask).is_err(), closed, "{scope:?} {ask:?}");
        }
        let limited = world.now(&receipt()).unwrap_err();
        assert_eq!(limited.which, Limit::Closed { place, code: 80_007 });
        assert_eq!(limited.retry_after, Some(lasts));
        let [shown] = &world.limits.snapshot().closed[..] else {
            panic!("one");
        };
        assert_eq!(shown.until.as_deref(), Some("2027-01-15T08:03:00.000Z"));
        // A shorter one does not shorten it.
        observe(
            &world,
            Outcome::Pause {
                scope,
                code: 4,
                minutes: 1,
            },
        );
        world.time.advance(lasts - Duration::from_nanos(1));
        assert!(world.now(&receipt()).is_err());
        world.time.advance(Duration::from_nanos(1));
        assert!(world.now(&receipt()).is_ok());
        assert_eq!(world.limits.snapshot().closed, []);
    }
}

#[test]
fn an_account_that_no_policy_names_is_its_number() {
    let world = world("");
    let outcome = Outcome::Pause {
        scope: Scope::Account,
        code: 80_007,
        minutes: 1,
    };
    world.limits.observe(number("1003"), 0, None, &outcome);
    let place = Place::Number(number("1003"));
    assert!(matches!(world.events()[..], [Event::Paused { place: named, .. }] if named == place));
}

#[test]
fn what_stops_is_an_alarm_and_opens_by_an_operators_word_alone() {
    let world = world("");
    let _driving = world.driving();
    let stop = Outcome::Stop {
        scope: Scope::Number,
        code: 131_048,
    };
    assert!(world.burst(80) == 80);
    let waiting = world.limits.admit(&message("+19990001111"));
    observe(&world, stop);
    let place = Place::Number(number(NUMBER));
    let events = world.events();
    assert_eq!(events, [Event::Stopped { place, code: 131_048 }]);
    assert!(events[0].is_alarm());
    // Whoever waits is told at once that there is nothing to wait for.
    let limited = waiting.now_or_never().unwrap().unwrap_err();
    assert_eq!(
        limited,
        Limited {
            which: Limit::Closed { place, code: 131_048 },
            retry_after: None
        }
    );
    world.time.advance(1_000 * DAY);
    assert_eq!(world.now(&receipt()).unwrap_err(), limited);
    let [shown] = &world.limits.snapshot().closed[..] else {
        panic!("one");
    };
    assert_eq!(
        (shown.what, shown.id.as_deref(), shown.code),
        ("number", Some(NUMBER), 131_048)
    );
    assert_eq!(
        (shown.since.as_str(), &shown.until),
        ("2027-01-15T08:00:00.000Z", &None)
    );
    // A pause after it does not end it.
    observe(
        &world,
        Outcome::Pause {
            scope: Scope::Number,
            code: 613,
            minutes: 1,
        },
    );
    world.time.advance(DAY);
    assert!(world.now(&receipt()).is_err());
    world.events();
    assert!(world.limits.open(place));
    assert_eq!(world.events(), [Event::Opened { place }]);
    assert!(world.now(&receipt()).is_ok());
    assert!(!world.limits.open(place));
    assert_eq!(world.events(), []);
}

#[test]
fn an_alarm_alone_closes_nothing() {
    let world = world("");
    observe(&world, Outcome::Alarm { code: 190 });
    let event = Event::Alarm {
        number: number(NUMBER),
        code: 190,
    };
    assert_eq!(world.events(), [event]);
    assert!(event.is_alarm());
    observe(&world, Outcome::Refused);
    assert_eq!(world.events(), []);
    assert_eq!(world.burst(80), 80);
}

#[test]
fn inbound_takes_from_the_same_throughput_and_the_share_is_kept() {
    let world = world("kept_for_inbound = 20\nwhen_limited = \"reject\"");
    let inbound = |count: u32| (0..count).for_each(|_| world.limits.inbound(number(NUMBER), None));
    // The share is not for sends, even if nothing comes in.
    assert_eq!(world.burst(100), 60);
    world.time.advance(2 * SECOND);
    inbound(20);
    assert_eq!(world.burst(100), 60);
    world.time.advance(2 * SECOND);
    // More than the share takes from sends.
    inbound(50);
    assert_eq!(world.burst(100), 30);
    world.time.advance(2 * SECOND);
    // And runs into debt, of a second at most.
    inbound(1_000);
    assert_eq!(world.number_now().taken, 160);
    assert_eq!(
        limited(world.now(&receipt())),
        ("throughput", Some(SECOND + SECOND / 80))
    );
}

#[test]
fn receipts_count_for_throughput_alone() {
    let portfolio = "[[portfolio]]\nnumbers = [\"1001\"]\nunique_recipients_24h = 1";
    let world = world_with(
        &policies("when_limited = \"reject\"", portfolio),
        WaitingRoom::DEFAULT,
    );
    let granted = (0..100).filter(|_| world.now(&receipt()).is_ok()).count();
    assert_eq!(granted, 80);
    let now = world.number_now();
    assert_eq!(
        (now.taken, now.pairs, now.granted, now.limited["throughput"]),
        (80, 0, 80, 20)
    );
    assert_eq!(world.limits.snapshot().portfolios[0].counted, 0);
}

#[test]
fn a_number_that_no_policy_names_sends_nothing() {
    let world = world("");
    let limited = world.now(&from("9999")).unwrap_err();
    assert_eq!((limited.which, limited.retry_after), (Limit::UnknownNumber, None));
}
