//! Promise: no caller, and no loop, locks a number out of Meta for 72 hours, and none deregisters it without leave.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod common;

use common::{DEFAULT, IN_COUNTRY, NO_STORAGE, PASS_THROUGH, Reply, Setup, World};
use curfew::config::StoreConfig;
use futures_util::future::join_all;
use serde_json::json;

const HOURS_72: u64 = 72 * 60;

async fn register(world: &World, number: u64) -> Reply {
    let body = json!({ "messaging_product": "whatsapp", "pin": "123456" });
    world
        .client()
        .post(&format!("/v23.0/{number}/register"), &body)
        .await
}

async fn deregister(world: &World, number: u64) -> Reply {
    let target = format!("/v23.0/{number}/deregister");
    world.client().post(&target, &json!({})).await
}

fn reached(world: &World, call: &str, number: u64) -> usize {
    let calls = world.emulator.settings_calls();
    let these = calls
        .iter()
        .filter(|made| made.call == call && made.phone_number_id == number);
    these.count()
}

#[tokio::test]
async fn the_eleventh_registration_in_72_hours_is_refused_and_never_reaches_meta() {
    let world = World::pass_through().await;
    for _ in 0..10 {
        let reply = register(&world, NO_STORAGE).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        world.pass_minutes(60);
    }
    for _ in 0..3 {
        let reply = register(&world, NO_STORAGE).await;
        reply.assert_refused(400, 133_016, "registration_lockout");
        assert!(reply.details().contains("10 "), "{}", reply.details());
    }
    assert_eq!(reached(&world, "register", NO_STORAGE), 10);
    // Each number has its own count.
    assert_eq!(register(&world, IN_COUNTRY).await.status, 200);

    // The window moves: the first call was ten hours ago.
    world.pass_minutes(HOURS_72 - 10 * 60 - 1);
    register(&world, NO_STORAGE)
        .await
        .assert_refused(400, 133_016, "registration_lockout");
    world.pass_minutes(1);
    assert_eq!(register(&world, NO_STORAGE).await.status, 200);
    register(&world, NO_STORAGE)
        .await
        .assert_refused(400, 133_016, "registration_lockout");
    assert_eq!(reached(&world, "register", NO_STORAGE), 11);
}

#[tokio::test]
async fn registrations_that_meta_refuses_count_as_well() {
    let world = World::pass_through().await;
    assert_eq!(register(&world, NO_STORAGE).await.status, 200);
    let wrong = json!({ "messaging_product": "whatsapp", "pin": "000000" });
    for _ in 0..9 {
        let reply = world.client().post("/v23.0/1001/register", &wrong).await;
        assert_eq!(
            (reply.status.as_u16(), reply.reason()),
            (400, None),
            "Meta's answer"
        );
    }
    register(&world, NO_STORAGE)
        .await
        .assert_refused(400, 133_016, "registration_lockout");
    assert_eq!(reached(&world, "register", NO_STORAGE), 10);
}

#[tokio::test]
async fn whoever_has_no_right_to_a_number_brings_it_no_nearer_to_a_lock_out() {
    let folder = tempfile::tempdir().expect("a folder");
    let body = json!({ "messaging_product": "whatsapp", "pin": "123456" });
    for store in [
        StoreConfig::Memory,
        StoreConfig::Sqlite {
            path: folder.path().join("curfew.db"),
        },
    ] {
        let world = World::start(Setup {
            store,
            ..Setup::default()
        })
        .await;
        let stranger = world.caller("EAAG-not-a-token");
        for _ in 0..12 {
            let reply = stranger.post("/v23.0/1001/register", &body).await;
            assert_eq!(reply.code(), Some(190), "Meta's answer: {}", reply.text());
        }
        let world = world.restart().await;
        for _ in 0..10 {
            assert_eq!(register(&world, NO_STORAGE).await.status, 200);
        }
        register(&world, NO_STORAGE)
            .await
            .assert_refused(400, 133_016, "registration_lockout");
    }
}

