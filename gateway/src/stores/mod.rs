//! What the gateway remembers, behind narrow types: whoever uses one does not see where it is kept.
//!
//! [`MediaPins`], [`Registrations`] and [`Outcomes`] outlive the process when they are [opened](Stores::open) on a file, and
//! are all instances' when they are [shared](Stores::shared). [`UrlGrants`],
//! [`DenialBudget`] and [`KnownUploads`] are short-lived by nature and stay in memory. No store holds message content; only the [`media_cache`] holds
//! media, in memory, and no longer than it may.
//!
//! A store that cannot answer is an error, never an empty answer: the caller refuses.

mod denials;
mod grants;
pub mod limits;
pub mod media_cache;
pub mod outcomes;
mod pins;
mod readings;
mod registrations;
mod reuse;
mod seen;
mod sqlite;
mod templates;
#[cfg(test)]
mod testing;
mod valkey;

use std::convert::Infallible;
use std::error::Error;
use std::future::pending;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use curfew_policies::Minute;
use thiserror::Error;

pub use denials::{Ask, DenialBudget, Question};
pub use grants::{CallerTag, Claims, CryptoUnavailable, Grant, GrantId, UrlError, UrlGrants, UrlSigner};
pub use outcomes::Outcomes;
pub use pins::MediaPins;
pub use readings::{Asked, SettingsReadings};
pub use registrations::{Note, RegistrationCall, Registrations};
pub use reuse::{KnownUpload, KnownUploads, UploadTag};
pub use seen::SeenEvents;
pub use templates::TemplateClasses;
use valkey::Valkey;
pub use valkey::{NotAValkeyUrl, ValkeyUrl};

use crate::clock::Clock;

/// The stores that share one file, or one process's memory.
#[derive(Clone, Debug)]
pub struct Stores {
    /// Which number each medium belongs to, and until when it lives.
    pub pins: MediaPins,
    /// The register and deregister calls that went to Meta.
    pub registrations: Registrations,
    /// What came of sends that may be asked for again.
    pub outcomes: Outcomes,
    /// What they are shared in, if they are.
    valkey: Option<Valkey>,
}

impl Stores {
    /// Stores that last as long as the process.
    ///
    /// # Errors
    ///
    /// When the system gives no random bytes.
    pub fn in_memory(clock: &Clock, minute: Minute) -> Result<Self, CryptoUnavailable> {
        Ok(Self {
            pins: MediaPins::in_memory(clock.clone(), minute),
            registrations: Registrations::in_memory(clock.clone(), minute),
            outcomes: Outcomes::in_memory(clock.clone(), Outcomes::MEMORY_BYTES)?,
            valkey: None,
        })
    }

    /// Stores that are kept in the SQLite file at `path`, which is made if it is missing; its folder is not.
    ///
    /// Blocks while the file is read. The last clone that is dropped blocks until what was asked for is written.
    ///
    /// # Errors
    ///
    /// When another gateway holds the file, when it is not ours, newer than this version or damaged, and when it cannot
    /// be opened or made.
    pub fn open(path: &Path, clock: &Clock, minute: Minute) -> Result<Self, StoreError> {
        Self::open_within(path, clock, minute, Outcomes::FILE_BYTES)
    }

    /// The same, in a file that takes no more outcomes once it has `room` bytes.
    fn open_within(path: &Path, clock: &Clock, minute: Minute, room: u64) -> Result<Self, StoreError> {
        let opened = sqlite::open(path, clock, minute, room)?;
        let writer = Arc::new(opened.writer);
        Ok(Self {
            pins: MediaPins::kept_by(Arc::clone(&writer), opened.pins, clock.clone(), minute),
            registrations: Registrations::kept_by(Arc::clone(&writer), opened.calls, clock.clone()),
            outcomes: Outcomes::kept_by(writer, opened.secret),
            valkey: None,
        })
    }
}

impl Stores {
    /// Stores that are kept at `url`, where up to `instances` gateways keep theirs together.
    ///
    /// # Errors
    ///
    /// When the store cannot be reached, or must not be relied on.
    pub async fn shared(
        url: &ValkeyUrl,
        instances: NonZeroU32,
        clock: &Clock,
        minute: Minute,
    ) -> Result<Self, StoreError> {
        let valkey = Valkey::connect(url, instances).await?;
        Ok(Self {
            pins: MediaPins::shared(valkey.clone(), clock.clone(), minute),
            registrations: Registrations::shared(valkey.clone(), clock.clone(), minute),
            outcomes: Outcomes::shared(valkey.clone()).await?,
            valkey: Some(valkey),
        })
    }

    /// A place among those who share the store, for the limits of sends; `None` where nobody does.
    ///
    /// # Errors
    ///
    /// When the system gives no random bytes.
    pub fn sharing(&self) -> Result<Option<limits::Sharing>, CryptoUnavailable> {
        self.valkey.clone().map(limits::Sharing::new).transpose()
    }

    /// Keeps up what needs it, the connection to a shared store, for ever; to be run beside the listener, once.
    pub async fn keep(&self) -> Infallible {
        match &self.valkey {
            Some(valkey) => Box::pin(valkey.keep()).await,
            None => pending().await,
        }
    }
}

/// Why a store could not be opened, or did not do what it was asked to.
#[derive(Clone, Debug, Error)]
pub enum StoreError {
    /// Another process, or another part of this one, has the file open as its store.
    #[error("{path} is in use by another gateway")]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// The file is there, and is not SQLite's.
    #[error("{path} is not a SQLite database")]
    NotADatabase {
        /// The file.
        path: PathBuf,
    },
    /// The file is SQLite's, but another program's.
    #[error("{path} is the database of another program")]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// A later version of the gateway has written the file.
    #[error("{path} has schema version {found}; this gateway knows versions up to {known}")]
    Newer {
        /// The file.
        path: PathBuf,
        /// The version that the file has.
        found: i64,
        /// The last version that this gateway knows.
        known: i64,
    },
    /// A row says what the gateway never writes.
    #[error("{path} is damaged: {what}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Which row, and what is wrong with it.
        what: String,
    },
    /// The file, its lock file or its folder cannot be used.
    #[error("{path} cannot be opened")]
    Open {
        /// The file.
        path: PathBuf,
        /// What the system or SQLite said.
        source: Cause,
    },
    /// It could not be written, so it counts as not done. A later call may succeed.
    #[error("the store could not write")]
    Write {
        /// What SQLite said.
        source: Cause,
    },
    /// The shared store does not answer. A later call may succeed.
    #[error("the shared store is away")]
    Away {
        /// What the connection said.
        source: Cause,
    },
    /// The shared store must not be relied on.
    #[error("the shared store cannot be used: {what}")]
    Unfit {
        /// Why not.
        what: &'static str,
    },
    /// The writing thread is gone. Only a restart helps.
    #[error("the store has stopped")]
    Stopped,
}

/// The error below a [`StoreError`]; for logs, not for callers.
pub type Cause = Arc<dyn Error + Send + Sync>;
