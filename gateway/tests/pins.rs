//! Promise: a medium serves the number that it was uploaded for, while it lives, whatever happens to the gateway.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod common;

use common::form::Form;
use common::{Client, DEFAULT, IN_COUNTRY, NO_STORAGE, Reply, Setup, World, caller_table};
use curfew::config::StoreConfig;
use serde_json::Value;

const OTHER_DEFAULT: u64 = 1004;
/// A medium that nobody has.
const NOBODYS: u64 = 4_711_000_000_000_001;

/// Four numbers: of No Storage, of Local Storage, and two with default storage.
fn four() -> String {
    let other = "\n[[number]]\nphone_number_id = \"1004\"\nstorage = { mode = \"default\" }\n";
    format!("{}{other}", common::PASS_THROUGH)
}

fn with_sqlite(folder: &tempfile::TempDir, policies: String) -> Setup {
    Setup {
        policies,
        store: StoreConfig::Sqlite {
            path: folder.path().join("curfew.db"),
        },
        ..Setup::default()
    }
}

async fn upload_for(client: &Client, number: u64, minutes: u64) -> u64 {
    let form = Form::image().field("ttl_minutes", &minutes.to_string());
    let reply = client.post_form(&format!("/v23.0/{number}/media"), &form).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.media_id()
}

#[track_caller]
fn assert_sent(reply: &Reply) {
    assert_eq!(reply.status, 200, "{}", reply.text());
}

/// Refused, as Graph answers for an object that is not there.
#[track_caller]
fn assert_missing(reply: &Reply, reason: &str) {
    reply.assert_refused(400, 100, reason);
    assert_eq!(reply.json()["error"]["error_subcode"], 33);
}

#[tokio::test]
async fn an_upload_serves_the_number_that_it_was_uploaded_for_and_no_other() {
    let world = World::of(&four()).await;
    let client = world.client();
    for owner in [NO_STORAGE, IN_COUNTRY, DEFAULT] {
        let media = client.upload(owner).await;
        for sender in [NO_STORAGE, IN_COUNTRY, DEFAULT, OTHER_DEFAULT] {
            let before = world.emulator.sent().len();
            let reply = client.send_image(sender, media).await;
            let shares = owner == DEFAULT && sender == OTHER_DEFAULT;
            if sender == owner || shares {
                assert_sent(&reply);
                assert_eq!(world.emulator.sent().len(), before + 1);
            } else {
                assert_missing(&reply, "media_of_other_number");
                let details = reply.details();
                assert!(
                    details.contains(&owner.to_string()) && details.contains(&sender.to_string()),
                    "{details}"
                );
                assert_eq!(world.emulator.sent().len(), before);
            }
        }
    }
}

#[tokio::test]
async fn a_medium_is_refused_from_the_minute_on_in_which_meta_drops_it() {
    let world = World::pass_through().await;
    let client = world.client();
    let media = upload_for(&client, NO_STORAGE, 60).await;
    let local = client.upload(IN_COUNTRY).await;
    world.pass_minutes(59);
    assert_sent(&client.send_image(NO_STORAGE, media).await);
    world.pass_minutes(1);
    assert_missing(&client.send_image(NO_STORAGE, media).await, "media_ended");
    let metadata = client.get(&format!("/v23.0/{media}")).await;
    assert_missing(&metadata, "media_ended");
    assert_sent(&client.send_image(IN_COUNTRY, local).await);
    // Thirty days, for all that is not No Storage's.
    world.pass_minutes(30 * 24 * 60 - 61);
    assert_sent(&client.send_image(IN_COUNTRY, local).await);
    world.pass_minutes(1);
    assert_missing(&client.send_image(IN_COUNTRY, local).await, "media_ended");
}

