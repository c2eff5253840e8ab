//! Media: upload, metadata, the media host, delete; what may be used by whom, and when it ends.

use serde_json::{Value, json};

use super::{Answer, Call, Done, GraphError, Verb, accepted, success};
use crate::control::Shared;
use crate::options::Storage;
use crate::params::{self, Params};
use crate::record::StoredMedia;
use crate::reply::Payload;
use crate::world::{Content, MINUTE_MS, Medium};

/// Uploaded media without No Storage (Media, "Media ID … 30 days").
const UPLOADED_MINUTES: u64 = 30 * 24 * 60;
/// Media from users without No Storage (Media: 7 days).
const INBOUND_MINUTES: u64 = 7 * 24 * 60;
/// Under No Storage, both ways (No Storage).
const NO_STORAGE_MINUTES: u64 = 60;
/// `ttl_minutes` (No Storage, Override outgoing media TTL).
const TTL: std::ops::RangeInclusive<u64> = 60..=43_200;
/// A media URL (Media, Retrieve media URL).
const URL_SECONDS: u64 = 5 * 60;

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    Audio,
    Document,
    Image,
    Sticker,
    Video,
}

/// What may be uploaded, as what (Media, Supported media types).
pub(crate) fn kind(mime: &str) -> Option<Kind> {
    Some(match mime {
        "audio/aac" | "audio/amr" | "audio/mpeg" | "audio/mp4" | "audio/ogg" => Kind::Audio,
        "text/plain"
        | "application/pdf"
        | "application/msword"
        | "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
        | "application/vnd.ms-excel"
        | "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
        | "application/vnd.ms-powerpoint"
        | "application/vnd.openxmlformats-officedocument.presentationml.presentation" => Kind::Document,
        "image/jpeg" | "image/png" => Kind::Image,
        "image/webp" => Kind::Sticker,
        "video/mp4" | "video/3gpp" => Kind::Video,
        _ => return None,
    })
}

fn largest(kind: Kind, content: &Content) -> u64 {
    match kind {
        Kind::Audio | Kind::Video => 16 * MIB,
        Kind::Document => 100 * MIB,
        Kind::Image => 5 * MIB,
        Kind::Sticker if animated(&content.head) => 500 * KIB,
        Kind::Sticker => 100 * KIB,
    }
}

/// WebP's extended header has an animation bit.
fn animated(head: &[u8]) -> bool {
    head.get(12..16) == Some(b"VP8X") && head.get(20).is_some_and(|flags| flags & 0b10 != 0)
}

/// `POST /{PNID}/media`.
pub(crate) fn upload(shared: &Shared, call: &Call, number: u64) -> Answer {
    if params::text(&call.params, "messaging_product").as_deref() != Some("whatsapp") {
        return Err(GraphError::required("messaging_product"));
    }
    let file = call
        .files
        .iter()
        .rev()
        .find(|file| file.name == "file")
        .ok_or_else(|| GraphError::required("file"))?;
    let declared = file
        .mime
        .clone()
        .filter(|mime| mime != "application/octet-stream");
    let named = || params::text(&call.params, "type").map(|text| crate::multipart::essence(&text));
    let mime = declared
        .or_else(named)
        .unwrap_or_else(|| "application/octet-stream".to_owned());
    let kind =
        kind(&mime).ok_or_else(|| GraphError::new(131_053, format!("Unsupported media type {mime}")))?;
    let content = &file.content;
    if content.len == 0 || content.len > largest(kind, content) {
        let details = format!("A file of type {mime} may not have {} bytes", content.len);
        return Err(GraphError::new(131_053, details));
    }
    let mut world = shared.world();
    let now_ms = shared.clock.now_ms();
    let owner = world
        .numbers
        .get(&number)
        .ok_or_else(|| GraphError::no_object("post", &number.to_string()))?;
    let (minutes, ttl) = life(&owner.storage, &call.params)?;
    let private = matches!(owner.storage, Storage::InCountry(_));
    let ends_ms = now_ms + minutes * MINUTE_MS;
    let id = shared.ids.node();
    let info = StoredMedia {
        id,
        owner: number,
        mime,
        len: content.len,
        sha256: content.sha256.clone(),
        created: now_ms / 1_000,
        ends: ends_ms / 1_000,
        ttl_minutes: ttl,
        inbound: false,
        private,
        use_case: params::text(&call.params, "use_case"),
    };
    let mut reply = json!({"id": id.to_string()});
    // Read after write: a POST returns the fields that it is asked for.
    if let Some(fields) = params::text(&call.params, "fields") {
        reply = params::select(&metadata(shared, call, &info), &params::fields(&fields));
    }
    world.store(
        Medium {
            info,
            bytes: content.bytes.clone(),
            ends_ms,
        },
        now_ms,
    );
    Ok(Done::Json(reply))
}

