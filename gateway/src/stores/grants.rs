//! Download URLs on the gateway's own origin: what they grant, and the token that proves it.
//!
//! The token in the URL is enough to verify it: any instance with the same key, and the same one after a restart, knows
//! which medium, number and caller it stands for and when it ends. [`UrlGrants`] only saves asking Meta for the medium's
//! URL again, and in pass-through keeps the caller's Meta token, which a download may come without; so a missing grant
//! is not an error.
//!
//! Media URLs are good for five minutes (Cloud API, "Media"), so ours are not good for longer.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_lc_rs::{hkdf, hmac, rand};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use curfew_policies::{MediaId, Minute, Origin, PhoneNumberId, Pin, Timestamp};
use secrecy::SecretString;
use secrecy::zeroize::Zeroizing;
use thiserror::Error;

use super::{MediaPins, StoreError};
use crate::clock::{Clock, Deadline};
use crate::graph::answer::MediaContent;

/// How long a download URL is good, in minutes.
const LIFE_MINUTES: u32 = 5;
/// How far ahead another instance's wall clock may be, in minutes.
const SKEW_MINUTES: u32 = 1;

/// The random name of a grant.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct GrantId([u8; 16]);

/// Stands for a caller in a download URL, without saying who it is. Made by [`UrlSigner::caller_tag`].
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct CallerTag([u8; 16]);

impl CallerTag {
    /// Its bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

/// The cryptographic library gives no key or no random bytes. Nothing can be signed then.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("the cryptographic library gives no key or no random bytes")]
pub struct CryptoUnavailable;

/// What one answer of Meta to a metadata call allows for five minutes.
pub struct Grant {
    /// The medium.
    pub media: MediaId,
    /// The number that it belongs to.
    pub number: PhoneNumberId,
    /// Who asked.
    pub caller: CallerTag,
    /// Where Meta serves it. As good as the medium for whoever has the token too: not to be logged.
    pub upstream_url: Box<str>,
    /// What Meta said that it serves there.
    pub content: MediaContent,
    /// In pass-through, the token that the caller presented with the metadata call.
    pub token: Option<SecretString>,
}

impl fmt::Debug for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Grant")
            .field("media", &self.media)
            .field("number", &self.number)
            .field("caller", &self.caller)
            .finish_non_exhaustive()
    }
}

/// The grants of the last five minutes. Cheap to clone; clones share them.
///
/// Bounded: when it is full, a new grant takes the place of the oldest one of whoever holds the most, so that nobody's reads
/// push out everybody else's.
#[derive(Clone, Debug)]
pub struct UrlGrants {
    table: Arc<Mutex<Table>>,
    clock: Clock,
    life: Duration,
    capacity: NonZeroUsize,
}

#[derive(Debug, Default)]
struct Table {
    grants: HashMap<GrantId, (Deadline, Arc<Grant>)>,
    /// The ids in the order in which they end.
    order: VecDeque<GrantId>,
    /// How many each caller holds; none that holds none.
    held: HashMap<CallerTag, usize>,
}

impl Table {
    fn insert(&mut self, id: GrantId, deadline: Deadline, grant: Grant) {
        *self.held.entry(grant.caller).or_default() += 1;
        self.order.push_back(id);
        self.grants.insert(id, (deadline, Arc::new(grant)));
    }

    /// Removes what `order` does not name any more, or is about to stop naming.
    fn remove(&mut self, id: &GrantId) {
        let Some((_, grant)) = self.grants.remove(id) else {
            return;
        };
        if let Entry::Occupied(mut held) = self.held.entry(grant.caller) {
            *held.get_mut() -= 1;
            if *held.get() == 0 {
                held.remove();
            }
        }
    }

    /// Lets go the oldest grant of whoever holds the most.
    fn make_room(&mut self) {
        let most = self.held.iter().max_by_key(|(_, count)| **count);
        let Some(most) = most.map(|(caller, _)| *caller) else {
            return;
        };
        let is_theirs = |id: &GrantId| {
            let held = self.grants.get(id);
            held.is_some_and(|(_, grant)| grant.caller == most)
        };
        if let Some(id) = self
            .order
            .iter()
            .position(is_theirs)
            .and_then(|index| self.order.remove(index))
        {
            self.remove(&id);
        }
    }
}

impl UrlGrants {
    /// How many grants are kept unless told otherwise: fifty new ones a second for five minutes, about a kilobyte each.
    pub const CAPACITY: NonZeroUsize = NonZeroUsize::MIN.saturating_add(16_383);

