//! Cases for the rules' tests: a [`Scene`] holds all that a decision reads, and strategies make any.

mod strategies;

use std::num::NonZeroU32;
use std::str::FromStr;

use super::{Case, Verdict};
use crate::decision::{Decision, Permit, admit, decide, explain};
use crate::facts::{Facts, MediaFact, Origin, Pin, SettingsFact};
use crate::id::PhoneNumberId;
use crate::message::{IdValue, MediaObject, Message, MessageKind};
use crate::operation::{Operation, OperationClass, Request, Subject};
use crate::policy::{
    AllowUnverified, Caller, CallerPolicy, Credential, Enforcement, Links, MediaPolicy, NumberPolicy,
    PairLimit, PolicySet, SendClasses, SendsPolicy, UnknownIds, WhenLimited,
};
use crate::reason::Reason;
use crate::settings::Generation;
use crate::storage::{ObservedStorage, StorageMode};
use crate::time::Timestamp;
use crate::ttl::TtlBounds;
use crate::upload::Upload;
pub(crate) use strategies::*;

pub(crate) const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);
/// The number that a scene is about unless it says otherwise.
pub(crate) const OURS: u64 = 1001;
/// The host that a restricted number's scene may link to.
pub(crate) const HOST: &str = "cdn.bank.example";

pub(crate) const ALL_CLASSES: [OperationClass; 5] = [
    OperationClass::Send,
    OperationClass::Media,
    OperationClass::Read,
    OperationClass::Storage,
    OperationClass::Manage,
];

pub(crate) fn id<T: FromStr<Err: std::fmt::Debug>>(digits: u64) -> T {
    digits.to_string().parse().unwrap()
}

pub(crate) fn in_country(code: &str) -> StorageMode {
    StorageMode::InCountry(code.parse().unwrap())
}

/// One of each mode.
pub(crate) fn three_modes() -> [StorageMode; 3] {
    [StorageMode::Default, in_country("DE"), StorageMode::NoStorage]
}

/// A number as `policies.toml` makes it when only the required keys are there, but for one host to link to.
pub(crate) fn number(digits: u64, storage: StorageMode) -> NumberPolicy {
    NumberPolicy {
        phone_number_id: id(digits),
        waba_id: None,
        storage,
        verify_settings_minutes: 15,
        allow_deregister: false,
        allow_unverified: AllowUnverified::default(),
        media: MediaPolicy {
            ttl: TtlBounds::from_minutes(60, 1440, 120),
            unknown_ids: UnknownIds::Verify,
            links: if storage.is_restricted() {
                Links::Hosts(vec![HOST.to_owned()])
            } else {
                Links::Any
            },
            cache_minutes: 60,
            reuse: false,
        },
        sends: SendsPolicy {
            per_second: 80,
            burst: 80,
            kept_for_inbound: 0,
            pair: PairLimit {
                seconds: 6,
                burst: 45,
            },
            when_limited: WhenLimited::Wait,
            max_wait_ms: 2_000,
            classes: SendClasses::default(),
            settle_unknown: false,
        },
    }
}

impl TtlBounds {
    pub(crate) fn from_minutes(min: u64, max: u64, default: u64) -> Self {
        let ttl = |minutes: u64| minutes.try_into().unwrap();
        Self::new(ttl(min), ttl(max), ttl(default)).unwrap()
    }
}

pub(crate) fn caller(name: &str, numbers: &[u64], may: &[OperationClass]) -> CallerPolicy {
    CallerPolicy {
        name: name.to_owned(),
        credential: Credential::TlsSan(format!("{name}.bank.example")),
        numbers: numbers.iter().map(|digits| id(*digits)).collect(),
        may: may.to_vec(),
        weight: NonZeroU32::MIN,
        repeat_window_s: None,
    }
}

pub(crate) fn text_message() -> Message<'static> {
    Message {
        kind: MessageKind::Known("text"),
        media: Vec::new(),
        stray_links: Vec::new(),
        unknown_context: Vec::new(),
    }
}

/// An image message with this one object.
pub(crate) fn image_message(object: MediaObject<'static>) -> Message<'static> {
    Message {
        kind: MessageKind::Known("image"),
        media: vec![object],
        ..text_message()
    }
}

pub(crate) fn object() -> MediaObject<'static> {
    MediaObject {
        at: "image".to_owned(),
        documented: true,
        id: None,
        link: None,
        unknown_members: Vec::new(),
    }
}

pub(crate) fn object_with_id(media: u64) -> MediaObject<'static> {
    MediaObject {
        id: Some(IdValue::Canonical(id(media))),
        ..object()
    }
}

pub(crate) fn object_with_link(link: &str) -> MediaObject<'static> {
    MediaObject {
        link: Some(link.to_owned().into()),
        ..object()
    }
}

