//! Promise: media are downloaded through the gateway, by its own URLs, and Meta's token and addresses stay inside.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod common;

use bytes::Bytes;
use common::form::{Form, PNG};
use common::{Client, DEFAULT, IN_COUNTRY, NO_STORAGE, Reply, Running, Setup, TOKEN, World, caller_table};
use curfew_emulator::{Effect, Emulator, Fault, Operation, Options};
use http::Method;
use serde_json::Value;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::net::TcpListener;

const KEY: &str = "cfw_billing";

/// A gateway that keeps no copy: what is tested here is the way to the media host.
async fn without_cache(policies: &str) -> World {
    World::start(Setup {
        policies: policies.to_owned(),
        configure: |config| config.cache.max_bytes = 0,
        ..Setup::default()
    })
    .await
}

/// The policies of a gateway with a token of its own, and one caller.
fn with_caller() -> String {
    let numbers = [NO_STORAGE, IN_COUNTRY, DEFAULT];
    let caller = caller_table("billing", KEY, &numbers, &["send", "media"]);
    format!("{}{caller}", common::PASS_THROUGH)
}

async fn metadata(client: &Client, media: u64) -> Reply {
    let reply = client.get(&format!("/v23.0/{media}")).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply
}

async fn url_of(client: &Client, media: u64) -> String {
    let metadata = metadata(client, media).await.json();
    metadata["url"].as_str().expect("a URL").to_owned()
}

#[track_caller]
fn assert_image(reply: &Reply) {
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(&reply.body[..], PNG);
    assert_eq!(reply.header("content-type"), Some("image/png"));
}

#[track_caller]
fn assert_invalid(reply: &Reply) {
    reply.assert_refused(404, 100, "media_url_invalid");
    assert_eq!(reply.json()["error"]["error_subcode"], 33);
}

/// How often the media host was asked.
fn fetches(emulator: &Emulator) -> usize {
    let received = emulator.received();
    let fetched = received
        .iter()
        .filter(|call| call.operation == Operation::MediaDownload);
    fetched.count()
}

/// A server that nobody may call, and how often somebody did.
async fn forbidden() -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let addr = listener.local_addr().expect("an address");
    let hits = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&hits);
    tokio::spawn(async move {
        while listener.accept().await.is_ok() {
            count.fetch_add(1, Ordering::SeqCst);
        }
    });
    (addr, hits)
}

/// Whatever was said to a caller, in its headers and body, names no place of Meta's and no token of the gateway's.
#[track_caller]
fn assert_discreet(reply: &Reply, emulator: &Emulator) {
    let said = format!("{:?} {}", reply.headers, reply.text());
    let host = emulator.addr().to_string();
    for secret in [TOKEN, host.as_str(), "whatsapp_business/attachments", "hash="] {
        assert!(!said.contains(secret), "{secret} in {said}");
    }
}

#[tokio::test]
async fn url_and_download_url_lead_to_the_gateway_and_name_nothing_of_metas() {
    for download_url in [false, true] {
        let world = World::start(Setup {
            emulator: Options {
                download_url,
                ..Options::default()
            },
            ..Setup::default()
        })
        .await;
        let client = world.client();
        for number in [NO_STORAGE, IN_COUNTRY, DEFAULT] {
            let media = client.upload(number).await;
            let reply = metadata(&client, media).await;
            assert_discreet(&reply, &world.emulator);
            let body = reply.json();
            let url = body["url"].as_str().expect("a URL");
            assert_eq!(body["download_url"], body["url"]);
            let prefix = format!("http://{}/_curfew/media/", world.gateway.addr);
            let token = url.strip_prefix(&prefix).expect("one of the gateway's");
            assert!(
                token
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')),
                "{token}"
            );
            let told = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
            assert_eq!(
                [told("id"), told("mime_type"), told("file_size")],
                [media.to_string(), "image/png".to_owned(), PNG.len().to_string()]
            );

            let image = client.get(url).await;
            assert_image(&image);
            assert_discreet(&image, &world.emulator);
            assert_eq!(image.header("cache-control"), Some("private, no-store"));
            assert_eq!(image.header("x-content-type-options"), Some("nosniff"));
        }
    }
}

