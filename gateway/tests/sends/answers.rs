//! Meta's answers: unchanged, but for headers and links that would lead callers round the gateway.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener};

use http::StatusCode;
use serde_json::json;

use crate::common::{Client, DEFAULT, PASS_THROUGH, Reply, Setup, TOKEN, World, caller_table};

/// What stands in for Meta where the emulator is too well-behaved: gives every request the same answer. Returns its origin.
fn meta(answer: &'static str) -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            // Requests of these tests come in one piece, and are not looked at.
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    origin
}

/// A default number in front of what stands in for Meta.
async fn in_front_of(configure: fn(&mut curfew::config::Config)) -> (World, Client) {
    let setup = Setup {
        configure,
        ..Setup::default()
    };
    let world = World::start(setup).await;
    let client = world.client();
    (world, client)
}

/// Which headers an answer may have, and from whom.
const ALLOWED: [&str; 25] = [
    "cache-control",
    "content-length",
    "content-type",
    "curfew-media-expires",
    "date",
    "expires",
    "facebook-api-version",
    "last-modified",
    "pragma",
    "retry-after",
    "www-authenticate",
    "x-app-usage",
    "x-business-use-case-usage",
    "x-fb-connection-quality",
    "x-fb-debug",
    "x-fb-request-id",
    "x-fb-rev",
    "x-fb-trace-id",
    "accept-ranges",
    "content-range",
    "content-security-policy",
    "curfew-cache",
    "etag",
    "x-content-type-options",
    "transfer-encoding",
];

#[track_caller]
fn assert_headers(reply: &Reply, what: &str) {
    let allowed = BTreeSet::from(ALLOWED);
    let names: BTreeSet<&str> = reply.headers.keys().map(http::HeaderName::as_str).collect();
    assert!(
        names.is_subset(&allowed),
        "{what}: {:?}",
        names.difference(&allowed)
    );
    assert_eq!(names.len(), reply.headers.len(), "{what}: a header twice");
}

#[tokio::test]
async fn the_emulators_answers_lose_what_leads_elsewhere() {
    let world = World::pass_through().await;
    let client = world.client();
    let media = client.upload(DEFAULT).await;
    let metadata = client.get(&format!("/v23.0/{media}")).await;
    let url = metadata.json()["url"].as_str().unwrap().to_owned();
    let direct = Client::new(world.emulator.addr())
        .bearer(TOKEN)
        .send_text(DEFAULT)
        .await;
    assert!(direct.header("alt-svc").is_some() && direct.header("strict-transport-security").is_some());
    for (what, reply) in [
        ("send", client.send_text(DEFAULT).await),
        ("read", client.get("/v23.0/1003").await),
        ("metadata", metadata),
        ("download", client.get(&url).await),
        ("error", client.post("/v23.0/1003/messages", &json!({})).await),
        ("delete", client.delete(&format!("/v23.0/{media}")).await),
    ] {
        assert_headers(&reply, what);
        assert_eq!(reply.reason(), None, "{what}");
        let is_graph = what != "download";
        assert_eq!(reply.header("facebook-api-version").is_some(), is_graph, "{what}");
    }
}

const CHATTY: &str = "HTTP/1.1 200 OK\r\n\
    Content-Type: application/json; charset=UTF-8\r\n\
    Content-Length: 26\r\n\
    Connection: close, x-private\r\n\
    Keep-Alive: timeout=5\r\n\
    Set-Cookie: fr=1; Domain=.facebook.com\r\n\
    Set-Cookie: datr=2\r\n\
    Location: https://graph.facebook.com/\r\n\
    Content-Location: https://graph.facebook.com/\r\n\
    Link: <https://graph.facebook.com/>; rel=preload\r\n\
    Refresh: 0; url=https://graph.facebook.com/\r\n\
    Alt-Svc: h3=\":443\"; ma=86400\r\n\
    Strict-Transport-Security: max-age=15552000\r\n\
    Access-Control-Allow-Origin: *\r\n\
    Content-Security-Policy: default-src 'self'\r\n\
    Report-To: {\"endpoints\":[{\"url\":\"https://www.facebook.com/\"}]}\r\n\
    Server: proxygen-bolt\r\n\
    Vary: Accept-Encoding\r\n\
    X-Private: 1\r\n\
    Curfew-Reason: not_metas_to_say\r\n\
    Curfew-Observed: not_metas_to_say\r\n\
    X-FB-Trace-ID: abc\r\n\
    facebook-api-version: v23.0\r\n\
    X-App-Usage: {\"call_count\":1}\r\n\
    X-Business-Use-Case-Usage: {\"1\":[]}\r\n\
    Retry-After: 7\r\n\
    \r\n\
    {\"messages\":[{\"id\":\"x\"}]} ";