#[tokio::test]
async fn a_slow_upload_is_counted_from_its_beginning() {
    let world = World::pass_through().await;
    let mut raw = common::raw::Raw::connect(world.gateway.addr).await;
    let body = Form::image().field("ttl_minutes", "60").bytes();
    let (begin, end) = body.split_at(300);
    raw.send(common::raw::upload_head("/v23.0/1001/media", body.len(), ""))
        .await;
    raw.send(begin).await;
    common::soon(world.emulator.until(|emulator| {
        let received = emulator.received();
        received.iter().any(|call| call.path.ends_with("/media"))
    }))
    .await;
    world.pass_minutes(10);
    raw.send(end).await;
    let reply = raw.answer().await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(
        reply.header("curfew-media-expires"),
        Some("2027-01-15T09:00:00.000Z")
    );
    let media = reply.media_id();
    world.pass_minutes(49);
    assert_sent(&world.client().send_image(NO_STORAGE, media).await);
    world.pass_minutes(1);
    let late = world.client().send_image(NO_STORAGE, media).await;
    assert_missing(&late, "media_ended");
}

#[tokio::test]
async fn what_was_deleted_through_the_gateway_is_dead_at_once() {
    let world = World::of(&four()).await;
    let client = world.client();
    for (owner, other) in [
        (NO_STORAGE, IN_COUNTRY),
        (IN_COUNTRY, NO_STORAGE),
        (DEFAULT, OTHER_DEFAULT),
    ] {
        let media = client.upload(owner).await;
        let metadata = client.get(&format!("/v23.0/{media}")).await.json();
        let url = metadata["url"].as_str().expect("a URL").to_owned();
        assert_eq!(client.get(&url).await.status, 200);
        let deleted = client
            .delete(&format!("/v23.0/{media}?phone_number_id={owner}"))
            .await;
        assert_eq!(deleted.json(), serde_json::json!({ "success": true }));
        assert_missing(&client.send_image(owner, media).await, "media_ended");
        assert!(client.send_image(other, media).await.reason().is_some());
        assert_missing(&client.get(&format!("/v23.0/{media}")).await, "media_ended");
        let gone = client.get(&url).await;
        assert_eq!((gone.code(), gone.reason().is_some()), (Some(100), true));
    }
    assert!(world.emulator.sent().is_empty());
}

#[tokio::test]
async fn what_meta_did_not_delete_is_not_buried() {
    use curfew_emulator::{Effect, Fault, Operation};
    let world = World::pass_through().await;
    let client = world.client();
    let media = client.upload(NO_STORAGE).await;
    let error = Effect::Error {
        status: 500,
        code: 131_000,
        subcode: None,
        details: None,
    };
    let fault = Fault::new(Operation::MediaDelete, error);
    world.emulator.fault(fault.times(1));
    let reply = client.delete(&format!("/v23.0/{media}")).await;
    assert_eq!((reply.status.as_u16(), reply.reason()), (500, None));
    assert_sent(&client.send_image(NO_STORAGE, media).await);
}

#[tokio::test]
async fn another_callers_media_look_like_unknown_ones() {
    let policies = format!(
        "{}{}{}",
        common::PASS_THROUGH,
        caller_table("billing", "cfw_billing", &[NO_STORAGE], &["send", "media"]),
        caller_table("support", "cfw_support", &[DEFAULT], &["send", "media"]),
    );
    let world = World::of(&policies).await;
    let (billing, support) = (world.caller("cfw_billing"), world.caller("cfw_support"));
    let media = billing.upload(NO_STORAGE).await;
    let spelled = |reply: &Reply, media: u64| {
        let (status, headers, body) = reply.lasting();
        let body = body.to_string().replace(&media.to_string(), "MEDIA");
        // The ids are equally long, so the lengths agree as well.
        (status, headers, body)
    };
    assert_eq!(media.to_string().len(), NOBODYS.to_string().len());
    for (theirs, nobodys) in [
        (
            support.send_image(DEFAULT, media).await,
            support.send_image(DEFAULT, NOBODYS).await,
        ),
        (
            support.get(&format!("/v23.0/{media}")).await,
            support.get(&format!("/v23.0/{NOBODYS}")).await,
        ),
        (
            support
                .get(&format!("/v23.0/{media}?phone_number_id={DEFAULT}"))
                .await,
            support
                .get(&format!("/v23.0/{NOBODYS}?phone_number_id={DEFAULT}"))
                .await,
        ),
        (
            support.delete(&format!("/v23.0/{media}")).await,
            support.delete(&format!("/v23.0/{NOBODYS}")).await,
        ),
    ] {
        assert_missing(&theirs, "media_not_usable");
        assert_eq!(spelled(&theirs, media), spelled(&nobodys, NOBODYS));
        assert!(!theirs.text().contains(&NO_STORAGE.to_string()));
    }
    assert_sent(&billing.send_image(NO_STORAGE, media).await);
}

