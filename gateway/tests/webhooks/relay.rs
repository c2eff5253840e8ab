//! What comes in goes on as it is, while Meta waits; what does not arrive, Meta keeps.

use serde_json::json;

use super::receiver::Answer;
use super::*;
use common::{DEFAULT, NO_STORAGE};

#[tokio::test]
async fn a_webhook_arrives_byte_for_byte_with_metas_own_signature() {
    let mut relayed = Relayed::pass_through().await;
    let wamid = relayed
        .emulator()
        .inbound_text(DEFAULT, "+49 151 12345678", "hello");
    let got = relayed.receiver.next().await;
    assert_eq!(got.value()["messages"][0]["id"], wamid);
    assert_eq!(got.target, "POST /hooks/whatsapp?team=care");
    assert_eq!(
        got.headers["x-hub-signature-256"],
        signature(APP_SECRET, &got.body)
    );
    assert_eq!(got.headers["content-type"], "application/json");
    assert!(!got.headers.contains_key("authorization"));
    assert_eq!(relayed.answered(1).await, [Some(200)]);

    // Spacing, order, what is not known, and what is no JSON at all: nothing is judged here.
    for body in [
        br#"{ "entry" : [ {"changes":[{"value":{"x":1},"field":"new"}]} ] , "object":"page"}"#.as_slice(),
        br#"{"entry":[{"changes":[{"field":"messages","value":{"metadata":7}}]}]}"#,
        br#"{"a":1,"a":2}"#,
        b"no JSON \xff",
        b"",
    ] {
        assert_eq!(relayed.post_signed(body).await.status, 200);
        let got = relayed.receiver.next().await;
        assert_eq!(got.body, body);
        assert_eq!(got.headers["x-hub-signature-256"], signature(APP_SECRET, body));
    }
}

#[tokio::test]
async fn with_a_secret_of_its_own_every_delivery_is_signed_with_it() {
    let mut relayed = Relayed::of(common::PASS_THROUGH, Some(DELIVERY_SECRET)).await;
    let body = json!({"object": "whatsapp_business_account", "entry": []}).to_string();
    assert_eq!(relayed.post_signed(body.as_bytes()).await.status, 200);
    let got = relayed.receiver.next().await;
    assert_eq!(got.body, body);
    assert_eq!(
        got.headers["x-hub-signature-256"],
        signature(DELIVERY_SECRET, &got.body)
    );
    // Nobody can put it in Meta's name.
    let own = signature(DELIVERY_SECRET, body.as_bytes());
    assert_eq!(relayed.post(body.as_bytes(), &own).await.status, 401);
}

#[tokio::test]
async fn meta_keeps_what_the_receiver_did_not_take_and_brings_it_again() {
    let mut relayed = Relayed::pass_through().await;
    let elsewhere = Receiver::start().await;
    let moved = Answer::MovedTo(elsewhere.url.clone());
    for (times, answer) in [Answer::Status(500), moved, Answer::HangUp, Answer::Status(404)]
        .into_iter()
        .enumerate()
    {
        relayed.receiver.answer(answer.clone());
        if times == 0 {
            let _ = relayed
                .emulator()
                .inbound_text(DEFAULT, "4915112345678", "patience");
        }
        relayed.receiver.next().await;
        let answered = relayed.answered(times + 1).await;
        assert_eq!(answered.last(), Some(&Some(502)), "{answer:?}");
        if times == 3 {
            relayed.receiver.answer(Answer::Status(204));
        } else {
            relayed.receiver.answer(Answer::Status(500));
        }
        relayed.emulator().advance(6);
    }
    let got = relayed.receiver.next().await;
    assert_eq!(got.value()["messages"][0]["text"]["body"], "patience");
    let answered = relayed.answered(5).await;
    assert_eq!(answered.last(), Some(&Some(200)), "any success is a success");
    assert!(
        elsewhere.is_idle(),
        "content goes nowhere but where it was configured to"
    );
}

#[tokio::test]
async fn a_receiver_that_is_not_there_is_told_as_unavailable() {
    let port = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = port.local_addr().unwrap();
    drop(port);
    let setup = Setup {
        webhooks: Some(webhooks(&format!("http://{address}/"), None)),
        ..Setup::default()
    };
    let world = World::start(setup).await;
    let receiver = Receiver::start().await;
    let relayed = Relayed { world, receiver };
    assert_eq!(relayed.post_signed(b"{}").await.status, 503);
}

#[tokio::test]
async fn under_no_storage_what_is_not_heard_within_the_hour_is_gone_everywhere() {
    let mut relayed = Relayed::pass_through().await;
    relayed.receiver.answer(Answer::Status(503));
    let _ = relayed
        .emulator()
        .inbound_text(NO_STORAGE, "4915112345678", "for an hour");
    relayed.receiver.next().await;
    assert_eq!(relayed.answered(1).await, [Some(502)]);
    relayed.receiver.answer(Answer::Status(200));
    relayed.world.pass_minutes(60);
    let got = relayed.receiver.next().await.value();
    assert_eq!(got["errors"][0]["code"], 131_035);
    assert!(
        got.get("messages").is_none(),
        "no copy was kept here that could be delivered"
    );
}
