//! Reads the body of `POST /{phone_number_id}/messages` as far as policy must know it.
//!
//! The whole tree is walked, also inside strings that hold JSON, because Meta adds places for media faster than any
//! list of them can follow: an object under a media key is found wherever it is, and the list only says whether Meta
//! documents it there. Meta itself judges what is no matter of policy, such as required members.
//!
//! It is not documented whether Graph takes keys in other letter case, with PHP's brackets (`image[id]`), dots or blanks,
//! nor whether it reads loose JSON in a string (`"{'id': 1}"`), so each is treated as if it did.

use std::borrow::Cow;
use std::fmt;

use curfew_policies::Message;
use thiserror::Error;

use super::json::{self, JsonError};

mod place;
mod sight;

#[cfg(test)]
mod tests;

/// How many media objects and links one body may have. Each costs a look-up; the largest documented message, a list of
/// an order's items, stays far below it.
pub const MOST_REFERENCES: usize = 1000;

/// What a body of `/messages` asks for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Body<'a> {
    /// Marks a message as read, with or without a typing indicator. Reaches no user.
    ReadReceipt,
    /// Everything else: what policy judges, and what the number's pace goes by.
    Send(Message<'a>, Recipient<'a>, TemplateName<'a>),
}

/// The `template.name` of a send, where it has one that is a string.
pub type TemplateName<'a> = Option<Cow<'a, str>>;

/// To whom a send goes, as written (Cloud API, "Business-scoped user IDs"). It has no printable form.
#[derive(Clone, Default, Eq, PartialEq)]
pub struct Recipient<'a> {
    /// A phone number, or a group's id. Where both are there, Meta takes this and not [`Self::recipient`].
    pub to: Option<Cow<'a, str>>,
    /// A business-scoped user id.
    pub recipient: Option<Cow<'a, str>>,
    /// `individual`, which is also the default, or `group`.
    pub recipient_type: Option<Cow<'a, str>>,
}

impl fmt::Debug for Recipient<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Recipient")
    }
}

impl Recipient<'_> {
    /// The same, without the body that it was read from.
    #[must_use]
    pub fn into_owned(self) -> Recipient<'static> {
        let owned = |text: Option<Cow<'_, str>>| text.map(|text| Cow::Owned(text.into_owned()));
        Recipient {
            to: owned(self.to),
            recipient: owned(self.recipient),
            recipient_type: owned(self.recipient_type),
        }
    }
}

/// Why a body of `/messages` cannot be judged. The text says what is wrong, where, and what would be right.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum MessageError {
    /// It has more than one meaning, or none.
    #[error(transparent)]
    Json(#[from] JsonError),
    /// It has a parameter that Graph itself acts upon.
    #[error(
        "the body has the parameter `{0}`, which would make Graph treat it as another call; leave it out"
    )]
    ControlParameter(String),
    /// A top-level member that policy reads is not in lower case.
    #[error("the body has the member `{came}`; write it `{expected}`")]
    LetterCase {
        /// As it came.
        came: String,
        /// As Meta documents it.
        expected: &'static str,
    },
    /// A top-level member has a value of another type than Meta documents.
    #[error("the body's `{member}` is {came}; it must be a string")]
    NotAString {
        /// Which one.
        member: &'static str,
        /// What it is.
        came: &'static str,
    },
    /// It looks like a read receipt (`status`, and neither type nor recipient) but is none.
    #[error(
        "a body with `status` and without `type` is a read receipt, which {0}; it must be {{\"messaging_product\": \
         \"whatsapp\", \"status\": \"read\", \"message_id\": …}}, with or without {{\"typing_indicator\": {{\"type\": …}}}}"
    )]
    NotAReadReceipt(String),
    /// A read receipt where only sends are documented.
    #[error("a read receipt is no marketing message; send it to /{{phone_number_id}}/messages")]
    ReceiptMisplaced,
    /// More than [`MOST_REFERENCES`].
    #[error("the body names more than {MOST_REFERENCES} media and links")]
    TooManyReferences,
}

impl MessageError {
    /// Every slug beside [`JsonError::SLUGS`].
    pub const SLUGS: [&'static str; 6] = [
        "control_parameter",
        "message_letter_case",
        "message_not_a_string",
        "message_not_a_read_receipt",
        "message_receipt_misplaced",
        "message_too_many_references",
    ];

    /// A stable name with few values.
    #[must_use]
    pub const fn slug(&self) -> &'static str {
        match self {
            Self::Json(error) => error.slug(),
            Self::ControlParameter(_) => "control_parameter",
            Self::LetterCase { .. } => "message_letter_case",
            Self::NotAString { .. } => "message_not_a_string",
            Self::NotAReadReceipt(_) => "message_not_a_read_receipt",
            Self::ReceiptMisplaced => "message_receipt_misplaced",
            Self::TooManyReferences => "message_too_many_references",
        }
    }
}

/// Reads the body of `/messages` or `/marketing_messages`.
///
/// A body with `status` and none of `type`, `to`, `recipient` or a type's object is a read receipt; every other is a send
/// (Cloud API, "Mark messages as read"; what Graph makes of a mixture is not documented).
///
/// # Errors
///
/// Where the body has no single meaning, or its meaning cannot be read.
pub fn read(body: &[u8]) -> Result<Body<'_>, MessageError> {
    json::walk(body, sight::Sight::default())?.into_body()
}
