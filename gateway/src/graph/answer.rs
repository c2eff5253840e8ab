//! Meta's answers, as far as the gateway reads them, and the URLs in them that would lead callers round it.
//!
//! An answer passes unchanged but for those URLs: they are cut out and replaced where they stand, every other byte is
//! Meta's.

use std::borrow::Cow;

use bytes::{Bytes, BytesMut};
use curfew_policies::MediaId;
use http::{HeaderValue, StatusCode};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::failure::Failure;

/// An id as Meta writes it: a string of digits, in some samples a number.
fn id_of(raw: &RawValue) -> Option<MediaId> {
    unquoted(raw).parse().ok()
}

/// What stands between the quotes, if there are any.
fn unquoted(raw: &RawValue) -> &str {
    let text = raw.get();
    text.strip_prefix('"')
        .and_then(|text| text.strip_suffix('"'))
        .unwrap_or(text)
}

/// The media id of an upload's answer: `{"id":"…"}` (Cloud API, "Media").
#[must_use]
pub fn uploaded_media(body: &[u8]) -> Option<MediaId> {
    #[derive(Deserialize)]
    struct Uploaded<'a> {
        #[serde(borrow)]
        id: &'a RawValue,
    }
    id_of(serde_json::from_slice::<Uploaded<'_>>(body).ok()?.id)
}

/// The `wa_id` of the one recipient of a send's answer: `{"contacts":[{"input":"…","wa_id":"…"}]}` (Cloud API, "Send
/// messages"). `None` for sends to user ids and groups.
#[must_use]
pub fn recipient_wa_id(body: &[u8]) -> Option<Cow<'_, str>> {
    #[derive(Deserialize)]
    struct Sent<'a> {
        #[serde(borrow)]
        contacts: Vec<Contact<'a>>,
    }
    #[derive(Deserialize)]
    struct Contact<'a> {
        #[serde(borrow)]
        wa_id: Cow<'a, str>,
    }
    let Sent { contacts } = serde_json::from_slice(body).ok()?;
    let mut contacts = contacts.into_iter();
    match (contacts.next(), contacts.next()) {
        (Some(only), None) => Some(only.wa_id),
        _ => None,
    }
}

/// A template of a page of an account's templates (Cloud API, "Templates").
#[derive(Debug, Deserialize)]
pub struct TemplateRow<'a> {
    /// Its name.
    #[serde(borrow)]
    pub name: Cow<'a, str>,
    /// Its category, such as `UTILITY`.
    #[serde(borrow)]
    pub category: Cow<'a, str>,
}

/// The templates of a page, `{"data":[{"name":"…","category":"…"}]}`; none where any of them says less, since `fields` chose so.
#[must_use]
pub fn templates(body: &[u8]) -> Vec<TemplateRow<'_>> {
    #[derive(Deserialize)]
    struct Page<'a> {
        #[serde(borrow)]
        data: Vec<TemplateRow<'a>>,
    }
    serde_json::from_slice(body).map_or_else(|_| Vec::new(), |page: Page<'_>| page.data)
}

/// What an answer says in `{"success":…}`, if it says so.
#[must_use]
pub fn success(body: &[u8]) -> Option<bool> {
    #[derive(Deserialize)]
    struct Success {
        success: bool,
    }
    serde_json::from_slice::<Success>(body)
        .ok()
        .map(|answer| answer.success)
}

/// Whether Meta says that whoever asked may not: then it did nothing of what was asked (Cloud API, "Error codes",
/// "Authorization errors": 0, 3, 10, 190 and 200 to 299).
#[must_use]
pub fn is_authorization_refusal(status: StatusCode, body: &[u8]) -> bool {
    error_code(body).is_some_and(|code| {
        matches!(code, 0 | 3 | 10 | 190 | 200..=299)
            || matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
    })
}

/// Whether an answer says that what was asked about is not there, or not to be seen: code 100 with subcode 33 (Graph API,
/// "Handling Errors").
#[must_use]
pub fn is_gone(body: &[u8]) -> bool {
    Failure::read(body).is_some_and(|failure| failure.code == 100 && failure.subcode == Some(33))
}

/// `error.code` of an error answer, whatever the HTTP status (Cloud API, "Error codes": branch on the code).
#[must_use]
pub fn error_code(body: &[u8]) -> Option<i64> {
    Failure::read(body).map(|failure| failure.code)
}

/// What the metadata of a medium says (Cloud API, "Media").
#[derive(Debug)]
pub struct MediaMetadata<'a> {
    /// Whose metadata it is.
    pub id: MediaId,
    /// Where the bytes are.
    pub url: String,
    /// What the bytes are; `None` when the metadata say so in a way that makes no sense.
    pub content: Option<MediaContent>,
    spots: Vec<&'a RawValue>,
}

