//! What is held is bounded, and the bound breaks off nobody's download.

use proptest::prelude::*;

use super::*;

const KIB: usize = 1024;

fn small_world(max_kib: u64) -> World {
    world_with(CacheLimits {
        max_bytes: max_kib * 1024,
        object_bytes: max_kib * 1024,
    })
}

#[test]
fn the_one_that_was_used_last_goes_last() {
    let world = small_world(30);
    let bytes = content(10 * KIB);
    for id in 1..=3 {
        world.put(id, &bytes);
    }
    drop(world.hit(1, &bytes));
    world.put(4, &bytes);
    let receipts = world.receipts();
    assert_eq!(receipts.len(), 1);
    assert_eq!(
        (receipts[0].key, receipts[0].reason),
        (key(1, 2), EndReason::Evicted)
    );
    assert_eq!(receipts[0].bytes, count(10 * KIB));
    assert_eq!(world.cache.stats().held_bytes, count(30 * KIB));
}

#[test]
fn what_is_in_use_is_not_pushed_out() {
    let world = small_world(30);
    let bytes = content(10 * KIB);
    let (mut coming, _) = world.lead(1, &bytes);
    world.put(2, &bytes);
    let mut read = world.hit(2, &bytes);
    world.put(3, &bytes);
    world.put(4, &bytes);
    assert_eq!(
        world.receipts().iter().map(|ended| ended.key).collect::<Vec<_>>(),
        [key(1, 3)]
    );
    drop(world.hit(4, &bytes));
    let (mut third, _) = world.lead(5, &bytes);
    assert_eq!(
        world.receipts().iter().map(|ended| ended.key).collect::<Vec<_>>(),
        [key(1, 4)]
    );
    // Two are coming, one is being read: no room, and nothing is lost by asking.
    assert!(matches!(world.open(6, &bytes), Opened::Bypass(Bypass::NoRoom)));
    assert_eq!(world.receipts(), []);
    for fill in [&mut coming, &mut third] {
        fill.push(&bytes).unwrap();
    }
    coming.finish().unwrap();
    third.finish().unwrap();
    assert_eq!(drain(&mut read), (bytes.clone(), Stop::Complete));
    drop(read);
    drop(world.hit(1, &bytes));
    drop(world.hit(5, &bytes));
    world.put(6, &bytes);
    assert_eq!(
        world.receipts().iter().map(|ended| ended.key).collect::<Vec<_>>(),
        [key(1, 2)]
    );
}

#[test]
fn nothing_is_pushed_out_for_what_would_not_fit_even_so() {
    let world = small_world(30);
    world.put(1, &content(10 * KIB));
    let (_coming, _) = world.lead(2, &content(15 * KIB));
    let large = world.open(3, &content(20 * KIB));
    assert!(matches!(large, Opened::Bypass(Bypass::NoRoom)));
    assert_eq!(world.receipts(), []);
}

#[test]
fn many_small_ones_make_room_for_a_large_one() {
    let world = small_world(4_000);
    for id in 1..=4_000 {
        world.put(id, b"x");
    }
    assert_eq!(world.cache.stats().reserved_bytes, 4_000 * 1024);
    world.put(5_000, &content(3_999 * KIB));
    assert_eq!(world.receipts().len(), 3_999);
    assert_eq!(world.cache.stats().entries, 2);
}

#[derive(Clone, Debug)]
enum Step {
    Open { id: u8 },
    Push { which: prop::sample::Index },
    Finish { which: prop::sample::Index },
    Abandon { which: prop::sample::Index },
    Leave { which: prop::sample::Index },
    Pass { seconds: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    let which = any::<prop::sample::Index>;
    prop_oneof![
        6 => (1u8..12).prop_map(|id| Step::Open { id }),
        4 => which().prop_map(|which| Step::Push { which }),
        3 => which().prop_map(|which| Step::Finish { which }),
        1 => which().prop_map(|which| Step::Abandon { which }),
        3 => which().prop_map(|which| Step::Leave { which }),
        1 => (1u64..1_200).prop_map(|seconds| Step::Pass { seconds }),
    ]
}

fn take<T>(from: &mut Vec<T>, which: prop::sample::Index) -> Option<T> {
    (!from.is_empty()).then(|| {
        let at = which.index(from.len());
        from.swap_remove(at)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// Whatever is opened, filled, read and left in whatever order: the bound holds at each step, nobody's reading ends for
    /// want of room, and in the end every fetch has exactly one receipt and nothing is held.
    #[test]
    fn the_bound_holds_and_every_end_has_one_receipt(steps in prop::collection::vec(step(), 1..120)) {
        const MAX: u64 = 100 * 1024;
        let world = small_world(100);
        let mut fills: Vec<(Fill, Vec<u8>)> = Vec::new();
        let mut readers = Vec::new();
        let mut receipts = Vec::new();
        for step in steps {
            match step {
                Step::Open { id } => {
                    let bytes = content(usize::from(id) * 5_000);
                    let life = hour(world.clock.now());
                    match world.cache.open(key(1, id.into()), &meta(&bytes), life) {
                        Opened::Lead(fill, reader) => { fills.push((fill, bytes)); readers.push(reader); }
                        Opened::Hit(reader) | Opened::Joined(reader) => readers.push(reader),
                        Opened::Bypass(Bypass::NoRoom) => {}
                        other => prop_assert!(false, "{:?}", other),
                    }
                }
                Step::Push { which } => if !fills.is_empty() {
                    let at = which.index(fills.len());
                    let (fill, left) = &mut fills[at];
                    let piece: Vec<u8> = left.drain(..left.len().min(9_000)).collect();
                    // Only its end may refuse it.
                    prop_assert!(matches!(fill.push(&piece), Ok(()) | Err(EndReason::Deadline)));
                },
                Step::Finish { which } => if let Some((mut fill, left)) = take(&mut fills, which) {
                    let done = fill.push(&left).and_then(|()| fill.finish());
                    prop_assert!(matches!(done, Ok(()) | Err(EndReason::Deadline)));
                },
                Step::Abandon { which } => drop(take(&mut fills, which)),
                Step::Leave { which } => if let Some(mut reader) = take(&mut readers, which) {
                    let (_, stop) = drain(&mut reader);
                    prop_assert!(stop != Stop::Ended(EndReason::Evicted));
                },
                Step::Pass { seconds } => {
                    world.time.advance(Duration::from_secs(seconds));
                    world.cache.sweep();
                }
            }
            let stats = world.cache.stats();
            prop_assert!(stats.reserved_bytes <= MAX, "{:?}", stats);
            prop_assert!(stats.held_bytes <= stats.reserved_bytes, "{:?}", stats);
            receipts.extend(world.receipts());
            prop_assert_eq!(stats.leads, stats.entries + count(receipts.len()));
        }
        drop(fills);
        world.cache.purge(Scope::All, PurgeOrder::Shutdown);
        receipts.extend(world.receipts());
        let stats = world.cache.stats();
        prop_assert_eq!((stats.entries, stats.held_bytes, stats.reserved_bytes), (0, 0, 0));
        prop_assert_eq!(stats.leads, count(receipts.len()));
        prop_assert_eq!(stats.ended.iter().sum::<u64>(), stats.leads);
    }
}
