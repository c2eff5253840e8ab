//! Promise: what the gateway does can be seen in traces, figures and its log, and nothing that it must not keep can.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

#[path = "../common/mod.rs"]
mod common;

mod collector;
mod page;
#[cfg(unix)]
mod program;

use std::time::Duration;

use bytes::Bytes;
use collector::{Collector, Seen};
use common::form::Form;
use common::{DEFAULT, NO_STORAGE, Setup, World, soon};
use curfew::config::Telemetry;
use curfew_emulator::{Effect, Emulator, Fault, Operation};
use http::Method;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use serde_json::json;

/// A gateway that reports to `collector`.
async fn world(collector: &Collector, sample_ratio: f64) -> World {
    World::start(setup(collector, sample_ratio)).await
}

fn setup(collector: &Collector, sample_ratio: f64) -> Setup {
    Setup {
        telemetry: Telemetry {
            otlp_endpoint: Some(collector.endpoint().parse().expect("an endpoint")),
            sample_ratio,
            ..Telemetry::default()
        },
        ..Setup::default()
    }
}

/// Ends the gateway, which sends what it has to tell, and returns all spans.
async fn spans(world: World, collector: &Collector) -> (Vec<Seen>, Emulator) {
    let World {
        gateway, emulator, ..
    } = world;
    soon(gateway.stop()).await;
    (collector.spans(), emulator)
}

/// The one span that `is_it`.
#[track_caller]
fn only(spans: &[Seen], is_it: impl Fn(&Seen) -> bool) -> &Seen {
    let found: Vec<_> = spans.iter().filter(|span| is_it(span)).collect();
    assert_eq!(found.len(), 1, "{spans:#?}");
    found[0]
}

fn server(span: &Seen) -> bool {
    span.is(SpanKind::Server)
}

fn client(span: &Seen) -> bool {
    span.is(SpanKind::Client)
}

#[tokio::test]
async fn a_send_is_one_trace_of_the_request_and_its_exchange() {
    let collector = Collector::start().await;
    let world = world(&collector, 1.0).await;
    assert_eq!(world.client().send_text(DEFAULT).await.status, 200);
    let (spans, _) = spans(world, &collector).await;
    assert_eq!(spans.len(), 2, "{spans:#?}");
    let request = only(&spans, server);
    assert_eq!(request.0.name, "POST /{phone_number_id}/messages");
    for (key, value) in [
        ("http.request.method", "POST"),
        ("http.route", "/{phone_number_id}/messages"),
        ("http.response.status_code", "200"),
        ("curfew.operation", "send_message"),
        ("curfew.number", "1003"),
        ("curfew.caller", "pass-through"),
        ("curfew.decision", "allowed"),
    ] {
        assert_eq!(request.get(key).as_deref(), Some(value), "{key}");
    }
    assert_eq!(request.get("curfew.reason"), None);
    let exchange = only(&spans, client);
    assert_eq!(
        (exchange.trace(), exchange.parent()),
        (request.trace(), request.id())
    );
    assert_eq!(request.parent(), "");
    for (key, value) in [
        ("http.request.method", "POST"),
        ("http.response.status_code", "200"),
        ("curfew.operation", "send_message"),
        ("curfew.upstream", "graph"),
        ("curfew.attempt", "1"),
    ] {
        assert_eq!(exchange.get(key).as_deref(), Some(value), "{key}");
    }
    assert!(exchange.get("curfew.graph.fbtrace_id").is_some());
    assert!(
        exchange.0.start_time_unix_nano >= request.0.start_time_unix_nano
            && exchange.0.end_time_unix_nano <= request.0.end_time_unix_nano
    );
    let resources = collector.resources();
    assert!(
        resources.contains(&("service.name".to_owned(), "curfew".to_owned())),
        "{resources:?}"
    );
}

#[tokio::test]
async fn a_refused_upload_is_found_by_number_and_reason_whatever_share_is_kept() {
    let collector = Collector::start().await;
    let world = world(&collector, 0.0).await;
    let client = world.client();
    client.upload(NO_STORAGE).await;
    assert_eq!(client.send_text(DEFAULT).await.status, 200);
    let form = Form::image().field("ttl_minutes", "43200");
    let refused = client.post_form("/v23.0/1001/media", &form).await;
    refused.assert_refused(400, 131_009, "ttl_out_of_bounds");
    let (spans, _) = spans(world, &collector).await;
    let request = only(&spans, server);
    for (key, value) in [
        ("http.route", "/{phone_number_id}/media"),
        ("http.response.status_code", "400"),
        ("curfew.number", "1001"),
        ("curfew.decision", "refused"),
        ("curfew.reason", "ttl_out_of_bounds"),
    ] {
        assert_eq!(request.get(key).as_deref(), Some(value), "{key}");
    }
    assert_eq!(
        request.0.status.clone().unwrap_or_default().code(),
        StatusCode::Unset
    );
    // What was begun at Meta and broken off belongs to it.
    let others = spans.iter().filter(|span| !server(span));
    assert!(
        others.clone().all(|span| span.parent() == request.id()),
        "{spans:#?}"
    );
}

