//! Message templates: kept, listed page by page, read, changed, deleted. All are approved at once.

use serde_json::{Map, Value, json};

use super::{Answer, Call, Done, GraphError, Verb, success};
use crate::control::Shared;
use crate::params::{self, Params};
use crate::reply::served;
use crate::world::{Template, World};

/// Rows of a page, if none is asked for.
const PAGE: usize = 25;

/// How many templates an account may have until its portfolio is verified (Templates, "Template limits").
const TEMPLATE_LIMIT: u32 = 250;

pub(crate) fn edge(shared: &Shared, call: &mut Call, waba: u64) -> Answer {
    match call.verb {
        Verb::Get => list(shared, call, waba),
        Verb::Post => {
            params::unfold(&mut call.params);
            let (id, fields) = new(shared, &call.params)?;
            let reply =
                json!({"id": id.to_string(), "status": "APPROVED", "category": fields.get("category")});
            shared.world().templates.insert(id, Template { waba, fields });
            Ok(Done::Json(reply))
        }
        Verb::Delete => {
            let name = params::text(&call.params, "name").ok_or_else(|| GraphError::required("name"))?;
            let id = params::whole(&call.params, "hsm_id");
            let mut world = shared.world();
            let before = world.templates.len();
            world.templates.retain(|&key, template| {
                template.waba != waba || template.text("name") != name || id.is_some_and(|id| id != key)
            });
            if world.templates.len() == before {
                return Err(GraphError::invalid("Message template not found"));
            }
            success()
        }
    }
}

fn new(shared: &Shared, params: &Params) -> Result<(u64, Map<String, Value>), GraphError> {
    let id = shared.ids.node();
    let mut fields = Map::new();
    for key in ["name", "language", "category"] {
        let text = params::text(params, key).ok_or_else(|| GraphError::required(key))?;
        fields.insert(key.to_owned(), json!(text));
    }
    fields.insert(
        "components".to_owned(),
        params.get("components").cloned().unwrap_or_else(|| json!([])),
    );
    let format = params::text(params, "parameter_format").unwrap_or_else(|| "POSITIONAL".to_owned());
    fields.insert("parameter_format".to_owned(), json!(format.to_ascii_uppercase()));
    fields.insert("status".to_owned(), json!("APPROVED"));
    fields.insert("id".to_owned(), json!(id.to_string()));
    Ok((id, fields))
}

/// `upsert_message_templates`: one template for each of `languages`.
pub(crate) fn upsert(shared: &Shared, call: &mut Call, waba: u64) -> Answer {
    params::unfold(&mut call.params);
    let languages = match call.params.get("languages") {
        Some(Value::Array(languages)) => languages.clone(),
        Some(Value::String(text)) => serde_json::from_str(text).unwrap_or_default(),
        _ => return Err(GraphError::required("languages")),
    };
    let mut rows = Vec::new();
    for language in languages {
        let mut params = call.params.clone();
        params.insert("language".to_owned(), language.clone());
        let (id, fields) = new(shared, &params)?;
        let mut world = shared.world();
        let old = world.templates.iter().find(|(_, template)| {
            template.waba == waba
                && template.fields.get("name") == fields.get("name")
                && template.fields.get("language") == fields.get("language")
        });
        let id = old.map_or(id, |(&id, _)| id);
        rows.push(json!({"id": id.to_string(), "status": "APPROVED", "language": language}));
        world.templates.insert(id, Template { waba, fields });
    }
    Ok(Done::Json(json!({"data": rows})))
}

/// Without paging, as an expanded field shows them.
pub(crate) fn rows(world: &World, waba: u64, limit: Option<usize>) -> Value {
    let rows: Vec<_> = of(world, waba)
        .take(limit.unwrap_or(PAGE))
        .map(|(_, fields)| fields)
        .collect();
    json!({"data": rows})
}

fn of(world: &World, waba: u64) -> impl Iterator<Item = (u64, Value)> {
    world
        .templates
        .iter()
        .filter(move |(_, template)| template.waba == waba)
        .map(|(&id, template)| (id, Value::Object(template.fields.clone())))
}

