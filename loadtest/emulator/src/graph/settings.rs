//! A number's way to sending: request and verify a code, choose storage, register, deregister.
//!
//! Storage can be chosen by two doors: `settings` (v21 and newer) and parameters of `register`. Meta's 2026 page
//! still shows the latter with v25, so it works in every version here; `settings` with a storage object works from
//! v21 on. What the pages leave open:
//! - A v20− registration that names no storage ends with default storage, whatever `settings` said before.
//! - Deregistering switches No Storage off too: else nothing could ("deregister, then register again without").
//! - `DEFAULT`, and the reference's `enabled` and `region`, are taken as they read, so that a gateway which lets
//!   them through is found out.
//! - A storage change on a registered number is refused with code 100.

use serde_json::{Map, Value, json};

use super::{Answer, Call, Done, GraphError, success};
use crate::control::Shared;
use crate::options::{State, Storage};
use crate::params::{self, Params};
use crate::record::SettingsCall;
use crate::world::Number;

/// The objects of `POST settings`; one a call.
const FEATURES: [&str; 4] = [
    "storage_configuration",
    "calling",
    "user_identity_change",
    "payload_encryption",
];
/// Wrong PINs before no more are looked at. Meta names no count; this one is the emulator's.
const WRONG_PINS: u32 = 5;
/// The newest version of the older registration.
const OLDER: u16 = 20;

/// Runs one of the calls and writes it down with its outcome.
pub(crate) fn call(shared: &Shared, call: &mut Call, number: u64, name: &'static str) -> Answer {
    params::unfold(&mut call.params);
    let outcome = match name {
        "read" => read(shared, number),
        "settings" => write(shared, call, number),
        "register" => register(shared, call, number),
        "deregister" => deregister(shared, number),
        "request_code" => request_code(shared, call, number),
        _ => verify_code(shared, call, number),
    };
    let refused = outcome.as_ref().err().map(|error| error.code);
    let params = Value::Object(std::mem::take(&mut call.params));
    shared.world().settings_calls.push(SettingsCall {
        phone_number_id: number,
        call: name,
        params,
        refused,
    });
    shared.record.changed.notify_waiters();
    outcome
}

fn with<T>(
    shared: &Shared,
    number: u64,
    change: impl FnOnce(&mut Number) -> Result<T, GraphError>,
) -> Result<T, GraphError> {
    let mut world = shared.world();
    match world.numbers.get_mut(&number) {
        Some(number) => change(number),
        None => Err(GraphError::no_object("post", &number.to_string())),
    }
}

fn read(shared: &Shared, number: u64) -> Answer {
    let (storage, features) = with(shared, number, |number| {
        Ok((number.storage.clone(), number.features.clone()))
    })?;
    let mut reply = Map::new();
    reply.insert(
        "storage_configuration".to_owned(),
        storage_json(&storage, shared.options.lower_case_status),
    );
    reply.insert(
        "calling".to_owned(),
        json!({
            "status": "DISABLED",
            "call_icon_visibility": "DEFAULT",
            "ip_addresses": {"default": []},
            "callback_permission_status": "DISABLED",
        }),
    );
    reply.extend(features);
    Ok(Done::Json(Value::Object(reply)))
}

pub(crate) fn storage_json(storage: &Storage, lower_case: bool) -> Value {
    let status = |status: &str| {
        if lower_case {
            status.to_ascii_lowercase()
        } else {
            status.to_owned()
        }
    };
    match storage {
        Storage::Default => json!({"status": status("DEFAULT")}),
        Storage::NoStorage => json!({"status": status("NO_STORAGE_ENABLED"), "retention_minutes": 60}),
        Storage::InCountry(region) => {
            json!({"status": status("IN_COUNTRY_STORAGE_ENABLED"), "data_localization_region": region})
        }
    }
}

fn write(shared: &Shared, call: &Call, number: u64) -> Answer {
    let mut named = FEATURES
        .iter()
        .filter_map(|name| call.params.get(*name).map(|value| (*name, value)));
    let (name, value) = named
        .next()
        .ok_or_else(|| GraphError::required("storage_configuration"))?;
    if named.next().is_some() {
        return Err(GraphError::invalid(
            "Only one feature can be configured in a request",
        ));
    }
    let wanted = value
        .as_object()
        .ok_or_else(|| GraphError::invalid(format!("Param {name} must be an object")))?;
    let generation = call.generation(shared);
    with(shared, number, |number| {
        if name != "storage_configuration" {
            number.features.insert(name.to_owned(), value.clone());
            return Ok(());
        }
        if generation <= OLDER {
            return Err(GraphError::invalid("storage_configuration needs v21.0 or newer"));
        }
        let storage = configured(wanted)?;
        if number.state == State::Registered {
            return Err(GraphError::invalid(
                "Storage can only be configured while the number is not registered",
            ));
        }
        number.storage = storage;
        Ok(())
    })?;
    success()
}

/// What a `storage_configuration` asks for.
fn configured(wanted: &Map<String, Value>) -> Result<Storage, GraphError> {
    let region = || {
        let region =
            params::text(wanted, "data_localization_region").or_else(|| params::text(wanted, "region"));
        local(&region.ok_or_else(|| GraphError::required("data_localization_region"))?)
    };
    let Some(status) = params::text(wanted, "status") else {
        return match params::text(wanted, "enabled").as_deref() {
            Some("true") => region(),
            Some("false") => Ok(Storage::Default),
            _ => Err(GraphError::required("status")),
        };
    };
    match status.trim().to_ascii_uppercase().as_str() {
        "IN_COUNTRY_STORAGE_ENABLED" => region(),
        "IN_COUNTRY_STORAGE_DISABLED" | "DEFAULT" => Ok(Storage::Default),
        "NO_STORAGE_ENABLED" => retention(wanted, "retention_minutes"),
        other => Err(GraphError::new(
            131_009,
            format!("Unknown storage status {other}"),
        )),
    }
}

