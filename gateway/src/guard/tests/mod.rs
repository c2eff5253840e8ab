//! Breakers and bounds under a clock that is moved by hand.

mod limit;

use curfew_policies::Timestamp;
use futures_util::FutureExt as _;
use serde_json::Value;

use super::*;
use crate::clock::ManualTime;

const MILLI: Duration = Duration::from_millis(1);

fn number(id: u64) -> PhoneNumberId {
    (1_000 + id).to_string().parse().unwrap()
}

/// What an operator reads.
fn snapshot(guard: &Guard) -> Value {
    serde_json::to_value(guard.snapshot()).unwrap()
}

struct Scene {
    guard: Guard,
    time: ManualTime,
}

impl Scene {
    fn new() -> Self {
        Self::shared(100)
    }

    fn shared(percent: u8) -> Self {
        let (clock, time) = Clock::manual(Timestamp::from_millis(1_800_000_000_000));
        let guard = Guard::new(clock, percent);
        Self { guard, time }
    }

    fn facts(&self, id: u64) -> Facts {
        Facts {
            traffic: Traffic::Send,
            host: Host::Graph,
            number: Some(number(id)),
            is_upload: false,
            caller: self.guard.caller_key("caller"),
        }
    }

    /// A send that finds a place at once, or a refusal.
    fn begin(&self, id: u64) -> Result<Ticket, Refusal> {
        self.enter(self.facts(id))
    }

    fn enter(&self, facts: Facts) -> Result<Ticket, Refusal> {
        self.guard.admit(facts).now_or_never().expect("there is room")
    }

    fn ok(&self, id: u64) -> Result<(), Refusal> {
        let mut ticket = self.begin(id)?;
        ticket.answered(StatusCode::OK);
        ticket.ended();
        Ok(())
    }

    fn fault(&self, id: u64, status: u16, body: &'static str) -> Result<(), Refusal> {
        let mut ticket = self.begin(id)?;
        ticket.answered(StatusCode::from_u16(status).unwrap());
        ticket.passed(&Bytes::from_static(body.as_bytes()));
        ticket.ended();
        Ok(())
    }

