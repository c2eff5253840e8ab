//! An answer whose bytes may not be kept any longer takes its connection along, if the client takes nothing; else it harms
//! nobody.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::harness::{GOOD, GOOD_ANSWER, InMemory, Recorder, in_short};

const ENDING: &[u8] = b"GET /ending HTTP/1.1\r\nHost: a\r\n\r\n";

#[tokio::test(start_paused = true)]
async fn a_stalled_client_is_left_at_the_end_and_not_when_its_time_is_over() {
    let recorder = Recorder::default();
    let mut connection = InMemory::connect(&recorder);
    connection.client.send(ENDING).await;
    // The clock goes on only when the server has written what there is room for.
    sleep(Duration::from_secs(1)).await;
    assert!(!connection.served.is_finished());
    recorder.gate.notify_one();
    let start = Instant::now();
    connection.ended().await;
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn an_end_after_the_last_byte_harms_nobody() {
    let recorder = Recorder::default();
    let mut connection = InMemory::connect(&recorder);
    connection.client.send(ENDING).await;
    assert_eq!(
        connection.client.answer().await.unwrap().body.len(),
        8 * 1024 * 1024
    );
    recorder.gate.notify_waiters();
    connection.client.send(GOOD).await;
    assert_eq!(
        in_short(&[connection.client.answer().await.unwrap()]),
        [GOOD_ANSWER]
    );
}

#[tokio::test(start_paused = true)]
async fn an_end_of_what_was_written_before_harms_no_later_answer() {
    let recorder = Recorder::default();
    let mut connection = InMemory::connect(&recorder);
    connection.client.send(ENDING).await;
    connection.client.answer().await.unwrap();
    connection
        .client
        .send(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n")
        .await;
    sleep(Duration::from_secs(1)).await;
    recorder.gate.notify_waiters();
    let answer = connection.client.answer().await.unwrap();
    assert_eq!((answer.status, answer.body.len()), (200, 8 * 1024 * 1024));
}