#[tokio::test]
async fn another_callers_media_are_asked_about_and_counted_like_unknown_ones() {
    use curfew_emulator::{Effect, Fault, Operation};
    let policies = format!(
        "{}{}{}",
        four(),
        caller_table(
            "billing",
            "cfw_billing",
            &[NO_STORAGE, DEFAULT],
            &["send", "media"]
        ),
        caller_table("support", "cfw_support", &[OTHER_DEFAULT], &["send", "media"]),
    );
    let world = World::of(&policies).await;
    let (billing, support) = (world.caller("cfw_billing"), world.caller("cfw_support"));
    // The second one Meta would share with all numbers of the business.
    let theirs = [billing.upload(NO_STORAGE).await, billing.upload(DEFAULT).await];
    let questions = || {
        let received = world.emulator.received();
        let of_media = |call: &&curfew_emulator::Received| call.operation == Operation::MediaMetadata;
        received.iter().filter(of_media).count()
    };
    let error = Effect::Error {
        status: 500,
        code: 131_000,
        subcode: None,
        details: None,
    };
    world.emulator.fault(Fault::new(Operation::MediaMetadata, error));
    for media in [NOBODYS, theirs[0], theirs[1]] {
        let reply = support.send_image(OTHER_DEFAULT, media).await;
        reply.assert_refused(503, 131_016, "upstream_unanswered");
    }
    world.emulator.clear_faults();
    let before = questions();
    for (asked, media) in [NOBODYS, theirs[0], theirs[1]].into_iter().enumerate() {
        for _ in 0..2 {
            let reply = support.send_image(OTHER_DEFAULT, media).await;
            assert_missing(&reply, "media_not_usable");
            let reply = support.get(&format!("/v23.0/{media}")).await;
            assert_missing(&reply, "media_not_usable");
            assert_eq!(questions(), before + asked + 1, "once each");
        }
    }
    for guess in 1..20 {
        support.send_image(OTHER_DEFAULT, NOBODYS + guess).await;
    }
    assert_eq!(questions(), before + 10);
    assert_sent(&billing.send_image(NO_STORAGE, theirs[0]).await);
    assert_sent(&billing.send_image(DEFAULT, theirs[1]).await);
}

/// Everything that can be asked about these media.
async fn answers(world: &World, media: &[u64]) -> Vec<(String, (u16, Vec<(String, String)>, Value))> {
    let client = world.client();
    let mut answers = Vec::new();
    for medium in media {
        for number in [NO_STORAGE, IN_COUNTRY, DEFAULT, OTHER_DEFAULT] {
            let reply = client.send_image(number, *medium).await;
            answers.push((format!("{number} sends {medium}"), reply.lasting()));
            let target = format!("/v23.0/{medium}?phone_number_id={number}");
            answers.push((target.clone(), client.get(&target).await.lasting()));
        }
        let target = format!("/v23.0/{medium}");
        answers.push((target.clone(), client.get(&target).await.lasting()));
    }
    answers
}

#[tokio::test]
async fn after_a_restart_the_same_requests_get_the_same_answers() {
    let folder = tempfile::tempdir().expect("a folder");
    let world = World::start(with_sqlite(&folder, four())).await;
    let client = world.client();
    let short = upload_for(&client, NO_STORAGE, 60).await;
    let long = upload_for(&client, NO_STORAGE, 1440).await;
    let deleted = upload_for(&client, NO_STORAGE, 1440).await;
    let local = client.upload(IN_COUNTRY).await;
    let shared = client.upload(DEFAULT).await;
    let buried = client.upload(DEFAULT).await;
    let inbound = world
        .emulator
        .receive_media(IN_COUNTRY, "image/png", bytes::Bytes::from_static(b"png"));
    assert_sent(&client.send_image(IN_COUNTRY, inbound).await);
    for media in [deleted, buried] {
        let reply = client.delete(&format!("/v23.0/{media}")).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
    }
    world.pass_minutes(60);
    let media = [short, long, deleted, local, shared, buried, inbound, NOBODYS];
    let before = answers(&world, &media).await;
    let passed = before.iter().filter(|(_, (status, ..))| *status == 200).count();
    assert!(
        passed > 10 && before.len() - passed > 30,
        "{passed} of {}",
        before.len()
    );

    let world = world.restart().await;
    let after = answers(&world, &media).await;
    for (before, after) in before.iter().zip(&after) {
        assert_eq!(before, after);
    }
    assert_eq!(before.len(), after.len());
}

