//! Values that were read from a body, freed from it.
//!
//! A text or a template without media holds nothing of the body, so freeing it costs nothing.

use std::borrow::Cow;

use crate::message::{IdValue, MediaObject, Message, MessageKind, StrayLink};
use crate::settings::{Registration, SettingsChange, StorageParameters};
use crate::upload::Upload;

fn own(text: Cow<'_, str>) -> Cow<'static, str> {
    Cow::Owned(text.into_owned())
}

fn own_option(text: Option<Cow<'_, str>>) -> Option<Cow<'static, str>> {
    text.map(own)
}

fn own_all(texts: Vec<Cow<'_, str>>) -> Vec<Cow<'static, str>> {
    texts.into_iter().map(own).collect()
}

impl Message<'_> {
    /// The same message, borrowing nothing.
    #[must_use]
    pub fn into_owned(self) -> Message<'static> {
        Message {
            kind: match self.kind {
                MessageKind::Known(name) => MessageKind::Known(name),
                MessageKind::Unknown(text) => MessageKind::Unknown(own(text)),
                MessageKind::ImpliedText => MessageKind::ImpliedText,
                MessageKind::Missing => MessageKind::Missing,
            },
            media: self.media.into_iter().map(own_media).collect(),
            stray_links: self
                .stray_links
                .into_iter()
                .map(|stray| StrayLink {
                    at: stray.at,
                    documented: stray.documented,
                    link: own(stray.link),
                })
                .collect(),
            unknown_context: own_all(self.unknown_context),
        }
    }
}

fn own_media(object: MediaObject<'_>) -> MediaObject<'static> {
    MediaObject {
        at: object.at,
        documented: object.documented,
        id: object.id.map(|id| match id {
            IdValue::Canonical(id) => IdValue::Canonical(id),
            IdValue::Other(text) => IdValue::Other(own(text)),
        }),
        link: own_option(object.link),
        unknown_members: own_all(object.unknown_members),
    }
}

impl Upload<'_> {
    /// The same fields, borrowing nothing.
    #[must_use]
    pub fn into_owned(self) -> Upload<'static> {
        Upload {
            complete: self.complete,
            ttl_minutes: own_option(self.ttl_minutes),
            declared_type: own_option(self.declared_type),
            file_type: own_option(self.file_type),
            use_case: own_option(self.use_case),
            file_bytes: self.file_bytes,
        }
    }
}

impl SettingsChange<'_> {
    /// The same change, borrowing nothing.
    #[must_use]
    pub fn into_owned(self) -> SettingsChange<'static> {
        SettingsChange {
            storage: self.storage.map(|storage| StorageParameters {
                status: own_option(storage.status),
                region: own_option(storage.region),
                retention_minutes: own_option(storage.retention_minutes),
                unknown_members: own_all(storage.unknown_members),
            }),
            features: self.features,
            unknown_members: own_all(self.unknown_members),
        }
    }
}

impl Registration<'_> {
    /// The same registration, borrowing nothing.
    #[must_use]
    pub fn into_owned(self) -> Registration<'static> {
        Registration {
            region: own_option(self.region),
            retention_minutes: own_option(self.retention_minutes),
            unknown_members: own_all(self.unknown_members),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::rules::testing::{messages, registrations, settings_changes, uploads};

    proptest! {
        #[test]
        fn what_is_freed_is_the_same(
            message in messages(),
            upload in uploads(),
            change in settings_changes(),
            registration in registrations(),
        ) {
            prop_assert_eq!(message.clone().into_owned(), message);
            prop_assert_eq!(upload.clone().into_owned(), upload);
            prop_assert_eq!(change.clone().into_owned(), change);
            prop_assert_eq!(registration.clone().into_owned(), registration);
        }
    }
}
