//! Each row of the corpus on a new, a reused and a pipelined connection, in one piece and in many.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

use crate::corpus::{self, Refused};
use crate::harness::{Client, GOOD, GOOD_ANSWER, InMemory, Listening, PATIENCE, Recorder, in_short};

/// Sent behind each bad request: what a smuggler wants to be read as a request.
const SMUGGLED: &[u8] = b"GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n";

fn with_smuggled(case: &Refused) -> Vec<u8> {
    [case.raw, SMUGGLED].concat()
}

/// The answer to the bad request itself. Who sends no HTTP/1 in the first place gets none.
fn expected(case: &Refused, is_first: bool) -> Option<(u16, String)> {
    let silent = is_first && case.slug == "not_http";
    (!silent).then(|| (case.status, format!("refused {}", case.slug)))
}

async fn check(
    client: &mut Client<impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin>,
    case: &Refused,
    good_before: usize,
    way: &str,
) {
    let answers = timeout(PATIENCE, client.answers())
        .await
        .unwrap_or_else(|_| panic!("{} ({way}) hangs", case.name));
    let mut wanted = vec![(GOOD_ANSWER.0, GOOD_ANSWER.1.to_owned()); good_before];
    wanted.extend(expected(case, good_before == 0 && way != "reused"));
    let got: Vec<_> = answers
        .iter()
        .map(|answer| (answer.status, answer.body.clone()))
        .collect();
    assert_eq!(got, wanted, "{} ({way})", case.name);
}

fn assert_only_good_was_seen(recorder: &Recorder, good: usize, name: &str) {
    assert_eq!(recorder.targets(), vec!["/good"; good], "{name}");
}

#[test]
fn the_corpus_is_large_and_its_names_are_unique() {
    let names: std::collections::HashSet<_> = corpus::refused().map(|case| case.name).collect();
    assert_eq!(names.len(), corpus::refused().count());
    assert!(names.len() >= 60, "{}", names.len());
}

#[tokio::test]
async fn a_refused_request_is_never_seen_on_a_new_connection() {
    for case in corpus::refused() {
        let server = Listening::clear_text(Recorder::default()).await;
        let mut client = server.connect().await;
        client.send(&with_smuggled(case)).await;
        check(&mut client, case, 0, "new").await;
        assert_only_good_was_seen(&server.recorder, 0, case.name);
    }
}

#[tokio::test]
async fn a_refused_request_is_never_seen_on_a_reused_connection() {
    for case in corpus::refused() {
        let server = Listening::clear_text(Recorder::default()).await;
        let mut client = server.connect().await;
        client.send(GOOD).await;
        let good = client.answer().await.unwrap();
        assert_eq!(in_short(&[good]), [GOOD_ANSWER]);
        client.send(&with_smuggled(case)).await;
        check(&mut client, case, 0, "reused").await;
        assert_only_good_was_seen(&server.recorder, 1, case.name);
    }
}

#[tokio::test]
async fn a_refused_request_is_never_seen_on_a_pipelined_connection() {
    for case in corpus::refused() {
        let server = Listening::clear_text(Recorder::default()).await;
        let mut client = server.connect().await;
        client.send(&[GOOD, GOOD, &with_smuggled(case)].concat()).await;
        check(&mut client, case, 2, "pipelined").await;
        assert_only_good_was_seen(&server.recorder, 2, case.name);
    }
}

#[tokio::test(start_paused = true)]
async fn a_byte_at_a_time_makes_no_difference() {
    for case in corpus::refused() {
        let recorder = Recorder::default();
        let mut connection = InMemory::connect(&recorder);
        connection
            .client
            .send_in_pieces(&[GOOD, &with_smuggled(case)].concat(), || 1)
            .await;
        check(&mut connection.client, case, 1, "byte by byte").await;
        assert_only_good_was_seen(&recorder, 1, case.name);
    }
}

#[test]
fn the_way_the_bytes_are_cut_makes_no_difference() {
    let cases: Vec<&Refused> = corpus::refused().collect();
    let inputs = (
        prop::sample::select(cases),
        0usize..3,
        prop::collection::vec(1usize..60, 1..20),
    );
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    let mut runner = TestRunner::new(Config {
        cases: 300,
        failure_persistence: None,
        ..Config::default()
    });
    runner
        .run(&inputs, |(case, good, cuts)| {
            runtime.block_on(async {
                let recorder = Recorder::default();
                let mut connection = InMemory::connect(&recorder);
                let mut bytes = GOOD.repeat(good);
                bytes.extend(with_smuggled(case));
                let mut cuts = cuts.into_iter().cycle();
                connection
                    .client
                    .send_in_pieces(&bytes, || cuts.next().unwrap())
                    .await;
                check(&mut connection.client, case, good, "in pieces").await;
                assert_only_good_was_seen(&recorder, good, case.name);
            });
            Ok(())
        })
        .unwrap();
}

#[tokio::test]
async fn a_refusal_in_the_middle_of_an_upload_reaches_the_client() {
    // More than any socket buffer holds: closing without reading it would reset the connection.
    let server = Listening::clear_text(Recorder::default()).await;
    for (head, status) in [
        (
            "POST /x HTTP/1.1\r\nHost: h\r\nContent-Encoding: gzip\r\nContent-Length: 16777216\r\n\r\n",
            415,
        ),
        (
            "POST /deaf HTTP/1.1\r\nHost: h\r\nContent-Length: 16777216\r\n\r\n",
            403,
        ),
        (
            "POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 999999999\r\n\r\n",
            413,
        ),
    ] {
        let mut client = server.connect().await;
        client.send(head.as_bytes()).await;
        // A client that cannot write all may never look at the answer.
        let upload = client.stream.write_all(&vec![b'x'; 16 * 1024 * 1024]).await;
        assert!(upload.is_ok(), "{head}: {upload:?}");
        let answers = timeout(PATIENCE, client.answers()).await.unwrap();
        assert_eq!(
            answers.iter().map(|answer| answer.status).collect::<Vec<_>>(),
            [status]
        );
        assert!(
            answers[0].head.contains("connection: close"),
            "{}",
            answers[0].head
        );
    }
}

#[tokio::test]
async fn other_connections_do_not_suffer() {
    let server = Listening::clear_text(Recorder::default()).await;
    let mut good = server.connect().await;
    for case in corpus::refused() {
        let mut bad = server.connect().await;
        bad.send(&with_smuggled(case)).await;
        good.send(GOOD).await;
        assert_eq!(in_short(&[good.answer().await.unwrap()]), [GOOD_ANSWER]);
    }
    assert_only_good_was_seen(&server.recorder, corpus::refused().count(), "other connections");
}

impl std::fmt::Debug for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}
