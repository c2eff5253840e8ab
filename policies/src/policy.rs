//! The policy set: what compliance officers declare, as values that cannot be wrong.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::num::NonZeroU32;

use serde::Deserialize;

use crate::id::{PhoneNumberId, WabaId};
use crate::operation::{OperationClass, UnverifiedOperation};
use crate::storage::StorageMode;
use crate::ttl::TtlBounds;

/// Whether refusals refuse.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "snake_case")]
pub enum Enforcement {
    /// A refused request goes nowhere.
    #[default]
    Enforce,
    /// A refusal by a rule is recorded and the request passes: for the weeks before the policy goes live. What is malformed,
    /// unknown or not the caller's to do is refused all the same.
    Monitor,
}

/// Everything that the rules read.
#[derive(Clone, Debug, Default)]
pub struct PolicySet {
    /// Whether refusals refuse.
    pub enforcement: Enforcement,
    /// The numbers that may be used at all.
    pub numbers: HashMap<PhoneNumberId, NumberPolicy>,
    /// The services that may call; none at all means pass-through: callers present their own Meta token.
    pub callers: Vec<CallerPolicy>,
    /// The portfolios whose messaging limit is kept.
    pub portfolios: Vec<PortfolioPolicy>,
}

impl PolicySet {
    /// Whether callers bring their own Meta tokens because the policy names no callers.
    #[must_use]
    pub const fn is_pass_through(&self) -> bool {
        self.callers.is_empty()
    }

    /// Whether `waba` is the account of some number.
    #[must_use]
    pub fn knows_account(&self, waba: WabaId) -> bool {
        self.numbers.values().any(|number| number.waba_id == Some(waba))
    }
}

/// The policy of one phone number.
#[derive(Clone, Debug)]
pub struct NumberPolicy {
    /// The number.
    pub phone_number_id: PhoneNumberId,
    /// The account that it belongs to, if declared: makes the account's edges known.
    pub waba_id: Option<WabaId>,
    /// The storage mode that its settings at Meta must show.
    pub storage: StorageMode,
    /// How long a reading of its real settings is good, in minutes; at least 1. Restricted numbers only.
    pub verify_settings_minutes: u32,
    /// Whether `deregister`, which switches Local Storage off, may be called.
    pub allow_deregister: bool,
    /// What is allowed although Meta does not document how the mode treats it.
    pub allow_unverified: AllowUnverified,
    /// Media.
    pub media: MediaPolicy,
    /// Pace of sends.
    pub sends: SendsPolicy,
}

/// What `allow_unverified` names.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct AllowUnverified {
    /// Operations.
    pub operations: Vec<UnverifiedOperation>,
    /// Message types that are not among the documented ones.
    pub message_types: Vec<String>,
}

/// The media policy of one number.
#[derive(Clone, Debug)]
pub struct MediaPolicy {
    /// Bounds of `ttl_minutes`, and what is written into uploads that carry none. Only `no_storage` numbers use it.
    pub ttl: TtlBounds,
    /// What to do with a media id that no pin is known of.
    pub unknown_ids: UnknownIds,
    /// Which hosts media may be sent from by `link`.
    pub links: Links,
    /// Upper bound of a cached download's life, in minutes; 0 = never cache.
    pub cache_minutes: u32,
    /// Whether a second upload of the same file may be answered with the first medium's id.
    pub reuse: bool,
}

/// What to do with a media id that no pin is known of.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "snake_case")]
pub enum UnknownIds {
    /// Ask Meta, naming the number; what Meta says is that number's is pinned to it.
    Verify,
    /// Refuse.
    Deny,
    /// Let pass. Only for `default` numbers.
    Allow,
}

/// Which hosts `link` media may come from.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Links {
    /// Any: the default of `default` numbers.
    Any,
    /// These hosts exactly, lower case, over https on port 443. None at all is the default of restricted numbers.
    Hosts(Vec<String>),
}

/// How fast one number may send.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SendsPolicy {
    /// Messages per second, at least 1 (Cloud API, "Throughput": 80, upgraded 1 000, 20 beside the Business app).
    pub per_second: u32,
    /// Messages at once, at least 1.
    pub burst: u32,
    /// How many of `per_second` sends leave to inbound messages, which Meta counts as well; less than `per_second`.
    pub kept_for_inbound: u32,
    /// Pace towards one recipient.
    pub pair: PairLimit,
    /// What happens to a send above the limit, unless its class says otherwise.
    pub when_limited: WhenLimited,
    /// How long `wait` holds a send, in milliseconds.
    pub max_wait_ms: u32,
    /// What the classes of messages have of their own.
    pub classes: SendClasses,
    /// Whether sends carry a marker of the gateway's in `biz_opaque_callback_data`, so that a later status webhook can settle
    /// a send whose outcome is not known. Callers' own values are kept inside it.
    pub settle_unknown: bool,
}

impl SendsPolicy {
    /// What happens to a send of `class` above the limit.
    #[must_use]
    pub fn when_limited(&self, class: SendClass) -> WhenLimited {
        let own = self.classes.when_limited.get(&class);
        own.copied().unwrap_or(self.when_limited)
    }
}

