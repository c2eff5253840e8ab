//! Good traffic passes, and the limits are exact to the byte.

use std::time::Duration;

use curfew::server::FrontDoorLimits;
use tokio::io::AsyncReadExt;
use tokio::time::timeout;

use crate::harness::{GOOD, GOOD_ANSWER, InMemory, Listening, PATIENCE, Recorder, in_short};

/// Requests, and the method, target and body that the service must see of them.
const GOOD_REQUESTS: &[(&[u8], &str, &str, &[u8])] = &[
    (b"GET /v24.0/1?fields=id,name HTTP/1.1\r\nHost: h\r\n\r\n", "GET", "/v24.0/1?fields=id,name", b""),
    (b"GET /1 HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\n\r\n", "GET", "/1", b""),
    (b"GET /1 HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n", "GET", "/1", b""),
    (b"DELETE /1 HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n\r\n", "DELETE", "/1", b""),
    (b"DELETE /1/block_users HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello", "DELETE", "/1/block_users", b"hello"),
    (b"POST /1/register HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n", "POST", "/1/register", b""),
    (b"POST /1 HTTP/1.1\r\nhost: h\r\ncontent-length: 5\r\n\r\nhello", "POST", "/1", b"hello"),
    (b"POST /1 HTTP/1.1\r\nHost:\th \r\nContent-Length:5\t\r\n\r\nhello", "POST", "/1", b"hello"),
    (
        b"POST /1 HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: Chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n",
        "POST",
        "/1",
        b"hello",
    ),
    (
        b"POST /1 HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5;a=\"b\"\r\nhello\r\n0;c\r\nA: b\r\nContent-Length: 9\r\n\r\n",
        "POST",
        "/1",
        b"hello",
    ),
    (
        b"POST /1 HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nTrailer: A\r\nTE: trailers\r\n\r\n0005\r\nhello\r\n000\r\n\r\n",
        "POST",
        "/1",
        b"hello",
    ),
    (
        b"POST /upload%3AMTph HTTP/1.1\r\nHost: h\r\nUser-Agent: \xc3\xa9\r\nContent-Length: 2\r\n\r\n\r\n",
        "POST",
        "/upload%3AMTph",
        b"\r\n",
    ),
    (
        b"GET /media/1/sig?t=1?access_token=a|b HTTP/1.1\r\nHost: other.example\r\nAuthorization: Bearer \r\n\r\n",
        "GET",
        "/media/1/sig?t=1?access_token=a|b",
        b"",
    ),
    (b"GET /1 HTTP/1.1\r\nHost: h\r\nConnection: keep-alive\r\n\r\n", "GET", "/1", b""),
];

#[tokio::test]
async fn good_requests_reach_the_service_one_after_the_other() {
    let server = Listening::clear_text(Recorder::default()).await;
    let mut client = server.connect().await;
    for (raw, method, target, body) in GOOD_REQUESTS {
        client.send(raw).await;
        let answer = timeout(PATIENCE, client.answer()).await.unwrap().unwrap();
        assert_eq!(
            answer.body,
            format!("ok {method} {target} {}", body.len()),
            "{}",
            raw.escape_ascii()
        );
    }
    assert_all_were_seen(&server.recorder);
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let server = Listening::clear_text(Recorder::default()).await;
    let mut client = server.connect().await;
    let all: Vec<u8> = GOOD_REQUESTS.iter().flat_map(|(raw, ..)| raw.to_vec()).collect();
    client.send(&all).await;
    for (_, method, target, body) in GOOD_REQUESTS {
        let answer = timeout(PATIENCE, client.answer()).await.unwrap().unwrap();
        assert_eq!(answer.body, format!("ok {method} {target} {}", body.len()));
    }
    assert_all_were_seen(&server.recorder);
}

#[tokio::test(start_paused = true)]
async fn a_byte_at_a_time_is_as_good() {
    let recorder = Recorder::default();
    let mut connection = InMemory::connect(&recorder);
    for (raw, ..) in GOOD_REQUESTS {
        connection.client.send_in_pieces(raw, || 1).await;
        assert_eq!(connection.client.answer().await.unwrap().status, 200);
    }
    assert_all_were_seen(&recorder);
}

fn assert_all_were_seen(recorder: &Recorder) {
    let seen = recorder.seen();
    assert_eq!(seen.len(), GOOD_REQUESTS.len());
    for (seen, (_, method, target, body)) in seen.iter().zip(GOOD_REQUESTS) {
        assert_eq!(
            (seen.method.as_str(), seen.target.as_str(), &seen.body[..]),
            (*method, *target, *body)
        );
    }
}

#[tokio::test]
async fn head_is_answered_without_a_body() {
    let server = Listening::clear_text(Recorder::default()).await;
    let mut client = server.connect().await;
    client
        .send(&[b"HEAD /1 HTTP/1.1\r\nHost: h\r\n\r\n", GOOD].concat())
        .await;
    assert_eq!(client.answer_to_head().await.unwrap().status, 200);
    assert_eq!(in_short(&[client.answer().await.unwrap()]), [GOOD_ANSWER]);
}

