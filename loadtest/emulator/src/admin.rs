//! `/_emulator/…`: the same handles over HTTP. See the crate's documentation for the list.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{Method, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::control::{Emulator, Shared};
use crate::fault::Fault;
use crate::options::{State, Storage};
use crate::reply::Reply;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct InboundText {
    phone_number_id: u64,
    from: String,
    body: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct InboundMedia {
    phone_number_id: u64,
    mime_type: String,
    data_base64: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SetStorage {
    phone_number_id: u64,
    storage: Storage,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SetState {
    phone_number_id: u64,
    state: State,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fail {
    wamid: String,
    code: i64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SetCallback {
    url: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Advance {
    minutes: u64,
}

/// Answers one request; `path` is what follows `/_emulator/`.
pub(crate) fn serve(shared: &std::sync::Arc<Shared>, method: &Method, path: &str, body: &[u8]) -> Reply {
    let emulator = Emulator::handle(shared);
    match answer(&emulator, method, path, body) {
        Ok(body) => Reply::json(StatusCode::OK, &body),
        Err((status, problem)) => Reply::json(status, &json!({ "error": problem })),
    }
}

type Problem = (StatusCode, String);

fn answer(emulator: &Emulator, method: &Method, path: &str, body: &[u8]) -> Result<Value, Problem> {
    let done = json!({"success": true});
    match (method.as_str(), path) {
        ("GET", "health") => Ok(json!({"base_url": emulator.base_url(), "now": emulator.now()})),
        ("GET", "received") => Ok(Value::Array(
            emulator
                .received()
                .iter()
                .map(crate::record::Received::to_json)
                .collect(),
        )),
        ("GET", "sent") => Ok(json!(emulator.sent())),
        ("GET", "media") => Ok(json!({"media": emulator.media(), "bytes_kept": emulator.media_bytes_kept()})),
        ("GET", "other_content") => Ok(json!(emulator.other_content())),
        ("GET", "settings_calls") => Ok(json!(emulator.settings_calls())),
        ("GET", "webhooks") => Ok(json!(emulator.webhooks())),
        ("GET", "numbers") => Ok(json!(emulator.numbers())),
        ("GET", "faults") => Ok(json!(emulator.faults())),
        ("DELETE", "record") => {
            emulator.clear_record();
            Ok(done)
        }
        ("DELETE", "faults") => {
            emulator.clear_faults();
            Ok(done)
        }
        ("POST", "faults") => {
            emulator.fault(parse::<Fault>(body)?);
            Ok(done)
        }
        ("POST", "inbound_text") => {
            let asked: InboundText = parse(body)?;
            Ok(json!({"id": emulator.inbound_text(asked.phone_number_id, &asked.from, &asked.body)}))
        }
        ("POST", "receive_media") => {
            let asked: InboundMedia = parse(body)?;
            let data = STANDARD.decode(asked.data_base64).map_err(|error| bad(&error))?;
            let id = emulator.receive_media(asked.phone_number_id, &asked.mime_type, Bytes::from(data));
            Ok(json!({"id": id.to_string()}))
        }
        ("POST", "storage") => {
            let asked: SetStorage = parse(body)?;
            emulator.set_storage(asked.phone_number_id, asked.storage);
            Ok(done)
        }
        ("POST", "state") => {
            let asked: SetState = parse(body)?;
            emulator.set_state(asked.phone_number_id, asked.state);
            Ok(done)
        }
        ("POST", "fail") => {
            let asked: Fail = parse(body)?;
            Ok(json!({"success": emulator.fail_message(&asked.wamid, asked.code)}))
        }
        ("POST", "callback") => {
            let asked: SetCallback = parse(body)?;
            if asked
                .url
                .as_deref()
                .is_some_and(|url| !url.starts_with("http://"))
            {
                return Err((
                    StatusCode::BAD_REQUEST,
                    "only http:// addresses are delivered to".to_owned(),
                ));
            }
            emulator.set_callback(asked.url);
            Ok(done)
        }
        ("POST", "advance") => {
            emulator.advance(parse::<Advance>(body)?.minutes);
            Ok(json!({"now": emulator.now()}))
        }
        _ => Err((StatusCode::NOT_FOUND, format!("no {method} /_emulator/{path}"))),
    }
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    serde_json::from_slice(body).map_err(|error| bad(&error))
}

fn bad(error: &dyn std::fmt::Display) -> Problem {
    (StatusCode::BAD_REQUEST, error.to_string())
}