#[tokio::test]
async fn the_gateways_own_urls_outlive_it_where_it_has_a_token_of_its_own() {
    let folder = tempfile::tempdir().expect("a folder");
    let callers = caller_table("billing", "cfw_billing", &[NO_STORAGE], &["send", "media"]);
    let policies = format!("{}{callers}", common::PASS_THROUGH);
    let world = World::start(with_sqlite(&folder, policies)).await;
    let client = world.caller("cfw_billing");
    let media = client.upload(NO_STORAGE).await;
    let metadata = client.get(&format!("/v23.0/{media}")).await.json();
    let url = metadata["url"].as_str().expect("a URL");
    let (_, path) = url.split_once("/_curfew").expect("one of the gateway's");
    let target = format!("/_curfew{path}");
    let world = world.restart().await;
    let client = world.caller("cfw_billing");
    assert_eq!(client.get(&target).await.body, common::form::PNG);
    assert_eq!(client.delete(&format!("/v23.0/{media}")).await.status, 200);
    let world = world.restart().await;
    let reply = world.caller("cfw_billing").get(&target).await;
    assert_missing(&reply, "media_ended");
}

#[tokio::test]
async fn without_a_file_meta_is_asked_whose_a_medium_is_after_a_restart() {
    let world = World::of(&four()).await;
    let media = world.client().upload(NO_STORAGE).await;
    let world = world.restart().await;
    let client = world.client();
    for sender in [IN_COUNTRY, DEFAULT, OTHER_DEFAULT] {
        assert_missing(&client.send_image(sender, media).await, "media_not_usable");
    }
    assert_sent(&client.send_image(NO_STORAGE, media).await);
    // Now that it is known, the refusal says more.
    assert_missing(&client.send_image(DEFAULT, media).await, "media_of_other_number");
    let asked: Vec<_> = world
        .emulator
        .received()
        .iter()
        .filter(|call| call.path == format!("/v23.0/{media}"))
        .map(|call| call.query.clone().unwrap_or_default())
        .collect();
    let expected: Vec<_> = [IN_COUNTRY, DEFAULT, OTHER_DEFAULT, NO_STORAGE]
        .iter()
        .map(|number| format!("phone_number_id={number}"))
        .collect();
    assert_eq!(asked, expected);
    // What is not known to be an upload has the shortest life that a medium can have: an hour from the question.
    world.pass_minutes(59);
    assert_sent(&client.send_image(NO_STORAGE, media).await);
    world.pass_minutes(1);
    assert_missing(&client.send_image(NO_STORAGE, media).await, "media_ended");
}

#[tokio::test]
async fn an_id_in_another_spelling_is_nobodys() {
    let world = World::pass_through().await;
    let client = world.client();
    let media = client.upload(NO_STORAGE).await;
    for id in [
        format!("\"0{media}\""),
        format!("\" {media}\""),
        format!("\"{media} \""),
        format!("\"+{media}\""),
        format!("\"{media}.0\""),
        format!("[\"{media}\"]"),
        format!("\"\\u0660{media}\""),
        "\"\"".to_owned(),
        "true".to_owned(),
    ] {
        let body = format!(
            "{{\"messaging_product\":\"whatsapp\",\"to\":\"+15550100001\",\"type\":\"image\",\"image\":{{\"id\":{id}}}}}"
        );
        let reply = client.post_text("/v23.0/1001/messages", &body).await;
        assert_eq!(
            (reply.status.as_u16(), reply.code(), reply.reason().is_some()),
            (400, Some(100), true),
            "{id}: {}",
            reply.text()
        );
    }
    assert!(world.emulator.sent().is_empty());
}
