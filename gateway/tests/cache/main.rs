//! Promise: a medium is fetched once for all who want it, kept no longer than it lives, and served as HTTP says.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

#[path = "../common/mod.rs"]
mod common;

mod ends;
mod flights;
mod http;
mod integrity;
mod purges;

use std::net::SocketAddr;

use bytes::Bytes;
use curfew_emulator::{Effect, Fault, Operation};
use serde_json::Value;

use crate::common::form::Form;
use crate::common::{Client, Reply, Setup, World, caller_table};

const KEY: &str = "cfw_billing";
const OTHER_KEY: &str = "cfw_marketing";

/// Larger than a few pieces of what is coming, and of no piece's size.
const LARGE: usize = 300_001;

/// Bytes that tell their place, so that a shifted or repeated piece shows.
fn bytes(len: usize) -> Bytes {
    (0..len)
        .map(|at| {
            let [low, middle, high, ..] = at.to_le_bytes();
            low ^ middle.rotate_left(3) ^ high
        })
        .collect()
}

/// The three numbers, with these lines for the media of each, and two callers: one with the first number, one with the
/// second.
fn policies(media: &str) -> String {
    let mut policies = String::new();
    for (number, storage) in [
        (1001, "{ mode = \"no_storage\" }"),
        (1002, "{ mode = \"in_country\", region = \"DE\" }"),
        (1003, "{ mode = \"default\" }"),
    ] {
        policies.push_str(&format!(
            "[[number]]\nphone_number_id = \"{number}\"\nwaba_id = \"5001\"\nstorage = {storage}\nallow_deregister = true\n\
             [number.media]\n{media}\n"
        ));
    }
    policies.push_str(&caller_table(
        "billing",
        KEY,
        &[1001],
        &["send", "media", "storage"],
    ));
    policies.push_str(&caller_table("marketing", OTHER_KEY, &[1002], &["send", "media"]));
    policies
}

async fn world() -> World {
    World::of(&policies("")).await
}

/// Uploads `bytes` for `number`, and returns the id and a URL of the gateway's.
async fn upload(client: &Client, number: u64, bytes: &[u8]) -> (u64, String) {
    let form = Form::new()
        .field("messaging_product", "whatsapp")
        .file("application/pdf", bytes);
    let reply = client.post_form(&format!("/v23.0/{number}/media"), &form).await;
    let media = reply.media_id();
    (media, url_of(client, media).await)
}

async fn url_of(client: &Client, media: u64) -> String {
    let reply = client.get(&format!("/v23.0/{media}")).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()["url"].as_str().unwrap().to_owned()
}

async fn get(client: &Client, url: &str, headers: &[(&str, &str)]) -> Reply {
    client.send(::http::Method::GET, url, headers, Bytes::new()).await
}

/// Where the answer says that it came from.
fn via(reply: &Reply) -> Option<&str> {
    reply.header("curfew-cache")
}

#[track_caller]
fn assert_whole(reply: &Reply, bytes: &[u8], via: &str) {
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(reply.header("curfew-cache"), Some(via));
    assert!(reply.body[..] == *bytes, "{} bytes", reply.body.len());
}

/// How often the media host was asked.
fn fetches(world: &World) -> usize {
    let received = world.emulator.received();
    let fetched = received
        .iter()
        .filter(|call| call.operation == Operation::MediaDownload);
    fetched.count()
}

fn fault(world: &World, on: Operation, effect: Effect) {
    world.emulator.fault(Fault::new(on, effect));
}

/// A client of the operator's listener.
fn operator(world: &World) -> Client {
    operator_at(world.gateway.admin)
}

fn operator_at(admin: SocketAddr) -> Client {
    Client::new(admin).anonymous()
}

/// What the operator's listener says that is kept.
async fn kept(world: &World) -> Value {
    let reply = operator(world).get("/cache").await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()
}
