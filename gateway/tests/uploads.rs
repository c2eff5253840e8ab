//! Promise: no upload outlives its number's limit, and a refused one leaves nothing at Meta.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod common;

use common::form::{Form, PNG};
use common::{DEFAULT, IN_COUNTRY, NO_STORAGE, World};

const MEDIA: &str = "/v23.0/1001/media";

#[tokio::test]
async fn an_upload_within_bounds_is_stored_with_its_ttl_and_its_end_is_told() {
    let world = World::pass_through().await;
    let form = Form::image().field("ttl_minutes", "180");
    let reply = world.client().post_form(MEDIA, &form).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(
        reply.header("curfew-media-expires"),
        Some("2027-01-15T11:00:00.000Z")
    );
    let stored = world.emulator.media();
    assert_eq!(stored.len(), 1);
    assert_eq!(stored[0].ttl_minutes, Some(180));
    assert_eq!(world.emulator.media_bytes(reply.media_id()).as_deref(), Some(PNG));
}

#[tokio::test]
async fn the_policys_default_is_written_into_an_upload_that_carries_none() {
    let world = World::pass_through().await;
    world.client().upload(NO_STORAGE).await;
    assert_eq!(world.emulator.media()[0].ttl_minutes, Some(120));
    world.client().upload(IN_COUNTRY).await;
    world.client().upload(DEFAULT).await;
    assert!(
        world
            .emulator
            .media()
            .iter()
            .filter(|media| media.owner != NO_STORAGE)
            .all(|m| m.ttl_minutes.is_none())
    );
}

#[tokio::test]
async fn a_refused_upload_leaves_nothing_wherever_its_ttl_stands() {
    let world = World::pass_through().await;
    for (ttl, reason) in [
        ("59", "ttl_out_of_bounds"),
        ("1441", "ttl_out_of_bounds"),
        ("43200", "ttl_out_of_bounds"),
        ("60.0", "ttl_not_whole"),
        ("1e2", "ttl_not_whole"),
        ("+60", "ttl_not_whole"),
        ("060", "ttl_not_whole"),
        ("", "ttl_not_whole"),
        (" 60", "ttl_not_whole"),
    ] {
        let first = Form::new()
            .field("ttl_minutes", ttl)
            .field("messaging_product", "whatsapp")
            .file("image/png", PNG);
        let last = Form::image().field("ttl_minutes", ttl);
        for form in [first, last] {
            world
                .client()
                .post_form(MEDIA, &form)
                .await
                .assert_refused(400, 131_009, reason);
        }
    }
    let twice = Form::image()
        .field("ttl_minutes", "60")
        .field("ttl_minutes", "61");
    world
        .client()
        .post_form(MEDIA, &twice)
        .await
        .assert_refused(400, 131_009, "form_field_twice");
    assert_eq!(world.emulator.media_bytes_kept(), 0);
    assert!(world.emulator.media().is_empty());
}

#[tokio::test]
async fn a_ttl_is_refused_on_numbers_without_no_storage() {
    let world = World::pass_through().await;
    for number in [IN_COUNTRY, DEFAULT] {
        let form = Form::image().field("ttl_minutes", "60");
        let reply = world
            .client()
            .post_form(&format!("/v23.0/{number}/media"), &form)
            .await;
        reply.assert_refused(400, 131_009, "ttl_without_no_storage");
    }
    assert_eq!(world.emulator.media_bytes_kept(), 0);
}