#[tokio::test]
async fn a_registration_whose_outcome_is_not_known_counts() {
    use curfew_emulator::{Effect, Fault, Operation};
    let world = World::pass_through().await;
    for effect in [
        Effect::TruncateReply { after_bytes: 5 },
        Effect::ResetRequest { after_bytes: 0 },
    ] {
        let fault = Fault::new(Operation::Settings, effect);
        world.emulator.fault(fault);
        for _ in 0..5 {
            assert_ne!(register(&world, NO_STORAGE).await.status, 200);
        }
        world.emulator.clear_faults();
    }
    register(&world, NO_STORAGE)
        .await
        .assert_refused(400, 133_016, "registration_lockout");
}

#[tokio::test]
async fn refused_registrations_do_not_count() {
    let world = World::pass_through().await;
    let away = json!({ "messaging_product": "whatsapp", "pin": "123456", "data_localization_region": "IN" });
    for _ in 0..20 {
        world
            .client()
            .post("/v23.0/1001/register", &away)
            .await
            .assert_refused(403, 131_005, "registration_contradicts_policy");
    }
    assert_eq!(register(&world, NO_STORAGE).await.status, 200);
}

#[tokio::test]
async fn the_count_survives_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut world = World::start(Setup {
        store: StoreConfig::Sqlite {
            path: folder.path().join("curfew.db"),
        },
        ..Setup::default()
    })
    .await;
    for _ in 0..10 {
        assert_eq!(register(&world, IN_COUNTRY).await.status, 200);
        world = world.restart().await;
    }
    register(&world, IN_COUNTRY)
        .await
        .assert_refused(400, 133_016, "registration_lockout");
    assert_eq!(reached(&world, "register", IN_COUNTRY), 10);
    world.pass_minutes(HOURS_72);
    let world = world.restart().await;
    assert_eq!(register(&world, IN_COUNTRY).await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_twenty_registrations_at_once_ten_reach_meta() {
    let folder = tempfile::tempdir().expect("a folder");
    for store in [
        StoreConfig::Memory,
        StoreConfig::Sqlite {
            path: folder.path().join("curfew.db"),
        },
    ] {
        let world = World::start(Setup {
            store,
            ..Setup::default()
        })
        .await;
        let replies = join_all((0..20).map(|_| register(&world, NO_STORAGE))).await;
        let (done, refused): (Vec<_>, Vec<_>) = replies.iter().partition(|reply| reply.status == 200);
        assert_eq!((done.len(), refused.len()), (10, 10));
        for reply in refused {
            reply.assert_refused(400, 133_016, "registration_lockout");
        }
        assert_eq!(reached(&world, "register", NO_STORAGE), 10);
    }
}

#[tokio::test]
async fn a_restricted_number_is_deregistered_only_where_the_policy_says_so() {
    let world = World::pass_through().await;
    for number in [NO_STORAGE, IN_COUNTRY] {
        let reply = deregister(&world, number).await;
        reply.assert_refused(403, 131_005, "deregister_not_allowed");
        assert_eq!(reached(&world, "deregister", number), 0);
    }
    assert_eq!(deregister(&world, DEFAULT).await.status, 200);

    let world = World::of(&PASS_THROUGH.replace("waba_id", "allow_deregister = true\nwaba_id")).await;
    for number in [NO_STORAGE, IN_COUNTRY, DEFAULT] {
        assert_eq!(deregister(&world, number).await.status, 200);
    }
}

#[tokio::test]
async fn deregistrations_have_a_count_of_their_own() {
    let world = World::pass_through().await;
    for _ in 0..5 {
        assert_eq!(register(&world, DEFAULT).await.status, 200);
    }
    // The first deregisters; the others are answered by Meta, and counted by it.
    for round in 0..10 {
        let reply = deregister(&world, DEFAULT).await;
        assert_eq!(reply.reason(), None);
        assert_eq!(reply.status, if round == 0 { 200 } else { 400 });
    }
    deregister(&world, DEFAULT)
        .await
        .assert_refused(400, 133_016, "registration_lockout");
    assert_eq!(reached(&world, "deregister", DEFAULT), 10);
    assert_eq!(register(&world, DEFAULT).await.status, 200);
}
