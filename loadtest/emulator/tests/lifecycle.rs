//! A number becomes able to send by either API generation, and storage is chosen on the way.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code"
)]

mod support;

use curfew_emulator::{NumberOptions, Options, State, Storage};
use serde_json::json;
use support::{BARE, LOCAL, PLAIN, start, start_with, text};

const NEW: u64 = 222_000_000_000_001;

fn fresh() -> Options {
    Options {
        numbers: vec![NumberOptions::new(NEW).state(State::Unverified)],
        ..Options::default()
    }
}

fn verified() -> Options {
    Options {
        numbers: vec![NumberOptions::new(NEW).state(State::Verified)],
        ..Options::default()
    }
}

#[tokio::test]
async fn a_number_is_verified_registered_and_sends() {
    let (emulator, client) = start_with(fresh()).await;
    let register = json!({"messaging_product": "whatsapp", "pin": "123456"});
    assert_eq!(client.text(NEW, "+4915112345678").await.code(), 133_010);
    assert_eq!(
        client
            .post(&format!("/v24.0/{NEW}/register"), &register)
            .await
            .code(),
        133_006
    );
    assert_eq!(
        client
            .form(&format!("/{NEW}/verify_code?code=000000"), "")
            .await
            .code(),
        133_006
    );
    client
        .form(&format!("/{NEW}/request_code?code_method=SMS&language=en_US"), "")
        .await
        .ok();
    assert_eq!(emulator.number(NEW).unwrap().state, State::CodeRequested);
    let code = emulator.number(NEW).unwrap().verification_code.unwrap();
    let wrong = if code == "000000" { "000001" } else { "000000" };
    assert_eq!(
        client
            .form(&format!("/{NEW}/verify_code?code={wrong}"), "")
            .await
            .code(),
        100
    );
    let part = support::Part {
        name: "code",
        file: None,
        body: code.as_bytes(),
    };
    client
        .multipart(&format!("/{NEW}/verify_code"), &[part])
        .await
        .ok();
    let node = client
        .get(&format!("/v24.0/{NEW}?fields=code_verification_status"))
        .await
        .json();
    assert_eq!(node["code_verification_status"], "VERIFIED");
    let again = client
        .form(&format!("/{NEW}/request_code?code_method=VOICE&language=de"), "")
        .await;
    assert_eq!((again.status, again.code()), (400, 136_024));
    client
        .post(&format!("/v24.0/{NEW}/register"), &register)
        .await
        .ok();
    client.text(NEW, "+4915112345678").await.ok();
    let calls: Vec<_> = emulator
        .settings_calls()
        .into_iter()
        .map(|call| (call.call, call.refused))
        .collect();
    assert_eq!(calls.first(), Some(&("register", Some(133_006))));
    assert_eq!(calls.last(), Some(&("register", None)));
}

#[tokio::test]
async fn settings_choose_storage_before_registration_from_v21_on() {
    let (emulator, client) = start_with(verified()).await;
    let settings = |version: &str| format!("/{version}/{NEW}/settings");
    let local = json!({"storage_configuration": {"status": "IN_COUNTRY_STORAGE_ENABLED", "data_localization_region": "DE"}});
    assert_eq!(client.post(&settings("v20.0"), &local).await.code(), 100);
    client.post(&settings("v21.0"), &local).await.ok();
    client
        .post(
            &format!("/v21.0/{NEW}/register"),
            &json!({"messaging_product": "whatsapp", "pin": "123456"}),
        )
        .await
        .ok();
    let read = client.get(&settings("v24.0")).await.json();
    let wanted = json!({"status": "IN_COUNTRY_STORAGE_ENABLED", "data_localization_region": "DE"});
    assert_eq!(read["storage_configuration"], wanted);
    assert_eq!(read["calling"]["status"], "DISABLED");
    let bare = json!({"storage_configuration": {"status": "NO_STORAGE_ENABLED", "retention_minutes": 60}});
    assert_eq!(
        client.post(&settings("v24.0"), &bare).await.code(),
        100,
        "the number is registered"
    );
    client
        .post(&format!("/v24.0/{NEW}/deregister"), &json!({}))
        .await
        .ok();
    assert_eq!(
        emulator.number(NEW).unwrap().storage,
        Storage::Default,
        "deregistering switches storage off"
    );
    client.post(&settings("v24.0"), &bare).await.ok();
    let read = client.get(&settings("v24.0")).await.json();
    assert_eq!(
        read["storage_configuration"],
        json!({"status": "NO_STORAGE_ENABLED", "retention_minutes": 60})
    );
    for wrong in [
        json!({"storage_configuration": {"status": "NO_STORAGE_ENABLED", "retention_minutes": 61}}),
        json!({"storage_configuration": {"status": "IN_COUNTRY_STORAGE_ENABLED", "data_localization_region": "US"}}),
        json!({"storage_configuration": {"status": "IN_COUNTRY_STORAGE_ENABLED"}}),
        json!({"storage_configuration": {"status": "ELSEWHERE"}}),
        json!({"storage_configuration": {"status": "IN_COUNTRY_STORAGE_DISABLED"}, "calling": {"status": "ENABLED"}}),
        json!({}),
    ] {
        assert_eq!(
            client.post(&settings("v24.0"), &wrong).await.status,
            400,
            "{wrong}"
        );
    }
    assert_eq!(emulator.number(NEW).unwrap().storage, Storage::NoStorage);
    let off = json!({"storage_configuration": {"status": "in_country_storage_disabled"}});
    client.post(&settings("v24.0"), &off).await.ok();
    assert_eq!(emulator.number(NEW).unwrap().storage, Storage::Default);
}

