//! What reading a send costs: time, and how often memory is asked for.

use curfew::graph::json::check_object;
use curfew::graph::message::read;

#[global_allocator]
static ALLOCATOR: divan::AllocProfiler = divan::AllocProfiler::system();

fn main() {
    divan::main();
}

/// A text with a quote, 314 bytes.
const TEXT: &str = r#"{"messaging_product":"whatsapp","recipient_type":"individual","to":"+16505551234","context":{"message_id":"wamid.HBgLMTY0NjcwNDM1OTUVAgASGBQzQTdCNTg5RjY1MEMyRjlGMjRGNgA="},"type":"text","text":{"preview_url":false,"body":"Your table for four is now booked for Friday at half past seven. Reply CHANGE to move it."}}"#;

fn template() -> String {
    let parameters: Vec<String> = [
        "Pablo",
        "860198-230332",
        "16 August 2026",
        "15:30",
        "Terminal 2, gate B 46",
    ]
    .iter()
    .map(|text| format!(r#"{{"type":"text","text":"{text}"}}"#))
    .collect();
    padded(
        |padding| {
            format!(
                r#"{{"messaging_product":"whatsapp","recipient_type":"individual","to":"16505551234","type":"template","template":{{"name":"boarding_reminder_v3","language":{{"policy":"deterministic","code":"en_US"}},"components":[{{"type":"header","parameters":[{{"type":"text","text":"{padding}"}}]}},{{"type":"body","parameters":[{}]}},{{"type":"button","sub_type":"url","index":"0","parameters":[{{"type":"text","text":"860198-230332"}}]}}]}}}}"#,
                parameters.join(",")
            )
        },
        640,
    )
}

fn carousel() -> String {
    let card = |index: usize| {
        format!(
            r#"{{"card_index":{index},"components":[{{"type":"header","parameters":[{{"type":"image","image":{{"id":"24230790383178626{index}"}}}}]}},{{"type":"body","parameters":[{{"type":"text","text":"10OFF"}},{{"type":"text","text":"20%"}}]}},{{"type":"button","sub_type":"quick_reply","index":"0","parameters":[{{"type":"payload","payload":"59NqSdd{index}"}}]}}]}}"#
        )
    };
    let cards: Vec<String> = (0..5).map(card).collect();
    padded(
        |padding| {
            format!(
                r#"{{"messaging_product":"whatsapp","recipient_type":"individual","to":"16505551234","type":"template","template":{{"name":"summer_carousel","language":{{"code":"en_US"}},"components":[{{"type":"body","parameters":[{{"type":"text","text":"{padding}"}}]}},{{"type":"carousel","cards":[{}]}}]}}}}"#,
                cards.join(",")
            )
        },
        2048,
    )
}

/// The body with so much text that it has `bytes` bytes.
fn padded(body: impl Fn(&str) -> String, bytes: usize) -> String {
    let bare = body("").len();
    body(&"a".repeat(bytes.saturating_sub(bare)))
}

#[divan::bench(sample_size = 100)]
fn text_314_bytes(bencher: divan::Bencher<'_, '_>) {
    bencher.bench(|| read(divan::black_box(TEXT.as_bytes())).is_ok());
}

#[divan::bench(sample_size = 100)]
fn template_640_bytes(bencher: divan::Bencher<'_, '_>) {
    let body = template();
    bencher.bench(|| read(divan::black_box(body.as_bytes())).is_ok());
}

#[divan::bench(sample_size = 100)]
fn carousel_template_2_kib(bencher: divan::Bencher<'_, '_>) {
    let body = carousel();
    bencher.bench(|| read(divan::black_box(body.as_bytes())).is_ok());
}

/// The walk alone, as for bodies of which policy reads no more than the top level.
#[divan::bench(sample_size = 100)]
fn template_640_bytes_checked_only(bencher: divan::Bencher<'_, '_>) {
    let body = template();
    bencher.bench(|| check_object(divan::black_box(body.as_bytes())).is_ok());
}

/// The yardstick: a tree of the same 640 bytes, which nothing has judged yet.
#[divan::bench(sample_size = 100)]
fn template_640_bytes_as_tree(bencher: divan::Bencher<'_, '_>) {
    let body = template();
    bencher.bench(|| serde_json::from_slice::<serde_json::Value>(divan::black_box(body.as_bytes())).is_ok());
}
