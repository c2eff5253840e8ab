//! Media, which share one flat space of ids: a caller finds its own there, and nobody else's.

use http::header::DATE;
use http::{Method, StatusCode};

use crate::common::form::PNG;
use crate::common::{DEFAULT, IN_COUNTRY, NO_STORAGE, Reply};
use crate::{ADMIN, ARCHIVE, BILLING, world};

/// All of an answer but what no two answers share, with the medium's id under another name.
fn same_but_for(reply: &Reply, id: &str) -> (StatusCode, Vec<(String, String)>, String) {
    let headers = reply
        .headers
        .iter()
        .filter(|(name, _)| **name != DATE)
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()));
    let mut text = reply.text().replace(id, "ID");
    if let Ok(body) = serde_json::from_str::<serde_json::Value>(&text)
        && let Some(trace) = body["error"]["fbtrace_id"].as_str()
    {
        text = text.replace(trace, "T");
    }
    (reply.status, headers.collect(), text)
}

#[tokio::test]
async fn another_callers_medium_looks_exactly_like_one_that_does_not_exist() {
    let world = world().await;
    let archive = world.caller(ARCHIVE);
    let billing = world.caller(BILLING);
    let uploaded = archive.upload(DEFAULT).await;
    let restricted = archive.upload(IN_COUNTRY).await;
    let inbound = world.emulator.receive_media(DEFAULT, "image/png", PNG.into());
    assert_eq!(
        archive
            .get(&format!("/v23.0/{inbound}?phone_number_id=1003"))
            .await
            .status,
        200
    );
    let deleted = archive.upload(DEFAULT).await;
    assert_eq!(archive.delete(&format!("/v23.0/{deleted}")).await.status, 200);
    // Of their length, and nobody's.
    let nobodys = uploaded + 1_000_000_007;
    assert_eq!(nobodys.to_string().len(), uploaded.to_string().len());

    let answers = |media: u64| {
        let (billing, id) = (billing.clone(), media.to_string());
        async move {
            let mut answers = Vec::new();
            for query in [
                "",
                "?phone_number_id=1001",
                "?phone_number_id=1003",
                "?phone_number_id=4242",
            ] {
                let target = format!("/v23.0/{id}{query}");
                answers.push(billing.get(&target).await);
                answers.push(billing.delete(&target).await);
            }
            answers.push(billing.send_image(NO_STORAGE, media).await);
            for reply in &answers {
                reply.assert_refused(400, 100, "media_not_usable");
                assert!(!reply.text().contains("1002"));
            }
            answers
                .iter()
                .map(|reply| same_but_for(reply, &id))
                .collect::<Vec<_>>()
        }
    };
    let unknown = answers(nobodys).await;
    for media in [uploaded, restricted, inbound, deleted] {
        assert_eq!(answers(media).await, unknown, "{media}");
    }
    assert!(
        world.emulator.media_bytes(uploaded).is_some(),
        "deleted by a stranger"
    );
    assert!(world.emulator.sent().is_empty());
}

#[tokio::test]
async fn a_media_url_tells_nothing_to_who_was_not_given_it() {
    let world = world().await;
    let archive = world.caller(ARCHIVE);
    let media = archive.upload(DEFAULT).await;
    let metadata = archive.get(&format!("/v23.0/{media}")).await;
    let url = metadata.json()["url"].as_str().unwrap().to_owned();
    let (start, last) = url.split_at(url.len() - 1);
    let flipped = format!("{start}{}", if last == "A" { "B" } else { "A" });
    let made_up = format!("{}{}", &url[..url.len() - 40], "A".repeat(40));
    let billing = world.caller(BILLING);
    let mut answers = Vec::new();
    for url in [
        &flipped,
        &made_up,
        &format!("{url}A"),
        &url[..url.len() - 1].to_owned(),
    ] {
        let reply = billing.get(url).await;
        reply.assert_refused(404, 100, "media_url_invalid");
        answers.push(same_but_for(&reply, &media.to_string()));
    }
    assert!(answers.windows(2).all(|pair| pair[0] == pair[1]), "{answers:?}");
    let downloads = || {
        world
            .reached()
            .iter()
            .filter(|call| call.contains("attachments"))
            .count()
    };
    assert_eq!(downloads(), 0);
    // The signature is what counts, whoever presents it and with whatever credential.
    for client in [
        archive,
        billing,
        world.client().anonymous(),
        world.caller("another-key"),
    ] {
        let reply = client.get(&url).await;
        assert_eq!((reply.status, &reply.body[..]), (StatusCode::OK, PNG));
    }
    // Deleted, its URL is as dead as one that never was.
    assert_eq!(
        world
            .caller(ARCHIVE)
            .delete(&format!("/v23.0/{media}"))
            .await
            .status,
        200
    );
    let reply = world.caller(ARCHIVE).get(&url).await;
    assert!(
        reply.reason().is_some() && reply.status.is_client_error(),
        "{}",
        reply.text()
    );
    // One of them had it fetched, the others had the copy.
    assert_eq!(downloads(), 1);
}

