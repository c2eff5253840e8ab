//! What a webhook costs before it is handed on, and what marking a send costs: time, and how often memory is asked for.

use curfew::graph::marker::{Marker, MarkerKey};
use curfew::graph::webhook::{give_back, read};
use curfew_policies::PhoneNumberId;

#[global_allocator]
static ALLOCATOR: divan::AllocProfiler = divan::AllocProfiler::system();

fn main() {
    divan::main();
}

const MARKER: Marker = Marker([7; 16]);
/// A text, 178 bytes.
const SEND: &[u8] = br#"{"messaging_product":"whatsapp","recipient_type":"individual","to":"+16505551234","type":"text","text":{"preview_url":false,"body":"Your table for four is booked for Friday."}}"#;

fn number() -> Option<PhoneNumberId> {
    "106540352242922".parse().ok()
}

fn key() -> Option<MarkerKey> {
    MarkerKey::derived_from(b"the app's secret").ok()
}

/// As many statuses as Meta puts into one delivery at most, each with a marker, and one.
fn statuses(count: usize) -> Option<Vec<u8>> {
    let stamped = key()?.stamped(number()?, &MARKER, SEND)?;
    let stamped: serde_json::Value = serde_json::from_slice(&stamped).ok()?;
    let opaque = stamped.get("biz_opaque_callback_data")?;
    let statuses: Vec<String> = (0..count)
        .map(|index| {
            format!(
                r#"{{"id":"wamid.HBgLMTY1MDU1NTEyMzQVAgARGBI{index:020}","status":"delivered","timestamp":"1744344496","recipient_id":"16505551234","recipient_user_id":"US.13491208655302741918","biz_opaque_callback_data":{opaque},"pricing":{{"billable":true,"pricing_model":"PMP","category":"utility","type":"regular"}}}}"#
            )
        })
        .collect();
    let body = format!(
        r#"{{"object":"whatsapp_business_account","entry":[{{"id":"102290129340398","changes":[{{"value":{{"messaging_product":"whatsapp","metadata":{{"display_phone_number":"15550783881","phone_number_id":"106540352242922"}},"statuses":[{}]}},"field":"messages"}}]}}]}}"#,
        statuses.join(",")
    );
    Some(body.into_bytes())
}

#[divan::bench(args = [1, 1_000])]
fn read_statuses(bencher: divan::Bencher<'_, '_>, count: usize) {
    let Some(body) = statuses(count) else { return };
    bencher
        .counter(divan::counter::BytesCount::of_slice(&body))
        .bench_local(|| read(divan::black_box(&body)).len());
}

#[divan::bench(args = [1, 1_000])]
fn take_markers_out(bencher: divan::Bencher<'_, '_>, count: usize) {
    let (Some(body), Some(key)) = (statuses(count), key()) else {
        return;
    };
    let changes = read(&body);
    bencher
        .counter(divan::counter::BytesCount::of_slice(&body))
        .bench_local(|| give_back(divan::black_box(&body), &changes, &key).marked.len());
}

#[divan::bench]
fn mark_a_send(bencher: divan::Bencher<'_, '_>) {
    let (Some(key), Some(number)) = (key(), number()) else {
        return;
    };
    bencher.bench_local(|| key.stamped(number, &MARKER, divan::black_box(SEND)));
}
