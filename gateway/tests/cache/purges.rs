//! Copies end at once when they are ordered to, and each end is told.

use std::time::Duration;

use ::http::Method;
use curfew_emulator::{Effect, Operation};
use futures_util::future::join_all;
use serde_json::json;

use super::*;
use crate::common::{DEFAULT, IN_COUNTRY, NO_STORAGE, log, soon};

async fn delete(client: &Client, media: u64) -> Reply {
    client.delete(&format!("/v23.0/{media}")).await
}

/// The reasons and sizes of the ends that the log tells of.
fn ends(number: u64) -> Vec<(String, u64)> {
    let receipts = log::receipts(number);
    let end = |receipt: &log::Line| {
        let reason = receipt["reason"].as_str().unwrap().to_owned();
        (reason, receipt["bytes"].as_u64().unwrap())
    };
    receipts.iter().map(end).collect()
}

/// One number of its own, so that its receipts are told from other tests'.
async fn world_of(number: u64) -> World {
    log::listen();
    let caller = caller_table("billing", KEY, &[number], &["send", "media", "storage"]);
    World::of(&format!(
        "[[number]]\nphone_number_id = \"{number}\"\nstorage = {{ mode = \"no_storage\" }}\nallow_deregister = true\n{caller}"
    ))
    .await
}

#[tokio::test]
async fn a_deletion_ends_the_copy_before_it_is_answered() {
    const NUMBER: u64 = 3001;
    let world = world_of(NUMBER).await;
    let client = world.caller(KEY);
    let bytes = bytes(1000);
    let (media, url) = upload(&client, NUMBER, &bytes).await;
    assert_whole(&get(&client, &url, &[]).await, &bytes, "miss");
    // What Meta says it did not do has not been done.
    let error = Effect::Error {
        status: 400,
        code: 100,
        subcode: None,
        details: None,
    };
    fault(&world, Operation::MediaDelete, error);
    assert_eq!(delete(&client, media).await.status, 400);
    world.emulator.clear_faults();
    assert_whole(&get(&client, &url, &[]).await, &bytes, "hit");

    assert_eq!(delete(&client, media).await.status, 200);
    assert_eq!(kept(&world).await["bytes"], 0);
    assert_eq!(ends(NUMBER), [("deleted".to_owned(), 1000)]);
    for method in [Method::GET, Method::HEAD] {
        let reply = client.send(method, &url, &[], Bytes::new()).await;
        assert_eq!(
            (reply.status.as_u16(), reply.reason()),
            (400, Some("media_ended"))
        );
    }
    assert_eq!(fetches(&world), 1);
}

#[tokio::test]
async fn a_deletion_whose_outcome_is_not_known_ends_the_copy_too() {
    let world = world().await;
    let client = world.caller(KEY);
    let bytes = bytes(1000);
    let (media, url) = upload(&client, NO_STORAGE, &bytes).await;
    assert_whole(&get(&client, &url, &[]).await, &bytes, "miss");
    fault(
        &world,
        Operation::MediaDelete,
        Effect::ResetRequest { after_bytes: 0 },
    );
    assert_eq!(delete(&client, media).await.status, 502);
    assert_eq!(kept(&world).await["bytes"], 0);
    assert_eq!(get(&client, &url, &[]).await.status, 400);
}

#[tokio::test]
async fn a_deregistration_ends_the_copies_of_its_number() {
    const NUMBER: u64 = 3002;
    let world = world_of(NUMBER).await;
    let client = world.caller(KEY);
    let bytes = bytes(1000);
    let deregister = format!("/v23.0/{NUMBER}/deregister");
    let (_, url) = upload(&client, NUMBER, &bytes).await;
    assert_whole(&get(&client, &url, &[]).await, &bytes, "miss");
    let error = Effect::Error {
        status: 400,
        code: 100,
        subcode: None,
        details: None,
    };
    fault(&world, Operation::Settings, error);
    let reply = client.post(&deregister, &json!({})).await;
    assert_eq!(reply.status, 400, "{}", reply.text());
    assert_eq!(kept(&world).await["bytes"], 1000);
    world.emulator.clear_faults();
    let reply = client.post(&deregister, &json!({})).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(kept(&world).await["bytes"], 0);
    assert_eq!(ends(NUMBER), [("deregistered".to_owned(), 1000)]);
}

