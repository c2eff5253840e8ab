//! Promise: `SIGHUP` puts right policies in force from then on, ends what they do not allow to be kept, and leaves everything
//! as it was when they are not right.
#![cfg(unix)]
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod common;

use std::fs;

use common::form::Form;
use common::process::{Gateway, write_config};
use common::{Client, DEFAULT, TOKEN};
use curfew_emulator::{Emulator, Options};
use serde_json::json;
use tempfile::TempDir;

/// Two numbers, and these lines for the media of the second.
fn policies(media: &str) -> String {
    format!(
        "[[number]]\nphone_number_id = \"1001\"\nstorage = {{ mode = \"no_storage\" }}\n\
         [[number]]\nphone_number_id = \"1003\"\nstorage = {{ mode = \"default\" }}\n[number.media]\n{media}\n"
    )
}

struct World {
    folder: TempDir,
    gateway: Gateway,
    client: Client,
    /// Ends with the test.
    _emulator: Emulator,
}

impl World {
    async fn start() -> Self {
        let policies = policies("");
        let emulator = Emulator::start(Options {
            numbers: Options::from_policies_toml(&policies).unwrap(),
            tokens: vec![TOKEN.to_owned()],
            ..Options::default()
        })
        .await
        .unwrap();
        let folder = tempfile::tempdir().unwrap();
        write_config(folder.path(), &emulator.base_url(), &policies, "");
        let gateway = Gateway::start(folder.path()).await;
        Self {
            client: Client::new(gateway.addr).bearer(TOKEN),
            folder,
            gateway,
            _emulator: emulator,
        }
    }

    async fn reload(&mut self, policies: &str, told: &str) -> String {
        fs::write(self.folder.path().join("policies.toml"), policies).unwrap();
        self.gateway.program.reload();
        self.gateway.program.log_line(told).await
    }

    async fn upload(&self) -> u64 {
        let target = format!("/v23.0/{DEFAULT}/media");
        self.client.post_form(&target, &Form::image()).await.media_id()
    }

    /// Where the bytes came from.
    async fn download(&self, media: u64) -> String {
        let target = format!("/v23.0/{media}?phone_number_id={DEFAULT}");
        let url = self.client.get(&target).await.json()["url"]
            .as_str()
            .unwrap()
            .to_owned();
        let reply = self.client.get(&url).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        reply.header("curfew-cache").unwrap().to_owned()
    }

    async fn kept(&self) -> u64 {
        let operator = Client::new(self.gateway.admin).anonymous();
        operator.get("/cache").await.json()["entries"].as_u64().unwrap()
    }
}

#[tokio::test]
async fn right_policies_are_in_force_at_once() {
    let mut world = World::start().await;
    let media = world.upload().await;
    assert_eq!(world.download(media).await, "miss");
    assert_eq!(world.download(media).await, "hit");
    assert_eq!(world.kept().await, 1);

    let line = world
        .reload(&policies("cache_minutes = 0"), "policies reloaded")
        .await;
    assert!(line.contains("numbers=2"), "{line}");
    assert_eq!(world.kept().await, 0);
    assert_eq!(world.download(media).await, "bypass");

    // A number that is in them no more may do nothing any more.
    let first = "[[number]]\nphone_number_id = \"1001\"\nstorage = { mode = \"no_storage\" }\n";
    world.reload(first, "policies reloaded").await;
    let text = json!({
        "messaging_product": "whatsapp", "to": "+15550100001", "type": "text", "text": { "body": "Hello" },
    });
    let reply = world
        .client
        .post(&format!("/v23.0/{DEFAULT}/messages"), &text)
        .await;
    reply.assert_refused(403, 131_005, "number_not_in_policy");
}

#[tokio::test]
async fn callers_are_not_taken_where_the_gateway_has_no_token_for_them() {
    let mut world = World::start().await;
    let media = world.upload().await;
    let caller = common::caller_table("billing", "cfw_billing", &[DEFAULT], &["media"]);
    let path = world.folder.path().join("curfew.toml");
    let config = fs::read_to_string(&path).unwrap();
    fs::write(world.folder.path().join("token"), TOKEN).unwrap();
    fs::write(&path, format!("{config}token = {{ file = \"token\" }}\n")).unwrap();
    let line = world
        .reload(&format!("{}{caller}", policies("")), "policies not reloaded")
        .await;
    assert!(line.contains("upstream.token"), "{line}");
    assert_eq!(world.download(media).await, "miss");
}

#[tokio::test]
async fn sends_are_not_marked_where_the_gateway_takes_no_webhooks() {
    let mut world = World::start().await;
    let media = world.upload().await;
    let folder = world.folder.path();
    let path = folder.join("curfew.toml");
    let config = fs::read_to_string(&path).unwrap();
    for secret in ["app-secret", "delivery-secret", "verify-token"] {
        fs::write(folder.join(secret), secret).unwrap();
    }
    let webhooks = "app_secret = { file = \"app-secret\" }\n[webhooks]\nlisten = \"127.0.0.1:0\"\n\
        verify_token = { file = \"verify-token\" }\ndelivery_secret = { file = \"delivery-secret\" }\n\
        deliver_to = \"http://127.0.0.1:9/\"\n";
    fs::write(&path, format!("{config}{webhooks}")).unwrap();
    let settling = format!(
        "{}[number.sends]\nsettle_unknown = true\n",
        policies("cache_minutes = 0")
    );
    let line = world.reload(&settling, "policies not reloaded").await;
    assert!(
        line.contains("settle_unknown") && line.contains("[webhooks]"),
        "{line}"
    );
    assert_eq!(world.download(media).await, "miss", "what was in force is");
}

#[tokio::test]
async fn wrong_policies_change_nothing() {
    let mut world = World::start().await;
    let media = world.upload().await;
    assert_eq!(world.download(media).await, "miss");
    let line = world
        .reload(&policies("cache_minutes = \"never\""), "policies not reloaded")
        .await;
    assert!(
        line.contains("policies.toml:") && line.contains("cache_minutes"),
        "{line}"
    );
    assert_eq!(world.kept().await, 1);
    assert_eq!(world.download(media).await, "hit");
}
