//! Promise: Meta's webhooks reach the company's receiver, whole and checked, or Meta keeps them: never the gateway.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    missing_docs,
    unreachable_pub,
    reason = "a test fails by panicking"
)]

#[path = "../common/mod.rs"]
mod common;

mod front;
mod inbound;
#[cfg(unix)]
mod kills;
mod marker;
mod quiet;
mod receiver;
mod relay;
mod settle;

use std::net::{Ipv4Addr, SocketAddr};

use aws_lc_rs::hmac;
use bytes::Bytes;
use curfew::config::Webhooks;
use curfew_emulator::Emulator;
use http::Method;

use common::{APP_SECRET, Client, Reply, Setup, World, soon};
use receiver::Receiver;

const PATH: &str = "/from-meta";
const VERIFY_TOKEN: &str = "a verify+token";
const DELIVERY_SECRET: &str = "between-gateway-and-receiver";

/// A gateway that takes webhooks, a Meta that sends them to it, and the receiver behind it.
struct Relayed {
    world: World,
    receiver: Receiver,
}

impl Relayed {
    async fn of(policies: &str, delivery_secret: Option<&str>) -> Self {
        let setup = Setup {
            policies: policies.to_owned(),
            ..Setup::default()
        };
        Self::start(setup, delivery_secret).await
    }

    async fn pass_through() -> Self {
        Self::of(common::PASS_THROUGH, None).await
    }

    async fn start(setup: Setup, delivery_secret: Option<&str>) -> Self {
        let receiver = Receiver::start().await;
        let webhooks = webhooks(&receiver.url, delivery_secret);
        let world = World::start(Setup {
            webhooks: Some(webhooks),
            ..setup
        })
        .await;
        let relayed = Self { world, receiver };
        relayed.emulator().set_callback(Some(relayed.url()));
        relayed
    }

    fn emulator(&self) -> &Emulator {
        &self.world.emulator
    }

    fn address(&self) -> SocketAddr {
        self.world.gateway.webhooks.expect("it takes webhooks")
    }

    fn url(&self) -> String {
        format!("http://{}{PATH}", self.address())
    }

    /// A client that is not Meta, unless it signs.
    fn stranger(&self) -> Client {
        Client::new(self.address())
    }

    /// Posts `body` with this signature.
    async fn post(&self, body: &[u8], signature: &str) -> Reply {
        let headers = [
            ("content-type", "application/json"),
            ("x-hub-signature-256", signature),
        ];
        let body = Bytes::copy_from_slice(body);
        self.stranger().send(Method::POST, PATH, &headers, body).await
    }

    /// Posts `body` as Meta would.
    async fn post_signed(&self, body: &[u8]) -> Reply {
        self.post(body, &signature(APP_SECRET, body)).await
    }

    /// What Meta was answered, once it was answered so many times.
    async fn answered(&self, times: usize) -> Vec<Option<u16>> {
        soon(
            self.emulator()
                .until(|emulator| emulator.webhooks().len() >= times),
        )
        .await;
        let attempts = self.emulator().webhooks().into_iter();
        attempts.map(|attempt| attempt.status).collect()
    }
}

fn webhooks(deliver_to: &str, delivery_secret: Option<&str>) -> Webhooks {
    Webhooks {
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        path: PATH.to_owned(),
        tls: None,
        verify_token: VERIFY_TOKEN.into(),
        deliver_to: deliver_to.parse().expect("a URL"),
        ca_file: None,
        delivery_secret: delivery_secret.map(Into::into),
    }
}

fn signature(secret: &str, body: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let tag = hmac::sign(&key, body);
    let hex: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256={hex}")
}