/// What a medium's bytes are, as Meta says (`GET /{MEDIA_ID}`; Cloud API, "Media").
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct MediaContent {
    /// Its `mime_type`; `application/octet-stream` where Meta gave none.
    pub content_type: HeaderValue,
    /// Its `file_size`, in bytes.
    pub size: Option<u64>,
    /// Its `sha256`.
    pub sha256: Option<[u8; 32]>,
}

impl MediaContent {
    /// `None` if a member is there and cannot be what it is called: a check that cannot be made is not one that was passed.
    ///
    /// `file_size` is a string in Meta's documents and a number in samples of SDKs; `sha256` is base64 in webhooks and
    /// hexadecimal in samples of this call.
    fn read(
        mime_type: Option<&str>,
        file_size: Option<&RawValue>,
        sha256: Option<&RawValue>,
    ) -> Option<Self> {
        let content_type = match mime_type {
            Some(text) => HeaderValue::from_str(text).ok()?,
            None => HeaderValue::from_static("application/octet-stream"),
        };
        let size = file_size.map(size_of).transpose().ok()?;
        let sha256 = sha256.map(digest_of).transpose().ok()?;
        Some(Self {
            content_type,
            size,
            sha256,
        })
    }
}

/// A member that is there and makes no sense.
struct Nonsense;

fn size_of(raw: &RawValue) -> Result<u64, Nonsense> {
    let text = unquoted(raw);
    let is_plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_plain).ok_or(Nonsense)
}

fn digest_of(raw: &RawValue) -> Result<[u8; 32], Nonsense> {
    use base64::Engine as _;
    use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
    // Base64 may come with its slashes escaped.
    let text: String = serde_json::from_str(raw.get()).map_err(|_| Nonsense)?;
    let mut digest = [0; 32];
    if text.len() == 64 {
        for (byte, pair) in digest.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_| Nonsense)?;
            let is_hex = pair.bytes().all(|digit| digit.is_ascii_hexdigit());
            *byte = u8::from_str_radix(pair, 16)
                .ok()
                .filter(|_| is_hex)
                .ok_or(Nonsense)?;
        }
        return Ok(digest);
    }
    let text = text.strip_suffix('=').unwrap_or(&text);
    let length = STANDARD_NO_PAD
        .decode_slice(text, &mut digest)
        .or_else(|_| URL_SAFE_NO_PAD.decode_slice(text, &mut digest));
    if length == Ok(digest.len()) {
        Ok(digest)
    } else {
        Err(Nonsense)
    }
}

/// Reads a medium's metadata; `None` when the answer is something else than metadata.
#[must_use]
pub fn media_metadata(body: &[u8]) -> Option<MediaMetadata<'_>> {
    #[derive(Deserialize)]
    struct Metadata<'a> {
        #[serde(borrow)]
        id: &'a RawValue,
        #[serde(borrow)]
        url: &'a RawValue,
        #[serde(borrow)]
        download_url: Option<&'a RawValue>,
        mime_type: Option<String>,
        #[serde(borrow)]
        file_size: Option<&'a RawValue>,
        #[serde(borrow)]
        sha256: Option<&'a RawValue>,
    }
    let metadata: Metadata<'_> = serde_json::from_slice(body).ok()?;
    let url: String = serde_json::from_str(metadata.url.get()).ok()?;
    let spots = std::iter::once(metadata.url)
        .chain(metadata.download_url)
        .collect();
    Some(MediaMetadata {
        id: id_of(metadata.id)?,
        url,
        content: MediaContent::read(metadata.mime_type.as_deref(), metadata.file_size, metadata.sha256),
        spots,
    })
}

impl MediaMetadata<'_> {
    /// The answer with every URL of the medium replaced; `download_url` is added where Meta gave none, because some clients
    /// read nothing else.
    #[must_use]
    pub fn rewritten(&self, body: &[u8], url: &str) -> Bytes {
        let url = serde_json::Value::from(url).to_string();
        let mut replacements: Vec<_> = self
            .spots
            .iter()
            .map(|spot| (span(body, spot), url.clone()))
            .collect();
        if let [only] = self.spots.as_slice() {
            let (_, end) = span(body, only);
            replacements.push(((end, end), format!(",\"download_url\":{url}")));
        }
        splice(body, &mut replacements)
    }
}

/// Where a raw value borrowed from `body` stands in it.
pub(super) fn span(body: &[u8], raw: &RawValue) -> (usize, usize) {
    let start = raw.get().as_ptr().addr().saturating_sub(body.as_ptr().addr());
    (start, start + raw.get().len())
}

