//! `batch`: up to fifty calls in one, with references to each other's results (Graph API, Batch requests).

use serde_json::{Map, Value, json};

use super::{Answer, Call, Done, GraphError, Verb};
use crate::control::Shared;
use crate::params::{self, Params, Target};
use crate::record::Via;
use crate::reply::Reply;

const MOST: usize = 50;

pub(crate) fn run(shared: &Shared, call: &mut Call) -> Answer {
    params::unfold(&mut call.params);
    let Some(Value::Array(operations)) = call.params.remove("batch") else {
        return Err(GraphError::invalid("batch parameter must be a JSON array"));
    };
    if operations.is_empty() || operations.len() > MOST {
        return Err(GraphError::invalid(format!("batch takes 1 to {MOST} operations")));
    }
    if super::accepted(shared, &call.tokens).is_none()
        && operations.iter().all(|op| op.get("access_token").is_none())
    {
        return Err(GraphError::token(
            "A batch request must include a fallback access token",
        ));
    }
    let headers = params::text(&call.params, "include_headers").is_none_or(|flag| flag != "false");
    let mut results = Map::new();
    let mut rows = Vec::with_capacity(operations.len());
    for operation in &operations {
        let (reply, version) = one(shared, call, operation, &results);
        let body = match reply.body {
            crate::reply::Payload::Bytes(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            crate::reply::Payload::Zeros(_) => String::new(),
        };
        let succeeded = reply.status.is_success();
        let mut row = Map::new();
        row.insert("code".to_owned(), json!(reply.status.as_u16()));
        if headers {
            let content_type = reply.content_type.to_str().unwrap_or_default();
            row.insert(
                "headers".to_owned(),
                json!([
                    {"name": "facebook-api-version", "value": format!("v{version}.0")},
                    {"name": "Content-Type", "value": content_type},
                ]),
            );
        }
        row.insert("body".to_owned(), json!(body));
        let name = operation.get("name").and_then(Value::as_str);
        if let Some(name) = name {
            results.insert(
                name.to_owned(),
                serde_json::from_str(&body).unwrap_or(Value::Null),
            );
        }
        // A named operation is there for others: its own success is left out unless asked for.
        let omit = operation.get("omit_response_on_success").and_then(params::scalar);
        let omitted = succeeded && omit.map_or(name.is_some(), |flag| flag == "true");
        rows.push(if omitted { Value::Null } else { Value::Object(row) });
    }
    Ok(Done::Json(Value::Array(rows)))
}

fn one(shared: &Shared, outer: &Call, operation: &Value, results: &Map<String, Value>) -> (Reply, u16) {
    let text = |key: &str| {
        let text = operation.get(key).and_then(params::scalar).unwrap_or_default();
        substitute(&text, results)
    };
    let relative = text("relative_url");
    let relative = relative.split_once("://").map_or(relative.as_str(), |(_, rest)| {
        rest.split_once('/').map_or("", |(_, path)| path)
    });
    let (path, query) = relative.split_once('?').unwrap_or((relative, ""));
    let target = Target::parse(path);
    let mut params = Params::new();
    params::read_pairs(query, &mut params);
    match operation.get("body") {
        Some(Value::Object(body)) => params.extend(body.clone()),
        Some(_) => params::read_pairs(&text("body"), &mut params),
        None => {}
    }
    params::unfold(&mut params);
    let mut tokens: Vec<String> = ["access_token"]
        .iter()
        .filter_map(|key| params::text(&params, key))
        .collect();
    params.remove("access_token");
    tokens.extend(operation.get("access_token").and_then(params::scalar));
    tokens.extend(outer.tokens.iter().cloned());
    let verb = Verb::parse(&text("method")).unwrap_or(Verb::Get);
    let mut call = outer.inner(verb, target.segments, params, Via::Batch);
    call.version = target.version.or(outer.version);
    call.tokens = tokens;
    // A batch in a batch is not.
    call.params.remove("batch");
    let attached = text("attached_files");
    for name in attached.split(',').map(str::trim) {
        if let Some(file) = outer.files.iter().find(|file| file.name == name) {
            let mut file = file.clone();
            file.name = "file".to_owned();
            call.files.push(file);
        }
    }
    let version = call.generation(shared);
    (super::reply(shared, call, shared.ids.reply()), version)
}

/// Puts results in: `{result=name:$.path}`, a small JSONPath of names, `[n]` and `*`.
fn substitute(text: &str, results: &Map<String, Value>) -> String {
    let mut done = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("{result=") {
        done.push_str(before);
        let Some((reference, tail)) = after.split_once('}') else {
            done.push_str("{result=");
            rest = after;
            continue;
        };
        let (name, path) = reference.split_once(':').unwrap_or((reference, "$"));
        let found = results
            .get(name)
            .map(|result| look_up(result, path))
            .unwrap_or_default();
        done.push_str(&found.join(","));
        rest = tail;
    }
    done.push_str(rest);
    done
}

fn look_up(value: &Value, path: &str) -> Vec<String> {
    let mut found = vec![value];
    let steps = path.trim_start_matches('$').replace('[', ".").replace(']', "");
    for step in steps.split('.').filter(|step| !step.is_empty()) {
        found = found
            .into_iter()
            .flat_map(|value| match (value, step) {
                (Value::Array(rows), "*") => rows.iter().collect(),
                (Value::Object(object), "*") => object.values().collect(),
                (Value::Array(rows), index) => index
                    .parse::<usize>()
                    .ok()
                    .and_then(|index| rows.get(index))
                    .into_iter()
                    .collect::<Vec<_>>(),
                (Value::Object(object), name) => object.get(name).into_iter().collect(),
                _ => Vec::new(),
            })
            .collect();
    }
    found.into_iter().filter_map(params::scalar).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_put_in() {
        let results = json!({"up": {"id": "7", "data": [{"id": 1}, {"id": 2}]}});
        let results = results.as_object().unwrap();
        assert_eq!(
            substitute("x={result=up:$.id}&y={result=up:$.data.*.id}", results),
            "x=7&y=1,2"
        );
        assert_eq!(
            substitute("{result=up:$.data[1].id}{result=no:$.id}{", results),
            "2{"
        );
    }
}
