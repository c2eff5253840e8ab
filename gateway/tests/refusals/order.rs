//! Who may not call, and which refusal wins.

use super::*;

#[tokio::test]
async fn a_caller_who_is_unknown_or_may_not() {
    let policies = format!(
        "{PASS_THROUGH}{}",
        caller_table("billing", "billing-key", &[NO_STORAGE], &["send"])
    );
    let world = World::of(&policies).await;
    let reply = world.caller("another-key").send_text(NO_STORAGE).await;
    reply.assert_refused(401, 190, "unknown_caller");
    reply.assert_names(&["Authorization: Bearer"]);
    let client = world.caller("billing-key");
    let reply = client.send_text(DEFAULT).await;
    reply.assert_refused(403, 131_005, "number_not_allowed");
    reply.assert_names(&["1003", "[[caller]]", "numbers"]);
    let reply = client.get("/v23.0/1001").await;
    reply.assert_refused(403, 131_005, "operation_not_allowed");
    reply.assert_names(&["1001", "read_number", "\"read\"", "may"]);
    let reply = client.post("/v23.0/5001/message_templates", &json!({})).await;
    reply.assert_refused(403, 131_005, "operation_not_allowed");
    assert!(world.emulator.received().is_empty());
}

/// Which refusal wins: front door, caller, operation known and allowed, form of the request, then the rules in the table's
/// order.
#[tokio::test]
async fn the_first_reason_is_the_one_that_is_told() {
    let policies = format!(
        "{PASS_THROUGH}{}",
        caller_table("billing", "billing-key", &[NO_STORAGE], &["send", "media"])
    );
    let world = World::of(&policies).await;
    let stranger = world.caller("another-key");
    let billing = world.caller("billing-key");

    // Front door, then caller.
    let raw = b"POST /v23.0/me;x HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{]";
    stranger
        .send_raw(raw)
        .await
        .assert_refused(400, 100, "path_parameter");
    // Caller, then operation, form and rules.
    for target in [
        "/v23.0/me",
        "/v23.0/1001/messages?batch=[]",
        "/v23.0/9999/messages",
    ] {
        stranger
            .post_text(target, "{]")
            .await
            .assert_refused(401, 190, "unknown_caller");
    }
    // Operation known, then allowed, then form.
    let reply = billing.post_text("/v23.0/1003/telepathy?batch=[]", "{]").await;
    reply.assert_refused(403, 131_005, "unknown_operation");
    let reply = billing.post_text("/v23.0/1003/messages?batch=[]", "{]").await;
    reply.assert_refused(403, 131_005, "number_not_allowed");
    let reply = billing.post_text("/v23.0/1001/settings?batch=[]", "{]").await;
    reply.assert_refused(403, 131_005, "operation_not_allowed");
    let form = Form::image().field("batch", "[]");
    let reply = upload_with(&billing, DEFAULT, form).await;
    reply.assert_refused(403, 131_005, "number_not_allowed");
    // Form, then rules: query, encoding, then what is in the body.
    let foreign = image(&json!({ "id": "123", "link": "https://elsewhere.example/" })).to_string();
    let reply = billing.post_text("/v23.0/1001/messages?batch=[]", "{]").await;
    reply.assert_refused(400, 100, "query_not_allowed");
    let twice = foreign.replacen('{', "{\"to\":\"1\",", 1);
    billing
        .post_text(MESSAGES, &twice)
        .await
        .assert_refused(400, 100, "json_duplicate_key");
    let form = Form::image().field("ttl_minutes", "1").field("batch", "[]");
    let reply = upload_with(&billing, NO_STORAGE, form).await;
    reply.assert_refused(400, 100, "form_field_unknown");

    // The rules, in the table's order, each with every later one broken as well. The number's real settings are wrong.
    world.emulator.set_storage(NO_STORAGE, Storage::Default);
    world.pass_minutes(15);
    let odd = |image: serde_json::Value| {
        json!({ "to": "+15550100001", "type": "hologram", "image": image }).to_string()
    };
    let with_id = odd(json!({ "id": "123", "link": "https://elsewhere.example/", "thumbnail": 1 }));
    let with_link = odd(json!({ "link": "https://elsewhere.example/", "thumbnail": 1 }));
    let with_member = odd(json!({ "thumbnail": 1 }));
    for (body, status, code, reason) in [
        (with_id, 400, 100, "media_not_usable"),
        (with_link, 403, 131_005, "link_not_allowed"),
        (with_member, 403, 131_005, "unknown_member"),
        (odd(json!({})), 403, 131_005, "unknown_message_type"),
        (text().to_string(), 503, 131_005, "settings_differ"),
    ] {
        billing
            .post_text(MESSAGES, &body)
            .await
            .assert_refused(status, code, reason);
    }
    world.emulator.set_storage(NO_STORAGE, Storage::NoStorage);
    world.pass_minutes(15);
    let gif = Form::new().file("image/gif", PNG);
    let reply = upload_with(&billing, NO_STORAGE, gif.clone().field("ttl_minutes", "1")).await;
    reply.assert_refused(400, 131_053, "media_type_not_taken");
    let first = Form::new().field("ttl_minutes", "1").file("image/gif", PNG);
    let reply = upload_with(&billing, NO_STORAGE, first).await;
    reply.assert_refused(400, 131_009, "ttl_out_of_bounds");
    assert!(
        world
            .reached()
            .iter()
            .all(|call| call.starts_with("GET /v23.0/123")),
        "{:?}",
        world.reached()
    );
}
