//! Meta's word counts more than ours, and operators see what came of it.

use std::time::Duration;

use curfew_emulator::{Effect, Fault, Operation};

use super::*;

const KEY: &str = "the-key-of-billing";

/// A number with a caller: what Meta says to the gateway's own token is about the number.
async fn world(sends: &str) -> World {
    world_with(sends, "").await
}

async fn world_with(sends: &str, more: &str) -> World {
    let caller = caller_table("billing", KEY, &[DEFAULT], &["send", "storage"]);
    World::of(&policies(sends, &format!("{more}{caller}"))).await
}

/// Has the emulator refuse the next send with this code.
fn refuse_once(world: &World, status: u16, code: i64) {
    let effect = Effect::Error {
        status,
        code,
        subcode: None,
        details: None,
    };
    world.emulator.fault(Fault::new(Operation::Send, effect).times(1));
}

async fn open(world: &World, body: &str) -> Reply {
    Client::new(world.gateway.admin).post_text("/open", body).await
}

#[tokio::test]
async fn too_fast_for_meta_slows_the_number_at_once() {
    let world = world("per_second = 80\nwhen_limited = \"reject\"").await;
    let client = world.caller(KEY);
    refuse_once(&world, 400, 130_429);
    let first = send(&client, &text("+15550100001")).await;
    // Meta's own answer passes unchanged.
    assert_eq!(
        (first.status.as_u16(), first.code(), first.reason()),
        (400, Some(130_429), None)
    );
    assert_eq!(number_now(&world).await["current_per_second"], 40);
    world.time.advance(Duration::from_secs(600));
    assert_eq!(number_now(&world).await["current_per_second"], 80);
}

#[tokio::test]
async fn too_many_for_meta_to_one_recipient_close_that_pair_for_longer_each_time() {
    let world = world("when_limited = \"reject\"").await;
    let client = world.caller(KEY);
    for seconds in [1, 4, 16] {
        refuse_once(&world, 400, 131_056);
        assert_eq!(send(&client, &text("+15550100001")).await.code(), Some(131_056));
        let refused = send(&client, &text("+15550100001")).await;
        refused.assert_refused(429, 131_056, "limited_pair");
        assert_eq!(retry_after(&refused), seconds);
        assert_eq!(send(&client, &text("+15550100002")).await.status, 200);
        world.time.advance(Duration::from_secs(seconds));
    }
}

#[tokio::test]
async fn what_meta_pauses_is_paused_whatever_the_status_says() {
    let world = world("when_limited = \"reject\"").await;
    let client = world.caller(KEY);
    for (status, code) in [(400, 80_007), (200, 4), (400, 613)] {
        refuse_once(&world, status, code);
        assert_eq!(send(&client, &text("+15550100001")).await.code(), Some(code));
        let refused = send(&client, &text("+15550100002")).await;
        refused.assert_refused(429, code, "limited_closed");
        assert_eq!(retry_after(&refused), 60);
        world.time.advance(Duration::from_secs(60));
        assert_eq!(send(&client, &text("+15550100002")).await.status, 200);
    }
}

