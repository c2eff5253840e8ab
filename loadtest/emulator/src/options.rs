//! What an emulator is started with.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The account of numbers for which none is named.
pub const DEFAULT_WABA: u64 = 102_290_129_340_398;

/// Why options could not be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The text is not TOML, or its `[[number]]` tables have another shape.
    #[error("policies: {0}")]
    Toml(String),
    /// A number or account id is not made of digits.
    #[error("`{0}` is not an id: only digits are")]
    Id(String),
    /// The storage table names no known mode or a region that Meta does not offer.
    #[error("storage: {0}")]
    Storage(String),
    /// A duration that is not digits and one of `ms`, `s`, `m`, `h`.
    #[error("`{0}` is not a duration such as 500ms, 1s or 1m")]
    Duration(String),
    /// A webhook address that is not plain HTTP.
    #[error("webhook `{0}`: only http:// addresses are delivered to")]
    Webhook(String),
    /// Reading a file, binding, or writing to standard output failed.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// Everything that can be chosen about an emulator. [`Options::default`] listens on a free loopback port, accepts
/// any token and knows no number.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// How long one emulated minute really lasts: 60 s keeps real time. Compresses everything that Meta states in
    /// minutes, hours or days; limits stated in seconds stay as they are.
    pub minute: Duration,
    /// Ids, hashes and codes follow from it: the same calls in the same order get the same ones.
    pub seed: u64,
    /// The emulated clock's start in seconds since 1970; none takes the machine's time.
    pub start: Option<u64>,
    /// The business's phone numbers. All belong to one business, whatever their account.
    pub numbers: Vec<NumberOptions>,
    /// Access tokens that are accepted; empty accepts any that is not empty.
    pub tokens: Vec<String>,
    /// The app's id: the node of uploads and subscriptions.
    pub app_id: u64,
    /// Signs webhooks and proves tokens.
    pub app_secret: String,
    /// The business's own node.
    pub business_id: u64,
    /// The app setting "Require App Secret": every call must carry a right `appsecret_proof`.
    pub require_proof: bool,
    /// Whether throughput (130429) and the pair limit (131056) are enforced. Ten registrations in 72 hours
    /// always are.
    pub enforce_limits: bool,
    /// Whether free-form messages need a user's message within 24 hours (131047).
    pub enforce_window: bool,
    /// Whether templates must have been created before they are sent (132001).
    pub require_templates: bool,
    /// Whether a medium that cannot be used is told only by a `failed` status (131053), not in the reply.
    pub late_media_errors: bool,
    /// The app's callback, plain HTTP; none sends no webhooks.
    pub webhook_url: Option<String>,
    /// How many entries each of the records keeps, the newest ones; 0 keeps none.
    pub record: usize,
    /// Whether uploaded bytes are kept. Without, digest and length are, and downloads are zeros of that length, so
    /// that long load tests do not fill the memory.
    pub keep_media: bool,
    /// The version that serves paths without one, and the app's in the dashboard.
    pub app_version: u16,
    /// The base URL under which callers reach the emulator, for the links in its replies; none is its address.
    pub public_url: Option<String>,
    /// The media host's base URL; none is the same as all else's.
    pub media_base: Option<String>,
    /// Whether metadata carries `download_url` beside `url`.
    pub download_url: bool,
    /// Whether `settings` spells storage states in lower case, as Meta's reference does and its guide does not.
    pub lower_case_status: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            minute: Duration::from_secs(60),
            seed: 1,
            start: None,
            numbers: Vec::new(),
            tokens: Vec::new(),
            app_id: 1_240_000_000_000_017,
            app_secret: "emulated-app-secret".to_owned(),
            business_id: 506_914_307_656_634,
            require_proof: false,
            enforce_limits: false,
            enforce_window: false,
            require_templates: false,
            late_media_errors: false,
            webhook_url: None,
            record: 10_000,
            keep_media: true,
            app_version: 25,
            public_url: None,
            media_base: None,
            download_url: false,
            lower_case_status: false,
        }
    }
}

