//! What policy must know of the calls that can change where a number's content is kept.

use std::borrow::Cow;

/// Which generation of the storage settings a call speaks to (Cloud API, "Local Storage" and "No Storage").
///
/// Up to v20.0 storage is a parameter of `register`; from v21.0 on it is an object of `settings`. A call without a
/// version is served by whatever version the app's dashboard names, so it must be safe in both.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Generation {
    /// `/v20.0/…` and older.
    UpToV20,
    /// `/v21.0/…` and newer.
    FromV21,
    /// No version in the path.
    Unversioned,
}

/// The body of `POST /{phone_number_id}/settings`.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct SettingsChange<'a> {
    /// Its `storage_configuration`, if it has one, under whatever letter case.
    pub storage: Option<StorageParameters<'a>>,
    /// How many feature objects it has. Meta takes one (Cloud API, "Settings API").
    pub features: usize,
    /// Members that are no documented feature.
    pub unknown_members: Vec<Cow<'a, str>>,
}

/// The members of a `storage_configuration`.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct StorageParameters<'a> {
    /// `status`, as written.
    pub status: Option<Cow<'a, str>>,
    /// `data_localization_region`, as written.
    pub region: Option<Cow<'a, str>>,
    /// `retention_minutes`, as written (a JSON number's or string's text).
    pub retention_minutes: Option<Cow<'a, str>>,
    /// Members other than these three, or one of them with a value that is neither string nor number.
    pub unknown_members: Vec<Cow<'a, str>>,
}

/// The body of `POST /{phone_number_id}/register`.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Registration<'a> {
    /// `data_localization_region`, as written.
    pub region: Option<Cow<'a, str>>,
    /// `meta_store_retention_minutes`, as written (a JSON number's or string's text).
    pub retention_minutes: Option<Cow<'a, str>>,
    /// Members that are none of the documented ones (`messaging_product`, `pin`, `tier`, `cert`, `backup` and the two
    /// above), or one of the two above with a value that is neither string nor number.
    pub unknown_members: Vec<Cow<'a, str>>,
}
