//! What the emulator remembers for assertions. Each list keeps the newest entries up to [`Options::record`].
//!
//! [`Options::record`]: crate::Options::record

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::digest;
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method, Version, request};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::fault::Operation;
use crate::ids::hex;

/// Longer request bodies are remembered by length and digest only.
pub const BODY_KEPT: usize = 64 * 1024;

/// One HTTP request as it arrived.
#[derive(Clone, Debug)]
pub struct Received {
    /// Counted from 1 in the order in which heads arrived.
    pub serial: u64,
    /// The connection that it came on, counted from 1 in the order of acceptance.
    pub connection: u64,
    /// `HTTP/1.1` or `HTTP/2.0`.
    pub version: Version,
    /// As sent: an override by parameter does not change it.
    pub method: Method,
    /// The path, undecoded.
    pub path: String,
    /// The query without its `?`, undecoded.
    pub query: Option<String>,
    /// All headers; names are in lower case.
    pub headers: HeaderMap,
    /// What method and path make of it.
    pub operation: Operation,
    /// The body's bytes, if it was whole and no longer than [`BODY_KEPT`].
    pub body: Option<Bytes>,
    /// How many bytes of the body arrived.
    pub body_len: u64,
    /// Lower-case hexadecimal SHA-256 of a whole body longer than [`BODY_KEPT`].
    pub body_sha256: Option<String>,
    /// Whether the body arrived to its end.
    pub complete: bool,
    /// Whether nothing more of it can come: it is complete, or was broken off.
    pub ended: bool,
}

impl Received {
    /// A header's value, if it has one that is text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The body as JSON, if it is kept and is JSON.
    #[must_use]
    pub fn json(&self) -> Option<Value> {
        self.body
            .as_ref()
            .and_then(|body| serde_json::from_slice(body).ok())
    }

    pub(crate) fn to_json(&self) -> Value {
        let headers: Vec<_> = self
            .headers
            .iter()
            .map(|(name, value)| json!([name.as_str(), String::from_utf8_lossy(value.as_bytes())]))
            .collect();
        json!({
            "serial": self.serial,
            "connection": self.connection,
            "version": format!("{:?}", self.version),
            "method": self.method.as_str(),
            "path": self.path,
            "query": self.query,
            "headers": headers,
            "operation": self.operation,
            "body": self.body.as_ref().map(|body| String::from_utf8_lossy(body)),
            "body_len": self.body_len,
            "body_sha256": self.body_sha256,
            "complete": self.complete,
            "ended": self.ended,
        })
    }
}

/// By which door a send came in. Where several apply, the first of this list is named.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Via {
    /// An element of a `batch`.
    Batch,
    /// Another HTTP method, with `method`, `_method` or `X-HTTP-Method-Override`.
    MethodOverride,
    /// The node in `ids` or in `id`, not in the path.
    Ids,
    /// Parameters in the query alone.
    Query,
    /// A urlencoded or multipart form.
    Form,
    /// A JSON body on the number's own edge.
    Direct,
}

/// A send that was accepted: a wamid was made.
#[derive(Clone, Debug, Serialize)]
pub struct SentMessage {
    /// The sending number.
    pub phone_number_id: u64,
    /// `messages`, `marketing_messages`, `messages_encrypted` or `calls`.
    pub edge: &'static str,
    /// The recipient as Meta understands it: canonical number, BSUID or group id; empty where it is not visible.
    pub recipient: String,
    /// The reply's id.
    pub wamid: String,
    /// The parameters as understood, wherever they came from, without tokens.
    pub body: Value,
    /// By which door it came in.
    pub via: Via,
    /// Media ids that it used.
    pub media: Vec<u64>,
    /// Emulated seconds since 1970.
    pub at: u64,
}

/// A medium that Meta holds now.
#[derive(Clone, Debug, Serialize)]
pub struct StoredMedia {
    /// Its node id.
    pub id: u64,
    /// The number that uploaded or received it.
    pub owner: u64,
    /// Without parameters.
    pub mime: String,
    /// Bytes.
    pub len: u64,
    /// Lower-case hexadecimal.
    pub sha256: String,
    /// Emulated seconds since 1970.
    pub created: u64,
    /// Emulated seconds since 1970; from then on it does not exist.
    pub ends: u64,
    /// The upload's own `ttl_minutes`, where it counted.
    pub ttl_minutes: Option<u64>,
    /// Whether a user sent it.
    pub inbound: bool,
    /// Whether only its owner may use it (Local Storage).
    pub private: bool,
    /// The upload's `use_case`; such media cannot be sent.
    pub use_case: Option<String>,
}

/// A call that reads or changes how a number is set up.
#[derive(Clone, Debug, Serialize)]
pub struct SettingsCall {
    /// The number.
    pub phone_number_id: u64,
    /// `read`, `settings`, `register`, `deregister`, `request_code` or `verify_code`.
    pub call: &'static str,
    /// The parameters as understood, without tokens.
    pub params: Value,
    /// The error's code where it was refused.
    pub refused: Option<i64>,
}

/// Content that went into Meta's storage by another door than `/media`.
#[derive(Clone, Debug, Serialize)]
pub struct OtherContent {
    /// `resumable_upload`, `flow_assets` or `group_picture`.
    pub door: &'static str,
    /// The session, Flow or group.
    pub node: String,
    /// Bytes.
    pub len: u64,
    /// Lower-case hexadecimal.
    pub sha256: String,
}