#[tokio::test]
async fn the_url_begins_as_the_caller_reached_the_gateway() {
    let world = World::pass_through().await;
    let media = world.client().upload(NO_STORAGE).await;
    let target = format!("/v23.0/{media}");
    let headers = [
        ("host", "curfew.internal:8443"),
        ("x-forwarded-host", "elsewhere.example"),
        ("forwarded", "host=elsewhere.example;proto=https"),
    ];
    let reply = world
        .client()
        .send(Method::GET, &target, &headers, Bytes::new())
        .await;
    let url = reply.json()["url"].as_str().expect("a URL").to_owned();
    assert!(
        url.starts_with("http://curfew.internal:8443/_curfew/media/"),
        "{url}"
    );
}

#[tokio::test]
async fn the_url_begins_with_the_public_url_where_there_is_one() {
    let world = World::start(Setup {
        configure: |config| {
            config.public_url = "https://curfew.bank.example".parse().ok();
        },
        ..Setup::default()
    })
    .await;
    let client = world.client();
    let media = client.upload(NO_STORAGE).await;
    let headers = [("host", "elsewhere.example")];
    let reply = client
        .send(Method::GET, &format!("/v23.0/{media}"), &headers, Bytes::new())
        .await;
    let url = reply.json()["url"].as_str().expect("a URL").to_owned();
    let path = url.strip_prefix("https://curfew.bank.example").expect("ours");
    assert_image(&client.get(path).await);
}

#[tokio::test]
async fn what_clients_do_to_a_url_does_not_break_it() {
    for (policies, key) in [(common::PASS_THROUGH.to_owned(), TOKEN), (with_caller(), KEY)] {
        let world = without_cache(&policies).await;
        let client = world.caller(key);
        let media = client.upload(NO_STORAGE).await;
        let url = url_of(&client, media).await;
        let anonymous = client.clone().anonymous();
        assert_image(&anonymous.get(&url).await);
        assert_image(&world.caller("another-token").get(&url).await);
        assert_image(&anonymous.get(&format!("{url}?access_token=EAAG-anything")).await);
        assert_image(&anonymous.get(&format!("{url}?access_token=")).await);
        for headers in [
            [("authorization", "Bearer")],
            [("authorization", "Bearer ")],
            [("authorization", "")],
            [("host", "lookaside.fbsbx.com")],
            [("user-agent", "Googlebot/2.1")],
        ] {
            let reply = anonymous.send(Method::GET, &url, &headers, Bytes::new()).await;
            assert_image(&reply);
        }
        // Whatever came, what went to the media host carries the one right token, and nothing of the caller's.
        let received = world.emulator.received();
        let fetched = received
            .iter()
            .filter(|call| call.operation == Operation::MediaDownload);
        for fetch in fetched {
            assert_eq!(fetch.header("authorization"), Some(&*format!("Bearer {TOKEN}")));
            assert_eq!(fetch.header("host"), Some(&*world.emulator.addr().to_string()));
            assert!(
                fetch
                    .header("user-agent")
                    .is_some_and(|agent| agent.starts_with("curfew/"))
            );
            assert_eq!(fetch.header("range"), None);
            assert!(
                !fetch
                    .query
                    .as_deref()
                    .unwrap_or_default()
                    .contains("access_token")
            );
        }
    }
}

#[tokio::test]
async fn a_url_is_for_get_and_head_only() {
    let world = World::pass_through().await;
    let client = world.client();
    let media = client.upload(NO_STORAGE).await;
    let url = url_of(&client, media).await;
    let got = client.get(&url).await;
    let head = client.send(Method::HEAD, &url, &[], Bytes::new()).await;
    assert_eq!((head.status, head.body.len()), (got.status, 0));
    for name in ["content-type", "cache-control", "content-length"] {
        assert_eq!(head.header(name), got.header(name), "{name}");
    }
    for method in [Method::POST, Method::DELETE, Method::PUT, Method::PATCH] {
        let reply = client.send(method.clone(), &url, &[], Bytes::new()).await;
        reply.assert_refused(405, 100, "method");
    }
    // HEAD is for these URLs alone.
    let reply = client
        .send(Method::HEAD, &format!("/v23.0/{media}"), &[], Bytes::new())
        .await;
    assert_eq!(reply.status, 405);
    assert_image(&client.get(&url).await);
}

