//! The store that several instances share: Valkey, or Redis from 7.0 on.
//!
//! Only here is anything said to it. Metadata only, and no recipient but as a keyed hash: whoever reads the store learns
//! which media belong to which number, and how much was sent, not what or to whom.
//!
//! Every decision is one script, which the server runs whole, so that of two instances at once one comes first. The keys
//! of one script share a hash tag (`curfew:{…}`), so that they live on one node wherever they are kept.
//!
//! A store that cannot answer soon is away: whoever asks gets [`StoreError::Away`] and refuses, or goes by its static
//! share. [`Valkey::keep`] brings it back.
//!
//! What it deliberately does not do: guess. The server must not evict what it was told to keep, which is looked at whenever
//! a connection is made; how much of what it acknowledged outlives its own crash is its `appendfsync`'s to say.

pub(super) mod closed;
mod link;
pub(super) mod outcomes;
mod pins;
mod registrations;
pub(super) mod sends;

use std::convert::Infallible;
use std::fmt::{self, Write as _};
use std::num::NonZeroU32;

use redis::{ConnectionInfo, IntoConnectionInfo as _};
use thiserror::Error;

use self::link::Link;
use super::StoreError;

/// Where the store is, and who we are to it.
#[derive(Clone)]
pub struct ValkeyUrl(Box<ConnectionInfo>);

/// A text that is no [`ValkeyUrl`].
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error(
    "must be redis://HOST:PORT/DATABASE, rediss:// for TLS, or unix:///PATH, without a fragment, such as \
     redis://127.0.0.1:6379/0"
)]
pub struct NotAValkeyUrl;

impl ValkeyUrl {
    /// Reads a URL: `redis://`, `rediss://` (TLS, with the system's roots), `unix://`. User name and password may be in it.
    ///
    /// # Errors
    ///
    /// When it is something else. The message holds nothing of it.
    pub fn parse(text: &str) -> Result<Self, NotAValkeyUrl> {
        // A fragment can only mean that certificates are not to be checked.
        if text.contains('#') {
            return Err(NotAValkeyUrl);
        }
        let info = text.into_connection_info().map_err(|_| NotAValkeyUrl)?;
        Ok(Self(Box::new(info)))
    }

    /// Whether a password is in it.
    #[must_use]
    pub fn has_password(&self) -> bool {
        self.0.redis_settings().password().is_some()
    }
}

impl PartialEq for ValkeyUrl {
    fn eq(&self, other: &Self) -> bool {
        let parts = |url: &Self| {
            let settings = url.0.redis_settings();
            let [name, password] =
                [settings.username(), settings.password()].map(|text| text.map(str::to_owned));
            (url.0.addr().clone(), settings.db(), name, password)
        };
        parts(self) == parts(other)
    }
}

impl Eq for ValkeyUrl {}

impl fmt::Debug for ValkeyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ValkeyUrl")
    }
}

/// The shared store. Cheap to clone; clones share the connection.
#[derive(Clone, Debug)]
pub(super) struct Valkey {
    link: Link,
    instances: NonZeroU32,
}

impl Valkey {
    /// Connects to the store that `instances` gateways share.
    ///
    /// # Errors
    ///
    /// When it cannot be reached, or must not be relied on: then a gateway does not start.
    pub(super) async fn connect(url: &ValkeyUrl, instances: NonZeroU32) -> Result<Self, StoreError> {
        let link = Link::connect(ConnectionInfo::clone(&url.0)).await?;
        Ok(Self { link, instances })
    }

    /// The secret under `key` of all who share the store: `new` if there is none yet.
    pub(super) async fn shared_secret(&self, key: &'static str, new: Vec<u8>) -> Result<Vec<u8>, StoreError> {
        self.link.secret(key, new).await
    }

    /// Whether there is a connection.
    pub(super) fn is_reachable(&self) -> bool {
        self.link.is_up()
    }

    /// Keeps the connection, and makes a new one whenever it breaks, for ever; to be run beside the listener, once.
    pub(super) async fn keep(&self) -> Infallible {
        self.link.keep().await
    }
}

/// Bytes as digits, as keys have them.
pub(super) fn hexadecimal(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}