/// `body` with other texts at these places, which must not overlap.
pub(super) fn splice(body: &[u8], replacements: &mut [((usize, usize), String)]) -> Bytes {
    replacements.sort_by_key(|(span, _)| *span);
    let mut out = BytesMut::with_capacity(body.len() + 512);
    let mut from = 0;
    for ((start, end), text) in replacements {
        out.extend_from_slice(body.get(from..*start).unwrap_or_default());
        out.extend_from_slice(text.as_bytes());
        from = *end;
    }
    out.extend_from_slice(body.get(from..).unwrap_or_default());
    out.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_urls_of_an_answer_change() {
        let body = br#"{ "messaging_product":"whatsapp", "url" : "https:\/\/lookaside.fbsbx.com\/a?mid=1","mime_type":"image/png",
            "file_size":"12","id":"123" }"#;
        let metadata = media_metadata(body).unwrap();
        assert_eq!(metadata.url, "https://lookaside.fbsbx.com/a?mid=1");
        let rewritten = metadata.rewritten(body, "http://g/x");
        assert_eq!(
            std::str::from_utf8(&rewritten).unwrap(),
            r#"{ "messaging_product":"whatsapp", "url" : "http://g/x","download_url":"http://g/x","mime_type":"image/png",
            "file_size":"12","id":"123" }"#
        );
    }

    #[test]
    fn both_urls_change_where_meta_gives_both() {
        let body = br#"{"download_url":"https://m/2","id":7,"url":"https://m/1"}"#;
        let rewritten = media_metadata(body).unwrap().rewritten(body, "u");
        assert_eq!(&rewritten[..], br#"{"download_url":"u","id":7,"url":"u"}"#);
    }

    fn content(members: &str) -> Option<MediaContent> {
        let body = format!("{{\"id\":\"1\",\"url\":\"u\"{members}}}");
        media_metadata(body.as_bytes()).unwrap().content
    }

    #[test]
    fn a_digest_is_read_in_every_spelling_of_metas() {
        let hex = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
        let wanted = content(&format!(",\"sha256\":\"{hex}\"")).unwrap().sha256;
        assert_eq!(wanted.map(|digest| (digest[0], digest[31])), Some((0x9f, 0x08)));
        for other in [
            hex.to_ascii_uppercase(),
            "n4bQgYhMfWWaL+qgxVrQFaO/TxsrC4Is0V1sFbDwCgg=".to_owned(),
            "n4bQgYhMfWWaL+qgxVrQFaO/TxsrC4Is0V1sFbDwCgg".to_owned(),
            "n4bQgYhMfWWaL-qgxVrQFaO_TxsrC4Is0V1sFbDwCgg=".to_owned(),
        ] {
            let read = content(&format!(",\"sha256\":\"{other}\"")).unwrap().sha256;
            assert_eq!(read, wanted, "{other}");
        }
    }

    #[test]
    fn what_is_missing_is_not_known_and_what_makes_no_sense_is_no_metadata() {
        let bare = content("").unwrap();
        assert_eq!((bare.size, bare.sha256), (None, None));
        assert_eq!(bare.content_type, "application/octet-stream");
        assert_eq!(content(",\"file_size\":12").unwrap().size, Some(12));
        assert_eq!(content(",\"file_size\":\"12\"").unwrap().size, Some(12));
        for odd in [
            ",\"file_size\":\"+12\"",
            ",\"file_size\":-1",
            ",\"file_size\":\"\"",
            ",\"file_size\":1.5",
            ",\"file_size\":\"99999999999999999999\"",
            ",\"file_size\":[]",
            ",\"sha256\":\"\"",
            ",\"sha256\":\"abc\"",
            ",\"sha256\":1",
            ",\"sha256\":\"+f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08\"",
            ",\"mime_type\":\"a\\nb\"",
        ] {
            assert_eq!(content(odd), None, "{odd}");
        }
    }

    #[test]
    fn only_what_names_the_askers_rights_is_an_authorization_refusal() {
        let is_refusal = |status, code| {
            let body = format!("{{\"error\":{{\"code\":{code}}}}}");
            is_authorization_refusal(StatusCode::from_u16(status).unwrap(), body.as_bytes())
        };
        for code in [0, 3, 10, 190, 200, 299] {
            assert!(is_refusal(400, code), "{code}");
        }
        for code in [1, 2, 4, 100, 300, 131_005, 133_016] {
            assert!(!is_refusal(400, code), "{code}");
            assert!(is_refusal(401, code) && is_refusal(403, code), "{code}");
        }
        assert!(!is_authorization_refusal(StatusCode::UNAUTHORIZED, b"<html>"));
    }

    #[test]
    fn ids_come_as_strings_and_as_numbers() {
        assert_eq!(uploaded_media(br#"{"id":"12"}"#), uploaded_media(br#"{"id":12}"#));
        assert_eq!(uploaded_media(br#"{"id":"1 2"}"#), None);
        assert_eq!(
            error_code(br#"{"error":{"code":131056,"message":"x"}}"#),
            Some(131_056)
        );
    }
}
