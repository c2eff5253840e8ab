//! What Meta knows: numbers, accounts, media and the other nodes, behind one lock.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use aws_lc_rs::digest;
use bytes::{Bytes, BytesMut};
use serde_json::{Map, Value};

use crate::ids::hex;
use crate::options::{NumberOptions, Options, State, Storage};
use crate::record::{OtherContent, Ring, SentMessage, SettingsCall, StoredMedia};

pub(crate) const MINUTE_MS: u64 = 60_000;

/// Bytes that were taken in.
#[derive(Clone)]
pub(crate) struct Content {
    /// None where only digest and length are kept.
    pub(crate) bytes: Option<Bytes>,
    pub(crate) len: u64,
    pub(crate) sha256: String,
    /// The first bytes, to see what kind of file it is.
    pub(crate) head: Vec<u8>,
}

impl Content {
    pub(crate) fn of(bytes: Bytes, keep: bool) -> Self {
        let mut builder = ContentBuilder::new(keep);
        builder.push(bytes);
        builder.finish()
    }
}

pub(crate) struct ContentBuilder {
    kept: Option<BytesMut>,
    len: u64,
    context: digest::Context,
    head: Vec<u8>,
}

const HEAD: usize = 32;

impl ContentBuilder {
    pub(crate) fn new(keep: bool) -> Self {
        Self {
            kept: keep.then(BytesMut::new),
            len: 0,
            context: digest::Context::new(&digest::SHA256),
            head: Vec::new(),
        }
    }

    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    pub(crate) fn push(&mut self, data: Bytes) {
        self.len += u64::try_from(data.len()).unwrap_or(0);
        self.context.update(&data);
        if self.head.len() < HEAD {
            self.head.extend(data.iter().take(HEAD - self.head.len()));
        }
        match &mut self.kept {
            Some(kept) if kept.is_empty() => *kept = BytesMut::from(data),
            Some(kept) => kept.extend_from_slice(&data),
            None => {}
        }
    }

    pub(crate) fn finish(self) -> Content {
        Content {
            bytes: self.kept.map(BytesMut::freeze),
            len: self.len,
            sha256: hex(self.context.finish().as_ref()),
            head: self.head,
        }
    }
}

pub(crate) struct Number {
    pub(crate) id: u64,
    pub(crate) waba: u64,
    pub(crate) display: String,
    pub(crate) verified_name: String,
    pub(crate) storage: Storage,
    pub(crate) state: State,
    pub(crate) pin: Option<String>,
    pub(crate) throughput: u32,
    pub(crate) expected_region: Option<String>,
    /// The code on its way while [`State::CodeRequested`].
    pub(crate) code: Option<String>,
    pub(crate) wrong_pins: u32,
    pub(crate) registers: Attempts,
    pub(crate) deregisters: Attempts,
    pub(crate) webhook: Option<String>,
    /// `calling`, `user_identity_change`, `payload_encryption` as last written.
    pub(crate) features: Map<String, Value>,
    /// When the next message may go, in [`Clock::limit_ns`](crate::clock::Clock::limit_ns).
    pub(crate) next_ns: u64,
}

impl Number {
    fn new(options: &NumberOptions) -> Self {
        Self {
            id: options.phone_number_id,
            waba: options.waba_id,
            display: options.display_phone_number.clone(),
            verified_name: options.verified_name.clone(),
            storage: options.storage.clone(),
            state: options.state,
            pin: options.pin.clone(),
            throughput: options.throughput.max(1),
            expected_region: options.expected_region.clone(),
            code: None,
            wrong_pins: 0,
            registers: Attempts::default(),
            deregisters: Attempts::default(),
            webhook: None,
            features: Map::new(),
            next_ns: 0,
        }
    }

    pub(crate) fn digits(&self) -> String {
        self.display.chars().filter(char::is_ascii_digit).collect()
    }
}

/// Calls in a moving 72 hours, at most ten; the eleventh blocks for 72 hours (Registration, "Limitations").
#[derive(Default)]
pub(crate) struct Attempts {
    at_ms: VecDeque<u64>,
    blocked_until_ms: u64,
}

impl Attempts {
    const MOST: usize = 10;
    const WINDOW_MS: u64 = 72 * 60 * MINUTE_MS;

    /// Counts one more; whether it may go on.
    pub(crate) fn count(&mut self, now_ms: u64) -> bool {
        if now_ms < self.blocked_until_ms {
            return false;
        }
        while self
            .at_ms
            .front()
            .is_some_and(|&at| at + Self::WINDOW_MS <= now_ms)
        {
            self.at_ms.pop_front();
        }
        if self.at_ms.len() >= Self::MOST {
            self.blocked_until_ms = now_ms + Self::WINDOW_MS;
            self.at_ms.clear();
            return false;
        }
        self.at_ms.push_back(now_ms);
        true
    }
}

#[derive(Default)]
pub(crate) struct Account {
    pub(crate) webhook: Option<String>,
    pub(crate) subscribed: bool,
    pub(crate) fields: Map<String, Value>,
}

pub(crate) struct Medium {
    pub(crate) info: StoredMedia,
    pub(crate) bytes: Option<Bytes>,
    pub(crate) ends_ms: u64,
}

pub(crate) struct Template {
    pub(crate) waba: u64,
    pub(crate) fields: Map<String, Value>,
}