    fn unavailable(&self, id: u64) -> Result<(), Refusal> {
        self.fault(id, 500, r#"{"error":{"code":131016}}"#)
    }

    fn unsent(&self, id: u64) -> Result<(), Refusal> {
        self.begin(id)?.unsent();
        Ok(())
    }

    fn state(&self, pointer: &str) -> Value {
        let snapshot = snapshot(&self.guard);
        let state = snapshot.pointer(&format!("/breakers/{pointer}/state"));
        state.cloned().unwrap_or(Value::Null)
    }

    /// How long it takes until `what` is refused for `whose`, tried once a millisecond.
    fn opens(&self, whose: Whose, mut what: impl FnMut(u64) -> Result<(), Refusal>) -> Duration {
        for milli in 0..10_000 {
            if let Err(refusal) = what(milli) {
                assert!(
                    matches!(refusal, Refusal::Open { whose: found, .. } if found == whose),
                    "{refusal:?}"
                );
                return MILLI * u32::try_from(milli).unwrap();
            }
            self.time.advance(MILLI);
        }
        panic!("it never opens");
    }

    /// How long it takes until a hundred sends in a row pass, tried ten times a second, each answered after `latency`.
    fn closes(&self, id: u64, latency: Duration) -> Duration {
        let step = Duration::from_millis(100);
        let mut under_way: Vec<(Duration, Ticket)> = Vec::new();
        let (mut passed, mut since) = (0, Duration::ZERO);
        let mut now = Duration::ZERO;
        while passed < 100 {
            assert!(now < Duration::from_secs(60), "it never closes");
            for (_, mut ticket) in under_way.extract_if(.., |(due, _)| *due <= now) {
                ticket.answered(StatusCode::OK);
                ticket.ended();
            }
            match self.begin(id) {
                Ok(ticket) => {
                    if passed == 0 {
                        since = now;
                    }
                    passed += 1;
                    under_way.push((now + latency, ticket));
                }
                Err(_) => passed = 0,
            }
            self.time.advance(step);
            now += step;
        }
        since
    }
}

const GRAPH: Whose = Whose::Host(Host::Graph);

#[test]
fn a_storm_of_failed_connections_opens_the_origin_within_two_seconds() {
    let scene = Scene::new();
    for _ in 0..5_000 {
        scene.ok(1).unwrap();
        scene.time.advance(MILLI);
    }
    let took = scene.opens(GRAPH, |_| scene.unsent(1));
    assert!(took <= Duration::from_secs(2), "{took:?}");
    assert_eq!(scene.state("graph"), "open");
    // Other numbers are behind the same origin.
    assert!(scene.begin(2).is_err());
}

#[test]
fn a_storm_of_faults_on_many_numbers_opens_the_origin_within_two_seconds() {
    let scene = Scene::new();
    for milli in 0..5_000 {
        scene.ok(milli % 1_000).unwrap();
        scene.time.advance(MILLI);
    }
    // Three of four fail.
    let took = scene.opens(GRAPH, |milli| {
        if (milli + milli / 1_000) % 4 == 0 {
            scene.ok(milli % 1_000)
        } else {
            scene.unavailable(milli % 1_000)
        }
    });
    assert!(took <= Duration::from_secs(2), "{took:?}");
}

#[test]
fn a_number_that_fails_is_alone() {
    let scene = Scene::new();
    let took = scene.opens(Whose::Number(number(7)), |_| {
        scene.ok(8)?;
        scene.unavailable(7)
    });
    assert!(took <= Duration::from_secs(2), "{took:?}");
    assert_eq!(
        (scene.state("graph"), scene.state("numbers/1007")),
        ("closed".into(), "open".into())
    );
    scene.ok(8).unwrap();
    // Calls that are about no number pass as well.
    let facts = Facts {
        number: None,
        ..scene.facts(7)
    };
    assert!(scene.enter(facts).is_ok());
}

#[test]
fn what_metas_rules_refuse_opens_nothing() {
    let scene = Scene::new();
    for _ in 0..1_000 {
        // A throttle, a bad parameter, and answers of 5xx that are about the request (Cloud API, "Error codes").
        scene.fault(1, 400, r#"{"error":{"code":130429}}"#).unwrap();
        scene.fault(1, 400, r#"{"error":{"code":1}}"#).unwrap();
        scene.fault(1, 429, r#"{"error":{"code":4}}"#).unwrap();
        scene.fault(1, 500, r#"{"error":{"code":131045}}"#).unwrap();
        // Callers who hang up.
        drop(scene.begin(1).unwrap());
        scene.time.advance(MILLI * 100);
    }
    assert_eq!(scene.state("graph"), "closed");
}

#[test]
fn failures_far_apart_are_not_in_a_row() {
    let scene = Scene::new();
    for _ in 0..100 {
        scene.unsent(1).unwrap();
        scene.time.advance(Duration::from_secs(31));
    }
    assert_eq!(scene.state("graph"), "closed");
    for _ in 0..10 {
        assert_eq!(scene.state("graph"), "closed");
        scene.time.advance(Duration::from_secs(10));
        scene.unsent(1).unwrap();
    }
    assert_eq!(scene.state("graph"), "open");
}

#[test]
fn a_5xx_without_graphs_words_is_a_fault() {
    for body in ["", "<html>", "{}"] {
        let scene = Scene::new();
        scene.opens(Whose::Number(number(1)), |_| scene.fault(1, 502, body));
    }
}

#[test]
fn silence_opens_the_origin_within_two_seconds_and_the_first_answer_ends_it() {
    let scene = Scene::new();
    scene.ok(1).unwrap();
    let mut waiting = Vec::new();
    let took = scene.opens(GRAPH, |_| {
        waiting.push(scene.begin(1)?);
        Ok(())
    });
    assert!(took <= Duration::from_secs(2), "{took:?}");
    let mut late = waiting.swap_remove(0);
    late.answered(StatusCode::OK);
    late.ended();
    assert_eq!(scene.state("graph"), "half_open");
    scene.ok(1).unwrap();
    scene.ok(1).unwrap();
    assert_eq!(scene.state("graph"), "closed");
    // The number was as silent as the origin, and for no reason of its own.
    scene.ok(1).unwrap();
}

#[test]
fn callers_who_hang_up_at_once_make_no_silence() {
    let scene = Scene::new();
    for _ in 0..10_000 {
        drop(scene.begin(1).unwrap());
        scene.time.advance(MILLI);
    }
    assert_eq!(scene.state("graph"), "closed");
}

#[test]
fn a_meta_that_takes_a_second_and_a_half_is_not_silent() {
    let scene = Scene::new();
    let mut under_way = std::collections::VecDeque::new();
    for _ in 0..10_000 {
        under_way.push_back(scene.begin(1).unwrap());
        scene.time.advance(MILLI);
        if under_way.len() > 1_500 {
            let mut ticket = under_way.pop_front().unwrap();
            ticket.answered(StatusCode::OK);
            ticket.ended();
        }
    }
    assert_eq!(scene.state("graph"), "closed");
}

#[test]
fn it_closes_within_ten_seconds_of_health() {
    for (storm, latency) in [(2, 50), (2, 1_500), (60, 50), (60, 1_500)] {
        let scene = Scene::new();
        // Long enough for the rest to be at its longest; some probes hang.
        let mut hung = Vec::new();
        for milli in 0..storm * 1_000 {
            match scene.begin(1) {
                Ok(ticket) if milli > 10_000 && milli % 2 == 0 => hung.push(ticket),
                Ok(ticket) => ticket.unsent(),
                Err(_) => {}
            }
            scene.time.advance(MILLI);
        }
        assert_ne!(scene.state("graph"), "closed");
        let took = scene.closes(1, Duration::from_millis(latency));
        assert!(
            took <= Duration::from_secs(10),
            "{storm} s, {latency} ms: {took:?}"
        );
    }
}

#[test]
fn probes_go_one_at_a_time_and_a_failed_one_opens_again() {
    let scene = Scene::new();
    scene.opens(GRAPH, |_| scene.unsent(1));
    let Err(Refusal::Open { retry_after, .. }) = scene.begin(1).map(drop) else {
        panic!("it is open")
    };
    assert_eq!(retry_after, 1);
    scene.time.advance(Duration::from_secs(1));
    let probe = scene.begin(1).unwrap();
    assert!(scene.begin(1).is_err());
    probe.unsent();
    scene.time.advance(Duration::from_secs(1));
    assert!(scene.begin(1).is_err(), "it rests for longer");
    scene.time.advance(Duration::from_secs(1));
    // Given up by its caller, the next one may.
    drop(scene.begin(1).unwrap());
    for _ in 0..3 {
        scene.ok(1).unwrap();
    }
    assert_eq!(scene.state("graph"), "closed");
}

#[test]
fn the_media_host_is_another() {
    let scene = Scene::new();
    let facts = Facts {
        traffic: Traffic::Stream,
        host: Host::Media,
        ..scene.facts(1)
    };
    scene.opens(Whose::Host(Host::Media), |_| {
        scene.enter(facts)?.unsent();
        Ok(())
    });
    scene.ok(1).unwrap();
}

#[test]
fn an_upload_that_breaks_off_is_its_callers() {
    let scene = Scene::new();
    for _ in 0..100 {
        let facts = Facts {
            traffic: Traffic::Stream,
            is_upload: true,
            ..scene.facts(1)
        };
        scene.enter(facts).unwrap().broken();
        scene.time.advance(MILLI * 100);
    }
    assert_eq!(scene.state("graph"), "closed");
}

/// An upload's answer waits for its caller: it cannot find out whether Meta answers.
#[test]
fn an_upload_is_no_probe() {
    let scene = Scene::new();
    let slow = Facts {
        traffic: Traffic::Stream,
        is_upload: true,
        ..scene.facts(1)
    };
    scene.opens(GRAPH, |id| scene.unsent(id));
    assert!(scene.enter(slow).is_err());
    scene.time.advance(Duration::from_secs(2));
    // Meta is well again. Somebody begins uploads, a byte now and then.
    let mut uploads = vec![scene.enter(slow).unwrap()];
    assert_eq!(scene.state("graph"), "open");
    for _ in 0..3 {
        scene.ok(1).unwrap();
        uploads.push(scene.enter(slow).unwrap());
        scene.time.advance(Duration::from_secs(1));
    }
    assert_eq!(scene.state("graph"), "closed");
}

#[test]
fn where_nothing_but_uploads_is_asked_for_they_close_it() {
    let scene = Scene::new();
    let facts = Facts {
        traffic: Traffic::Stream,
        is_upload: true,
        ..scene.facts(1)
    };
    scene.opens(GRAPH, |_| {
        scene.enter(facts)?.unsent();
        Ok(())
    });
    scene.time.advance(Duration::from_secs(1));
    scene.enter(facts).unwrap().unsent();
    assert!(scene.enter(facts).is_err(), "it rests again");
    scene.time.advance(Duration::from_secs(2));
    for _ in 0..3 {
        let mut upload = scene.enter(facts).unwrap();
        upload.answered(StatusCode::OK);
        upload.ended();
    }
    assert_eq!(scene.state("graph"), "closed");
}

#[tokio::test(start_paused = true)]
async fn no_kind_and_no_caller_takes_the_places_of_another() {
    let scene = Scene::shared(25);
    let mut held = Vec::new();
    for name in ["a", "b", "c", "d"] {
        let facts = Facts {
            traffic: Traffic::Stream,
            is_upload: true,
            caller: scene.guard.caller_key(name),
            ..scene.facts(1)
        };
        for _ in 0..256 {
            held.push(scene.enter(facts).unwrap());
        }
        let start = tokio::time::Instant::now();
        assert_eq!(
            scene.guard.admit(facts).await.unwrap_err(),
            Refusal::Full("streams")
        );
        assert_eq!(start.elapsed(), lane::WAIT);
    }
    assert_eq!(held.len(), 1024);
    let fifth = Facts {
        traffic: Traffic::Stream,
        caller: scene.guard.caller_key("e"),
        ..scene.facts(1)
    };
    assert_eq!(
        scene.guard.admit(fifth).await.unwrap_err(),
        Refusal::Full("streams")
    );
    for traffic in [Traffic::Send, Traffic::Call, Traffic::Question] {
        let facts = Facts {
            traffic,
            ..scene.facts(1)
        };
        assert!(scene.enter(facts).is_ok());
    }
    // Whoever waits has the place that is given back.
    let (next, ()) = tokio::join!(scene.guard.admit(fifth), async { drop(held.pop()) });
    assert!(next.is_ok());
    drop(next);
    drop(held);
    assert_eq!(snapshot(&scene.guard)["exchanges"]["streams"]["under_way"], 0);
}

#[tokio::test(start_paused = true)]
async fn those_who_have_their_share_are_passed_over_and_few_wait() {
    let lane = Lane::new(4, 50);
    let keys = Guard::new(Clock::system(), 100);
    let (one, other) = (keys.caller_key("one"), keys.caller_key("other"));
    let first = [lane.try_take(one).unwrap(), lane.try_take(one).unwrap()];
    let second = [lane.try_take(other).unwrap(), lane.try_take(other).unwrap()];
    let mut greedy: Vec<_> = (0..64).map(|_| Box::pin(lane.take(one))).collect();
    for wait in &mut greedy {
        assert!(futures_util::poll!(wait).is_pending());
    }
    assert_eq!(
        lane.take(one).await.unwrap_err(),
        lane::Full,
        "one caller's part of the queue"
    );
    let mut fair = Box::pin(lane.take(other));
    assert!(futures_util::poll!(&mut fair).is_pending());
    drop(second);
    assert!(matches!(
        futures_util::poll!(&mut fair),
        std::task::Poll::Ready(Ok(_))
    ));
    assert!(futures_util::poll!(&mut greedy[0]).is_pending());
    // Who hangs up is not waited for.
    drop(greedy.remove(0));
    drop(first);
    assert!(matches!(
        futures_util::poll!(&mut greedy[0]),
        std::task::Poll::Ready(Ok(_))
    ));
    drop((fair, greedy));
    assert_eq!(lane.seen().taken, 0);
}

#[tokio::test(start_paused = true)]
async fn those_who_wait_and_hold_the_fewest_places_go_first() {
    let lane = Lane::new(4, 100);
    let keys = Guard::new(Clock::system(), 100);
    let [greedy, modest, new] = ["greedy", "modest", "new"].map(|name| keys.caller_key(name));
    let mut held: Vec<_> = (0..3).map(|_| lane.try_take(greedy).unwrap()).collect();
    held.push(lane.try_take(modest).unwrap());
    let mut waiting: Vec<_> = [greedy, modest, modest, new]
        .into_iter()
        .map(|caller| Box::pin(lane.take(caller)))
        .collect();
    for wait in &mut waiting {
        assert!(futures_util::poll!(wait).is_pending());
    }
    // The three of one caller are given back, one at a time.
    let mut order = Vec::new();
    for place in held.drain(..3) {
        drop(place);
        for (nth, wait) in waiting.iter_mut().enumerate() {
            if !order.iter().any(|(known, _)| *known == nth)
                && let std::task::Poll::Ready(place) = futures_util::poll!(wait)
            {
                order.push((nth, place.unwrap()));
            }
        }
    }
    let order: Vec<_> = order.iter().map(|(nth, _)| *nth).collect();
    // They hold two, one and none; then one each, and who came first is first; then one, one and one again.
    assert_eq!(order, [3, 0, 1]);
}

/// Sends of ten callers, a hundred at once, each of which takes a second and a half.
fn slow_round(scene: &Scene, facts: impl Fn(u64) -> Facts) {
    let under_way: Vec<_> = (0..100)
        .filter_map(|nth| scene.guard.admit(facts(nth)).now_or_never()?.ok())
        .collect();
    scene.time.advance(MILLI * 1_500);
    for mut ticket in under_way {
        ticket.answered(StatusCode::OK);
        ticket.ended();
    }
}

/// How many sends of this caller find a place at once.
fn held(scene: &Scene, facts: Facts) -> Vec<Ticket> {
    std::iter::from_fn(|| scene.guard.admit(facts).now_or_never()?.ok()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_caller_has_its_share_of_the_limit_that_adapts() {
    let scene = Scene::shared(25);
    let facts = |caller: u64, id| Facts {
        caller: scene.guard.caller_key(caller),
        ..scene.facts(id)
    };
    let limit = || u64::from(scene.guard.snapshot().exchanges["sends"].limit);
    for nth in 0..40 {
        scene.ok(nth % 4).unwrap();
        scene.time.advance(MILLI * 10);
    }
    for _ in 0..6 {
        if limit() >= 100 {
            slow_round(&scene, |nth| facts(nth % 10, nth));
        }
    }
    let most = limit();
    assert!((16..100).contains(&most), "{most}");
    let busy = held(&scene, facts(1, 1));
    assert_eq!(u64::try_from(busy.len()).unwrap(), most / 4);
    assert!(scene.enter(facts(2, 1)).is_ok());
}

#[tokio::test(start_paused = true)]
async fn one_caller_alone_is_slowed_no_more_than_many() {
    let scene = Scene::shared(25);
    for nth in 0..40 {
        scene.ok(nth % 4).unwrap();
        scene.time.advance(MILLI * 10);
    }
    for _ in 0..2 {
        slow_round(&scene, |nth| scene.facts(nth));
    }
    let most = held(&scene, scene.facts(1)).len();
    assert!((60..=75).contains(&most), "{most} of 100");
}

#[test]
fn what_meta_refuses_quickly_and_one_numbers_faults_leave_the_limit_alone() {
    let scene = Scene::new();
    let mut under_way = std::collections::VecDeque::new();
    for milli in 0..60_000 {
        under_way.push_back(scene.begin(1).unwrap());
        scene.time.advance(MILLI);
        if under_way.len() > 400 {
            let mut ticket = under_way.pop_front().unwrap();
            ticket.answered(StatusCode::OK);
            ticket.ended();
        }
        scene.fault(2, 400, r#"{"error":{"code":131009}}"#).unwrap();
        if milli % 2 == 0 {
            // Its breaker opens.
            let _ = scene.unavailable(3);
        }
    }
    let told = snapshot(&scene.guard);
    assert_eq!(told["exchanges"]["sends"]["limit"], 4096);
    assert_eq!(told["exchanges"]["sends"]["shed"], 0);
    assert_eq!(told["breakers"]["graph"]["state"], "closed");
}