impl Options {
    /// The numbers of a `policies.toml`, registered and with the storage that it declares.
    ///
    /// Only `phone_number_id`, `waba_id`, `storage.mode` and `storage.region` of each `[[number]]` are read.
    ///
    /// # Errors
    /// Text that is not TOML, ids that are not digits, storage modes or regions that Meta does not have.
    pub fn from_policies_toml(text: &str) -> Result<Vec<NumberOptions>, Error> {
        let file: PoliciesFile =
            toml::from_str(text).map_err(|error| Error::Toml(error.message().to_owned()))?;
        file.number.into_iter().map(NumberOptions::try_from).collect()
    }
}

/// One business phone number.
#[derive(Clone, Debug)]
pub struct NumberOptions {
    /// Its node id.
    pub phone_number_id: u64,
    /// The account that it belongs to.
    pub waba_id: u64,
    /// As users see it, `+` and country code first.
    pub display_phone_number: String,
    /// The name that users see.
    pub verified_name: String,
    /// What Meta stores.
    pub storage: Storage,
    /// How far it is on its way to sending.
    pub state: State,
    /// The two-step verification PIN; none takes the first that is given.
    pub pin: Option<String>,
    /// Messages a second, in and out together: 80, 1,000 when upgraded, 20 in coexistence (Throughput).
    pub throughput: u32,
    /// A migrated number that only registers with this region: code 100 else.
    pub expected_region: Option<String>,
}

impl NumberOptions {
    /// A registered number with default storage, in the account [`DEFAULT_WABA`].
    #[must_use]
    pub fn new(phone_number_id: u64) -> Self {
        let digits = phone_number_id % 10_000;
        Self {
            phone_number_id,
            waba_id: DEFAULT_WABA,
            display_phone_number: format!("+1 555 078 {digits:04}"),
            verified_name: "Emulated Business".to_owned(),
            storage: Storage::Default,
            state: State::Registered,
            pin: None,
            throughput: 80,
            expected_region: None,
        }
    }

    /// The same number with another storage.
    #[must_use]
    pub fn storage(mut self, storage: Storage) -> Self {
        self.storage = storage;
        self
    }

    /// The same number in another state.
    #[must_use]
    pub fn state(mut self, state: State) -> Self {
        self.state = state;
        self
    }
}

/// A phone number's storage mode (Local Storage; No Storage).
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "StorageTable", into = "StorageTable")]
pub enum Storage {
    /// Meta keeps content up to 30 days.
    Default,
    /// Meta keeps nothing at rest; media lives 60 minutes or its `ttl_minutes`.
    NoStorage,
    /// Content at rest only in this region, two capital letters.
    InCountry(String),
}

impl Storage {
    /// Local Storage in a region that Meta offers, in either case of its letters.
    ///
    /// # Errors
    /// A code outside Meta's fourteen (Business phone numbers, Registration).
    pub fn in_country(region: &str) -> Result<Self, Error> {
        let region = region.trim().to_ascii_uppercase();
        if REGIONS.contains(&region.as_str()) {
            Ok(Self::InCountry(region))
        } else {
            Err(Error::Storage(format!(
                "`{region}` is not a data localization region"
            )))
        }
    }
}

/// `data_localization_region`'s values (Business phone numbers, Registration).
const REGIONS: [&str; 14] = [
    "AU", "ID", "IN", "JP", "SG", "KR", "DE", "CH", "GB", "BR", "BH", "ZA", "AE", "CA",
];

/// How far a phone number is on its way to sending.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Ownership was never shown.
    Unverified,
    /// A code is on its way.
    CodeRequested,
    /// Ownership is shown; not registered, or deregistered.
    Verified,
    /// May send and receive.
    Registered,
}

