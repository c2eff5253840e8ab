//! What may have been sent and is not known is said to be not known, and is never sent again; what was begun for a caller who
//! hung up goes on to its end; what reached nobody may be tried again.

use common::TOKEN;
use common::raw::Raw;

use super::*;

#[tokio::test]
async fn an_outcome_that_is_not_known_stays_so_and_is_never_sent_again() {
    for effect in [
        Effect::ResetReply { after_bytes: 20 },
        Effect::TruncateReply { after_bytes: 5 },
        Effect::ResetRequest { after_bytes: 10 },
        Effect::Redirect {
            location: "http://127.0.0.1:9/".to_owned(),
        },
    ] {
        let world = World::pass_through().await;
        let client = world.client();
        world
            .emulator
            .fault(Fault::new(Operation::Send, effect.clone()).times(1));
        for _ in 0..3 {
            let reply = send(&client, "k").await;
            reply.assert_refused(409, 131_000, "outcome_unknown");
            assert!(!is_replayed(&reply));
        }
        until_received(&world, 1).await;
        let received = world
            .reached()
            .iter()
            .filter(|call| call.ends_with("/messages"))
            .count();
        assert_eq!(received, 1, "{effect:?}");
        let body = text("+15550100001", "Hello!");
        let reply = send_to(&client, &messages(DEFAULT), &["k"], &body).await;
        reply.assert_refused(422, 100, "idempotency_other_body");
        assert_eq!(send(&client, "another").await.status, 200);
    }
}

#[tokio::test]
async fn what_could_not_be_sent_at_all_may_be_sent_again() {
    let world = World::start(Setup {
        configure: |config| {
            // Nobody listens there: the port was free, and is not given out again so soon.
            let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
            let address = listener.local_addr().expect("an address");
            config.upstream.graph = format!("http://{address}").parse().expect("an origin");
        },
        ..Setup::default()
    })
    .await;
    for _ in 0..3 {
        let reply = send(&world.client(), "k").await;
        reply.assert_refused(503, 131_016, "upstream_unreachable");
    }
}

/// Sends under a key, on a connection of its own.
async fn begin(world: &World, key: &str) -> Raw {
    let body = text("+15550100001", "Hello").to_string();
    let request = format!(
        "POST {} HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer {TOKEN}\r\nIdempotency-Key: {key}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        messages(DEFAULT),
        body.len()
    );
    let mut caller = Raw::connect(world.gateway.addr).await;
    caller.send(request).await;
    caller
}

/// Sends under a key, waits until it is at Meta, and hangs up.
async fn hang_up(world: &World, key: &str) {
    let caller = begin(world, key).await;
    until_received(world, 1).await;
    drop(caller);
}

/// Until so many sends wait for their turn.
async fn until_waiting(world: &World, sends: u64) {
    let operator = Client::new(world.gateway.admin).anonymous();
    soon(async {
        loop {
            let limits = operator.get("/limits").await.json();
            if limits["numbers"][DEFAULT.to_string()]["waiting"]["sends"] == sends {
                return;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_send_whose_caller_hangs_up_while_it_waits_for_its_turn_was_never_asked_for() {
    let pace = "per_second = 1\nburst = 1\nwhen_limited = \"wait\"\nmax_wait_ms = 2000\n";
    let number = format!("[[number]]\nphone_number_id = \"{DEFAULT}\"\nstorage = {{ mode = \"default\" }}\n");
    let world = World::of(&format!("{number}[number.sends]\n{pace}")).await;
    assert_eq!(send(&world.client(), "first").await.status, 200);
    let caller = begin(&world, "k").await;
    until_waiting(&world, 1).await;
    let meanwhile = send(&world.client(), "k").await;
    meanwhile.assert_refused(409, 100, "idempotency_running");
    drop(caller);
    until_waiting(&world, 0).await;
    world.time.advance(std::time::Duration::from_secs(2));
    let reply = once_over(&world.client(), "k").await;
    assert_eq!(
        (reply.status.as_u16(), is_replayed(&reply)),
        (200, false),
        "{}",
        reply.text()
    );
    assert_eq!(world.emulator.sent().len(), 2);
}

#[tokio::test]
async fn a_send_whose_caller_hangs_up_goes_on_to_its_end() {
    let world = World::pass_through().await;
    let fault = Fault::new(Operation::Send, Effect::Latency { millis: 200 });
    world.emulator.fault(fault.times(1));
    hang_up(&world, "k").await;
    let client = world.client();
    let reply = once_over(&client, "k").await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert!(is_replayed(&reply));
    let sent = world.emulator.sent();
    assert_eq!(sent.len(), 1);
    assert_eq!(reply.json()["messages"][0]["id"], sent[0].wamid);
}

#[tokio::test]
async fn a_send_whose_caller_hangs_up_and_whose_answer_breaks_off_is_not_known() {
    let world = World::pass_through().await;
    for effect in [
        Effect::Latency { millis: 200 },
        Effect::TruncateReply { after_bytes: 5 },
    ] {
        world.emulator.fault(Fault::new(Operation::Send, effect).times(1));
    }
    hang_up(&world, "k").await;
    let reply = once_over(&world.client(), "k").await;
    reply.assert_refused(409, 131_000, "outcome_unknown");
    assert_eq!(world.emulator.sent().len(), 1);
}

#[tokio::test]
async fn the_gateway_ends_after_what_was_begun_for_a_caller_who_hung_up_is_kept() {
    let folder = tempfile::tempdir().expect("a folder");
    let world = World::start(Setup {
        store: StoreConfig::Sqlite {
            path: folder.path().join("curfew.db"),
        },
        ..Setup::default()
    })
    .await;
    let fault = Fault::new(Operation::Send, Effect::Latency { millis: 300 });
    world.emulator.fault(fault.times(1));
    hang_up(&world, "k").await;
    let world = world.restart().await;
    let reply = send(&world.client(), "k").await;
    assert_eq!(
        (reply.status.as_u16(), is_replayed(&reply)),
        (200, true),
        "{}",
        reply.text()
    );
    assert_eq!(world.emulator.sent().len(), 1);
}
