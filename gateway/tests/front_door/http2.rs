//! The rules hold in HTTP/2 too, and floods end the connection that sends them.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout};

use crate::frames::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, PREFACE, RST_STREAM, Reader, block,
    frame,
};
use crate::harness::{InMemory, Listening, PATIENCE, Recorder};

/// How a stream ended.
#[derive(Debug, Eq, PartialEq)]
enum Outcome {
    Answered(String),
    Reset,
    GoAway,
    /// Answered by the HTTP/2 library, without a body.
    AnsweredEmpty,
}

/// Sends one request as the first stream of a connection.
async fn outcome(recorder: &Recorder, fields: &[(&str, &str)], body: Option<&[u8]>) -> Outcome {
    let server = Listening::clear_text(recorder.clone()).await;
    let mut stream = server.connect().await.stream;
    let mut bytes = [PREFACE, &frame(4, 0, 0, &[])].concat();
    let end = if body.is_some() { 0 } else { END_STREAM };
    bytes.extend(frame(HEADERS, END_HEADERS | end, 1, &block(fields)));
    bytes.extend(
        body.map(|body| frame(DATA, END_STREAM, 1, body))
            .unwrap_or_default(),
    );
    stream.write_all(&bytes).await.unwrap();
    let mut frames = Reader::new(stream);
    let mut text = Vec::new();
    timeout(PATIENCE, async {
        while let Some(received) = frames.next().await {
            match received.kind {
                RST_STREAM => return Outcome::Reset,
                GOAWAY if received.code(4) != 0 => return Outcome::GoAway,
                HEADERS if received.flags & END_STREAM != 0 => return Outcome::AnsweredEmpty,
                DATA => {
                    text.extend(received.payload);
                    if received.flags & END_STREAM != 0 {
                        return Outcome::Answered(String::from_utf8(text).unwrap());
                    }
                }
                _ => {}
            }
        }
        panic!("closed without a word");
    })
    .await
    .unwrap()
}

const GET: [(&str, &str); 4] = [
    (":method", "GET"),
    (":scheme", "http"),
    (":authority", "h"),
    (":path", "/1"),
];
const POST: [(&str, &str); 4] = [
    (":method", "POST"),
    (":scheme", "http"),
    (":authority", "h"),
    (":path", "/1"),
];

fn with<'a>(base: &[(&'a str, &'a str)], extra: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let kept = base
        .iter()
        .filter(|(name, _)| name.starts_with(':') && !extra.iter().any(|(other, _)| other == name));
    let mut all: Vec<_> = kept
        .chain(extra.iter().filter(|(name, _)| name.starts_with(':')))
        .copied()
        .collect();
    all.extend(extra.iter().filter(|(name, _)| !name.starts_with(':')));
    all
}

#[tokio::test]
async fn good_requests_are_answered() {
    let recorder = Recorder::default();
    assert_eq!(
        outcome(&recorder, &GET, None).await,
        Outcome::Answered("ok GET /1 0".to_owned())
    );
    let same_host = with(&GET, &[("host", "h")]);
    assert_eq!(
        outcome(&recorder, &same_host, None).await,
        Outcome::Answered("ok GET /1 0".to_owned())
    );
    let sized = with(&POST, &[("content-length", "5")]);
    assert_eq!(
        outcome(&recorder, &sized, Some(b"hello")).await,
        Outcome::Answered("ok POST /1 5".to_owned())
    );
    assert_eq!(
        outcome(&recorder, &POST, Some(b"hello")).await,
        Outcome::Answered("ok POST /1 5".to_owned())
    );
    assert_eq!(recorder.seen().len(), 4);
}

#[tokio::test]
async fn ambiguous_requests_are_refused() {
    for (fields, slug) in [
        (with(&GET, &[("host", "other")]), "host_mismatch"),
        (with(&GET, &[("host", "h"), ("host", "h")]), "host_repeated"),
        (vec![GET[0], GET[1], GET[3]], "host_missing"),
        (vec![GET[0], GET[1], GET[3], ("host", "h")], "host_missing"),
        (with(&GET, &[(":authority", "u@h")]), "host_invalid"),
        (with(&GET, &[(":scheme", "ftp")]), "target_form"),
        (with(&GET, &[(":method", "PUT")]), "method"),
        (with(&GET, &[(":method", "get")]), "method"),
        (with(&GET, &[(":method", "CURFEW-REFUSED")]), "method"),
        (with(&GET, &[(":path", "/a/../b")]), "dot_segment"),
        (with(&GET, &[(":path", "//a")]), "empty_segment"),
        (with(&GET, &[(":path", "/a%2fb")]), "path_escape"),
        (with(&GET, &[(":path", "/a;b")]), "path_parameter"),
        (with(&GET, &[(":path", "/a\\b")]), "target_byte"),
        (with(&GET, &[("content-length", "5")]), "unexpected_body"),
        (with(&POST, &[("expect", "100-continue, x")]), "expect"),
        (with(&POST, &[("content-encoding", "gzip")]), "content_encoding"),
        (with(&POST, &[("content-length", "104923137")]), "body_too_large"),
    ] {
        let recorder = Recorder::default();
        // A stream that ends with its head would contradict the lengths.
        let open = fields
            .iter()
            .any(|(name, value)| *name == "content-length" && *value != "0");
        let body = open.then_some(&b""[..]);
        let got = if open {
            refused_with_open_stream(&recorder, &fields).await
        } else {
            outcome(&recorder, &fields, body).await
        };
        assert_eq!(got, Outcome::Answered(format!("refused {slug}")), "{fields:?}");
        assert!(recorder.seen().is_empty(), "{fields:?}");
    }
}