#[tokio::test]
async fn a_url_is_good_for_five_minutes_and_no_longer_than_its_medium() {
    let world = World::pass_through().await;
    let client = world.client();
    let media = client.upload(IN_COUNTRY).await;
    let url = url_of(&client, media).await;
    world.time.advance(Duration::from_millis(5 * 60_000 - 1));
    assert_image(&client.get(&url).await);
    world.time.advance(Duration::from_millis(1));
    assert_invalid(&client.get(&url).await);

    let form = Form::image().field("ttl_minutes", "60");
    let media = client.post_form("/v23.0/1001/media", &form).await.media_id();
    world.time.advance(Duration::from_secs(58 * 60));
    let url = url_of(&client, media).await;
    world
        .time
        .advance(Duration::from_secs(2 * 60) - Duration::from_millis(1));
    assert_image(&client.get(&url).await);
    world.time.advance(Duration::from_millis(1));
    assert_invalid(&client.get(&url).await);
}

#[tokio::test]
async fn a_forged_url_opens_nothing() {
    let world = World::pass_through().await;
    let client = world.client();
    let media = client.upload(NO_STORAGE).await;
    let url = url_of(&client, media).await;
    let (prefix, token) = url.rsplit_once('/').expect("a path");
    let fetched = fetches(&world.emulator);
    for at in 0..token.len() {
        for other in ["A", "_", "q"] {
            let mut forged = token.to_owned();
            forged.replace_range(at..=at, other);
            if forged != token {
                assert_invalid(&client.get(&format!("{prefix}/{forged}")).await);
            }
        }
    }
    let (begin, end) = token.split_at(60);
    for forged in [
        String::new(),
        "A".to_owned(),
        begin.to_owned(),
        end.to_owned(),
        format!("{token}A"),
        format!("A{token}"),
        format!("{token}/"),
        format!("{token}/{token}"),
        format!("{token}="),
        format!("{end}{begin}"),
        token.to_ascii_lowercase(),
        "A".repeat(token.len()),
    ] {
        assert_invalid(&client.get(&format!("{prefix}/{forged}")).await);
    }
    assert_eq!(fetches(&world.emulator), fetched);
    assert_image(&client.get(&url).await);
}

/// The path and query of a URL, on another gateway.
fn on(gateway: &Running, url: &str) -> String {
    let (_, path) = url.split_once("/_curfew").expect("one of the gateway's");
    format!("http://{}/_curfew{path}", gateway.addr)
}

#[tokio::test]
async fn instances_that_share_the_token_take_each_others_urls() {
    let world = World::of(&with_caller()).await;
    let client = world.caller(KEY);
    let other = world.another_gateway().await;
    for number in [NO_STORAGE, IN_COUNTRY, DEFAULT] {
        let media = client.upload(number).await;
        let url = url_of(&client, media).await;
        let elsewhere = on(&other, &url);
        let anonymous = Client::new(other.addr);
        assert_image(&anonymous.get(&elsewhere).await);
        // What one has deleted the other does not find at Meta.
        let reply = client.delete(&format!("/v23.0/{media}")).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        anonymous
            .get(&elsewhere)
            .await
            .assert_refused(404, 100, "media_gone");
    }
    let media = client.upload(NO_STORAGE).await;
    let url = url_of(&client, media).await;
    world.pass_minutes(5);
    assert_invalid(&Client::new(other.addr).get(&on(&other, &url)).await);
}

