//! Who a recipient is, however they are written, without remembering anybody.
//!
//! A phone number may come with `+`, spaces, dashes and brackets, and without its country code; Meta may alter its
//! digits; a business-scoped user id names the same person in another way (Cloud API, "Business phone numbers",
//! "Business-scoped user IDs"). What Meta answers, `contacts[].wa_id`, settles it, so it is learnt.
//!
//! Only keyed hashes are held: nobody who sees one can tell or try out whom it means. They have no printable form.

use std::collections::HashMap;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Mutex;

use aws_lc_rs::{hkdf, hmac, rand};
use curfew_policies::PhoneNumberId;
use secrecy::zeroize::Zeroizing;

use super::aged::Aged;
use super::lock;
use crate::graph::message;
use crate::stores::CryptoUnavailable;

/// How many spellings are remembered; the one that was not seen for longest goes first. About 25 MB when full.
const MOST_ALIASES: usize = 262_144;
/// The longest run of digits that is taken for a phone number: E.164 has 15, and nothing longer reaches anybody.
const MOST_DIGITS: usize = 32;

/// A recipient as a send names them.
#[derive(Clone, Copy, Eq, PartialEq)]
pub enum Recipient<'a> {
    /// `to`, as it came, where `recipient_type` is not `group`.
    Phone(&'a str),
    /// `recipient`: a business-scoped user id.
    UserId(&'a str),
    /// `to`, where `recipient_type` is `group`.
    Group(&'a str),
}

impl<'a> Recipient<'a> {
    /// Whom a send's body names: Meta takes `to` where `recipient` is there as well (Cloud API, "Business-scoped user
    /// IDs"). A body that names nobody, which Meta refuses, is to a recipient of its own.
    #[must_use]
    pub fn of(written: &'a message::Recipient<'_>) -> Self {
        match (&written.to, &written.recipient) {
            (Some(to), _) if written.recipient_type.as_deref() == Some("group") => Self::Group(to),
            (Some(to), _) => Self::Phone(to),
            (None, Some(user_id)) => Self::UserId(user_id),
            (None, None) => Self::Phone(""),
        }
    }
}

impl fmt::Debug for Recipient<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Recipient")
    }
}

/// The keyed hash of a recipient, the same for every spelling that is known to be theirs.
#[derive(Clone, Copy, Eq, PartialEq)]
pub struct RecipientId(u64, u64);

impl Hash for RecipientId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0);
    }
}

impl fmt::Debug for RecipientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RecipientId")
    }
}

impl RecipientId {
    /// As it is kept where others keep theirs.
    pub(super) fn text(self) -> String {
        format!("{:016x}{:016x}", self.0, self.1)
    }

    #[cfg(test)]
    pub(super) const fn for_tests(number: u64) -> Self {
        Self(number, number)
    }
}

/// What recipients are hashed with. Instances that share their limits share it.
#[derive(Clone)]
pub struct RecipientKey(hmac::Key);

impl fmt::Debug for RecipientKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RecipientKey")
    }
}

impl RecipientKey {
    /// The key that follows from `secret`, by HKDF-SHA256. `secret` must not be guessable.
    ///
    /// # Errors
    ///
    /// When the cryptographic library refuses, which its documentation gives no reason for with keys of this length.
    pub fn derived_from(secret: &[u8]) -> Result<Self, CryptoUnavailable> {
        let salt = hkdf::Salt::new(hkdf::HKDF_SHA256, b"curfew");
        let secret = salt.extract(secret);
        let key = secret.expand(&[b"recipient"], hmac::HMAC_SHA256);
        key.map(|key| Self(key.into())).map_err(|_| CryptoUnavailable)
    }

    /// A key of this process's own.
    ///
    /// # Errors
    ///
    /// When the system gives no random bytes.
    pub fn random() -> Result<Self, CryptoUnavailable> {
        let mut secret = Zeroizing::new([0; 32]);
        rand::fill(secret.as_mut_slice()).map_err(|_| CryptoUnavailable)?;
        Self::derived_from(secret.as_slice())
    }

    /// What tells it from other keys, and says nothing else of it.
    pub(super) fn fingerprint(&self) -> String {
        self.hash(Kind::Fingerprint, b"").text()
    }

