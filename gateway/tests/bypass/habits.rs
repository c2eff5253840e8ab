//! The reverse: what published clients do, however odd, is no attack and works.

use std::convert::Infallible;

use bytes::Bytes;
use curfew_emulator::{NumberOptions, Options};
use futures_util::stream;
use http::{Method, Request, StatusCode, Version};
use http_body::Frame;
use http_body_util::StreamBody;
use hyper_util::client::legacy::Client as Pool;
use hyper_util::rt::TokioExecutor;
use serde_json::json;

use crate::common::form::{Form, PNG};
use crate::common::{Client, DEFAULT, IN_COUNTRY, NO_STORAGE, Reply, TOKEN, World};

fn text() -> String {
    json!({ "messaging_product": "whatsapp", "to": "+15550100001", "type": "text", "text": { "body": "Hello" } }).to_string()
}

#[track_caller]
fn assert_works(reply: &Reply, what: &str) {
    assert_eq!(
        (reply.status, reply.reason()),
        (StatusCode::OK, None),
        "{what}: {}",
        reply.text()
    );
}

#[tokio::test]
async fn any_version_or_none_with_or_without_a_slash_at_the_end() {
    let world = World::pass_through().await;
    let client = world.client();
    let mut versions: Vec<_> = (13..=26).map(|major| format!("/v{major}.0")).collect();
    versions.extend(["", "/v3.3", "/v99.0"].map(str::to_owned));
    for version in versions {
        for slash in ["", "/"] {
            for number in [NO_STORAGE, IN_COUNTRY, DEFAULT] {
                let target = format!("{version}/{number}/messages{slash}");
                assert_works(&client.post_text(&target, &text()).await, &target);
                let target = format!("{version}/{number}/media{slash}");
                let media = client.post_form(&target, &Form::image()).await;
                assert_works(&media, &target);
                let target = format!("{version}/{}{slash}", media.media_id());
                assert_works(&client.get(&target).await, &target);
                assert_works(&client.delete(&target).await, &target);
                let target = format!("{version}/{number}{slash}?fields=id,status");
                assert_works(&client.get(&target).await, &target);
            }
        }
    }
}

#[tokio::test]
async fn uploads_come_in_any_shape() {
    let world = World::pass_through().await;
    let client = world.client();
    let java = "Content-Type: text/plain; charset=utf-8\r\nContent-Disposition: form-data; name=\"messaging_product\"";
    let file = |disposition: &str| {
        let headers = format!("Content-Disposition: form-data; {disposition}\r\nContent-Type: image/png");
        Form::new()
            .field("messaging_product", "whatsapp")
            .raw(&headers, PNG)
    };
    let typed = Form::new().file("image/png", PNG).field("type", "image/png");
    for (query, form) in [
        ("", Form::image()),
        (
            "",
            Form::new()
                .file("image/png", PNG)
                .field("messaging_product", "whatsapp"),
        ),
        // As pywa does.
        (
            "",
            typed
                .clone()
                .field("messaging_product", "whatsapp")
                .field("ttl_minutes", "120"),
        ),
        ("", Form::new().raw(java, b"whatsapp").file("image/png", PNG)),
        ("?messaging_product=whatsapp", Form::new().file("image/png", PNG)),
        (
            "?messaging_product=whatsapp&type=image%2Fpng",
            Form::new().file("image/png", PNG),
        ),
        (
            "?messaging_product=whatsapp&type=image/png",
            Form::new().file("image/png", PNG),
        ),
        ("?type=image/png", Form::image()),
        ("?messaging_product=whatsapp", typed),
        // A type in the form alone, for a file that says nothing of itself.
        (
            "",
            Form::new()
                .field("messaging_product", "whatsapp")
                .field("type", "image/png")
                .raw(
                    "Content-Disposition: form-data; name=\"file\"; filename=\"a\"",
                    PNG,
                ),
        ),
        ("", file("name=\"file\"")),
        ("", file("name=\"file\"; filename=\"\"")),
        ("", file("name=\"file\"; filename=\"Rechnung M\u{e4}rz (1).png\"")),
        (
            "",
            file("name=\"file\"; filename=\"a.png\"; filename*=UTF-8''M%C3%A4rz.png"),
        ),
        ("", file("name=file; filename=a.png")),
    ] {
        let before = world.emulator.media().len();
        let reply = client
            .post_form(&format!("/v23.0/1001/media{query}"), &form)
            .await;
        let what = String::from_utf8_lossy(&form.bytes()).into_owned();
        assert_works(&reply, &format!("{query} {what}"));
        assert_eq!(world.emulator.media_bytes(reply.media_id()).as_deref(), Some(PNG));
        assert_eq!(world.emulator.media().len(), before + 1);
    }
}

