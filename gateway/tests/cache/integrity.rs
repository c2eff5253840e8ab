//! What is short or wrong is served as whole to nobody, whether it would be kept or not.

use std::sync::Arc;

use ::http::Method;
use curfew_emulator::{Effect, Fault, Operation};
use serde_json::{Map, json};

use super::*;
use crate::common::NO_STORAGE;

fn members(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(members) => members,
        other => panic!("{other}"),
    }
}

/// With a cache, and without.
async fn worlds() -> [World; 2] {
    let past = Setup {
        policies: policies(""),
        configure: |config| config.cache.max_bytes = 0,
        ..Setup::default()
    };
    [world().await, World::start(past).await]
}

#[tokio::test]
async fn a_body_of_another_size_or_digest_is_no_medium() {
    for world in worlds().await {
        let client = world.caller(KEY);
        for len in [1000, LARGE] {
            let bytes = bytes(len);
            let (_, url) = upload(&client, NO_STORAGE, &bytes).await;
            for served in [len - 1, len + 1, len] {
                let served = u64::try_from(served).unwrap();
                fault(&world, Operation::MediaDownload, Effect::Zeros { bytes: served });
                let reply = client.try_send(Method::GET, &url, &[], Bytes::new()).await;
                match reply {
                    // What can be told before the first byte is told.
                    Ok(reply) => reply.assert_refused(502, 131_000, "unusable_answer"),
                    Err(_) => assert!(len == LARGE && served == 300_001),
                }
                world.emulator.clear_faults();
            }
            assert_eq!(kept(&world).await["bytes"], 0);
            let reply = get(&client, &url, &[]).await;
            assert!(reply.status == 200 && reply.body == bytes);
            // The copy takes no part in what comes next.
            operator(&world)
                .post("/purge", &json!({ "phone_number_id": "1001" }))
                .await;
        }
    }
}

#[tokio::test]
async fn a_body_that_breaks_off_breaks_off() {
    for world in worlds().await {
        let client = world.caller(KEY);
        let bytes = bytes(LARGE);
        let (_, url) = upload(&client, NO_STORAGE, &bytes).await;
        for after_bytes in [LARGE - 1, 150_000] {
            fault(
                &world,
                Operation::MediaDownload,
                Effect::TruncateReply { after_bytes },
            );
            let reply = client.try_send(Method::GET, &url, &[], Bytes::new()).await;
            assert!(reply.is_err());
            world.emulator.clear_faults();
            assert_eq!(kept(&world).await["bytes"], 0);
        }
    }
}

#[tokio::test]
async fn the_digest_is_checked_in_whatever_spelling_it_comes() {
    use base64::Engine as _;
    let digest = |bytes: &[u8]| {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
        base64::engine::general_purpose::STANDARD.encode(digest)
    };
    for world in worlds().await {
        let client = world.caller(KEY);
        let bytes = bytes(1000);
        let (media, _) = upload(&client, NO_STORAGE, &bytes).await;
        for (told, is_right) in [
            (json!({ "sha256": digest(&bytes), "file_size": 1000 }), true),
            (json!({ "sha256": null, "file_size": "1000" }), true),
            (
                json!({ "sha256": digest(b"another"), "file_size": "1000" }),
                false,
            ),
            (json!({ "sha256": null, "file_size": "999" }), false),
            (json!({ "sha256": null, "file_size": "1001" }), false),
            (json!({ "sha256": digest(&bytes), "file_size": null }), true),
            (json!({ "sha256": digest(b"another"), "file_size": null }), false),
        ] {
            let members = members(told.clone());
            fault(&world, Operation::MediaMetadata, Effect::Members { members });
            let url = url_of(&client, media).await;
            world.emulator.clear_faults();
            let reply = get(&client, &url, &[]).await;
            if is_right {
                assert!(reply.status == 200 && reply.body == bytes, "{told}");
            } else {
                reply.assert_refused(502, 131_000, "unusable_answer");
            }
            operator(&world)
                .post("/purge", &json!({ "media_id": media.to_string() }))
                .await;
        }
    }
}

#[tokio::test]
async fn metadata_that_cannot_be_checked_against_give_out_no_url() {
    let world = world().await;
    let client = world.caller(KEY);
    let (media, url) = upload(&client, NO_STORAGE, b"bytes").await;
    for told in [
        json!({ "sha256": "abc" }),
        json!({ "sha256": 7 }),
        json!({ "file_size": "-5" }),
        json!({ "file_size": "5.0" }),
        json!({ "mime_type": "a\nb" }),
    ] {
        let members = members(told);
        fault(&world, Operation::MediaMetadata, Effect::Members { members });
        let reply = client.get(&format!("/v23.0/{media}")).await;
        reply.assert_refused(502, 131_000, "unusable_answer");
        world.emulator.clear_faults();
    }
    // Larger than any medium can be: not worth a fetch.
    let members = members(json!({ "file_size": (100 * 1024 * 1024 + 1).to_string() }));
    fault(&world, Operation::MediaMetadata, Effect::Members { members });
    let too_large = url_of(&client, media).await;
    world.emulator.clear_faults();
    let reply = get(&client, &too_large, &[]).await;
    reply.assert_refused(502, 131_000, "unusable_answer");
    assert_eq!(fetches(&world), 0);
    assert_whole(&get(&client, &url, &[]).await, b"bytes", "miss");
}

#[tokio::test]
async fn a_copy_is_served_to_nobody_who_was_told_of_other_bytes() {
    let world = Arc::new(world().await);
    let client = world.caller(KEY);
    let bytes = bytes(1000);
    let (media, url) = upload(&client, NO_STORAGE, &bytes).await;
    assert_whole(&get(&client, &url, &[]).await, &bytes, "miss");
    let members = members(json!({ "sha256": "0".repeat(64) }));
    let told = Fault::new(Operation::MediaMetadata, Effect::Members { members });
    world.emulator.fault(told.times(1));
    let other = url_of(&client, media).await;
    let reply = get(&client, &other, &[]).await;
    reply.assert_refused(502, 131_000, "unusable_answer");
    assert_whole(&get(&client, &url, &[]).await, &bytes, "hit");
}