#[tokio::test]
async fn in_pass_through_a_url_is_its_own_gateways() {
    let world = World::pass_through().await;
    let client = world.client();
    let media = client.upload(NO_STORAGE).await;
    let url = url_of(&client, media).await;
    let other = world.another_gateway().await;
    assert_invalid(&Client::new(other.addr).bearer(TOKEN).get(&on(&other, &url)).await);
    assert_image(&client.get(&url).await);
}

#[tokio::test]
async fn a_url_of_metas_that_has_ended_is_asked_for_once_more() {
    let world = without_cache(common::PASS_THROUGH).await;
    let client = world.client();
    let media = client.upload(NO_STORAGE).await;
    let url = url_of(&client, media).await;
    world.emulator.advance(6);
    world.emulator.clear_record();
    assert_image(&client.get(&url).await);
    let calls: Vec<_> = world
        .emulator
        .received()
        .iter()
        .map(|call| call.operation)
        .collect();
    assert_eq!(
        calls,
        [
            Operation::MediaDownload,
            Operation::MediaMetadata,
            Operation::MediaDownload
        ]
    );

    let error = Effect::Error {
        status: 404,
        code: 100,
        subcode: None,
        details: None,
    };
    world.emulator.fault(Fault::new(Operation::MediaDownload, error));
    world.emulator.clear_record();
    let reply = client.get(&url).await;
    reply.assert_refused(404, 100, "media_gone");
    assert_eq!(fetches(&world.emulator), 2);
}

#[tokio::test]
async fn what_the_media_host_says_else_is_no_answer() {
    let error = |status| Effect::Error {
        status,
        code: 131_000,
        subcode: None,
        details: None,
    };
    let world = without_cache(common::PASS_THROUGH).await;
    let client = world.client();
    let media = client.upload(NO_STORAGE).await;
    let url = url_of(&client, media).await;
    for (effect, reason) in [
        (error(500), "unusable_answer"),
        (error(403), "unusable_answer"),
        (error(401), "unusable_answer"),
        (Effect::ResetRequest { after_bytes: 0 }, "upstream_broke_off"),
    ] {
        world.emulator.fault(Fault::new(Operation::MediaDownload, effect));
        let reply = client.get(&url).await;
        reply.assert_refused(502, 131_000, reason);
        assert_discreet(&reply, &world.emulator);
        world.emulator.clear_faults();
    }
    // What breaks off before anything of it was given on is still told as what it is.
    let fault = Effect::TruncateReply { after_bytes: 20 };
    world.emulator.fault(Fault::new(Operation::MediaDownload, fault));
    let reply = client.get(&url).await;
    reply.assert_refused(502, 131_000, "upstream_broke_off");
    world.emulator.clear_faults();
    assert_image(&client.get(&url).await);
}

#[tokio::test]
async fn only_the_listed_media_hosts_are_ever_fetched() {
    let (elsewhere, hits) = forbidden().await;
    let world = World::of(&with_caller()).await;
    let client = world.caller(KEY);
    let media = client.upload(NO_STORAGE).await;
    let listed = world.emulator.addr();
    let good = url_of(&client, media).await;
    // Meta's own URL behind the good one has ended, so a download asks for another.
    world.emulator.advance(6);
    world.emulator.clear_record();
    for base in [
        format!("http://{elsewhere}"),
        format!("http://{listed}@{elsewhere}"),
        format!("http://{listed}.{elsewhere}"),
        format!("http://{listed}\\@{elsewhere}"),
        format!("http://{elsewhere}#http://{listed}"),
        format!("http://{elsewhere}/http://{listed}"),
        format!("HTTP://{elsewhere}"),
        format!("//{elsewhere}"),
        format!("https://{listed}"),
        format!("http://localhost:{}", listed.port()),
        format!("http://127.1:{}", listed.port()),
        format!("http://user@{listed}"),
        format!("http://127.0.0.1:{}", elsewhere.port()),
        format!(" http://{listed}"),
        String::new(),
    ] {
        let effect = Effect::MediaUrl { base: base.clone() };
        world.emulator.fault(Fault::new(Operation::MediaMetadata, effect));
        let reply = client.get(&format!("/v23.0/{media}")).await;
        reply.assert_refused(502, 131_000, "unusable_answer");
        assert_discreet(&reply, &world.emulator);
        let reply = client.get(&good).await;
        reply.assert_refused(502, 131_000, "unusable_answer");
        assert_discreet(&reply, &world.emulator);
        world.emulator.clear_faults();
    }
    assert_eq!(hits.load(Ordering::SeqCst), 0);
    assert_image(&client.get(&good).await);
}

