//! Settings, registrations and webhooks, by every door but the right one, and by the right one in disguise.

use curfew_emulator::State;
use http::Method;
use serde_json::json;

use crate::common::{IN_COUNTRY, NO_STORAGE, World};
use crate::{Attack, encoded, form_of, try_all};

const OFF: &str = r#"{"status":"IN_COUNTRY_STORAGE_DISABLED"}"#;
const SETTINGS: &str = "/v23.0/1001/settings";

/// Storage can be set while a number is not registered.
fn unregistered(emulator: &curfew_emulator::Emulator) {
    for number in [NO_STORAGE, IN_COUNTRY] {
        emulator.set_state(number, State::Verified);
    }
}

#[tokio::test]
async fn storage_is_not_switched_off_by_another_door() {
    let pairs = [("storage_configuration", OFF)];
    let bracketed = [("storage_configuration[status]", "IN_COUNTRY_STORAGE_DISABLED")];
    let plain = format!(r#"{{"storage_configuration":{OFF}}}"#);
    let batch = json!([{ "method": "POST", "relative_url": "v23.0/1001/settings", "body": encoded(&pairs) }])
        .to_string();
    try_all(
        vec![
            Attack::json(SETTINGS, &plain),
            Attack::json("/1001/settings", &plain),
            Attack::json("/v21.0/1001/settings/", &plain),
            Attack::json("/v23.0/1001/SETTINGS", &plain),
            Attack::json("/v23.0/settings?ids=1001", &plain),
            Attack::json("/?id=1001/settings", &plain),
            Attack::json(SETTINGS, json!({ "storage_configuration": OFF }).to_string()),
            Attack::json(SETTINGS, r#"{"storage_configuration":{"status":" default "}}"#),
            Attack::json(SETTINGS, r#"{"storage_configuration":{"enabled":false}}"#),
            Attack::json(SETTINGS, r#"{"storage_configuration":{"enabled":"false"}}"#),
            Attack::json(SETTINGS, r#"{"storage_configuration":{"enabled":true,"region":"IN"}}"#),
            Attack::json(SETTINGS, r#"{"storage_configuration":{"status":"in_country_storage_enabled","region":"in"}}"#),
            Attack::json(
                SETTINGS,
                format!(r#"{{"storage_configuration":{{"status":"NO_STORAGE_ENABLED","retention_minutes":60}},"storage_configuration":{OFF}}}"#),
            ),
            Attack::json(
                SETTINGS,
                r#"{"storage_configuration":{"status":"NO_STORAGE_ENABLED","retention_minutes":60,"st\u0061tus":"DEFAULT"}}"#,
            ),
            Attack::json(&format!("{SETTINGS}?{}", encoded(&pairs)), "{}"),
            Attack::query(SETTINGS, &pairs),
            Attack::query(SETTINGS, &bracketed),
            Attack::urlencoded(SETTINGS, &pairs),
            Attack::urlencoded(SETTINGS, &bracketed),
            Attack::form(SETTINGS, &form_of(&pairs)),
            Attack::post(SETTINGS, "text/plain", plain.clone()),
            Attack::new(Method::GET, &format!("{SETTINGS}?method=post&{}", encoded(&pairs))),
            Attack::json("/", format!(r#"{{"batch":{batch}}}"#)),
            Attack::json("/v23.0/1003", format!(r#"{{"batch":{batch}}}"#)),
        ],
        unregistered,
    )
    .await;
}

#[tokio::test]
async fn a_number_is_not_registered_without_its_storage_by_another_door() {
    let pairs = [("messaging_product", "whatsapp"), ("pin", "123456")];
    let other = [pairs[0], pairs[1], ("data_localization_region", "IN")];
    let body = |more: &str| format!(r#"{{"messaging_product":"whatsapp","pin":"123456"{more}}}"#);
    try_all(
        vec![
            Attack::json("/v20.0/1001/register", body("")),
            Attack::json("/v1.0/1002/register", body("")),
            Attack::json(
                "/v23.0/1001/register",
                body(r#","data_localization_region":"IN""#),
            ),
            Attack::json(
                "/v23.0/1002/register",
                body(r#","data_localization_region":"in""#),
            ),
            Attack::json(
                "/v23.0/1002/register",
                body(r#","meta_store_retention_minutes":60"#),
            ),
            Attack::json(
                "/v20.0/1002/register",
                body(r#","data_localization_region":"DE","data_localization_region":"IN""#),
            ),
            Attack::json("/v20.0/1002/register?data_localization_region=IN", body("")),
            Attack::query("/v23.0/1002/register", &other),
            Attack::query("/v20.0/1001/register", &pairs),
            Attack::urlencoded("/v20.0/1001/register", &pairs),
            Attack::urlencoded("/v23.0/1002/register", &other),
            Attack::form("/v23.0/1002/register", &form_of(&other)),
            Attack::json("/register?ids=1002", body(r#","data_localization_region":"IN""#)),
        ],
        unregistered,
    )
    .await;
}

#[tokio::test]
async fn a_number_is_not_deregistered_by_another_door() {
    let batch = json!([{ "method": "POST", "relative_url": "1002/deregister" }]).to_string();
    try_all(
        vec![
            Attack::new(Method::POST, "/v23.0/1002/deregister"),
            Attack::new(Method::POST, "/1002/deregister/"),
            Attack::json("/v23.0/1002/deregister", "{}"),
            Attack::urlencoded("/v23.0/1002/deregister", &[]),
            Attack::new(Method::POST, "/v23.0/1002/Deregister"),
            Attack::new(Method::GET, "/v23.0/1002/deregister?method=post"),
            Attack::new(Method::GET, "/v23.0/1002/deregister").header("x-http-method-override", "POST"),
            Attack::new(Method::POST, "/deregister?ids=1002"),
            Attack::new(Method::POST, "/?id=1002/deregister"),
            Attack::query("/", &[("batch", &batch)]),
        ],
        |_| {},
    )
    .await;
}

#[tokio::test]
async fn webhooks_are_not_sent_elsewhere_by_another_door() {
    const ELSEWHERE: &str = r#"{"override_callback_uri":"http://127.0.0.1:1/","verify_token":"x"}"#;
    let pairs = [("webhook_configuration", ELSEWHERE)];
    let bracketed = [
        (
            "webhook_configuration[override_callback_uri]",
            "http://127.0.0.1:1/",
        ),
        ("webhook_configuration[verify_token]", "x"),
    ];
    let flat = [
        ("override_callback_uri", "http://127.0.0.1:1/"),
        ("verify_token", "x"),
    ];
    let app = curfew_emulator::Options::default().app_id;
    let subscriptions = format!("/v23.0/{app}/subscriptions");
    let callback = [
        ("object", "whatsapp_business_account"),
        ("callback_url", "http://127.0.0.1:1/"),
        ("verify_token", "x"),
    ];
    try_all(
        vec![
            Attack::json(
                "/v23.0/1001",
                format!(r#"{{"webhook_configuration":{ELSEWHERE}}}"#),
            ),
            Attack::json(
                "/1001/",
                json!({ "webhook_configuration": ELSEWHERE }).to_string(),
            ),
            Attack::json(
                "/1001",
                format!(r#"{{"pin":"123456","webhook_configur\u0061tion":{ELSEWHERE}}}"#),
            ),
            Attack::json(&format!("/1001?{}", encoded(&pairs)), r#"{"pin":"123456"}"#),
            Attack::query("/v23.0/1001", &pairs),
            Attack::query("/v23.0/1001", &bracketed),
            Attack::urlencoded("/v23.0/1001", &pairs),
            Attack::urlencoded("/v23.0/1001", &bracketed),
            Attack::form("/v23.0/1001", &form_of(&pairs)),
            Attack::json(
                "/?ids=1001",
                format!(r#"{{"webhook_configuration":{ELSEWHERE}}}"#),
            ),
            Attack::json("/v23.0/5001/subscribed_apps", ELSEWHERE),
            Attack::query("/v23.0/5001/subscribed_apps", &flat),
            Attack::urlencoded("/v23.0/5001/subscribed_apps", &flat),
            Attack::form("/v23.0/5001/subscribed_apps", &form_of(&flat)),
            Attack::query(&subscriptions, &callback),
            Attack::urlencoded(&subscriptions, &callback),
            Attack::json(
                &subscriptions,
                r#"{"callback_url":"http://127.0.0.1:1/","verify_token":"x"}"#,
            ),
        ],
        |_| {},
    )
    .await;
}

/// Members that manage storage, webhooks or recordings count at any depth, and however they are spelled.
#[tokio::test]
async fn a_member_deep_in_a_body_is_no_way_round() {
    const ELSEWHERE: &str = r#"{"override_callback_uri":"http://127.0.0.1:1/","verify_token":"x"}"#;
    let mut attacks = Vec::new();
    for key in [
        "webhook configuration",
        "webhook.configuration",
        "[webhook_configuration]",
        "webhook_configuration ",
        "webhook_configuration.override_callback_uri",
    ] {
        attacks.push(Attack::json("/v23.0/1001", format!(r#"{{"{key}":"x"}}"#)));
    }
    let held = json!({ "x": json!({ "webhook_configuration": "x" }).to_string() }).to_string();
    attacks.push(Attack::json("/v23.0/1001", held));
    attacks.push(Attack::json("/v23.0/1001", format!(r#"{{"x":[{ELSEWHERE}]}}"#)));
    attacks.push(Attack::json(
        "/v23.0/5001/subscribed_apps",
        format!(r#"{{"x":{ELSEWHERE}}}"#),
    ));
    attacks.push(Attack::json(
        SETTINGS,
        format!(r#"{{"calling":{{"x":{ELSEWHERE}}}}}"#),
    ));
    for target in ["/v23.0/1001", "/v23.0/1001/calls", "/v23.0/1001/block_users"] {
        for body in [
            format!(r#"{{"storage_configuration":{OFF}}}"#),
            format!(r#"{{"x":{{"storage_configuration ":{OFF}}}}}"#),
            r#"{"data_localization_region":"IN"}"#.to_owned(),
            r#"{"x":["{\"meta_store_retention_minutes\":1}"]}"#.to_owned(),
        ] {
            attacks.push(Attack::json(target, body));
        }
    }
    attacks.push(Attack::json(
        SETTINGS,
        format!(r#"{{"calling":{{"storage_configuration":{OFF}}}}}"#),
    ));
    for member in ["recording", "transcription"] {
        attacks.push(Attack::json(
            "/v23.0/1001/calls",
            format!(r#"{{"messaging_product":"whatsapp","action":"connect","session":{{"{member}":{{"enabled":true}}}}}}"#),
        ));
    }
    try_all(
        attacks.into_iter().map(Attack::unheard_of).collect(),
        unregistered,
    )
    .await;
}

/// Reads that would show other nodes through one path, or lead callers to Meta, do not get through.
#[tokio::test]
async fn a_read_shows_its_own_node_and_nothing_else() {
    let world = World::pass_through().await;
    let client = world.client();
    for target in [
        "/v23.0/5001?fields=phone_numbers%7Bwebhook_configuration%7D",
        "/v23.0/5001?fields=id,phone_numbers",
        "/v23.0/5001?fields=phone_numbers.limit(10)%7Bid%7D",
        "/v23.0/1001?fields=whatsapp_business_profile%7Babout%7D",
        "/v23.0/1001?fields=id,%20status",
        "/v23.0/5001/phone_numbers?fields=id,messages",
        "/v23.0/?ids=1001,1002&fields=id",
        "/?ids=1001",
        "/v23.0/1001?ids=1002",
        "/v23.0/1001?id=1002",
        "/v23.0/1001?metadata=1",
        "/v23.0/1001?access_token=x",
        "/v23.0/me",
        "/v23.0/me/accounts",
        "/v23.0/506914307656634/owned_whatsapp_business_accounts",
        "/v23.0/1240000000000017",
        "/v23.0/debug_token?input_token=x",
        "/oauth/access_token?client_id=1240000000000017&client_secret=emulated-app-secret",
        "/v23.0/1001/settings?include_sip_credentials=true",
        "/whatsapp_business/attachments/?mid=1&ext=2&hash=x",
        "/_emulator/received",
        "/_curfew/media/",
    ] {
        let reply = client.get(target).await;
        assert!(reply.reason().is_some(), "{target}: {}", reply.text());
        assert!(reply.status.is_client_error(), "{target}");
    }
    assert!(
        world
            .reached()
            .iter()
            .all(|call| call == "GET /v23.0/1240000000000017"),
        "{:?}",
        world.reached()
    );
}
