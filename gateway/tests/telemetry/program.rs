//! The program itself: its log, its end, and what can be found in all that it told.

use bytes::Bytes;
use curfew_emulator::{Emulator, Options};
use http::Method;
use memchr::memmem;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::collector::Collector;
use super::common::form::Form;
use super::common::process::{Gateway, Program, write_config};
use super::common::{Client, NO_STORAGE, PASS_THROUGH, TOKEN};

async fn emulator() -> Emulator {
    let options = Options {
        numbers: Options::from_policies_toml(PASS_THROUGH).expect("policies"),
        tokens: vec![TOKEN.to_owned()],
        ..Options::default()
    };
    Emulator::start(options).await.expect("the emulator starts")
}

fn folder(emulator: &Emulator, telemetry: &str) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let more = format!("[telemetry]\n{telemetry}\n");
    write_config(folder.path(), &emulator.base_url(), PASS_THROUGH, &more);
    folder
}

const TEXT: &str = "canary-of-a-message";
const RECIPIENT: &str = "15550147036";
const QUERY: &str = "canary-of-a-query";
const FILE: &str = "canary-of-a-file-name";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_its_end_everything_is_told_and_no_content_recipient_query_or_token_is_in_it() {
    let collector = Collector::start().await;
    let emulator = emulator().await;
    let endpoint = collector.endpoint();
    let folder = folder(
        &emulator,
        &format!("otlp_endpoint = \"{endpoint}\"\nlog = \"json\""),
    );
    let mut program = Program::start(folder.path(), &["run", "--config", "curfew.toml"]);
    let listening: Value = serde_json::from_str(&program.log_line("listening").await).expect("JSON");
    let address = |name: &str| {
        listening[name]
            .as_str()
            .and_then(|text| text.parse().ok())
            .expect("an address")
    };
    let client = Client::new(address("address")).bearer(TOKEN);

    let message = json!({ "messaging_product": "whatsapp", "to": format!("+{RECIPIENT}"), "type": "text", "text": { "body": TEXT } });
    for number in [1001, 1002] {
        let reply = client.post(&format!("/v23.0/{number}/messages"), &message).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
    }
    let odd = message.to_string().replace("whatsapp", "smoke-signals");
    client.post_text("/v23.0/1001/messages", &odd).await;
    let media = client.upload(NO_STORAGE).await;
    let form = Form::image().field("ttl_minutes", FILE);
    client
        .post_form("/v23.0/1001/media", &form)
        .await
        .assert_refused(400, 131_009, "ttl_not_whole");
    for target in [
        format!("/v23.0/{media}?phone_number_id=1001"),
        format!("/v23.0/{media}?odd={QUERY}"),
        format!("/v23.0/{QUERY}"),
    ] {
        client.get(&target).await;
    }
    let other = Client::new(address("address")).bearer("EAAG-canary-of-a-token");
    other.send_text(NO_STORAGE).await;
    let trace = [(
        "traceparent",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    )];
    client
        .send(Method::GET, &format!("/v23.0/{media}"), &trace, Bytes::new())
        .await;
    let page = Client::new(address("admin")).get("/metrics").await.text();
    assert!(page.contains("curfew_decisions_total"));

    program.terminate();
    program.log_line("stopped").await;
    let lines = program.lines_so_far();
    let status = program.ended().await;
    assert!(status.success(), "{status}");

    let spans = collector.spans();
    let requests: Vec<_> = spans.iter().filter(|span| span.is(SpanKind::Server)).collect();
    assert_eq!(requests.len(), 10, "{requests:#?}");
    assert!(collector.metrics().iter().any(|name| name == "curfew.decisions"));
    let continued = requests
        .iter()
        .find(|span| span.trace() == "4bf92f3577b34da6a3ce929d0e0e4736");
    assert!(continued.is_some());
    let log = lines.join("\n");
    for (place, text) in [
        ("the collector", collector.bytes()),
        ("/metrics", page.into_bytes()),
        ("the log", log.into_bytes()),
    ] {
        for canary in [
            TEXT,
            RECIPIENT,
            QUERY,
            FILE,
            TOKEN,
            "canary",
            "smoke-signals",
            "access_token",
        ] {
            let found = memmem::find(&text, canary.as_bytes());
            assert_eq!(found, None, "{canary} is in {place}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_requests_log_line_has_the_ids_of_its_span() {
    let collector = Collector::start().await;
    let emulator = emulator().await;
    let endpoint = collector.endpoint();
    let folder = folder(
        &emulator,
        &format!("otlp_endpoint = \"{endpoint}\"\nlog = \"json\""),
    );
    let mut program = Program::start(folder.path(), &["run", "--config", "curfew.toml"]);
    let listening: Value = serde_json::from_str(&program.log_line("listening").await).expect("JSON");
    let address = listening["address"].as_str().and_then(|text| text.parse().ok());
    let client = Client::new(address.expect("an address")).bearer(TOKEN);
    assert_eq!(client.send_text(NO_STORAGE).await.status, 200);
    let line = program.log_line("\"request\"").await;
    let line: Value = serde_json::from_str(&line).expect("JSON");
    assert_eq!(
        (line["level"].as_str(), line["number"].as_u64()),
        (Some("INFO"), Some(1001))
    );
    program.terminate();
    assert!(program.ended().await.success());
    let spans = collector.spans();
    let request = spans
        .iter()
        .find(|span| span.is(SpanKind::Server))
        .expect("a span");
    assert_eq!(line["trace_id"].as_str(), Some(&*request.trace()));
    assert_eq!(line["span_id"].as_str(), Some(&*request.id()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_sandbox_tells_a_collector_that_is_named() {
    let collector = Collector::start().await;
    let folder = tempfile::tempdir().expect("a folder");
    let any = "127.0.0.1:0";
    let endpoint = collector.endpoint();
    let args = [
        "sandbox",
        "--json",
        "--listen",
        any,
        "--admin-listen",
        any,
        "--otlp-endpoint",
        &endpoint,
    ];
    // What a collector asks for before it takes anything, as every OTLP exporter has it.
    let variables = [("OTEL_EXPORTER_OTLP_HEADERS", "x-key=let-me-in")];
    let mut program = Program::start_with(folder.path(), &args, &variables);
    let told: Value = serde_json::from_str(&program.out_line().await).expect("JSON");
    let text = |name: &str| told[name].as_str().expect("a text").to_owned();
    let address = text("base_url")
        .trim_start_matches("http://")
        .parse()
        .expect("an address");
    let client = Client::new(address).bearer(&text("token"));
    client
        .get("/v23.0/me")
        .await
        .assert_refused(403, 131_005, "unknown_operation");
    program.terminate();
    assert!(program.ended().await.success());
    let spans = collector.spans();
    assert_eq!(spans.len(), 1);
    let keys = collector.keys();
    assert!(
        keys.len() >= 2 && keys.iter().all(|key| key == "let-me-in"),
        "{keys:?}"
    );
    assert_eq!(
        spans[0].get("curfew.reason").as_deref(),
        Some("unknown_operation")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_takes_nothing_costs_a_line_of_the_log_and_no_request() {
    let collector = Collector::refusing().await;
    let emulator = emulator().await;
    let folder = folder(
        &emulator,
        &format!("otlp_endpoint = \"{}\"", collector.endpoint()),
    );
    let mut gateway = Gateway::start(folder.path()).await;
    let client = Client::new(gateway.addr).bearer(TOKEN);
    assert_eq!(client.send_text(NO_STORAGE).await.status, 200);
    let told = gateway
        .program
        .log_line("the collector does not take telemetry")
        .await;
    assert!(told.contains("WARN") && told.contains("400"), "{told}");
    assert_eq!(client.send_text(NO_STORAGE).await.status, 200);
    gateway.program.terminate();
    gateway.program.log_line("stopped").await;
    let more = gateway.program.lines_so_far();
    assert!(
        !more.iter().any(|line| line.contains("the collector does not")),
        "{more:?}"
    );
    assert!(gateway.program.ended().await.success());
    assert!(collector.spans().is_empty());
}