#[tokio::test]
async fn what_fails_is_kept_with_metas_code_and_its_id() {
    let collector = Collector::start().await;
    let world = world(&collector, 0.0).await;
    let error = |status, code| Effect::Error {
        status,
        code,
        subcode: None,
        details: None,
    };
    world
        .emulator
        .fault(Fault::new(Operation::Send, error(400, 131_026)).times(1));
    let reply = world.client().send_text(DEFAULT).await;
    assert_eq!(reply.code(), Some(131_026));
    let fb_trace = reply.json()["error"]["fbtrace_id"]
        .as_str()
        .expect("an id")
        .to_owned();
    // Meta also says no with 200.
    world
        .emulator
        .fault(Fault::new(Operation::Send, error(200, 131_049)).times(1));
    world.client().send_text(DEFAULT).await;
    world
        .emulator
        .fault(Fault::new(Operation::Send, Effect::ResetReply { after_bytes: 20 }).times(1));
    world
        .client()
        .send_text(DEFAULT)
        .await
        .assert_refused(409, 131_000, "outcome_unknown");
    let (spans, _) = spans(world, &collector).await;
    assert_eq!(spans.len(), 6, "{spans:#?}");
    let first = only(&spans, |span| {
        span.get("curfew.graph.code").as_deref() == Some("131026")
    });
    assert!(client(first));
    assert_eq!(first.get("curfew.graph.fbtrace_id"), Some(fb_trace));
    assert_eq!(
        first.0.status.clone().expect("a status").code(),
        StatusCode::Error
    );
    let second = only(&spans, |span| {
        span.get("curfew.graph.code").as_deref() == Some("131049")
    });
    assert_eq!(second.get("http.response.status_code").as_deref(), Some("200"));
    let third = only(&spans, |span| span.get("error.type").is_some());
    assert_eq!(third.get("error.type").as_deref(), Some("broken"));
    for exchange in [first, second, third] {
        let request = only(&spans, |span| span.id() == exchange.parent());
        assert!(server(request) && request.trace() == exchange.trace());
    }
}

#[tokio::test]
async fn a_limited_sends_trace_shows_its_wait_as_a_span() {
    let collector = Collector::start().await;
    let policies = format!(
        "[[number]]\nphone_number_id = \"{DEFAULT}\"\nstorage = {{ mode = \"default\" }}\n\
         [number.sends]\nper_second = 1\nburst = 1\nmax_wait_ms = 5000\n"
    );
    let world = World::start(Setup {
        policies,
        ..setup(&collector, 1.0)
    })
    .await;
    let caller = world.client();
    assert_eq!(caller.send_text(DEFAULT).await.status, 200);
    let operator = common::Client::new(world.gateway.admin);
    let passing = async {
        loop {
            let limits = operator.get("/limits").await.json();
            if limits["numbers"]["1003"]["waiting"]["sends"] == 1 {
                break;
            }
            tokio::task::yield_now().await;
        }
        world.time.advance(Duration::from_secs(1));
    };
    let (reply, ()) = soon(async { tokio::join!(caller.send_text(DEFAULT), passing) }).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let (spans, _) = spans(world, &collector).await;
    let wait = only(&spans, |span| span.is(SpanKind::Internal));
    assert_eq!(wait.get("curfew.number").as_deref(), Some("1003"));
    assert_eq!(wait.millis(), 1000);
    let request = only(&spans, |span| span.id() == wait.parent());
    assert_eq!(request.get("curfew.wait_ms").as_deref(), Some("1000"));
    assert!(server(request) && request.trace() == wait.trace());
    // Only where it took time.
    let waits = spans.iter().filter(|span| span.get("curfew.wait_ms").is_some());
    assert_eq!(waits.count(), 1);
}

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7";

async fn send_with(world: &World, headers: &[(&str, &str)]) {
    let body = json!({ "messaging_product": "whatsapp", "to": "+15550100001", "type": "text", "text": { "body": "Hello" } });
    let mut all = vec![("content-type", "application/json")];
    all.extend_from_slice(headers);
    let target = format!("/v23.0/{DEFAULT}/messages");
    let body = Bytes::from(body.to_string());
    let reply = world.client().send(Method::POST, &target, &all, body).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
}

#[tokio::test]
async fn a_callers_trace_goes_on_as_it_decides_and_meta_is_told_nothing() {
    let collector = Collector::start().await;
    let world = world(&collector, 0.0).await;
    let kept = format!("{PARENT}-01");
    send_with(
        &world,
        &[
            ("traceparent", &kept),
            ("tracestate", "bank=42"),
            ("baggage", "a=b"),
        ],
    )
    .await;
    send_with(
        &world,
        &[("traceparent", &kept.replace("4bf9", "5bf9").replace("-01", "-00"))],
    )
    .await;
    send_with(&world, &[]).await;
    let (spans, emulator) = spans(world, &collector).await;
    assert_eq!(spans.len(), 2, "{spans:#?}");
    let request = only(&spans, server);
    assert_eq!(request.trace(), "4bf92f3577b34da6a3ce929d0e0e4736");
    assert_eq!(request.parent(), "00f067aa0ba902b7");
    assert_eq!(request.0.trace_state, "bank=42");
    let received = emulator.received();
    assert_eq!(received.len(), 3);
    for call in &received {
        for name in call.headers.keys() {
            let name = name.as_str();
            assert!(!name.contains("trace") && name != "baggage", "{name}");
        }
    }
}