#[tokio::test]
async fn registration_chooses_storage_in_every_version() {
    for version in ["/v19.0", "/v20.0", "/v24.0", ""] {
        let (emulator, client) = start_with(verified()).await;
        let register = |more: serde_json::Value| {
            let mut body = json!({"messaging_product": "whatsapp", "pin": "123456"});
            body.as_object_mut()
                .unwrap()
                .extend(more.as_object().unwrap().clone());
            let path = format!("{version}/{NEW}/register");
            let client = &client;
            async move { client.post(&path, &body).await }
        };
        let both = json!({"data_localization_region": "IN", "meta_store_retention_minutes": 60});
        assert_eq!(register(both).await.code(), 100);
        assert_eq!(
            register(json!({"meta_store_retention_minutes": 30})).await.code(),
            131_009
        );
        assert_eq!(
            register(json!({"data_localization_region": "US"})).await.code(),
            131_009
        );
        register(json!({"data_localization_region": "IN"})).await.ok();
        assert_eq!(
            emulator.number(NEW).unwrap().storage,
            Storage::InCountry("IN".to_owned())
        );
        assert_eq!(
            register(json!({"data_localization_region": "DE"})).await.code(),
            100,
            "not in place"
        );
        client
            .post(&format!("{version}/{NEW}/deregister"), &json!({}))
            .await
            .ok();
        register(json!({"tier": "test", "meta_store_retention_minutes": "60"}))
            .await
            .ok();
        assert_eq!(emulator.number(NEW).unwrap().storage, Storage::NoStorage);
        client
            .post(&format!("{version}/{NEW}/deregister"), &json!({}))
            .await
            .ok();
        register(json!({})).await.ok();
        assert_eq!(emulator.number(NEW).unwrap().storage, Storage::Default);
    }
}

#[tokio::test]
async fn an_older_registration_without_a_region_drops_what_settings_said() {
    let (emulator, client) = start_with(verified()).await;
    let local = json!({"storage_configuration": {"status": "IN_COUNTRY_STORAGE_ENABLED", "data_localization_region": "DE"}});
    client.post(&format!("/v24.0/{NEW}/settings"), &local).await.ok();
    client
        .post(
            &format!("/v20.0/{NEW}/register"),
            &json!({"messaging_product": "whatsapp", "pin": "123456"}),
        )
        .await
        .ok();
    assert_eq!(emulator.number(NEW).unwrap().storage, Storage::Default);
}

#[tokio::test]
async fn the_eleventh_registration_locks_the_number_out_for_72_hours() {
    let (emulator, client) = start().await;
    let body = json!({"messaging_product": "whatsapp", "pin": "123456"});
    let path = format!("/v24.0/{PLAIN}/register");
    for _ in 0..10 {
        client.post(&path, &body).await.ok();
    }
    let refused = client.post(&path, &body).await;
    assert_eq!((refused.status, refused.code()), (400, 133_016));
    emulator.advance(71 * 60);
    assert_eq!(client.post(&path, &body).await.code(), 133_016);
    emulator.advance(60);
    client.post(&path, &body).await.ok();
    client.text(PLAIN, "+4915112345678").await.ok();
}

#[tokio::test]
async fn a_wrong_pin_does_not_register() {
    let mut options = verified();
    options.numbers[0].pin = Some("111111".to_owned());
    let (emulator, client) = start_with(options).await;
    let path = format!("/v24.0/{NEW}/register");
    let register = |pin: &str| json!({"messaging_product": "whatsapp", "pin": pin});
    assert_eq!(client.post(&path, &register("22222")).await.code(), 100);
    for _ in 0..5 {
        assert_eq!(client.post(&path, &register("222222")).await.code(), 133_005);
    }
    assert_eq!(client.post(&path, &register("111111")).await.code(), 133_008);
    assert_eq!(emulator.number(NEW).unwrap().state, State::Verified);
}

#[tokio::test]
async fn storage_changes_behind_the_gateways_back_show_in_settings() {
    let (emulator, client) = start().await;
    emulator.set_storage(BARE, Storage::Default);
    let read = client.get(&format!("/v24.0/{BARE}/settings")).await.json();
    assert_eq!(read["storage_configuration"], json!({"status": "DEFAULT"}));
    emulator.set_state(LOCAL, State::Verified);
    let path = format!("/v24.0/{LOCAL}/messages");
    assert_eq!(client.post(&path, &text("+4915112345678")).await.code(), 133_010);
}

#[tokio::test]
async fn a_migrated_number_needs_its_region() {
    let mut options = verified();
    options.numbers[0].expected_region = Some("IN".to_owned());
    let (_emulator, client) = start_with(options).await;
    let path = format!("/v24.0/{NEW}/register");
    let mut body = json!({"messaging_product": "whatsapp", "pin": "123456"});
    let refused = client.post(&path, &body).await;
    assert_eq!(refused.code(), 100);
    assert!(
        refused.json()["error"]["message"]
            .as_str()
            .unwrap()
            .contains("Expected data localization region: 'IN'")
    );
    body["data_localization_region"] = json!("IN");
    client.post(&path, &body).await.ok();
}
