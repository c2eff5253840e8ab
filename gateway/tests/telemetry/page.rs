//! `/metrics`, as Prometheus reads it.

use std::collections::BTreeMap;

use super::common::form::Form;
use super::common::{Client, DEFAULT, NO_STORAGE, World};

/// A page, by the names and labels of its samples. Checks what Prometheus would not take: text format 0.0.4.
pub(crate) struct Page(BTreeMap<String, f64>);

impl Page {
    pub(crate) async fn read(operator: &Client) -> Self {
        let reply = operator.get("/metrics").await;
        assert_eq!(reply.status, 200);
        let kind = reply.header("content-type").expect("a type");
        assert_eq!(kind, "text/plain; version=0.0.4; charset=utf-8");
        Self::parse(&reply.text())
    }

    fn parse(text: &str) -> Self {
        assert!(text.ends_with('\n'));
        let mut samples = BTreeMap::new();
        let mut family: Option<(String, String)> = None;
        let mut families = Vec::new();
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').expect("a type");
                assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
                assert!(!families.contains(&name.to_owned()), "{name} is there twice");
                families.push(name.to_owned());
                family = Some((name.to_owned(), kind.to_owned()));
                continue;
            }
            if line.starts_with("# HELP ") {
                continue;
            }
            let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line}"));
            let value: f64 = value.parse().unwrap_or_else(|_| panic!("{line}"));
            let (name, labels) = series.split_once('{').map_or((series, ""), |(name, labels)| {
                (name, labels.strip_suffix('}').unwrap_or_else(|| panic!("{line}")))
            });
            let (of, kind) = family.as_ref().expect("a type comes first");
            let belongs = name == of
                || kind == "histogram"
                    && ["_bucket", "_sum", "_count"]
                        .iter()
                        .any(|suffix| name.strip_suffix(suffix) == Some(of));
            assert!(belongs, "{name} is not of {of}");
            let is_name = |name: &str| {
                !name.is_empty()
                    && !name.starts_with(|first: char| first.is_ascii_digit())
                    && name
                        .chars()
                        .all(|c| c.is_ascii_alphanumeric() || c == '_' || c == ':')
            };
            assert!(is_name(name), "{line}");
            for label in labels.split_terminator("\",") {
                let (label, _) = label.split_once("=\"").unwrap_or_else(|| panic!("{line}"));
                assert!(is_name(label), "{line}");
            }
            let is_new = samples.insert(series.to_owned(), value).is_none();
            assert!(is_new, "{series} is there twice");
        }
        Self(samples)
    }

    /// The sum of the samples of this name that have all of these labels.
    pub(crate) fn sum(&self, name: &str, labels: &[&str]) -> f64 {
        let of = |series: &str| {
            series.split('{').next() == Some(name) && labels.iter().all(|label| series.contains(label))
        };
        self.0
            .iter()
            .filter(|(series, _)| of(series))
            .map(|(_, value)| value)
            .sum()
    }

    fn has(&self, name: &str) -> bool {
        self.0.keys().any(|series| series.split('{').next() == Some(name))
    }
}

#[track_caller]
fn assert_counts(page: &Page, name: &str, labels: &[&str], count: f64) {
    let sum = page.sum(name, labels);
    assert!(
        (sum - count).abs() < f64::EPSILON,
        "{name} {labels:?}: {sum}\n{:#?}",
        page.0
    );
}

