//! Promise: there is no way round. Every side door of the Graph API is tried on the emulator itself, where it must open, and then
//! through the gateway, where nothing that policy forbids may come of it.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

#[path = "../common/mod.rs"]
mod common;

mod habits;
mod sends;
mod storage;

use bytes::Bytes;
use curfew_emulator::{Emulator, Options};
use http::Method;

use crate::common::form::Form;
use crate::common::{Client, NO_STORAGE, PASS_THROUGH, Reply, TOKEN, World};

/// One attempt.
struct Attack {
    method: Method,
    target: String,
    headers: Vec<(&'static str, String)>,
    body: Bytes,
    /// Whether the emulator takes it for what it is meant to be. Where not, it is still a spelling that some version of Graph
    /// might take.
    works: bool,
}

impl Attack {
    fn new(method: Method, target: &str) -> Self {
        Self {
            method,
            target: target.to_owned(),
            headers: Vec::new(),
            body: Bytes::new(),
            works: true,
        }
    }

    fn post(target: &str, content_type: &str, body: impl Into<Bytes>) -> Self {
        Self {
            body: body.into(),
            ..Self::new(Method::POST, target).header("content-type", content_type)
        }
    }

    fn json(target: &str, body: impl Into<String>) -> Self {
        Self::post(target, "application/json", body.into())
    }

    fn urlencoded(target: &str, pairs: &[(&str, &str)]) -> Self {
        Self::post(target, "application/x-www-form-urlencoded", encoded(pairs))
    }

    fn form(target: &str, form: &Form) -> Self {
        Self::post(target, &form.content_type(), form.bytes())
    }

    /// A POST with everything in the query.
    fn query(target: &str, pairs: &[(&str, &str)]) -> Self {
        Self::new(Method::POST, &format!("{target}?{}", encoded(pairs)))
    }

    fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    /// A spelling that the emulator does not take.
    fn unheard_of(mut self) -> Self {
        self.works = false;
        self
    }

    fn name(&self) -> String {
        let body = String::from_utf8_lossy(&self.body);
        format!("{} {} {:?} {body}", self.method, self.target, self.headers)
    }

    async fn run(&self, client: &Client) -> Reply {
        let headers: Vec<_> = self
            .headers
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        client
            .send(self.method.clone(), &self.target, &headers, self.body.clone())
            .await
    }
}

fn encoded(pairs: &[(&str, &str)]) -> String {
    let escape = |text: &str| {
        text.bytes()
            .map(|byte| match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'.' => char::from(byte).to_string(),
                byte => format!("%{byte:02X}"),
            })
            .collect::<String>()
    };
    let pairs: Vec<_> = pairs
        .iter()
        .map(|(name, value)| format!("{}={}", escape(name), escape(value)))
        .collect();
    pairs.join("&")
}

fn form_of(pairs: &[(&str, &str)]) -> Form {
    pairs
        .iter()
        .fold(Form::new(), |form, (name, value)| form.field(name, value))
}

/// Everything at Meta that an attack could be after.
fn effects(emulator: &Emulator) -> String {
    let media: Vec<_> = emulator
        .media()
        .into_iter()
        .map(|medium| (medium.id, medium.ttl_minutes))
        .collect();
    format!(
        "{} sends, media {media:?} of {} bytes, {} other, {:?}",
        emulator.sent().len(),
        emulator.media_bytes_kept(),
        emulator.other_content().len(),
        emulator.numbers(),
    )
}

/// An emulator of the same numbers, without a gateway, with one medium at each number.
async fn bare_emulator(prepare: fn(&Emulator)) -> (Emulator, u64) {
    let options = Options {
        numbers: Options::from_policies_toml(PASS_THROUGH).unwrap(),
        tokens: vec![TOKEN.to_owned()],
        ..Options::default()
    };
    let emulator = Emulator::start(options).await.unwrap();
    let media = Client::new(emulator.addr())
        .bearer(TOKEN)
        .upload(NO_STORAGE)
        .await;
    prepare(&emulator);
    (emulator, media)
}

/// Tries each attack on an emulator of its own and through one gateway. `MEDIA` in a target stands for an uploaded medium.
async fn try_all(attacks: Vec<Attack>, prepare: fn(&Emulator)) {
    let world = World::pass_through().await;
    let media = world.client().upload(NO_STORAGE).await;
    prepare(&world.emulator);
    world.emulator.clear_record();
    let before = effects(&world.emulator);
    for attack in attacks {
        let at = |media: u64| Attack {
            method: attack.method.clone(),
            target: attack.target.replace("MEDIA", &media.to_string()),
            headers: attack.headers.clone(),
            body: attack.body.clone(),
            works: attack.works,
        };
        let (emulator, bare_media) = bare_emulator(prepare).await;
        let untouched = effects(&emulator);
        let reply = at(bare_media)
            .run(&Client::new(emulator.addr()).bearer(TOKEN))
            .await;
        let worked = effects(&emulator) != untouched;
        assert_eq!(
            worked,
            attack.works,
            "on the emulator: {}: {}",
            attack.name(),
            reply.text()
        );

        let reply = at(media).run(&world.client()).await;
        assert!(
            reply.reason().is_some(),
            "{}: {} {}",
            attack.name(),
            reply.status,
            reply.text()
        );
        assert!(
            !reply.status.is_server_error(),
            "{}: {}",
            attack.name(),
            reply.text()
        );
        assert!(
            world.reached().is_empty(),
            "{}: {:?}",
            attack.name(),
            world.reached()
        );
        assert_eq!(effects(&world.emulator), before, "{}", attack.name());
    }
}