#[tokio::test]
async fn meta_is_told_the_trace_and_no_more_where_the_configuration_says_so() {
    let collector = Collector::start().await;
    let mut setup = setup(&collector, 0.0);
    setup.telemetry.propagate_upstream = true;
    let world = World::start(setup).await;
    let kept = format!("{PARENT}-01");
    send_with(
        &world,
        &[
            ("traceparent", &kept),
            ("tracestate", "bank=42"),
            ("baggage", "a=b"),
        ],
    )
    .await;
    let (spans, emulator) = spans(world, &collector).await;
    let exchange = only(&spans, client);
    let received = emulator.received();
    let told = received[0].header("traceparent").map(ToOwned::to_owned);
    assert_eq!(
        told,
        Some(format!("00-{}-{}-01", exchange.trace(), exchange.id()))
    );
    assert_eq!(
        (received[0].header("tracestate"), received[0].header("baggage")),
        (None, None)
    );
}

#[tokio::test]
async fn an_exchange_that_ends_after_its_requests_answer_began_is_told_too() {
    let collector = Collector::start().await;
    let mut setup = setup(&collector, 1.0);
    // Past the cache, what comes from Meta goes to the caller as it comes.
    setup.configure = |config| config.cache.max_bytes = 0;
    let world = World::start(setup).await;
    let caller = world.client();
    let media = caller.upload(NO_STORAGE).await;
    let url = caller.get(&format!("/v23.0/{media}")).await.json()["url"]
        .as_str()
        .expect("a URL")
        .to_owned();
    let reply = caller.get(&url).await;
    assert_eq!(
        (reply.status.as_u16(), reply.header("curfew-cache")),
        (200, Some("bypass"))
    );
    let (spans, _) = spans(world, &collector).await;
    let download = only(&spans, |span| server(span) && span.get("curfew.cache").is_some());
    assert_eq!(download.get("curfew.cache").as_deref(), Some("bypass"));
    assert_eq!(download.0.name, "GET /_curfew/media/{token}");
    let fetch = only(&spans, |span| {
        span.get("curfew.upstream").as_deref() == Some("media")
    });
    assert_eq!((fetch.trace(), fetch.parent()), (download.trace(), download.id()));
    assert_eq!(fetch.get("http.response.status_code").as_deref(), Some("200"));
    assert_eq!(fetch.get("error.type"), None);
}

#[tokio::test]
async fn what_failed_is_told_apart_from_what_was_refused() {
    let collector = Collector::start().await;
    let world = world(&collector, 0.0).await;
    let caller = world.client();
    caller
        .get("/v23.0/me")
        .await
        .assert_refused(403, 131_005, "unknown_operation");
    world
        .emulator
        .fault(Fault::new(Operation::Send, Effect::ResetReply { after_bytes: 20 }).times(1));
    caller
        .send_text(DEFAULT)
        .await
        .assert_refused(409, 131_000, "outcome_unknown");
    let (spans, _) = spans(world, &collector).await;
    for (reason, decision, route) in [
        ("unknown_operation", "refused", None),
        ("outcome_unknown", "failed", Some("/{phone_number_id}/messages")),
    ] {
        let request = only(&spans, |span| {
            span.get("curfew.reason").as_deref() == Some(reason)
        });
        assert_eq!(request.get("curfew.decision").as_deref(), Some(decision));
        assert_eq!(request.get("http.route").as_deref(), route);
    }
}

#[tokio::test]
async fn the_gateways_own_questions_belong_to_the_request_that_asked() {
    let collector = Collector::start().await;
    let world = world(&collector, 1.0).await;
    world.client().upload(NO_STORAGE).await;
    let (spans, _) = spans(world, &collector).await;
    let request = only(&spans, server);
    let mut operations: Vec<_> = spans
        .iter()
        .filter(|span| client(span))
        .inspect(|span| assert_eq!(span.parent(), request.id()))
        .filter_map(|span| span.get("curfew.operation"))
        .collect();
    operations.sort();
    assert_eq!(operations, ["ask_settings", "upload_media"]);
}

#[tokio::test]
async fn what_is_counted_is_sent_as_well() {
    let collector = Collector::start().await;
    let world = world(&collector, 0.0).await;
    assert_eq!(world.client().send_text(DEFAULT).await.status, 200);
    let (spans, _) = spans(world, &collector).await;
    assert!(spans.is_empty(), "{spans:#?}");
    let names = collector.metrics();
    for name in [
        "http.server.request.duration",
        "http.client.request.duration",
        "curfew.decisions",
        "curfew.pins",
        "curfew.limits.granted",
    ] {
        assert!(names.iter().any(|seen| seen == name), "{name}: {names:?}");
    }
}
