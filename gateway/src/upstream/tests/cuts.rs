//! A message is accepted once at most, wherever its exchange is cut, and exactly once when nothing of it had been written.

use std::sync::mpsc;

use super::*;

/// How the server treats the connection that the message goes out on first: whole exchanges before, then so many bytes.
#[derive(Clone, Copy, Debug)]
struct Plan {
    before: usize,
    reads: usize,
    writes: usize,
    cut: Cut,
}

/// What became of a message, how many connections it took, and how often it was accepted.
async fn cut(is_tls: bool, plan: Plan) -> (Outcome, usize, usize) {
    let script = move |mut peer: Peer, number, seen: Arc<Seen>| async move {
        if number > 0 {
            return seen.serve_all(&mut peer).await;
        }
        for _ in 0..plan.before {
            seen.serve(&mut peer).await.unwrap();
        }
        peer.ration(plan.reads, plan.writes);
        seen.serve_all(&mut peer).await;
        peer.cut(plan.cut).await;
    };
    let meta = if is_tls {
        Meta::tls(script)
    } else {
        Meta::clear(script)
    };
    let client = meta.client();
    for _ in 0..plan.before {
        assert_eq!(meta.send(&client).await, Outcome::success());
    }
    let outcome = meta.send(&client).await;
    (
        outcome,
        meta.seen.connections(),
        meta.seen.accepted() - plan.before,
    )
}

/// How many bytes the message and its answer are on the wire.
async fn lengths(is_tls: bool) -> (usize, usize) {
    let (tell, told) = mpsc::channel();
    let script = move |mut peer: Peer, _, seen: Arc<Seen>| {
        let tell = tell.clone();
        async move {
            seen.serve(&mut peer).await.unwrap();
            peer.ration(1 << 20, 1 << 20);
            seen.serve(&mut peer).await.unwrap();
            let left = (peer.rationed().reads, peer.rationed().writes);
            tell.send(left).unwrap();
        }
    };
    let meta = if is_tls {
        Meta::tls(script)
    } else {
        Meta::clear(script)
    };
    let client = meta.client();
    for _ in 0..2 {
        assert_eq!(meta.send(&client).await, Outcome::success());
    }
    let (reads, writes) = told.recv().unwrap();
    ((1 << 20) - reads, (1 << 20) - writes)
}

/// Cuts at each of these offsets, on a new connection and on one that was used before. Returns how many cuts there were.
/// Under TLS only on used ones: a server may read of the message what it was to read of the handshake.
async fn cut_at(is_tls: bool, step: usize) -> usize {
    let (request, answer) = lengths(is_tls).await;
    assert!(request > 130 && answer > 80, "{request} {answer}");
    let mut cuts = 0;
    for cut_by in [Cut::Reset, Cut::End] {
        for before in usize::from(is_tls)..2 {
            for reads in (0..request).step_by(step) {
                let plan = Plan {
                    before,
                    reads,
                    writes: usize::MAX,
                    cut: cut_by,
                };
                let (outcome, connections, accepted) = cut(is_tls, plan).await;
                assert!(accepted <= 1, "{plan:?}: {outcome:?}, accepted {accepted}");
                if reads > 0 {
                    // The server has bytes of it.
                    assert_eq!(
                        (&outcome, connections, accepted),
                        (&Outcome::Broken, 1, 0),
                        "{plan:?}"
                    );
                } else {
                    // Whether a byte was written before the cut came is a race, which the outcome must tell.
                    let expected = if accepted == 1 {
                        Outcome::success()
                    } else {
                        Outcome::Broken
                    };
                    assert_eq!(outcome, expected, "{plan:?}");
                    assert_eq!(connections, 1 + accepted, "{plan:?}");
                }
                cuts += 1;
            }
            for writes in (0..answer).step_by(step) {
                let plan = Plan {
                    before,
                    reads: usize::MAX,
                    writes,
                    cut: cut_by,
                };
                let (outcome, connections, accepted) = cut(is_tls, plan).await;
                assert_eq!((connections, accepted), (1, 1), "{plan:?}: {outcome:?}");
                assert!(
                    matches!(outcome, Outcome::Broken | Outcome::Torn),
                    "{plan:?}: {outcome:?}"
                );
                cuts += 1;
            }
        }
    }
    cuts
}

