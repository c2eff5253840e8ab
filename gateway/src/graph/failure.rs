//! What Meta says when it says no, and what it says of how much was used.
//!
//! Errors come in the body whatever the HTTP status: `suppress_http_code=1` makes them come as 200, and limits mostly come
//! as 400 (Cloud API, "Error codes"; Graph API, "Rate limits"). Readers here judge nothing and never fail an answer:
//! what they cannot read, they have not seen.

use std::collections::HashMap;

use curfew_policies::WabaId;
use http::{HeaderMap, HeaderName};
use serde::Deserialize;
use serde_json::Value;

/// `X-Business-Use-Case-Usage`: percents of what a business may use, and when access comes back.
const BUSINESS_USAGE: HeaderName = HeaderName::from_static("x-business-use-case-usage");
/// The largest body that is read as an error: Meta's have a few hundred bytes.
const MOST_BODY: usize = 64 * 1024;
/// The largest usage header that is read: 32 objects of two entries each fit well (Graph API, "Rate limits").
const MOST_HEADER: usize = 16 * 1024;

/// The `error` object of an answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Failure {
    /// `code`: what to branch on.
    pub code: i64,
    /// `error_subcode`, which most versions leave out.
    pub subcode: Option<i64>,
    /// `is_transient`, if it is there and a boolean; absence says nothing.
    pub is_transient: Option<bool>,
}

impl Failure {
    /// Reads an answer's body; `None` where it is no error, no JSON, larger than 64 KiB, or has two `error`s or codes.
    #[must_use]
    pub fn read(body: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Answer {
            error: Fields,
        }
        #[derive(Deserialize)]
        struct Fields {
            code: i64,
            #[serde(default)]
            error_subcode: Value,
            #[serde(default)]
            is_transient: Value,
        }
        if body.len() > MOST_BODY {
            return None;
        }
        let Answer { error } = serde_json::from_slice(body).ok()?;
        Some(Self {
            code: error.code,
            subcode: error.error_subcode.as_i64(),
            is_transient: error.is_transient.as_bool(),
        })
    }
}

/// What `X-Business-Use-Case-Usage` says of one account.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Usage {
    /// The longest `estimated_time_to_regain_access`, in minutes; 0 = access is not lost.
    pub regain_minutes: u32,
    /// The same of entries whose `type` is `whatsapp` alone: messaging, not management.
    pub messaging_regain_minutes: u32,
    /// The highest percentage of calls, time or CPU time that is used.
    pub percent: u32,
}

impl Usage {
    /// Reads what an answer's headers say of `account`; nothing where the header is not there, repeated, longer than 16 KiB or
    /// of another form, or speaks of other objects alone: one token may serve several, and each has a usage of its own.
    #[must_use]
    pub fn read(headers: &HeaderMap, account: Option<WabaId>) -> Self {
        let Some(account) = account else {
            return Self::default();
        };
        let mut values = headers.get_all(BUSINESS_USAGE).iter();
        match (values.next(), values.next()) {
            (Some(value), None) if value.len() <= MOST_HEADER => {
                Self::parse(value.as_bytes(), account).unwrap_or_default()
            }
            _ => Self::default(),
        }
    }

