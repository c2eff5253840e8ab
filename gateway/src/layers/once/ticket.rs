//! What a send travels on that is sent once, and what Meta's answer means for the next one with the same key.

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::body::ResponseBody;
use crate::call::Answer;
use crate::error::trace_id;
use crate::graph::failure::Failure;
use crate::graph::message::Recipient;
use crate::stores::outcomes::{Entry, FirstAnswer, Name, Settled};

/// The largest answer that is kept whole, in bytes. Meta's to a send have a few hundred.
const MOST_BODY: usize = 16 * 1024;
/// The longest `Content-Type` that is kept, in bytes.
const MOST_CONTENT_TYPE: usize = 255;

const JSON: HeaderValue = HeaderValue::from_static("application/json; charset=UTF-8");

/// The right to send what it is for, and the duty to say what came of it.
///
/// Dropped before it [sets out](Self::sets_out), it is as if nobody had asked; afterwards nobody knows what came of it.
#[derive(Debug)]
pub struct Ticket {
    entry: Entry,
    name: Name,
}

impl Ticket {
    pub(super) const fn new(entry: Entry, name: Name) -> Self {
        Self { entry, name }
    }

    /// From now on bytes of it may reach Meta.
    pub fn sets_out(&mut self) {
        self.entry.sets_out();
    }

    /// No byte of it was sent.
    pub fn free(self) {
        self.entry.free();
    }

    /// Keeps Meta's answer for all who ask again, if it is the outcome; it is known when this is ready.
    pub async fn book(self, parts: &http::response::Parts, body: &Bytes) {
        let answer = match Fate::of(parts.status, body) {
            Fate::Free => return self.entry.free(),
            Fate::Keep => to_keep(parts, body),
        };
        let Some(answer) = answer else {
            // Dropped: not known.
            return;
        };
        let kept = match self.name.seal(&answer) {
            Ok(sealed) => self.entry.finish(sealed).await.map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        if let Err(error) = kept {
            tracing::warn!(
                error,
                "an outcome could not be kept: who asks again is told that it is not known"
            );
        }
    }
}

/// What an answer to a send means for the next one with the same key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Fate {
    /// It is the outcome.
    Keep,
    /// Nothing was done, and what stood in the way may pass: the next one is sent.
    Free,
}

impl Fate {
    /// By `code`, as Meta advises, whatever the status (Cloud API, "Error codes"; Graph API, "Handling Errors"). What may have
    /// been sent in spite of its error (1, 2, 131000, 131016, and whatever comes as 5xx) is kept like what was.
    fn of(status: StatusCode, body: &[u8]) -> Self {
        let failure = Failure::read(body);
        if let Some(Failure {
            code: 100,
            subcode: Some(33),
            ..
        }) = failure
        {
            // No such number, or none that this token may use (Graph API, "Handling Errors"): a stranger's sends fill no room.
            return Self::Free;
        }
        let code = failure.map(|failure| failure.code);
        match code {
            // Throttling.
            Some(
                4 | 17 | 32 | 341 | 613 | 80_007 | 80_008 | 130_429 | 131_048 | 131_056 | 131_064 | 131_208
                | 133_016,
            )
            // Authorization: a renewed token may send it.
            | Some(0 | 3 | 10 | 102 | 190 | 200..=299)
            // Maintenance.
            | Some(131_057 | 133_004 | 2_494_100) => Self::Free,
            None if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::TOO_MANY_REQUESTS) => Self::Free,
            _ => Self::Keep,
        }
    }
}

/// What of an answer is kept; `None` if that would not say what came of the send.
fn to_keep(parts: &http::response::Parts, body: &Bytes) -> Option<FirstAnswer> {
    let content_type = parts
        .headers
        .get(CONTENT_TYPE)
        .filter(|value| value.len() <= MOST_CONTENT_TYPE);
    let status = parts.status;
    if body.len() <= MOST_BODY {
        return Some(FirstAnswer {
            status,
            content_type: content_type.cloned(),
            body: body.clone(),
        });
    }
    let wamid = wamid(body);
    let body = match Failure::read(body) {
        Some(failure) => failed(failure.code, "its first answer was too large to be kept"),
        None if status.is_success() => accepted(&wamid?, None),
        None => return None,
    };
    Some(answer_of(status, &body))
}

/// The id of the message that an answer says was accepted (Cloud API, "Messages").
fn wamid(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Accepted {
        messages: Vec<Message>,
    }
    #[derive(Deserialize)]
    struct Message {
        id: String,
    }
    let accepted: Accepted = serde_json::from_slice(body).ok()?;
    accepted.messages.into_iter().next().map(|message| message.id)
}

/// The answer to a send to `recipient` of which a webhook told what came of it.
pub(super) fn settled_answer(settled: &Settled, recipient: Option<&Recipient<'_>>) -> FirstAnswer {
    match settled {
        Settled::Accepted { wamid } => {
            let input = recipient.and_then(|named| named.to.as_ref().or(named.recipient.as_ref()));
            answer_of(StatusCode::OK, &accepted(wamid, input.map(AsRef::as_ref)))
        }
        Settled::Failed { code } => {
            let details = "Meta's webhook said so; the first request had no whole answer";
            answer_of(StatusCode::BAD_REQUEST, &failed(*code, details))
        }
    }
}