#[tokio::test]
async fn what_happened_is_counted_and_the_page_can_be_read() {
    let world = World::pass_through().await;
    let operator = Client::new(world.gateway.admin);
    // Empty, it is a page as well.
    let before = Page::read(&operator).await;
    assert_counts(&before, "curfew_pins", &[], 0.0);
    let client = world.client();
    let media = client.upload(NO_STORAGE).await;
    for _ in 0..2 {
        assert_eq!(client.send_image(NO_STORAGE, media).await.status, 200);
    }
    client
        .send_image(DEFAULT, media)
        .await
        .assert_refused(400, 100, "media_of_other_number");
    let form = Form::image().field("ttl_minutes", "59");
    let refused = client.post_form("/v23.0/1001/media", &form).await;
    refused.assert_refused(400, 131_009, "ttl_out_of_bounds");
    client.get("/v23.0/me").await;
    let url = client.get(&format!("/v23.0/{media}")).await.json()["url"]
        .as_str()
        .expect("a URL")
        .to_owned();
    for _ in 0..2 {
        assert_eq!(client.get(&url).await.status, 200);
    }

    let page = Page::read(&operator).await;
    let requests = "http_server_request_duration_seconds_count";
    let send = "curfew_operation=\"send_message\"";
    let route = "http_route=\"/{phone_number_id}/messages\"";
    let ok = "http_response_status_code=\"200\"";
    assert_counts(
        &page,
        requests,
        &[send, route, ok, "http_request_method=\"POST\""],
        2.0,
    );
    assert_counts(
        &page,
        requests,
        &["http_route=\"/_curfew/media/{token}\"", ok],
        2.0,
    );
    let bad = "http_response_status_code=\"400\"";
    assert_counts(&page, requests, &[bad], 2.0);
    let decisions = "curfew_decisions_total";
    assert_counts(&page, decisions, &["curfew_decision=\"allowed\""], 6.0);
    assert_counts(&page, decisions, &["curfew_reason=\"ttl_out_of_bounds\""], 1.0);
    assert_counts(&page, decisions, &["curfew_decision=\"refused\""], 3.0);
    let exchanges = "http_client_request_duration_seconds_count";
    assert_counts(&page, exchanges, &[send, ok, "server_address=\"127.0.0.1\""], 2.0);
    assert_counts(&page, exchanges, &["curfew_operation=\"ask_settings\""], 1.0);
    assert_counts(&page, "curfew_pins", &[], 1.0);
    assert_counts(
        &page,
        "curfew_cache_requests_total",
        &["curfew_cache=\"hit\""],
        1.0,
    );
    assert_counts(
        &page,
        "curfew_cache_requests_total",
        &["curfew_cache=\"miss\""],
        1.0,
    );
    assert_counts(&page, "curfew_cache_entries", &[], 1.0);
    assert!(page.sum("curfew_cache_size_bytes", &["curfew_state=\"held\""]) > 0.0);
    let number = "curfew_number=\"1001\"";
    assert_counts(&page, "curfew_limits_granted_total", &[number], 2.0);
    for upstream in ["graph", "media"] {
        let label = format!("curfew_upstream=\"{upstream}\"");
        assert!(page.has("curfew_breaker_open"), "{:#?}", page.0);
        assert_counts(&page, "curfew_breaker_open", &[&label], 0.0);
    }
    assert!(page.sum("curfew_guard_limit", &["curfew_kind=\"sends\""]) > 0.0);
    // The buckets are ours: sends take less than the first of the usual ones.
    let finest = page.0.keys().filter(|series| series.contains("le=\"0.0005\""));
    assert!(finest.count() > 0);
    assert_counts(&page, "http_server_active_requests", &[], 0.0);
    assert_counts(&page, "http_client_active_requests", &[], 0.0);
    assert!(
        page.sum(
            "http_client_open_connections",
            &["http_connection_state=\"idle\""]
        ) >= 1.0
    );
    if cfg!(target_os = "linux") {
        for name in [
            "process_cpu_time_seconds_total",
            "process_memory_usage_bytes",
            "process_thread_count",
            "process_unix_file_descriptor_count",
        ] {
            assert!(page.has(name) && page.sum(name, &[]) > 0.0, "{name}");
        }
    }
}

#[tokio::test]
async fn limits_are_counted_by_number_and_limit() {
    let policies = format!(
        "[[number]]\nphone_number_id = \"{DEFAULT}\"\nstorage = {{ mode = \"default\" }}\n\
         [number.sends]\nper_second = 7\nburst = 2\nwhen_limited = \"reject\"\n"
    );
    let world = World::of(&policies).await;
    for status in [200, 200, 429] {
        assert_eq!(world.client().send_text(DEFAULT).await.status, status);
    }
    let page = Page::read(&Client::new(world.gateway.admin)).await;
    let number = "curfew_number=\"1003\"";
    assert_counts(&page, "curfew_limits_granted_total", &[number], 2.0);
    assert_counts(&page, "curfew_limits_taken", &[number], 2.0);
    let throughput = "curfew_limit=\"throughput\"";
    assert_counts(&page, "curfew_limits_limited_total", &[number, throughput], 1.0);
    assert_counts(&page, "curfew_limits_waiting", &[number], 0.0);
    for whose in ["curfew_rate=\"policy\"", "curfew_rate=\"current\""] {
        let rate: f64 = page
            .0
            .iter()
            .filter(|(series, _)| series.starts_with("curfew_limits_rate") && series.contains(whose))
            .map(|(_, value)| value)
            .sum();
        assert!((rate - 7.0).abs() < f64::EPSILON, "{rate}");
    }
}
