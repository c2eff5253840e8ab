//! Nobody can hold a connection for longer than the limits say, and nobody who works is cut off.
//!
//! Connections are in memory and tokio's clock is paused: the times are exact and cost nothing.

use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::time::{Instant, sleep, timeout};

use crate::frames::{HEADERS, PREFACE, frame};
use crate::harness::{GOOD, GOOD_ANSWER, InMemory, Recorder, in_short};

const LATE: (u16, &str) = (408, "refused header_timeout");

#[tokio::test(start_paused = true)]
async fn a_connection_that_says_nothing_ends_after_the_header_timeout() {
    let (start, recorder) = (Instant::now(), Recorder::default());
    let mut connection = InMemory::connect(&recorder);
    assert_eq!(in_short(&connection.client.answers().await), [LATE]);
    assert_eq!(start.elapsed().as_secs(), 10);
}

#[tokio::test(start_paused = true)]
async fn the_header_timeout_runs_from_the_first_byte() {
    let (start, recorder) = (Instant::now(), Recorder::default());
    let mut connection = InMemory::connect(&recorder);
    sleep(Duration::from_secs(8)).await;
    connection.client.send(b"GET /1 HTTP/1.1\r\n").await;
    assert_eq!(in_short(&connection.client.answers().await), [LATE]);
    assert_eq!(start.elapsed().as_secs(), 18);
}

