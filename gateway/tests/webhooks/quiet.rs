//! Nothing of what webhooks say is written anywhere.

use std::fmt::{Debug, Write as _};
use std::sync::{Mutex, OnceLock};

use bytes::Bytes;
use curfew::config::StoreConfig;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use super::receiver::Answer;
use super::*;
use common::NO_STORAGE;
use common::form::PNG;

const WORDS: &str = "canary-7d1f-in-the-webhook";
const PERSON: &str = "4915100777001";

/// Everything that was logged by this process, at every level.
static LOG: OnceLock<Mutex<String>> = OnceLock::new();

struct Everything;

impl Subscriber for Everything {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        span.record(&mut Line);
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, record: &Record<'_>) {
        record.record(&mut Line);
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        event.record(&mut Line);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

struct Line;

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let mut log = LOG.get().expect("it listens").lock().expect("nobody panicked");
        let _ = writeln!(log, "{field}={value:?}");
    }
}

#[tokio::test]
async fn no_content_is_logged_or_stored() {
    LOG.get_or_init(|| {
        tracing::subscriber::set_global_default(Everything).expect("nobody else listens");
        Mutex::default()
    });
    let folder = tempfile::tempdir().unwrap();
    let setup = Setup {
        store: StoreConfig::Sqlite {
            path: folder.path().join("curfew.db"),
        },
        ..Setup::default()
    };
    let mut relayed = Relayed::start(setup, None).await;
    relayed.receiver.answer(Answer::Status(500));
    let _ = relayed.emulator().inbound_text(NO_STORAGE, PERSON, WORDS);
    relayed.receiver.next().await;
    relayed.answered(1).await;
    relayed.receiver.answer(Answer::Status(200));
    relayed.emulator().advance(1);
    let got = relayed.receiver.next().await;
    assert_eq!(got.value()["messages"][0]["text"]["body"], WORDS);
    let media = relayed
        .emulator()
        .receive_media(NO_STORAGE, "image/png", Bytes::from_static(PNG));
    relayed.receiver.next().await;
    relayed
        .post(format!("{{\"text\":\"{WORDS}\"}}").as_bytes(), "sha256=00")
        .await;
    relayed.world.gateway.stop().await;

    let log = LOG.get().unwrap().lock().unwrap().clone();
    assert!(
        log.contains("receiver_refused") && log.contains("delivered"),
        "{log}"
    );
    let kept = std::fs::read_dir(folder.path()).unwrap();
    let kept: Vec<_> = kept
        .map(|file| std::fs::read(file.unwrap().path()).unwrap())
        .collect();
    let holds = |needle: &str| {
        let finds = |file: &Vec<u8>| memchr::memmem::find(file, needle.as_bytes()).is_some();
        kept.iter().any(finds)
    };
    assert!(holds(&media.to_string()), "the pin is in the store");
    for secret in [WORDS, PERSON, "Emulated User", APP_SECRET, VERIFY_TOKEN] {
        assert!(!log.contains(secret), "{secret} was logged");
        assert!(!holds(secret), "{secret} was stored");
    }
}
