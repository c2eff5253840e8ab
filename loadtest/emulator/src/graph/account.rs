//! A WhatsApp Business Account's node and edges.

use serde_json::{Map, Value, json};

use super::{Answer, Call, Done, GraphError, Verb, extras, number, success, templates};
use crate::control::Shared;
use crate::options::{NumberOptions, State};
use crate::params::{self, Params};
use crate::world::World;

/// Characters of an override's URL (Webhooks, Overrides).
const URL_MAX: usize = 200;

const DEFAULTS: [&str; 4] = ["name", "timezone_id", "message_template_namespace", "currency"];

pub(crate) fn route(shared: &Shared, call: &mut Call, waba: u64, edge: &[&str]) -> Answer {
    let verb = call.verb.name();
    let missing = || GraphError::no_object(verb, &waba.to_string());
    match (call.verb, edge) {
        (Verb::Get, []) => {
            let node = node(&shared.world(), waba);
            let expand = |name: &str, limit| {
                let world = shared.world();
                match name {
                    "phone_numbers" => Some(numbers(&world, waba, limit)),
                    "message_templates" => Some(templates::rows(&world, waba, limit)),
                    "subscribed_apps" => Some(subscriptions(shared, &world, waba)),
                    _ => None,
                }
            };
            Ok(Done::Json(super::read_node(call, node, &DEFAULTS, expand)))
        }
        (Verb::Post, []) => {
            let mut world = shared.world();
            let account = world.accounts.get_mut(&waba).ok_or_else(missing)?;
            account.fields.extend(std::mem::take(&mut call.params));
            success()
        }
        (Verb::Get, ["phone_numbers"]) => {
            let rows = numbers(
                &shared.world(),
                waba,
                params::whole(&call.params, "limit").and_then(|n| n.try_into().ok()),
            );
            match params::text(&call.params, "fields") {
                Some(fields) => Ok(Done::Json(params::select(&rows, &params::fields(&fields)))),
                None => Ok(Done::Json(rows)),
            }
        }
        (Verb::Post, ["phone_numbers"]) => add_number(shared, call, waba),
        (_, ["subscribed_apps"]) => subscribed_apps(shared, call, waba),
        (_, ["message_templates"]) => templates::edge(shared, call, waba),
        (Verb::Post, ["upsert_message_templates"]) => templates::upsert(shared, call, waba),
        (Verb::Get | Verb::Post, ["flows"]) => extras::flows(shared, call, waba),
        (Verb::Get | Verb::Post, ["signups"]) => extras::signups(shared, call, waba),
        (_, [name]) if EDGES.contains(name) => extras::kept_edge(shared, call, &waba.to_string(), name),
        _ => Err(missing()),
    }
}

const EDGES: [&str; 15] = [
    "welcome_message_sequences",
    "assigned_users",
    "activities",
    "schedules",
    "solutions",
    "payment_configurations",
    "default_messaging_customer_base",
    "message_template_previews",
    "migrate_message_templates",
    "migrate_flows",
    "analytics",
    "conversation_analytics",
    "pricing_analytics",
    "template_analytics",
    "obo_mobility_intent",
];

fn node(world: &World, waba: u64) -> Value {
    let mut node = json!({
        "name": "Emulated Account",
        "timezone_id": "1",
        "currency": "EUR",
        "message_template_namespace": "5d1f0f6e_0c53_4a6b_9c1e_emulated",
        "account_review_status": "APPROVED",
        "country": "DE",
        "ownership_type": "SELF",
        "whatsapp_business_manager_messaging_limit": "TIER_UNLIMITED",
        "id": waba.to_string(),
    });
    if let (Value::Object(node), Some(account)) = (&mut node, world.accounts.get(&waba)) {
        node.extend(account.fields.clone());
    }
    node
}

fn numbers(world: &World, waba: u64, limit: Option<usize>) -> Value {
    let rows: Vec<Value> = world
        .numbers
        .values()
        .filter(|number| number.waba == waba)
        .take(limit.unwrap_or(usize::MAX))
        .map(|found| number::json(world, found))
        .collect();
    json!({"data": rows})
}

fn add_number(shared: &Shared, call: &Call, waba: u64) -> Answer {
    let country = params::text(&call.params, "cc").ok_or_else(|| GraphError::required("cc"))?;
    let local =
        params::text(&call.params, "phone_number").ok_or_else(|| GraphError::required("phone_number"))?;
    let id = shared.ids.node();
    let mut options = NumberOptions::new(id).state(State::Unverified);
    options.waba_id = waba;
    options.display_phone_number = format!("+{country} {local}");
    if let Some(name) = params::text(&call.params, "verified_name") {
        options.verified_name = name;
    }
    shared.world().add_number(&options);
    Ok(Done::Json(json!({"id": id.to_string()})))
}

/// Subscribing without a body clears an override, as Meta does.
fn subscribed_apps(shared: &Shared, call: &mut Call, waba: u64) -> Answer {
    let mut world = shared.world();
    if call.verb == Verb::Get {
        let rows = subscriptions(shared, &world, waba);
        return Ok(Done::Json(rows));
    }
    let account = world
        .accounts
        .get_mut(&waba)
        .ok_or_else(|| GraphError::no_object("post", &waba.to_string()))?;
    account.subscribed = call.verb == Verb::Post;
    account.webhook = if account.subscribed {
        override_url(&call.params)?
    } else {
        None
    };
    success()
}

fn subscriptions(shared: &Shared, world: &World, waba: u64) -> Value {
    let Some(account) = world.accounts.get(&waba).filter(|account| account.subscribed) else {
        return json!({"data": []});
    };
    let app = json!({"link": "https://www.facebook.com/games/?app_id=emulated", "name": "Emulated App",
        "id": shared.options.app_id.to_string()});
    let mut row = Map::new();
    row.insert("whatsapp_business_api_data".to_owned(), app);
    if let Some(url) = &account.webhook {
        row.insert("override_callback_uri".to_owned(), json!(url));
    }
    json!({"data": [row]})
}

/// The callback that an override names; none where it is empty or absent.
pub(crate) fn override_url(params: &Params) -> Result<Option<String>, GraphError> {
    let Some(url) = params::text(params, "override_callback_uri").filter(|url| !url.is_empty()) else {
        return Ok(None);
    };
    if url.len() > URL_MAX {
        return Err(GraphError::invalid(format!(
            "override_callback_uri must be at most {URL_MAX} characters long"
        )));
    }
    params::text(params, "verify_token").ok_or_else(|| GraphError::required("verify_token"))?;
    Ok(Some(url))
}
