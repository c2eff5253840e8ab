//! One `[[number]]`.

use std::collections::HashMap;

use super::reader::{Section, Value};
use super::sends;
use crate::host::is_host_name;
use crate::id::PhoneNumberId;
use crate::message::MessageKind;
use crate::operation::{UnverifiedOperation, shown};
use crate::policy::{AllowUnverified, Links, MediaPolicy, NumberPolicy, UnknownIds};
use crate::storage::{Region, StorageMode};
use crate::ttl::{TtlBounds, TtlMinutes};

pub(super) const KEYS: &[&str] = &[
    "phone_number_id",
    "waba_id",
    "storage",
    "verify_settings_minutes",
    "allow_deregister",
    "allow_unverified",
    "media",
    "sends",
];
const STORAGE_KEYS: &[&str] = &["mode", "region"];
const MEDIA_KEYS: &[&str] = &["ttl_minutes", "unknown_ids", "links", "cache_minutes", "reuse"];
const TTL_KEYS: &[&str] = &["min", "max", "default"];
const LINKS_KEYS: &[&str] = &["hosts"];

/// A day: a promise that nobody looked at for longer is none.
const MOST_VERIFY_MINUTES: u32 = 1_440;
/// Thirty days: no medium lives longer (Cloud API, "Media").
const MOST_CACHE_MINUTES: u32 = 43_200;

/// Reads one number. Its id is told even where the rest has problems, so that a caller's mention of it is not one more;
/// `declared` has the line of each id so far.
pub(super) fn read(
    section: &Section<'_>,
    declared: &mut HashMap<PhoneNumberId, usize>,
) -> (Option<PhoneNumberId>, Option<NumberPolicy>) {
    let id = section
        .required("phone_number_id", "\"106540352242922\"")
        .and_then(|value| {
            let id = value.parsed("\"106540352242922\"")?;
            match declared.get(&id) {
                Some(line) => value.add(format!("{id} is declared already, in line {line}")),
                None => {
                    declared.insert(id, value.line());
                }
            }
            Some(id)
        });
    let waba_id = section
        .value("waba_id")
        .and_then(|value| value.parsed("\"102290129340398\""));
    let storage = section
        .required("storage", "{ mode = \"no_storage\" }")
        .and_then(|value| read_storage(&value));
    let verify_settings_minutes =
        section.integer_or("verify_settings_minutes", 1..=MOST_VERIFY_MINUTES, "minutes", 15);
    let allow_deregister = section.boolean_or("allow_deregister", false);
    let allow_unverified = section
        .value("allow_unverified")
        .map(|value| read_unverified(&value))
        .unwrap_or_default();
    let media = read_media(section.section("media", MEDIA_KEYS).as_ref(), storage);
    let sends = sends::read(section.section("sends", sends::KEYS).as_ref());
    let policy = id.zip(storage).map(|(phone_number_id, storage)| NumberPolicy {
        phone_number_id,
        waba_id,
        storage,
        verify_settings_minutes,
        allow_deregister,
        allow_unverified,
        media,
        sends,
    });
    (id, policy)
}

fn read_storage(value: &Value<'_>) -> Option<StorageMode> {
    let section = value.section(STORAGE_KEYS)?;
    let mode = section.required("mode", "\"no_storage\"")?.word(&[
        ("default", "default"),
        ("no_storage", "no_storage"),
        ("in_country", "in_country"),
    ])?;
    let region = section.value("region");
    match (mode, region) {
        ("in_country", Some(region)) => {
            let code = region.string("\"DE\"")?;
            let parsed = code.parse().ok();
            if parsed.is_none() {
                region.add(format!(
                    "must be one of {}; is {:?}",
                    Region::CODES.join(", "),
                    shown(code)
                ));
            }
            parsed.map(StorageMode::InCountry)
        }
        ("in_country", None) => {
            section.add(
                "region",
                format!(
                    "is missing; mode in_country needs one of {}",
                    Region::CODES.join(", ")
                ),
            );
            None
        }
        (mode, region) => {
            if let Some(region) = region {
                region.add(format!(
                    "is only for mode \"in_country\"; this one is {mode:?}: leave it out"
                ));
            }
            Some(if mode == "no_storage" {
                StorageMode::NoStorage
            } else {
                StorageMode::Default
            })
        }
    }
}