#[tokio::test(start_paused = true)]
async fn a_head_that_trickles_in_is_late() {
    let (start, recorder) = (Instant::now(), Recorder::default());
    let mut connection = InMemory::connect(&recorder);
    let head = b"GET /1 HTTP/1.1\r\nHost: h\r\nA: "
        .iter()
        .chain([b'a'; 1000].iter());
    for byte in head.take(30) {
        connection.client.send(&[*byte]).await;
        sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(in_short(&connection.client.answers().await), [LATE]);
    assert!(start.elapsed().as_secs() <= 31);
    assert!(recorder.seen().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_preface_that_stops_half_way_is_late() {
    let (start, recorder) = (Instant::now(), Recorder::default());
    let mut connection = InMemory::connect(&recorder);
    connection.client.send(&PREFACE[..10]).await;
    assert_eq!(in_short(&connection.client.answers().await), [LATE]);
    assert_eq!(start.elapsed().as_secs(), 10);
}

#[tokio::test(start_paused = true)]
async fn the_next_head_on_a_connection_has_the_same_time() {
    let recorder = Recorder::default();
    let mut connection = InMemory::connect(&recorder);
    connection.client.send(GOOD).await;
    assert_eq!(
        in_short(&[connection.client.answer().await.unwrap()]),
        [GOOD_ANSWER]
    );
    sleep(Duration::from_secs(60)).await;
    let start = Instant::now();
    connection.client.send(b"GET ").await;
    assert_eq!(in_short(&connection.client.answers().await), [LATE]);
    assert_eq!(start.elapsed().as_secs(), 10);
}

#[tokio::test(start_paused = true)]
async fn a_late_head_is_answered_after_the_request_before_it() {
    let recorder = Recorder::default();
    let mut connection = InMemory::connect(&recorder);
    connection
        .client
        .send(b"GET /wait HTTP/1.1\r\nHost: h\r\n\r\nGET /late")
        .await;
    recorder.arrived.notified().await;
    sleep(Duration::from_secs(200)).await;
    recorder.gate.notify_one();
    assert_eq!(
        in_short(&connection.client.answers().await),
        [(200, "ok GET /wait 0"), LATE]
    );
    assert_eq!(recorder.targets(), ["/wait"]);
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_closes_without_an_answer() {
    let recorder = Recorder::default();
    let mut connection = InMemory::connect(&recorder);
    for _ in 0..3 {
        connection.client.send(GOOD).await;
        assert_eq!(
            in_short(&[connection.client.answer().await.unwrap()]),
            [GOOD_ANSWER]
        );
        sleep(Duration::from_secs(74)).await;
    }
    connection.client.send(GOOD).await;
    assert_eq!(
        in_short(&[connection.client.answer().await.unwrap()]),
        [GOOD_ANSWER]
    );
    let start = Instant::now();
    assert!(connection.client.answer().await.is_none());
    assert_eq!(start.elapsed().as_secs(), 75);
    connection.ended().await;
}

#[tokio::test(start_paused = true)]
async fn a_slow_answer_is_not_idleness() {
    let recorder = Recorder::default();
    let mut connection = InMemory::connect(&recorder);
    connection
        .client
        .send(b"GET /wait HTTP/1.1\r\nHost: h\r\n\r\n")
        .await;
    recorder.arrived.notified().await;
    sleep(Duration::from_secs(1000)).await;
    recorder.gate.notify_one();
    assert_eq!(
        in_short(&[connection.client.answer().await.unwrap()]),
        [(200, "ok GET /wait 0")]
    );
    let start = Instant::now();
    assert!(connection.client.answer().await.is_none());
    assert_eq!(start.elapsed().as_secs(), 75);
}

#[tokio::test(start_paused = true)]
async fn a_head_that_begins_just_before_the_idle_end_is_served() {
    let recorder = Recorder::default();
    let mut connection = InMemory::connect(&recorder);
    connection.client.send(GOOD).await;
    assert_eq!(
        in_short(&[connection.client.answer().await.unwrap()]),
        [GOOD_ANSWER]
    );
    sleep(Duration::from_secs(74)).await;
    let (begin, end) = GOOD.split_at(9);
    connection.client.send(begin).await;
    sleep(Duration::from_secs(5)).await;
    connection.client.send(end).await;
    assert_eq!(
        in_short(&[connection.client.answer().await.unwrap()]),
        [GOOD_ANSWER]
    );
}

#[tokio::test(start_paused = true)]
async fn a_body_that_stops_is_late() {
    for head in [
        "POST /1 HTTP/1.1\r\nHost: h\r\nContent-Length: 50\r\n\r\nhello",
        "POST /1 HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        "POST /1 HTTP/1.1\r\nHost: h\r\nContent-Length: 50\r\nExpect: 100-continue\r\n\r\n",
    ] {
        let (start, recorder) = (Instant::now(), Recorder::default());
        let mut connection = InMemory::connect(&recorder);
        connection.client.send(head.as_bytes()).await;
        let answers = connection.client.answers().await;
        assert_eq!(in_short(&answers).last(), Some(&(408, "refused body_timeout")));
        assert_eq!(start.elapsed().as_secs(), 30);
        assert!(recorder.seen().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_take_its_answer_is_cut_off() {
    let recorder = Recorder::default();
    let mut connection = InMemory::connect(&recorder);
    connection
        .client
        .send(b"GET /large HTTP/1.1\r\nHost: h\r\n\r\n")
        .await;
    let start = Instant::now();
    connection.ended().await;
    assert_eq!(start.elapsed().as_secs(), 30);
}

#[tokio::test(start_paused = true)]
async fn a_refused_client_that_never_leaves_is_left() {
    let recorder = Recorder::default();
    let mut connection = InMemory::connect(&recorder);
    connection.client.send(b"GET / HTTP/1.1\nHost: h\r\n\r\n").await;
    assert_eq!(
        in_short(&connection.client.answers().await),
        [(400, "refused line_end")]
    );
    let start = Instant::now();
    // The client keeps its side open and goes on sending.
    while !connection.served.is_finished() {
        let _ = timeout(
            Duration::from_millis(100),
            connection.client.stream.write_all(&[b'x'; 100]),
        )
        .await;
        sleep(Duration::from_millis(100)).await;
    }
    assert!(
        start.elapsed() <= Duration::from_millis(1200),
        "{:?}",
        start.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn an_idle_http2_connection_closes() {
    let recorder = Recorder::default();
    let mut connection = InMemory::connect(&recorder);
    connection
        .client
        .send(&[PREFACE, &frame(4, 0, 0, &[])].concat())
        .await;
    let start = Instant::now();
    let mut frames = crate::frames::Reader::new(connection.client.stream);
    // Pings are answered, as a living client does; that is no use of the connection.
    let mut said_goodbye = false;
    while let Some(received) = frames.next().await {
        if received.kind == 6 && received.flags == 0 {
            frames
                .stream
                .write_all(&frame(6, 1, 0, &received.payload))
                .await
                .unwrap();
        }
        said_goodbye |= received.kind == 7;
    }
    assert!(said_goodbye);
    assert_eq!(start.elapsed().as_secs(), 75);
}

#[tokio::test(start_paused = true)]
async fn an_http2_client_that_answers_no_ping_is_gone() {
    let recorder = Recorder::default();
    let mut connection = InMemory::connect(&recorder);
    let half_a_request = frame(HEADERS, 0, 1, &[0x82]);
    connection
        .client
        .send(&[PREFACE, &frame(4, 0, 0, &[]), &half_a_request].concat())
        .await;
    let start = Instant::now();
    connection.ended().await;
    assert_eq!(start.elapsed().as_secs(), 40);
}

/// Opens no window for answers, or one of so many bytes, and asks; pings are answered, as a living client does.
async fn taking_no_more_than(window: u32, target: &str) -> u64 {
    let recorder = Recorder::default();
    let mut connection = InMemory::connect(&recorder);
    let initial_window_size = [&4_u16.to_be_bytes()[..], &window.to_be_bytes()].concat();
    let request = crate::frames::block(&[
        (":method", "GET"),
        (":scheme", "http"),
        (":authority", "h"),
        (":path", target),
    ]);
    let request = frame(HEADERS, 0x5, 1, &request);
    let opening = [PREFACE, &frame(4, 0, 0, &initial_window_size), &request];
    connection.client.send(&opening.concat()).await;
    let start = Instant::now();
    let mut frames = crate::frames::Reader::new(connection.client.stream);
    while let Some(received) = frames.next().await {
        if received.kind == 6 && received.flags == 0 {
            let pong = frame(6, 1, 0, &received.payload);
            if frames.stream.write_all(&pong).await.is_err() {
                break;
            }
        }
    }
    start.elapsed().as_secs()
}

#[tokio::test(start_paused = true)]
async fn an_http2_client_that_does_not_take_its_answer_is_cut_off() {
    assert_eq!(taking_no_more_than(0, "/1").await, 30);
    // Enough room to begin: the rest is with the HTTP/2 library.
    assert_eq!(taking_no_more_than(1, "/large").await, 30);
}
