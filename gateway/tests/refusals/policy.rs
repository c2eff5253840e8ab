//! What the policy refuses.

use super::*;

#[tokio::test]
async fn a_ttl_that_may_not_be() {
    let world = World::pass_through().await;
    for (number, ttl, reason, names) in [
        (
            NO_STORAGE,
            "59",
            "ttl_out_of_bounds",
            &["1001", "60 to 1440", "59"][..],
        ),
        (
            NO_STORAGE,
            "1441",
            "ttl_out_of_bounds",
            &["1001", "60 to 1440", "1441"],
        ),
        (
            NO_STORAGE,
            "an hour",
            "ttl_not_whole",
            &["1001", "60 to 1440", "\"an hour\""],
        ),
        (
            IN_COUNTRY,
            "60",
            "ttl_without_no_storage",
            &["1002", "in_country (DE)", "no_storage"],
        ),
        (
            DEFAULT,
            "60",
            "ttl_without_no_storage",
            &["1003", "default", "no_storage"],
        ),
    ] {
        let reply = upload_with(&world.client(), number, Form::image().field("ttl_minutes", ttl)).await;
        reply.assert_refused(400, 131_009, reason);
        reply.assert_names(names);
    }
    let twice = Form::image()
        .field("ttl_minutes", "60")
        .field("ttl_minutes", "60");
    let reply = upload_with(&world.client(), NO_STORAGE, twice).await;
    reply.assert_refused(400, 131_009, "form_field_twice");
    reply.assert_names(&["\"ttl_minutes\"", "part 4"]);
    assert_eq!(world.emulator.media_bytes_kept(), 0);
}

#[tokio::test]
async fn a_medium_that_is_not_this_numbers_or_not_any_more() {
    let world = World::pass_through().await;
    let client = world.client();
    let missing = |reply: &Reply, reason: &str, names: &[&str]| {
        reply.assert_refused(400, 100, reason);
        assert_eq!(reply.subcode(), Some(33));
        reply.assert_names(names);
    };

    let theirs = client.upload(IN_COUNTRY).await;
    let reply = client.send_image(NO_STORAGE, theirs).await;
    missing(
        &reply,
        "media_of_other_number",
        &[&theirs.to_string(), "1001", "1002"],
    );

    let reply = client.send_image(NO_STORAGE, 123_456_789_012).await;
    missing(
        &reply,
        "media_not_usable",
        &["123456789012", "1001", "POST /1001/media"],
    );
    let reply = client.post(MESSAGES, &image(&json!({ "id": "0123" }))).await;
    missing(&reply, "media_not_usable", &["1001"]);
    let reply = client.get("/v23.0/123456789012?phone_number_id=1001").await;
    missing(&reply, "media_not_usable", &["123456789012", "1001"]);
    let reply = client.get("/v23.0/123456789012").await;
    missing(&reply, "media_not_usable", &["123456789012", "?phone_number_id="]);

    let deleted = client.upload(NO_STORAGE).await;
    assert_eq!(client.delete(&format!("/v23.0/{deleted}")).await.status, 200);
    let reply = client.send_image(NO_STORAGE, deleted).await;
    missing(&reply, "media_ended", &[&deleted.to_string(), "1001"]);

    let short = upload_with(&client, NO_STORAGE, Form::image().field("ttl_minutes", "60")).await;
    world.pass_minutes(60);
    let reply = client.send_image(NO_STORAGE, short.media_id()).await;
    missing(
        &reply,
        "media_ended",
        &[&short.media_id().to_string(), "2027-01-15T09:00:00.000Z"],
    );
    assert!(world.emulator.sent().is_empty());
}

#[tokio::test]
async fn an_unknown_medium_where_the_policy_denies_unknown_ids() {
    let policies = PASS_THROUGH.replace("[number.media]", "[number.media]\nunknown_ids = \"deny\"");
    let world = World::of(&policies).await;
    let inbound = world.emulator.receive_media(NO_STORAGE, "image/png", PNG.into());
    let reply = world.client().send_image(NO_STORAGE, inbound).await;
    reply.assert_refused(400, 100, "media_not_usable");
    assert_eq!(reply.subcode(), Some(33));
    assert!(world.reached().is_empty(), "{:?}", world.reached());
}

