//! Identifiers of Meta's objects.
//!
//! Numbers, accounts, templates and media live in one flat id space (Graph API, "Overview"), so an id alone does not
//! tell what it names. These types say what we *know* it to name; they differ so that one cannot pass for another.

use serde::Deserialize;
use thiserror::Error;

/// Why a text is not a Graph node id.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum IdError {
    /// Something else than the digits 0 to 9, or nothing at all.
    #[error("must be digits only")]
    NotDigits,
    /// A leading zero: the same node would have two spellings.
    #[error("must not start with 0")]
    LeadingZero,
    /// Larger than 64 bits, which no Graph node id is.
    #[error("is longer than an id of Meta can be")]
    TooLong,
}

/// Parses the canonical spelling of a node id: digits, no leading zero, at most 64 bits.
///
/// # Errors
///
/// Says which of the three was not so. One spelling per id is what makes a pin impossible to dodge by rewriting the id.
fn parse(text: &str) -> Result<u64, IdError> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(IdError::NotDigits);
    }
    if text.starts_with('0') {
        return Err(IdError::LeadingZero);
    }
    text.parse().map_err(|_| IdError::TooLong)
}

macro_rules! node_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd)]
        #[serde(try_from = "String")]
        pub struct $name(u64);

        impl $name {
            /// The id as the integer that it is; its decimal form is the canonical spelling.
            #[must_use]
            pub const fn get(self) -> u64 {
                self.0
            }
        }

        impl std::str::FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                parse(text).map(Self)
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;

            fn try_from(text: String) -> Result<Self, IdError> {
                text.parse()
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

node_id! {
    /// A business phone number (`phone_number_id`), the unit that a storage mode is set on (Cloud API, "Local Storage").
    PhoneNumberId
}
node_id! {
    /// A WhatsApp Business Account (`waba_id`): owns numbers and templates.
    WabaId
}
node_id! {
    /// A medium: what `POST /{phone_number_id}/media` or an inbound webhook names (Cloud API, "Media").
    MediaId
}
node_id! {
    /// A Graph node that the path names and that we know nothing more of.
    NodeId
}

impl From<NodeId> for MediaId {
    fn from(node: NodeId) -> Self {
        Self(node.0)
    }
}

impl From<NodeId> for PhoneNumberId {
    fn from(node: NodeId) -> Self {
        Self(node.0)
    }
}

impl From<NodeId> for WabaId {
    fn from(node: NodeId) -> Self {
        Self(node.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn an_id_has_one_spelling(text in "[0-9+ -]{0,22}") {
            if let Ok(id) = text.parse::<MediaId>() {
                prop_assert_eq!(id.to_string(), text);
            }
        }
    }

    #[test]
    fn what_is_not_an_id_says_why() {
        for (text, why) in [
            ("", IdError::NotDigits),
            ("12a", IdError::NotDigits),
            ("+12", IdError::NotDigits),
            ("１２", IdError::NotDigits),
            ("012", IdError::LeadingZero),
            ("18446744073709551616", IdError::TooLong),
        ] {
            assert_eq!(text.parse::<PhoneNumberId>(), Err(why), "{text:?}");
        }
    }
}