fn read_unverified(value: &Value<'_>) -> AllowUnverified {
    /// One entry of the list.
    #[derive(PartialEq)]
    enum Entry {
        Operation(UnverifiedOperation),
        MessageType(String),
    }
    let entries = value.distinct(|item| {
        let text = item.string("\"marketing_messages\"")?;
        if let Some(operation) = UnverifiedOperation::ALL
            .into_iter()
            .find(|known| known.name() == text)
        {
            return Some(Entry::Operation(operation));
        }
        if MessageKind::KNOWN.contains(&text) {
            item.add(format!(
                "message type {text:?} is documented; it needs no permission: leave it out"
            ));
            return None;
        }
        let is_type = (1..=64).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        if is_type {
            return Some(Entry::MessageType(text.to_owned()));
        }
        let operations = UnverifiedOperation::ALL.map(UnverifiedOperation::name).join(", ");
        item.add(format!(
            "must be one of {operations}, or a message type of 1 to 64 characters a to z and _; is {:?}",
            shown(text)
        ));
        None
    });
    let mut allowed = AllowUnverified::default();
    for entry in entries.into_iter().flatten() {
        match entry {
            Entry::Operation(operation) => allowed.operations.push(operation),
            Entry::MessageType(kind) => allowed.message_types.push(kind),
        }
    }
    allowed
}

/// Reads what is said of media; `storage` is `None` where it has a problem of its own, and then nothing is held against it.
fn read_media(section: Option<&Section<'_>>, storage: Option<StorageMode>) -> MediaPolicy {
    let default_links = match storage {
        Some(StorageMode::Default) | None => Links::Any,
        Some(StorageMode::InCountry(_) | StorageMode::NoStorage) => Links::Hosts(Vec::new()),
    };
    let mut media = MediaPolicy {
        ttl: Default::default(),
        unknown_ids: UnknownIds::Verify,
        links: default_links,
        cache_minutes: 60,
        reuse: false,
    };
    let Some(section) = section else {
        return media;
    };
    if let Some(value) = section.value("ttl_minutes") {
        if let Some(mode) = storage
            && mode != StorageMode::NoStorage
        {
            value.add(format!(
                "is only for storage no_storage; this number has {mode}, whose media live as long as Meta says: leave it out"
            ));
        }
        media.ttl = value
            .section(TTL_KEYS)
            .and_then(|bounds| read_ttl(&bounds))
            .unwrap_or_default();
    }
    let words = [
        ("verify", UnknownIds::Verify),
        ("deny", UnknownIds::Deny),
        ("allow", UnknownIds::Allow),
    ];
    media.unknown_ids = section.word_or("unknown_ids", &words, UnknownIds::Verify);
    if let (UnknownIds::Allow, Some(mode), Some(value)) =
        (media.unknown_ids, storage, section.value("unknown_ids"))
        && mode.is_restricted()
    {
        value.add(format!(
            "\"allow\" is only for storage default; this number has {mode}: write \"verify\" or \"deny\""
        ));
    }
    if let Some(links) = section.section("links", LINKS_KEYS)
        && let Some(hosts) = links.required("hosts", "[\"cdn.bank.example\"]")
    {
        media.links = Links::Hosts(hosts.distinct(read_host).unwrap_or_default());
    }
    media.cache_minutes = section.integer_or(
        "cache_minutes",
        0..=MOST_CACHE_MINUTES,
        "minutes; 0 = never cache",
        60,
    );
    media.reuse = section.boolean_or("reuse", media.reuse);
    media
}

fn read_ttl(section: &Section<'_>) -> Option<TtlBounds> {
    let part = |name| {
        let bounds = TtlMinutes::MIN.minutes()..=TtlMinutes::MAX.minutes();
        section.value(name).map(|value| {
            let minutes = value.integer(bounds, "minutes")?;
            let ttl = TtlMinutes::try_from(u64::from(minutes)).ok()?;
            Some((value, ttl))
        })
    };
    let (min, max, default) = (part("min"), part("max"), part("default"));
    // A part that has a problem of its own was reported, and takes no part in the next ones.
    let value_of = |part: &Option<Option<(Value<'_>, TtlMinutes)>>| match part {
        None => Some(None),
        Some(read) => read.as_ref().map(|(_, ttl)| Some(*ttl)),
    };
    let (least, most) = (value_of(&min)?, value_of(&max)?);
    let Ok(bounds) = TtlBounds::filled_in(least, most, None) else {
        if let (Some(Some((value, most))), Some(least)) = (&max, least) {
            value.add(format!(
                "min {least} is above max {most}; min must be at most max"
            ));
        }
        return None;
    };
    let written = value_of(&default)?;
    let whole = TtlBounds::filled_in(least, most, written).ok();
    if let (None, Some(Some((value, written)))) = (whole, &default) {
        value.add(format!(
            "must be from min {} to max {}; is {written}",
            bounds.min(),
            bounds.max()
        ));
    }
    whole
}

fn read_host(value: &Value<'_>) -> Option<String> {
    let text = value.string("\"cdn.bank.example\"")?;
    if is_host_name(text) {
        return Some(text.to_ascii_lowercase());
    }
    value.add(format!(
        "must be a plain DNS host name such as \"cdn.bank.example\", without scheme, port, path, wildcard or address; is {:?}",
        shown(text)
    ));
    None
}