#[tokio::test]
async fn content_that_the_policy_does_not_let_through() {
    let policies = PASS_THROUGH.replace(
        "[number.media]",
        "[number.media]\nlinks = { hosts = [\"cdn.bank.example\"] }",
    );
    let world = World::of(&policies).await;
    let client = world.client();
    for (body, reason, names) in [
        (
            image(&json!({ "link": "https://elsewhere.example/a.png" })),
            "link_not_allowed",
            &["1001", "image", "elsewhere.example", "media.links.hosts"][..],
        ),
        (
            image(&json!({ "link": "http://cdn.bank.example/a.png" })),
            "link_not_allowed",
            &["1001", "image", "https://"],
        ),
        (
            image(&json!({ "link": "https://cdn.bank.example/a.png", "thumbnail": "x" })),
            "unknown_member",
            &["1001", "image", "thumbnail"],
        ),
        (
            json!({ "to": "+15550100001", "type": "hologram", "hologram": {} }),
            "unknown_message_type",
            &["1001", "hologram", "allow_unverified"],
        ),
        (
            json!({ "to": "+15550100001", "type": "text", "text": { "body": "x", "link": "https://cdn.bank.example/" } }),
            "undocumented_reference",
            &["1001", "text"],
        ),
    ] {
        let reply = client.post(MESSAGES, &body).await;
        reply.assert_refused(403, 131_005, reason);
        reply.assert_names(names);
    }
    let both = image(&json!({ "id": "1", "link": "https://cdn.bank.example/a.png" }));
    // The id is judged before the link that comes with it, so it must be one of the number's.
    let own = client.upload(NO_STORAGE).await;
    let both = both.to_string().replace("\"1\"", &format!("\"{own}\""));
    let reply = client.post_text(MESSAGES, &both).await;
    reply.assert_refused(400, 100, "id_and_link");
    reply.assert_names(&["1001", "image", "id and link"]);

    for (target, body, reason, names) in [
        (
            "/v23.0/1001/marketing_messages",
            json!({ "to": "+15550100001", "type": "template", "template": {} }),
            "forbidden_by_mode",
            &["1001", "no_storage", "marketing_messages", "allow_unverified"][..],
        ),
        (
            "/v23.0/1001/messages_encrypted",
            json!({ "encrypted_contents": "x" }),
            "forbidden_by_mode",
            &["1001", "no_storage", "messages_encrypted"],
        ),
        (
            "/v23.0/1003",
            json!({ "webhook_configuration": { "override_callback_uri": "https://x.example" } }),
            "webhook_redirect",
            &["1003", "webhook"],
        ),
    ] {
        let reply = client.post(target, &body).await;
        reply.assert_refused(403, 131_005, reason);
        reply.assert_names(names);
    }
    assert!(world.emulator.sent().is_empty());
}

#[tokio::test]
async fn settings_and_registrations_that_contradict_the_policy() {
    let world = World::pass_through().await;
    let client = world.client();
    for (target, body, reason, names) in [
        (
            "/v23.0/1001/settings",
            json!({ "storage_configuration": { "status": "IN_COUNTRY_STORAGE_DISABLED" } }),
            "settings_contradict_policy",
            &[
                "1001",
                "no_storage",
                "IN_COUNTRY_STORAGE_DISABLED",
                "NO_STORAGE_ENABLED",
            ][..],
        ),
        (
            "/v23.0/1002/settings",
            json!({ "storage_configuration": { "status": "IN_COUNTRY_STORAGE_ENABLED", "data_localization_region": "IN" } }),
            "settings_contradict_policy",
            &["1002", "in_country (DE)", "\"IN\"", "DE"],
        ),
        (
            "/v20.0/1001/register",
            json!({ "messaging_product": "whatsapp", "pin": "123456" }),
            "registration_contradicts_policy",
            &["1001", "no_storage", "60"],
        ),
        (
            "/v23.0/1002/deregister",
            json!({}),
            "deregister_not_allowed",
            &["1002", "in_country (DE)", "allow_deregister"],
        ),
    ] {
        let reply = client.post(target, &body).await;
        reply.assert_refused(403, 131_005, reason);
        reply.assert_names(names);
    }
    assert!(world.reached().is_empty(), "{:?}", world.reached());
}

