//! No copy outlives its end, and none outlasts it in memory.

use futures_util::FutureExt as _;
use proptest::prelude::*;

use super::*;

const DEADLINE: EndReason = EndReason::Deadline;

#[test]
fn a_read_at_the_end_is_refused_and_a_millisecond_before_is_not() {
    let world = world();
    let bytes = content(900_000);
    world.put(1, &bytes);
    let (mut early, mut late) = (world.hit(1, &bytes), world.hit(1, &bytes));
    world.time.advance(HOUR - Duration::from_millis(1));
    assert_eq!(drain(&mut early), (bytes.clone(), Stop::Complete));
    assert!(matches!(step(&mut late), Some(Some(Ok(_)))));
    world.time.advance(Duration::from_millis(1));
    assert_eq!(drain(&mut late), (vec![], Stop::Ended(DEADLINE)));
    assert!(matches!(step(&mut late), Some(None)));
    assert!(world.cache.find(key(1, 1)).is_none());
    assert!(matches!(world.open(1, &bytes), Opened::Bypass(Bypass::NoTime)));
}

#[test]
fn the_policy_may_end_it_earlier() {
    let world = world();
    let life = Life {
        at_most: HOUR / 2,
        ..hour(START)
    };
    let (mut fill, mut reader) = lead(world.cache.open(key(1, 1), &meta(b"x"), life));
    fill.push(b"x").unwrap();
    fill.finish().unwrap();
    world.time.advance(HOUR / 2);
    assert_eq!(drain(&mut reader), (vec![], Stop::Ended(DEADLINE)));
    let receipts = world.receipts();
    assert_eq!(receipts.len(), 1);
    assert_eq!(
        (receipts[0].due, receipts[0].at),
        (START.after(HOUR / 2), START.after(HOUR / 2))
    );
}

#[test]
fn setting_the_wall_clock_back_lengthens_no_life() {
    let world = world();
    world.put(1, b"first");
    world
        .time
        .set_wall(Timestamp::from_millis(START.millis() - 7_200_000));
    // Opened only now: its end is three hours away by the wall clock, and was one when the clock was right.
    let by_medium = Life {
        at_most: 9 * HOUR,
        ..hour(START)
    };
    let (mut fill, _) = lead(world.cache.open(key(1, 2), &meta(b"second"), by_medium));
    fill.push(b"second").unwrap();
    fill.finish().unwrap();
    world.time.advance(HOUR - Duration::from_nanos(1));
    assert!(world.cache.find(key(1, 1)).is_some());
    assert!(world.cache.find(key(1, 2)).is_some());
    world.time.advance_monotonic(Duration::from_nanos(1));
    assert!(world.cache.find(key(1, 1)).is_none());
    assert!(world.cache.find(key(1, 2)).is_none());
    assert_eq!(world.reasons(), [DEADLINE, DEADLINE]);
    assert_eq!(world.cache.stats().held_bytes, 0);
}

#[test]
fn setting_the_wall_clock_forth_ends_it_at_the_next_sweep() {
    let world = world();
    world.put(1, b"bytes");
    world.time.set_wall(START.after(HOUR));
    assert_eq!(world.cache.sweep(), None);
    assert_eq!(world.reasons(), [DEADLINE]);
}

#[test]
fn a_suspended_machine_keeps_nothing_longer() {
    let world = world();
    world.put(1, b"bytes");
    // Awake again, with a wall clock that was not yet set.
    world.time.advance_monotonic(HOUR);
    assert_eq!(world.cache.sweep(), None);
    assert_eq!(world.reasons(), [DEADLINE]);
}

