//! Why a request was refused: one variant a "no", with the values that made it so.

use std::fmt;

use crate::id::{MediaId, PhoneNumberId, WabaId};
use crate::operation::{OperationClass, UnverifiedOperation};
use crate::storage::{ObservedStorage, StorageMode};
use crate::time::Timestamp;
use crate::ttl::TtlBounds;

/// Why a request was refused, with the values that made it so.
///
/// `Display` says it to the caller's developer: which rule, which number, what was allowed and what came. It names another
/// number as an owner only where the caller may use that number as well.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Reason {
    /// The path names a number that no policy is declared for.
    NumberNotInPolicy(PhoneNumberId),
    /// The path names an account that no number of the policy belongs to.
    AccountNotInPolicy(WabaId),
    /// The caller may not use this number.
    NumberNotAllowed(PhoneNumberId),
    /// The call concerns no number that the caller may use.
    NothingAllowed,
    /// The caller may not do this.
    OperationNotAllowed {
        /// What it asked for.
        operation: &'static str,
        /// The class that it lacks.
        class: OperationClass,
    },
    /// The storage mode forbids the operation.
    ForbiddenByMode {
        /// What was asked for.
        operation: &'static str,
        /// The mode that forbids it.
        mode: StorageMode,
        /// What the policy could name in `allow_unverified`, where that would help.
        allow: Option<UnverifiedOperation>,
    },
    /// Webhooks would go elsewhere.
    WebhookRedirect,
    /// `ttl_minutes` is not a plain whole number.
    TtlNotWhole {
        /// What came.
        came: String,
        /// What the policy allows.
        bounds: TtlBounds,
    },
    /// `ttl_minutes` is outside the policy's bounds (or Meta's, which the policy's lie in).
    TtlOutOfBounds {
        /// What came, in minutes.
        came: u64,
        /// What the policy allows.
        bounds: TtlBounds,
    },
    /// `ttl_minutes` on a number without No Storage.
    TtlWithoutNoStorage {
        /// The number's mode.
        mode: StorageMode,
    },
    /// The medium is not this number's, is not known, or is somebody else's: they look alike on purpose.
    MediaNotUsable {
        /// What was named; `None` where the value is no media id at all.
        media: Option<MediaId>,
        /// The number that wanted it.
        number: Option<PhoneNumberId>,
    },
    /// The medium belongs to another number that the caller may use as well.
    MediaOfOtherNumber {
        /// The medium.
        media: MediaId,
        /// The number that wanted it.
        number: PhoneNumberId,
        /// The number that it belongs to.
        owner: PhoneNumberId,
    },
    /// The medium's life is over.
    MediaEnded {
        /// The medium.
        media: MediaId,
        /// When it had ended at the latest.
        ended: Timestamp,
    },
    /// A media object has both `id` and `link`.
    IdAndLink {
        /// Where.
        at: String,
    },
    /// A `link` that is not plain `https` to one of the policy's hosts.
    LinkNotAllowed {
        /// Where.
        at: String,
        /// The host that was named, or `None` where the link is not plain `https://host/…`.
        host: Option<String>,
    },
    /// A message type that is not among the documented ones.
    UnknownMessageType {
        /// What came; `None` where there was no `type`.
        came: Option<String>,
    },
    /// A member that is not known at this place.
    UnknownMember {
        /// The object.
        at: String,
        /// The member.
        member: String,
    },
    /// A medium or link at a place where Meta documents none.
    UndocumentedReference {
        /// Where.
        at: String,
    },
    /// A settings call that does not lead to the policy.
    SettingsContradictPolicy {
        /// The mode that the policy declares.
        declared: StorageMode,
        /// What the call would do.
        what: String,
    },
    /// A registration that does not lead to the policy.
    RegistrationContradictsPolicy {
        /// The mode that the policy declares.
        declared: StorageMode,
        /// What the call would do.
        what: String,
    },
    /// `deregister` without `allow_deregister`.
    DeregisterNotAllowed {
        /// The mode that would be switched off.
        mode: StorageMode,
    },
    /// One more call would lock the number out for 72 hours.
    RegistrationLockout {
        /// How many calls there were in the last 72 hours.
        calls: u32,
    },
    /// The number's real settings are not what the policy declares.
    SettingsDiffer {
        /// The mode that the policy declares.
        declared: StorageMode,
        /// What Meta says.
        observed: ObservedStorage,
    },
    /// The number's real settings could not be read.
    SettingsUnverified,
    /// A MIME type that Meta does not take.
    MediaTypeNotTaken {
        /// What came; `None` where neither the file's part nor `type` named one.
        came: Option<String>,
    },
    /// `type` and the file's part disagree.
    MediaTypesDisagree {
        /// The form's `type`.
        declared: String,
        /// The part's `Content-Type`.
        part: String,
    },
    /// The file is larger than Meta takes.
    FileTooLarge {
        /// Its MIME type.
        mime: &'static str,
        /// The most that Meta takes, in bytes.
        max_bytes: u64,
    },
}

