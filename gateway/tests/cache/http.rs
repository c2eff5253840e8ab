//! Ranges, conditions and headers, over real sockets. What each header means is tested beside the code that reads it.

use ::http::Method;
use curfew_emulator::{Effect, Operation};
use serde_json::json;

use super::*;
use crate::common::NO_STORAGE;

async fn head(client: &Client, url: &str, headers: &[(&str, &str)]) -> Reply {
    client.send(Method::HEAD, url, headers, Bytes::new()).await
}

#[track_caller]
fn assert_guarded(reply: &Reply) {
    assert_eq!(reply.header("cache-control"), Some("private, no-store"));
    assert_eq!(reply.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(
        reply.header("content-security-policy"),
        Some("default-src 'none'; sandbox")
    );
}

#[tokio::test]
async fn every_answer_says_what_the_medium_is_and_that_nobody_keeps_it() {
    let world = world().await;
    let client = world.caller(KEY);
    let bytes = bytes(LARGE);
    let (_, url) = upload(&client, NO_STORAGE, &bytes).await;
    let miss = get(&client, &url, &[]).await;
    assert_whole(&miss, &bytes, "miss");
    assert_eq!(miss.header("age"), None);
    world.time.advance(std::time::Duration::from_millis(2999));
    let hit = get(&client, &url, &[]).await;
    assert_whole(&hit, &bytes, "hit");
    assert_eq!(hit.header("age"), Some("2"));
    for reply in [&miss, &hit] {
        assert_guarded(reply);
        assert_eq!(reply.header("content-type"), Some("application/pdf"));
        assert_eq!(reply.header("content-length"), Some("300001"));
        assert_eq!(reply.header("accept-ranges"), Some("bytes"));
        let etag = reply.header("etag").unwrap();
        assert!(etag.len() == 66 && etag.starts_with('"') && etag.ends_with('"'));
    }
    assert_eq!(miss.header("etag"), hit.header("etag"));
}

#[tokio::test]
async fn ranges_are_cut_out_of_the_copy_and_of_what_is_coming() {
    let world = world().await;
    let client = world.caller(KEY);
    let bytes = bytes(LARGE);
    for is_kept in [false, true] {
        for (range, start, end) in [
            ("bytes=0-0", 0, 1),
            ("bytes=65535-65536", 65_535, 65_537),
            ("bytes=100000-", 100_000, LARGE),
            ("bytes=-5", LARGE - 5, LARGE),
            ("bytes=0-999999", 0, LARGE),
        ] {
            let (_, url) = upload(&client, NO_STORAGE, &bytes).await;
            if is_kept {
                get(&client, &url, &[]).await;
            }
            let reply = get(&client, &url, &[("range", range)]).await;
            assert_eq!(reply.status, 206, "{range}");
            assert!(reply.body == bytes[start..end], "{range}");
            let said = format!("bytes {start}-{}/{LARGE}", end - 1);
            assert_eq!(reply.header("content-range"), Some(&*said));
            assert_eq!(reply.header("content-length"), Some(&*(end - start).to_string()));
            assert_eq!(via(&reply), Some(if is_kept { "hit" } else { "miss" }));
            assert_eq!(reply.header("content-type"), Some("application/pdf"));
            assert!(reply.header("etag").is_some());
            assert_guarded(&reply);
            // The whole was fetched once, and is there for the next.
            assert_whole(&get(&client, &url, &[]).await, &bytes, "hit");
        }
    }
    assert_eq!(fetches(&world), 10);
}

#[tokio::test]
async fn a_range_behind_the_end_is_refused_without_a_fetch_and_several_get_the_whole() {
    let world = world().await;
    let client = world.caller(KEY);
    let bytes = bytes(1000);
    let (_, url) = upload(&client, NO_STORAGE, &bytes).await;
    for range in ["bytes=1000-", "bytes=-0", "bytes=5000-6000"] {
        let reply = get(&client, &url, &[("range", range)]).await;
        reply.assert_refused(416, 100, "range_not_satisfiable");
        assert_eq!(reply.header("content-range"), Some("bytes */1000"));
        reply.assert_names(&["1000 bytes"]);
    }
    assert_eq!(fetches(&world), 0);
    for range in ["bytes=0-1,5-6", "items=0-1", "bytes=5-1"] {
        let reply = get(&client, &url, &[("range", range)]).await;
        assert!(reply.status == 200 && reply.body == bytes, "{range}");
    }
}

#[tokio::test]
async fn conditions_on_the_entity_tag_hold() {
    let world = world().await;
    let client = world.caller(KEY);
    let bytes = bytes(1000);
    let (_, url) = upload(&client, NO_STORAGE, &bytes).await;
    let announced = head(&client, &url, &[]).await;
    let etag = announced.header("etag").unwrap().to_owned();
    let weak = format!("W/{etag}");
    for tag in [&*etag, &*weak, "*", &*format!("\"x\", {etag}")] {
        for method in [Method::GET, Method::HEAD] {
            let reply = client
                .send(method, &url, &[("if-none-match", tag)], Bytes::new())
                .await;
            assert_eq!((reply.status.as_u16(), reply.body.len()), (304, 0), "{tag}");
            assert_eq!(reply.header("etag"), Some(&*etag));
            assert_eq!(reply.header("content-length"), None);
            assert_guarded(&reply);
        }
    }
    let reply = get(&client, &url, &[("if-match", "\"x\"")]).await;
    reply.assert_refused(412, 100, "precondition_failed");
    assert_eq!(fetches(&world), 0, "none of these needs a byte");

    let reply = get(&client, &url, &[("if-none-match", "\"x\""), ("if-match", &etag)]).await;
    assert_whole(&reply, &bytes, "miss");
    let range = ("range", "bytes=0-9");
    let reply = get(&client, &url, &[range, ("if-range", &etag)]).await;
    assert_eq!((reply.status.as_u16(), reply.body.len()), (206, 10));
    assert_eq!(reply.header("content-type"), None, "the client has it already");
    for other in [&*weak, "\"x\"", "Sun, 22 Nov 2026 12:00:00 GMT"] {
        let reply = get(&client, &url, &[range, ("if-range", other)]).await;
        assert_whole(&reply, &bytes, "hit");
    }
}

#[tokio::test]
async fn the_same_is_true_over_http_2() {
    use http_body_util::{BodyExt as _, Empty};
    use hyper_util::rt::TokioExecutor;

    let world = world().await;
    let bytes = bytes(LARGE);
    let (_, url) = upload(&world.caller(KEY), NO_STORAGE, &bytes).await;
    let client = hyper_util::client::legacy::Client::builder(TokioExecutor::new())
        .http2_only(true)
        .build_http::<Empty<Bytes>>();
    for (method, range, status, length, body) in [
        (Method::HEAD, "bytes=0-9", 200, "300001", &bytes[..0]),
        (Method::GET, "bytes=70000-", 206, "230001", &bytes[70_000..]),
        (Method::GET, "bytes=0-9,20-29", 200, "300001", &bytes[..]),
    ] {
        let request = ::http::Request::builder()
            .method(method)
            .uri(&url)
            .header("range", range)
            .body(Empty::new())
            .unwrap();
        let response = client.request(request).await.unwrap();
        assert_eq!(response.version(), ::http::Version::HTTP_2);
        assert_eq!(response.status(), status);
        assert_eq!(response.headers()["content-length"], length);
        assert!(response.into_body().collect().await.unwrap().to_bytes() == body);
    }
    assert_eq!(fetches(&world), 1);
}

#[tokio::test]
async fn head_says_what_get_would_and_fetches_nothing() {
    let world = world().await;
    let client = world.caller(KEY);
    let bytes = bytes(LARGE);
    let (media, url) = upload(&client, NO_STORAGE, &bytes).await;
    let before = head(&client, &url, &[("range", "bytes=0-9")]).await;
    assert_eq!((before.status.as_u16(), fetches(&world)), (200, 0));
    let got = get(&client, &url, &[]).await;
    let names = [
        "content-type",
        "content-length",
        "etag",
        "accept-ranges",
        "cache-control",
        "content-security-policy",
        "x-content-type-options",
        "curfew-cache",
    ];
    for name in names {
        assert_eq!(before.header(name), got.header(name), "{name}");
    }
    let after = head(&client, &url, &[]).await;
    assert_eq!((via(&after), after.header("age")), (Some("hit"), Some("0")));
    // Of a medium whose size Meta does not tell, HEAD does not tell it either.
    let members = [("file_size".to_owned(), json!(null))].into_iter().collect();
    fault(&world, Operation::MediaMetadata, Effect::Members { members });
    let unsized_url = url_of(&client, media).await;
    let unsized_head = head(&client, &unsized_url, &[]).await;
    assert_eq!(
        (
            unsized_head.status.as_u16(),
            unsized_head.header("content-length")
        ),
        (200, None)
    );
    assert_eq!(fetches(&world), 1);
}
