//! The architecture's invariants, a test named after each.
//!
//! What a type or another test proves already is named there; here is what only the whole of the sources, or the whole
//! gateway, can show.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use common::form::{Form, PNG};
use common::{DEFAULT, IN_COUNTRY, NO_STORAGE, Setup, TOKEN, World, caller_table};
use curfew_emulator::{Effect, Fault, Operation};
use http::Method;
use serde_json::json;
use tokio::net::TcpListener;

/// The gateway's own sources, without tests, by their path below `src`.
fn sources() -> BTreeMap<String, String> {
    fn collect(root: &Path, folder: &Path, found: &mut BTreeMap<String, String>) {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                collect(root, &path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(root).expect("below the root");
                let text = fs::read_to_string(&path).expect("a source file");
                found.insert(name.to_string_lossy().into_owned(), without_tests(&text));
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = BTreeMap::new();
    collect(&root, &root, &mut found);
    found.retain(|name, _| !name.contains("test") && !name.ends_with("fixtures.rs"));
    assert!(found.len() > 50, "{}", found.len());
    found
}

/// A file up to its tests, which come last, and without comments.
fn without_tests(text: &str) -> String {
    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

/// The files whose code has this in it.
fn files_with(text: &str) -> Vec<String> {
    let holds = |(name, code): (String, String)| code.contains(text).then_some(name);
    sources().into_iter().filter_map(holds).collect()
}

/// `policies` mints permits and shows by `compile_fail` that nobody else can; `enforce` alone turns one into an exchange,
/// and shows the same of its own types. Here: nothing else makes an exchange, connects, or builds a request for Meta.
#[tokio::test]
async fn no_request_reaches_meta_without_a_permit() {
    for (text, expected) in [
        ("Exchange {", &["layers/enforce.rs"][..]),
        ("Permitted {", &["layers/enforce.rs"]),
        ("hyper_util::client", &[]),
        ("HttpConnector", &[]),
        ("client::conn", &["upstream/drive.rs"]),
        ("TcpStream::connect", &["upstream/origin.rs"]),
        ("TcpSocket", &[]),
        (
            "Request<Outbound>",
            &["layers/graph_token.rs", "upstream/drive.rs", "upstream/mod.rs"],
        ),
        // The second leads to the configured receiver of webhooks, with requests that have no token.
        ("Upstream::new(", &["gateway.rs", "webhooks/listener.rs"]),
        ("Outbound::json(", &["layers/enforce.rs", "webhooks/receiver.rs"]),
    ] {
        assert_eq!(files_with(text), expected, "{text}");
    }

    // And from outside: what no policy allows is seen by nobody.
    let world = World::of(&format!(
        "{}{}",
        common::PASS_THROUGH,
        caller_table("billing", "cfw_billing", &[DEFAULT], &["read"])
    ))
    .await;
    let text = json!({ "messaging_product": "whatsapp", "to": "1", "type": "text", "text": { "body": "x" } });
    for key in ["cfw_billing", "another", TOKEN] {
        let client = world.caller(key);
        for target in [
            "/v23.0/1001/messages",
            "/v23.0/1003/messages",
            "/1003/messages",
            "/v23.0/1003/register",
            "/v23.0/4711/messages",
            "/v23.0/1003/unheard_of",
            "/",
            "/v23.0",
            "/v23.0/",
            "/v23.0/me",
            "/v23.0/oauth/access_token",
            "/debug_token",
            "/graphql",
        ] {
            let reply = client.post(target, &text).await;
            assert!(reply.reason().is_some(), "{target}: {}", reply.text());
        }
        let form = client.post_form("/v23.0/1003/media", &Form::image()).await;
        assert!(form.reason().is_some(), "{}", form.text());
        for target in ["/v23.0/4711", "/v23.0/1001", "/v23.0/1001/settings"] {
            assert!(client.get(target).await.reason().is_some(), "{target}");
            assert!(client.delete(target).await.reason().is_some(), "{target}");
        }
    }
    assert!(world.emulator.received().is_empty());
}

/// What a package needs, by name, as `Cargo.lock` has it: build and other systems' dependencies too.
fn locked() -> BTreeMap<String, BTreeSet<String>> {
    let path = workspace().join("Cargo.lock");
    let lock: toml::Table = read_toml(&path);
    let mut all: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for package in lock["package"].as_array().expect("packages") {
        let name = package["name"].as_str().expect("a name").to_owned();
        let needs = package.get("dependencies").and_then(toml::Value::as_array);
        let needs = needs.into_iter().flatten().map(|need| {
            let need = need.as_str().expect("a dependency");
            need.split(' ').next().unwrap_or(need).to_owned()
        });
        all.entry(name).or_default().extend(needs);
    }
    all
}

fn workspace() -> PathBuf {
    let gateway = Path::new(env!("CARGO_MANIFEST_DIR"));
    gateway.parent().expect("a workspace").to_owned()
}

fn read_toml(path: &Path) -> toml::Table {
    let text = fs::read_to_string(path).expect("a file");
    text.parse().expect("TOML")
}

#[test]
fn policies_depends_on_no_runtime_and_no_http_crate() {
    let manifest = read_toml(&workspace().join("policies/Cargo.toml"));
    assert!(manifest.get("build-dependencies").is_none() && manifest.get("target").is_none());
    let direct = manifest["dependencies"].as_table().expect("dependencies");
    let mut open: Vec<String> = direct.keys().cloned().collect();
    let locked = locked();
    let mut needed = BTreeSet::new();
    while let Some(name) = open.pop() {
        let needs = locked
            .get(&name)
            .unwrap_or_else(|| panic!("{name} is not locked"));
        if needed.insert(name) {
            open.extend(needs.iter().cloned());
        }
    }
    assert!(needed.contains("serde") && needed.len() < 30, "{needed:?}");
    for name in [
        "async-std",
        "axum",
        "bytes",
        "futures",
        "futures-core",
        "futures-util",
        "h2",
        "http",
        "http-body",
        "hyper",
        "hyper-util",
        "mio",
        "reqwest",
        "rustls",
        "smol",
        "socket2",
        "tokio",
        "tokio-util",
        "tower",
        "tower-layer",
        "tower-service",
    ] {
        assert!(!needed.contains(name), "policies needs {name}");
    }
    // The names are right: the gateway needs them.
    let gateway = &locked["curfew"];
    assert!(
        ["tokio", "hyper", "tower", "http"]
            .iter()
            .all(|name| gateway.contains(*name))
    );
}

/// Only `clock.rs` reads a clock that outlives a connection, and no store has its library count time. Each promise's own test
/// (`pins`, `settings`, `unknown_ids`, `downloads`, `registration`) moves the injected clock alone; here all do at once.
#[tokio::test]
async fn no_deadline_depends_on_a_librarys_private_clock() {
    for (text, expected) in [
        ("SystemTime::now", &["clock.rs"][..]),
        ("clock_gettime(", &["clock.rs"]),
        ("std::time::Instant", &[]),
        ("time_to_live", &[]),
        ("time_to_idle", &[]),
        ("expire_after", &[]),
        ("DefaultClock", &[]),
        ("QuantaClock", &[]),
        ("MonotonicClock", &[]),
    ] {
        assert_eq!(files_with(text), expected, "{text}");
    }
    // tokio's clock counts seconds of sockets and of leases that instances hold at each other, never minutes of content.
    for name in files_with("Instant::now") {
        let is_lease = name == "stores/limits/seat.rs";
        assert!(
            name.starts_with("server/") || name.starts_with("upstream/") || is_lease,
            "{name}"
        );
    }
    for library in ["moka::", "governor::", "rusqlite::", "redis::"] {
        for name in files_with(library) {
            assert!(name.starts_with("stores/"), "{library} in {name}");
        }
    }

    let world = World::pass_through().await;
    let client = world.client();
    let form = Form::image().field("ttl_minutes", "60");
    let media = client.post_form("/v23.0/1001/media", &form).await.media_id();
    let metadata = client.get(&format!("/v23.0/{media}")).await.json();
    let url = metadata["url"].as_str().expect("a URL").to_owned();
    let guess = client.get("/v23.0/4711?phone_number_id=1001").await;
    guess.assert_refused(400, 100, "media_not_usable");
    let asked = |operation: Operation| {
        let received = world.emulator.received();
        received.iter().filter(|call| call.operation == operation).count()
    };
    let (settings, questions) = (asked(Operation::Settings), asked(Operation::MediaMetadata));
    assert_eq!(client.get(&url).await.status, 200);
    // An hour passes for the gateway, and no time for anybody else.
    world.time.advance(Duration::from_secs(3600));
    client
        .get(&url)
        .await
        .assert_refused(404, 100, "media_url_invalid");
    let late = client.send_image(NO_STORAGE, media).await;
    late.assert_refused(400, 100, "media_ended");
    assert_eq!(asked(Operation::Settings), settings + 1);
    let guess = client.get("/v23.0/4711?phone_number_id=1001").await;
    guess.assert_refused(400, 100, "media_not_usable");
    assert_eq!(asked(Operation::MediaMetadata), questions + 1);
    assert!(
        world.emulator.media_bytes(media).is_some(),
        "Meta's own clock stood still"
    );
}

/// A server that nobody may call, at the origin `http://…`.
async fn trap() -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let authority = listener.local_addr().expect("an address").to_string();
    let hits = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&hits);
    tokio::spawn(async move {
        while listener.accept().await.is_ok() {
            count.fetch_add(1, Ordering::SeqCst);
        }
    });
    (authority, hits)
}

/// `downloads` shows the same of what Meta supplies: media URLs and redirects.
#[tokio::test]
async fn no_caller_supplied_value_chooses_an_upstream_host() {
    assert_eq!(
        files_with("parts.authority = "),
        ["layers/graph_token.rs"],
        "one place names Meta's host"
    );
    let (elsewhere, hits) = trap().await;
    let world = World::pass_through().await;
    let client = world.client();
    let media = client.upload(NO_STORAGE).await;
    let metadata = client.get(&format!("/v23.0/{media}")).await.json();
    let (_, path) = metadata["url"]
        .as_str()
        .and_then(|url| url.split_once("/_curfew"))
        .expect("one of the gateway's");
    let download = format!("/_curfew{path}");
    let origin = format!("http://{elsewhere}");
    let mut answered = 0;
    for header in [
        ("host", elsewhere.as_str()),
        ("x-forwarded-host", &elsewhere),
        ("x-forwarded-server", &elsewhere),
        ("x-original-url", &origin),
        ("x-rewrite-url", &origin),
        ("forwarded", &format!("host={elsewhere}")),
        ("via", &elsewhere),
        ("referer", &origin),
        ("origin", &origin),
        ("location", &origin),
        ("proxy", &origin),
    ] {
        for (method, target, body) in [
            (Method::GET, "/v23.0/1001?fields=id".to_owned(), ""),
            (Method::GET, format!("/v23.0/{media}"), ""),
            (Method::GET, download.clone(), ""),
            (
                Method::POST,
                "/v23.0/1003/messages".to_owned(),
                r#"{"messaging_product":"whatsapp","to":"+15550100001","type":"text","text":{"body":"x"}}"#,
            ),
        ] {
            let headers = [header, ("content-type", "application/json")];
            let headers = if body.is_empty() {
                &headers[..1]
            } else {
                &headers[..]
            };
            let reply = client
                .send(method, &target, headers, Bytes::from_static(body.as_bytes()))
                .await;
            assert_eq!(reply.status, 200, "{header:?} {target}: {}", reply.text());
            answered += 1;
        }
    }
    assert_eq!(answered, 44);
    for target in [
        format!("//{elsewhere}/v23.0/1001/messages"),
        format!("/{origin}/v23.0/1001/messages"),
        format!("/v23.0/@{elsewhere}/messages"),
        format!("/v23.0/{elsewhere}/messages"),
        format!("/v23.0/1003/messages?host={elsewhere}"),
        format!("/v23.0/1003/messages?url={origin}"),
        format!("{download}?url={origin}"),
        format!("{download}/{origin}"),
    ] {
        // Whatever it is taken for, it leads nowhere else.
        let _ = client.get(&target).await;
        let _ = client.post_text(&target, "{}").await;
    }
    let send = json!({
        "messaging_product": "whatsapp", "to": "1", "type": "image",
        "image": { "link": format!("https://{elsewhere}/a.png") },
    });
    let reply = client.post("/v23.0/1003/messages", &send).await;
    assert!(
        reply.reason().is_none() || reply.status == 403,
        "{}",
        reply.text()
    );
    assert_eq!(hits.load(Ordering::SeqCst), 0);
    let host = world.emulator.addr().to_string();
    for call in world.emulator.received() {
        assert_eq!(call.header("host"), Some(host.as_str()));
        let names: Vec<_> = call.headers.keys().map(http::HeaderName::as_str).collect();
        for name in names {
            assert!(
                [
                    "host",
                    "authorization",
                    "user-agent",
                    "accept",
                    "content-type",
                    "content-length",
                    "transfer-encoding",
                ]
                .contains(&name),
                "{name} went to Meta"
            );
        }
    }
}

/// `downloads` shows that no answer holds it.
#[test]
fn the_token_is_exposed_in_one_place() {
    assert_eq!(files_with("expose_secret"), ["layers/graph_token.rs"]);
    assert_eq!(files_with("ExposeSecret"), ["layers/graph_token.rs"]);
    let code = &sources()["layers/graph_token.rs"];
    // The token for its header, the app's secret for the proof, the token for the key of URLs.
    assert_eq!(code.matches("expose_secret()").count(), 3);
    assert!(code.contains("set_sensitive(true)"));
    let policies = workspace().join("policies/src");
    for entry in fs::read_dir(policies).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_file() {
            let text = fs::read_to_string(&path).expect("a source file");
            assert!(!text.contains("secrecy"), "{}", path.display());
        }
    }
}

