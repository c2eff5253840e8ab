//! Promise: an id that the gateway does not know is nobody's until Meta says whose it is, and guessing wins nothing.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod common;

use bytes::Bytes;
use common::raw::Raw;
use common::{Client, DEFAULT, IN_COUNTRY, NO_STORAGE, Reply, TOKEN, World, soon};
use curfew_emulator::{Effect, Fault, Operation};
use futures_util::future::join_all;

const FIRST_GUESS: u64 = 4_711_000_000_000_001;

/// How often Meta was asked about media.
fn questions(world: &World) -> usize {
    let received = world.emulator.received();
    received
        .iter()
        .filter(|call| call.operation == Operation::MediaMetadata)
        .count()
}

fn receive(world: &World, number: u64) -> u64 {
    world
        .emulator
        .receive_media(number, "image/png", Bytes::from_static(b"an image"))
}

/// A world whose every number has this `unknown_ids`.
async fn world_of(unknown_ids: &str) -> World {
    let media = format!("[number.media]\nunknown_ids = \"{unknown_ids}\"");
    let policies = common::PASS_THROUGH.replace("[number.media]", &media);
    let local = "storage = { mode = \"in_country\", region = \"DE\" }";
    World::of(&policies.replace(local, &format!("{local}\n{media}"))).await
}

#[track_caller]
fn assert_unknown(reply: &Reply) {
    reply.assert_refused(400, 100, "media_not_usable");
    assert_eq!(reply.json()["error"]["error_subcode"], 33);
}

async fn metadata(client: &Client, media: u64, number: u64) -> Reply {
    client
        .get(&format!("/v23.0/{media}?phone_number_id={number}"))
        .await
}

#[tokio::test]
async fn inbound_media_are_theirs_by_metas_answer() {
    let world = World::pass_through().await;
    let client = world.client();
    for (number, minutes) in [
        (NO_STORAGE, 60),
        (IN_COUNTRY, 7 * 24 * 60),
        (DEFAULT, 7 * 24 * 60),
    ] {
        let media = receive(&world, number);
        world.emulator.clear_record();
        let reply = metadata(&client, media, number).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        let asked: Vec<_> = world
            .emulator
            .received()
            .iter()
            .map(|call| (call.path.clone(), call.query.clone().unwrap_or_default()))
            .collect();
        let question = (format!("/v23.0/{media}"), format!("phone_number_id={number}"));
        assert_eq!(asked, [question.clone(), question], "the question, then the call");
        let url = reply.json()["url"].as_str().expect("a URL").to_owned();
        assert_eq!(&client.get(&url).await.body[..], b"an image");
        assert_eq!(client.send_image(number, media).await.status, 200);
        assert_eq!(questions(&world), 2, "a pin is asked for once");

        world.pass_minutes(minutes - 1);
        assert_eq!(client.send_image(number, media).await.status, 200);
        world.pass_minutes(1);
        let late = client.send_image(number, media).await;
        if number == DEFAULT {
            // There, pins inform: Meta itself refuses.
            assert_eq!((late.status.as_u16(), late.reason()), (400, None));
        } else {
            late.assert_refused(400, 100, "media_ended");
        }
    }
}

#[tokio::test]
async fn inbound_media_serve_no_other_number() {
    let world = World::pass_through().await;
    let client = world.client();
    let media = receive(&world, NO_STORAGE);
    for other in [IN_COUNTRY, DEFAULT] {
        assert_unknown(&client.send_image(other, media).await);
        assert_unknown(&metadata(&client, media, other).await);
    }
    assert_eq!(client.send_image(NO_STORAGE, media).await.status, 200);
    for other in [IN_COUNTRY, DEFAULT] {
        let reply = client.send_image(other, media).await;
        reply.assert_refused(400, 100, "media_of_other_number");
    }
    assert_eq!(world.emulator.sent().len(), 1);
}

#[tokio::test]
async fn without_a_number_nobody_is_asked() {
    let world = World::pass_through().await;
    let media = receive(&world, NO_STORAGE);
    let target = format!("/v23.0/{media}");
    for reply in [
        world.client().get(&target).await,
        world.client().delete(&target).await,
    ] {
        assert_unknown(&reply);
        assert!(reply.details().contains("phone_number_id"), "{}", reply.details());
    }
    assert_eq!(world.emulator.received().len(), 0);
}