#[tokio::test]
async fn an_answers_headers_pass_by_name() {
    let (_world, client) = in_front_of(|config| config.upstream.graph = meta(CHATTY).parse().unwrap()).await;
    for (what, reply) in [
        ("send", client.send_text(DEFAULT).await),
        ("read", client.get("/v23.0/1003").await),
        (
            "change",
            client
                .post("/v23.0/1003/whatsapp_business_profile", &json!({}))
                .await,
        ),
    ] {
        assert_headers(&reply, what);
        assert_eq!(
            (reply.status, reply.text().as_str()),
            (StatusCode::OK, "{\"messages\":[{\"id\":\"x\"}]} ")
        );
        for (name, value) in [
            ("content-type", "application/json; charset=UTF-8"),
            ("x-fb-trace-id", "abc"),
            ("facebook-api-version", "v23.0"),
            ("x-app-usage", "{\"call_count\":1}"),
            ("x-business-use-case-usage", "{\"1\":[]}"),
            ("retry-after", "7"),
        ] {
            assert_eq!(reply.header(name), Some(value), "{what}");
        }
    }
}

const TOO_MANY: &str = "HTTP/1.1 429 Too Many Requests\r\nContent-Type: application/json\r\nRetry-After: 17\r\n\
    Connection: close\r\nContent-Length: 62\r\n\r\n\
    {\"error\":{\"code\":130429,\"message\":\"(#130429) Rate limit hit\"}}";

#[tokio::test]
async fn metas_own_errors_are_metas_own() {
    let (_world, client) =
        in_front_of(|config| config.upstream.graph = meta(TOO_MANY).parse().unwrap()).await;
    let reply = client.send_text(DEFAULT).await;
    assert_eq!(
        (reply.status.as_u16(), reply.reason(), reply.header("retry-after")),
        (429, None, Some("17"))
    );
    assert_eq!(TOO_MANY.split("\r\n\r\n").nth(1), Some(&*reply.text()));

    let world = World::pass_through().await;
    for (status, code) in [
        (400, 131_047),
        (403, 10),
        (429, 131_056),
        (500, 131_000),
        (503, 131_016),
    ] {
        let effect = curfew_emulator::Effect::Error {
            status,
            code,
            subcode: Some(7),
            details: Some("as Meta said it".to_owned()),
        };
        world
            .emulator
            .fault(curfew_emulator::Fault::new(curfew_emulator::Operation::Send, effect).times(1));
        let reply = world.client().send_text(DEFAULT).await;
        assert_eq!(
            (reply.status.as_u16(), reply.code(), reply.subcode()),
            (status, Some(code), Some(7))
        );
        // What Meta closes with it is closed for a while; here it is the answers that count.
        world.time.advance(std::time::Duration::from_secs(1));
        assert_eq!(
            (reply.details().as_str(), reply.reason()),
            ("as Meta said it", None)
        );
    }
}

/// Links to further pages hold Meta's address and its token; followed as they stand, they lead through the gateway.
#[tokio::test]
async fn pages_follow_one_another_through_the_gateway_without_a_token() {
    let caller = caller_table("desk", "desk-key", &[DEFAULT], &["read", "manage"]);
    let world = World::of(&format!("{PASS_THROUGH}{caller}")).await;
    let client = world.caller("desk-key");
    for name in ["one", "two", "three"] {
        let template = json!({ "name": name, "language": "en", "category": "UTILITY", "components": [] });
        assert_eq!(
            client
                .post("/v23.0/5001/message_templates", &template)
                .await
                .status,
            200
        );
    }
    let own = format!("http://{}/", world.gateway.addr);
    let follow = async |first: String, link: &str| {
        let (mut seen, mut next) = (Vec::new(), Some(first));
        while let Some(url) = next {
            let reply = client.get(&url).await;
            assert_eq!(
                (reply.status.as_u16(), reply.reason()),
                (200, None),
                "{url}: {}",
                reply.text()
            );
            let text = reply.text();
            for secret in [TOKEN, "access_token", &world.emulator.base_url(), "desk-key"] {
                assert!(!text.contains(secret), "{secret} in {text}");
            }
            let page = reply.json();
            seen.extend(
                page["data"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|row| row["name"].as_str().unwrap().to_owned()),
            );
            next = page["paging"][link].as_str().map(str::to_owned);
            if let Some(url) = &next {
                assert!(url.starts_with(&own), "{url}");
            }
            assert!(seen.len() < 10, "in a circle");
            if next.is_none() {
                return (seen, url);
            }
        }
        unreachable!("the last page returns")
    };
    let (seen, last) = follow(
        "/v23.0/5001/message_templates?fields=name,status&limit=1".to_owned(),
        "next",
    )
    .await;
    assert_eq!(seen.iter().collect::<BTreeSet<_>>().len(), 3, "{seen:?}");
    let (back, _) = follow(last, "previous").await;
    assert_eq!(
        back.iter().rev().collect::<Vec<_>>(),
        seen.iter().collect::<Vec<_>>()
    );
    let paths: BTreeSet<_> = world.emulator.received().iter().map(|r| r.path.clone()).collect();
    assert_eq!(paths, ["/v23.0/5001/message_templates".to_owned()].into());
    let queries: Vec<_> = world
        .emulator
        .received()
        .iter()
        .filter_map(|r| r.query.clone())
        .collect();
    assert!(
        queries.iter().all(|query| !query.contains("access_token")),
        "{queries:?}"
    );
}

