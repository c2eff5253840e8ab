//! One `[[caller]]`.

use std::collections::HashMap;
use std::num::NonZeroU32;

use super::reader::{Section, Value};
use crate::host::is_host_name;
use crate::id::PhoneNumberId;
use crate::operation::{OperationClass, shown};
use crate::policy::{CallerPolicy, Credential};

pub(super) const KEYS: &[&str] = &[
    "name",
    "key_sha256",
    "tls_san",
    "numbers",
    "may",
    "weight",
    "repeat_window_s",
];

const CLASSES: [(&str, OperationClass); 5] = [
    ("send", OperationClass::Send),
    ("media", OperationClass::Media),
    ("read", OperationClass::Read),
    ("storage", OperationClass::Storage),
    ("manage", OperationClass::Manage),
];

/// The heaviest caller. Beyond a hundredfold a share says nothing that a number of its own would not say better.
const MOST_WEIGHT: u32 = 100;

/// The longest window in seconds: an hour. What repeats itself later is meant, or has a key.
const MOST_REPEAT_WINDOW_S: u32 = 3_600;

/// What callers before had, with the line of each: two callers that look alike could not be told apart.
#[derive(Default)]
pub(super) struct Seen {
    names: HashMap<String, usize>,
    credentials: Vec<(Credential, usize)>,
}

/// Reads one caller; `declared` has the numbers that there are.
pub(super) fn read(
    section: &Section<'_>,
    declared: &HashMap<PhoneNumberId, usize>,
    seen: &mut Seen,
) -> Option<CallerPolicy> {
    let name = section
        .required("name", "\"billing\"")
        .and_then(|value| read_name(&value, &mut seen.names));
    let credential = read_credential(section, &mut seen.credentials);
    let numbers = section
        .required("numbers", "[\"106540352242922\"]")
        .and_then(|value| read_numbers(&value, declared, "a caller without numbers can do nothing"));
    let may = section
        .required("may", "[\"send\", \"media\"]")
        .and_then(|value| {
            if value.is_empty_array() {
                value.add(format!(
                    "must list at least one of {}",
                    CLASSES.map(|(word, _)| word).join(", ")
                ));
            }
            value.distinct(|item| item.word(&CLASSES))
        });
    let weight = section.integer_or("weight", 1..=MOST_WEIGHT, "times the share of weight 1", 1);
    let repeat_window_s = section
        .value("repeat_window_s")
        .and_then(|value| value.integer(1..=MOST_REPEAT_WINDOW_S, "seconds"))
        .and_then(NonZeroU32::new);
    Some(CallerPolicy {
        name: name?,
        credential: credential?,
        numbers: numbers?,
        may: may?,
        weight: NonZeroU32::new(weight)?,
        repeat_window_s,
    })
}

fn read_name(value: &Value<'_>, names: &mut HashMap<String, usize>) -> Option<String> {
    let name = value.string("\"billing\"")?;
    let is_name = (1..=64).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte));
    if !is_name {
        value.add(format!(
            "must be 1 to 64 characters A to Z, a to z, 0 to 9, _, . and -; is {:?}",
            shown(name)
        ));
        return None;
    }
    match names.get(name) {
        Some(line) => value.add(format!(
            "{name:?} is the name of the caller in line {line} already"
        )),
        None => {
            names.insert(name.to_owned(), value.line());
        }
    }
    Some(name.to_owned())
}

fn read_credential(section: &Section<'_>, seen: &mut Vec<(Credential, usize)>) -> Option<Credential> {
    let (value, credential) = match (section.value("key_sha256"), section.value("tls_san")) {
        (Some(value), None) => {
            let credential = read_key_sha256(&value).map(Credential::KeySha256);
            (value, credential)
        }
        (None, Some(value)) => {
            let credential = read_tls_san(&value).map(Credential::TlsSan);
            (value, credential)
        }
        (Some(_), Some(tls_san)) => {
            tls_san.add("key_sha256 is there as well; a caller has exactly one of key_sha256 and tls_san");
            return None;
        }
        (None, None) => {
            section.add(
                "key_sha256",
                "is missing; a caller has exactly one of key_sha256 and tls_san",
            );
            return None;
        }
    };
    let credential = credential?;
    match seen.iter().find(|(other, _)| *other == credential) {
        Some((_, line)) => value.add(format!("is the credential of the caller in line {line} already")),
        None => seen.push((credential.clone(), section.line())),
    }
    Some(credential)
}

/// Sixty-four hexadecimal digits. What stands there instead is not repeated: it may be the key.
fn read_key_sha256(value: &Value<'_>) -> Option<[u8; 32]> {
    let text = value.string("\"9f86d081…\"")?;
    let hash = decode_hex(text);
    if hash.is_none() {
        value.add(
            "must be the key's SHA-256 as 64 hexadecimal digits, never the key itself; `curfew key new` prints both",
        );
    }
    hash
}

fn decode_hex(text: &str) -> Option<[u8; 32]> {
    let digits: Option<Vec<u32>> = text.chars().map(|digit| digit.to_digit(16)).collect();
    let bytes: Vec<u8> = digits?
        .chunks(2)
        .map(|pair| match pair {
            [high, low] => u8::try_from(high * 16 + low).ok(),
            _ => None,
        })
        .collect::<Option<_>>()?;
    bytes.try_into().ok()
}

fn read_tls_san(value: &Value<'_>) -> Option<String> {
    let text = value.string("\"billing.bank.example\"")?;
    if is_host_name(text) {
        return Some(text.to_ascii_lowercase());
    }
    value.add(format!(
        "must be the DNS name in the caller's client certificate, without wildcard; is {:?}",
        shown(text)
    ));
    None
}

/// Declared numbers, at least one: `without` says what a list of none would mean.
pub(super) fn read_numbers(
    value: &Value<'_>,
    declared: &HashMap<PhoneNumberId, usize>,
    without: &str,
) -> Option<Vec<PhoneNumberId>> {
    if value.is_empty_array() {
        value.add(format!("must list at least one phone_number_id; {without}"));
    }
    value.distinct(|item| {
        let number = item.parsed("\"106540352242922\"")?;
        if !declared.contains_key(&number) {
            item.add(format!("no [[number]] declares {number}"));
        }
        Some(number)
    })
}
