//! The rows that say where content is kept, how long, and who hears of it.

use http::Method;
use serde_json::{Value, json};

use crate::common::World;
use crate::common::form::{Form, PNG};
use crate::{Call, EVERYWHERE, MODES, PASS, check, check_rows, nowhere, only_default, policy};

#[tokio::test]
async fn ttl_minutes_is_for_no_storage_alone() {
    let with = |ttl: &str| Call::upload(&Form::image().field("ttl_minutes", ttl));
    let begun = |ttl: &str| {
        let form = Form::new()
            .field("ttl_minutes", ttl)
            .field("messaging_product", "whatsapp");
        Call::upload(&form.file("image/png", PNG))
    };
    let announcement = Form::new()
        .field("use_case", "VOICEMAIL")
        .field("messaging_product", "whatsapp");
    let announcement = announcement.file("image/png", PNG);
    check_rows(&[
        (Call::upload(&Form::image()), EVERYWHERE),
        (
            begun("60"),
            ["ttl_without_no_storage", "ttl_without_no_storage", PASS],
        ),
        (
            begun("43201"),
            [
                "ttl_without_no_storage",
                "ttl_without_no_storage",
                "ttl_out_of_bounds",
            ],
        ),
        (Call::upload(&announcement), only_default("forbidden_by_mode")),
    ])
    .await;
    // Behind its file, it is judged while the upload goes out, which is then broken off.
    for (storage, expected) in
        MODES
            .into_iter()
            .zip(["ttl_without_no_storage", "ttl_without_no_storage", PASS])
    {
        let world = World::of(&policy(storage, "")).await;
        let reply = with("60").run(&world.client()).await;
        assert_eq!(reply.reason().unwrap_or(PASS), expected, "{}", reply.text());
        assert_eq!(world.emulator.media().len(), usize::from(expected == PASS));
    }
}

#[tokio::test]
async fn settings_lead_only_towards_the_policy() {
    let settings = |storage: Value| {
        Call::post(
            "/v23.0/1001/settings",
            &json!({ "storage_configuration": storage }),
        )
    };
    let no = "settings_contradict_policy";
    let germany = json!({ "status": "IN_COUNTRY_STORAGE_ENABLED", "data_localization_region": "DE" });
    let none = json!({ "status": "NO_STORAGE_ENABLED", "retention_minutes": 60 });
    let with = |storage: &Value, key: &str, value: Value| {
        let mut storage = storage.clone();
        storage[key] = value;
        settings(storage)
    };
    check_rows(&[
        (settings(germany.clone()), [no, PASS, no]),
        (settings(none.clone()), [no, no, PASS]),
        (
            with(&germany, "data_localization_region", json!("IN")),
            nowhere(no),
        ),
        (
            with(&germany, "data_localization_region", json!("de")),
            nowhere(no),
        ),
        (with(&germany, "retention_minutes", json!(60)), nowhere(no)),
        (with(&none, "retention_minutes", json!(61)), nowhere(no)),
        (with(&none, "retention_minutes", json!(60.0)), nowhere(no)),
        (with(&none, "data_localization_region", json!("DE")), nowhere(no)),
        (with(&none, "enabled", json!(false)), nowhere(no)),
        (
            settings(json!({ "status": "IN_COUNTRY_STORAGE_ENABLED" })),
            nowhere(no),
        ),
        (settings(json!({ "status": "NO_STORAGE_ENABLED" })), nowhere(no)),
        (
            settings(json!({ "status": "IN_COUNTRY_STORAGE_DISABLED" })),
            nowhere(no),
        ),
        (settings(json!({ "status": "DEFAULT" })), nowhere(no)),
        (settings(json!({ "enabled": false })), nowhere(no)),
        (settings(json!({})), nowhere(no)),
        (settings(json!("{\"status\":\"DEFAULT\"}")), nowhere(no)),
        (settings(Value::Null), nowhere(no)),
        (
            Call::post(
                "/v23.0/1001/settings",
                &json!({ "Storage_Configuration": germany }),
            ),
            nowhere(no),
        ),
        (
            Call::post(
                "/v23.0/1001/settings",
                &json!({ "storage_configuration[status]": "DEFAULT" }),
            ),
            nowhere(no),
        ),
        (
            Call::post(
                "/v23.0/1001/settings",
                &json!({ "calling": {}, "storage_configuration": germany }),
            ),
            nowhere(no),
        ),
        (
            Call::post(
                "/v23.0/1001/settings",
                &json!({ "calling": { "status": "DISABLED" } }),
            ),
            EVERYWHERE,
        ),
    ])
    .await;
}