fn local(region: &str) -> Result<Storage, GraphError> {
    Storage::in_country(region).map_err(|error| GraphError::new(131_009, error.to_string()))
}

/// Sixty minutes is all that there is (No Storage).
fn retention(params: &Params, key: &str) -> Result<Storage, GraphError> {
    if params::whole(params, key) == Some(60) {
        Ok(Storage::NoStorage)
    } else {
        Err(GraphError::new(131_009, format!("{key} must be 60")))
    }
}

fn register(shared: &Shared, call: &Call, number: u64) -> Answer {
    let params = &call.params;
    let now_ms = shared.clock.now_ms();
    let generation = call.generation(shared);
    with(shared, number, |number| {
        if !number.registers.count(now_ms) {
            return Err(GraphError::new(
                133_016,
                "More than 10 registrations of this number in 72 hours",
            ));
        }
        if params::text(params, "messaging_product").as_deref() != Some("whatsapp") {
            return Err(GraphError::required("messaging_product"));
        }
        let pin = params::text(params, "pin").ok_or_else(|| GraphError::required("pin"))?;
        if pin.len() != 6 || !pin.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(GraphError::invalid("Param pin must be 6 digits"));
        }
        if number.state < State::Verified {
            return Err(GraphError::new(
                133_006,
                "Verify the phone number before registering it",
            ));
        }
        check_pin(number, &pin)?;
        let region = params::text(params, "data_localization_region");
        let minutes = params.contains_key("meta_store_retention_minutes");
        let asked = match (region, minutes) {
            (Some(_), true) => {
                let message = "meta_store_retention_minutes and data_localization_region exclude each other";
                return Err(GraphError::invalid(message));
            }
            (Some(region), false) => Some(local(&region)?),
            (None, true) => Some(retention(params, "meta_store_retention_minutes")?),
            (None, false) => None,
        };
        let registered = number.state == State::Registered;
        let storage = match asked {
            Some(asked) if registered && asked != number.storage => {
                return Err(GraphError::invalid(
                    "Deregister the number before its storage is changed",
                ));
            }
            Some(asked) => asked,
            None if !registered && generation <= OLDER => Storage::Default,
            None => number.storage.clone(),
        };
        if let Some(expected) = &number.expected_region
            && storage != Storage::InCountry(expected.clone())
        {
            return Err(GraphError::invalid(format!(
                "Expected data localization region: '{expected}'"
            )));
        }
        number.storage = storage;
        number.pin = Some(pin);
        number.state = State::Registered;
        Ok(())
    })?;
    success()
}

fn check_pin(number: &mut Number, pin: &str) -> Result<(), GraphError> {
    if number.wrong_pins >= WRONG_PINS {
        return Err(GraphError::new(133_008, "Too many wrong PINs; wait 12 hours"));
    }
    match &number.pin {
        Some(right) if right != pin => {
            number.wrong_pins += 1;
            Err(GraphError::new(133_005, "The two-step verification PIN is wrong"))
        }
        _ => {
            number.wrong_pins = 0;
            Ok(())
        }
    }
}

fn deregister(shared: &Shared, number: u64) -> Answer {
    let now_ms = shared.clock.now_ms();
    with(shared, number, |number| {
        if !number.deregisters.count(now_ms) {
            return Err(GraphError::new(
                133_016,
                "More than 10 deregistrations of this number in 72 hours",
            ));
        }
        if number.state != State::Registered {
            return Err(GraphError::new(133_010, "The number is not registered"));
        }
        number.state = State::Verified;
        number.storage = Storage::Default;
        Ok(())
    })?;
    success()
}

fn request_code(shared: &Shared, call: &Call, number: u64) -> Answer {
    let method =
        params::text(&call.params, "code_method").ok_or_else(|| GraphError::required("code_method"))?;
    if !matches!(method.to_ascii_uppercase().as_str(), "SMS" | "VOICE") {
        return Err(GraphError::invalid(
            "Param code_method must be one of {SMS, VOICE}",
        ));
    }
    params::text(&call.params, "language").ok_or_else(|| GraphError::required("language"))?;
    with(shared, number, |number| {
        if number.state >= State::Verified {
            return Err(GraphError::new(136_024, "The phone number is verified already"));
        }
        number.state = State::CodeRequested;
        number.code = Some(shared.ids.code());
        Ok(())
    })?;
    success()
}

fn verify_code(shared: &Shared, call: &Call, number: u64) -> Answer {
    let code = params::text(&call.params, "code").ok_or_else(|| GraphError::required("code"))?;
    let code: String = code.chars().filter(char::is_ascii_digit).collect();
    with(shared, number, |number| match number.state {
        State::Verified | State::Registered => {
            Err(GraphError::new(136_024, "The phone number is verified already"))
        }
        State::CodeRequested if number.code.as_deref() == Some(&code) => {
            number.state = State::Verified;
            number.code = None;
            Ok(())
        }
        State::CodeRequested => Err(GraphError::invalid("The verification code is wrong")),
        State::Unverified => Err(GraphError::new(133_006, "Request a code first")),
    })?;
    success()
}
