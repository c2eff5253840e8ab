//! What is purged is gone at once, and each end has its receipt.

use super::*;

fn purged(order: PurgeOrder) -> EndReason {
    EndReason::Purged(order)
}

#[test]
fn a_purge_ends_what_it_names_and_nothing_else() {
    let cases = [
        (Scope::Entry(key(1, 1)), vec![key(1, 1)]),
        (Scope::Media(key(1, 1).media), vec![key(1, 1), key(2, 1)]),
        (Scope::Number(key(2, 1).number), vec![key(2, 1), key(2, 2)]),
        (Scope::All, vec![key(1, 1), key(1, 2), key(2, 1), key(2, 2)]),
        (Scope::Entry(key(3, 3)), vec![]),
    ];
    for (scope, expected) in cases {
        let world = world();
        let keys = [key(1, 1), key(1, 2), key(2, 1), key(2, 2)];
        for key in keys {
            let (mut fill, _) = lead(world.cache.open(key, &meta(b"bytes"), hour(START)));
            fill.push(b"bytes").unwrap();
            fill.finish().unwrap();
        }
        let outcome = world.cache.purge(scope, PurgeOrder::Request);
        let entries = count(expected.len());
        assert_eq!(
            outcome,
            Purged {
                entries,
                bytes: 5 * entries
            }
        );
        let mut receipts = world.receipts();
        receipts.sort_by_key(|ended| (ended.key.number, ended.key.media));
        assert_eq!(
            receipts.iter().map(|ended| ended.key).collect::<Vec<_>>(),
            expected
        );
        assert!(receipts.iter().all(|ended| *ended
            == Ended {
                key: ended.key,
                bytes: 5,
                reason: purged(PurgeOrder::Request),
                due: START.after(HOUR),
                at: START,
            }));
        for key in keys {
            assert_eq!(world.cache.find(key).is_none(), expected.contains(&key));
        }
        assert_eq!(world.cache.purge(scope, PurgeOrder::Request), Purged::default());
        assert_eq!(world.receipts(), []);
    }
}

#[test]
fn a_purge_stops_readers_and_what_is_still_coming() {
    let world = world();
    let bytes = content(200_000);
    let (mut fill, mut reader) = world.lead(1, &bytes);
    fill.push(&bytes[..100_000]).unwrap();
    assert!(matches!(step(&mut reader), Some(Some(Ok(_)))));
    let outcome = world
        .cache
        .purge(Scope::Media(key(1, 1).media), PurgeOrder::Delete);
    assert_eq!(
        outcome,
        Purged {
            entries: 1,
            bytes: 100_000
        }
    );
    let deleted = purged(PurgeOrder::Delete);
    assert_eq!(drain(&mut reader), (vec![], Stop::Ended(deleted)));
    assert_eq!(fill.push(&bytes[100_000..]), Err(deleted));
    drop(fill);
    assert_eq!(world.reasons(), [deleted]);
    assert!(world.cache.find(key(1, 1)).is_none());
    // A fill that was purged leaves alone what came after it.
    world.put(1, &bytes);
    assert_eq!(drain(&mut world.hit(1, &bytes)).1, Stop::Complete);
}

#[test]
fn every_reason_is_counted_under_its_name() {
    let world = world();
    for (id, order) in [
        (1, PurgeOrder::Delete),
        (2, PurgeOrder::Deregistration),
        (3, PurgeOrder::PolicyChange),
        (4, PurgeOrder::Request),
        (5, PurgeOrder::Shutdown),
    ] {
        world.put(id, b"bytes");
        world.cache.purge(Scope::All, order);
    }
    drop(world.lead(6, b"bytes"));
    world.put(7, b"bytes");
    world.time.advance(HOUR);
    world.cache.sweep();
    let stats = world.cache.stats();
    let counted = EndReason::SLUGS.iter().zip(stats.ended);
    assert!(
        counted
            .clone()
            .all(|(slug, count)| count == u64::from(*slug != "evicted")),
        "{stats:?}"
    );
    let slugs: Vec<_> = world.receipts().iter().map(|ended| ended.reason.slug()).collect();
    assert_eq!(
        slugs,
        [
            "deleted",
            "deregistered",
            "policy_changed",
            "requested",
            "shutdown",
            "failed",
            "deadline"
        ]
    );
}

#[test]
fn a_receiver_of_receipts_may_call_the_cache() {
    let (clock, _) = Clock::manual(START);
    let limits = CacheLimits {
        max_bytes: MIB,
        object_bytes: MIB,
    };
    let handle: Arc<Mutex<Option<MediaCache>>> = Arc::default();
    let seen: Arc<Mutex<Vec<u64>>> = Arc::default();
    let (inside, entries) = (Arc::clone(&handle), Arc::clone(&seen));
    let cache = MediaCache::new(limits, clock, move |_: &Ended| {
        let cache = inside.lock().unwrap().clone().unwrap();
        entries.lock().unwrap().push(cache.stats().entries);
    });
    *handle.lock().unwrap() = Some(cache.clone());
    for id in 1..=3 {
        let (mut fill, _) = lead(cache.open(key(1, id), &meta(b"bytes"), hour(START)));
        fill.push(b"bytes").unwrap();
        fill.finish().unwrap();
    }
    cache.purge(Scope::All, PurgeOrder::Request);
    assert_eq!(*seen.lock().unwrap(), [2, 1, 0]);
    *handle.lock().unwrap() = None;
}