#[test]
fn a_later_caller_may_shorten_a_life_but_not_lengthen_it() {
    let world = world();
    world.put(1, b"bytes");
    let open = |life| world.cache.open(key(1, 1), &meta(b"bytes"), life);
    let longer = Life {
        ends: START.after(9 * HOUR),
        at_most: 9 * HOUR,
    };
    assert!(matches!(open(longer), Opened::Hit(_)));
    assert_eq!(world.cache.sweep(), Some(HOUR));
    let ends_sooner = Life {
        ends: START.after(HOUR / 2),
        ..longer
    };
    assert!(matches!(open(ends_sooner), Opened::Hit(_)));
    assert_eq!(world.cache.sweep(), Some(HOUR / 2));
    world.time.advance(HOUR / 4);
    let kept_shorter = Life {
        at_most: HOUR / 3,
        ..longer
    };
    assert!(matches!(open(kept_shorter), Opened::Hit(_)));
    assert_eq!(world.cache.sweep(), Some(HOUR / 3 - HOUR / 4));
    let no_longer_kept = Life {
        at_most: Duration::ZERO,
        ..longer
    };
    assert!(matches!(open(no_longer_kept), Opened::Bypass(Bypass::NoTime)));
    assert_eq!(world.reasons(), [DEADLINE]);
}

#[test]
fn bytes_are_gone_while_a_reader_still_holds_the_medium() {
    let world = world();
    let bytes = content(900_000);
    world.put(1, &bytes);
    let mut reader = world.hit(1, &bytes);
    assert!(matches!(step(&mut reader), Some(Some(Ok(_)))));
    let over = reader.ended();
    assert_eq!(world.cache.stats().held_bytes, 900_000);
    world.time.advance(HOUR);
    world.cache.sweep();
    assert_eq!(world.cache.stats().held_bytes, 0);
    assert_eq!(over.now_or_never(), Some(DEADLINE));
    assert_eq!(drain(&mut reader), (vec![], Stop::Ended(DEADLINE)));
}

#[test]
fn a_medium_that_ends_while_it_comes_is_not_kept() {
    let world = world();
    let (mut fill, mut reader) = world.lead(1, &content(200_000));
    fill.push(&content(100_000)).unwrap();
    world.time.advance(HOUR);
    assert_eq!(fill.push(b"more"), Err(DEADLINE));
    assert_eq!(fill.ended().now_or_never(), Some(DEADLINE));
    assert_eq!(
        fill.finish(),
        Err(EndReason::Failed(Failure::TooShort)).or(Err(DEADLINE))
    );
    assert_eq!(drain(&mut reader), (vec![], Stop::Ended(DEADLINE)));
    let receipts = world.receipts();
    assert_eq!(receipts.len(), 1);
    assert_eq!((receipts[0].reason, receipts[0].bytes), (DEADLINE, 100_000));
}

#[test]
fn a_medium_whose_last_byte_comes_at_its_end_is_not_kept() {
    let world = world();
    let (mut fill, mut reader) = world.lead(1, b"bytes");
    fill.push(b"bytes").unwrap();
    world.time.advance(HOUR);
    assert_eq!(fill.finish(), Err(DEADLINE));
    assert_eq!(drain(&mut reader), (vec![], Stop::Ended(DEADLINE)));
    assert_eq!(world.reasons(), [DEADLINE]);
}

/// Ten thousand copies with ends all over an hour, a clock that steps: none can be read at or after its end, and a sweep
/// leaves none of them.
#[test]
fn of_ten_thousand_copies_none_outlives_its_end() {
    const COPIES: u64 = 10_000;
    let world = world();
    let mut random = 0x9E37_79B9_7F4A_7C15_u64;
    let mut next = |below: u64| {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % below
    };
    let mut copies = Vec::new();
    for id in 1..=COPIES {
        let left = Duration::from_millis(1 + next(3_600_000));
        let life = Life {
            ends: START.after(if id % 2 == 0 { left } else { HOUR }),
            at_most: if id % 2 == 0 { HOUR } else { left },
        };
        let (mut fill, reader) = lead(world.cache.open(key(1 + id % 7, id), &meta(b"secret"), life));
        fill.push(b"secret").unwrap();
        fill.finish().unwrap();
        copies.push((key(1 + id % 7, id), left, reader));
    }
    let mut elapsed = Duration::ZERO;
    let mut wall = START;
    while !copies.is_empty() {
        let pause = Duration::from_millis(1 + next(40_000));
        elapsed += pause;
        world.time.advance(pause);
        wall = wall.after(pause);
        if next(4) == 0 {
            // Set back by up to a minute, which is to change nothing.
            wall = Timestamp::from_millis(wall.millis() - next(60_000));
            world.time.set_wall(wall);
        }
        let (over, live): (Vec<_>, Vec<_>) = copies.into_iter().partition(|(_, left, _)| *left <= elapsed);
        copies = live;
        let swept_first = next(2) == 0;
        if swept_first {
            world.cache.sweep();
            assert_eq!(world.cache.stats().entries, count(copies.len()));
        }
        for (key, _, mut reader) in over {
            assert_eq!(drain(&mut reader), (vec![], Stop::Ended(DEADLINE)));
            assert!(world.cache.find(key).is_none());
        }
        world.cache.sweep();
        assert_eq!(world.cache.stats().held_bytes, 6 * count(copies.len()));
        if let Some((key, _, _)) = copies.first() {
            assert!(world.cache.find(*key).is_some());
        }
    }
    let mut receipts = world.receipts();
    assert!(
        receipts
            .iter()
            .all(|ended| ended.reason == DEADLINE && ended.bytes == 6)
    );
    receipts.sort_by_key(|ended| ended.key.media);
    receipts.dedup_by_key(|ended| ended.key.media);
    assert_eq!(count(receipts.len()), COPIES);
}

