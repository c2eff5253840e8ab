use super::*;

#[test]
fn another_policy_keeps_what_is_spent() {
    let world = world("when_limited = \"reject\"");
    assert_eq!(world.burst(60), 60);
    // Twenty of eighty are left, at any rate.
    world
        .limits
        .apply(&policies("per_second = 1000\nwhen_limited = \"reject\"", ""));
    assert_eq!(world.burst(100), 20);
    world.time.advance(SECOND);
    assert_eq!(world.burst(2_000), 1_000);
    world
        .limits
        .apply(&policies("per_second = 1\nwhen_limited = \"reject\"", ""));
    assert_eq!(limited(world.now(&receipt())), ("throughput", Some(SECOND)));
}

#[test]
fn a_lowered_rate_stays_lowered_under_another_policy() {
    let world = world("");
    world.limits.observe(number(NUMBER), 0, None, &Outcome::TooFast);
    world.limits.apply(&policies("per_second = 1000", ""));
    let now = world.number_now();
    assert_eq!((now.current_per_second, now.per_second), (40, 1_000));
    world.time.advance(10 * SECOND);
    assert_eq!(world.number_now().current_per_second, 165);
}

#[test]
fn a_portfolio_takes_its_count_along() {
    let one = "[[portfolio]]\nnumbers = [\"1001\"]\nunique_recipients_24h = 5\n[[portfolio]]\nnumbers = [\"1003\"]\nunique_recipients_24h = 5";
    let world = world_with(&policies("", one), WaitingRoom::DEFAULT);
    for (from, to) in [("1001", "+11"), ("1003", "+12"), ("1001", "+13"), ("1003", "+11")] {
        let ask = Ask {
            number: number(from),
            ..template(to, SendClass::Utility)
        };
        assert!(world.now(&ask).is_ok());
        world.time.advance(SECOND);
    }
    let counted = || {
        let portfolios = world.limits.snapshot().portfolios;
        portfolios
            .into_iter()
            .map(|portfolio| portfolio.counted)
            .collect::<Vec<_>>()
    };
    assert_eq!(counted(), [2, 2]);
    let joined = "[[portfolio]]\nnumbers = [\"1001\", \"1003\"]\nunique_recipients_24h = 3";
    world.limits.apply(&policies("", joined));
    assert_eq!(counted(), [3]);
    world.limits.apply(&policies("", one));
    assert_eq!(counted(), [3, 3]);
    world.limits.apply(&policies("", ""));
    assert_eq!(counted(), [0; 0]);
}

#[test]
fn who_waits_for_a_number_that_is_gone_is_told() {
    let world = world("per_second = 1");
    let _driving = world.driving();
    drop(world.now(&receipt()));
    let waiting = world.limits.admit(&receipt());
    let mut without = policies("", "");
    without.numbers.remove(&number(NUMBER));
    world.limits.apply(&without);
    assert_eq!(limited(waiting.now_or_never().unwrap()), ("unknown_number", None));
    assert_eq!(limited(world.now(&receipt())).0, "unknown_number");
    assert_eq!(world.limits.0.serve_due(), None);
}
