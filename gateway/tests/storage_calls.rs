//! Promise: a settings or registration call can only bring a number nearer to its policy, whatever its spelling and
//! version, and the documented ways from an unregistered number to its first send work.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod common;

use bytes::Bytes;
use common::{Client, DEFAULT, IN_COUNTRY, NO_STORAGE, Reply, World};
use curfew_emulator::{State, Storage};
use http::Method;
use serde_json::{Value, json};

/// Both generations, and a path that names none.
const PREFIXES: [&str; 6] = ["/v17.0", "/v20.0", "/v21.0", "/v23.0", "/v99.0", ""];

/// Spellings of one storage object that lead away from Local Storage in Germany.
const AWAY_FROM_IN_COUNTRY: &[&str] = &[
    r#"{"status":"IN_COUNTRY_STORAGE_DISABLED"}"#,
    r#"{"status":"in_country_storage_disabled"}"#,
    r#"{"status":"IN_COUNTRY_STORAGE_DISABLED","data_localization_region":"DE"}"#,
    r#"{"status":"DEFAULT"}"#,
    r#"{"status":"default","data_localization_region":"DE"}"#,
    r#"{"status":"NO_STORAGE_ENABLED","retention_minutes":60}"#,
    r#"{"status":"IN_COUNTRY_STORAGE_ENABLED"}"#,
    r#"{"status":"IN_COUNTRY_STORAGE_ENABLED","data_localization_region":"IN"}"#,
    r#"{"status":"IN_COUNTRY_STORAGE_ENABLED","data_localization_region":null}"#,
    r#"{"status":"IN_COUNTRY_STORAGE_ENABLED","data_localization_region":["DE"]}"#,
    r#"{"status":"IN_COUNTRY_STORAGE_ENABLED","data_localization_region":["DE","IN"]}"#,
    r#"{"status":"IN_COUNTRY_STORAGE_ENABLED","data_localization_region":"DE","region":"IN"}"#,
    r#"{"status":"IN_COUNTRY_STORAGE_ENABLED","data_localization_region":"DE","Data_Localization_Region":"IN"}"#,
    r#"{"status":"IN_COUNTRY_STORAGE_ENABLED","data_localization_region":"DE","data_localization_region":"IN"}"#,
    r#"{"status":"IN_COUNTRY_STORAGE_ENABLED","data_localization_region":"DE","data_localizati\u006fn_region":"IN"}"#,
    r#"{"status":"IN_COUNTRY_STORAGE_ENABLED","data_localization_region":"DE","data_localization_region[]":"IN"}"#,
    r#"{"status":"IN_COUNTRY_STORAGE_ENABLED","data_localization_region":"DE","retention_minutes":60}"#,
    r#"{"status":" IN_COUNTRY_STORAGE_ENABLED ","data_localization_region":"DE"}"#,
    r#"{"status":["IN_COUNTRY_STORAGE_ENABLED"],"data_localization_region":"DE"}"#,
    r#"{"status":null,"data_localization_region":"DE"}"#,
    r#"{"data_localization_region":"DE"}"#,
    r#"{"enabled":false}"#,
    r#"{"enabled":true,"region":"IN"}"#,
    r#"{"Status":"IN_COUNTRY_STORAGE_DISABLED"}"#,
    r#"{"STATUS":"DEFAULT","status":"IN_COUNTRY_STORAGE_ENABLED","data_localization_region":"DE"}"#,
    "{}",
    "null",
    "[]",
    r#"[{"status":"DEFAULT"}]"#,
    r#""DEFAULT""#,
    r#""{\"status\":\"DEFAULT\"}""#,
];