#[tokio::test]
async fn a_caller_with_one_number_need_not_name_it() {
    let caller = common::caller_table("billing", "cfw_billing", &[NO_STORAGE], &["media", "send"]);
    let world = World::of(&format!("{}{caller}", common::PASS_THROUGH)).await;
    let client = world.caller("cfw_billing");
    let (theirs, others) = (receive(&world, NO_STORAGE), receive(&world, IN_COUNTRY));
    assert_eq!(client.get(&format!("/v23.0/{theirs}")).await.status, 200);
    assert_unknown(&client.get(&format!("/v23.0/{others}")).await);
    let received = world.emulator.received();
    assert_eq!(received[0].query.as_deref(), Some("phone_number_id=1001"));
    assert_eq!(
        received[0].header("authorization"),
        Some(&*format!("Bearer {TOKEN}"))
    );
}

#[tokio::test]
async fn a_no_is_not_asked_again_within_the_hour() {
    let world = World::pass_through().await;
    let client = world.client();
    let first = client.send_image(NO_STORAGE, FIRST_GUESS).await;
    assert_unknown(&first);
    assert_eq!(questions(&world), 1);
    for _ in 0..5 {
        let again = client.send_image(NO_STORAGE, FIRST_GUESS).await;
        assert_eq!(again.lasting(), first.lasting());
        assert_unknown(&metadata(&client, FIRST_GUESS, NO_STORAGE).await);
    }
    world.pass_minutes(59);
    assert_unknown(&client.send_image(NO_STORAGE, FIRST_GUESS).await);
    assert_eq!(questions(&world), 1);
    world.pass_minutes(1);
    assert_unknown(&client.send_image(NO_STORAGE, FIRST_GUESS).await);
    assert_eq!(questions(&world), 2);
}

