//! Promise: a `kill -9` of the gateway at any moment never leaves a pin missing that a caller was told of.
//!
//! The real program, with its store in a file, is killed again and again while callers upload; the moment is set by
//! their progress. Unknown ids are denied, so that nothing but the store can answer for a medium. `kill.rs` does the same
//! to the store alone.
#![cfg(unix)]
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod common;

use std::fs;
use std::hash::{BuildHasher as _, RandomState};
use std::path::Path;

use common::form::{Form, PNG};
use common::process::{Gateway, write_config};
use common::{Client, DEFAULT, NO_STORAGE, TOKEN};
use curfew_emulator::{Emulator, Options};
use futures_util::future::join_all;
use http::Method;
use tokio::sync::mpsc;

const ROUNDS: u64 = 12;
const CALLERS: usize = 8;

const POLICIES: &str = r#"
[[number]]
phone_number_id = "1001"
storage = { mode = "no_storage" }
[number.media]
ttl_minutes = { min = 60, max = 1440, default = 120 }
unknown_ids = "deny"
[number.sends]
per_second = 1000
burst = 10000
pair = { seconds = 1, burst = 10000 }
when_limited = "reject"

[[number]]
phone_number_id = "1003"
storage = { mode = "default" }
[number.media]
unknown_ids = "deny"
[number.sends]
per_second = 1000
burst = 10000
pair = { seconds = 1, burst = 10000 }
when_limited = "reject"
"#;

/// What a caller was told.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Told {
    Uploaded(u64),
    Deleted(u64),
}

/// Uploads until the gateway is gone, deletes every third, and passes on what it is told.
async fn upload_on(client: Client, told: mpsc::UnboundedSender<Told>) {
    let form = Form::image();
    let content_type = form.content_type();
    let headers = [("content-type", content_type.as_str())];
    let target = format!("/v23.0/{NO_STORAGE}/media");
    for count in 0_u64.. {
        let upload = client.try_send(Method::POST, &target, &headers, form.bytes());
        let Ok(reply) = upload.await else { return };
        assert_eq!(reply.status, 200, "{}", reply.text());
        let media = reply.media_id();
        let _ = told.send(Told::Uploaded(media));
        if count % 3 == 2 {
            let target = format!("/v23.0/{media}");
            let delete = client.try_send(Method::DELETE, &target, &[], bytes::Bytes::new());
            let Ok(reply) = delete.await else { return };
            assert_eq!(reply.status, 200, "{}", reply.text());
            let _ = told.send(Told::Deleted(media));
        }
    }
}

/// Each medium is its number's, or was deleted, as its uploader was told.
async fn assert_all_known(client: &Client, told: &[Told]) {
    for (at, what) in told.iter().enumerate() {
        let Told::Uploaded(media) = *what else { continue };
        let was_deleted = told[at..].contains(&Told::Deleted(media));
        let other = client.send_image(DEFAULT, media).await;
        let own = client.send_image(NO_STORAGE, media).await;
        if was_deleted {
            own.assert_refused(400, 100, "media_ended");
        } else if own.status != 200 {
            // Buried, and killed before it could be said; or deleted at Meta alone.
            assert!(
                matches!(own.reason(), Some("media_ended") | None),
                "{media}: {}",
                own.text()
            );
            assert_eq!(own.code(), Some(100));
        }
        let reason = other.reason();
        assert!(
            matches!(reason, Some("media_of_other_number" | "media_not_usable")),
            "{}",
            other.text()
        );
        // Not known at all would read like this for the owner too.
        assert_ne!(own.reason(), Some("media_not_usable"), "{media}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_by_kill_9_of_the_gateway() {
    let emulator = Emulator::start(Options {
        numbers: Options::from_policies_toml(POLICIES).expect("policies"),
        tokens: vec![TOKEN.to_owned()],
        ..Options::default()
    })
    .await
    .expect("the emulator starts");
    let folder = tempfile::tempdir().expect("a folder");
    let store = "[store]\nkind = \"sqlite\"\npath = \"curfew.db\"\n";
    write_config(folder.path(), &emulator.base_url(), POLICIES, store);
    let mut all = Vec::new();
    for round in 0..ROUNDS {
        let gateway = Gateway::start(folder.path()).await;
        let client = Client::new(gateway.addr).bearer(TOKEN);
        let (tell, mut told) = mpsc::unbounded_channel();
        let callers: Vec<_> = (0..CALLERS)
            .map(|_| tokio::spawn(upload_on(client.clone(), tell.clone())))
            .collect();
        drop(tell);
        let enough = usize::try_from(1 + RandomState::new().hash_one(round) % 60).expect("a small number");
        let mut heard = Vec::new();
        while heard.len() < enough {
            heard.push(common::soon(told.recv()).await.expect("callers go on"));
        }
        gateway.program.kill();
        for caller in join_all(callers).await {
            caller.expect("no caller was answered wrongly");
        }
        while let Some(what) = told.recv().await {
            heard.push(what);
        }

        let gateway = Gateway::start(folder.path()).await;
        let client = Client::new(gateway.addr).bearer(TOKEN);
        assert_all_known(&client, &heard).await;
        all.extend(heard);
    }
    let gateway = Gateway::start(folder.path()).await;
    assert_all_known(&Client::new(gateway.addr).bearer(TOKEN), &all).await;
    assert!(all.len() > usize::try_from(ROUNDS).expect("a small number"));
    assert_no_content(folder.path());
}

/// Nothing of what was uploaded is in any file that the gateways have left.
fn assert_no_content(folder: &Path) {
    assert!(memchr::memmem::find(&Form::image().bytes(), PNG).is_some());
    let mut searched = 0;
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("a file").path();
        let bytes = fs::read(&path).expect("a file");
        assert!(memchr::memmem::find(&bytes, PNG).is_none(), "{}", path.display());
        searched += bytes.len();
    }
    // The store among them.
    assert!(searched > 4096, "{searched}");
}