    fn parse(text: &[u8], account: WabaId) -> Option<Self> {
        #[derive(Deserialize)]
        struct Entry {
            #[serde(rename = "type")]
            kind: String,
            #[serde(default)]
            call_count: u32,
            #[serde(default)]
            total_cputime: u32,
            #[serde(default)]
            total_time: u32,
            #[serde(default)]
            estimated_time_to_regain_access: u32,
        }
        let mut objects: HashMap<String, Vec<Entry>> = serde_json::from_slice(text).ok()?;
        let mut usage = Self::default();
        for entry in objects.remove(&account.to_string()).unwrap_or_default() {
            let minutes = entry.estimated_time_to_regain_access;
            usage.regain_minutes = usage.regain_minutes.max(minutes);
            if entry.kind.eq_ignore_ascii_case("whatsapp") {
                usage.messaging_regain_minutes = usage.messaging_regain_minutes.max(minutes);
            }
            let percent = entry.call_count.max(entry.total_cputime).max(entry.total_time);
            usage.percent = usage.percent.max(percent);
        }
        Some(usage)
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn usage(text: &str) -> Usage {
        let mut headers = HeaderMap::new();
        headers.insert(BUSINESS_USAGE, HeaderValue::from_str(text).unwrap());
        Usage::read(&headers, account("102290129340398"))
    }

    fn account(id: &str) -> Option<WabaId> {
        id.parse().ok()
    }

    #[test]
    fn an_error_is_read_from_its_body() {
        let body = br#"{"error":{"message":"(#130429) Rate limit hit","type":"OAuthException","code":130429,
            "error_subcode":2494055,"error_data":{"messaging_product":"whatsapp","details":"x"},
            "is_transient":false,"fbtrace_id":"A"}}"#;
        let expected = Failure {
            code: 130_429,
            subcode: Some(2_494_055),
            is_transient: Some(false),
        };
        assert_eq!(Failure::read(body), Some(expected));
        let least = Failure::read(br#"{"error":{"code":4,"error_data":"text"}}"#).unwrap();
        assert_eq!((least.code, least.subcode, least.is_transient), (4, None, None));
        let odd = br#"{"error":{"code":4,"error_subcode":"33","is_transient":"yes"}}"#;
        assert_eq!(Failure::read(odd), Some(least));
    }

    #[test]
    fn what_is_no_error_is_none() {
        let long = format!(r#"{{"error":{{"code":4}},"x":"{}"}}"#, "a".repeat(MOST_BODY));
        for body in [
            "",
            "<html>",
            "{}",
            r#"{"error":"4"}"#,
            r#"{"error":{"code":"4"}}"#,
            r#"{"error":{"code":4.0}}"#,
            r#"{"error":{"code":4,"code":5}}"#,
            r#"{"error":{"code":4},"error":{"code":5}}"#,
            r#"{"error":{"code":4}} x"#,
            r#"{"messages":[{"id":"wamid.x"}]}"#,
            &long,
        ] {
            assert_eq!(Failure::read(body.as_bytes()), None);
        }
    }

    #[test]
    fn usage_is_the_worst_of_an_accounts_entries() {
        let text = r#"{"102290129340398":[
            {"type":"whatsapp_business_management","call_count":95,"total_cputime":20,"total_time":20,"estimated_time_to_regain_access":19},
            {"type":"whatsapp","call_count":1,"total_cputime":101,"total_time":1,"estimated_time_to_regain_access":3}],"5":[]}"#
            .replace('\n', "");
        let expected = Usage {
            regain_minutes: 19,
            messaging_regain_minutes: 3,
            percent: 101,
        };
        assert_eq!(usage(&text), expected);
        for text in [
            "",
            "28",
            "[]",
            r#"{"1":{}}"#,
            r#"{"1":[{"call_count":1}]}"#,
            r#"{"1":[{"type":"whatsapp","call_count":-1}]}"#,
        ] {
            assert_eq!(usage(text), Usage::default(), "{text}");
        }
        let mut twice = HeaderMap::new();
        for _ in 0..2 {
            twice.append(BUSINESS_USAGE, HeaderValue::from_str(&text).unwrap());
        }
        let ours = account("102290129340398");
        assert_eq!(Usage::read(&twice, ours), Usage::default());
        assert_eq!(Usage::read(&HeaderMap::new(), ours), Usage::default());
        // What is said of others says nothing of us, nor does anything of an account that nobody named.
        let mut once = HeaderMap::new();
        once.insert(BUSINESS_USAGE, HeaderValue::from_str(&text).unwrap());
        assert_eq!(Usage::read(&once, ours), expected);
        for other in [account("5"), account("999"), None] {
            assert_eq!(Usage::read(&once, other), Usage::default());
        }
    }

    proptest! {
        #[test]
        fn no_answer_makes_the_readers_fail(body: Vec<u8>, text in "[ -~]{0,80}") {
            let _ = Failure::read(&body);
            let _ = usage(&text);
        }
    }
}