/// One page. `paging.next` and `previous` are whole URLs with the caller's token in them, as Meta's are.
fn list(shared: &Shared, call: &Call, waba: u64) -> Answer {
    let limit = params::whole(&call.params, "limit").and_then(|limit| limit.try_into().ok());
    let limit = limit.unwrap_or(PAGE).clamp(1, 1_000);
    let mut rows: Vec<(u64, Value)> = of(&shared.world(), waba)
        .filter(|(_, fields)| {
            ["name", "language", "category", "status"].iter().all(|key| {
                let wanted = params::text(&call.params, key);
                wanted.is_none_or(|wanted| fields.get(*key).and_then(Value::as_str) == Some(&wanted))
            })
        })
        .collect();
    let cursor = |key: &str| params::whole(&call.params, key);
    let start = match (cursor("after"), cursor("before")) {
        (Some(after), _) => rows.partition_point(|&(id, _)| id <= after),
        (None, Some(before)) => rows.partition_point(|&(id, _)| id < before).saturating_sub(limit),
        (None, None) => 0,
    };
    let total = rows.len();
    let more = total > start + limit;
    let page: Vec<(u64, Value)> = rows.drain(start.min(rows.len())..).take(limit).collect();
    let mut paging = Map::new();
    if let (Some((first, _)), Some((last, _))) = (page.first(), page.last()) {
        let version = served(call.version, shared.options.app_version);
        let token = params::percent_encode(call.token());
        let echoed = ["fields", "summary"].map(|name| {
            params::text(&call.params, name).map_or(String::new(), |value| {
                format!("&{name}={}", params::percent_encode(&value))
            })
        });
        let [fields, summary] = echoed;
        let link = |key: &str, id: &u64| {
            let base = &shared.base_url;
            json!(format!(
                "{base}/v{version}.0/{waba}/message_templates?access_token={token}&pretty=0&limit={limit}{fields}{summary}&{key}={id}"
            ))
        };
        paging.insert(
            "cursors".to_owned(),
            json!({"before": first.to_string(), "after": last.to_string()}),
        );
        if more {
            paging.insert("next".to_owned(), link("after", last));
        }
        if start > 0 {
            paging.insert("previous".to_owned(), link("before", first));
        }
    }
    let data = Value::Array(page.into_iter().map(|(_, fields)| fields).collect());
    let data = match params::text(&call.params, "fields") {
        Some(fields) => params::select(&data, &params::fields(&fields)),
        None => data,
    };
    let mut reply = json!({"data": data, "paging": paging});
    if let (Some(summary), Value::Object(reply)) = (params::text(&call.params, "summary"), &mut reply) {
        reply.insert("summary".to_owned(), figures(&summary, total));
    }
    Ok(Done::Json(reply))
}

/// What `summary` asks for of a list of `total` templates.
fn figures(summary: &str, total: usize) -> Value {
    let known = json!({
        "total_count": total,
        "message_template_count": total,
        "message_template_limit": TEMPLATE_LIMIT,
        "are_translations_complete": true,
    });
    params::select(&known, &params::fields(summary))
}

/// `/{TEMPLATE}` and its `compare` and `unpause`.
pub(crate) fn node(shared: &Shared, call: &mut Call, id: u64, edge: &[&str]) -> Answer {
    params::unfold(&mut call.params);
    let verb = call.verb.name();
    let missing = || GraphError::no_object(verb, &id.to_string());
    let mut world = shared.world();
    let template = world.templates.get_mut(&id).ok_or_else(missing)?;
    match (call.verb, edge) {
        (Verb::Get, []) => {
            let node = Value::Object(template.fields.clone());
            drop(world);
            Ok(Done::Json(super::read_node(call, node, &[], |_, _| None)))
        }
        (Verb::Post, []) => {
            for key in ["components", "category"] {
                if let Some(value) = call.params.get(key) {
                    template.fields.insert(key.to_owned(), value.clone());
                }
            }
            success()
        }
        (Verb::Delete, []) => {
            world.templates.remove(&id);
            success()
        }
        (Verb::Get, ["compare"]) => Ok(Done::Json(json!({"data": []}))),
        (Verb::Post, ["unpause"]) => success(),
        _ => Err(missing()),
    }
}
