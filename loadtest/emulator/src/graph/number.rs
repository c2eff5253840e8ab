//! A phone number's node and edges.

use serde_json::{Map, Value, json};

use super::{Answer, Call, Done, GraphError, Verb, account, extras, media, messages, settings, success};
use crate::control::Shared;
use crate::options::State;
use crate::params;
use crate::world::{Number, World};

/// The fields that come unasked (Phone number node).
const DEFAULTS: [&str; 8] = [
    "verified_name",
    "code_verification_status",
    "display_phone_number",
    "quality_rating",
    "platform_type",
    "throughput",
    "last_onboarded_time",
    "webhook_configuration",
];

pub(crate) fn route(shared: &Shared, call: &mut Call, number: u64, edge: &[&str]) -> Answer {
    match (call.verb, edge) {
        (Verb::Post, ["messages"]) => messages::messages(shared, call, number),
        (Verb::Post, ["marketing_messages"]) => messages::marketing(shared, call, number),
        (Verb::Post, ["messages_encrypted"]) => messages::encrypted(shared, call, number),
        (Verb::Post, ["calls"]) => messages::calls(shared, call, number),
        (Verb::Post, ["media"]) => media::upload(shared, call, number),
        (Verb::Get, ["settings"]) => settings::call(shared, call, number, "read"),
        (Verb::Post, ["settings"]) => settings::call(shared, call, number, "settings"),
        (Verb::Post, ["register"]) => settings::call(shared, call, number, "register"),
        (Verb::Post, ["deregister"]) => settings::call(shared, call, number, "deregister"),
        (Verb::Post, ["request_code"]) => settings::call(shared, call, number, "request_code"),
        (Verb::Post, ["verify_code"]) => settings::call(shared, call, number, "verify_code"),
        (Verb::Get, []) => {
            let world = shared.world();
            let found = world
                .numbers
                .get(&number)
                .ok_or_else(|| GraphError::no_object("get", &number.to_string()))?;
            let node = json(&world, found);
            let expand = |name: &str, _| {
                let key = (number.to_string(), name.to_owned());
                (name == "whatsapp_business_profile").then(|| extras::rows(world.edges.get(&key)))
            };
            Ok(Done::Json(super::read_node(call, node, &DEFAULTS, expand)))
        }
        (Verb::Post, []) => write(shared, call, number),
        (Verb::Get | Verb::Post, ["groups"]) => extras::groups(shared, call, number),
        (_, ["block_users"]) => block_users(call),
        (Verb::Delete, ["contact_book"]) => success(),
        (Verb::Get, ["message_history"]) => Ok(Done::Json(json!({"data": []}))),
        (Verb::Get, ["call_permissions"]) => Ok(Done::Json(json!({
            "messaging_product": "whatsapp", "permission": {"status": "no_permission"}, "actions": [],
        }))),
        (_, [name]) if EDGES.contains(name) => extras::kept_edge(shared, call, &number.to_string(), name),
        (_, ["message_qrdls", code]) => {
            extras::kept_edge(shared, call, &number.to_string(), &format!("qrdl {code}"))
        }
        _ => Err(GraphError::no_object(call.verb.name(), &number.to_string())),
    }
}

/// Edges that keep what they are told and give it back.
const EDGES: [&str; 10] = [
    "whatsapp_business_profile",
    "message_qrdls",
    "conversational_automation",
    "whatsapp_commerce_settings",
    "whatsapp_business_encryption",
    "business_compliance_info",
    "official_business_account",
    "username",
    "username_suggestions",
    "smb_app_data",
];

/// All fields of a number's node.
pub(crate) fn json(world: &World, number: &Number) -> Value {
    let verified = if number.state >= State::Verified {
        "VERIFIED"
    } else {
        "NOT_VERIFIED"
    };
    let (platform, status) = if number.state == State::Registered {
        ("CLOUD_API", "CONNECTED")
    } else {
        ("NOT_APPLICABLE", "DISCONNECTED")
    };
    let level = if number.throughput > 80 {
        "HIGH"
    } else {
        "STANDARD"
    };
    let account = world
        .accounts
        .get(&number.waba)
        .and_then(|account| account.webhook.as_ref());
    let mut webhooks = Map::new();
    let known = [
        ("phone_number", &number.webhook.as_ref()),
        ("whatsapp_business_account", &account),
        ("application", &world.callback.as_ref()),
    ];
    for (name, url) in known {
        if let Some(url) = url {
            webhooks.insert(name.to_owned(), json!(url));
        }
    }
    json!({
        "verified_name": number.verified_name,
        "code_verification_status": verified,
        "display_phone_number": number.display,
        "quality_rating": "GREEN",
        "platform_type": platform,
        "throughput": {"level": level},
        "last_onboarded_time": "2026-01-01T00:00:00+0000",
        "webhook_configuration": webhooks,
        "status": status,
        "name_status": "APPROVED",
        "account_mode": "LIVE",
        "is_pin_enabled": number.pin.is_some(),
        "is_official_business_account": false,
        "whatsapp_business_manager_messaging_limit": "TIER_UNLIMITED",
        "messaging_limit_tier": "TIER_UNLIMITED",
        "country_dial_code": super::send::country(&number.display),
        "id": number.id.to_string(),
    })
}

/// `POST /{PNID}`: PIN, or the number's own webhook. The callback is not asked for its consent first: the facts do
/// not say what an unreachable one leads to, and a redirected webhook is what must not go unseen.
fn write(shared: &Shared, call: &mut Call, number: u64) -> Answer {
    params::unfold(&mut call.params);
    let mut world = shared.world();
    let found = world
        .numbers
        .get_mut(&number)
        .ok_or_else(|| GraphError::no_object("post", &number.to_string()))?;
    if let Some(pin) = params::text(&call.params, "pin") {
        if pin.len() != 6 || !pin.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(GraphError::invalid("Param pin must be 6 digits"));
        }
        found.pin = Some(pin);
        found.wrong_pins = 0;
    }
    if let Some(Value::Object(configuration)) = call.params.get("webhook_configuration") {
        found.webhook = account::override_url(configuration)?;
    }
    if let Some(name) = params::text(&call.params, "new_display_name") {
        found.verified_name = name;
    }
    success()
}

fn block_users(call: &mut Call) -> Answer {
    params::unfold(&mut call.params);
    let users = match (call.verb, call.params.get("block_users")) {
        (Verb::Get, _) => return Ok(Done::Json(json!({"data": []}))),
        (_, Some(Value::Array(users))) => users.clone(),
        _ => return Err(GraphError::required("block_users")),
    };
    let users: Vec<Value> = users
        .iter()
        .map(|user| {
            let input = user.get("user").and_then(params::scalar).unwrap_or_default();
            json!({"input": input, "wa_id": input.trim_start_matches('+')})
        })
        .collect();
    let key = if call.verb == Verb::Post {
        "added_users"
    } else {
        "removed_users"
    };
    Ok(Done::Json(
        json!({"messaging_product": "whatsapp", "block_users": {key: users}}),
    ))
}