#[tokio::test]
async fn what_meta_stops_is_stopped_until_an_operator_opens_it() {
    let world = world("").await;
    let client = world.caller(KEY);
    refuse_once(&world, 400, 131_048);
    assert_eq!(send(&client, &text("+15550100001")).await.code(), Some(131_048));
    let refused = send(&client, &text("+15550100002")).await;
    // A retry would not cure it, so no status says so.
    refused.assert_refused(403, 131_048, "limited_closed");
    assert_eq!(refused.header("retry-after"), None);
    assert_eq!(world.emulator.sent().len(), 0);
    let closed = limits(&world).await["closed"][0].clone();
    assert_eq!(
        (&closed["what"], &closed["id"]),
        (&json!("number"), &json!("1003"))
    );
    assert_eq!(
        (&closed["code"], &closed["until"]),
        (&json!(131_048), &Value::Null)
    );

    for wrong in [
        "{}",
        r#"{"phone_number_id":"x"}"#,
        r#"{"phone_number_id":"1003","waba_id":"5001"}"#,
    ] {
        assert_eq!(open(&world, wrong).await.status, 400);
    }
    let opened = open(&world, r#"{"phone_number_id":"1003"}"#).await;
    assert_eq!(opened.json(), json!({ "was_closed": true }));
    assert_eq!(send(&client, &text("+15550100002")).await.status, 200);
    assert_eq!(limits(&world).await["closed"], json!([]));
}

#[tokio::test]
async fn an_account_that_meta_has_locked_stops_all_its_numbers() {
    let other =
        "[[number]]\nphone_number_id = \"1004\"\nwaba_id = \"5001\"\nstorage = { mode = \"default\" }\n";
    let world = world_with(
        "",
        &format!(
            "{other}{}",
            caller_table("desk", "the-key-of-desk", &[1004], &["send"])
        ),
    )
    .await;
    let client = world.caller(KEY);
    refuse_once(&world, 403, 131_031);
    assert_eq!(send(&client, &text("+15550100001")).await.code(), Some(131_031));
    world
        .caller("the-key-of-desk")
        .send_text(1004)
        .await
        .assert_refused(403, 131_031, "limited_closed");
    assert_eq!(
        open(&world, r#"{"waba_id":"5001"}"#).await.json(),
        json!({ "was_closed": true })
    );
    assert_eq!(world.caller("the-key-of-desk").send_text(1004).await.status, 200);
}

#[tokio::test]
async fn a_registration_opens_a_number_that_was_not_registered() {
    let world = world("").await;
    let client = world.caller(KEY);
    refuse_once(&world, 400, 133_010);
    assert_eq!(send(&client, &text("+15550100001")).await.code(), Some(133_010));
    send(&client, &text("+15550100001"))
        .await
        .assert_refused(403, 133_010, "limited_closed");
    let registration = json!({ "messaging_product": "whatsapp", "pin": "123456" });
    let reply = client.post("/v23.0/1003/register", &registration).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(send(&client, &text("+15550100001")).await.status, 200);
    // What was closed for another reason is an operator's to open.
    refuse_once(&world, 400, 131_048);
    assert_eq!(send(&client, &text("+15550100001")).await.code(), Some(131_048));
    assert_eq!(
        client.post("/v23.0/1003/register", &registration).await.status,
        200
    );
    send(&client, &text("+15550100001"))
        .await
        .assert_refused(403, 131_048, "limited_closed");
}

#[tokio::test]
async fn whom_meta_takes_for_one_recipient_has_one_pace() {
    let world = world("pair = { seconds = 6, burst = 2 }\nwhen_limited = \"reject\"").await;
    let client = world.caller(KEY);
    // Without `+` and code: Meta adds the number's own country and says so.
    let local = send(&client, &text("5550100001")).await;
    let wa_id = local.json()["contacts"][0]["wa_id"].as_str().unwrap().to_owned();
    assert_eq!(send(&client, &text(&format!("+{wa_id}"))).await.status, 200);
    for to in ["5550100001".to_owned(), wa_id.clone(), format!("+{wa_id}")] {
        send(&client, &text(&to))
            .await
            .assert_refused(429, 131_056, "limited_pair");
    }
}

#[tokio::test]
async fn what_is_seen_of_the_limits_names_no_recipient() {
    let portfolio = "[[portfolio]]\nnumbers = [\"1003\"]\nunique_recipients_24h = 10\n";
    let world = world_with("", portfolio).await;
    let client = world.caller(KEY);
    assert_eq!(send(&client, &template("+15550100001", "news")).await.status, 200);
    let seen = Client::new(world.gateway.admin).get("/limits").await;
    assert_eq!(seen.json()["numbers"]["1003"]["granted"], 1);
    assert!(!seen.text().contains("5550100001"), "{}", seen.text());
    assert_eq!(
        Client::new(world.gateway.admin)
            .post_text("/limits", "")
            .await
            .status,
        405
    );
}