#[tokio::test]
async fn an_owner_is_named_only_to_who_may_use_it() {
    let world = world().await;
    let media = world.caller(ARCHIVE).upload(IN_COUNTRY).await;
    let reply = world.caller(ADMIN).send_image(NO_STORAGE, media).await;
    reply.assert_refused(400, 100, "media_of_other_number");
    reply.assert_names(&["1001", "1002"]);
    let reply = world.caller(BILLING).send_image(NO_STORAGE, media).await;
    reply.assert_refused(400, 100, "media_not_usable");
    assert!(!reply.text().contains("1002"), "{}", reply.text());
}

#[tokio::test]
async fn a_medium_that_no_pin_is_known_of_is_found_by_its_number() {
    let world = world().await;
    let receive = |number| world.emulator.receive_media(number, "image/png", PNG.into());
    // Of a caller with several numbers, one must be named.
    let admin = world.caller(ADMIN);
    let media = receive(IN_COUNTRY);
    let reply = admin.get(&format!("/v23.0/{media}")).await;
    reply.assert_refused(400, 100, "media_not_usable");
    reply.assert_names(&["?phone_number_id="]);
    let reply = admin.get(&format!("/v23.0/{media}?phone_number_id=1001")).await;
    reply.assert_refused(400, 100, "media_not_usable");
    let reply = admin.get(&format!("/v23.0/{media}?phone_number_id=1002")).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    // Pinned by now: it is found without, and never under another number.
    assert_eq!(admin.get(&format!("/v23.0/{media}")).await.status, 200);
    let reply = admin.get(&format!("/v23.0/{media}?phone_number_id=1003")).await;
    reply.assert_refused(400, 100, "media_not_usable");
    assert_eq!(
        admin
            .delete(&format!("/v23.0/{media}?phone_number_id=1002"))
            .await
            .status,
        200
    );
    assert!(world.emulator.media_bytes(media).is_none());

    // Of a caller with one number, it can only mean that one.
    let billing = world.caller(BILLING);
    let media = receive(NO_STORAGE);
    let reply = billing.get(&format!("/v23.0/{media}")).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let asked: Vec<_> = world
        .emulator
        .received()
        .into_iter()
        .filter(|r| r.path.ends_with(&media.to_string()))
        .collect();
    assert!(
        asked
            .iter()
            .any(|request| request.query.as_deref() == Some("phone_number_id=1001")),
        "{asked:?}"
    );
    let media = receive(NO_STORAGE);
    assert_eq!(billing.send_image(NO_STORAGE, media).await.status, 200);
}

/// Ten ids an hour that Meta denies; then unknown ids are answered, in the same words, without asking.
#[tokio::test]
async fn a_caller_who_guesses_ids_cannot_have_its_number_blocked() {
    let world = world().await;
    let billing = world.caller(BILLING);
    let mut answers = Vec::new();
    for media in 700_000_000_000_000..700_000_000_000_030_u64 {
        let reply = billing.get(&format!("/v23.0/{media}")).await;
        reply.assert_refused(400, 100, "media_not_usable");
        answers.push(same_but_for(&reply, &media.to_string()));
    }
    assert!(answers.windows(2).all(|pair| pair[0] == pair[1]));
    assert_eq!(world.reached().len(), 10);
    let inbound = world.emulator.receive_media(NO_STORAGE, "image/png", PNG.into());
    let reply = billing.get(&format!("/v23.0/{inbound}")).await;
    reply.assert_refused(400, 100, "media_not_usable");
    world.pass_minutes(60);
    let inbound = world.emulator.receive_media(NO_STORAGE, "image/png", PNG.into());
    assert_eq!(billing.get(&format!("/v23.0/{inbound}")).await.status, 200);
}

/// Naming another's number asks Meta nothing, so nobody can spend the questions of a number that is not theirs.
#[tokio::test]
async fn a_caller_who_names_anothers_number_asks_nothing() {
    let world = world().await;
    let billing = world.caller(BILLING);
    let inbound = world.emulator.receive_media(DEFAULT, "image/png", PNG.into());
    for media in (700_000_000_000_000..700_000_000_000_015).chain([inbound]) {
        for method in [Method::GET, Method::DELETE] {
            let target = format!("/v23.0/{media}?phone_number_id=1003");
            let reply = billing.send(method, &target, &[], Default::default()).await;
            reply.assert_refused(400, 100, "media_not_usable");
        }
    }
    assert!(world.emulator.received().is_empty(), "{:?}", world.reached());
    let reply = world
        .caller(ARCHIVE)
        .get(&format!("/v23.0/{inbound}?phone_number_id=1003"))
        .await;
    assert_eq!(reply.status, 200, "{}", reply.text());
}