impl Reason {
    /// Every slug, for documentation and for tests that none is forgotten.
    pub const SLUGS: [&'static str; 27] = [
        "number_not_in_policy",
        "number_not_allowed",
        "nothing_allowed",
        "operation_not_allowed",
        "forbidden_by_mode",
        "webhook_redirect",
        "ttl_not_whole",
        "ttl_out_of_bounds",
        "ttl_without_no_storage",
        "media_not_usable",
        "media_of_other_number",
        "media_ended",
        "id_and_link",
        "link_not_allowed",
        "unknown_message_type",
        "unknown_member",
        "undocumented_reference",
        "settings_contradict_policy",
        "registration_contradicts_policy",
        "deregister_not_allowed",
        "registration_lockout",
        "settings_differ",
        "settings_unverified",
        "media_type_not_taken",
        "media_types_disagree",
        "file_too_large",
        "account_not_in_policy",
    ];

    /// The stable name: the value of `Curfew-Reason`, and a label of logs, metrics and spans.
    #[must_use]
    pub const fn slug(&self) -> &'static str {
        match self {
            Self::NumberNotInPolicy(_) => "number_not_in_policy",
            Self::AccountNotInPolicy(_) => "account_not_in_policy",
            Self::NumberNotAllowed(_) => "number_not_allowed",
            Self::NothingAllowed => "nothing_allowed",
            Self::OperationNotAllowed { .. } => "operation_not_allowed",
            Self::ForbiddenByMode { .. } => "forbidden_by_mode",
            Self::WebhookRedirect => "webhook_redirect",
            Self::TtlNotWhole { .. } => "ttl_not_whole",
            Self::TtlOutOfBounds { .. } => "ttl_out_of_bounds",
            Self::TtlWithoutNoStorage { .. } => "ttl_without_no_storage",
            Self::MediaNotUsable { .. } => "media_not_usable",
            Self::MediaOfOtherNumber { .. } => "media_of_other_number",
            Self::MediaEnded { .. } => "media_ended",
            Self::IdAndLink { .. } => "id_and_link",
            Self::LinkNotAllowed { .. } => "link_not_allowed",
            Self::UnknownMessageType { .. } => "unknown_message_type",
            Self::UnknownMember { .. } => "unknown_member",
            Self::UndocumentedReference { .. } => "undocumented_reference",
            Self::SettingsContradictPolicy { .. } => "settings_contradict_policy",
            Self::RegistrationContradictsPolicy { .. } => "registration_contradicts_policy",
            Self::DeregisterNotAllowed { .. } => "deregister_not_allowed",
            Self::RegistrationLockout { .. } => "registration_lockout",
            Self::SettingsDiffer { .. } => "settings_differ",
            Self::SettingsUnverified => "settings_unverified",
            Self::MediaTypeNotTaken { .. } => "media_type_not_taken",
            Self::MediaTypesDisagree { .. } => "media_types_disagree",
            Self::FileTooLarge { .. } => "file_too_large",
        }
    }

    /// Whether `enforcement = "monitor"` lets the request pass. Who may call is enforced always: monitoring is for
    /// storage rules, not an open door.
    #[must_use]
    pub const fn can_be_observed(&self) -> bool {
        !matches!(
            self,
            Self::NumberNotInPolicy(_)
                | Self::AccountNotInPolicy(_)
                | Self::NumberNotAllowed(_)
                | Self::NothingAllowed
                | Self::OperationNotAllowed { .. }
        )
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AccountNotInPolicy(waba) => write!(
                f,
                "account {waba} is not in the policy; declare it as the waba_id of one of its numbers"
            ),
            Self::NumberNotInPolicy(number) => {
                write!(f, "phone number {number} is not in the policy; add a [[number]] for it")
            }
            Self::NumberNotAllowed(number) => write!(
                f,
                "this caller may not use phone number {number}; its [[caller]] must list it in numbers"
            ),
            Self::NothingAllowed => f.write_str(
                "the call concerns no phone number that this caller may use; its [[caller]] must list one in numbers, \
                 and for calls of an account that [[number]] must name the waba_id",
            ),
            Self::OperationNotAllowed { operation, class } => write!(
                f,
                "this caller may not call {operation}; its [[caller]] must list \"{class}\" in may"
            ),
            Self::ForbiddenByMode { operation, mode, allow } => {
                write!(f, "{operation} is not allowed for numbers with storage {mode}")?;
                let Some(allow) = allow else { return Ok(()) };
                let why = match allow {
                    UnverifiedOperation::MessagesEncrypted => "its content cannot be read here",
                    _ => "Meta does not document how it treats their content",
                };
                write!(f, ": {why}; the policy can name \"{}\" in allow_unverified", allow.name())
            }
            Self::WebhookRedirect => f.write_str(
                "a webhook override or subscription would send message content to another receiver; no storage mode \
                 allows it",
            ),
            Self::TtlNotWhole { came, bounds } => {
                write!(f, "ttl_minutes must be a plain whole number from {bounds}; came {came:?}")
            }
            Self::TtlOutOfBounds { came, bounds } => {
                write!(f, "ttl_minutes must be from {bounds}; came {came}")
            }
            Self::TtlWithoutNoStorage { mode } => write!(
                f,
                "ttl_minutes is only for numbers with storage no_storage; this one has {mode}: leave it out"
            ),
            Self::MediaNotUsable { media, number } => {
                match media {
                    Some(media) => write!(f, "media {media} is not known")?,
                    None => f.write_str("the media id is not a plain media id, so it is not known")?,
                }
                match number {
                    Some(number) => write!(
                        f,
                        " to belong to phone number {number}; upload it with POST /{number}/media, or name the id that \
                         the upload answered"
                    ),
                    None => f.write_str("; name its number with ?phone_number_id="),
                }
            }
            Self::MediaOfOtherNumber { media, number, owner } => write!(
                f,
                "media {media} belongs to phone number {owner} and cannot be used by {number}; upload it again with \
                 POST /{number}/media"
            ),
            Self::MediaEnded { media, ended } => write!(
                f,
                "media {media} is gone since {} (its TTL passed, or it was deleted); upload it again",
                ended.rfc3339()
            ),
            Self::IdAndLink { at } => write!(f, "{at} has both id and link; send one of them"),
            Self::LinkNotAllowed { at, host: Some(host) } => write!(
                f,
                "{at}: media may not be sent from host {host:?}; the policy's media.links.hosts does not list it"
            ),
            Self::LinkNotAllowed { at, host: None } => write!(
                f,
                "{at}: a link must be plain https://HOST/… on the default port, with a host that the policy's \
                 media.links.hosts lists"
            ),
            Self::UnknownMessageType { came: Some(came) } => write!(
                f,
                "message type {came:?} is not known for a number with a storage promise; the policy can name it in \
                 allow_unverified"
            ),
            Self::UnknownMessageType { came: None } => {
                f.write_str("a message without type may only have text; name its type")
            }
            Self::UnknownMember { at, member } => write!(
                f,
                "{at} has a member {member:?} that is not known, so what it would store is not known either; leave it \
                 out"
            ),
            Self::UndocumentedReference { at } => write!(
                f,
                "{at}: no media or link is documented at this place, so a number with a storage promise may not send \
                 it; leave it out"
            ),
            Self::SettingsContradictPolicy { declared, what } => {
                write!(f, "the policy declares storage {declared}; this settings call {what}")
            }
            Self::RegistrationContradictsPolicy { declared, what } => {
                write!(f, "the policy declares storage {declared}; this registration {what}")
            }
            Self::DeregisterNotAllowed { mode } => write!(
                f,
                "deregistering switches storage {mode} off; the policy would have to say allow_deregister = true"
            ),
            Self::RegistrationLockout { calls } => write!(
                f,
                "{calls} such calls went to Meta for this number in the last 72 hours; one more would lock it out for \
                 72 hours"
            ),
            Self::SettingsDiffer { declared, observed } => write!(
                f,
                "the policy declares storage {declared}, but the number's settings at Meta say {observed}; sends and \
                 uploads wait until they agree"
            ),
            Self::SettingsUnverified => f.write_str(
                "the number's storage settings (GET /{phone_number_id}/settings) could not be read; sends and uploads \
                 wait until they can",
            ),
            Self::MediaTypeNotTaken { came: Some(came) } => write!(
                f,
                "the Cloud API takes no media of type {came:?}; its \"Media\" page lists the supported media types"
            ),
            Self::MediaTypeNotTaken { came: None } => {
                f.write_str("the file has no MIME type; give its part a Content-Type, or the form a type")
            }
            Self::MediaTypesDisagree { declared, part } => write!(
                f,
                "the form's type is {declared:?} but the file's part is {part:?}; they must agree"
            ),
            Self::FileTooLarge { mime, max_bytes } => {
                write!(f, "a file of type {mime} may have at most {max_bytes} bytes")
            }
        }
    }
}

#[cfg(test)]
mod tests;