#[tokio::test]
async fn a_message_is_accepted_once_at_most_wherever_its_exchange_is_cut() {
    let cuts = cut_at(false, 1).await;
    println!("{cuts} cuts in clear text");
}

#[tokio::test]
async fn a_message_is_accepted_once_at_most_wherever_its_exchange_is_cut_under_tls() {
    let cuts = cut_at(true, 1).await;
    println!("{cuts} cuts under TLS");
}

/// A connection that was used, then cut by the server while idle. Returns when it is cut, without having let the client's
/// runtime look at the socket.
async fn idle_connection_cut(by: Cut) -> (Meta, Upstream) {
    let (tell, told) = mpsc::channel();
    let (go, gone) = tokio::sync::watch::channel(false);
    let meta = Meta::clear(move |mut peer, number, seen| {
        let (tell, mut gone) = (tell.clone(), gone.clone());
        async move {
            if number > 0 {
                return seen.serve_all(&mut peer).await;
            }
            seen.serve(&mut peer).await.unwrap();
            gone.wait_for(|gone| *gone).await.unwrap();
            peer.cut(by).await;
            tell.send(()).unwrap();
        }
    });
    let client = meta.client();
    assert_eq!(meta.send(&client).await, Outcome::success());
    assert_eq!(meta.idle(&client), 1);
    go.send(true).unwrap();
    told.recv().unwrap();
    (meta, client)
}

#[tokio::test]
async fn what_could_not_be_written_is_sent_once_more() {
    let (meta, client) = idle_connection_cut(Cut::Reset).await;
    // The pool cannot know, and the first write fails.
    assert_eq!(meta.send(&client).await, Outcome::success());
    assert_eq!((meta.seen.connections(), meta.seen.accepted()), (2, 2));
}

#[tokio::test]
async fn a_connection_that_was_seen_to_end_is_not_used() {
    for by in [Cut::Reset, Cut::End] {
        let (meta, client) = idle_connection_cut(by).await;
        // The runtime looks at the socket.
        let uri = meta.origin.parse().unwrap();
        let host = client.shared.pool.host(&uri).unwrap();
        let mut line = host.take();
        soon(async {
            while line.as_mut().is_some_and(super::super::line::Line::is_quiet) {
                tokio::task::yield_now().await;
            }
        })
        .await;
        if let Some(line) = line {
            host.keep(line);
        }
        assert_eq!(meta.send(&client).await, Outcome::success(), "{by:?}");
        assert_eq!((meta.seen.connections(), meta.seen.accepted()), (2, 2), "{by:?}");
    }
}

#[tokio::test]
async fn what_was_written_to_a_connection_that_had_ended_is_not_sent_again() {
    let (meta, client) = idle_connection_cut(Cut::End).await;
    // The socket takes the bytes: nobody knows what becomes of them.
    assert_eq!(meta.send(&client).await, Outcome::Broken);
    assert_eq!((meta.seen.connections(), meta.seen.accepted()), (1, 1));
}

#[tokio::test]
async fn without_a_connection_nothing_is_sent() {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let mut meta = Meta::clear(|_, _, _| async {});
    let client = meta.client();
    meta.origin = format!("http://{address}");
    assert_eq!(meta.send(&client).await, Outcome::Unsent);
    // A server that speaks no TLS, or is not who it should be.
    meta.origin = meta.origin.replace("http:", "https:");
    assert_eq!(meta.send(&client).await, Outcome::Unsent);
    let mut stranger = Meta::tls(|_, _, _| async {});
    stranger.roots = RootCertStore::empty();
    let client = stranger.client();
    assert_eq!(stranger.send(&client).await, Outcome::Unsent);
}

#[tokio::test]
async fn a_connection_that_is_cut_before_it_can_be_used_is_opened_again_a_few_times() {
    for by in [Cut::Reset, Cut::End] {
        let mut meta = Meta::clear(move |peer, _, _| peer.cut(by));
        let client = meta.client();
        meta.origin = meta.origin.replace("http:", "https:");
        assert_eq!(meta.send(&client).await, Outcome::Unsent);
        assert_eq!(meta.seen.connections(), super::super::TRIES, "{by:?}");
    }
}