    /// The first 128 bits of HMAC-SHA256 over what kind of name it is, and the name.
    fn hash(&self, kind: Kind, name: &[u8]) -> RecipientId {
        let mut context = hmac::Context::with_key(&self.0);
        match kind {
            Kind::Phone => context.update(b"phone\0"),
            Kind::UserId => context.update(b"user_id\0"),
            Kind::Group => context.update(b"group\0"),
            Kind::Other => context.update(b"other\0"),
            Kind::Fingerprint => context.update(b"fingerprint\0"),
            Kind::Local(number) => {
                context.update(b"local\0");
                context.update(&number.get().to_be_bytes());
            }
        }
        context.update(name);
        let mac = context.sign();
        let half = |bytes: Option<&[u8; 8]>| bytes.map_or(0, |bytes| u64::from_be_bytes(*bytes));
        let (first, rest) = match mac.as_ref().split_first_chunk() {
            Some((first, rest)) => (Some(first), rest),
            None => (None, mac.as_ref()),
        };
        RecipientId(half(first), half(rest.first_chunk()))
    }
}

/// What kind of name a hash is of, so that no two kinds can have the same.
#[derive(Clone, Copy)]
enum Kind {
    /// All digits of a phone number.
    Phone,
    /// The digits of a phone number as one of our numbers wrote it, without `+`.
    Local(PhoneNumberId),
    UserId,
    Group,
    /// A `to` without a digit in it.
    Other,
    /// None: the key's own.
    Fingerprint,
}

/// A country calling code: one to three digits.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct CountryCode(u16);

impl CountryCode {
    /// Reads one to three digits, the first not 0.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let is_code = (1..=3).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_digit())
            && !text.starts_with('0');
        is_code.then(|| text.parse().ok().map(Self))?
    }

    /// The code that a whole phone number begins with, such as `display_phone_number`, which has no blanks in webhooks.
    /// Codes are such that none is the beginning of another (ITU-T, List of Recommendation E.164 assigned country codes).
    #[must_use]
    pub fn leading(number: &str) -> Option<Self> {
        let digits = Digits::of(number)?;
        let length = match digits.as_bytes() {
            [b'1' | b'7', ..] => 1,
            [b'2', b'0' | b'7', ..]
            | [b'3', b'0'..=b'4' | b'6' | b'9', ..]
            | [b'4', b'0' | b'1' | b'3'..=b'9', ..]
            | [b'5', b'1'..=b'8', ..]
            | [b'6', b'0'..=b'6', ..]
            | [b'8', b'1' | b'2' | b'4' | b'6', ..]
            | [b'9', b'0'..=b'5' | b'8', ..] => 2,
            _ => 3,
        };
        Self::parse(std::str::from_utf8(digits.as_bytes().get(..length)?).ok()?)
    }
}

/// The digits of a phone number, on the stack.
#[derive(Clone, Copy)]
struct Digits {
    bytes: [u8; MOST_DIGITS],
    len: usize,
    /// Whether a `+` stood before the first of them.
    is_whole: bool,
}

impl Digits {
    /// The digits of `text`; `None` if there are none or too many.
    fn of(text: &str) -> Option<Self> {
        let mut digits = Self {
            bytes: [0; MOST_DIGITS],
            len: 0,
            is_whole: false,
        };
        for byte in text.bytes() {
            match byte {
                b'0'..=b'9' => digits.push(byte)?,
                b'+' if digits.len == 0 => digits.is_whole = true,
                _ => {}
            }
        }
        (digits.len > 0).then_some(digits)
    }

    fn push(&mut self, digit: u8) -> Option<()> {
        *self.bytes.get_mut(self.len)? = digit;
        self.len += 1;
        Some(())
    }

    fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    /// These digits with `code` before them, unless they begin with it already: then they are taken to be whole, which
    /// is how nearly every client writes them.
    fn with_country(self, code: Option<CountryCode>) -> Self {
        let Some(code) = code else { return self };
        let code = code.0.to_string();
        if self.as_bytes().starts_with(code.as_bytes()) {
            return self;
        }
        let mut whole = Self {
            bytes: [0; MOST_DIGITS],
            len: 0,
            is_whole: true,
        };
        for byte in code.bytes().chain(self.as_bytes().iter().copied()) {
            if whole.push(byte).is_none() {
                return self;
            }
        }
        whole
    }
}

/// Who is who. Hashing, most of the work, is done without the lock.
#[derive(Debug)]
pub(super) struct Identities {
    key: RecipientKey,
    learnt: Mutex<Learnt>,
}

