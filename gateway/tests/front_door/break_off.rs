//! An answer whose bytes may not be kept any longer takes its connection along, if the client takes nothing; else it harms
//! nobody.
//!
//! Connections are in memory and tokio's clock is paused: the times are exact and cost nothing.

use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::time::{Instant, sleep};

use crate::frames::{DATA, END_HEADERS, END_STREAM, HEADERS, PING, PREFACE, Reader, block, frame};
use crate::harness::{GOOD, GOOD_ANSWER, InMemory, Recorder, in_short};

const SETTINGS: u8 = 4;
const WINDOW_UPDATE: u8 = 8;
const SETTINGS_INITIAL_WINDOW_SIZE: u16 = 4;

const ENDING: &[u8] = b"GET /ending HTTP/1.1\r\nHost: a\r\n\r\n";
const SECOND: Duration = Duration::from_secs(1);
const LARGE: usize = 8 * 1024 * 1024;

/// Waits for the end of a connection whose answer's end comes now.
async fn ended_in_time(recorder: &Recorder, connection: InMemory) {
    assert!(!connection.served.is_finished());
    recorder.gate.notify_one();
    let start = Instant::now();
    connection.ended().await;
    assert!(start.elapsed() < SECOND, "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_stalled_client_is_left_at_the_end_and_not_when_its_time_is_over() {
    let recorder = Recorder::default();
    let mut connection = InMemory::connect(&recorder);
    connection.client.send(ENDING).await;
    // The clock goes on only when the server has written what there is room for.
    sleep(SECOND).await;
    ended_in_time(&recorder, connection).await;
}

#[tokio::test(start_paused = true)]
async fn an_end_after_the_last_byte_harms_nobody() {
    let recorder = Recorder::default();
    let mut connection = InMemory::connect(&recorder);
    connection.client.send(ENDING).await;
    let answer = connection.client.answer().await.unwrap();
    assert_eq!(answer.body.len(), LARGE);
    recorder.gate.notify_waiters();
    sleep(SECOND).await;
    connection.client.send(GOOD).await;
    let answer = connection.client.answer().await.unwrap();
    assert_eq!(in_short(&[answer]), [GOOD_ANSWER]);
}

#[tokio::test(start_paused = true)]
async fn an_end_of_what_was_written_before_harms_no_later_answer() {
    let recorder = Recorder::default();
    let mut connection = InMemory::connect(&recorder);
    // The second has come before the first is written.
    connection
        .client
        .send(&[ENDING, b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n"].concat())
        .await;
    connection.client.answer().await.unwrap();
    sleep(SECOND).await;
    recorder.gate.notify_waiters();
    sleep(SECOND).await;
    let answer = connection.client.answer().await.unwrap();
    assert_eq!((answer.status, answer.body.len()), (200, LARGE));
}

/// Asks over HTTP/2 for `path` on stream 1, with windows of this size.
async fn ask(connection: &mut InMemory, path: &str, window: u32) {
    let mut bytes = PREFACE.to_vec();
    let mut setting = SETTINGS_INITIAL_WINDOW_SIZE.to_be_bytes().to_vec();
    setting.extend(window.to_be_bytes());
    bytes.extend(frame(SETTINGS, 0, 0, &setting));
    let head = block(&[
        (":method", "GET"),
        (":scheme", "http"),
        (":authority", "a"),
        (":path", path),
    ]);
    bytes.extend(frame(HEADERS, END_HEADERS | END_STREAM, 1, &head));
    connection.client.send(&bytes).await;
}

#[tokio::test(start_paused = true)]
async fn a_stalled_stream_is_left_at_the_end_too_whatever_else_goes_on() {
    let recorder = Recorder::default();
    let mut connection = InMemory::connect(&recorder);
    ask(&mut connection, "/ending", 1).await;
    sleep(SECOND).await;
    ended_in_time(&recorder, connection).await;
}

#[tokio::test(start_paused = true)]
async fn what_a_stream_was_given_to_its_last_byte_is_still_held() {
    let recorder = Recorder::default();
    let mut connection = InMemory::connect(&recorder);
    // Small enough for hyper to take all of it, and to have done with its body.
    ask(&mut connection, "/ending-small", 1).await;
    sleep(SECOND).await;
    ended_in_time(&recorder, connection).await;
}

#[tokio::test(start_paused = true)]
async fn a_slow_client_that_goes_on_taking_gets_everything() {
    const STEP: u32 = 8 * 1024;
    let recorder = Recorder::default();
    let mut connection = InMemory::connect(&recorder);
    ask(&mut connection, "/large", STEP).await;
    let (near, mut far) = tokio::io::split(connection.client.stream);
    let mut reader = Reader::new(near);
    let mut update = frame(WINDOW_UPDATE, 0, 1, &STEP.to_be_bytes());
    update.extend(frame(WINDOW_UPDATE, 0, 0, &STEP.to_be_bytes()));
    let mut got = 0;
    // Four minutes: many times what a client may take nothing.
    while got < 2 * 1024 * 1024 {
        let received = reader.next().await.expect("the connection goes on");
        if received.kind == DATA {
            got += received.payload.len();
            sleep(SECOND * u32::try_from(received.payload.len()).unwrap() / STEP).await;
            far.write_all(&update).await.unwrap();
        } else if received.kind == PING && received.flags == 0 {
            far.write_all(&frame(PING, 1, 0, &received.payload))
                .await
                .unwrap();
        }
    }
}
