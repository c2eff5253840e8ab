//! What a request asks for: one value per call, made once from method, path, query and body.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;

use crate::id::{MediaId, PhoneNumberId, WabaId};
use crate::message::Message;
use crate::settings::{Generation, Registration, SettingsChange};
use crate::upload::Upload;

/// The classes of `may = […]`: what a caller can be allowed to do with its numbers.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq)]
#[serde(rename_all = "snake_case")]
pub enum OperationClass {
    /// `/messages`, `/marketing_messages` and everything else that reaches a user.
    Send,
    /// Media upload, metadata, download and delete.
    Media,
    /// Every GET of a number or account.
    Read,
    /// POST settings, register, deregister, request and verify code.
    Storage,
    /// All else that is allowed.
    Manage,
}

impl OperationClass {
    /// The word that `policies.toml` uses for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Send => "send",
            Self::Media => "media",
            Self::Read => "read",
            Self::Storage => "storage",
            Self::Manage => "manage",
        }
    }
}

impl fmt::Display for OperationClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A call that Meta documents without saying how a storage mode treats its content.
///
/// A restricted number may not make it unless `allow_unverified` names it.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq)]
#[serde(rename_all = "snake_case")]
pub enum UnverifiedOperation {
    /// `POST /{phone_number_id}/marketing_messages`: in use up to 90 minutes under Local Storage, undocumented under No Storage.
    MarketingMessages,
    /// `POST /{phone_number_id}/messages_encrypted`: opaque, so not even a default number may make it.
    MessagesEncrypted,
    /// `/{app_id}/uploads` and `/upload:…`: files that rest at Meta without an end.
    ResumableUpload,
    /// `/{flow_id}/assets` and what else moves a Flow's content.
    FlowAssets,
    /// A picture, subject or description of a group.
    GroupPicture,
    /// A call with `recording` or `transcription`.
    CallRecording,
    /// In-app sign-ups: messages that Meta sends by itself later.
    Signups,
    /// Welcome message sequences of advertisements.
    WelcomeSequences,
}

impl UnverifiedOperation {
    /// Every one of them.
    pub const ALL: [Self; 8] = [
        Self::MarketingMessages,
        Self::MessagesEncrypted,
        Self::ResumableUpload,
        Self::FlowAssets,
        Self::GroupPicture,
        Self::CallRecording,
        Self::Signups,
        Self::WelcomeSequences,
    ];

    /// The word that `allow_unverified` uses for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::MarketingMessages => "marketing_messages",
            Self::MessagesEncrypted => "messages_encrypted",
            Self::ResumableUpload => "resumable_upload",
            Self::FlowAssets => "flow_assets",
            Self::GroupPicture => "group_picture",
            Self::CallRecording => "call_recording",
            Self::Signups => "signups",
            Self::WelcomeSequences => "welcome_sequences",
        }
    }
}

/// What the gateway asks Meta on its own account, to learn facts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Question {
    /// `GET /{phone_number_id}/settings`: which storage mode is really on?
    Settings,
    /// `GET /{media_id}?phone_number_id=…`: is this medium that number's?
    Media(MediaId),
}

