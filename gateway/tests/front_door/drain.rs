//! A listener that is told to stop finishes what it has begun, takes nothing new, and does not wait for ever.

use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::frames::{DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, PREFACE, Reader, block, frame};
use crate::harness::{GOOD, GOOD_ANSWER, InMemory, Listening, PATIENCE, Recorder, in_short};
use tokio::io::AsyncWriteExt;

#[tokio::test]
async fn requests_under_way_end_and_new_connections_are_refused() {
    let server = Listening::clear_text(Recorder::default()).await;
    let (address, recorder) = (server.address, server.recorder.clone());
    let mut idle = server.connect().await;
    idle.send(GOOD).await;
    assert_eq!(in_short(&[idle.answer().await.unwrap()]), [GOOD_ANSWER]);
    let mut busy = server.connect().await;
    busy.send(b"GET /wait HTTP/1.1\r\nHost: h\r\n\r\n").await;
    recorder.arrived.notified().await;

    let served = server.stop();
    assert!(
        timeout(PATIENCE, idle.answer()).await.unwrap().is_none(),
        "an idle connection closes"
    );
    timeout(PATIENCE, async {
        while TcpStream::connect(address).await.is_ok() {}
    })
    .await
    .unwrap();
    assert!(!served.is_finished());

    recorder.gate.notify_one();
    let answers = timeout(PATIENCE, busy.answers()).await.unwrap();
    assert_eq!(in_short(&answers), [(200, "ok GET /wait 0")]);
    assert!(
        answers[0].head.contains("connection: close"),
        "{}",
        answers[0].head
    );
    drop((idle, busy));
    assert_eq!(timeout(PATIENCE, served).await.unwrap().unwrap().cut_off, 0);
}

#[tokio::test]
async fn what_does_not_end_is_cut_off() {
    let server = Listening::start(Recorder::default(), None, Duration::from_millis(50)).await;
    let recorder = server.recorder.clone();
    let mut stuck = server.connect().await;
    stuck.send(b"GET /wait HTTP/1.1\r\nHost: h\r\n\r\n").await;
    recorder.arrived.notified().await;
    let served = server.stop();
    assert_eq!(timeout(PATIENCE, served).await.unwrap().unwrap().cut_off, 1);
    assert!(stuck.answer().await.is_none());
}

#[tokio::test]
async fn connections_that_have_said_nothing_do_not_hold_the_drain() {
    let server = Listening::clear_text(Recorder::default()).await;
    let mut silent = server.connect().await;
    // A second connection, answered, shows that the first has been accepted.
    let mut other = server.connect().await;
    other.send(GOOD).await;
    assert_eq!(in_short(&[other.answer().await.unwrap()]), [GOOD_ANSWER]);
    let served = server.stop();
    assert!(timeout(PATIENCE, silent.answer()).await.unwrap().is_none());
    assert_eq!(timeout(PATIENCE, served).await.unwrap().unwrap().cut_off, 0);
}

#[tokio::test(start_paused = true)]
async fn a_head_that_has_begun_is_still_answered() {
    let recorder = Recorder::default();
    let mut connection = InMemory::connect(&recorder);
    let (begin, end) = GOOD.split_at(9);
    connection.client.send_in_pieces(begin, || 9).await;
    connection.drain.send(true).unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    connection.client.send(end).await;
    let answers = connection.client.answers().await;
    assert_eq!(in_short(&answers), [GOOD_ANSWER]);
    assert!(
        answers[0].head.contains("connection: close"),
        "{}",
        answers[0].head
    );
    connection.ended().await;
}

#[tokio::test]
async fn http2_streams_end_and_the_client_is_told() {
    let server = Listening::clear_text(Recorder::default()).await;
    let recorder = server.recorder.clone();
    let mut stream = server.connect().await.stream;
    let fields = [
        (":method", "GET"),
        (":scheme", "http"),
        (":authority", "h"),
        (":path", "/wait"),
    ];
    let request = frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(&fields));
    stream
        .write_all(&[PREFACE, &frame(4, 0, 0, &[]), &request].concat())
        .await
        .unwrap();
    recorder.arrived.notified().await;
    let served = server.stop();
    let mut frames = Reader::new(stream);
    let mut answered = false;
    while let Some(received) = frames.next().await {
        match received.kind {
            PING if received.flags == 0 => {
                frames
                    .stream
                    .write_all(&frame(PING, 1, 0, &received.payload))
                    .await
                    .unwrap();
            }
            GOAWAY => {
                assert_eq!(received.code(4), 0);
                recorder.gate.notify_one();
            }
            DATA => {
                assert_eq!(received.stream, 1);
                assert_eq!(received.payload, b"ok GET /wait 0");
                answered = true;
            }
            _ => {}
        }
    }
    assert!(answered);
    assert_eq!(timeout(PATIENCE, served).await.unwrap().unwrap().cut_off, 0);
}