#[tokio::test]
async fn ten_denials_an_hour_and_number_then_nobody_is_asked() {
    let world = World::pass_through().await;
    let client = world.client();
    let mut answers = Vec::new();
    for guess in 0..15 {
        let reply = client.send_image(NO_STORAGE, FIRST_GUESS + guess).await;
        assert_unknown(&reply);
        let (status, headers, body) = reply.lasting();
        let body = body
            .to_string()
            .replace(&(FIRST_GUESS + guess).to_string(), "MEDIA");
        answers.push((status, headers, body));
        world.pass_minutes(1);
    }
    assert_eq!(questions(&world), 10);
    answers.dedup();
    assert_eq!(
        answers.len(),
        1,
        "whether Meta was asked does not show: {answers:?}"
    );

    // Even what is theirs is not asked about now; other numbers' budgets are whole.
    let theirs = receive(&world, NO_STORAGE);
    assert_unknown(&client.send_image(NO_STORAGE, theirs).await);
    assert_eq!(questions(&world), 10);
    let others = receive(&world, IN_COUNTRY);
    assert_eq!(client.send_image(IN_COUNTRY, others).await.status, 200);

    // The first denial was 15 minutes ago.
    world.pass_minutes(44);
    assert_unknown(&client.send_image(NO_STORAGE, theirs).await);
    world.pass_minutes(1);
    let theirs = receive(&world, NO_STORAGE);
    assert_eq!(client.send_image(NO_STORAGE, theirs).await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forty_guesses_at_once_ask_ten_times_at_most() {
    let world = World::pass_through().await;
    let client = world.client();
    let guesses = (0..40).map(|guess| client.send_image(NO_STORAGE, FIRST_GUESS + guess));
    for reply in join_all(guesses).await {
        assert_unknown(&reply);
    }
    assert_eq!(questions(&world), 10);
}

#[tokio::test]
async fn what_meta_denies_one_token_is_not_denied_to_another() {
    let world = World::pass_through().await;
    let media = receive(&world, NO_STORAGE);
    let no = Effect::Error {
        status: 400,
        code: 100,
        subcode: Some(33),
        details: None,
    };
    world.emulator.fault(Fault::new(Operation::MediaMetadata, no));
    let stranger = world.caller("EAAG-of-another-business");
    assert_unknown(&metadata(&stranger, media, NO_STORAGE).await);
    for guess in 0..20 {
        assert_unknown(&metadata(&stranger, FIRST_GUESS + guess, NO_STORAGE).await);
    }
    assert_eq!(questions(&world), 10);
    world.emulator.clear_faults();
    let reply = metadata(&world.client(), media, NO_STORAGE).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
}

#[tokio::test]
async fn whoever_hangs_up_gets_no_more_guesses() {
    let world = World::pass_through().await;
    world
        .emulator
        .fault(Fault::new(Operation::MediaMetadata, Effect::Hang));
    let mut callers = Vec::new();
    for guess in 0..10 {
        let mut caller = Raw::connect(world.gateway.addr).await;
        let media = FIRST_GUESS + guess;
        caller
            .send(format!(
                "GET /v23.0/{media}?phone_number_id=1001 HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer {TOKEN}\r\n\r\n"
            ))
            .await;
        callers.push(caller);
    }
    let all_asked = |emulator: &curfew_emulator::Emulator| emulator.received().len() == 10;
    soon(world.emulator.until(all_asked)).await;
    drop(callers);
    world.emulator.clear_faults();
    let reply = metadata(&world.client(), FIRST_GUESS + 10, NO_STORAGE).await;
    assert_unknown(&reply);
    assert_eq!(questions(&world), 10);
}

#[tokio::test]
async fn what_meta_does_not_answer_is_unavailable_and_not_counted() {
    let error = |status, code| Effect::Error {
        status,
        code,
        subcode: None,
        details: None,
    };
    let world = World::pass_through().await;
    let client = world.client();
    let media = receive(&world, NO_STORAGE);
    for effect in [
        error(500, 131_000),
        error(503, 2),
        error(400, 80_007),
        error(400, 4),
        error(401, 190),
        Effect::ResetRequest { after_bytes: 0 },
        Effect::TruncateReply { after_bytes: 10 },
        Effect::Redirect {
            location: "http://127.0.0.1:9/".to_owned(),
        },
    ] {
        let fault = Fault::new(Operation::MediaMetadata, effect.clone());
        world.emulator.fault(fault);
        for guess in 0..3 {
            for reply in [
                client.send_image(NO_STORAGE, FIRST_GUESS + guess).await,
                metadata(&client, media, NO_STORAGE).await,
            ] {
                assert_eq!(reply.status, 503, "{effect:?}: {}", reply.text());
                reply.assert_refused(503, 131_016, "upstream_unanswered");
                assert!(reply.header("retry-after").is_some());
            }
        }
        world.emulator.clear_faults();
        // Far apart, so that no breaker opens.
        world.time.advance(std::time::Duration::from_secs(31));
    }
    assert_eq!(client.send_image(NO_STORAGE, media).await.status, 200);
    assert_unknown(&client.send_image(NO_STORAGE, FIRST_GUESS).await);
}

#[tokio::test]
async fn deny_asks_nobody() {
    let world = world_of("deny").await;
    let client = world.client();
    for number in [NO_STORAGE, IN_COUNTRY] {
        let media = receive(&world, number);
        assert_unknown(&client.send_image(number, media).await);
        assert_unknown(&metadata(&client, media, number).await);
        let uploaded = client.upload(number).await;
        assert_eq!(client.send_image(number, uploaded).await.status, 200);
    }
    assert_eq!(questions(&world), 0);
}

#[tokio::test]
async fn allow_leaves_a_default_numbers_unknown_media_to_meta() {
    let policies = format!(
        "{}[number.media]\nunknown_ids = \"allow\"\n",
        common::PASS_THROUGH
    );
    let world = World::of(&policies).await;
    let client = world.client();
    let media = receive(&world, DEFAULT);
    assert_eq!(client.send_image(DEFAULT, media).await.status, 200);
    let reply = client.send_image(DEFAULT, FIRST_GUESS).await;
    assert_eq!(
        (reply.status.as_u16(), reply.reason()),
        (400, None),
        "Meta's own no"
    );
    assert_eq!(questions(&world), 0);
    // A restricted number's media are pinned, so they are not unknown.
    let pinned = client.upload(NO_STORAGE).await;
    let reply = client.send_image(DEFAULT, pinned).await;
    reply.assert_refused(400, 100, "media_of_other_number");
    // Without a pin no URL can be given out, and none of Meta's is.
    assert_unknown(&metadata(&client, media, DEFAULT).await);
}
