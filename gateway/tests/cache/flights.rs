//! One fetch for all who ask meanwhile, and nobody harms another.

use curfew_emulator::{Effect, Operation};
use futures_util::future::join_all;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::*;
use crate::common::{DEFAULT, IN_COUNTRY, NO_STORAGE, TOKEN, soon};

/// Asks for `url` on a connection of its own, and does not read.
async fn ask(world: &World, url: &str) -> TcpStream {
    let (_, path) = url.split_once("/_curfew").unwrap();
    let mut stream = TcpStream::connect(world.gateway.addr).await.unwrap();
    let request = format!("GET /_curfew{path} HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

/// Reads until `wanted` bytes of a body have come.
async fn read_body(stream: &mut TcpStream, wanted: usize) -> Vec<u8> {
    let mut received = Vec::new();
    loop {
        let body = received.windows(4).position(|window| window == b"\r\n\r\n");
        if let Some(at) = body
            && received.len() - at - 4 >= wanted
        {
            return received.split_off(at + 4);
        }
        let read = soon(stream.read_buf(&mut received)).await.unwrap();
        assert!(read > 0, "{}", String::from_utf8_lossy(&received));
    }
}

async fn has_begun(world: &World) {
    soon(world.emulator.until(|emulator| {
        let received = emulator.received();
        received
            .iter()
            .any(|call| call.operation == Operation::MediaDownload)
    }))
    .await;
}

#[tokio::test]
async fn the_first_is_a_miss_and_the_next_are_hits() {
    let world = world().await;
    let client = world.caller(KEY);
    let bytes = bytes(LARGE);
    let (media, url) = upload(&client, NO_STORAGE, &bytes).await;
    assert_whole(&get(&client, &url, &[]).await, &bytes, "miss");
    assert_whole(&get(&client, &url, &[]).await, &bytes, "hit");
    // Another URL of the same medium is the same copy.
    assert_whole(
        &get(&client, &url_of(&client, media).await, &[]).await,
        &bytes,
        "hit",
    );
    assert_eq!(fetches(&world), 1);
    let kept = kept(&world).await;
    assert_eq!(
        (kept["entries"].as_u64(), kept["bytes"].as_u64()),
        (Some(1), Some(300_001))
    );
    assert_eq!(
        (kept["hits"].as_u64(), kept["misses"].as_u64()),
        (Some(2), Some(1))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_callers_make_one_fetch() {
    let world = world().await;
    let client = world.caller(KEY);
    let bytes = bytes(LARGE);
    let (_, url) = upload(&client, NO_STORAGE, &bytes).await;
    fault(&world, Operation::MediaDownload, Effect::Latency { millis: 200 });
    let replies = join_all((0..100).map(|_| {
        let (client, url) = (world.caller(KEY), &url);
        async move { get(&client, url, &[]).await }
    }))
    .await;
    for reply in &replies {
        assert!(reply.status == 200 && reply.body == bytes);
    }
    assert_eq!(fetches(&world), 1);
    let missed = replies.iter().filter(|reply| via(reply) == Some("miss"));
    assert!(missed.count() > 0);
}

#[tokio::test]
async fn whoever_asks_first_may_leave() {
    let world = world().await;
    let client = world.caller(KEY);
    let bytes = bytes(LARGE);
    let (_, url) = upload(&client, NO_STORAGE, &bytes).await;
    fault(&world, Operation::MediaDownload, Effect::Latency { millis: 300 });
    let first = ask(&world, &url).await;
    has_begun(&world).await;
    let second = get(&client, &url, &[]);
    drop(first);
    assert_whole(&second.await, &bytes, "miss");
    assert_eq!(fetches(&world), 1);
}

#[tokio::test]
async fn callers_stream_what_has_come_and_a_slow_one_holds_up_nobody() {
    let world = world().await;
    let client = world.caller(KEY);
    let bytes = bytes(1_000_000);
    let (media, url) = upload(&client, NO_STORAGE, &bytes).await;
    let after_bytes = 500_000;
    fault(
        &world,
        Operation::MediaDownload,
        Effect::StallReply { after_bytes },
    );
    // Never read.
    let slow = ask(&world, &url).await;
    has_begun(&world).await;
    let mut others = [ask(&world, &url).await, ask(&world, &url).await];
    for stream in &mut others {
        let got = read_body(stream, 400_000).await;
        assert!(bytes.starts_with(&got) && got.len() <= after_bytes);
    }
    assert_eq!(fetches(&world), 1);
    // What is coming ends like what is there, for all of them.
    let reply = client.delete(&format!("/v23.0/{media}")).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    for mut stream in others.into_iter().chain([slow]) {
        let mut rest = Vec::new();
        let _ = soon(stream.read_to_end(&mut rest)).await;
        assert!(rest.len() < 600_000);
    }
    assert_eq!(kept(&world).await["bytes"], 0);
}

#[tokio::test]
async fn a_failed_fetch_is_told_to_all_and_kept_by_nobody() {
    let error = |status| Effect::Error {
        status,
        code: 1,
        subcode: None,
        details: None,
    };
    let world = world().await;
    let client = world.caller(KEY);
    let bytes = bytes(1000);
    let (_, url) = upload(&client, NO_STORAGE, &bytes).await;
    for (effect, status, code, reason) in [
        (error(404), 404, 100, "media_gone"),
        (error(403), 502, 131_000, "unusable_answer"),
        (error(500), 502, 131_000, "unusable_answer"),
        (error(206), 502, 131_000, "unusable_answer"),
        (
            Effect::Redirect {
                location: world.emulator.base_url(),
            },
            502,
            131_000,
            "unusable_answer",
        ),
        (
            Effect::ResetRequest { after_bytes: 0 },
            502,
            131_000,
            "upstream_broke_off",
        ),
        (
            Effect::TruncateReply { after_bytes: 20 },
            502,
            131_000,
            "upstream_broke_off",
        ),
    ] {
        fault(&world, Operation::MediaDownload, Effect::Latency { millis: 50 });
        fault(&world, Operation::MediaDownload, effect);
        let replies = join_all((0..5).map(|_| get(&client, &url, &[]))).await;
        for reply in replies {
            reply.assert_refused(status, code, reason);
            assert_eq!(reply.subcode(), (status == 404).then_some(33));
        }
        world.emulator.clear_faults();
        let kept = kept(&world).await;
        assert_eq!(
            (kept["entries"].as_u64(), kept["hits"].as_u64()),
            (Some(0), Some(0))
        );
    }
    assert_whole(&get(&client, &url, &[]).await, &bytes, "miss");
}

#[tokio::test]
async fn another_numbers_caller_gets_nothing_of_a_copy() {
    let world = world().await;
    let (client, other) = (world.caller(KEY), world.caller(OTHER_KEY));
    let bytes = bytes(1000);
    let (media, url) = upload(&client, NO_STORAGE, &bytes).await;
    assert_whole(&get(&client, &url, &[]).await, &bytes, "miss");
    for target in [
        format!("/v23.0/{media}"),
        format!("/v23.0/{media}?phone_number_id={IN_COUNTRY}"),
        format!("/v23.0/{media}?phone_number_id={NO_STORAGE}"),
    ] {
        let reply = other.get(&target).await;
        assert!(reply.status.is_client_error() && !reply.text().contains("_curfew"));
    }
    // The URL is the right to have it; a forged one is not.
    let (prefix, token) = url.rsplit_once('/').unwrap();
    let forged = format!("{prefix}/{}", token.replacen(|c: char| c != 'A', "A", 1));
    get(&other, &forged, &[])
        .await
        .assert_refused(404, 100, "media_url_invalid");
    assert_eq!(kept(&world).await["hits"], 0);
}

#[tokio::test]
async fn in_pass_through_each_fetch_goes_out_under_the_token_of_whoever_leads() {
    const OTHER: &str = "EAAG-another-token";
    let world = World::pass_through().await;
    let client = world.client();
    let bytes = bytes(1000);
    let (_, url) = upload(&client, DEFAULT, &bytes).await;
    // Who downloads presents what it likes: the metadata call's token is what counts.
    let reply = get(&world.caller(OTHER), &url, &[]).await;
    assert_whole(&reply, &bytes, "miss");
    assert_whole(&get(&world.caller(OTHER), &url, &[]).await, &bytes, "hit");
    let received = world.emulator.received();
    let fetch = received
        .iter()
        .find(|call| call.operation == Operation::MediaDownload)
        .unwrap();
    assert_eq!(fetch.header("authorization"), Some(&*format!("Bearer {TOKEN}")));
}

#[tokio::test]
async fn in_pass_through_the_failure_of_anothers_token_is_nobody_elses() {
    let world = World::pass_through().await;
    let client = world.client();
    let bytes = bytes(1000);
    let (_, url) = upload(&client, DEFAULT, &bytes).await;
    fault(&world, Operation::MediaDownload, Effect::Latency { millis: 200 });
    let error = Effect::Error {
        status: 403,
        code: 10,
        subcode: None,
        details: None,
    };
    world
        .emulator
        .fault(Fault::new(Operation::MediaDownload, error).times(1));
    let replies = join_all((0..5).map(|_| get(&client, &url, &[]))).await;
    let (refused, served): (Vec<_>, Vec<_>) = replies.iter().partition(|reply| reply.status != 200);
    assert_eq!((refused.len(), served.len(), fetches(&world)), (1, 4, 2));
    refused[0].assert_refused(502, 131_000, "unusable_answer");
    assert!(served.iter().all(|reply| reply.body == bytes));
}

#[tokio::test]
async fn what_is_too_large_or_not_to_be_kept_goes_past() {
    let bytes = bytes(LARGE);
    let configures: [fn(&mut curfew::config::Config); 3] = [
        |_| {},
        |config| config.cache.max_bytes = 0,
        |config| config.cache.object_bytes = 300_000,
    ];
    for (media, configure) in ["cache_minutes = 0", "", ""].into_iter().zip(configures) {
        let policies = policies(media);
        let world = World::start(Setup {
            policies,
            configure,
            ..Setup::default()
        })
        .await;
        let client = world.caller(KEY);
        let (_, url) = upload(&client, NO_STORAGE, &bytes).await;
        for _ in 0..2 {
            let reply = get(&client, &url, &[]).await;
            assert_whole(&reply, &bytes, "bypass");
            assert_eq!((reply.header("age"), reply.header("accept-ranges")), (None, None));
            assert_eq!(reply.header("content-length"), Some("300001"));
        }
        // Ranges would fetch the whole each time.
        let reply = get(&client, &url, &[("range", "bytes=0-9")]).await;
        assert_whole(&reply, &bytes, "bypass");
        assert_eq!(fetches(&world), 3);
        assert_eq!(kept(&world).await["bytes"], 0);
    }
}
