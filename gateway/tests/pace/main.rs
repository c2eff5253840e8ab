//! Promise: sends keep the pace of their number, their recipient and their portfolio. What is above it waits or is told when
//! to come back, and none of it reaches Meta.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

#[path = "../common/mod.rs"]
mod common;

mod load;
mod meta;
mod strangers;

use std::time::Duration;

use common::{Client, DEFAULT, Reply, World, caller_table, soon};
use serde_json::{Value, json};

/// One default number, with these lines of `[number.sends]` and more of the file.
fn policies(sends: &str, more: &str) -> String {
    format!(
        "[[number]]\nphone_number_id = \"{DEFAULT}\"\nwaba_id = \"5001\"\nstorage = {{ mode = \"default\" }}\n\
         [number.sends]\n{sends}\n{more}"
    )
}

async fn world(sends: &str) -> World {
    World::of(&policies(sends, "")).await
}

fn text(to: &str) -> Value {
    json!({ "messaging_product": "whatsapp", "to": to, "type": "text", "text": { "body": "x" } })
}

fn template(to: &str, name: &str) -> Value {
    json!({ "messaging_product": "whatsapp", "to": to, "type": "template",
        "template": { "name": name, "language": { "code": "en" } } })
}

async fn send(client: &Client, body: &Value) -> Reply {
    client.post(&format!("/v23.0/{DEFAULT}/messages"), body).await
}

async fn limits(world: &World) -> Value {
    Client::new(world.gateway.admin).get("/limits").await.json()
}

async fn number_now(world: &World) -> Value {
    limits(world).await["numbers"][DEFAULT.to_string()].clone()
}

