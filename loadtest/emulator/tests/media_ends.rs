//! Media end when their storage mode says, and not before.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code"
)]

mod support;

use bytes::Bytes;
use support::{BARE, LOCAL, PLAIN, start};

const HOUR: u64 = 60;
const DAY: u64 = 24 * HOUR;

#[tokio::test]
async fn uploads_live_30_days_or_an_hour_or_their_ttl() {
    for (number, ttl, minutes) in [
        (PLAIN, None, 30 * DAY),
        (LOCAL, None, 30 * DAY),
        (BARE, None, HOUR),
        (BARE, Some("60"), HOUR),
        (BARE, Some("120"), 2 * HOUR),
        (BARE, Some("43200"), 30 * DAY),
        (PLAIN, Some("60"), 30 * DAY),
        (LOCAL, Some("60"), 30 * DAY),
    ] {
        let (emulator, client) = start().await;
        let id = client.upload(number, ttl).await.ok().id();
        let stored = emulator.media();
        assert_eq!(
            stored[0].ends - stored[0].created,
            minutes * 60,
            "{number} {ttl:?}"
        );
        emulator.advance(minutes - 1);
        client.get(&format!("/v24.0/{id}")).await.ok();
        client.image(number, id).await.ok();
        emulator.advance(1);
        let gone = client.get(&format!("/v24.0/{id}")).await;
        assert_eq!((gone.status, gone.code(), gone.subcode()), (400, 100, 33));
        let refused = client.image(number, id).await;
        assert_eq!(
            (refused.status, refused.code(), refused.subcode()),
            (400, 100, 33)
        );
        assert!(emulator.media().is_empty());
        assert!(emulator.media_bytes(id).is_none());
    }
}

#[tokio::test]
async fn a_ttl_outside_its_bounds_stores_nothing() {
    let (emulator, client) = start().await;
    for ttl in ["59", "43201", "0", "-60", "60.5", "one hour", ""] {
        let refused = client.upload(BARE, Some(ttl)).await;
        assert_eq!((refused.status, refused.code()), (400, 131_009), "{ttl}");
    }
    assert_eq!(emulator.media_bytes_kept(), 0);
}

#[tokio::test]
async fn inbound_media_lives_7_days_or_an_hour() {
    for (number, minutes) in [(PLAIN, 7 * DAY), (LOCAL, 7 * DAY), (BARE, HOUR)] {
        let (emulator, client) = start().await;
        let id = emulator.receive_media(number, "audio/ogg", Bytes::from_static(b"voice"));
        emulator.advance(minutes - 1);
        let metadata = client
            .get(&format!("/v24.0/{id}?phone_number_id={number}"))
            .await
            .ok()
            .json();
        assert_eq!(metadata["mime_type"], "audio/ogg");
        emulator.advance(1);
        assert_eq!(client.get(&format!("/v24.0/{id}")).await.subcode(), 33);
    }
}

#[tokio::test]
async fn a_medium_keeps_the_end_it_was_given_when_storage_changes() {
    let (emulator, client) = start().await;
    let id = client.upload(BARE, Some("120")).await.ok().id();
    emulator.set_storage(BARE, curfew_emulator::Storage::Default);
    emulator.advance(120);
    assert_eq!(client.get(&format!("/v24.0/{id}")).await.subcode(), 33);
}

#[tokio::test]
async fn a_compressed_minute_ends_media_in_real_time() {
    let options = curfew_emulator::Options {
        minute: std::time::Duration::from_millis(1),
        ..support::options()
    };
    let (emulator, client) = support::start_with(options).await;
    let id = client.upload(BARE, Some("60")).await.ok().id();
    support::soon(async { while client.get(&format!("/v24.0/{id}")).await.status == 200 {} }).await;
    assert!(emulator.media().is_empty());
}