/// What a message is for, the most urgent first.
///
/// Templates have one of Meta's three categories (Cloud API, "Template categories"); what is no template answers a
/// person and is `Service`.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum SendClass {
    /// One-time passwords.
    Authentication,
    /// What follows from something that the recipient did: receipts, appointments, alerts.
    Utility,
    /// Free-form messages within a service window.
    Service,
    /// Everything else, and templates of a class that is not known: nothing is urgent because nobody said what it is.
    Marketing,
}

impl SendClass {
    /// Every class, the most urgent first.
    pub const ALL: [Self; 4] = [
        Self::Authentication,
        Self::Utility,
        Self::Service,
        Self::Marketing,
    ];

    /// The class of templates of one of Meta's categories, whose names come in capitals (Cloud API, "Template categories").
    #[must_use]
    pub fn of_category(category: &str) -> Option<Self> {
        let of = |class: &Self| category.eq_ignore_ascii_case(class.name());
        [Self::Authentication, Self::Utility, Self::Marketing]
            .into_iter()
            .find(of)
    }

    /// Its name in `policies.toml`, and as a label.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Authentication => "authentication",
            Self::Utility => "utility",
            Self::Service => "service",
            Self::Marketing => "marketing",
        }
    }
}

/// What `[number.sends.classes]` says.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct SendClasses {
    /// What happens above the limit to sends of classes that say so themselves.
    pub when_limited: BTreeMap<SendClass, WhenLimited>,
    /// The class of each listed template, by its name.
    pub templates: BTreeMap<String, SendClass>,
}

/// Numbers that share one messaging limit: unique recipients outside a service window in a moving 24 hours
/// (Cloud API, "Messaging limits": per business portfolio).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PortfolioPolicy {
    /// Its numbers, as far as they use this gateway; each is in one portfolio only.
    pub numbers: Vec<PhoneNumberId>,
    /// How many, at least 1. Meta's steps are 250, 2 000, 10 000 and 100 000.
    pub unique_recipients_24h: u32,
}

/// The pace towards one recipient (Cloud API, "About the platform", pair rate limit).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PairLimit {
    /// Seconds per message, at least 1.
    pub seconds: u32,
    /// Messages at once, at least 1.
    pub burst: u32,
}

/// What happens to a send above the limit.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "snake_case")]
pub enum WhenLimited {
    /// It is held for up to `max_wait_ms`.
    Wait,
    /// It is refused at once.
    Reject,
}

/// One internal service.
#[derive(Clone, Debug)]
pub struct CallerPolicy {
    /// Its name, for logs and the audit trail.
    pub name: String,
    /// How it proves who it is.
    pub credential: Credential,
    /// The numbers that it may use.
    pub numbers: Vec<PhoneNumberId>,
    /// What it may do with them.
    pub may: Vec<OperationClass>,
    /// Its share of a number's pace beside other callers whose sends wait: one of weight 2 sends twice as many as one of
    /// weight 1.
    pub weight: NonZeroU32,
    /// Within how many seconds a send with the same body as one before, and without a key, is answered like that one instead of
    /// being sent; `None`: never. Bounds: 1 to 3600.
    pub repeat_window_s: Option<NonZeroU32>,
}

impl CallerPolicy {
    /// Whether it may use `number`.
    #[must_use]
    pub fn may_use(&self, number: PhoneNumberId) -> bool {
        self.numbers.contains(&number)
    }
}

/// How a caller proves who it is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Credential {
    /// A bearer key, by its SHA-256.
    KeySha256([u8; 32]),
    /// A client certificate with this DNS name among its subject alternative names.
    TlsSan(String),
}

/// On whose behalf a request is made.
#[derive(Clone, Copy, Debug)]
pub enum Caller<'a> {
    /// No callers are declared: whoever presents a token, with all numbers of the policy.
    PassThrough,
    /// A declared service.
    Known(&'a CallerPolicy),
    /// The gateway itself, which may ask its questions and nothing else.
    Gateway,
}

impl Caller<'_> {
    /// Whether it may use `number` at all.
    #[must_use]
    pub fn may_use(self, number: PhoneNumberId) -> bool {
        match self {
            Self::PassThrough | Self::Gateway => true,
            Self::Known(caller) => caller.may_use(number),
        }
    }

    /// Whether it may use any number that `policies` declares.
    #[must_use]
    pub fn may_use_any(self, policies: &PolicySet) -> bool {
        match self {
            Self::PassThrough | Self::Gateway => !policies.numbers.is_empty(),
            Self::Known(caller) => caller.numbers.iter().any(|id| policies.numbers.contains_key(id)),
        }
    }

    /// The strictest storage mode among the numbers that it may use: what judges calls that name no number. Of several
    /// countries it is that of the number with the lowest id, so that the answer is always the same.
    #[must_use]
    pub fn strictest_mode(self, policies: &PolicySet) -> StorageMode {
        policies
            .numbers
            .values()
            .filter(|number| self.may_use(number.phone_number_id))
            .map(|number| (number.storage, number.phone_number_id))
            .max_by_key(|(storage, id)| {
                let strictness = match storage {
                    StorageMode::Default => 0,
                    StorageMode::InCountry(_) => 1,
                    StorageMode::NoStorage => 2,
                };
                (strictness, Reverse(*id))
            })
            .map_or(StorageMode::Default, |(storage, _)| storage)
    }
}
