//! Without a key: a caller's window, in which the same send is a double post.

use std::time::Duration;

use super::*;

fn policies() -> String {
    let caller = |name: &str, more: &str| {
        let table = caller_table(name, &format!("key-of-{name}"), &[NO_STORAGE, DEFAULT], &["send"]);
        format!("{table}{more}")
    };
    let (a, b) = (caller("a", "repeat_window_s = 30\n"), caller("b", ""));
    format!("{PASS_THROUGH}{a}{b}")
}

async fn post(client: &Client, number: u64, body: &Value) -> Reply {
    send_to(client, &messages(number), &[], body).await
}

#[tokio::test]
async fn the_same_send_within_the_window_is_answered_like_the_first() {
    let world = World::of(&policies()).await;
    let (with, without) = (world.caller("key-of-a"), world.caller("key-of-b"));
    let body = text("+15550100001", "Hello");
    let first = post(&with, DEFAULT, &body).await;
    assert_eq!(first.status, 200, "{}", first.text());
    world.time.advance(Duration::from_millis(29_999));
    assert_repeats(&post(&with, DEFAULT, &body).await, &first);
    assert_eq!(world.emulator.sent().len(), 1);
    // What differs is another send: by its body, its number, its caller, or by having a key.
    let others = [
        post(&with, DEFAULT, &text("+15550100001", "Hello!")).await,
        post(&with, NO_STORAGE, &body).await,
        post(&without, DEFAULT, &body).await,
        post(&without, DEFAULT, &body).await,
        send_to(&with, &messages(DEFAULT), &["k"], &body).await,
    ];
    for reply in &others {
        assert_eq!(
            (reply.status.as_u16(), is_replayed(reply)),
            (200, false),
            "{}",
            reply.text()
        );
    }
    assert_eq!(world.emulator.sent().len(), 1 + others.len());
    world.time.advance(Duration::from_millis(1));
    let again = post(&with, DEFAULT, &body).await;
    assert_eq!((again.status.as_u16(), is_replayed(&again)), (200, false));
}

#[tokio::test]
async fn within_the_window_what_is_not_known_is_not_sent_again() {
    let world = World::of(&policies()).await;
    let client = world.caller("key-of-a");
    let body = text("+15550100001", "Hello");
    let effect = Effect::TruncateReply { after_bytes: 5 };
    world.emulator.fault(Fault::new(Operation::Send, effect).times(1));
    for _ in 0..2 {
        let reply = post(&client, DEFAULT, &body).await;
        reply.assert_refused(409, 131_000, "outcome_unknown");
    }
    world.time.advance(Duration::from_secs(30));
    assert_eq!(post(&client, DEFAULT, &body).await.status, 200);
    assert_eq!(world.emulator.sent().len(), 2);
}