impl Template {
    pub(crate) fn text(&self, key: &str) -> &str {
        self.fields.get(key).and_then(Value::as_str).unwrap_or_default()
    }
}

/// A node that only keeps what it is told: a Flow, a group.
pub(crate) struct Node {
    pub(crate) kind: NodeKind,
    /// The account or number that it was made on.
    pub(crate) parent: String,
    pub(crate) fields: Map<String, Value>,
    pub(crate) content: Option<Content>,
    /// What the form of a Flow's last asset said beside its file.
    pub(crate) asset: Map<String, Value>,
}

#[derive(Clone, Copy, Eq, PartialEq)]
pub(crate) enum NodeKind {
    Flow,
    Group,
    Signup,
}

/// A resumable upload.
pub(crate) struct Session {
    pub(crate) length: u64,
    /// Bytes so far.
    pub(crate) received: u64,
    pub(crate) handle: Option<String>,
}

pub(crate) struct World {
    pub(crate) numbers: BTreeMap<u64, Number>,
    pub(crate) accounts: BTreeMap<u64, Account>,
    pub(crate) templates: BTreeMap<u64, Template>,
    pub(crate) nodes: BTreeMap<String, Node>,
    pub(crate) sessions: HashMap<String, Session>,
    /// What edges without a behaviour of their own were told, by node and edge.
    pub(crate) edges: BTreeMap<(String, String), Map<String, Value>>,
    pub(crate) callback: Option<String>,
    /// Tokens that `oauth/access_token` handed out.
    pub(crate) tokens: BTreeSet<String>,
    pub(crate) pairs: HashMap<(u64, String), u64>,
    /// Until when free-form messages may go to a user, by number and user.
    pub(crate) windows: HashMap<(u64, String), u64>,
    pub(crate) sent: Ring<SentMessage>,
    pub(crate) settings_calls: Ring<SettingsCall>,
    pub(crate) other: Ring<OtherContent>,
    media: HashMap<u64, Medium>,
    ends: BTreeSet<(u64, u64)>,
    /// Bytes of media that were ever stored.
    pub(crate) stored_bytes: u64,
}

impl World {
    pub(crate) fn new(options: &Options) -> Self {
        let numbers: BTreeMap<_, _> = options
            .numbers
            .iter()
            .map(|number| (number.phone_number_id, Number::new(number)))
            .collect();
        let accounts = numbers
            .values()
            .map(|number| {
                (
                    number.waba,
                    Account {
                        subscribed: true,
                        ..Account::default()
                    },
                )
            })
            .collect();
        Self {
            numbers,
            accounts,
            templates: BTreeMap::new(),
            nodes: BTreeMap::new(),
            sessions: HashMap::new(),
            edges: BTreeMap::new(),
            callback: options.webhook_url.clone(),
            tokens: BTreeSet::new(),
            pairs: HashMap::new(),
            windows: HashMap::new(),
            sent: Ring::new(options.record),
            settings_calls: Ring::new(options.record),
            other: Ring::new(options.record),
            media: HashMap::new(),
            ends: BTreeSet::new(),
            stored_bytes: 0,
        }
    }

    pub(crate) fn add_number(&mut self, options: &NumberOptions) {
        self.accounts.entry(options.waba_id).or_default();
        self.numbers.insert(options.phone_number_id, Number::new(options));
    }

    /// Ends what is due, so that what is left is alive.
    pub(crate) fn live_media(&mut self, now_ms: u64) -> &mut HashMap<u64, Medium> {
        while let Some(&(ends, id)) = self.ends.first() {
            if ends > now_ms {
                break;
            }
            self.ends.pop_first();
            self.media.remove(&id);
        }
        &mut self.media
    }

    pub(crate) fn store(&mut self, medium: Medium, now_ms: u64) {
        self.live_media(now_ms);
        self.stored_bytes += medium.info.len;
        self.ends.insert((medium.ends_ms, medium.info.id));
        self.media.insert(medium.info.id, medium);
    }

    pub(crate) fn remove_medium(&mut self, id: u64) -> bool {
        let Some(medium) = self.media.remove(&id) else {
            return false;
        };
        self.ends.remove(&(medium.ends_ms, id));
        true
    }

    /// The number's own callback, else its account's, else the app's (Webhooks, Overrides).
    pub(crate) fn callback_of(&self, number: u64) -> Option<(String, bool)> {
        let own = self.numbers.get(&number);
        let account = own.and_then(|number| self.accounts.get(&number.waba));
        if account.is_some_and(|account| !account.subscribed) {
            return None;
        }
        let overridden = own
            .and_then(|number| number.webhook.as_ref())
            .or_else(|| account.and_then(|account| account.webhook.as_ref()));
        match overridden {
            Some(url) => Some((url.clone(), true)),
            None => self.callback.clone().map(|url| (url, false)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_eleventh_call_in_72_hours_blocks_for_72_hours() {
        let hour = 60 * MINUTE_MS;
        let mut attempts = Attempts::default();
        for n in 0..10 {
            assert!(attempts.count(n * hour));
        }
        assert!(!attempts.count(71 * hour));
        assert!(!attempts.count(142 * hour));
        assert!(attempts.count(143 * hour));
        let mut slow = Attempts::default();
        assert!((0..100).all(|n| slow.count(n * 8 * hour)));
    }
}