/// One attempt to deliver a webhook.
#[derive(Clone, Debug, Serialize)]
pub struct WebhookAttempt {
    /// Where to.
    pub url: String,
    /// What was sent.
    pub body: Value,
    /// Counted from 1 for each webhook.
    pub attempt: u32,
    /// The receiver's status; none if it gave none.
    pub status: Option<u16>,
    /// Emulated seconds since 1970.
    pub at: u64,
}

/// Entries in order, the newest `limit` of them.
pub(crate) struct Ring<T> {
    entries: VecDeque<T>,
    limit: usize,
}

impl<T: Clone> Ring<T> {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            entries: VecDeque::new(),
            limit,
        }
    }

    pub(crate) fn push(&mut self, entry: T) {
        if self.limit == 0 {
            return;
        }
        if self.entries.len() == self.limit {
            self.entries.pop_front();
        }
        self.entries.push_back(entry);
    }

    pub(crate) fn to_vec(&self) -> Vec<T> {
        self.entries.iter().cloned().collect()
    }

    pub(crate) fn clear(&mut self) {
        self.entries.clear();
    }
}

/// The list of received requests, and the bell that rings whenever anything observable changed.
pub(crate) struct Record {
    limit: usize,
    requests: Mutex<Requests>,
    pub(crate) changed: Notify,
}

struct Requests {
    ring: Ring<Received>,
    next: u64,
}

impl Record {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            limit,
            requests: Mutex::new(Requests {
                ring: Ring::new(limit),
                next: 1,
            }),
            changed: Notify::new(),
        }
    }

    pub(crate) fn received(&self) -> Vec<Received> {
        self.lock().ring.to_vec()
    }

    pub(crate) fn clear(&self) {
        self.lock().ring.clear();
    }

    /// Remembers a head; the body is told to the entry.
    pub(crate) fn open(
        self: &Arc<Self>,
        connection: u64,
        head: &request::Parts,
        operation: Operation,
    ) -> Entry {
        let mut serial = 0;
        if self.limit > 0 {
            let mut requests = self.lock();
            serial = requests.next;
            requests.next += 1;
            requests.ring.push(Received {
                serial,
                connection,
                version: head.version,
                method: head.method.clone(),
                path: head.uri.path().to_owned(),
                query: head.uri.query().map(str::to_owned),
                headers: head.headers.clone(),
                operation,
                body: None,
                body_len: 0,
                body_sha256: None,
                complete: false,
                ended: false,
            });
            drop(requests);
            self.changed.notify_waiters();
        }
        Entry {
            record: Arc::clone(self),
            serial,
            len: 0,
            kept: Kept::Empty,
            ended: false,
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Requests> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One request's place in the record. Dropped unfinished, it says that the request was broken off.
pub(crate) struct Entry {
    record: Arc<Record>,
    serial: u64,
    len: u64,
    kept: Kept,
    ended: bool,
}

enum Kept {
    Empty,
    One(Bytes),
    Several(BytesMut),
    Digest(digest::Context),
}

impl Entry {
    pub(crate) fn body(&mut self, chunk: &Bytes) {
        self.len += u64::try_from(chunk.len()).unwrap_or(0);
        if self.serial == 0 {
            return;
        }
        let short = self.len <= u64::try_from(BODY_KEPT).unwrap_or(u64::MAX);
        self.kept = match std::mem::replace(&mut self.kept, Kept::Empty) {
            Kept::Empty if short => Kept::One(chunk.clone()),
            Kept::One(first) if short => {
                let mut all = BytesMut::from(first);
                all.extend_from_slice(chunk);
                Kept::Several(all)
            }
            Kept::Several(mut all) if short => {
                all.extend_from_slice(chunk);
                Kept::Several(all)
            }
            Kept::Digest(mut context) => {
                context.update(chunk);
                Kept::Digest(context)
            }
            long => {
                let mut context = digest::Context::new(&digest::SHA256);
                match &long {
                    Kept::One(first) => context.update(first),
                    Kept::Several(all) => context.update(all),
                    Kept::Empty | Kept::Digest(_) => {}
                }
                context.update(chunk);
                Kept::Digest(context)
            }
        };
    }

    /// The body arrived to its end.
    pub(crate) fn finish(&mut self) {
        self.end(true);
    }

    fn end(&mut self, complete: bool) {
        self.ended = true;
        if self.serial == 0 {
            return;
        }
        let (body, sha256) = match std::mem::replace(&mut self.kept, Kept::Empty) {
            Kept::Empty => (Some(Bytes::new()), None),
            Kept::One(all) => (Some(all), None),
            Kept::Several(all) => (Some(all.freeze()), None),
            Kept::Digest(context) => (None, Some(hex(context.finish().as_ref()))),
        };
        let mut requests = self.record.lock();
        // Newest last: the entry is near the end, if it was not pushed out.
        let serial = self.serial;
        if let Some(entry) = requests
            .ring
            .entries
            .iter_mut()
            .rev()
            .find(|entry| entry.serial <= serial)
            && entry.serial == serial
        {
            entry.body_len = self.len;
            entry.complete = complete;
            entry.ended = true;
            if complete {
                entry.body = body;
                entry.body_sha256 = sha256;
            }
        }
        drop(requests);
        self.record.changed.notify_waiters();
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        if !self.ended {
            self.end(false);
        }
    }
}