/// How long an upload lives. On numbers without No Storage `ttl_minutes` is undocumented: here it is ignored, so
/// that whoever relies on it sees media that outlives it.
fn life(storage: &Storage, params: &Params) -> Result<(u64, Option<u64>), GraphError> {
    if *storage != Storage::NoStorage {
        return Ok((UPLOADED_MINUTES, None));
    }
    if !params.contains_key("ttl_minutes") {
        return Ok((NO_STORAGE_MINUTES, None));
    }
    match params::whole(params, "ttl_minutes").filter(|ttl| TTL.contains(ttl)) {
        Some(ttl) => Ok((ttl, Some(ttl))),
        None => Err(GraphError::new(
            131_009,
            "ttl_minutes must be a whole number from 60 to 43200",
        )),
    }
}

/// A user's medium arrives at a number.
pub(crate) fn inbound(shared: &Shared, number: u64, mime: &str, content: Content) -> StoredMedia {
    let mut world = shared.world();
    let now_ms = shared.clock.now_ms();
    let storage = world
        .numbers
        .get(&number)
        .map_or(Storage::Default, |number| number.storage.clone());
    let minutes = if storage == Storage::NoStorage {
        NO_STORAGE_MINUTES
    } else {
        INBOUND_MINUTES
    };
    let ends_ms = now_ms + minutes * MINUTE_MS;
    let info = StoredMedia {
        id: shared.ids.node(),
        owner: number,
        mime: mime.to_owned(),
        len: content.len,
        sha256: content.sha256,
        created: now_ms / 1_000,
        ends: ends_ms / 1_000,
        ttl_minutes: None,
        inbound: true,
        private: matches!(storage, Storage::InCountry(_)),
        use_case: None,
    };
    world.store(
        Medium {
            info: info.clone(),
            bytes: content.bytes,
            ends_ms,
        },
        now_ms,
    );
    info
}

/// `GET` and `DELETE /{MEDIA_ID}`. With `phone_number_id` only media of that number exists.
pub(crate) fn node(shared: &Shared, call: &Call, id: u64) -> Answer {
    let missing = || GraphError::no_object(call.verb.name(), &id.to_string());
    let asked = match call.params.get("phone_number_id") {
        Some(_) => Some(
            params::whole(&call.params, "phone_number_id")
                .ok_or_else(|| GraphError::invalid("phone_number_id must be a valid ID"))?,
        ),
        None => None,
    };
    let now_ms = shared.clock.now_ms();
    let mut world = shared.world();
    let info = world
        .live_media(now_ms)
        .get(&id)
        .map(|medium| medium.info.clone())
        .ok_or_else(missing)?;
    if asked.is_some_and(|number| number != info.owner) {
        return Err(missing());
    }
    match call.verb {
        Verb::Get => {
            drop(world);
            let node = metadata(shared, call, &info);
            Ok(Done::Json(super::read_node(call, node, &[], |_, _| None)))
        }
        Verb::Delete => {
            world.remove_medium(id);
            success()
        }
        Verb::Post => Err(missing()),
    }
}

fn metadata(shared: &Shared, call: &Call, info: &StoredMedia) -> Value {
    let url = url(shared, call.media_base.as_deref(), info.id);
    let mut node = json!({
        "messaging_product": "whatsapp",
        "url": url,
        "mime_type": info.mime,
        "sha256": info.sha256,
        "file_size": info.len.to_string(),
        "id": info.id.to_string(),
    });
    if shared.options.download_url
        && let Value::Object(object) = &mut node
    {
        object.insert("download_url".to_owned(), json!(url));
    }
    node
}

/// Where a medium can be fetched for the next five minutes.
pub(crate) fn url(shared: &Shared, base: Option<&str>, id: u64) -> String {
    let ends = shared.clock.now() + URL_SECONDS;
    let base = base
        .or(shared.options.media_base.as_deref())
        .unwrap_or(&shared.base_url);
    let hash = shared.ids.url_hash(id, ends);
    format!("{base}/whatsapp_business/attachments/?mid={id}&ext={ends}&hash={hash}")
}

/// The media host. All that is wrong is 404. `?access_token=…` may be glued to a URL that has a query already.
pub(crate) fn download(shared: &Shared, call: &Call) -> Done {
    let hash = params::text(&call.params, "hash").unwrap_or_default();
    let (hash, glued) = hash.split_once("?access_token=").unwrap_or((hash.as_str(), ""));
    let glued = [glued.to_owned()];
    let known = accepted(shared, &call.tokens)
        .or_else(|| accepted(shared, &glued))
        .is_some();
    let (Some(id), Some(ends)) = (
        params::whole(&call.params, "mid"),
        params::whole(&call.params, "ext"),
    ) else {
        return Done::NotFound;
    };
    let now_ms = shared.clock.now_ms();
    if !known || call.verb != Verb::Get || hash != shared.ids.url_hash(id, ends) || ends * 1_000 <= now_ms {
        return Done::NotFound;
    }
    let mut world = shared.world();
    match world.live_media(now_ms).get(&id) {
        Some(medium) => {
            let body = medium
                .bytes
                .clone()
                .map_or(Payload::Zeros(medium.info.len), Payload::Bytes);
            Done::File(medium.info.mime.clone(), body)
        }
        None => Done::NotFound,
    }
}