#[tokio::test]
async fn the_eleventh_registration_does_not_lock_the_number_out() {
    let world = World::pass_through().await;
    let client = world.client();
    let body = json!({ "messaging_product": "whatsapp", "pin": "123456" });
    for _ in 0..10 {
        assert_eq!(client.post("/v23.0/1003/register", &body).await.status, 200);
    }
    let reply = client.post("/v23.0/1003/register", &body).await;
    reply.assert_refused(400, 133_016, "registration_lockout");
    reply.assert_names(&["1003", "10", "72 hours"]);
    assert_eq!(world.emulator.settings_calls().len(), 10);
    world.pass_minutes(72 * 60);
    assert_eq!(client.post("/v23.0/1003/register", &body).await.status, 200);
}

#[tokio::test]
async fn what_is_not_in_the_policy_or_not_known() {
    let world = World::pass_through().await;
    let client = world.client();
    let reply = client.send_text(9999).await;
    reply.assert_refused(403, 131_005, "number_not_in_policy");
    reply.assert_names(&["9999", "[[number]]"]);
    let reply = client.get("/v23.0/9999/message_templates").await;
    reply.assert_refused(403, 131_005, "account_not_in_policy");
    reply.assert_names(&["9999", "waba_id"]);
    for target in [
        "/v23.0/me",
        "/v23.0/1001/telepathy",
        "/v23.0",
        "/",
        "/v23.0/1001/messages/7",
    ] {
        let reply = client.get(target).await;
        reply.assert_refused(403, 131_005, "unknown_operation");
        reply.assert_names(&["GET", target]);
    }
    assert!(world.reached().is_empty(), "{:?}", world.reached());
}

#[tokio::test]
async fn real_settings_that_differ_or_cannot_be_read() {
    let world = World::pass_through().await;
    let client = world.client();
    world.emulator.set_storage(NO_STORAGE, Storage::Default);
    let differs = |reply: &Reply| {
        reply.assert_refused(503, 131_005, "settings_differ");
        reply.assert_names(&["1001", "no_storage", "default"]);
    };
    differs(&client.send_text(NO_STORAGE).await);
    differs(&upload_with(&client, NO_STORAGE, Form::image()).await);

    let fault = Effect::Error {
        status: 500,
        code: 131_000,
        subcode: None,
        details: None,
    };
    world
        .emulator
        .fault(Fault::new(Operation::Settings, fault).number(IN_COUNTRY));
    let reply = client.send_text(IN_COUNTRY).await;
    reply.assert_refused(503, 131_005, "settings_unverified");
    reply.assert_names(&["1002", "GET /{phone_number_id}/settings"]);
    assert!(world.reached().is_empty(), "{:?}", world.reached());
}

#[tokio::test]
async fn a_file_that_meta_would_not_take() {
    let world = World::pass_through().await;
    let client = world.client();
    let form = |mime: &str, bytes: &[u8]| {
        Form::new()
            .field("messaging_product", "whatsapp")
            .file(mime, bytes)
    };
    let untyped = "Content-Disposition: form-data; name=\"file\"; filename=\"a.png\"";
    let large = vec![b'x'; 500 * 1024 + 1];
    for (form, reason, names) in [
        (
            form("image/gif", PNG),
            "media_type_not_taken",
            &["1001", "image/gif"][..],
        ),
        (
            Form::new().raw(untyped, PNG),
            "media_type_not_taken",
            &["1001", "Content-Type"],
        ),
        (
            form("image/png", PNG).field("type", "image/jpeg"),
            "media_types_disagree",
            &["1001", "image/jpeg", "image/png"],
        ),
        (
            form("image/webp", &large),
            "file_too_large",
            &["1001", "image/webp", "512000"],
        ),
    ] {
        let reply = upload_with(&client, NO_STORAGE, form).await;
        reply.assert_refused(400, 131_053, reason);
        reply.assert_names(names);
    }
    assert_eq!(world.emulator.media_bytes_kept(), 0);
}