#[tokio::test(start_paused = true)]
async fn the_reaper_notices_a_clock_that_was_moved() {
    let world = world();
    world.put(1, b"one");
    world.put(2, b"two");
    let cache = world.cache.clone();
    let reaper = tokio::spawn(async move { cache.reap().await });
    tokio::time::advance(TICK).await;
    assert_eq!(world.reasons(), []);
    let reader = world.hit(1, b"one");
    world.time.set_wall(START.after(HOUR));
    // Paused time goes on by itself to the next timer, which is the reaper's.
    let from = tokio::time::Instant::now();
    assert_eq!(tokio::time::timeout(HOUR, reader.ended()).await, Ok(DEADLINE));
    assert!(from.elapsed() <= TICK + Duration::from_millis(1));
    tokio::task::yield_now().await;
    assert_eq!(world.reasons(), [DEADLINE, DEADLINE]);
    reaper.abort();
}

#[tokio::test(start_paused = true)]
async fn the_reaper_wakes_for_a_copy_that_ends_before_all_others() {
    let world = world();
    let cache = world.cache.clone();
    let reaper = tokio::spawn(async move { cache.reap().await });
    // Empty: it waits without a timer.
    tokio::task::yield_now().await;
    world.put(1, b"long");
    let life = Life {
        at_most: Duration::from_millis(10),
        ..hour(START)
    };
    tokio::task::yield_now().await;
    let (_fill, reader) = lead(world.cache.open(key(1, 2), &meta(b"short"), life));
    tokio::task::yield_now().await;
    world.time.advance(Duration::from_millis(10));
    let from = tokio::time::Instant::now();
    assert_eq!(tokio::time::timeout(HOUR, reader.ended()).await, Ok(DEADLINE));
    assert!(
        from.elapsed() <= Duration::from_millis(11),
        "{:?}",
        from.elapsed()
    );
    reaper.abort();
}

proptest! {
    /// However the clocks go, a copy that is found has time left by both, and every reader agrees.
    #[test]
    fn what_is_found_has_time_left(
        steps in proptest::collection::vec((0u64..1_500_000, -1_500_000i64..1_500_000, any::<bool>()), 1..12),
    ) {
        let world = world();
        world.put(1, b"bytes");
        let mut reader = world.hit(1, b"bytes");
        let begun = world.clock.monotonic();
        let mut was_over = false;
        for (pause, wall_step, sweep) in steps {
            world.time.advance_monotonic(Duration::from_millis(pause));
            let wall = world.clock.now().millis().saturating_add_signed(wall_step);
            world.time.set_wall(Timestamp::from_millis(wall));
            let is_over = world.clock.monotonic().since(begun) >= HOUR || world.clock.now() >= START.after(HOUR);
            if sweep {
                world.cache.sweep();
            }
            // Once it was seen to be over, it stays so, even if the wall clock is set back again.
            was_over |= is_over;
            prop_assert_eq!(world.cache.find(key(1, 1)).is_none(), was_over);
            if was_over {
                prop_assert_eq!(drain(&mut reader).0, Vec::<u8>::new());
            }
        }
        prop_assert_eq!(world.receipts().len(), usize::from(was_over));
    }
}