#[tokio::test]
async fn whatever_reaches_a_user_is_never_called_safe_to_repeat() {
    use curfew_emulator::{Effect, Fault, Operation};
    let policies =
        "[[number]]\nphone_number_id = \"1003\"\nwaba_id = \"5001\"\nstorage = { mode = \"default\" }\n";
    let world = World::of(policies).await;
    let client = world.client();
    for effect in [
        Effect::ResetRequest { after_bytes: 0 },
        Effect::TruncateReply { after_bytes: 2 },
    ] {
        world.emulator.fault(Fault::new(Operation::Any, effect.clone()));
        for (target, body) in [
            (
                "/v23.0/1003/messages",
                json!({ "messaging_product": "whatsapp", "to": "1", "text": { "body": "x" } }),
            ),
            (
                "/v23.0/1003/calls",
                json!({ "messaging_product": "whatsapp", "to": "1", "action": "connect" }),
            ),
            (
                "/v23.0/1003/calls",
                json!({ "messaging_product": "whatsapp", "to": "1", "recording": {} }),
            ),
            ("/v23.0/5001/signups", json!({ "confirmation_message": "a" })),
            ("/v23.0/5001/welcome_message_sequences", json!({ "name": "a" })),
        ] {
            let reply = client.post(target, &body).await;
            assert_eq!(reply.status, 409, "{target} {effect:?}: {}", reply.text());
            reply.assert_refused(409, 131_000, "outcome_unknown");
        }
        world.emulator.clear_faults();
    }
}

const NESTED: &str = r#"{"id":"5001","subscribed_apps":{"data":[],"paging":{"next":"https://graph.facebook.com/v23.0/5001/x?\u0061ccess_token=EAAG-the-only-token"}},"note":"?access_token=EAAG-the-only-token"}"#;
const CUT_OFF: &str = r#"{"paging":{"next":"https://graph.facebook.com/?access_token=EAAG-the-only-token"}"#;
const ASSETS: &str =
    r#"{"data":[{"name":"flow.json","download_url":"https:\/\/mmg.whatsapp.net\/m1\/v\/1?ccb=1"}]}"#;

/// What stands in for Meta, with one body for every request.
fn saying(body: &str) -> String {
    let length = body.len();
    let answer = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    meta(answer.leak())
}

/// The calls of every kind that a caller can make of such a Meta.
async fn answers_of(client: &Client) -> Vec<Reply> {
    vec![
        client.get("/v23.0/5001?fields=id").await,
        client
            .post("/v23.0/1003/whatsapp_business_profile", &json!({}))
            .await,
        client.delete("/v23.0/5001/subscribed_apps").await,
        client.send_text(DEFAULT).await,
    ]
}

#[tokio::test]
async fn no_answer_shows_the_token_wherever_meta_says_it() {
    let (_world, client) =
        in_front_of(|config| config.upstream.graph = saying(NESTED).parse().unwrap()).await;
    for reply in answers_of(&client).await {
        assert_eq!((reply.status.as_u16(), reply.reason()), (200, None));
        let text = reply.text();
        assert!(!text.contains(TOKEN) && !text.contains("ccess_token"), "{text}");
        assert_eq!(reply.json()["id"], "5001");
    }
    let (_world, client) =
        in_front_of(|config| config.upstream.graph = saying(CUT_OFF).parse().unwrap()).await;
    let mut replies = answers_of(&client).await;
    let send = replies.pop().unwrap();
    send.assert_refused(409, 131_000, "outcome_unknown");
    for reply in replies {
        reply.assert_refused(502, 131_000, "unusable_answer");
    }
}

#[tokio::test]
async fn the_files_of_a_flow_are_not_fetched_round_the_gateway() {
    let (_world, client) =
        in_front_of(|config| config.upstream.graph = saying(ASSETS).parse().unwrap()).await;
    let reply = client.get("/v23.0/77/assets").await;
    assert_eq!(
        (reply.status.as_u16(), reply.text().as_str()),
        (200, r#"{"data":[{"name":"flow.json","download_url":""}]}"#)
    );
}
