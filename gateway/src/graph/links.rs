//! The strings of Meta's answers that would lead a caller round the gateway, or hand it the gateway's token.
//!
//! Links to further pages stand wherever a list stands, also inside an expanded edge, and hold the address of Meta's Graph
//! API and the token of the call (Graph API, "Paginated results"). The URLs of Flow assets lead to Meta's media hosts. So
//! every string of an answer is looked at, wherever it is; what it must not say is replaced where it stands, and every other
//! byte is Meta's.

use bytes::Bytes;
use serde::de::IgnoredAny;

use super::answer::splice;
use super::media_host::MediaHosts;
use super::path::decode;

/// Parameters that Meta's own links carry, and that no caller may send.
const SECRET: [&str; 2] = ["access_token", "appsecret_proof"];

/// Parameters that change nothing but how an answer is written. Meta repeats them in its links.
///
/// Source: Graph API, "Debug requests" (`debug`); the others from public use.
pub const NOISE: [&str; 5] = ["pretty", "format", "locale", "debug", "sdk"];

/// Hosts of Meta's that serve media, beside those of `upstream.media`: exact, or with everything below them.
const MEDIA_HOSTS: [&str; 4] = [
    "lookaside.fbsbx.com",
    "mmg.whatsapp.net",
    "fbcdn.net",
    "fbsbx.com",
];

/// Why an answer cannot be let through: it names a token, and is not JSON that can be read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Unreadable;

/// Where links in answers lead.
#[derive(Clone, Copy, Debug)]
pub struct Links<'a> {
    /// The Graph API's origin, letter by letter.
    pub graph: &'a str,
    /// The gateway's, as the caller reaches it.
    pub origin: &'a str,
    /// The hosts that media come from, where the answer may not name them.
    pub media: MediaLinks<'a>,
}

/// What becomes of the members `url` and `download_url` on a host of Meta's media.
#[derive(Clone, Copy, Debug)]
pub enum MediaLinks<'a> {
    /// They are emptied: fetched there, media would come round the gateway.
    Emptied(&'a MediaHosts),
    /// They stay: the answer is a medium's metadata.
    Kept,
}

impl Links<'_> {
    /// The answer with every link leading to the gateway, and without a token. `None` when nothing has to change.
    ///
    /// A string that begins with the Graph API's origin leads to the gateway's, without token and noise. A link to a page on
    /// another origin, and any other string that holds a token, is emptied.
    ///
    /// # Errors
    ///
    /// When the answer names a token and is not JSON, or names one in a key.
    pub fn led_back(&self, body: &[u8]) -> Result<Option<Bytes>, Unreadable> {
        let readable = std::str::from_utf8(body)
            .ok()
            .filter(|text| serde_json::from_str::<IgnoredAny>(text).is_ok());
        let Some(text) = readable else {
            return if names_token(&unescaped(body)) {
                Err(Unreadable)
            } else {
                Ok(None)
            };
        };
        let mut replacements = Vec::new();
        for string in Strings::of(text) {
            let raw = text.get(string.start..string.end).unwrap_or_default();
            // What stands between quotes in a valid document is a valid string, but for halves of surrogate pairs.
            let Ok(value) = serde_json::from_str::<String>(raw) else {
                if names_token(&unescaped(raw.as_bytes())) {
                    replacements.push(((string.start, string.end), "\"\"".to_owned()));
                }
                continue;
            };
            let new = match string.place {
                Place::Key if holds_token(&value) => return Err(Unreadable),
                Place::Key => None,
                place => self.instead_of(place, &value),
            };
            if let Some(new) = new {
                replacements.push((
                    (string.start, string.end),
                    serde_json::Value::from(new).to_string(),
                ));
            }
        }
        Ok((!replacements.is_empty()).then(|| splice(body, &mut replacements)))
    }

    /// What a string has to say instead, if anything.
    fn instead_of(&self, place: Place, value: &str) -> Option<String> {
        if value.is_empty() {
            return None;
        }
        if place == Place::Secret {
            return Some(String::new());
        }
        if place == Place::MediaUrl {
            match self.media {
                MediaLinks::Emptied(hosts) if is_of_media(value, hosts) => return Some(String::new()),
                MediaLinks::Kept if !holds_token(value) => return None,
                MediaLinks::Emptied(_) | MediaLinks::Kept => {}
            }
        }
        let rest = value
            .strip_prefix(self.graph)
            .filter(|rest| rest.is_empty() || rest.starts_with(['/', '?']));
        match rest {
            Some(rest) => {
                let link = format!("{}{}", self.origin, followed(rest));
                Some(if holds_token(&link) { String::new() } else { link })
            }
            None if place == Place::Page || holds_token(value) => Some(String::new()),
            None => None,
        }
    }
}