    /// Room for `capacity` grants.
    #[must_use]
    pub fn new(clock: Clock, minute: Minute, capacity: NonZeroUsize) -> Self {
        Self {
            table: Arc::default(),
            clock,
            life: minute.times(LIFE_MINUTES),
            capacity,
        }
    }

    /// Keeps `grant` for five minutes, and returns the id to put into the URL's [`Claims`].
    ///
    /// # Errors
    ///
    /// When no random id can be made; the caller must refuse.
    pub fn put(&self, grant: Grant) -> Result<GrantId, CryptoUnavailable> {
        let mut id = [0; 16];
        rand::fill(&mut id).map_err(|_| CryptoUnavailable)?;
        let id = GrantId(id);
        let deadline = self.clock.deadline(self.life);
        let mut table = self.lock();
        self.drop_ended(&mut table);
        if table.order.len() >= self.capacity.get() {
            table.make_room();
        }
        table.insert(id, deadline, grant);
        Ok(id)
    }

    /// The grant `id`, unless it has ended, was forgotten, pushed out or made by another process.
    #[must_use]
    pub fn find(&self, id: GrantId) -> Option<Arc<Grant>> {
        let table = self.lock();
        let (deadline, grant) = table.grants.get(&id)?;
        (!self.clock.is_past(*deadline)).then(|| Arc::clone(grant))
    }

    /// Drops every grant of `media`, which was deleted.
    pub fn forget_media(&self, media: MediaId) {
        let mut table = self.lock();
        let is_of_it = |(_, (_, grant)): &(&GrantId, &(Deadline, Arc<Grant>))| grant.media == media;
        let ids: Vec<_> = table.grants.iter().filter(is_of_it).map(|(id, _)| *id).collect();
        for id in &ids {
            table.remove(id);
        }
        if !ids.is_empty() {
            let Table { grants, order, .. } = &mut *table;
            order.retain(|id| grants.contains_key(id));
        }
    }

    /// Frees what has ended, tokens included. To be called on a timer; reads do not depend on it.
    pub fn sweep(&self) {
        self.drop_ended(&mut self.lock());
    }

    /// How many grants are held, also such as have ended and were not swept yet.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lock().grants.len()
    }

    /// Whether no grant is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn drop_ended(&self, table: &mut Table) {
        while let Some(oldest) = table.order.front().copied() {
            let is_live = |(deadline, _): &(Deadline, _)| !self.clock.is_past(*deadline);
            if table.grants.get(&oldest).is_some_and(is_live) {
                break;
            }
            table.remove(&oldest);
            table.order.pop_front();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the token of a download URL says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Claims {
    /// The medium.
    pub media: MediaId,
    /// The number that it belongs to.
    pub number: PhoneNumberId,
    /// Who may fetch it.
    pub caller: CallerTag,
    /// The grant that was made with it.
    pub grant: GrantId,
    /// When the URL ends, to the millisecond: at the latest [five minutes](UrlSigner::ends) after it was made, and no
    /// later than the medium.
    pub ends: Timestamp,
}

impl Claims {
    /// What is known of the medium.
    ///
    /// The URL of another instance, or of before a restart, may be all that is: it is signed, and says whose the medium is
    /// and that it lives as long as the URL at least.
    ///
    /// # Errors
    ///
    /// When the store of pins does not answer.
    pub async fn pin(&self, pins: &MediaPins) -> Result<Pin, StoreError> {
        Ok(pins.look_up(self.media).await?.unwrap_or(Pin {
            number: self.number,
            ends: self.ends,
            origin: Origin::Inbound,
        }))
    }
}

/// Why the token of a download URL is refused.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum UrlError {
    /// It is not one that a gateway with this key has made.
    #[error("is not a download URL of this gateway")]
    Forged,
    /// It is genuine, and over. Also if it ends further ahead than any can: then the wall clock was set back.
    #[error("has ended")]
    Ended,
}

/// Makes and checks the tokens of download URLs: HMAC-SHA256 over fixed-width claims, in base64url.
///
/// A token is one path segment of 119 letters, digits, `-` and `_`: nothing that needs an escape, no dot, no padding.
#[derive(Clone, Debug)]
pub struct UrlSigner {
    url_key: hmac::Key,
    caller_key: hmac::Key,
    minute: Minute,
}

/// Changes when what is signed changes, so that no token is read as what it does not say.
const VERSION: u8 = 1;
const CLAIMS_BYTES: usize = 1 + 8 + 8 + 16 + 16 + 8;
const MAC_BYTES: usize = 32;