/// The same for No Storage.
const AWAY_FROM_NO_STORAGE: &[&str] = &[
    r#"{"status":"DEFAULT"}"#,
    r#"{"status":"NO_STORAGE_DISABLED"}"#,
    r#"{"status":"IN_COUNTRY_STORAGE_DISABLED"}"#,
    r#"{"status":"IN_COUNTRY_STORAGE_ENABLED","data_localization_region":"DE"}"#,
    r#"{"status":"NO_STORAGE_ENABLED"}"#,
    r#"{"status":"NO_STORAGE_ENABLED","retention_minutes":61}"#,
    r#"{"status":"NO_STORAGE_ENABLED","retention_minutes":59}"#,
    r#"{"status":"NO_STORAGE_ENABLED","retention_minutes":43200}"#,
    r#"{"status":"NO_STORAGE_ENABLED","retention_minutes":"061"}"#,
    r#"{"status":"NO_STORAGE_ENABLED","retention_minutes":60.9}"#,
    r#"{"status":"NO_STORAGE_ENABLED","retention_minutes":6e1}"#,
    r#"{"status":"NO_STORAGE_ENABLED","retention_minutes":6e9}"#,
    r#"{"status":"NO_STORAGE_ENABLED","retention_minutes":-60}"#,
    r#"{"status":"NO_STORAGE_ENABLED","retention_minutes":null}"#,
    r#"{"status":"NO_STORAGE_ENABLED","retention_minutes":true}"#,
    r#"{"status":"NO_STORAGE_ENABLED","retention_minutes":[60]}"#,
    r#"{"status":"NO_STORAGE_ENABLED","retention_minutes":60,"retention_minutes":43200}"#,
    r#"{"status":"NO_STORAGE_ENABLED","retention_minutes":60,"Retention_Minutes":43200}"#,
    r#"{"status":"NO_STORAGE_ENABLED","retention_minutes":60,"data_localization_region":"DE"}"#,
    r#"{"status":"NO_STORAGE_ENABLED","retention_minutes":60,"meta_store_retention_minutes":43200}"#,
];