/// Reads `500ms`, `1s`, `1m`, `1h`; zero is refused.
///
/// # Errors
/// Any other text.
pub fn parse_duration(text: &str) -> Result<Duration, Error> {
    let wrong = || Error::Duration(text.to_owned());
    let split = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
    let (digits, unit) = text.split_at_checked(split).ok_or_else(wrong)?;
    let count: u64 = digits.parse().map_err(|_| wrong())?;
    let millis: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(wrong()),
    };
    match count.checked_mul(millis) {
        Some(total) if total > 0 => Ok(Duration::from_millis(total)),
        _ => Err(wrong()),
    }
}

#[derive(Deserialize)]
struct PoliciesFile {
    #[serde(default)]
    number: Vec<NumberTable>,
}

#[derive(Deserialize)]
struct NumberTable {
    phone_number_id: String,
    waba_id: Option<String>,
    storage: StorageTable,
}

#[derive(Clone, Deserialize, Serialize)]
struct StorageTable {
    mode: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    region: Option<String>,
}

impl TryFrom<NumberTable> for NumberOptions {
    type Error = Error;

    fn try_from(table: NumberTable) -> Result<Self, Error> {
        let id = |text: String| text.parse::<u64>().map_err(|_| Error::Id(text));
        let mut number = Self::new(id(table.phone_number_id)?).storage(table.storage.try_into()?);
        if let Some(waba) = table.waba_id {
            number.waba_id = id(waba)?;
        }
        Ok(number)
    }
}

impl TryFrom<StorageTable> for Storage {
    type Error = Error;

    fn try_from(table: StorageTable) -> Result<Self, Error> {
        match (table.mode.as_str(), table.region) {
            ("default", None) => Ok(Self::Default),
            ("no_storage", None) => Ok(Self::NoStorage),
            ("in_country", Some(region)) => Self::in_country(&region),
            ("in_country", None) => Err(Error::Storage("in_country needs a region".to_owned())),
            ("default" | "no_storage", Some(_)) => {
                Err(Error::Storage(format!("{} takes no region", table.mode)))
            }
            _ => Err(Error::Storage(format!(
                "`{}` is not default, no_storage or in_country",
                table.mode
            ))),
        }
    }
}

impl From<Storage> for StorageTable {
    fn from(storage: Storage) -> Self {
        let (mode, region) = match storage {
            Storage::Default => ("default", None),
            Storage::NoStorage => ("no_storage", None),
            Storage::InCountry(region) => ("in_country", Some(region)),
        };
        Self {
            mode: mode.to_owned(),
            region,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_give_registered_numbers_with_declared_storage() {
        let text = r#"
            enforcement = "enforce"
            [[number]]
            phone_number_id = "111"
            storage = { mode = "no_storage" }
            [number.media]
            ttl_minutes = { min = 60 }
            [[number]]
            phone_number_id = "222"
            waba_id = "9"
            storage = { mode = "in_country", region = "DE" }
            [[caller]]
            name = "billing"
        "#;
        let numbers = Options::from_policies_toml(text).unwrap();
        assert_eq!(numbers[0].storage, Storage::NoStorage);
        assert_eq!(numbers[0].state, State::Registered);
        assert_eq!((numbers[1].phone_number_id, numbers[1].waba_id), (222, 9));
        assert_eq!(numbers[1].storage, Storage::InCountry("DE".to_owned()));
    }

    #[test]
    fn wrong_policies_are_refused() {
        for text in [
            "[[number]]\nphone_number_id = \"x\"\nstorage = { mode = \"default\" }",
            "[[number]]\nphone_number_id = \"1\"\nstorage = { mode = \"in_country\" }",
            "[[number]]\nphone_number_id = \"1\"\nstorage = { mode = \"in_country\", region = \"US\" }",
            "[[number]]\nphone_number_id = \"1\"\nstorage = \"default\"",
        ] {
            assert!(Options::from_policies_toml(text).is_err(), "{text}");
        }
    }

    #[test]
    fn durations_have_a_unit() {
        assert_eq!(parse_duration("500ms").unwrap(), Duration::from_millis(500));
        assert_eq!(parse_duration("1m").unwrap(), Duration::from_secs(60));
        for text in ["", "1", "s", "0s", "1 s", "-1s", "1d", "99999999999999999999s"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }
}