#[tokio::test]
async fn redirects_are_followed_by_nobody() {
    let (elsewhere, hits) = forbidden().await;
    let world = World::pass_through().await;
    let client = world.client();
    let media = client.upload(NO_STORAGE).await;
    let url = url_of(&client, media).await;
    for location in [
        format!("http://{elsewhere}/"),
        format!("{}/v23.0/{media}", world.emulator.base_url()),
    ] {
        for operation in [Operation::MediaDownload, Operation::MediaMetadata] {
            let location = location.clone();
            world
                .emulator
                .fault(Fault::new(operation, Effect::Redirect { location }));
        }
        for target in [url.clone(), format!("/v23.0/{media}")] {
            let reply = client.get(&target).await;
            reply.assert_refused(502, 131_000, "unusable_answer");
            assert_eq!(reply.header("location"), None);
        }
        world.emulator.clear_faults();
    }
    assert_eq!(hits.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn metadata_that_makes_no_sense_give_out_no_url() {
    let world = World::pass_through().await;
    let client = world.client();
    let media = client.upload(NO_STORAGE).await;
    let error = Effect::Error {
        status: 200,
        code: 100,
        subcode: None,
        details: None,
    };
    for (effect, refused) in [
        (Effect::Garbage, true),
        (Effect::TruncateReply { after_bytes: 30 }, true),
        // An error is Meta's answer, whatever its status.
        (error, false),
    ] {
        world
            .emulator
            .fault(Fault::new(Operation::MediaMetadata, effect).times(1));
        let reply = client.get(&format!("/v23.0/{media}")).await;
        assert_eq!(reply.reason().is_some(), refused, "{}", reply.text());
        if refused {
            assert_eq!((reply.status.as_u16(), reply.code()), (502, Some(131_000)));
        }
        assert!(!reply.text().contains("_curfew"));
    }
}

#[tokio::test]
async fn large_media_come_whole() {
    let world = World::pass_through().await;
    let client = world.client();
    let bytes: Vec<u8> = (0..3_000_001_u32)
        .map(|at| at.to_le_bytes()[0] ^ at.to_le_bytes()[1])
        .collect();
    let form = Form::new()
        .field("messaging_product", "whatsapp")
        .file("application/pdf", &bytes);
    let media = client.post_form("/v23.0/1002/media", &form).await.media_id();
    let url = url_of(&client, media).await;
    let reply = client.get(&url).await;
    assert_eq!(reply.header("content-length"), Some("3000001"));
    assert_eq!(reply.header("content-type"), Some("application/pdf"));
    assert!(reply.body == bytes);
}

#[tokio::test]
async fn the_gateways_token_goes_to_meta_and_nowhere_else() {
    let world = World::of(&with_caller()).await;
    let client = world.caller(KEY);
    let media = client.upload(NO_STORAGE).await;
    let mut replies = vec![metadata(&client, media).await];
    let url = url_of(&client, media).await;
    replies.push(client.get(&url).await);
    replies.push(client.send_image(NO_STORAGE, media).await);
    replies.push(client.send_image(DEFAULT, media).await);
    for reply in &replies {
        assert_discreet(reply, &world.emulator);
    }
    for call in world.emulator.received() {
        assert_eq!(call.header("authorization"), Some(&*format!("Bearer {TOKEN}")));
        let said: Value = call.json().unwrap_or_default();
        let all = format!("{:?} {:?} {said}", call.headers, call.query);
        assert!(!all.contains(KEY), "{all}");
    }
}