/// A complete upload of a small PNG.
pub(crate) fn png(ttl_minutes: Option<&str>) -> Upload<'static> {
    Upload {
        complete: true,
        ttl_minutes: ttl_minutes.map(|text| text.to_owned().into()),
        declared_type: None,
        file_type: Some("image/png".into()),
        use_case: None,
        file_bytes: 1_000,
    }
}

/// A pin of a medium that lives for one more minute.
pub(crate) fn alive(number: u64) -> MediaFact {
    MediaFact::Pinned(Pin {
        number: id(number),
        ends: Timestamp::from_millis(NOW.millis() + 60_000),
        origin: Origin::Upload,
    })
}

/// All that a decision reads.
#[derive(Clone, Debug)]
pub(crate) struct Scene {
    pub(crate) policies: PolicySet,
    /// The index of the caller, or pass-through.
    pub(crate) caller: Option<usize>,
    /// Whether it is the gateway itself that calls.
    pub(crate) by_gateway: bool,
    pub(crate) request: Request<'static>,
    pub(crate) media: Vec<MediaFact>,
    pub(crate) settings: SettingsFact,
    pub(crate) recent_registrations: u32,
}

impl Scene {
    /// `operation` on one number with `storage`, in pass-through, with every fact as it should be.
    pub(crate) fn new(storage: StorageMode, operation: Operation<'static>) -> Self {
        let media = match &operation {
            Operation::SendMessage(message) | Operation::SendMarketing(message) => {
                message.media_ids().map(|_| alive(OURS)).collect()
            }
            Operation::ReadMedia(_) | Operation::DownloadMedia(_) | Operation::DeleteMedia(_) => {
                vec![alive(OURS)]
            }
            _ => Vec::new(),
        };
        let subject = match &operation {
            Operation::ReadMedia(_) | Operation::DownloadMedia(_) | Operation::DeleteMedia(_) => {
                Subject::Media { number: None }
            }
            _ => Subject::Number(id(OURS)),
        };
        let mut scene = Self {
            policies: PolicySet::default(),
            caller: None,
            by_gateway: false,
            request: Request {
                subject,
                generation: Generation::FromV21,
                operation,
            },
            media,
            settings: SettingsFact::Read(ObservedStorage::Mode(storage)),
            recent_registrations: 0,
        };
        scene.add(number(OURS, storage));
        scene
    }

    pub(crate) fn add(&mut self, number: NumberPolicy) {
        self.policies.numbers.insert(number.phone_number_id, number);
    }

    pub(crate) fn ours(&mut self) -> &mut NumberPolicy {
        self.policies.numbers.get_mut(&id::<PhoneNumberId>(OURS)).unwrap()
    }

    /// The same, asked by a caller that may use these numbers for everything.
    pub(crate) fn by_caller_of(mut self, numbers: &[u64]) -> Self {
        self.policies.callers = vec![caller("billing", numbers, &ALL_CLASSES)];
        self.caller = Some(0);
        self
    }

    pub(crate) fn monitored(mut self) -> Self {
        self.policies.enforcement = Enforcement::Monitor;
        self
    }

    pub(crate) fn caller(&self) -> Caller<'_> {
        if self.by_gateway {
            return Caller::Gateway;
        }
        self.caller.map_or(Caller::PassThrough, |index| {
            Caller::Known(&self.policies.callers[index])
        })
    }

    fn facts(&self) -> Facts<'_> {
        Facts {
            now: NOW,
            media: &self.media,
            settings: self.settings,
            recent_registrations: self.recent_registrations,
        }
    }

    pub(crate) fn judge(&self, rule: fn(&Case<'_>) -> Verdict) -> Verdict {
        rule(&Case::new(
            &self.policies,
            self.caller(),
            &self.request,
            &self.facts(),
        ))
    }

    pub(crate) fn decide(&self) -> Result<Permit, Reason> {
        match decide(&self.policies, self.caller(), &self.request, &self.facts()) {
            Decision::Allow(permit) => Ok(permit),
            Decision::Deny(reason) => Err(reason),
        }
    }

    pub(crate) fn admit(&self) -> Result<(), Reason> {
        admit(&self.policies, self.caller(), &self.request)
    }

    /// `"pass"`, or the slug of the refusal.
    pub(crate) fn outcome(&self) -> &'static str {
        self.decide().map_or_else(|reason| reason.slug(), |_| "pass")
    }

    pub(crate) fn explain(&self) -> Vec<(&'static str, Verdict)> {
        explain(&self.policies, self.caller(), &self.request, &self.facts())
    }

    /// The policy of the number that the path names.
    pub(crate) fn named(&self) -> Option<&NumberPolicy> {
        match self.request.subject {
            Subject::Number(number) => self.policies.numbers.get(&number),
            _ => None,
        }
    }
}