/// What is asked for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Operation<'a> {
    /// `POST /{phone_number_id}/messages` with anything but a read receipt.
    SendMessage(Message<'a>),
    /// `POST /{phone_number_id}/marketing_messages`.
    SendMarketing(Message<'a>),
    /// `POST /{phone_number_id}/messages` with `status: read`, with or without a typing indicator: not a send.
    MarkRead,
    /// `POST /{phone_number_id}/media`.
    UploadMedia(Upload<'a>),
    /// `GET /{media_id}`.
    ReadMedia(MediaId),
    /// `GET` of a URL that the gateway gave out for a medium.
    DownloadMedia(MediaId),
    /// `DELETE /{media_id}`.
    DeleteMedia(MediaId),
    /// `POST /{phone_number_id}/settings`.
    ChangeSettings(SettingsChange<'a>),
    /// `POST /{phone_number_id}/register`.
    Register(Registration<'a>),
    /// `POST /{phone_number_id}/deregister`.
    Deregister,
    /// `POST /{phone_number_id}/request_code`.
    RequestCode,
    /// `POST /{phone_number_id}/verify_code`.
    VerifyCode,
    /// A question of the gateway's own, which no caller can ask.
    Ask(Question),
    /// A call whose treatment under a storage mode is not documented.
    Unverified(UnverifiedOperation),
    /// A call that would send inbound content elsewhere: webhook overrides, subscriptions with a callback.
    RedirectWebhooks,
    /// A GET that carries no content, by the name of its route.
    Read(&'static str),
    /// Any other known call, by the name of its route.
    Manage(&'static str),
}

impl Operation<'_> {
    /// A stable name with few values, for logs, metrics and details.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::SendMessage(_) => "send_message",
            Self::SendMarketing(_) => "send_marketing_message",
            Self::MarkRead => "mark_read",
            Self::UploadMedia(_) => "upload_media",
            Self::ReadMedia(_) => "read_media",
            Self::DownloadMedia(_) => "download_media",
            Self::DeleteMedia(_) => "delete_media",
            Self::ChangeSettings(_) => "change_settings",
            Self::Register(_) => "register",
            Self::Deregister => "deregister",
            Self::RequestCode => "request_code",
            Self::VerifyCode => "verify_code",
            Self::Ask(Question::Settings) => "ask_settings",
            Self::Ask(Question::Media(_)) => "ask_media",
            Self::Unverified(operation) => operation.name(),
            Self::RedirectWebhooks => "redirect_webhooks",
            Self::Read(name) | Self::Manage(name) => name,
        }
    }

    /// Which class a caller must have for it.
    #[must_use]
    pub const fn class(&self) -> OperationClass {
        match self {
            Self::SendMessage(_) | Self::SendMarketing(_) | Self::MarkRead => OperationClass::Send,
            Self::Unverified(
                UnverifiedOperation::MarketingMessages | UnverifiedOperation::MessagesEncrypted,
            ) => OperationClass::Send,
            Self::UploadMedia(_) | Self::ReadMedia(_) | Self::DownloadMedia(_) | Self::DeleteMedia(_) => {
                OperationClass::Media
            }
            Self::ChangeSettings(_)
            | Self::Register(_)
            | Self::Deregister
            | Self::RequestCode
            | Self::VerifyCode => OperationClass::Storage,
            Self::Ask(_) | Self::Read(_) => OperationClass::Read,
            Self::Unverified(_) | Self::RedirectWebhooks | Self::Manage(_) => OperationClass::Manage,
        }
    }

    /// Whether it puts content at Meta: what a restricted number may do only while its real settings are known to be right.
    #[must_use]
    pub const fn carries_content(&self) -> bool {
        match self {
            Self::SendMessage(_) | Self::SendMarketing(_) | Self::UploadMedia(_) | Self::Unverified(_) => {
                true
            }
            Self::MarkRead
            | Self::ReadMedia(_)
            | Self::DownloadMedia(_)
            | Self::DeleteMedia(_)
            | Self::ChangeSettings(_)
            | Self::Register(_)
            | Self::Deregister
            | Self::RequestCode
            | Self::VerifyCode
            | Self::Ask(_)
            | Self::RedirectWebhooks
            | Self::Read(_)
            | Self::Manage(_) => false,
        }
    }
}

/// What the path says the call is about.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Subject {
    /// A business phone number.
    Number(PhoneNumberId),
    /// A business account that some number of the policy belongs to.
    Account(WabaId),
    /// A medium; `number` is the `phone_number_id` of the query, if the caller gave one.
    Media {
        /// Whose medium the caller says it is.
        number: Option<PhoneNumberId>,
    },
    /// Something that belongs to none of our numbers in particular (an app, a Flow, a group, a template).
    Other,
}

/// One request, as policy sees it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Request<'a> {
    /// What the path names.
    pub subject: Subject,
    /// Which storage API the version in the path speaks.
    pub generation: Generation,
    /// What it asks for.
    pub operation: Operation<'a>,
}

/// A text of the caller's, cut short so that it can be shown in details without flooding them.
///
/// At most 64 characters; control characters are replaced, so that a log line stays one line.
#[must_use]
pub fn shown(text: &str) -> Cow<'_, str> {
    const MOST: usize = 64;
    if text.len() <= MOST && !text.chars().any(char::is_control) {
        return Cow::Borrowed(text);
    }
    let mut short: String = text
        .chars()
        .take(MOST)
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect();
    if text.chars().nth(MOST).is_some() {
        short.push('…');
    }
    Cow::Owned(short)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_shown_is_short_and_on_one_line(text in any::<String>()) {
            let shown = shown(&text);
            prop_assert!(shown.chars().count() <= 65);
            prop_assert!(!shown.chars().any(char::is_control));
            let begins_alike = shown.chars().zip(text.chars()).take(64).all(|(shown, came)| {
                shown == came || (came.is_control() && shown == '\u{fffd}')
            });
            prop_assert!(begins_alike);
        }

        #[test]
        fn only_what_is_cut_ends_in_dots(length in 0usize..130, first in select_char()) {
            let text: String = std::iter::once(first).chain("ü".chars().cycle().take(length)).collect();
            let is_cut = length + 1 > 64;
            prop_assert_eq!(shown(&text).ends_with('…'), is_cut);
            prop_assert_eq!(shown(&text).chars().count(), if is_cut { 65 } else { length + 1 });
        }
    }

    fn select_char() -> impl Strategy<Value = char> {
        proptest::sample::select(vec!['a', '\n', '\u{7f}'])
    }

    #[test]
    fn names_of_unverified_operations_are_their_words_in_the_file() {
        let names: std::collections::HashSet<_> =
            UnverifiedOperation::ALL.map(UnverifiedOperation::name).into();
        assert_eq!(names.len(), UnverifiedOperation::ALL.len());
        for name in names {
            assert!(
                name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'),
                "{name}"
            );
        }
    }

    #[test]
    fn each_operation_has_the_class_of_the_contract() {
        use OperationClass::{Manage, Media, Read, Send, Storage};
        let media = "7".parse::<MediaId>().unwrap();
        let message = || Message {
            kind: crate::message::MessageKind::Known("text"),
            media: Vec::new(),
            stray_links: Vec::new(),
            unknown_context: Vec::new(),
        };
        for (operation, class, carries_content) in [
            (Operation::SendMessage(message()), Send, true),
            (Operation::SendMarketing(message()), Send, true),
            (Operation::MarkRead, Send, false),
            (Operation::UploadMedia(Upload::default()), Media, true),
            (Operation::ReadMedia(media), Media, false),
            (Operation::DownloadMedia(media), Media, false),
            (Operation::DeleteMedia(media), Media, false),
            (
                Operation::ChangeSettings(SettingsChange::default()),
                Storage,
                false,
            ),
            (Operation::Register(Registration::default()), Storage, false),
            (Operation::Deregister, Storage, false),
            (Operation::RequestCode, Storage, false),
            (Operation::VerifyCode, Storage, false),
            (Operation::Ask(Question::Settings), Read, false),
            (Operation::Ask(Question::Media(media)), Read, false),
            (
                Operation::Unverified(UnverifiedOperation::MarketingMessages),
                Send,
                true,
            ),
            (
                Operation::Unverified(UnverifiedOperation::MessagesEncrypted),
                Send,
                true,
            ),
            (Operation::Unverified(UnverifiedOperation::Signups), Manage, true),
            (Operation::RedirectWebhooks, Manage, false),
            (Operation::Read("read_number"), Read, false),
            (Operation::Manage("templates"), Manage, false),
        ] {
            assert_eq!(operation.class(), class, "{}", operation.name());
            assert_eq!(
                operation.carries_content(),
                carries_content,
                "{}",
                operation.name()
            );
        }
    }
}