/// Registrations that lead away in every version, by the members that follow `messaging_product` and `pin`.
const AWAY_BY_REGISTRATION: &[(u64, &str)] = &[
    (IN_COUNTRY, r#""data_localization_region":"IN""#),
    (IN_COUNTRY, r#""data_localization_region":"""#),
    (IN_COUNTRY, r#""data_localization_region":null"#),
    (IN_COUNTRY, r#""data_localization_region":["DE"]"#),
    (IN_COUNTRY, r#""Data_localization_region":"IN""#),
    (
        IN_COUNTRY,
        r#""data_localization_region":"DE","data_localization_region":"IN""#,
    ),
    (
        IN_COUNTRY,
        r#""data_localization_region":"DE","data_localization_region[]":"IN""#,
    ),
    (
        IN_COUNTRY,
        r#""data_localization_region":"DE","meta_store_retention_minutes":60"#,
    ),
    (IN_COUNTRY, r#""meta_store_retention_minutes":60"#),
    (
        IN_COUNTRY,
        r#""data_localization_region":"DE","storage_configuration":{"status":"DEFAULT"}"#,
    ),
    (NO_STORAGE, r#""meta_store_retention_minutes":61"#),
    (NO_STORAGE, r#""meta_store_retention_minutes":43200"#),
    (NO_STORAGE, r#""meta_store_retention_minutes":60.9"#),
    (NO_STORAGE, r#""meta_store_retention_minutes":6e1"#),
    (NO_STORAGE, r#""meta_store_retention_minutes":null"#),
    (NO_STORAGE, r#""meta_store_retention_minutes":" 60""#),
    (NO_STORAGE, r#""Meta_Store_Retention_Minutes":43200"#),
    (
        NO_STORAGE,
        r#""meta_store_retention_minutes":60,"meta_store_retention_minutes":43200"#,
    ),
    (
        NO_STORAGE,
        r#""meta_store_retention_minutes":60,"data_localization_region":"DE""#,
    ),
    (NO_STORAGE, r#""data_localization_region":"DE""#),
    (DEFAULT, r#""data_localization_region":"DE""#),
    (DEFAULT, r#""meta_store_retention_minutes":60"#),
];

/// The gateway refused, because of the policy or because the body has no single meaning.
#[track_caller]
fn assert_refused(reply: &Reply, what: &str) {
    let reason = reply
        .reason()
        .unwrap_or_else(|| panic!("{what} was let through: {}", reply.text()));
    match reason {
        "settings_contradict_policy" | "registration_contradicts_policy" => {
            reply.assert_refused(403, 131_005, reason);
        }
        _ => reply.assert_refused(400, 100, reason),
    }
}

#[track_caller]
fn assert_untouched(world: &World) {
    assert_eq!(world.emulator.received().len(), 0, "something reached Meta");
}

#[tokio::test]
async fn every_spelling_of_a_setting_that_leads_away_is_refused_and_reaches_nobody() {
    let world = World::pass_through().await;
    let client = world.client();
    let mut refused = 0;
    for prefix in PREFIXES {
        for (number, objects) in [
            (IN_COUNTRY, AWAY_FROM_IN_COUNTRY),
            (NO_STORAGE, AWAY_FROM_NO_STORAGE),
            (DEFAULT, AWAY_FROM_IN_COUNTRY),
            (DEFAULT, AWAY_FROM_NO_STORAGE),
        ] {
            let target = format!("{prefix}/{number}/settings");
            for object in objects {
                let body = format!("{{\"storage_configuration\":{object}}}");
                assert_refused(
                    &client.post_text(&target, &body).await,
                    &format!("{target} {body}"),
                );
                refused += 1;
            }
        }
    }
    assert!(refused > 500);
    assert_untouched(&world);
}

#[tokio::test]
async fn a_storage_object_under_another_name_or_beside_another_is_refused() {
    let world = World::pass_through().await;
    let client = world.client();
    let off = r#"{"status":"DEFAULT"}"#;
    let right = r#"{"status":"IN_COUNTRY_STORAGE_ENABLED","data_localization_region":"DE"}"#;
    for prefix in PREFIXES {
        for body in [
            format!(r#"{{"Storage_Configuration":{off}}}"#),
            format!(r#"{{"STORAGE_CONFIGURATION":{off}}}"#),
            format!(r#"{{"stor\u0061ge_configuration":{off}}}"#),
            format!(r#"{{"storage_configuration[]":{off}}}"#),
            r#"{"storage_configuration[status]":"DEFAULT"}"#.to_owned(),
            format!(r#"{{"storage_configuration":{right},"storage_configuration":{off}}}"#),
            format!(r#"{{"storage_configuration":{right},"Storage_configuration":{off}}}"#),
            format!(r#"{{"storage_configuration":{right},"storage_configuration[status]":"DEFAULT"}}"#),
            format!(r#"{{"storage_configuration":{right},"calling":{{"status":"DISABLED"}}}}"#),
            format!(r#"{{"storage_configuration":{right}}} {{"storage_configuration":{off}}}"#),
            format!(r#"[{{"storage_configuration":{off}}}]"#),
            format!(r#"{{"storage_configuration":{right},"batch":[]}}"#),
            format!(r#"{{"storage_configuration":{right},"method":"delete"}}"#),
        ] {
            let target = format!("{prefix}/{IN_COUNTRY}/settings");
            assert_refused(
                &client.post_text(&target, &body).await,
                &format!("{target} {body}"),
            );
        }
    }
    assert_untouched(&world);
}

#[tokio::test]
async fn no_other_encoding_carries_a_storage_setting() {
    let world = World::pass_through().await;
    let client = world.client();
    let off = r#"{"storage_configuration":{"status":"DEFAULT"}}"#;
    for prefix in PREFIXES {
        for (edge, content_type, body) in [
            (
                "settings",
                "application/x-www-form-urlencoded",
                "storage_configuration[status]=DEFAULT",
            ),
            ("settings", "text/plain", off),
            ("settings", "application/json; charset=utf-16", off),
            ("settings", "application/vnd.api+json", off),
            (
                "settings",
                "multipart/form-data; boundary=b",
                "--b\r\nContent-Disposition: form-data; name=\"storage_configuration[status]\"\r\n\r\nDEFAULT\r\n--b--\r\n",
            ),
            (
                "register",
                "application/x-www-form-urlencoded",
                "messaging_product=whatsapp&pin=123456",
            ),
        ] {
            let target = format!("{prefix}/{IN_COUNTRY}/{edge}");
            let headers = [("content-type", content_type)];
            let reply = client
                .send(
                    Method::POST,
                    &target,
                    &headers,
                    Bytes::from_static(body.as_bytes()),
                )
                .await;
            reply.assert_refused(400, 100, "content_type");
        }
        for query in [
            "storage_configuration=%7B%22status%22%3A%22DEFAULT%22%7D",
            "storage_configuration[status]=DEFAULT",
            "data_localization_region=IN",
            "meta_store_retention_minutes=60",
            "method=post",
            "access_token=EAAG",
        ] {
            for edge in ["settings", "register", "deregister"] {
                let target = format!("{prefix}/{IN_COUNTRY}/{edge}?{query}");
                let reply = client.post(&target, &json!({})).await;
                assert_eq!(reply.status, 400, "{target}: {}", reply.text());
                assert!(reply.reason().is_some(), "{target}");
            }
        }
    }
    assert_untouched(&world);
}

#[tokio::test]
async fn every_registration_that_leads_away_is_refused_and_reaches_nobody() {
    let world = World::pass_through().await;
    let client = world.client();
    for prefix in PREFIXES {
        for (number, members) in AWAY_BY_REGISTRATION {
            let target = format!("{prefix}/{number}/register");
            let body = format!("{{\"messaging_product\":\"whatsapp\",\"pin\":\"123456\",{members}}}");
            assert_refused(
                &client.post_text(&target, &body).await,
                &format!("{target} {body}"),
            );
        }
    }
    // Up to v20.0 a registration without its region or retention switches the mode off; a path without version may be that.
    for prefix in ["/v17.0", "/v20.0", ""] {
        for number in [NO_STORAGE, IN_COUNTRY] {
            let target = format!("{prefix}/{number}/register");
            client.post(&target, &plain_registration()).await.assert_refused(
                403,
                131_005,
                "registration_contradicts_policy",
            );
        }
    }
    assert_untouched(&world);
}

fn plain_registration() -> Value {
    json!({ "messaging_product": "whatsapp", "pin": "123456" })
}

/// A registration with one more member.
fn registration(name: &str, value: impl Into<Value>) -> Value {
    let mut body = plain_registration();
    body[name] = value.into();
    body
}

/// The number is new: it has default storage, and nobody has shown that it is theirs.
async fn with_new(number: u64, state: State) -> World {
    let world = World::pass_through().await;
    world.emulator.set_storage(number, Storage::Default);
    world.emulator.set_state(number, state);
    world
}

async fn done(client: &Client, target: &str, body: &Value) {
    let reply = client.post(target, body).await;
    assert_eq!(reply.status, 200, "{target}: {}", reply.text());
    assert_eq!(reply.json(), json!({ "success": true }));
}

/// The calls that changed something, with what they carried.
fn changes(world: &World) -> Vec<(&'static str, Value)> {
    let calls = world.emulator.settings_calls().into_iter();
    calls
        .filter(|call| call.call != "read")
        .map(|call| (call.call, call.params))
        .collect()
}

async fn sends(world: &World, number: u64) {
    let reply = world.client().send_text(number).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
}

#[tokio::test]
async fn local_storage_is_enabled_as_from_v21() {
    let world = with_new(IN_COUNTRY, State::Verified).await;
    let client = world.client();
    let right = json!({
        "storage_configuration": { "status": "IN_COUNTRY_STORAGE_ENABLED", "data_localization_region": "DE" },
    });
    done(&client, "/v21.0/1002/settings", &right).await;
    done(&client, "/v21.0/1002/register", &plain_registration()).await;
    let read = client.get("/v21.0/1002/settings").await.json();
    assert_eq!(read["storage_configuration"], right["storage_configuration"]);
    sends(&world, IN_COUNTRY).await;
    assert_eq!(
        changes(&world),
        [("settings", right), ("register", plain_registration())]
    );
    assert_eq!(
        world.emulator.number(IN_COUNTRY).map(|number| number.storage),
        Some(Storage::InCountry("DE".to_owned()))
    );
}

#[tokio::test]
async fn local_storage_is_enabled_as_up_to_v20() {
    let world = with_new(IN_COUNTRY, State::Unverified).await;
    let client = world.client();
    let status = client.get("/1002?fields=code_verification_status").await.json();
    assert_eq!(status["code_verification_status"], "NOT_VERIFIED");
    let nothing = json!({});
    let request = "/1002/request_code?code_method=SMS&language=en_US";
    done(&client, request, &nothing).await;
    let number = world.emulator.number(IN_COUNTRY);
    let code = number
        .and_then(|number| number.verification_code)
        .expect("a code");
    done(&client, &format!("/1002/verify_code?code={code}"), &nothing).await;
    let status = client.get("/1002?fields=code_verification_status").await.json();
    assert_eq!(status["code_verification_status"], "VERIFIED");
    let right = registration("data_localization_region", "DE");
    done(&client, "/v20.0/1002/register", &right).await;
    sends(&world, IN_COUNTRY).await;
    let expected = [
        (
            "request_code",
            json!({ "code_method": "SMS", "language": "en_US" }),
        ),
        ("verify_code", json!({ "code": code })),
        ("register", right),
    ];
    assert_eq!(changes(&world), expected);
}

#[tokio::test]
async fn no_storage_is_enabled_as_from_v21() {
    let world = with_new(NO_STORAGE, State::Verified).await;
    let client = world.client();
    let right =
        json!({ "storage_configuration": { "status": "NO_STORAGE_ENABLED", "retention_minutes": 60 } });
    done(&client, "/v23.0/1001/settings", &right).await;
    done(&client, "/v23.0/1001/register", &plain_registration()).await;
    sends(&world, NO_STORAGE).await;
    client.upload(NO_STORAGE).await;
    assert_eq!(
        changes(&world),
        [("settings", right), ("register", plain_registration())]
    );
}

#[tokio::test]
async fn no_storage_is_enabled_as_up_to_v20() {
    for prefix in ["/v20.0", ""] {
        let world = with_new(NO_STORAGE, State::Verified).await;
        let mut right = registration("meta_store_retention_minutes", 60);
        right["tier"] = "test".into();
        done(&world.client(), &format!("{prefix}/1001/register"), &right).await;
        sends(&world, NO_STORAGE).await;
        assert_eq!(changes(&world), [("register", right)]);
    }
}

#[tokio::test]
async fn a_call_without_version_works_if_it_satisfies_both_generations() {
    let world = with_new(IN_COUNTRY, State::Verified).await;
    let right = registration("data_localization_region", "DE");
    done(&world.client(), "/1002/register", &right).await;
    sends(&world, IN_COUNTRY).await;
    assert_eq!(changes(&world), [("register", right)]);
}

#[tokio::test]
async fn local_storage_is_disabled_by_nobody_without_leave() {
    let world = World::pass_through().await;
    let client = world.client();
    client
        .post("/v23.0/1002/deregister", &json!({}))
        .await
        .assert_refused(403, 131_005, "deregister_not_allowed");
    let off = json!({ "storage_configuration": { "status": "IN_COUNTRY_STORAGE_DISABLED" } });
    client.post("/v23.0/1002/settings", &off).await.assert_refused(
        403,
        131_005,
        "settings_contradict_policy",
    );
    assert_untouched(&world);
    sends(&world, IN_COUNTRY).await;
}

#[tokio::test]
async fn other_settings_pass_one_at_a_time() {
    let world = World::pass_through().await;
    for number in [NO_STORAGE, IN_COUNTRY, DEFAULT] {
        let calling = json!({ "calling": { "status": "ENABLED" } });
        done(&world.client(), &format!("/v23.0/{number}/settings"), &calling).await;
        let read = world
            .client()
            .get(&format!("/v23.0/{number}/settings"))
            .await
            .json();
        assert_eq!(read["calling"]["status"], "ENABLED");
    }
}