/// Until so many sends wait.
async fn until_waiting(world: &World, sends: u64) {
    soon(async {
        while number_now(world).await["waiting"]["sends"] != sends {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

fn retry_after(reply: &Reply) -> u64 {
    reply
        .header("retry-after")
        .expect("it says when")
        .parse()
        .unwrap()
}

#[tokio::test]
async fn a_send_above_the_throughput_is_told_when_to_come_back_and_passes_then() {
    let world = world("per_second = 2\nburst = 2\nwhen_limited = \"reject\"").await;
    let client = world.client();
    for nth in 0..2 {
        assert_eq!(
            send(&client, &text(&format!("+1555010000{nth}"))).await.status,
            200
        );
    }
    let refused = send(&client, &text("+15550100009")).await;
    refused.assert_refused(429, 130_429, "limited_throughput");
    refused.assert_names(&["1003", "sends.per_second"]);
    assert_eq!(world.emulator.sent().len(), 2);
    world.time.advance(Duration::from_secs(retry_after(&refused)));
    assert_eq!(send(&client, &text("+15550100009")).await.status, 200);
    assert_eq!(world.emulator.sent().len(), 3);
}

#[tokio::test]
async fn one_recipient_has_a_pace_however_they_are_written_and_others_go_on() {
    let world = world("pair = { seconds = 6, burst = 2 }\nwhen_limited = \"reject\"").await;
    let client = world.client();
    assert_eq!(send(&client, &text("+1 (555) 010-0001")).await.status, 200);
    assert_eq!(send(&client, &text("+15550100001")).await.status, 200);
    let refused = send(&client, &text("15550100001")).await;
    refused.assert_refused(429, 131_056, "limited_pair");
    assert_eq!(retry_after(&refused), 6);
    // Nobody's number is in an answer.
    assert!(!refused.text().contains("555"), "{}", refused.text());
    assert_eq!(send(&client, &text("+15550100002")).await.status, 200);
    world.time.advance(Duration::from_secs(6));
    assert_eq!(send(&client, &text("+15550100001")).await.status, 200);
}

#[tokio::test]
async fn a_portfolio_messages_so_many_outside_a_service_window_and_answers_everybody() {
    let portfolio = "[[portfolio]]\nnumbers = [\"1003\"]\nunique_recipients_24h = 2\n";
    let world = World::of(&policies("when_limited = \"reject\"", portfolio)).await;
    let client = world.client();
    for to in ["+15550100001", "+15550100002", "+15550100001"] {
        assert_eq!(send(&client, &template(to, "news")).await.status, 200);
    }
    let refused = send(&client, &template("+15550100003", "news")).await;
    refused.assert_refused(429, 130_429, "limited_unique_recipients");
    assert_eq!(retry_after(&refused), 86_400);
    // A free-form message reaches nobody outside a window.
    assert_eq!(send(&client, &text("+15550100003")).await.status, 200);
    assert_eq!(limits(&world).await["portfolios"][0]["counted"], 2);
    world.pass_minutes(1_440);
    assert_eq!(send(&client, &template("+15550100003", "news")).await.status, 200);
}

#[tokio::test]
async fn what_waits_goes_out_when_its_turn_comes() {
    let world = world("per_second = 1\nburst = 1\nmax_wait_ms = 5000").await;
    let client = world.client();
    assert_eq!(send(&client, &text("+15550100001")).await.status, 200);
    let second = text("+15550100002");
    let waiting = async {
        let reply = send(&client, &second).await;
        (reply.status.as_u16(), world.emulator.sent().len())
    };
    let passing = async {
        until_waiting(&world, 1).await;
        assert_eq!(world.emulator.sent().len(), 1);
        world.time.advance(Duration::from_secs(1));
    };
    let (answer, ()) = soon(async { tokio::join!(waiting, passing) }).await;
    assert_eq!(answer, (200, 2));
}

#[tokio::test]
async fn nothing_waits_that_could_not_pass_in_time() {
    let world = world("per_second = 1\nburst = 1\nmax_wait_ms = 500").await;
    let client = world.client();
    assert_eq!(send(&client, &text("+15550100001")).await.status, 200);
    let refused = send(&client, &text("+15550100002")).await;
    refused.assert_refused(429, 130_429, "limited_throughput");
    assert_eq!(retry_after(&refused), 1);
}

#[tokio::test]
async fn a_caller_that_hangs_up_frees_its_place() {
    let world = world("per_second = 1\nburst = 1\nmax_wait_ms = 60000").await;
    let client = world.client();
    assert_eq!(send(&client, &text("+15550100001")).await.status, 200);
    let (first, second) = (text("+15550100002"), text("+15550100003"));
    {
        let hung_up = send(&client, &first);
        tokio::select! {
            reply = hung_up => panic!("it should wait: {}", reply.text()),
            () = until_waiting(&world, 1) => {}
        }
    }
    until_waiting(&world, 0).await;
    world.time.advance(Duration::from_secs(1));
    assert_eq!(send(&client, &second).await.status, 200);
    let recipients: Vec<_> = world
        .emulator
        .sent()
        .iter()
        .map(|sent| sent.body["to"].clone())
        .collect();
    assert_eq!(recipients, ["+15550100001", "+15550100003"]);
}

#[tokio::test]
async fn urgent_classes_go_first_and_a_read_of_templates_says_which_are_urgent() {
    let sends = "per_second = 1\nburst = 1\nmax_wait_ms = 60000\n[number.sends.classes.utility]\ntemplates = [\"listed\"]";
    let world = world(sends).await;
    let client = world.client();
    let created = json!({ "name": "otp", "language": "en", "category": "AUTHENTICATION", "components": [] });
    let reply = client.post("/v23.0/5001/message_templates", &created).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let page = client
        .get("/v23.0/5001/message_templates?fields=name,category")
        .await;
    assert_eq!(
        page.json()["data"][0]["category"],
        "AUTHENTICATION",
        "{}",
        page.text()
    );

    assert_eq!(send(&client, &text("+15550100000")).await.status, 200);
    // In this order they come, in another they go.
    let bodies = [
        template("+15550100001", "unheard of"),
        text("+15550100002"),
        template("+15550100003", "listed"),
        template("+15550100004", "otp"),
    ];
    let sending = async {
        let mut replies = Vec::new();
        for (nth, body) in (1..).zip(&bodies) {
            let (client, body) = (client.clone(), body.clone());
            replies.push(tokio::spawn(async move { send(&client, &body).await }));
            until_waiting(&world, nth).await;
        }
        for waiting in (0..4).rev() {
            world.time.advance(Duration::from_secs(1));
            until_waiting(&world, waiting).await;
        }
        for reply in replies {
            assert_eq!(reply.await.unwrap().status, 200);
        }
    };
    soon(sending).await;
    let recipients: Vec<_> = world
        .emulator
        .sent()
        .iter()
        .map(|sent| sent.body["to"].clone())
        .collect();
    let order = [
        "+15550100000",
        "+15550100004",
        "+15550100003",
        "+15550100002",
        "+15550100001",
    ];
    assert_eq!(recipients, order);
}

#[tokio::test]
async fn a_send_that_waited_is_judged_again() {
    let world = world("per_second = 1\nburst = 1\nmax_wait_ms = 60000").await;
    let client = world.client();
    let media = client.upload(DEFAULT).await;
    assert_eq!(send(&client, &text("+15550100001")).await.status, 200);
    let waiting = client.send_image(DEFAULT, media);
    let deleted = async {
        until_waiting(&world, 1).await;
        assert_eq!(client.delete(&format!("/v23.0/{media}")).await.status, 200);
        world.time.advance(Duration::from_secs(1));
    };
    let (reply, ()) = soon(async { tokio::join!(waiting, deleted) }).await;
    assert_eq!(reply.status, 400, "{}", reply.text());
    assert_eq!(world.emulator.sent().len(), 1);
    // It took nothing.
    assert_eq!(send(&client, &text("+15550100001")).await.status, 200);
}

#[tokio::test]
async fn receipts_count_for_the_number_and_for_no_recipient() {
    let world =
        world("per_second = 3\nburst = 3\npair = { seconds = 6, burst = 1 }\nwhen_limited = \"reject\"")
            .await;
    let client = world.client();
    let wamid = world.emulator.inbound_text(DEFAULT, "15550100001", "hello");
    let receipt = json!({ "messaging_product": "whatsapp", "status": "read", "message_id": wamid });
    assert_eq!(send(&client, &receipt).await.status, 200);
    assert_eq!(send(&client, &receipt).await.status, 200);
    assert_eq!(send(&client, &text("+15550100001")).await.status, 200);
    send(&client, &receipt)
        .await
        .assert_refused(429, 130_429, "limited_throughput");
}

#[tokio::test]
async fn what_is_never_sent_takes_nothing() {
    let world = world("per_second = 1\nburst = 1\nwhen_limited = \"reject\"").await;
    let client = world.client();
    // Refused by policy.
    let foreign = json!({ "messaging_product": "whatsapp", "to": "+15550100001", "type": "image", "image": { "id": "99" } });
    assert_eq!(send(&client, &foreign).await.status, 400);
    // Refused by Meta, because of the token: a stranger uses up nobody's throughput.
    let stranger = send(&world.caller("EAAG-somebody-else"), &text("+15550100001")).await;
    assert_eq!(stranger.status, 401, "{}", stranger.text());
    assert_eq!(send(&client, &text("+15550100001")).await.status, 200);
    send(&client, &text("+15550100001"))
        .await
        .assert_refused(429, 130_429, "limited_throughput");
}

#[tokio::test]
async fn under_monitor_nobody_waits_or_is_turned_away() {
    let sends = "per_second = 1\nburst = 1\nwhen_limited = \"reject\"";
    let world = World::of(&format!("enforcement = \"monitor\"\n{}", policies(sends, ""))).await;
    let client = world.client();
    assert_eq!(
        send(&client, &text("+15550100001"))
            .await
            .header("curfew-observed"),
        None
    );
    let passed = send(&client, &text("+15550100002")).await;
    assert_eq!(
        (passed.status.as_u16(), passed.header("curfew-observed")),
        (200, Some("limited_throughput"))
    );
}

#[tokio::test]
async fn a_reload_changes_the_pace_of_those_who_wait() {
    let world = world("per_second = 1\nburst = 1\nmax_wait_ms = 60000").await;
    let client = world.client();
    assert_eq!(send(&client, &text("+15550100001")).await.status, 200);
    let second = text("+15550100002");
    let waiting = send(&client, &second);
    let reloaded = async {
        until_waiting(&world, 1).await;
        let faster = policies("per_second = 100\nburst = 100", "");
        world
            .gateway
            .in_force
            .replace(curfew_policies::parse(&faster).unwrap())
            .unwrap();
        // What is spent stays spent, but comes back a hundred times as fast.
        world.time.advance(Duration::from_millis(10));
    };
    let (reply, ()) = soon(async { tokio::join!(waiting, reloaded) }).await;
    assert_eq!(reply.status, 200);
}
