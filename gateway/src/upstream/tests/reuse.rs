//! A connection is used again after a whole exchange, and after nothing else.

use tokio::sync::mpsc;

use super::*;

#[tokio::test]
async fn exchanges_in_turn_share_one_connection() {
    for is_tls in [false, true] {
        let script = |mut peer: Peer, _, seen: Arc<Seen>| async move { seen.serve_all(&mut peer).await };
        let meta = if is_tls {
            Meta::tls(script)
        } else {
            Meta::clear(script)
        };
        let client = meta.client();
        for _ in 0..100 {
            assert_eq!(meta.send(&client).await, Outcome::success());
            assert_eq!(meta.idle(&client), 1);
        }
        assert_eq!((meta.seen.connections(), meta.seen.accepted()), (1, 100));
    }
}

/// What the server answers to a method, whether the connection may be used again, and what the client makes of it.
async fn after(method: Method, answer: &'static str, is_reused: bool, expected: Outcome) {
    let script = move |mut peer: Peer, _, _| async move {
        while peer.request().await.is_ok() && peer.write(answer).await.is_ok() {}
    };
    let meta = Meta::clear(script);
    let client = meta.client();
    for _ in 0..3 {
        assert_eq!(meta.get(&client, method.clone()).await, expected, "{answer}");
    }
    let connections = if is_reused { 1 } else { 3 };
    assert_eq!(meta.seen.connections(), connections, "{answer}");
    assert_eq!(meta.idle(&client), usize::from(is_reused), "{answer}");
}

#[tokio::test]
async fn a_whole_answer_leaves_its_connection_to_the_next() {
    let answered = |status, body: &str| Outcome::Answered(status, body.to_owned());
    for (method, answer, expected) in [
        (Method::GET, ANSWER, Outcome::success()),
        (
            Method::GET,
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n",
            answered(200, "abc"),
        ),
        (Method::GET, "HTTP/1.1 204 No Content\r\n\r\n", answered(204, "")),
        (
            Method::GET,
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n",
            answered(304, ""),
        ),
        (
            Method::GET,
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
            answered(200, ""),
        ),
        (
            Method::HEAD,
            "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n",
            answered(200, ""),
        ),
        (
            Method::GET,
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno",
            answered(404, "no"),
        ),
    ] {
        after(method, answer, true, expected).await;
    }
}

#[tokio::test]
async fn whatever_leaves_a_doubt_closes_the_connection() {
    let answered = |status, body: &str| Outcome::Answered(status, body.to_owned());
    for (answer, expected) in [
        (
            "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nab",
            answered(200, "ab"),
        ),
        (
            "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nab",
            answered(200, "ab"),
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nabHTTP/1.1 200 OK\r\n",
            answered(200, "ab"),
        ),
        ("HTTP/1.1 204 No Content\r\n\r\nab", answered(204, "")),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nz\r\n",
            Outcome::Torn,
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nabc",
            Outcome::Broken,
        ),
        ("nonsense\r\n\r\n", Outcome::Broken),
    ] {
        after(Method::GET, answer, false, expected).await;
    }
}

#[tokio::test]
async fn a_body_that_ends_with_its_connection_comes_whole() {
    let meta = Meta::clear(|mut peer, _, _| async move {
        peer.request().await.unwrap();
        peer.write("HTTP/1.1 200 OK\r\n\r\nab").await.unwrap();
        peer.cut(Cut::End).await;
    });
    let client = meta.client();
    assert_eq!(meta.send(&client).await, Outcome::Answered(200, "ab".to_owned()));
    assert_eq!(meta.idle(&client), 0);
}

#[tokio::test]
async fn a_large_answer_comes_whole_and_its_connection_is_used_again() {
    const PIECE: &str = "0123456789abcdef";
    let meta = Meta::clear(|mut peer, _, _| async move {
        while peer.request().await.is_ok() {
            let body = PIECE.repeat(1 << 16);
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
            peer.write(&answer).await.unwrap();
        }
    });
    let client = meta.client();
    for _ in 0..3 {
        let expected = Outcome::Answered(200, PIECE.repeat(1 << 16));
        assert!(meta.send(&client).await == expected, "another body");
    }
    assert_eq!(meta.seen.connections(), 1);
}

#[tokio::test]
async fn an_exchange_that_nobody_waits_for_any_more_is_broken_off() {
    let (tell, mut told) = mpsc::unbounded_channel();
    let (came, mut heads) = mpsc::unbounded_channel();
    let meta = Meta::clear(move |mut peer, number, _| {
        let (tell, came) = (tell.clone(), came.clone());
        async move {
            peer.request().await.unwrap();
            if number == 1 {
                // One byte of the body is missing.
                peer.write(&ANSWER[..ANSWER.len() - 1]).await.unwrap();
            }
            came.send(number).unwrap();
            peer.ended().await;
            tell.send(number).unwrap();
        }
    });
    let client = meta.client();
    // While its head is waited for.
    {
        let mut waiting = std::pin::pin!(meta.start_send(&client));
        tokio::select! {
            _ = &mut waiting => unreachable!("no answer was written"),
            number = heads.recv() => assert_eq!(number, Some(0)),
        }
    }
    assert_eq!(soon(told.recv()).await, Some(0));
    // While its body is.
    let answer = meta.start_send(&client).await.unwrap();
    drop(answer);
    assert_eq!(soon(told.recv()).await, Some(1));
    assert_eq!((meta.idle(&client), meta.seen.connections()), (0, 2));
}

#[tokio::test]
async fn an_answer_that_comes_before_the_request_is_out_is_heard() {
    let (tell, mut told) = mpsc::unbounded_channel();
    let meta = Meta::clear(move |mut peer, number, _| {
        let tell = tell.clone();
        async move {
            peer.head().await.unwrap();
            let answer = "HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nbig";
            peer.write(answer).await.unwrap();
            peer.ended().await;
            tell.send(number).unwrap();
        }
    });
    let client = meta.client();
    // More than the sockets' buffers hold.
    let body = Outbound::json(vec![b' '; 64 << 20].into());
    let answer = soon(client.clone().call(meta.request(Method::POST, body))).await;
    assert_eq!(
        Outcome::of(answer).await,
        Outcome::Answered(413, "big".to_owned())
    );
    // What was still to go out is broken off.
    assert_eq!(soon(told.recv()).await, Some(0));
    assert_eq!(meta.idle(&client), 0);
}

#[tokio::test]
async fn an_idle_tls_session_has_wiped_what_it_read() {
    for answer in [
        ANSWER,
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n",
        "HTTP/1.1 204 No Content\r\n\r\n",
    ] {
        let meta = Meta::tls(move |mut peer: Peer, _, _| async move {
            while peer.request().await.is_ok() && peer.write(answer).await.is_ok() {}
        });
        let client = meta.client();
        let host = client.shared.pool.host(&meta.origin.parse().unwrap()).unwrap();
        for _ in 0..10 {
            assert!(matches!(meta.send(&client).await, Outcome::Answered(..)));
            assert_eq!(meta.idle(&client), 1);
            assert!(host.are_wiped(), "{answer}");
        }
    }
}