#[tokio::test]
async fn http_1_0_gets_one_answer_and_a_close() {
    let server = Listening::clear_text(Recorder::default()).await;
    for extra in [
        "",
        "Connection: keep-alive\r\n",
        "Keep-Alive: timeout=5\r\nconnection: Keep-Alive\r\n",
    ] {
        let mut client = server.connect().await;
        let raw = format!("GET /1 HTTP/1.0\r\nHost: h\r\n{extra}\r\n");
        client.send(&[raw.as_bytes(), raw.as_bytes()].concat()).await;
        let answers = timeout(PATIENCE, client.answers()).await.unwrap();
        assert_eq!(in_short(&answers), [(200, "ok GET /1 0")], "{extra}");
    }
    assert_eq!(server.recorder.seen().len(), 3);
}

#[tokio::test]
async fn a_mebibyte_passes_in_every_odd_chunking() {
    let body: Vec<u8> = (0..1024 * 1024)
        .map(|index: u32| index.to_le_bytes()[1])
        .collect();
    let server = Listening::clear_text(Recorder::default()).await;
    let mut client = server.connect().await;
    for size in [7, 1000, 4096, 8191, 65_537, 1024 * 1024] {
        let mut raw = b"POST /1 HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        // Extensions are bounded per body; the smallest chunks go without.
        let extension = if size < 1000 { "" } else { ";n" };
        for chunk in body.chunks(size) {
            raw.extend_from_slice(format!("{:x}{extension}\r\n", chunk.len()).as_bytes());
            raw.extend_from_slice(chunk);
            raw.extend_from_slice(b"\r\n");
        }
        raw.extend_from_slice(b"0\r\nA: b\r\n\r\n");
        raw.extend_from_slice(GOOD);
        client.send(&raw).await;
        assert_eq!(
            in_short(&[client.answer().await.unwrap()]),
            [(200, "ok POST /1 1048576")]
        );
        assert_eq!(in_short(&[client.answer().await.unwrap()]), [GOOD_ANSWER]);
        assert!(
            server.recorder.seen().iter().rev().nth(1).unwrap().body == body,
            "chunks of {size}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_is_only_asked_for_when_it_is_read() {
    let recorder = Recorder::default();
    let mut connection = InMemory::connect(&recorder);
    let head = b"POST /judge HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nExpect: 100-Continue\r\n\r\n";
    connection.client.send(head).await;
    recorder.arrived.notified().await;
    let mut byte = [0];
    let early = timeout(Duration::from_secs(600), connection.client.stream.read(&mut byte)).await;
    assert!(early.is_err(), "the body was asked for before anybody read it");
    recorder.gate.notify_one();
    let asked = connection.client.answer().await.unwrap();
    assert_eq!((asked.status, asked.body.as_str()), (100, ""));
    connection.client.send(b"hello").await;
    assert_eq!(
        in_short(&[connection.client.answer().await.unwrap()]),
        [(200, "ok POST /judge 5")]
    );
    connection.client.send(GOOD).await;
    assert_eq!(
        in_short(&[connection.client.answer().await.unwrap()]),
        [GOOD_ANSWER]
    );
}

#[tokio::test]
async fn a_body_that_nobody_reads_is_never_asked_for() {
    let server = Listening::clear_text(Recorder::default()).await;
    let mut client = server.connect().await;
    client
        .send(b"POST /deaf HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
        .await;
    let answers = timeout(PATIENCE, client.answers()).await.unwrap();
    assert_eq!(in_short(&answers), [(403, "not read")]);
}

#[tokio::test(start_paused = true)]
async fn the_body_of_the_next_request_does_not_close_the_connection() {
    let recorder = Recorder::default();
    let mut connection = InMemory::connect(&recorder);
    let client = &mut connection.client;
    // The second head is read while the first request is being answered; its body is still to come.
    client.send(b"GET /wait HTTP/1.1\r\nHost: h\r\n\r\n").await;
    recorder.arrived.notified().await;
    let (head, body) = GOOD.split_at(GOOD.len() - 5);
    client.send_in_pieces(head, || head.len()).await;
    recorder.gate.notify_one();
    let first = client.answer().await.unwrap();
    assert!(!first.head.contains("connection: close"), "{}", first.head);
    client.send(body).await;
    assert_eq!(in_short(&[client.answer().await.unwrap()]), [GOOD_ANSWER]);
}

/// Sends alone, and behind a good request in the same write; gives the status of both.
async fn statuses(limits: &FrontDoorLimits, raw: &[u8]) -> [u16; 2] {
    let server = Listening::clear_text(Recorder::with(limits.clone())).await;
    let mut alone = server.connect().await;
    alone.send(raw).await;
    let first = timeout(PATIENCE, alone.answer()).await.unwrap().unwrap();
    let mut behind = server.connect().await;
    behind.send(&[GOOD, raw].concat()).await;
    assert_eq!(in_short(&[behind.answer().await.unwrap()]), [GOOD_ANSWER]);
    let second = timeout(PATIENCE, behind.answer()).await.unwrap().unwrap();
    [first.status, second.status]
}

#[tokio::test]
async fn the_size_of_a_head_is_limited_to_the_byte() {
    let head_of = |size: usize| {
        let frame = "GET /1 HTTP/1.1\r\nHost: h\r\nA: \r\n\r\n".len();
        format!(
            "GET /1 HTTP/1.1\r\nHost: h\r\nA: {}\r\n\r\n",
            "a".repeat(size - frame)
        )
        .into_bytes()
    };
    let limits = FrontDoorLimits::default();
    assert_eq!(statuses(&limits, &head_of(16_384)).await, [200; 2]);
    assert_eq!(statuses(&limits, &head_of(16_385)).await, [431; 2]);
    assert_eq!(statuses(&limits, &head_of(500_000)).await, [431; 2]);
    let larger = FrontDoorLimits {
        head_bytes: 100_000,
        ..limits
    };
    assert_eq!(statuses(&larger, &head_of(100_000)).await, [200; 2]);
    assert_eq!(statuses(&larger, &head_of(100_001)).await, [431; 2]);
}

#[tokio::test]
async fn the_number_of_headers_is_limited_exactly() {
    let head_with = |count: usize| {
        let others: String = (1..count).map(|index| format!("A{index}: b\r\n")).collect();
        format!("GET /1 HTTP/1.1\r\nHost: h\r\n{others}\r\n").into_bytes()
    };
    let limits = FrontDoorLimits::default();
    assert_eq!(statuses(&limits, &head_with(64)).await, [200; 2]);
    assert_eq!(statuses(&limits, &head_with(65)).await, [431; 2]);
    let more = FrontDoorLimits {
        headers: 120,
        ..limits
    };
    assert_eq!(statuses(&more, &head_with(120)).await, [200; 2]);
    assert_eq!(statuses(&more, &head_with(121)).await, [431; 2]);
}

#[tokio::test]
async fn the_length_of_a_target_is_limited_to_the_byte() {
    let head_with =
        |length: usize| format!("GET /{} HTTP/1.1\r\nHost: h\r\n\r\n", "a".repeat(length - 1)).into_bytes();
    let limits = FrontDoorLimits::default();
    assert_eq!(statuses(&limits, &head_with(2048)).await, [200; 2]);
    assert_eq!(statuses(&limits, &head_with(2049)).await, [414; 2]);
    assert_eq!(statuses(&limits, &head_with(70_000)).await, [414; 2]);
}

#[tokio::test]
async fn the_size_of_a_body_is_limited_to_the_byte() {
    let limits = FrontDoorLimits {
        upload_bytes: 1000,
        ..FrontDoorLimits::default()
    };
    let sized = |size: usize| {
        format!(
            "POST /1 HTTP/1.1\r\nHost: h\r\nContent-Length: {size}\r\n\r\n{}",
            "b".repeat(size)
        )
        .into_bytes()
    };
    let chunked = |size: usize| {
        let (first, second) = (600, size - 600);
        let (a, b) = ("b".repeat(first), "b".repeat(second));
        let head = "POST /1 HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
        format!("{head}{first:x}\r\n{a}\r\n{second:x}\r\n{b}\r\n0\r\n\r\n").into_bytes()
    };
    assert_eq!(statuses(&limits, &sized(1000)).await, [200; 2]);
    assert_eq!(statuses(&limits, &sized(1001)).await, [413; 2]);
    assert_eq!(statuses(&limits, &chunked(1000)).await, [200; 2]);
    assert_eq!(statuses(&limits, &chunked(1001)).await, [413; 2]);
}

#[tokio::test]
async fn connections_above_the_limit_wait_for_one_to_end() {
    let limits = FrontDoorLimits {
        connections: 1,
        ..FrontDoorLimits::default()
    };
    let server = Listening::clear_text(Recorder::with(limits)).await;
    let mut first = server.connect().await;
    first.send(GOOD).await;
    assert_eq!(in_short(&[first.answer().await.unwrap()]), [GOOD_ANSWER]);
    let mut second = server.connect().await;
    second.send(GOOD).await;
    // Whoever is served next, it is not the second connection: this answer comes on the first.
    first.send(GOOD).await;
    assert_eq!(in_short(&[first.answer().await.unwrap()]), [GOOD_ANSWER]);
    assert_eq!(server.recorder.seen().len(), 2);
    drop(first);
    assert_eq!(in_short(&[second.answer().await.unwrap()]), [GOOD_ANSWER]);
}
