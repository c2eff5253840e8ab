//! Where Meta keeps the content of a number's messages.

use std::fmt;

use thiserror::Error;

/// A country in which Local Storage can keep content at rest.
///
/// Source: Cloud API, "Registration", `data_localization_region`: fourteen upper-case ISO 3166 codes. `US` is not among them.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Region(&'static str);

/// A text that is not one of Meta's regions.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error("{0:?} is not a region of Local Storage; Meta has {list}", list = Region::CODES.join(", "))]
pub struct UnknownRegion(pub String);

impl Region {
    /// Every region's code, as Meta spells it.
    pub const CODES: [&'static str; 14] = [
        "AU", "ID", "IN", "JP", "SG", "KR", "DE", "CH", "GB", "BR", "BH", "ZA", "AE", "CA",
    ];

    /// The code, upper case.
    #[must_use]
    pub const fn code(self) -> &'static str {
        self.0
    }
}

impl std::str::FromStr for Region {
    type Err = UnknownRegion;

    fn from_str(text: &str) -> Result<Self, UnknownRegion> {
        Self::CODES
            .into_iter()
            .find(|code| *code == text)
            .map(Self)
            .ok_or_else(|| UnknownRegion(text.to_owned()))
    }
}

impl fmt::Display for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// The storage mode of one phone number (Cloud API, "Local Storage" and "No Storage").
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum StorageMode {
    /// Content rests up to 30 days in Meta's data centres, anywhere.
    Default,
    /// Content rests only in one country, after at most an hour in use elsewhere.
    InCountry(Region),
    /// Content rests nowhere, and is in use for at most an hour.
    NoStorage,
}

impl StorageMode {
    /// Whether the number has a promise to keep: every mode but the default one.
    #[must_use]
    pub const fn is_restricted(self) -> bool {
        !matches!(self, Self::Default)
    }

    /// For how many minutes Meta keeps what users send: seven days, under No Storage one hour (Cloud API, "Media" and
    /// "No Storage").
    #[must_use]
    pub const fn inbound_media_minutes(self) -> u32 {
        match self {
            Self::Default | Self::InCountry(_) => 7 * 24 * 60,
            Self::NoStorage => 60,
        }
    }

    /// The word that `policies.toml` uses for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::InCountry(_) => "in_country",
            Self::NoStorage => "no_storage",
        }
    }
}

impl fmt::Display for StorageMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InCountry(region) => write!(f, "in_country ({region})"),
            mode => f.write_str(mode.name()),
        }
    }
}

/// What a reading of a number's settings said (`GET /{phone_number_id}/settings`).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ObservedStorage {
    /// A status that says what the mode is.
    Mode(StorageMode),
    /// `IN_COUNTRY_STORAGE_ENABLED` with a region that Meta's list does not have, or none.
    InCountryElsewhere,
    /// `NO_STORAGE_ENABLED` with another retention than 60 minutes.
    NoStorageLonger,
    /// A status that is not documented: as good as no answer.
    Unknown,
}

impl fmt::Display for ObservedStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mode(mode) => mode.fmt(f),
            Self::InCountryElsewhere => f.write_str("in_country (another region)"),
            Self::NoStorageLonger => f.write_str("no_storage (retention other than 60 minutes)"),
            Self::Unknown => f.write_str("a status that is not documented"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_region_is_one_of_metas_codes_in_upper_case() {
        for code in Region::CODES {
            assert_eq!(code.parse::<Region>().unwrap().code(), code);
            let lower = code.to_ascii_lowercase();
            assert_eq!(lower.parse::<Region>(), Err(UnknownRegion(lower)));
        }
        let unknown = "US".parse::<Region>().unwrap_err().to_string();
        assert!(
            unknown.contains("\"US\"") && unknown.contains("AU, ID, IN"),
            "{unknown}"
        );
    }

    #[test]
    fn every_mode_but_the_default_one_is_restricted() {
        let germany = StorageMode::InCountry("DE".parse().unwrap());
        for (mode, is_restricted, shown) in [
            (StorageMode::Default, false, "default"),
            (germany, true, "in_country (DE)"),
            (StorageMode::NoStorage, true, "no_storage"),
        ] {
            assert_eq!(mode.is_restricted(), is_restricted);
            assert_eq!(mode.to_string(), shown);
            assert_eq!(ObservedStorage::Mode(mode).to_string(), shown);
        }
    }
}