impl UrlSigner {
    /// A signer whose keys follow from `secret`, by HKDF-SHA256: so instances that share the secret take each other's
    /// URLs, and their own of before a restart.
    ///
    /// `secret` must not be guessable; it is the gateway's Meta token. With a new one, URLs of before are refused.
    ///
    /// # Errors
    ///
    /// When the cryptographic library refuses, which its documentation gives no reason for with keys of this length.
    pub fn derived_from(secret: &[u8], minute: Minute) -> Result<Self, CryptoUnavailable> {
        let salt = hkdf::Salt::new(hkdf::HKDF_SHA256, b"curfew");
        let secret = salt.extract(secret);
        let key_for = |purpose: &[u8]| {
            let purpose = [purpose];
            let key = secret.expand(&purpose, hmac::HMAC_SHA256);
            key.map(hmac::Key::from).map_err(|_| CryptoUnavailable)
        };
        Ok(Self {
            url_key: key_for(b"download url")?,
            caller_key: key_for(b"caller tag")?,
            minute,
        })
    }

    /// A signer with keys of this process's own, where there is no secret that instances share.
    ///
    /// # Errors
    ///
    /// When the system gives no random bytes.
    pub fn random(minute: Minute) -> Result<Self, CryptoUnavailable> {
        let mut secret = Zeroizing::new([0; 32]);
        rand::fill(secret.as_mut_slice()).map_err(|_| CryptoUnavailable)?;
        Self::derived_from(secret.as_slice(), minute)
    }

    /// The tag of the caller that `identity` tells apart from all others: its name in the policy, or in pass-through its
    /// token. Keyed, so that it cannot be checked against guesses.
    #[must_use]
    pub fn caller_tag(&self, identity: &[u8]) -> CallerTag {
        let mac = hmac::sign(&self.caller_key, identity);
        let mut tag = [0; 16];
        for (to, from) in tag.iter_mut().zip(mac.as_ref()) {
            *to = *from;
        }
        CallerTag(tag)
    }

    /// The end of a URL that is made at `now` for a medium that lives until `media_ends`.
    #[must_use]
    pub fn ends(&self, now: Timestamp, media_ends: Timestamp) -> Timestamp {
        now.after(self.minute.times(LIFE_MINUTES)).min(media_ends)
    }

    /// The token that says `claims`.
    #[must_use]
    pub fn sign(&self, claims: &Claims) -> String {
        let mut token = Vec::with_capacity(CLAIMS_BYTES + MAC_BYTES);
        token.push(VERSION);
        token.extend(claims.media.get().to_be_bytes());
        token.extend(claims.number.get().to_be_bytes());
        token.extend(claims.caller.0);
        token.extend(claims.grant.0);
        token.extend(claims.ends.millis().to_be_bytes());
        let mac = hmac::sign(&self.url_key, &token);
        token.extend(mac.as_ref());
        URL_SAFE_NO_PAD.encode(token)
    }

    /// What `token` says, if this key made it and it has not ended at `now`. The signature is compared in constant time.
    ///
    /// # Errors
    ///
    /// [`UrlError::Forged`] before anything of it is believed, then [`UrlError::Ended`].
    pub fn verify(&self, token: &str, now: Timestamp) -> Result<Claims, UrlError> {
        let mut bytes = [0; CLAIMS_BYTES + MAC_BYTES];
        let length = URL_SAFE_NO_PAD.decode_slice(token, &mut bytes);
        if length != Ok(bytes.len()) {
            return Err(UrlError::Forged);
        }
        let (said, mac) = bytes.split_at(CLAIMS_BYTES);
        hmac::verify(&self.url_key, said, mac).map_err(|_| UrlError::Forged)?;
        let claims = read(said).ok_or(UrlError::Forged)?;
        let last = now.after(self.minute.times(LIFE_MINUTES + SKEW_MINUTES));
        if claims.ends <= now || claims.ends > last {
            return Err(UrlError::Ended);
        }
        Ok(claims)
    }
}

fn read(said: &[u8]) -> Option<Claims> {
    let (version, rest) = said.split_first()?;
    let (media, rest) = rest.split_first_chunk()?;
    let (number, rest) = rest.split_first_chunk()?;
    let (caller, rest) = rest.split_first_chunk()?;
    let (grant, rest) = rest.split_first_chunk()?;
    let (ends, rest) = rest.split_first_chunk()?;
    (*version == VERSION && rest.is_empty()).then_some(())?;
    Some(Claims {
        // Ids are made from their spelling only, which is also what refuses 0.
        media: u64::from_be_bytes(*media).to_string().parse().ok()?,
        number: u64::from_be_bytes(*number).to_string().parse().ok()?,
        caller: CallerTag(*caller),
        grant: GrantId(*grant),
        ends: Timestamp::from_millis(u64::from_be_bytes(*ends)),
    })
}

#[cfg(test)]
mod tests;
