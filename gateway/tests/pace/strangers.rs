//! In pass-through a stranger's token takes nothing from a number, and stops nobody else.

use curfew_emulator::{Effect, Fault, Operation};

use super::*;

fn no_rights(world: &World, status: u16, code: i64, subcode: Option<i64>) {
    let effect = Effect::Error {
        status,
        code,
        subcode,
        details: None,
    };
    world.emulator.fault(Fault::new(Operation::Send, effect).times(1));
}

/// Meta's usual words to a token that is good, but of another business.
#[tokio::test]
async fn a_token_without_rights_takes_nothing_from_the_number_and_its_recipients() {
    for (status, code, subcode) in [(400, 100, Some(33)), (403, 10, None), (403, 200, None)] {
        let portfolio = "[[portfolio]]\nnumbers = [\"1003\"]\nunique_recipients_24h = 1\n";
        let world = World::of(&policies("when_limited = \"reject\"", portfolio)).await;
        no_rights(&world, status, code, subcode);
        let stranger = send(
            &world.caller("EAAG-somebody-else"),
            &template("+15550100001", "x"),
        )
        .await;
        assert_eq!(stranger.code(), Some(code));
        let owner = send(&world.client(), &template("+15550100002", "x")).await;
        assert_eq!(owner.status, 200, "{code}: {}", owner.text());
    }
}

/// What Meta says to a token of that token's own closes nothing for others.
#[tokio::test]
async fn a_strangers_own_ban_stops_nobody_else() {
    for code in [368, 613] {
        let world = world("").await;
        no_rights(&world, 403, code, None);
        let stranger = send(&world.caller("EAAG-somebody-else"), &text("+15550100001")).await;
        assert_eq!(stranger.code(), Some(code));
        let owner = send(&world.client(), &text("+15550100002")).await;
        assert_eq!(owner.status, 200, "{code}: {}", owner.text());
    }
}

/// The 401 that would give it back is never read.
#[tokio::test]
async fn a_stranger_that_hangs_up_takes_nothing() {
    let portfolio = "[[portfolio]]\nnumbers = [\"1003\"]\nunique_recipients_24h = 1\n";
    let world = World::of(&policies("when_limited = \"reject\"", portfolio)).await;
    let fault = Fault::new(Operation::Send, Effect::Latency { millis: 200 });
    world.emulator.fault(fault.times(1));
    let body = template("+15550100001", "x").to_string();
    let request = format!(
        "POST /v23.0/{DEFAULT}/messages HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer EAAG-somebody-else\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut caller = common::raw::Raw::connect(world.gateway.addr).await;
    caller.send(request).await;
    soon(async {
        while world.reached().is_empty() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    drop(caller);
    // As soon as Meta has said 401.
    soon(async { while send(&world.client(), &template("+15550100002", "x")).await.status != 200 {} }).await;
    assert_eq!(world.emulator.sent().len(), 1);
}

/// A token that Meta has taken is no stranger's: what Meta says to it is about the number.
#[tokio::test]
async fn what_meta_says_to_a_token_that_it_has_taken_counts() {
    let world = world("").await;
    assert_eq!(send(&world.client(), &text("+15550100001")).await.status, 200);
    no_rights(&world, 403, 131_031, None);
    assert_eq!(
        send(&world.client(), &text("+15550100001")).await.code(),
        Some(131_031)
    );
    let refused = send(&world.client(), &text("+15550100002")).await;
    refused.assert_refused(403, 131_031, "limited_closed");
}
