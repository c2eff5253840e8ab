//! What the rules need to know beside policy and request. The gateway gathers it; the rules only read it.

use crate::id::PhoneNumberId;
use crate::storage::ObservedStorage;
use crate::time::Timestamp;

/// Everything that a decision rests on beside the request itself.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The wall-clock time of the decision.
    pub now: Timestamp,
    /// What is known of each medium that the request names, in the order of [`Message::media_ids`], or the one medium of a
    /// media call.
    ///
    /// [`Message::media_ids`]: crate::message::Message::media_ids
    pub media: &'a [MediaFact],
    /// What the number's settings at Meta were read as.
    pub settings: SettingsFact,
    /// How many `register` (for a register) or `deregister` (for a deregister) calls for this number went to Meta in
    /// the last 72 hours.
    pub recent_registrations: u32,
}

/// Which number a medium belongs to, and until when it lives.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Pin {
    /// The number that uploaded it, or that it was sent to.
    pub number: PhoneNumberId,
    /// When Meta drops it, counted from the earliest moment at which Meta can have begun to count.
    pub ends: Timestamp,
    /// Where we know it from.
    pub origin: Origin,
}

/// Where a pin comes from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Origin {
    /// Meta's answer to an upload of ours.
    Upload,
    /// Meta's answer to a question after it: taken as inbound, which has the shorter life. When that began is not known.
    Inbound,
    /// Meta's webhook, which says when it came in.
    Webhook,
    /// It was deleted through the gateway; the pin stays as a gravestone until its end.
    Deleted,
}

/// What is known of one medium.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum MediaFact {
    /// It is pinned.
    Pinned(Pin),
    /// No pin is known, and Meta was not asked.
    Unknown,
    /// Meta was asked, naming the number, and said that it has no such medium; or asking again was no longer safe.
    Denied,
}

/// What is known of a number's settings at Meta.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SettingsFact {
    /// They were read within `verify_settings_minutes`.
    Read(ObservedStorage),
    /// They could not be read.
    Unread,
    /// They were not asked for, since the call or the mode does not need them.
    NotNeeded,
}
