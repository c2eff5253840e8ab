//! Calls that are no number's or account's: tokens, `me`, the app and the business.

use serde_json::{Value, json};

use super::{Answer, Call, Done, GraphError, Verb, extras, success};
use crate::control::Shared;
use crate::params;

/// The system user behind every token.
const USER: u64 = 122_100_000_000_000_001;

const SCOPES: [&str; 3] = [
    "whatsapp_business_management",
    "whatsapp_business_messaging",
    "public_profile",
];

/// `GET /oauth/access_token`: the app's id and secret for a token.
pub(crate) fn access_token(shared: &Shared, call: &Call) -> Answer {
    let client = params::text(&call.params, "client_id");
    let secret = params::text(&call.params, "client_secret");
    if client != Some(shared.options.app_id.to_string())
        || secret.as_ref() != Some(&shared.options.app_secret)
    {
        return Err(GraphError::invalid("Error validating client secret."));
    }
    let token = format!("EAA{}", shared.ids.opaque(60));
    shared.world().tokens.insert(token.clone());
    Ok(Done::Json(
        json!({"access_token": token, "token_type": "bearer", "expires_in": 5_183_944}),
    ))
}

/// `GET /debug_token`.
pub(crate) fn debug_token(shared: &Shared, call: &Call) -> Answer {
    let token =
        params::text(&call.params, "input_token").ok_or_else(|| GraphError::required("input_token"))?;
    let valid = super::accepted(shared, &[token]).is_some();
    let accounts: Vec<String> = shared.world().accounts.keys().map(u64::to_string).collect();
    let granular: Vec<Value> = SCOPES
        .iter()
        .take(2)
        .map(|scope| json!({"scope": scope, "target_ids": accounts}))
        .collect();
    Ok(Done::Json(json!({"data": {
        "app_id": shared.options.app_id.to_string(),
        "type": "SYSTEM_USER",
        "application": "Emulated App",
        "expires_at": 0,
        "is_valid": valid,
        "scopes": SCOPES,
        "granular_scopes": granular,
        "user_id": USER.to_string(),
    }})))
}

/// `/me`: the system user that the token belongs to.
pub(crate) fn me(shared: &Shared, call: &Call, edge: &[&str]) -> Answer {
    match (call.verb, edge) {
        (Verb::Get, []) => {
            let node = json!({"name": "Emulated System User", "id": USER.to_string()});
            Ok(Done::Json(super::read_node(call, node, &[], |_, _| None)))
        }
        (Verb::Get, ["businesses"]) => {
            let business = shared.options.business_id.to_string();
            Ok(Done::Json(
                json!({"data": [{"id": business, "name": "Emulated Business"}]}),
            ))
        }
        (Verb::Get, ["accounts" | "permissions"]) => Ok(Done::Json(json!({"data": []}))),
        _ => Err(GraphError::no_object(call.verb.name(), "me")),
    }
}

/// `/{APP_ID}`, its uploads and its webhook subscription.
pub(crate) fn app(shared: &Shared, call: &mut Call, edge: &[&str]) -> Answer {
    match (call.verb, edge) {
        (Verb::Get, []) => {
            let node = json!({"name": "Emulated App", "id": shared.options.app_id.to_string()});
            Ok(Done::Json(super::read_node(call, node, &[], |_, _| None)))
        }
        (Verb::Post, ["uploads"]) => extras::start_upload(shared, call),
        (Verb::Get, ["subscriptions"]) => {
            let url = shared.world().callback.clone();
            let rows: Vec<Value> = url
                .into_iter()
                .map(|url| {
                    json!({"object": "whatsapp_business_account", "callback_url": url, "active": true,
                    "fields": [{"name": "messages", "version": "v25.0"}]})
                })
                .collect();
            Ok(Done::Json(json!({"data": rows})))
        }
        (Verb::Post, ["subscriptions"]) => {
            params::unfold(&mut call.params);
            let url = params::text(&call.params, "callback_url")
                .ok_or_else(|| GraphError::required("callback_url"))?;
            params::text(&call.params, "verify_token").ok_or_else(|| GraphError::required("verify_token"))?;
            shared.world().callback = Some(url);
            success()
        }
        _ => Err(GraphError::no_object(
            call.verb.name(),
            &shared.options.app_id.to_string(),
        )),
    }
}

/// `/{BUSINESS}` and its accounts.
pub(crate) fn business(shared: &Shared, call: &Call, edge: &[&str]) -> Answer {
    let business = shared.options.business_id.to_string();
    match (call.verb, edge) {
        (Verb::Get, []) => {
            let node = json!({"name": "Emulated Business", "id": business,
                "whatsapp_business_manager_messaging_limit": "TIER_UNLIMITED"});
            Ok(Done::Json(super::read_node(call, node, &[], |_, _| None)))
        }
        (Verb::Get, ["owned_whatsapp_business_accounts" | "client_whatsapp_business_accounts"]) => {
            let rows: Vec<Value> = shared
                .world()
                .accounts
                .keys()
                .map(|id| json!({"id": id.to_string(), "name": "Emulated Account"}))
                .collect();
            Ok(Done::Json(json!({"data": rows})))
        }
        (_, [name @ ("preverified_numbers" | "add_phone_numbers" | "extendedcredits")]) => {
            extras::kept_edge(shared, call, &business, name)
        }
        _ => Err(GraphError::no_object(call.verb.name(), &business)),
    }
}
