//! One fetch for all who ask meanwhile, and nobody harms another.

use std::sync::Barrier;

use futures_util::StreamExt as _;
use http_body::Frame;
use http_body_util::StreamBody;

use super::*;

#[test]
fn of_a_hundred_callers_one_leads() {
    let world = world();
    let bytes = content(500_000);
    let barrier = Barrier::new(100);
    let opened: Vec<Opened> = std::thread::scope(|scope| {
        let callers: Vec<_> = (0..100)
            .map(|_| {
                scope.spawn(|| {
                    barrier.wait();
                    world.open(1, &bytes)
                })
            })
            .collect();
        callers.into_iter().map(|caller| caller.join().unwrap()).collect()
    });
    let mut fill = None;
    let mut readers = Vec::new();
    for opened in opened {
        match opened {
            Opened::Lead(only, reader) => {
                assert!(fill.replace(only).is_none(), "two lead");
                readers.push(reader);
            }
            Opened::Joined(reader) => readers.push(reader),
            other => panic!("{other:?}"),
        }
    }
    let mut fill = fill.unwrap();
    let mut got = vec![Vec::new(); readers.len()];
    for piece in bytes.chunks(70_000) {
        fill.push(piece).unwrap();
        for (reader, got) in readers.iter_mut().zip(&mut got) {
            got.extend(drain(reader).0);
        }
    }
    // They all stream before the fetch has ended.
    assert!(
        got.iter()
            .all(|got| got.len() > 400_000 && got.len() < bytes.len())
    );
    fill.finish().unwrap();
    for (reader, mut got) in readers.iter_mut().zip(got) {
        let (rest, stop) = drain(reader);
        got.extend(rest);
        assert_eq!(stop, Stop::Complete);
        assert!(got == bytes);
    }
    let stats = world.cache.stats();
    assert_eq!((stats.leads, stats.joins, stats.hits), (1, 99, 0));
    assert_eq!(stats.held_bytes, count(bytes.len()));
}

#[test]
fn numbers_share_no_copy() {
    let world = world();
    world.put(1, b"bytes");
    let other = world.cache.open(key(2, 1), &meta(b"bytes"), hour(START));
    assert!(matches!(other, Opened::Lead(..)));
}

#[test]
fn who_leaves_or_is_slow_harms_no_other() {
    let world = world();
    let bytes = content(400_000);
    let (mut fill, leader) = world.lead(1, &bytes);
    let mut leaver = joined(world.open(1, &bytes));
    let mut slow = joined(world.open(1, &bytes));
    let mut steady = joined(world.open(1, &bytes));
    drop(leader);
    fill.push(&bytes[..200_000]).unwrap();
    assert!(step(&mut leaver).is_some());
    drop(leaver);
    let (mut got, stop) = drain(&mut steady);
    assert_eq!(stop, Stop::Waits);
    fill.push(&bytes[200_000..]).unwrap();
    fill.finish().unwrap();
    let (rest, stop) = drain(&mut steady);
    got.extend(rest);
    assert_eq!((got == bytes, stop), (true, Stop::Complete));
    assert_eq!(drain(&mut slow), (bytes, Stop::Complete));
}

#[test]
fn a_fetch_that_nobody_reads_any_more_is_still_kept() {
    let world = world();
    let (mut fill, reader) = world.lead(1, b"bytes");
    drop(reader);
    fill.push(b"bytes").unwrap();
    fill.finish().unwrap();
    assert_eq!(
        drain(&mut world.hit(1, b"bytes")),
        (b"bytes".to_vec(), Stop::Complete)
    );
}

#[test]
fn a_failed_fetch_fails_its_readers_and_is_not_kept() {
    let world = world();
    let bytes = content(200_000);
    let failed = |failure| EndReason::Failed(failure);
    for failure in [
        Failure::Abandoned,
        Failure::Missing,
        Failure::Unusable("the media host redirects"),
    ] {
        let (mut fill, mut leader) = world.lead(1, &bytes);
        let mut joined = joined(world.open(1, &bytes));
        fill.push(&bytes[..150_000]).unwrap();
        assert_eq!(drain(&mut joined).1, Stop::Waits);
        if failure == Failure::Abandoned {
            drop(fill);
        } else {
            fill.fail(failure);
        }
        assert_eq!(drain(&mut joined), (vec![], Stop::Ended(failed(failure))));
        assert_eq!(drain(&mut leader), (vec![], Stop::Ended(failed(failure))));
        assert_eq!(world.reasons(), [failed(failure)]);
    }
    // The next is a fetch of its own.
    assert!(matches!(world.open(1, &bytes), Opened::Lead(..)));
}

#[test]
fn a_failure_before_the_first_byte_is_told_before_the_answer_begins() {
    let world = world();
    let (fill, mut leader) = world.lead(1, b"bytes");
    assert_eq!(leader.ready().now_or_never(), None);
    fill.fail(Failure::Missing);
    let told = leader.ready().now_or_never();
    assert_eq!(told, Some(Err(EndReason::Failed(Failure::Missing))));
    let (mut fill, mut leader) = world.lead(1, b"bytes");
    fill.push(b"bytes").unwrap();
    // Small enough for one chunk: what is wrong with it is told before the answer begins as well.
    assert_eq!(leader.ready().now_or_never(), None);
    fill.finish().unwrap();
    assert_eq!(leader.ready().now_or_never(), Some(Ok(())));
}