/// `streaming` shows it for every order of parts and every chunking; here for each number and each moment of refusal.
#[tokio::test]
async fn what_was_refused_was_never_stored_upstream() {
    let world = World::pass_through().await;
    let client = world.client();
    let image = || Form::image();
    let mut refused = 0;
    for (number, form) in [
        (NO_STORAGE, image().field("ttl_minutes", "1441")),
        (
            NO_STORAGE,
            Form::new().field("ttl_minutes", "59").file("image/png", PNG),
        ),
        (NO_STORAGE, Form::new().file("text/html", b"<p>")),
        (NO_STORAGE, image().field("type", "image/jpeg")),
        (NO_STORAGE, image().field("caption", "x")),
        (NO_STORAGE, image().file("image/png", PNG)),
        (IN_COUNTRY, image().field("ttl_minutes", "60")),
        (DEFAULT, image().field("ttl_minutes", "60")),
        (4711, image()),
    ] {
        let reply = client.post_form(&format!("/v23.0/{number}/media"), &form).await;
        assert!(reply.reason().is_some(), "{}", reply.text());
        refused += 1;
    }
    world.emulator.fault(Fault::new(
        Operation::Settings,
        Effect::ResetRequest { after_bytes: 0 },
    ));
    world.pass_minutes(15);
    for number in [NO_STORAGE, IN_COUNTRY] {
        let reply = client
            .post_form(&format!("/v23.0/{number}/media"), &image())
            .await;
        reply.assert_refused(503, 131_005, "settings_unverified");
        refused += 1;
    }
    assert_eq!(refused, 11);
    assert_eq!(world.emulator.media_bytes_kept(), 0);
    assert!(world.emulator.media().is_empty() && world.emulator.other_content().is_empty());
}

/// `kill` shows it for the store under load, `kill_gateway` for the whole program; here for the one answer that is told just
/// before the end.
#[cfg(unix)]
#[tokio::test]
async fn nothing_acknowledged_is_lost_by_kill_9() {
    use common::Client;
    use common::process::{Gateway, write_config};
    let world = World::start(Setup::default()).await;
    let folder = tempfile::tempdir().expect("a folder");
    let policies = common::PASS_THROUGH.replace("[number.media]", "[number.media]\nunknown_ids = \"deny\"");
    write_config(
        folder.path(),
        &world.emulator.base_url(),
        &policies,
        "[store]\nkind = \"sqlite\"\npath = \"curfew.db\"\n",
    );
    let gateway = Gateway::start(folder.path()).await;
    let media = Client::new(gateway.addr).bearer(TOKEN).upload(NO_STORAGE).await;
    gateway.program.kill();
    let gateway = Gateway::start(folder.path()).await;
    let client = Client::new(gateway.addr).bearer(TOKEN);
    let other = client.send_image(DEFAULT, media).await;
    other.assert_refused(400, 100, "media_of_other_number");
    let own = client.send_image(NO_STORAGE, media).await;
    assert_ne!(own.reason(), Some("media_not_usable"), "{}", own.text());
}
