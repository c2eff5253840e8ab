//! Promise: every refusal says what it is: status, Meta's code, the gateway's reason, and details to act on.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

#[path = "../common/mod.rs"]
mod common;

mod form;
mod meta;
mod order;
mod policy;

use std::net::{Ipv4Addr, TcpListener};
use std::time::Duration;

use crate::common::form::{Form, PNG};
use crate::common::{
    Client, DEFAULT, IN_COUNTRY, NO_STORAGE, PASS_THROUGH, Reply, Setup, World, caller_table,
};
use curfew::config::{Limits, StoreConfig};
use curfew_emulator::{Effect, Fault, Operation, Storage};
use http::{Method, StatusCode};
use serde_json::json;

const MESSAGES: &str = "/v23.0/1001/messages";
const MEDIA: &str = "/v23.0/1001/media";

fn text() -> serde_json::Value {
    json!({ "messaging_product": "whatsapp", "to": "+15550100001", "type": "text", "text": { "body": "Hello" } })
}

fn image(image: &serde_json::Value) -> serde_json::Value {
    json!({ "messaging_product": "whatsapp", "to": "+15550100001", "type": "image", "image": image })
}

async fn upload_with(client: &Client, number: u64, form: Form) -> Reply {
    client.post_form(&format!("/v23.0/{number}/media"), &form).await
}

#[test]
fn every_reason_has_one_name_in_snake_case() {
    let mut seen = std::collections::HashSet::new();
    for slug in curfew::error::slugs() {
        assert!(seen.insert(slug), "{slug} stands for two reasons");
        let is_word = |word: &str| {
            !word.is_empty()
                && word
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
        };
        assert!(slug.split('_').all(is_word), "{slug}");
    }
    assert!(seen.len() > 100);
}
