//! A connection that pauses gives up its buffers, and nobody can tell from outside: limits, draining and what comes next are as
//! if it had not.
//!
//! Connections are in memory and tokio's clock is paused: the times are exact and cost nothing.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::harness::{GOOD, GOOD_ANSWER, InMemory, Recorder, in_short};

/// Longer than a connection may pause before it rests.
const PAUSE: Duration = Duration::from_secs(1);

async fn answered_once(recorder: &Recorder) -> InMemory {
    let mut connection = InMemory::connect(recorder);
    connection.client.send(GOOD).await;
    assert_good(&mut connection).await;
    connection
}

async fn assert_good(connection: &mut InMemory) {
    let answer = connection.client.answer().await.unwrap();
    assert!(!answer.head.contains("connection:"), "{}", answer.head);
    assert_eq!(in_short(&[answer]), [GOOD_ANSWER]);
}

#[tokio::test(start_paused = true)]
async fn a_rested_connection_answers_again_and_again() {
    let recorder = Recorder::default();
    let mut connection = answered_once(&recorder).await;
    for _ in 0..10 {
        sleep(PAUSE).await;
        connection.client.send(GOOD).await;
        assert_good(&mut connection).await;
    }
    assert_eq!(recorder.seen().len(), 11);
}

#[tokio::test(start_paused = true)]
async fn pipelined_requests_wake_it_together() {
    let recorder = Recorder::default();
    let mut connection = answered_once(&recorder).await;
    sleep(PAUSE).await;
    connection.client.send(&GOOD.repeat(3)).await;
    for _ in 0..3 {
        assert_good(&mut connection).await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_idle_time_counts_from_the_last_answer_however_long_it_rests() {
    let recorder = Recorder::default();
    let connection = answered_once(&recorder).await;
    let start = Instant::now();
    connection.ended().await;
    assert_eq!(start.elapsed().as_secs(), 75);
}

#[tokio::test(start_paused = true)]
async fn the_header_timeout_runs_from_the_byte_that_wakes_it() {
    let recorder = Recorder::default();
    let mut connection = answered_once(&recorder).await;
    sleep(Duration::from_secs(20)).await;
    let start = Instant::now();
    connection.client.send(b"G").await;
    assert_eq!(
        in_short(&connection.client.answers().await),
        [(408, "refused header_timeout")]
    );
    assert_eq!(start.elapsed().as_secs(), 10);
}

#[tokio::test(start_paused = true)]
async fn what_wakes_it_is_judged_as_strictly() {
    let recorder = Recorder::default();
    let mut connection = answered_once(&recorder).await;
    sleep(PAUSE).await;
    connection.client.send(b"GET / HTTP/1.1\nHost: h\r\n\r\n").await;
    assert_eq!(
        in_short(&connection.client.answers().await),
        [(400, "refused line_end")]
    );
}

#[tokio::test(start_paused = true)]
async fn a_resting_connection_ends_at_once_when_the_listener_drains() {
    let recorder = Recorder::default();
    let connection = answered_once(&recorder).await;
    sleep(PAUSE).await;
    let start = Instant::now();
    connection.drain.send_replace(true);
    connection.ended().await;
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_resting_connection_ends_when_its_client_leaves() {
    let recorder = Recorder::default();
    let connection = answered_once(&recorder).await;
    sleep(PAUSE).await;
    let InMemory { client, served, .. } = connection;
    drop(client);
    served.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_slow_answer_is_not_taken_for_a_pause() {
    let recorder = Recorder::default();
    let mut connection = InMemory::connect(&recorder);
    connection
        .client
        .send(b"GET /wait HTTP/1.1\r\nHost: h\r\n\r\n")
        .await;
    recorder.arrived.notified().await;
    sleep(Duration::from_secs(60)).await;
    recorder.gate.notify_one();
    assert_eq!(connection.client.answer().await.unwrap().status, 200);
}
