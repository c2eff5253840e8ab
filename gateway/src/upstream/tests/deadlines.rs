//! Every phase of an exchange ends by itself: what a server does that takes its time, and when the client has had enough.

use tokio::time::Instant;

use super::super::ANSWER_TIMEOUT;
use super::*;

#[tokio::test]
async fn a_tls_handshake_that_hangs_ends_and_nothing_was_sent() {
    // It accepts, and never says anything: under TLS the script is never run.
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let origin = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    let meta = Meta::tls(|_, _, _| async {});
    let request = Request::post(origin).body(Outbound::json(Bytes::from_static(MESSAGE.as_bytes())));
    let client = meta.client();
    tokio::time::pause();
    let start = Instant::now();
    let answer = client.clone().call(request.unwrap()).await;
    assert!(matches!(answer, Err(ExchangeError::Unsent(_))));
    // Looking up and connecting have five seconds of their own.
    assert!(
        start.elapsed() <= Duration::from_secs(10),
        "{:?}",
        start.elapsed()
    );
}

#[tokio::test]
async fn a_request_that_is_not_taken_ends() {
    let meta = Meta::clear(|mut peer, number, seen| async move {
        if number == 0 {
            seen.serve(&mut peer).await.unwrap();
        }
        std::future::pending::<()>().await;
    });
    let client = meta.client();
    assert_eq!(meta.send(&client).await, Outcome::success());
    tokio::time::pause();
    let start = Instant::now();
    // More than what the kernel buffers.
    let body = Outbound::json(Bytes::from(vec![b' '; 64 << 20]));
    let answer = client.clone().call(meta.request(Method::POST, body)).await;
    assert!(matches!(answer, Err(ExchangeError::Broken(_))));
    assert!(start.elapsed() <= 3 * ANSWER_TIMEOUT, "{:?}", start.elapsed());
    assert_eq!(meta.idle(&client), 0);
}

#[tokio::test]
async fn an_answer_that_stops_half_way_is_torn_and_its_connection_not_used_again() {
    for (head, body) in [
        ("Content-Length: 100", "{\"a\":"),
        ("Transfer-Encoding: chunked", "3\r\n{\"a\r\n"),
    ] {
        let meta = Meta::clear(move |mut peer, number, seen| async move {
            if number == 0 {
                seen.serve(&mut peer).await.unwrap();
                peer.request().await.unwrap();
                let answer = format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n{body}");
                peer.write(&answer).await.unwrap();
            }
            peer.ended().await;
        });
        let client = meta.client();
        assert_eq!(meta.send(&client).await, Outcome::success());
        let answer = meta.start_send(&client).await.unwrap();
        tokio::time::pause();
        let start = Instant::now();
        assert!(collect(answer.into_body(), 1000).await.is_err());
        assert_eq!(start.elapsed().as_secs(), ANSWER_TIMEOUT.as_secs(), "{head}");
        assert_eq!(meta.idle(&client), 0);
        tokio::time::resume();
    }
}