#[tokio::test]
async fn reads_and_deletes_with_a_content_type_and_no_user_agent_or_an_odd_one() {
    let world = World::pass_through().await;
    let client = world.client();
    for headers in [
        &[("content-type", "application/json")][..],
        &[("content-type", "application/json"), ("content-length", "0")],
        &[("user-agent", "")],
        &[("user-agent", "WhatsApp/2.19.81 A"), ("accept", "*/*")],
        &[
            ("user-agent", "python-requests/2.32"),
            ("accept-encoding", "gzip, deflate, br"),
            ("connection", "keep-alive"),
        ],
        &[
            ("accept", "application/json, text/plain, */*"),
            ("accept-language", "de"),
            ("sec-fetch-mode", "cors"),
        ],
        &[],
    ] {
        let media = client.upload(DEFAULT).await;
        let target = format!("/v23.0/{media}");
        for target in [
            &target,
            &format!("{target}?phone_number_id=1003"),
            &"/v23.0/1003".to_owned(),
        ] {
            let reply = client
                .send(Method::GET, target, headers, Default::default())
                .await;
            assert_works(&reply, &format!("GET {target} {headers:?}"));
        }
        let target = format!("{target}?phone_number_id=1003");
        let reply = client
            .send(Method::DELETE, &target, headers, Default::default())
            .await;
        assert_works(&reply, &format!("DELETE {headers:?}"));
    }
}

#[tokio::test]
async fn downloads_with_any_token_or_none_and_under_any_host() {
    let world = World::pass_through().await;
    let client = world.client();
    let media = client.upload(NO_STORAGE).await;
    let metadata = client.get(&format!("/v23.0/{media}")).await.json();
    let url = metadata["url"].as_str().unwrap();
    assert_eq!(metadata["download_url"], url);
    let own = format!("http://{}/", world.gateway.addr);
    assert!(
        url.starts_with(&own) && !url.contains('%') && !url.contains("fbsbx"),
        "{url}"
    );
    let anonymous = client.clone().anonymous();
    for headers in [
        &[][..],
        &[("authorization", "Bearer ")],
        &[("authorization", "Bearer another-token")],
        &[("authorization", "Basic eDp5")],
        &[("host", "lookaside.fbsbx.com")],
        &[
            ("host", "elsewhere.example"),
            ("content-type", "application/json"),
        ],
    ] {
        let reply = anonymous
            .send(Method::GET, url, headers, Default::default())
            .await;
        assert_eq!(
            (reply.status, &reply.body[..]),
            (StatusCode::OK, PNG),
            "{headers:?}: {}",
            reply.text()
        );
    }
    for glued in [
        format!("{url}?access_token={TOKEN}"),
        format!("{url}?access_token="),
        format!("{url}?a=b?access_token={TOKEN}"),
    ] {
        let reply = anonymous.get(&glued).await;
        assert_eq!(
            (reply.status, &reply.body[..]),
            (StatusCode::OK, PNG),
            "{}",
            reply.text()
        );
    }
    let head = anonymous.send(Method::HEAD, url, &[], Default::default()).await;
    assert_eq!(
        (head.status, head.body.len(), head.header("content-type")),
        (StatusCode::OK, 0, Some("image/png"))
    );
}

/// Where a request goes never depends on its `Host`.
#[tokio::test]
async fn under_any_host() {
    let world = World::pass_through().await;
    let client = world.client();
    for host in [
        "graph.facebook.com",
        "graph.facebook.com:443",
        "curfew",
        "127.0.0.1",
        "[::1]:8080",
        "GRAPH.example",
    ] {
        let headers = [("host", host), ("content-type", "application/json")];
        let reply = client
            .send(Method::POST, "/v23.0/1001/messages", &headers, text().into())
            .await;
        assert_works(&reply, host);
    }
    let hosts: Vec<_> = world
        .emulator
        .received()
        .iter()
        .map(|r| r.header("host").unwrap_or_default().to_owned())
        .collect();
    let own = world.emulator.addr().to_string();
    assert!(hosts.iter().all(|host| *host == own), "{hosts:?}");
}