/// As Meta says that it has accepted a message (Cloud API, "Messages").
fn accepted(wamid: &str, input: Option<&str>) -> Value {
    let contacts: Vec<_> = input.map(|input| json!({ "input": input })).into_iter().collect();
    json!({ "messaging_product": "whatsapp", "contacts": contacts, "messages": [{ "id": wamid }] })
}

/// As Meta says that it has not (Cloud API, "Error codes").
fn failed(code: i64, details: &str) -> Value {
    json!({ "error": {
        "message": format!("(#{code}) The message was not sent"),
        "type": "OAuthException",
        "code": code,
        "error_data": { "messaging_product": "whatsapp", "details": details },
        "fbtrace_id": trace_id(),
    } })
}

fn answer_of(status: StatusCode, body: &Value) -> FirstAnswer {
    FirstAnswer {
        status,
        content_type: Some(JSON),
        body: body.to_string().into(),
    }
}

/// The first answer once more.
pub(super) fn repeated(first: FirstAnswer) -> Answer {
    let mut answer = Answer::new(ResponseBody::whole(first.body));
    *answer.status_mut() = first.status;
    let headers = answer.headers_mut();
    if let Some(content_type) = first.content_type {
        headers.insert(CONTENT_TYPE, content_type);
    }
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(status: u16) -> http::response::Parts {
        let (mut parts, ()) = http::Response::new(()).into_parts();
        parts.status = StatusCode::from_u16(status).unwrap();
        parts
            .headers
            .insert(CONTENT_TYPE, HeaderValue::from_static("text/html"));
        parts
    }

    fn error(code: i64) -> String {
        format!("{{\"error\":{{\"code\":{code}}}}}")
    }

    #[test]
    fn what_was_refused_for_a_while_frees_its_key_and_all_else_is_the_outcome() {
        // Whatever the status: errors come as 400, as 5xx and, suppressed, as 200.
        for status in [200, 400, 401, 403, 429, 500, 503] {
            let of = |code| Fate::of(parts(status).status, error(code).as_bytes());
            for code in [
                4, 17, 32, 341, 613, 80_007, 80_008, 130_429, 131_048, 131_056, 131_064, 131_208, 133_016, 0,
                3, 10, 102, 190, 200, 250, 299, 131_057, 133_004, 2_494_100,
            ] {
                assert_eq!(of(code), Fate::Free, "{status} {code}");
            }
            for code in [
                1, 2, 131_000, 131_016, 100, 33, 300, 199, 131_005, 131_008, 131_009, 131_026, 131_047,
                131_049, 132_000, 133_010, 368, 131_031,
            ] {
                assert_eq!(of(code), Fate::Keep, "{status} {code}");
            }
        }
        let unknown_object = br#"{"error":{"code":100,"error_subcode":33}}"#;
        assert_eq!(Fate::of(StatusCode::BAD_REQUEST, unknown_object), Fate::Free);
        for (status, fate) in [
            (200, Fate::Keep),
            (400, Fate::Keep),
            (401, Fate::Free),
            (403, Fate::Keep),
            (429, Fate::Free),
            (500, Fate::Keep),
            (503, Fate::Keep),
        ] {
            assert_eq!(Fate::of(parts(status).status, b"<html>"), fate, "{status}");
        }
    }

    #[test]
    fn an_answer_is_kept_as_it_is_up_to_a_size() {
        let body = Bytes::from(vec![b'x'; MOST_BODY]);
        let kept = to_keep(&parts(500), &body).unwrap();
        assert_eq!((kept.status.as_u16(), &kept.body), (500, &body));
        assert_eq!(kept.content_type.unwrap(), "text/html");
    }

    #[test]
    fn of_a_larger_answer_what_says_what_came_of_it_is_kept() {
        let padding = "x".repeat(MOST_BODY);
        let sent = format!(r#"{{"messages":[{{"id":"wamid.1"}}],"padding":"{padding}"}}"#);
        let kept = to_keep(&parts(200), &sent.into()).unwrap();
        let body: Value = serde_json::from_slice(&kept.body).unwrap();
        assert_eq!(body["messages"][0]["id"], "wamid.1");
        let refused = format!(r#"{{"error":{{"code":131026}},"padding":"{padding}"}}"#);
        let kept = to_keep(&parts(400), &refused.into()).unwrap();
        let body: Value = serde_json::from_slice(&kept.body).unwrap();
        assert_eq!(
            (kept.status.as_u16(), &body["error"]["code"]),
            (400, &json!(131_026))
        );
        for status in [200, 400, 500] {
            assert_eq!(to_keep(&parts(status), &padding.clone().repeat(2).into()), None);
        }
    }

    #[test]
    fn what_a_webhook_settled_is_answered_in_metas_shape() {
        let recipient = Recipient {
            to: Some("+1 555 010 0001".into()),
            ..Recipient::default()
        };
        let settled = Settled::Accepted {
            wamid: "wamid.2".into(),
        };
        let answer = settled_answer(&settled, Some(&recipient));
        let body: Value = serde_json::from_slice(&answer.body).unwrap();
        let expected = json!({
            "messaging_product": "whatsapp",
            "contacts": [{ "input": "+1 555 010 0001" }],
            "messages": [{ "id": "wamid.2" }],
        });
        assert_eq!((answer.status, body), (StatusCode::OK, expected));
        let answer = settled_answer(&Settled::Failed { code: 131_026 }, None);
        let body: Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(
            (answer.status.as_u16(), &body["error"]["code"]),
            (400, &json!(131_026))
        );
    }
}