/// What Meta's answers have taught.
#[derive(Debug, Default)]
struct Learnt {
    /// Whose each spelling is that is not the `wa_id` itself.
    aliases: Aged<RecipientId>,
    /// The country code of each of our numbers, told or learnt.
    countries: HashMap<PhoneNumberId, CountryCode>,
}

/// Two hashes that were found to be one recipient.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Joined {
    /// Under which their sends were counted so far.
    pub(super) before: RecipientId,
    /// Under which they are counted from now on.
    pub(super) now: RecipientId,
}

impl Identities {
    pub(super) fn new(key: RecipientKey) -> Self {
        Self {
            key,
            learnt: Mutex::default(),
        }
    }

    /// Names the country code of one of our numbers.
    pub(super) fn set_country(&self, number: PhoneNumberId, code: CountryCode) {
        lock(&self.learnt).countries.insert(number, code);
    }

    /// Who `recipient` is to sends of `number`.
    pub(super) fn find(&self, number: PhoneNumberId, recipient: Recipient<'_>) -> RecipientId {
        let spelling = self.spelling(number, recipient);
        let known = lock(&self.learnt).aliases.get(spelling);
        match known {
            Some((_, id)) => id,
            None => self.guess(number, recipient).unwrap_or(spelling),
        }
    }

    /// Whether `id` stands for the `wa_id`.
    pub(super) fn is_of(&self, id: RecipientId, wa_id: &str) -> bool {
        Digits::of(wa_id).is_some_and(|digits| self.key.hash(Kind::Phone, digits.as_bytes()) == id)
    }

    /// Learns from an answer or webhook that what `number` wrote as `recipient` is `wa_id`. What was counted under another
    /// hash until now is to be joined.
    pub(super) fn learn(
        &self,
        number: PhoneNumberId,
        recipient: Recipient<'_>,
        wa_id: &str,
        now: u64,
    ) -> Option<Joined> {
        let digits = Digits::of(wa_id)?;
        let id = self.key.hash(Kind::Phone, digits.as_bytes());
        let before = self.find(number, recipient);
        let spelling = self.spelling(number, recipient);
        let mut learnt = lock(&self.learnt);
        let Learnt { aliases, countries } = &mut *learnt;
        if let Some(code) = country_of(recipient, digits) {
            countries.entry(number).or_insert(code);
        }
        // What Meta answers is the last word: it stands for nobody else.
        aliases.remove(id);
        if spelling != id {
            if aliases.len() >= MOST_ALIASES
                && let Some((oldest, ..)) = aliases.oldest()
            {
                aliases.remove(oldest);
            }
            aliases.put(spelling, now, id);
        }
        (before != id).then_some(Joined { before, now: id })
    }

    /// The hash of what was written, where it means one thing only.
    fn spelling(&self, number: PhoneNumberId, recipient: Recipient<'_>) -> RecipientId {
        match recipient {
            Recipient::Phone(text) => match Digits::of(text) {
                Some(digits) if digits.is_whole => self.key.hash(Kind::Phone, digits.as_bytes()),
                Some(digits) => self.key.hash(Kind::Local(number), digits.as_bytes()),
                None => self.key.hash(Kind::Other, text.as_bytes()),
            },
            Recipient::UserId(text) => self.key.hash(Kind::UserId, text.as_bytes()),
            Recipient::Group(text) => self.key.hash(Kind::Group, text.as_bytes()),
        }
    }

    /// Who digits without `+` are most likely, until Meta has said it.
    fn guess(&self, number: PhoneNumberId, recipient: Recipient<'_>) -> Option<RecipientId> {
        let digits = local_digits(recipient)?;
        let code = lock(&self.learnt).countries.get(&number).copied();
        let id = self.key.hash(Kind::Phone, digits.with_country(code).as_bytes());
        let known = lock(&self.learnt).aliases.get(id);
        Some(known.map_or(id, |(_, id)| id))
    }
}

/// The digits of a phone number that came without `+`.
fn local_digits(recipient: Recipient<'_>) -> Option<Digits> {
    let Recipient::Phone(text) = recipient else {
        return None;
    };
    Digits::of(text).filter(|digits| !digits.is_whole)
}

/// The country code that Meta's answer puts before digits that came without.
fn country_of(recipient: Recipient<'_>, answer: Digits) -> Option<CountryCode> {
    let written = local_digits(recipient)?;
    let code = answer.as_bytes().strip_suffix(written.as_bytes())?;
    CountryCode::parse(std::str::from_utf8(code).ok()?)
}
