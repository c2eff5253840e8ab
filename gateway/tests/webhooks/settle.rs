//! What became of a send whose answer was lost, a webhook says.

use bytes::Bytes;
use curfew::config::StoreConfig;
use curfew_emulator::{Effect, Fault, Operation};
use serde_json::{Value, json};

use super::*;
use common::DEFAULT;

/// One number whose sends are settled.
const SETTLING: &str = r#"
[[number]]
phone_number_id = "1003"
storage = { mode = "default" }
sends = { settle_unknown = true, pair = { seconds = 1, burst = 100 } }
"#;

fn text(own: Option<&str>) -> Value {
    let mut text = json!({"messaging_product": "whatsapp", "to": "+15550100001", "type": "text", "text": {"body": "once"}});
    if let Some(own) = own {
        text["biz_opaque_callback_data"] = own.into();
    }
    text
}

async fn send(client: &Client, key: Option<&str>, body: &Value) -> Reply {
    let mut headers = vec![("content-type", "application/json")];
    headers.extend(key.map(|key| ("idempotency-key", key)));
    let target = format!("/v23.0/{DEFAULT}/messages");
    let body = Bytes::from(body.to_string());
    soon(client.send(Method::POST, &target, &headers, body)).await
}

/// Once, a send is done and its answer does not come whole.
fn lost_reply() -> Fault {
    Fault::new(Operation::Send, Effect::TruncateReply { after_bytes: 5 }).times(1)
}

fn sent_opaque(relayed: &Relayed) -> Vec<Option<String>> {
    let sent = relayed.emulator().sent().into_iter();
    let opaque = sent.map(|sent| sent.body["biz_opaque_callback_data"].as_str().map(str::to_owned));
    opaque.collect()
}

#[tokio::test]
async fn a_send_whose_answer_was_lost_is_settled_by_its_status_and_never_sent_again() {
    let folder = tempfile::tempdir().unwrap();
    let file = StoreConfig::Sqlite {
        path: folder.path().join("curfew.db"),
    };
    for store in [StoreConfig::Memory, file] {
        let setup = Setup {
            policies: SETTLING.to_owned(),
            store,
            ..Setup::default()
        };
        let mut relayed = Relayed::start(setup, Some(DELIVERY_SECRET)).await;
        let client = relayed.world.client();
        let body = text(Some("order 17"));
        // Nobody hears of it for now: Meta cannot deliver, and its answer is lost.
        relayed
            .emulator()
            .set_callback(Some("http://127.0.0.1:9/".to_owned()));
        relayed.emulator().fault(lost_reply());
        let first = send(&client, Some("key-1"), &body).await;
        first.assert_refused(409, 131_000, "outcome_unknown");
        let again = send(&client, Some("key-1"), &body).await;
        again.assert_refused(409, 131_000, "outcome_unknown");
        assert_eq!(relayed.emulator().sent().len(), 1);
        let marked = sent_opaque(&relayed)[0].clone().unwrap();
        assert!(
            marked.starts_with("cf1.") && marked.ends_with(".order 17"),
            "{marked}"
        );

        // Then a status comes in.
        let wamid = relayed.emulator().sent()[0].wamid.clone();
        relayed.emulator().set_callback(Some(relayed.url()));
        assert!(relayed.emulator().fail_message(&wamid, 131_026));
        let status = relayed.receiver.next().await.value()["statuses"][0].clone();
        assert_eq!(status["biz_opaque_callback_data"], "order 17");
        relayed.answered(2).await;
        let settled = send(&client, Some("key-1"), &body).await;
        assert_eq!(settled.header("idempotency-replayed"), Some("true"));
        assert_eq!((settled.status.as_u16(), settled.code()), (400, Some(131_026)));
        assert_eq!(relayed.emulator().sent().len(), 1, "it was never sent again");
        send(&client, Some("key-1"), &text(None))
            .await
            .assert_refused(422, 100, "idempotency_other_body");
    }
}

#[tokio::test]
async fn what_was_accepted_after_all_is_answered_with_its_id() {
    let mut relayed = Relayed::of(SETTLING, Some(DELIVERY_SECRET)).await;
    let client = relayed.world.client();
    relayed.emulator().fault(lost_reply());
    let first = send(&client, Some("key-2"), &text(None)).await;
    first.assert_refused(409, 131_000, "outcome_unknown");
    for _ in 0..3 {
        let status = relayed.receiver.next().await.value()["statuses"][0].clone();
        assert!(
            status.get("biz_opaque_callback_data").is_none(),
            "the caller had none"
        );
    }
    relayed.answered(3).await;
    let settled = send(&client, Some("key-2"), &text(None)).await;
    assert_eq!(settled.status, 200, "{}", settled.text());
    assert_eq!(
        settled.json()["messages"][0]["id"],
        relayed.emulator().sent()[0].wamid
    );
    assert_eq!(relayed.emulator().sent().len(), 1);
}

#[tokio::test]
async fn only_sends_that_may_be_asked_for_again_are_marked() {
    let relayed = Relayed::of(SETTLING, Some(DELIVERY_SECRET)).await;
    let client = relayed.world.client();
    assert_eq!(send(&client, None, &text(Some("mine"))).await.status, 200);
    let long = "x".repeat(500);
    assert_eq!(send(&client, Some("key-3"), &text(Some(&long))).await.status, 200);
    assert_eq!(sent_opaque(&relayed), [Some("mine".to_owned()), Some(long)]);
    assert_eq!(send(&client, Some("key-4"), &text(None)).await.status, 200);
    assert_eq!(send(&client, Some("key-4"), &text(None)).await.status, 200);
    let marked = sent_opaque(&relayed);
    assert_eq!(marked.len(), 3, "the second was answered, not sent");
    assert!(
        marked[2].as_deref().is_some_and(|value| value.len() == 36),
        "{marked:?}"
    );
    // Read receipts are no sends.
    let receipt = json!({"messaging_product": "whatsapp", "status": "read", "message_id": "wamid.x"});
    send(&client, Some("key-5"), &receipt).await;
    let received = relayed.emulator().received();
    let last = received.last().unwrap();
    let body = last.body.clone().unwrap();
    assert!(!String::from_utf8_lossy(&body).contains("cf1."));
}