/// A target without the parameters that the gateway adds itself or does not take.
fn followed(target: &str) -> String {
    let Some((path, query)) = target.split_once('?') else {
        return target.to_owned();
    };
    let goes = |pair: &&str| {
        let name = pair.split('=').next().unwrap_or_default();
        let name = decode(name).unwrap_or_default();
        !SECRET
            .iter()
            .chain(&NOISE)
            .any(|other| name.eq_ignore_ascii_case(other))
    };
    let kept: Vec<_> = query.split('&').filter(goes).collect();
    if kept.is_empty() {
        path.to_owned()
    } else {
        format!("{path}?{}", kept.join("&"))
    }
}

/// Whether a text holds a token in a query, also in one that is escaped inside another.
fn holds_token(text: &str) -> bool {
    const NAME: &str = "access_token";
    let text = text.to_ascii_lowercase();
    text.match_indices(NAME).any(|(at, _)| {
        text.get(at + NAME.len()..)
            .is_some_and(|rest| rest.starts_with(['=', '%', '"', '\\']))
    })
}

fn names_token(bytes: &[u8]) -> bool {
    memchr::memmem::find(&bytes.to_ascii_lowercase(), b"access_token").is_some()
}

/// Bytes with JSON's `\u` escapes of ASCII characters undone, whatever else they are.
fn unescaped(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((&byte, after)) = rest.split_first() {
        let escaped = rest
            .strip_prefix(b"\\u00")
            .and_then(|digits| digits.get(..2))
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match escaped {
            Some(character) => {
                out.push(character);
                rest = rest.get(6..).unwrap_or_default();
            }
            None => {
                out.push(byte);
                rest = after;
            }
        }
    }
    out
}

/// Whether a URL is on a host that serves Meta's media.
fn is_of_media(url: &str, hosts: &MediaHosts) -> bool {
    if hosts.check(url).is_some() {
        return true;
    }
    // Scheme-relative URLs too.
    let Some((_, rest)) = url.split_once("//") else {
        return false;
    };
    let authority = rest.split(['/', '?', '#', '\\']).next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    let host = host.split(':').next().unwrap_or_default();
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    MEDIA_HOSTS.iter().any(|known| {
        host.strip_suffix(known)
            .is_some_and(|below| below.is_empty() || below.ends_with('.'))
    })
}

/// Where a string stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Place {
    /// It is a key.
    Key,
    /// The value of `access_token` or `appsecret_proof`.
    Secret,
    /// The value of `url` or `download_url`.
    MediaUrl,
    /// `next` or `previous` of `paging`.
    Page,
    /// Inside the value of `paging`.
    Paging,
    /// Anywhere else.
    Other,
}

struct Found {
    /// With its quotes.
    start: usize,
    end: usize,
    place: Place,
}

/// The strings of a valid document, in their order, without recursion.
struct Strings<'a> {
    text: &'a str,
    at: usize,
    /// The place of each open array and object, and whether it is an object.
    open: Vec<(Place, bool)>,
    /// The place of the value that comes next in an object, once its key was read.
    value: Option<Place>,
}

impl<'a> Strings<'a> {
    const fn of(text: &'a str) -> Self {
        Self {
            text,
            at: 0,
            open: Vec::new(),
            value: None,
        }
    }

    fn place_of_value(&mut self) -> Place {
        match self.open.last() {
            Some((_, true)) => self.value.take().unwrap_or(Place::Other),
            Some((place, false)) => *place,
            None => Place::Other,
        }
    }

    /// One past the closing quote of the string that begins at `start`.
    fn end_of_string(&self, start: usize) -> usize {
        let bytes = self.text.as_bytes();
        let mut at = start + 1;
        while let Some(byte) = bytes.get(at) {
            match byte {
                b'"' => return at + 1,
                b'\\' => at += 2,
                _ => at += 1,
            }
        }
        bytes.len()
    }

    fn place_after_key(&self, start: usize, end: usize) -> Place {
        let key: String = self
            .text
            .get(start..end)
            .and_then(|raw| serde_json::from_str(raw).ok())
            .unwrap_or_default();
        let in_paging = matches!(self.open.last(), Some((Place::Paging, true)));
        match key.as_str() {
            "next" | "previous" if in_paging => Place::Page,
            "paging" => Place::Paging,
            "url" | "download_url" => Place::MediaUrl,
            _ if SECRET.iter().any(|name| key.eq_ignore_ascii_case(name)) => Place::Secret,
            _ => Place::Other,
        }
    }
}