#[tokio::test]
async fn an_operator_ends_copies_by_number_by_medium_and_by_both() {
    let world = world().await;
    let (client, other) = (world.caller(KEY), world.caller(OTHER_KEY));
    let operator = operator(&world);
    let bytes = bytes(1000);
    let mut copies = Vec::new();
    for (client, number) in [(&client, NO_STORAGE), (&client, NO_STORAGE), (&other, IN_COUNTRY)] {
        copies.push((client, upload(client, number, &bytes).await));
    }
    let fill = async || {
        for (client, (_, url)) in &copies {
            let reply = get(client, url, &[]).await;
            assert!(reply.status == 200 && reply.body == bytes);
        }
    };
    let first = copies[0].1.0.to_string();
    for (order, entries) in [
        (json!({ "phone_number_id": "1001" }), 2),
        (json!({ "phone_number_id": "1002" }), 1),
        (json!({ "phone_number_id": "1003" }), 0),
        (json!({ "media_id": first }), 1),
        (json!({ "media_id": first, "phone_number_id": "1001" }), 1),
        (json!({ "media_id": first, "phone_number_id": "1002" }), 0),
    ] {
        fill().await;
        let reply = operator.post("/purge", &order).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        assert_eq!(
            reply.json(),
            json!({ "entries": entries, "bytes": 1000 * entries })
        );
        assert_eq!(kept(&world).await["bytes"], 3000 - 1000 * entries);
    }
    assert_eq!(kept(&world).await["ended"]["requested"], 5);
}