/// What clients read of Meta's answers is as Meta wrote it.
#[tokio::test]
async fn an_answer_is_metas_own() {
    let world = World::pass_through().await;
    let options = Options {
        numbers: vec![NumberOptions::new(DEFAULT)],
        tokens: vec![TOKEN.to_owned()],
        start: Some(1_800_000_000),
        ..Options::default()
    };
    // The same calls in the same order get the same answers of two emulators with one seed.
    let alone = curfew_emulator::Emulator::start(options).await.unwrap();
    let direct = Client::new(alone.addr()).bearer(TOKEN);
    let through = world.client();
    let calls = [
        (Method::POST, "/v23.0/1003/messages", text()),
        (
            Method::POST,
            "/v23.0/1003/messages",
            r#"{"messaging_product":"whatsapp","status":"read","message_id":"wamid.x"}"#.to_owned(),
        ),
        (Method::POST, "/v23.0/1003/messages", r#"{"to":"+1"}"#.to_owned()),
        (
            Method::GET,
            "/v23.0/1003?fields=id,status,throughput",
            String::new(),
        ),
        (Method::GET, "/v23.0/1003/settings", String::new()),
        (
            Method::POST,
            "/v23.0/1003/verify_code",
            r#"{"code":"123456"}"#.to_owned(),
        ),
        (
            Method::POST,
            "/v23.0/1003/block_users",
            r#"{"messaging_product":"whatsapp","block_users":[{"user":"+1"}]}"#.to_owned(),
        ),
    ];
    for (method, target, body) in calls {
        let json = [("content-type", "application/json")];
        let expected = direct
            .send(method.clone(), target, &json, body.clone().into())
            .await;
        let reply = through.send(method, target, &json, body.into()).await;
        assert_eq!(
            (reply.status, reply.reason()),
            (expected.status, None),
            "{target}"
        );
        assert_eq!(reply.text(), expected.text(), "{target}");
    }
}

/// Over HTTP/2, a request's end may come in a frame of its own, with a body before it or without.
#[tokio::test]
async fn deletes_over_http2_with_a_body_or_an_end_of_its_own() {
    let world = World::pass_through().await;
    let media = world.client().upload(DEFAULT).await;
    let pool = Pool::builder(TokioExecutor::new()).http2_only(true).build_http();
    let delete = async |target: &str, content: &'static str| {
        let frames = Some(content).filter(|content| !content.is_empty());
        let frames =
            frames.map(|content| Ok::<_, Infallible>(Frame::data(Bytes::from_static(content.as_bytes()))));
        let mut request = Request::builder()
            .method(Method::DELETE)
            .uri(format!("http://{}{target}", world.gateway.addr))
            .header("authorization", format!("Bearer {TOKEN}"));
        if !content.is_empty() {
            request = request.header("content-type", "application/json");
        }
        let request = request.body(StreamBody::new(stream::iter(frames))).unwrap();
        let answer = pool.request(request).await.unwrap();
        assert_eq!(answer.version(), Version::HTTP_2);
        let reason = answer
            .headers()
            .get("curfew-reason")
            .map(|reason| reason.to_str().unwrap().to_owned());
        (answer.status().as_u16(), reason)
    };
    let users = r#"{"messaging_product":"whatsapp","block_users":[{"user":"+15550100001"}]}"#;
    let metadata = format!("/v23.0/{media}");
    assert_eq!(
        delete(&metadata, users).await,
        (400, Some("body_not_taken".to_owned()))
    );
    assert!(world.emulator.media_bytes(media).is_some());
    for (target, content) in [
        (metadata.as_str(), ""),
        ("/v23.0/1003/block_users", users),
        ("/v23.0/1003/username", ""),
        ("/v23.0/1003/contact_book", ""),
    ] {
        assert_eq!(delete(target, content).await, (200, None), "{target}");
    }
    assert!(world.emulator.media_bytes(media).is_none());
    let received = world.emulator.received();
    let bodies: Vec<_> = received
        .iter()
        .rev()
        .take(4)
        .map(|r| r.body.clone().unwrap_or_default())
        .collect();
    assert_eq!(bodies, ["", "", users, ""]);
}
