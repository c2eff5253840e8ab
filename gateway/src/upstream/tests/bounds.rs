//! Everything that is kept or waited for has a bound.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::super::{ANSWER_TIMEOUT, in_time};
use super::*;

#[tokio::test]
async fn no_more_exchanges_than_allowed_at_once() {
    let meta = Meta::clear(|mut peer, _, seen| async move { seen.serve_all(&mut peer).await });
    let client = meta.bounded(Bounds {
        exchanges: 1,
        wait: Duration::from_millis(20),
        ..Bounds::default()
    });
    let held = client
        .shared
        .pool
        .turn(client.shared.pool.host(&meta.origin.parse().unwrap()).unwrap());
    let held = held.await.unwrap();
    assert_eq!(meta.send(&client).await, Outcome::Unsent);
    assert_eq!(meta.seen.connections(), 0);
    drop(held);
    // An answer gives its turn back when it has been read, and not before.
    for _ in 0..3 {
        assert_eq!(meta.send(&client).await, Outcome::success());
    }
}

#[tokio::test]
async fn those_who_wait_have_their_turn() {
    let meta = Meta::clear(|mut peer, _, seen| async move { seen.serve_all(&mut peer).await });
    let client = meta.bounded(Bounds {
        exchanges: 2,
        ..Bounds::default()
    });
    let sends = (0..50).map(|_| meta.send(&client));
    for outcome in futures_util::future::join_all(sends).await {
        assert_eq!(outcome, Outcome::success());
    }
    assert!(meta.seen.connections() <= 2, "{}", meta.seen.connections());
    assert_eq!(meta.seen.accepted(), 50);
}

#[tokio::test]
async fn no_more_idle_connections_than_allowed() {
    let meta = Meta::clear(|mut peer, _, seen| async move { seen.serve_all(&mut peer).await });
    let client = meta.bounded(Bounds {
        idle: 2,
        ..Bounds::default()
    });
    let sends = (0..5).map(|_| meta.send(&client));
    futures_util::future::join_all(sends).await;
    let connections = meta.seen.connections();
    assert!((1..=5).contains(&connections), "{connections}");
    assert_eq!(meta.idle(&client), connections.min(2));
}

#[tokio::test]
async fn an_idle_connection_is_closed_in_time() {
    let (tell, mut told) = mpsc::unbounded_channel();
    let meta = Meta::clear(move |mut peer, number, seen| {
        let tell = tell.clone();
        async move {
            seen.serve_all(&mut peer).await;
            tell.send(number).unwrap();
        }
    });
    let client = meta.bounded(Bounds {
        idle_for: Duration::from_millis(10),
        ..Bounds::default()
    });
    for number in 0..2 {
        assert_eq!(meta.send(&client).await, Outcome::success());
        assert_eq!(soon(told.recv()).await, Some(number));
        assert_eq!(meta.idle(&client), 0);
    }
}

#[tokio::test]
async fn a_silent_server_is_not_waited_for_for_ever() {
    let (tell, mut told) = mpsc::unbounded_channel();
    let meta = Meta::clear(move |mut peer, number, seen| {
        let tell = tell.clone();
        async move {
            seen.serve(&mut peer).await.unwrap();
            peer.request().await.unwrap();
            peer.ended().await;
            tell.send(number).unwrap();
        }
    });
    let client = meta.client();
    assert_eq!(meta.send(&client).await, Outcome::success());
    tokio::time::pause();
    let start = Instant::now();
    let body = Outbound::json(Bytes::from_static(MESSAGE.as_bytes()));
    let answer = client.clone().call(meta.request(Method::POST, body)).await;
    assert!(matches!(answer, Err(ExchangeError::Broken(_))));
    // The request went out in the first stretch, and nothing came in the second.
    assert_eq!(start.elapsed().as_secs(), 2 * ANSWER_TIMEOUT.as_secs());
    assert_eq!(told.recv().await, Some(0));
    assert_eq!(meta.idle(&client), 0);
}

#[tokio::test(start_paused = true)]
async fn a_slow_request_is_waited_for_while_it_goes_on() {
    let start = Instant::now();
    let progress = || start.elapsed().as_secs();
    let slow = tokio::time::sleep(ANSWER_TIMEOUT * 5 / 2);
    assert!(in_time(slow, progress).await.is_ok());
    let slow = tokio::time::sleep(ANSWER_TIMEOUT * 5 / 2);
    assert!(in_time(slow, || 7).await.is_err());
}

#[tokio::test]
async fn a_head_without_end_is_not_read_to_its_end() {
    let meta = Meta::clear(|mut peer, _, _| async move {
        peer.request().await.unwrap();
        peer.write("HTTP/1.1 200 OK\r\nX: ").await.unwrap();
        let piece = "x".repeat(1024);
        while peer.write(&piece).await.is_ok() {}
    });
    let client = meta.client();
    assert_eq!(meta.send(&client).await, Outcome::Broken);
    assert_eq!(meta.idle(&client), 0);
}