#[tokio::test]
async fn an_order_that_is_not_plain_ends_nothing() {
    let world = world().await;
    let client = world.caller(KEY);
    let operator = operator(&world);
    let (_, url) = upload(&client, NO_STORAGE, &bytes(1000)).await;
    get(&client, &url, &[]).await;
    for (body, status, said) in [
        ("{}", 400, "name phone_number_id, media_id or both"),
        ("", 400, "not JSON"),
        ("[]", 400, "must be a JSON object"),
        (r#"{"phone_number_id":"1001"}{}"#, 400, "one document"),
        (
            r#"{"phone_number_id":"1001","phone_number_id":"1002"}"#,
            400,
            "twice",
        ),
        (r#"{"phone_number_id":"1001","media":"1"}"#, 400, "media"),
        (r#"{"phone_number_id":"1001","media_id":null}"#, 400, "null"),
        (r#"{"phone_number_id":1001}"#, 400, "string"),
        (
            r#"{"phone_number_id":"+1001"}"#,
            400,
            "phone_number_id must be a string of digits",
        ),
        (r#"{"media_id":"x"}"#, 400, "media_id must be a string of digits"),
        (
            &format!("{{\"phone_number_id\":\"1001\"{}}}", " ".repeat(1024)),
            413,
            "1024",
        ),
    ] {
        let reply = operator.post_text("/purge", body).await;
        assert_eq!(reply.status, status, "{body}: {}", reply.text());
        assert!(reply.text().contains(said), "{body}: {}", reply.text());
    }
    let plain = [("content-type", "text/plain")];
    let order = Bytes::from_static(br#"{"phone_number_id":"1001"}"#);
    let reply = operator.send(Method::POST, "/purge", &plain, order).await;
    assert_eq!(reply.status, 415);
    for (method, target, allow) in [
        (Method::GET, "/purge", "POST"),
        (Method::DELETE, "/purge", "POST"),
        (Method::POST, "/cache", "GET, HEAD"),
        (Method::POST, "/livez", "GET, HEAD"),
    ] {
        let reply = operator.send(method, target, &[], Bytes::new()).await;
        assert_eq!((reply.status.as_u16(), reply.header("allow")), (405, Some(allow)));
    }
    assert_eq!(operator.get("/livez").await.text(), "alive\n");
    assert_eq!(operator.get("/readyz").await.text(), "ready\n");
    assert_eq!(operator.get("/").await.status, 404);
    assert_eq!(kept(&world).await["bytes"], 1000);
    // Callers do not reach it.
    let reply = client.post("/purge", &json!({ "phone_number_id": "1001" })).await;
    assert_eq!(reply.reason(), Some("unknown_operation"));
}

#[tokio::test]
async fn who_waits_for_a_copy_that_is_purged_gets_another() {
    let world = world().await;
    let client = world.caller(KEY);
    let bytes = bytes(1000);
    let (_, url) = upload(&client, NO_STORAGE, &bytes).await;
    fault(&world, Operation::MediaDownload, Effect::Latency { millis: 300 });
    let waiting = join_all((0..5).map(|_| get(&client, &url, &[])));
    let purging = async {
        soon(world.emulator.until(|_| fetches(&world) == 1)).await;
        let order = json!({ "phone_number_id": "1001" });
        operator(&world).post("/purge", &order).await.json()
    };
    let (replies, purged) = tokio::join!(waiting, purging);
    assert_eq!(purged, json!({ "entries": 1, "bytes": 0 }));
    for reply in replies {
        assert!(reply.status == 200 && reply.body == bytes, "{}", reply.text());
    }
    assert_eq!(fetches(&world), 2);
}

#[tokio::test]
async fn what_meta_says_is_gone_is_kept_no_longer() {
    // Another gateway knows no beginning of it, so only a number that is not restricted has it kept there.
    let caller = caller_table("billing", KEY, &[DEFAULT], &["send", "media"]);
    let number = "[[number]]\nphone_number_id = \"1003\"\nstorage = { mode = \"default\" }\n";
    let world = World::of(&format!("{number}{caller}")).await;
    let client = world.caller(KEY);
    let bytes = bytes(1000);
    let (media, url) = upload(&client, DEFAULT, &bytes).await;
    let other = world.another_gateway().await;
    let (_, path) = url.split_once("/_curfew").unwrap();
    let elsewhere = format!("http://{}/_curfew{path}", other.addr);
    let anonymous = Client::new(other.addr);
    assert_whole(&get(&anonymous, &elsewhere, &[]).await, &bytes, "miss");
    assert_whole(&get(&anonymous, &elsewhere, &[]).await, &bytes, "hit");
    assert_eq!(delete(&client, media).await.status, 200);
    get(&anonymous, &elsewhere, &[])
        .await
        .assert_refused(404, 100, "media_gone");
    let kept = operator_at(other.admin).get("/cache").await.json();
    assert_eq!(
        (kept["bytes"].as_u64(), kept["ended"]["deleted"].as_u64()),
        (Some(0), Some(1))
    );
}

#[tokio::test]
async fn what_was_deleted_elsewhere_ends_as_soon_as_meta_says_so() {
    for is_deleted_again in [false, true] {
        let world = world().await;
        let client = world.caller(KEY);
        let bytes = bytes(1000);
        let (media, url) = upload(&client, NO_STORAGE, &bytes).await;
        assert_whole(&get(&client, &url, &[]).await, &bytes, "miss");
        let other_gateway = world.another_gateway().await;
        let other = Client::new(other_gateway.addr).bearer(KEY);
        assert_eq!(delete(&other, media).await.status, 200);
        assert_eq!(kept(&world).await["entries"], 1);
        let reply = if is_deleted_again {
            delete(&client, media).await
        } else {
            client.get(&format!("/v23.0/{media}")).await
        };
        assert_eq!((reply.status.as_u16(), reply.code()), (400, Some(100)));
        assert_eq!(kept(&world).await["entries"], 0);
        let reason = if is_deleted_again {
            "media_ended"
        } else {
            "media_gone"
        };
        assert_eq!(get(&client, &url, &[]).await.reason(), Some(reason));
    }
}

#[tokio::test]
async fn a_gateway_that_ends_leaves_nothing() {
    const NUMBER: u64 = 3003;
    let world = world_of(NUMBER).await;
    let client = world.caller(KEY);
    let (_, url) = upload(&client, NUMBER, &bytes(1000)).await;
    get(&client, &url, &[]).await;
    tokio::time::timeout(Duration::from_secs(30), world.gateway.stop())
        .await
        .unwrap();
    assert_eq!(ends(NUMBER), [("shutdown".to_owned(), 1000)]);
}
