//! What the gateway cannot finish: a store, Meta or the media host fails it.

use super::*;

#[tokio::test]
async fn a_store_that_cannot_answer() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("curfew.db");
    let setup = Setup {
        store: StoreConfig::Sqlite { path: path.clone() },
        ..Setup::default()
    };
    let world = World::start(setup).await;
    let media = world.client().upload(NO_STORAGE).await;
    let vandal = rusqlite::Connection::open(&path).unwrap();
    vandal
        .execute_batch("DROP TABLE pin; DROP TABLE registration_call")
        .unwrap();

    let client = world.client();
    let register = json!({ "messaging_product": "whatsapp", "pin": "123456" });
    let before = world.reached().len();
    let reply = client.post("/v23.0/1003/register", &register).await;
    reply.assert_refused(503, 131_016, "store_unavailable");
    reply.assert_names(&["store"]);
    assert_eq!(
        world.reached().len(),
        before,
        "a call that could not be counted went out"
    );
    // Uploaded, but nobody is told an id that the gateway does not know.
    let reply = upload_with(&client, NO_STORAGE, Form::image()).await;
    reply.assert_refused(503, 131_016, "store_unavailable");
    assert!(!reply.text().contains("\"id\""));
    let reply = client.delete(&format!("/v23.0/{media}")).await;
    reply.assert_refused(503, 131_016, "store_unavailable");
}

#[tokio::test]
async fn a_meta_that_cannot_be_reached() {
    let setup = Setup {
        configure: |config| {
            // Bound and closed again: nobody listens there.
            let closed = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            let origin = format!("http://{}", closed.local_addr().unwrap());
            config.upstream.graph = origin.parse().unwrap();
        },
        ..Setup::default()
    };
    let world = World::start(setup).await;
    let client = world.client();
    for reply in [
        client.send_text(DEFAULT).await,
        upload_with(&client, DEFAULT, Form::image()).await,
        client.get("/v23.0/1003").await,
    ] {
        reply.assert_refused(503, 131_016, "upstream_unreachable");
        reply.assert_names(&["nothing was sent"]);
    }
    client
        .send_text(NO_STORAGE)
        .await
        .assert_refused(503, 131_005, "settings_unverified");
    let reply = client.send_image(DEFAULT, 123).await;
    reply.assert_refused(503, 131_016, "upstream_unanswered");
    reply.assert_names(&["a media id"]);
}

/// A medium of the default number, and its URL on the gateway.
async fn uploaded(world: &World) -> (u64, String) {
    let media = world.client().upload(DEFAULT).await;
    let metadata = world.client().get(&format!("/v23.0/{media}")).await;
    assert_eq!(metadata.status, 200, "{}", metadata.text());
    (media, metadata.json()["url"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn a_medium_that_the_media_host_no_longer_has() {
    let world = World::pass_through().await;
    let (media, url) = uploaded(&world).await;
    world
        .emulator
        .fault(Fault::new(Operation::MediaDownload, error(404)).times(2));
    let reply = world.client().get(&url).await;
    reply.assert_refused(404, 100, "media_gone");
    assert_eq!(reply.subcode(), Some(33));
    let asked = format!("GET /v23.0/{media}");
    let reached = world.reached();
    let fresh = reached
        .iter()
        .skip_while(|call| !call.contains("attachments"))
        .filter(|call| **call == asked);
    assert_eq!(fresh.count(), 1, "one fresh URL: {reached:?}");
    // Meta's URLs end after five minutes: one that ended a moment ago is no reason to fail.
    world
        .emulator
        .fault(Fault::new(Operation::MediaDownload, error(404)).times(1));
    let reply = world.client().get(&url).await;
    assert_eq!((reply.status, &reply.body[..]), (StatusCode::OK, PNG));
}

fn error(status: u16) -> Effect {
    Effect::Error {
        status,
        code: 131_000,
        subcode: None,
        details: None,
    }
}

#[tokio::test]
async fn an_answer_of_metas_that_cannot_be_used() {
    let world = World::pass_through().await;
    let client = world.client();
    let (media, url) = uploaded(&world).await;
    let metadata = format!("/v23.0/{media}");
    let elsewhere = || Effect::Redirect {
        location: "http://127.0.0.1:1/".to_owned(),
    };
    let other_host = Effect::MediaUrl {
        base: "http://127.0.0.1:1".to_owned(),
    };
    let small = Effect::TruncateReply { after_bytes: 5 };
    for (on, effect, target, reason) in [
        (Operation::MediaDownload, error(500), &url, "unusable_answer"),
        (Operation::MediaDownload, error(403), &url, "unusable_answer"),
        (Operation::MediaDownload, elsewhere(), &url, "unusable_answer"),
        (
            Operation::MediaMetadata,
            Effect::Garbage,
            &metadata,
            "unusable_answer",
        ),
        (
            Operation::MediaMetadata,
            elsewhere(),
            &metadata,
            "unusable_answer",
        ),
        (Operation::MediaMetadata, other_host, &metadata, "unusable_answer"),
        (Operation::MediaMetadata, small, &metadata, "upstream_broke_off"),
        (
            Operation::Other,
            elsewhere(),
            &"/v23.0/1003".to_owned(),
            "unusable_answer",
        ),
    ] {
        world.emulator.fault(Fault::new(on, effect.clone()).times(1));
        let reply = client.get(target).await;
        assert_eq!(reply.reason(), Some(reason), "{effect:?}: {}", reply.text());
        reply.assert_refused(502, 131_000, reason);
        assert!(!reply.text().contains("127.0.0.1:1"), "{}", reply.text());
    }
    for (effect, reason) in [
        (Effect::Garbage, "unusable_answer"),
        (Effect::TruncateReply { after_bytes: 5 }, "upstream_broke_off"),
        (Effect::ResetReply { after_bytes: 0 }, "upstream_broke_off"),
    ] {
        world
            .emulator
            .fault(Fault::new(Operation::Upload, effect).times(1));
        let reply = upload_with(&client, DEFAULT, Form::image()).await;
        reply.assert_refused(502, 131_000, reason);
    }
}

#[tokio::test]
async fn a_send_whose_outcome_is_not_known_is_never_a_5xx_and_never_sent_again() {
    for effect in [
        Effect::ResetRequest { after_bytes: 1 },
        Effect::ResetReply { after_bytes: 0 },
        Effect::ResetReply { after_bytes: 20 },
        Effect::TruncateReply { after_bytes: 0 },
        Effect::TruncateReply { after_bytes: 20 },
        Effect::Redirect {
            location: "http://127.0.0.1:1/".to_owned(),
        },
    ] {
        for number in [NO_STORAGE, DEFAULT] {
            let world = World::pass_through().await;
            world
                .emulator
                .fault(Fault::new(Operation::Send, effect.clone()).times(1));
            let reply = world.client().send_text(number).await;
            assert_eq!(
                reply.reason(),
                Some("outcome_unknown"),
                "{effect:?}: {}",
                reply.text()
            );
            reply.assert_refused(409, 131_000, "outcome_unknown");
            reply.assert_names(&["may or may not", "do not send again"]);
            assert_eq!(world.reached().len(), 1, "{effect:?}: {:?}", world.reached());
            assert!(world.emulator.sent().len() <= 1);
        }
    }
}