/// Sends a request whose body never comes.
async fn refused_with_open_stream(recorder: &Recorder, fields: &[(&str, &str)]) -> Outcome {
    let server = Listening::clear_text(recorder.clone()).await;
    let mut stream = server.connect().await.stream;
    let request = frame(HEADERS, END_HEADERS, 1, &block(fields));
    stream
        .write_all(&[PREFACE, &frame(4, 0, 0, &[]), &request].concat())
        .await
        .unwrap();
    let mut frames = Reader::new(stream);
    while let Some(received) = frames.next().await {
        if received.kind == DATA {
            return Outcome::Answered(String::from_utf8(received.payload).unwrap());
        }
    }
    panic!("closed without a word");
}

#[tokio::test]
async fn a_get_may_end_in_a_frame_of_its_own() {
    let recorder = Recorder::default();
    let got = outcome(&recorder, &GET, Some(b"")).await;
    assert_eq!(got, Outcome::Answered("ok GET /1 0".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_get_that_does_not_end_is_late() {
    let recorder = Recorder::default();
    let mut connection = InMemory::connect(&recorder);
    let request = frame(HEADERS, END_HEADERS, 1, &block(&GET));
    connection
        .client
        .send(&[PREFACE, &frame(4, 0, 0, &[]), &request].concat())
        .await;
    let start = Instant::now();
    let mut frames = Reader::new(connection.client.stream);
    loop {
        let received = frames.next().await.unwrap();
        if received.kind == DATA {
            assert_eq!(received.payload, b"refused body_timeout");
            break;
        }
        if received.kind == PING && received.flags == 0 {
            frames
                .stream
                .write_all(&frame(PING, 1, 0, &received.payload))
                .await
                .unwrap();
        }
    }
    assert_eq!(start.elapsed().as_secs(), 30);
    assert!(recorder.seen().is_empty());
}

#[tokio::test]
async fn a_get_with_data_is_refused() {
    let recorder = Recorder::default();
    assert_eq!(
        outcome(&recorder, &GET, Some(b"x")).await,
        Outcome::Answered("refused unexpected_body".to_owned())
    );
    assert!(recorder.seen().is_empty());
}

#[tokio::test]
async fn malformed_requests_end_the_stream_or_the_connection() {
    for fields in [
        with(&GET, &[("Upper-Case", "x")]),
        with(&GET, &[("connection", "close")]),
        with(&GET, &[("transfer-encoding", "chunked")]),
        with(&GET, &[("upgrade", "h2c")]),
        with(&GET, &[("te", "gzip")]),
        with(&GET, &[("x", "a\r\nb: c")]),
        with(&GET, &[("x", "a\0b")]),
        with(&GET, &[(":path", "/a b")]),
        with(&GET, &[(":path", "")]),
        with(&GET, &[(":path", "x")]),
        with(&GET, &[(":method", "GE T")]),
        [&GET[..], &[(":path", "/2")]].concat(),
        [&GET[..], &[("x", "y"), (":path", "/2")]].concat(),
        with(&GET, &[(":unknown", "x")]),
    ] {
        let recorder = Recorder::default();
        let got = outcome(&recorder, &fields, None).await;
        let refused = matches!(&got, Outcome::Answered(text) if text.starts_with("refused "));
        assert!(
            refused || matches!(got, Outcome::Reset | Outcome::GoAway),
            "{fields:?}: {got:?}"
        );
        assert!(recorder.seen().is_empty(), "{fields:?}");
    }
}

#[tokio::test]
async fn a_body_of_another_length_than_announced_is_not_seen() {
    for length in ["4", "6"] {
        let recorder = Recorder::default();
        let fields = with(&POST, &[("content-length", length)]);
        let got = outcome(&recorder, &fields, Some(b"hello")).await;
        assert!(
            !matches!(&got, Outcome::Answered(text) if text.starts_with("ok")),
            "{got:?}"
        );
        assert!(recorder.seen().is_empty());
    }
}

#[tokio::test]
async fn heads_are_bounded_in_number_and_size() {
    let recorder = Recorder::default();
    let many = |count: usize| with(&GET, &vec![("a", "b"); count]);
    assert_eq!(
        outcome(&recorder, &many(64), None).await,
        Outcome::Answered("ok GET /1 0".to_owned())
    );
    assert_eq!(
        outcome(&recorder, &many(65), None).await,
        Outcome::Answered("refused too_many_headers".to_owned())
    );
    let large = "a".repeat(16_300);
    assert_eq!(
        outcome(&recorder, &with(&GET, &[("a", &large)]), None).await,
        Outcome::AnsweredEmpty
    );
    assert_eq!(recorder.seen().len(), 1);
}

#[tokio::test]
async fn a_body_above_the_limit_is_refused() {
    let limits = curfew::server::FrontDoorLimits {
        upload_bytes: 10,
        ..Default::default()
    };
    let recorder = Recorder::with(limits);
    assert_eq!(
        outcome(&recorder, &POST, Some(b"0123456789")).await,
        Outcome::Answered("ok POST /1 10".to_owned())
    );
    let over = outcome(&recorder, &POST, Some(b"0123456789a")).await;
    assert_eq!(over, Outcome::Answered("refused body_too_large".to_owned()));
}

/// Sends `head`, then `piece` as often as `count`, while reading; how many pieces were sent when the server said
/// goodbye with an error.
async fn flood(head: &[u8], count: usize, piece: impl Fn(usize) -> Vec<u8>) -> Option<usize> {
    let server = Listening::clear_text(Recorder::default()).await;
    let (read, mut write) = server.connect().await.stream.into_split();
    let mut frames = Reader::new(read);
    write
        .write_all(&[PREFACE, &frame(4, 0, 0, &[]), head].concat())
        .await
        .unwrap();
    let reading = tokio::spawn(async move {
        while let Some(received) = frames.next().await {
            if received.kind == GOAWAY && received.code(4) != 0 {
                return;
            }
        }
    });
    for sent in 0..count {
        if reading.is_finished() || write.write_all(&piece(sent)).await.is_err() {
            return Some(sent);
        }
        // The server is on the same thread.
        tokio::task::yield_now().await;
    }
    timeout(PATIENCE, reading).await.ok().map(|_| count)
}

#[tokio::test]
async fn rapid_resets_end_the_connection() {
    // Many at once, so that the server cannot accept each stream before its reset arrives.
    let ended = flood(&[], 20, |batch| {
        let streams = batch * 50..(batch + 1) * 50;
        streams
            .flat_map(|index| {
                let stream = u32::try_from(index * 2 + 1).unwrap();
                let request = frame(HEADERS, END_HEADERS, stream, &block(&POST));
                [request, frame(RST_STREAM, 0, stream, &[0, 0, 0, 8])].concat()
            })
            .collect()
    })
    .await;
    assert!(ended.is_some(), "1000 resets were borne");
}

#[tokio::test]
async fn a_flood_of_continuations_ends_the_connection() {
    let begin = frame(HEADERS, END_STREAM, 1, &block(&GET));
    let ended = flood(&begin, 2000, |_| frame(CONTINUATION, 0, 1, &block(&[("a", "b")]))).await;
    assert!(ended.is_some(), "2000 continuations were borne");
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_unread_pings_stops_at_the_socket() {
    let recorder = Recorder::default();
    let mut connection = InMemory::connect(&recorder);
    connection
        .client
        .send(&[PREFACE, &frame(4, 0, 0, &[])].concat())
        .await;
    let ping = frame(PING, 0, 0, b"12345678");
    let mut sent = 0;
    // The clock moves only when the server has stopped reading, because nobody reads its answers.
    while timeout(Duration::from_secs(1), connection.client.stream.write_all(&ping))
        .await
        .is_ok()
    {
        sent += 1;
        assert!(sent < 200_000, "all pings were taken in");
    }
}

#[tokio::test]
async fn two_hundred_thousand_pings_leave_the_connection_usable() {
    const PINGS: usize = 200_000;
    let server = Listening::clear_text(Recorder::default()).await;
    let (read, mut write) = server.connect().await.stream.into_split();
    let writing = tokio::spawn(async move {
        write
            .write_all(&[PREFACE, &frame(4, 0, 0, &[])].concat())
            .await
            .unwrap();
        let batch = frame(PING, 0, 0, b"12345678").repeat(1000);
        for _ in 0..PINGS / 1000 {
            write.write_all(&batch).await.unwrap();
        }
        write
            .write_all(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(&GET)))
            .await
            .unwrap();
        write
    });
    let mut frames = Reader::new(tokio::io::BufReader::new(read));
    let mut pongs = 0;
    loop {
        let received = frames.next().await.expect("the connection stays open");
        match received.kind {
            PING if received.flags == 1 => pongs += 1,
            DATA => break,
            _ => {}
        }
    }
    assert_eq!(pongs, PINGS);
    drop(writing.await.unwrap());
}

#[tokio::test]
async fn a_wrong_preface_is_closed_without_an_answer() {
    let server = Listening::clear_text(Recorder::default()).await;
    let mut stream = server.connect().await.stream;
    stream
        .write_all(b"INVALID CONNECTION PREFACE\r\n\r\n")
        .await
        .unwrap();
    let mut received = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut received))
        .await
        .unwrap()
        .unwrap();
    assert!(received.is_empty());
}
