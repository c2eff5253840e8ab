//! Faults on demand: which requests go wrong, how, and how often.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What kind of call a request is, as far as method and path tell.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// In a fault: every kind. No request is of this kind.
    Any,
    /// `messages`, `marketing_messages`, `messages_encrypted`, read receipts among them.
    Send,
    /// `POST …/media`.
    Upload,
    /// `GET /{id}` of an id that is not a number's or another known node's.
    MediaMetadata,
    /// The media host.
    MediaDownload,
    /// `DELETE /{id}`, the same way.
    MediaDelete,
    /// `settings`, `register`, `deregister`, `request_code`, `verify_code`.
    Settings,
    /// All else.
    Other,
}

/// One thing that shall go wrong.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fault {
    /// The kind of request that it strikes.
    pub on: Operation,
    /// Only requests whose path begins with this node id.
    #[serde(default)]
    pub number: Option<u64>,
    /// How often it strikes; none is until the faults are cleared.
    #[serde(default)]
    pub times: Option<u32>,
    /// What it does.
    pub effect: Effect,
}

impl Fault {
    /// A fault that strikes every request of the kind until it is cleared.
    #[must_use]
    pub fn new(on: Operation, effect: Effect) -> Self {
        Self {
            on,
            number: None,
            times: None,
            effect,
        }
    }

    /// The same, striking `times` times.
    #[must_use]
    pub fn times(mut self, times: u32) -> Self {
        self.times = Some(times);
        self
    }

    /// The same, only for requests whose path begins with this node id.
    #[must_use]
    pub fn number(mut self, number: u64) -> Self {
        self.number = Some(number);
        self
    }
}

/// How a request goes wrong. Which effects still do what was asked matters to callers who retry, so each says it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// Done as asked, this many real milliseconds later. Adds to other effects.
    Latency {
        /// Real milliseconds.
        millis: u64,
    },
    /// Not done; answered with this status and Graph error.
    Error {
        /// HTTP status, 200 to 599.
        status: u16,
        /// `error.code`.
        code: i64,
        /// `error.error_subcode`.
        #[serde(default)]
        subcode: Option<i64>,
        /// `error.error_data.details`.
        #[serde(default)]
        details: Option<String>,
    },
    /// Not done: the connection is reset once this many bytes of the body (or all, if fewer) were read.
    ResetRequest {
        /// Bytes of the request's body.
        after_bytes: u64,
    },
    /// Done, but the connection is reset once this many bytes of the reply, head included, were written.
    ResetReply {
        /// Bytes on the wire from the reply's status line on. A shorter reply passes, and the next one on the
        /// connection is struck.
        after_bytes: u64,
    },
    /// Done, but the reply's body ends after this many bytes, short of its `Content-Length`, with an orderly close.
    TruncateReply {
        /// Bytes of the reply's body.
        after_bytes: usize,
    },
    /// Done, but the reply is 200 with JSON that breaks off.
    Garbage,
    /// Not done: a 302 to this place.
    Redirect {
        /// The `Location`.
        location: String,
    },
    /// Done, but media URLs in the reply lead to this base URL.
    MediaUrl {
        /// Scheme and authority, without a slash at the end.
        base: String,
    },
    /// Done, but the reply's JSON object has these members instead of its own; a null takes one away.
    Members {
        /// The members.
        members: serde_json::Map<String, serde_json::Value>,
    },
    /// Done, but the reply's body is so many zeros, with a `Content-Length` that says so.
    Zeros {
        /// Bytes of the reply's body.
        bytes: u64,
    },
    /// Done, but the reply's body stops after this many bytes and never goes on; the connection stays open.
    StallReply {
        /// Bytes of the reply's body.
        after_bytes: usize,
    },
    /// Not done: no reply, ever; the connection stays open.
    Hang,
}

/// The faults that one request drew.
#[derive(Default)]
pub(crate) struct Drawn {
    pub(crate) latency: Option<Duration>,
    pub(crate) effect: Option<Effect>,
}

#[derive(Default)]
pub(crate) struct Faults {
    /// Read on every request, so that none pays for the lock while there are no faults.
    count: AtomicUsize,
    list: Mutex<Vec<Fault>>,
}

impl Faults {
    pub(crate) fn add(&self, fault: Fault) {
        let mut list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        list.push(fault);
        self.count.store(list.len(), Ordering::Release);
    }

    pub(crate) fn clear(&self) {
        let mut list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        list.clear();
        self.count.store(0, Ordering::Release);
    }

    pub(crate) fn list(&self) -> Vec<Fault> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// All latencies that match and the first other effect; each counts as one strike.
    pub(crate) fn draw(&self, operation: Operation, number: Option<u64>) -> Drawn {
        let mut drawn = Drawn::default();
        if self.count.load(Ordering::Acquire) == 0 {
            return drawn;
        }
        let mut list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        for fault in list.iter_mut() {
            let strikes = (fault.on == Operation::Any || fault.on == operation)
                && (fault.number.is_none() || fault.number == number)
                && fault.times != Some(0);
            if !strikes {
                continue;
            }
            match &fault.effect {
                Effect::Latency { millis } => {
                    *drawn.latency.get_or_insert_default() += Duration::from_millis(*millis);
                }
                _ if drawn.effect.is_some() => continue,
                effect => drawn.effect = Some(effect.clone()),
            }
            if let Some(times) = &mut fault.times {
                *times -= 1;
            }
        }
        list.retain(|fault| fault.times != Some(0));
        self.count.store(list.len(), Ordering::Release);
        drawn
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_strikes_its_kind_and_number_as_often_as_asked() {
        let faults = Faults::default();
        faults.add(Fault::new(Operation::Send, Effect::Hang).times(2).number(5));
        faults.add(Fault::new(Operation::Any, Effect::Latency { millis: 3 }));
        assert!(faults.draw(Operation::Upload, Some(5)).effect.is_none());
        assert!(faults.draw(Operation::Send, Some(6)).effect.is_none());
        for _ in 0..2 {
            let drawn = faults.draw(Operation::Send, Some(5));
            assert_eq!(drawn.effect, Some(Effect::Hang));
            assert_eq!(drawn.latency, Some(Duration::from_millis(3)));
        }
        assert!(faults.draw(Operation::Send, Some(5)).effect.is_none());
        faults.clear();
        assert!(faults.draw(Operation::Send, Some(5)).latency.is_none());
    }
}