impl Iterator for Strings<'_> {
    type Item = Found;

    fn next(&mut self) -> Option<Found> {
        loop {
            let start = self.at;
            match *self.text.as_bytes().get(start)? {
                open @ (b'{' | b'[') => {
                    let place = self.place_of_value();
                    self.open.push((place, open == b'{'));
                    self.at += 1;
                }
                b'}' | b']' => {
                    self.open.pop();
                    self.value = None;
                    self.at += 1;
                }
                b',' => {
                    self.value = None;
                    self.at += 1;
                }
                b'"' => {
                    let end = self.end_of_string(start);
                    self.at = end;
                    let is_key = matches!(self.open.last(), Some((_, true))) && self.value.is_none();
                    let place = if is_key {
                        self.value = Some(self.place_after_key(start, end));
                        Place::Key
                    } else {
                        self.place_of_value()
                    };
                    return Some(Found { start, end, place });
                }
                _ => self.at += 1,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn led_back(body: &str) -> Result<String, Unreadable> {
        let hosts = MediaHosts::new(vec!["https://media.example".to_owned()]);
        let links = Links {
            graph: "https://graph.facebook.com",
            origin: "http://gw:1",
            media: MediaLinks::Emptied(&hosts),
        };
        let new = links.led_back(body.as_bytes())?;
        Ok(new.map_or_else(|| body.to_owned(), |new| String::from_utf8(new.to_vec()).unwrap()))
    }

    #[test]
    fn links_lead_to_the_gateway_without_a_token_wherever_they_stand() {
        for (body, expected) in [
            (r#"{"data":[] }"#, r#"{"data":[] }"#),
            (
                r#"{"data":[],"paging":{"cursors":{"after":"b"},"next":"https://graph.facebook.com/v23.0/1/x?access_token=S&pretty=0&limit=2","previous":"https://evil.example/"}}"#,
                r#"{"data":[],"paging":{"cursors":{"after":"b"},"next":"http://gw:1/v23.0/1/x?limit=2","previous":""}}"#,
            ),
            (
                r#"{"subscribed_apps":{"data":[1],"paging":{"next":"https:\/\/graph.facebook.com\/v1\/2?acc%65ss_token=S"}}}"#,
                r#"{"subscribed_apps":{"data":[1],"paging":{"next":"http://gw:1/v1/2"}}}"#,
            ),
            // A host that only begins like Meta's is another host.
            (
                r#"{"paging":{"next":"https://graph.facebook.com.evil.example/v1/2"}}"#,
                r#"{"paging":{"next":""}}"#,
            ),
            (
                r#"[["https://other.example/?a=1&\u0061ccess_token=S"],{"access_token" : "S","next":"Tuesday"}]"#,
                r#"[[""],{"access_token" : "","next":"Tuesday"}]"#,
            ),
            (
                r#"{"a":"https://graph.facebook.com/?next=%2F%3Faccess_token%3DS","b":"{\"access_token\":\"S\"}"}"#,
                r#"{"a":"","b":""}"#,
            ),
            // To speak of a token is not to show one.
            (
                r#"{"error":{"message":"An access_token is needed"}}"#,
                r#"{"error":{"message":"An access_token is needed"}}"#,
            ),
        ] {
            assert_eq!(led_back(body).as_deref(), Ok(expected));
        }
    }

    #[test]
    fn media_are_not_fetched_round_the_gateway() {
        for (url, is_emptied) in [
            ("https://media.example/flow.json", true),
            ("https://scontent.xx.fbcdn.net/v/1", true),
            ("https://LOOKASIDE.fbsbx.com/x", true),
            ("https://mmg.whatsapp.net:443/x", true),
            ("//mmg.whatsapp.net/x", true),
            ("https://bank.example/terms", false),
            ("https://notfbcdn.net/", false),
            ("https://media.example.bank.example/", false),
        ] {
            for key in ["url", "download_url"] {
                let body = format!(r#"{{"data":[{{"{key}":"{url}"}}]}}"#);
                let expected = if is_emptied {
                    format!(r#"{{"data":[{{"{key}":""}}]}}"#)
                } else {
                    body.clone()
                };
                assert_eq!(led_back(&body), Ok(expected));
            }
        }
    }

    #[test]
    fn an_answer_that_names_a_token_and_cannot_be_read_is_not_let_through() {
        for body in [
            "access_token=S",
            r#"{"next":"https://graph.facebook.com/?access_token=S""#,
            r#"{"next":"?\u0061ccess_toke\u006e=S"} {}"#,
            r#"{"x?access_token=S":1}"#,
        ] {
            assert_eq!(led_back(body), Err(Unreadable), "{body}");
        }
        assert_eq!(led_back("<html>").as_deref(), Ok("<html>"));
        assert_eq!(
            led_back(r#"{"a":"\ud800access_token=S"}"#).as_deref(),
            Ok(r#"{"a":""}"#)
        );
    }
}