#[test]
fn what_is_not_to_be_kept_is_not_shared() {
    let world = world();
    let open = |meta: &MediaContent, life| match world.cache.open(key(1, 1), meta, life) {
        Opened::Bypass(bypass) => bypass,
        other => panic!("{other:?}"),
    };
    let sized = |size| MediaContent {
        size,
        ..meta(b"bytes")
    };
    assert_eq!(open(&sized(None), hour(START)), Bypass::SizeUnknown);
    assert_eq!(open(&sized(Some(0)), hour(START)), Bypass::Empty);
    assert_eq!(open(&sized(Some(16 * MIB + 1)), hour(START)), Bypass::TooLarge);
    let never = Life {
        at_most: Duration::ZERO,
        ..hour(START)
    };
    assert_eq!(open(&meta(b"bytes"), never), Bypass::NoTime);
    let over = Life {
        ends: START,
        at_most: HOUR,
    };
    assert_eq!(open(&meta(b"bytes"), over), Bypass::NoTime);
    world.put(1, b"bytes");
    assert_eq!(open(&meta(b"bites"), hour(START)), Bypass::Disagrees);
    assert_eq!(world.cache.stats().bypasses, 6);
    assert_eq!(world.receipts(), []);
}

#[tokio::test(start_paused = true)]
async fn readers_are_woken_by_each_chunk_and_by_the_check() {
    let world = world();
    let bytes = content(100_000);
    let (mut fill, mut reader) = world.lead(1, &bytes);
    let (sender, mut frames) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Some(Ok(frame)) = reader.frame().await {
            sender.send(frame.into_data().unwrap().len()).unwrap();
        }
    });
    // Paused time jumps to the timeout once everybody waits.
    assert!(tokio::time::timeout(HOUR / 4, frames.recv()).await.is_err());
    fill.push(&bytes).unwrap();
    assert_eq!(
        tokio::time::timeout(HOUR / 4, frames.recv()).await,
        Ok(Some(65_536))
    );
    assert!(tokio::time::timeout(HOUR / 4, frames.recv()).await.is_err());
    fill.finish().unwrap();
    assert_eq!(
        tokio::time::timeout(HOUR / 4, frames.recv()).await,
        Ok(Some(100_000 - 65_536))
    );
    assert_eq!(tokio::time::timeout(HOUR / 4, frames.recv()).await, Ok(None));
}

#[tokio::test]
async fn many_readers_read_along() {
    let world = world();
    let bytes = content(3_000_000);
    let (fill, leader) = world.lead(1, &bytes);
    let mut readers = vec![leader];
    readers.extend((0..20).map(|_| joined(world.open(1, &bytes))));
    let readers: Vec<_> = readers
        .into_iter()
        .map(|reader| tokio::spawn(async move { reader.collect().await.unwrap().to_bytes() }))
        .collect();
    let pieces: Vec<_> = bytes.chunks(40_000).map(Bytes::copy_from_slice).collect();
    let body = futures_util::stream::iter(pieces).then(|piece| async {
        // Lets readers run between any two pieces.
        tokio::task::yield_now().await;
        Ok::<_, Infallible>(Frame::data(piece))
    });
    assert_eq!(fill.run(StreamBody::new(body), HOUR).await, Ok(()));
    for reader in readers {
        assert!(reader.await.unwrap() == bytes);
    }
}

#[tokio::test(start_paused = true)]
async fn a_media_host_that_breaks_off_or_stalls_fails_the_fetch() {
    let world = world();
    let (fill, mut reader) = world.lead(1, b"bytes");
    let broken = futures_util::stream::iter([Ok(Frame::data(Bytes::from_static(b"by"))), Err("reset")]);
    let broken_off = EndReason::Failed(Failure::BrokenOff);
    assert_eq!(fill.run(StreamBody::new(broken), HOUR).await, Err(broken_off));
    assert_eq!(drain(&mut reader), (vec![], Stop::Ended(broken_off)));
    let (fill, mut reader) = world.lead(1, b"bytes");
    let silent = futures_util::stream::pending::<Result<Frame<Bytes>, Infallible>>();
    let stalled = EndReason::Failed(Failure::Stalled);
    assert_eq!(fill.run(StreamBody::new(silent), HOUR).await, Err(stalled));
    assert_eq!(drain(&mut reader), (vec![], Stop::Ended(stalled)));
}

#[tokio::test(start_paused = true)]
async fn a_purge_stops_a_fetch_that_stalls() {
    let world = world();
    let (fill, _reader) = world.lead(1, b"bytes");
    let silent = futures_util::stream::pending::<Result<Frame<Bytes>, Infallible>>();
    let fetch = tokio::spawn(fill.run(StreamBody::new(silent), HOUR));
    tokio::task::yield_now().await;
    world.cache.purge(Scope::All, PurgeOrder::Request);
    assert_eq!(fetch.await.unwrap(), Err(EndReason::Purged(PurgeOrder::Request)));
    assert_eq!(world.reasons(), [EndReason::Purged(PurgeOrder::Request)]);
}