#[tokio::test]
async fn registrations_lead_only_towards_the_policy_in_either_generation() {
    let no = "registration_contradicts_policy";
    let register = |version: &str, more: Value| {
        let mut body = json!({ "messaging_product": "whatsapp", "pin": "123456" });
        body.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        Call::post(&format!("{version}/1001/register"), &body)
    };
    let germany = || json!({ "data_localization_region": "DE" });
    let none = || json!({ "meta_store_retention_minutes": 60 });
    check_rows(&[
        (register("/v23.0", json!({})), EVERYWHERE),
        (register("/v21.0", json!({})), EVERYWHERE),
        (register("/v20.0", json!({})), only_default(no)),
        (register("", json!({})), only_default(no)),
        (register("/v20.0", germany()), [no, PASS, no]),
        (register("", germany()), [no, PASS, no]),
        (register("/v20.0", none()), [no, no, PASS]),
        (register("", none()), [no, no, PASS]),
    ])
    .await;
    // Each against a fresh count: ten calls in 72 hours are all that there are.
    check_rows(&[
        (
            register("/v20.0", json!({ "data_localization_region": "IN" })),
            nowhere(no),
        ),
        (
            register("/v20.0", json!({ "meta_store_retention_minutes": 61 })),
            nowhere(no),
        ),
        (
            register(
                "/v20.0",
                json!({ "data_localization_region": "DE", "meta_store_retention_minutes": 60 }),
            ),
            nowhere(no),
        ),
        (
            register("/v23.0", json!({ "Data_Localization_Region": "DE" })),
            nowhere(no),
        ),
        (
            register("/v23.0", json!({ "data_localization_region[]": "DE" })),
            nowhere(no),
        ),
        (
            register("/v23.0", json!({ "data_localization_region": ["DE"] })),
            nowhere(no),
        ),
        (register("/v23.0", json!({ "storage": "DEFAULT" })), nowhere(no)),
    ])
    .await;
}

#[tokio::test]
async fn deregistering_needs_the_policys_word() {
    let deregister = || {
        Call::post(
            "/v23.0/1001/deregister",
            &json!({ "messaging_product": "whatsapp" }),
        )
    };
    let bare = || Call::bare(Method::POST, "/v23.0/1001/deregister");
    check_rows(&[
        (deregister(), only_default("deregister_not_allowed")),
        (bare(), only_default("deregister_not_allowed")),
    ])
    .await;
    for storage in MODES {
        let world = World::of(&policy(storage, "allow_deregister = true")).await;
        check(&world, &world.client(), &deregister(), PASS, storage).await;
    }
}

#[tokio::test]
async fn webhooks_go_nowhere_else() {
    let elsewhere = "https://elsewhere.example/hook";
    let no = nowhere("webhook_redirect");
    let account = json!({ "override_callback_uri": elsewhere, "verify_token": "x" });
    let number =
        json!({ "webhook_configuration": { "override_callback_uri": elsewhere, "verify_token": "x" } });
    check_rows(&[
        (Call::post("/v23.0/1001", &number), no),
        (Call::post("/1001", &json!({ "Webhook_Configuration": "{}" })), no),
        (
            Call::post(
                "/1001",
                &json!({ "webhook_configuration[override_callback_uri]": elsewhere }),
            ),
            no,
        ),
        (Call::post("/v23.0/5001/subscribed_apps", &account), no),
        (
            Call::post(
                "/v23.0/5001/subscribed_apps",
                &json!({ "OVERRIDE_CALLBACK_URI": elsewhere }),
            ),
            no,
        ),
        (
            Call::post("/v23.0/77/subscriptions", &json!({ "callback_url": elsewhere })),
            no,
        ),
        (Call::bare(Method::POST, "/v23.0/77/subscriptions"), no),
        (Call::post("/v23.0/1001", &json!({ "pin": "123456" })), EVERYWHERE),
        (
            Call::bare(Method::POST, "/v23.0/5001/subscribed_apps"),
            EVERYWHERE,
        ),
    ])
    .await;
}
