//! How copies end, and the receipt of each end.

use curfew_policies::Timestamp;
use thiserror::Error;

use super::MediaKey;

/// The receipt of one copy's end. Says nothing of the content.
///
/// Every copy that was begun gets exactly one, after its bytes were overwritten.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Ended {
    /// Whose copy of which medium.
    pub key: MediaKey,
    /// How many bytes of it were held, and were overwritten.
    pub bytes: u64,
    /// Why it ended.
    pub reason: EndReason,
    /// When it was to end at the latest, by the wall clock.
    pub due: Timestamp,
    /// When it had ended, by the wall clock.
    pub at: Timestamp,
}

/// Why a copy ended; to its readers, why they get no more of it.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum EndReason {
    /// Its time was up: the medium's own end, or the policy's bound.
    #[error("the medium's time is up")]
    Deadline,
    /// Others needed the room.
    #[error("the copy was pushed out by others")]
    Evicted,
    /// It could not be fetched whole, so it never was a copy.
    #[error("the medium could not be fetched: {0}")]
    Failed(#[from] Failure),
    /// Somebody or something ordered it.
    #[error("the copy was purged")]
    Purged(PurgeOrder),
}

/// Who or what orders copies to end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum PurgeOrder {
    /// The medium was deleted: through this gateway, or, as Meta says, elsewhere.
    Delete,
    /// The number was deregistered.
    Deregistration,
    /// The policy in force no longer allows the copy.
    PolicyChange,
    /// An operator.
    Request,
    /// The gateway stops.
    Shutdown,
}

/// Why a fetch did not become a copy.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum Failure {
    /// The media host has no such bytes, even under a fresh URL.
    #[error("the media host does not have it")]
    Missing,
    /// No answer came from the media host, or from Meta about it.
    #[error("the media host cannot be reached")]
    Unreachable,
    /// The media host's answer cannot be used.
    #[error("{0}")]
    Unusable(&'static str),
    /// The body broke off.
    #[error("the media host broke off")]
    BrokenOff,
    /// The body stopped coming.
    #[error("the media host stopped sending")]
    Stalled,
    /// The body ended before the size that Meta gives.
    #[error("the body is shorter than Meta says")]
    TooShort,
    /// The body went on after the size that Meta gives.
    #[error("the body is longer than Meta says")]
    TooLong,
    /// The body's SHA-256 is not the one that Meta gives.
    #[error("the body's SHA-256 is not what Meta says")]
    WrongDigest,
    /// Whoever fetched it gave up.
    #[error("the fetch was given up")]
    Abandoned,
}

impl EndReason {
    /// Every [slug](Self::slug), in the order of [`CacheStats::ended`](super::CacheStats::ended).
    pub const SLUGS: [&'static str; 8] = [
        "deadline",
        "evicted",
        "failed",
        "deleted",
        "deregistered",
        "policy_changed",
        "requested",
        "shutdown",
    ];

    /// A stable name for metrics and records.
    #[must_use]
    pub const fn slug(self) -> &'static str {
        match self {
            Self::Deadline => "deadline",
            Self::Evicted => "evicted",
            Self::Failed(_) => "failed",
            Self::Purged(PurgeOrder::Delete) => "deleted",
            Self::Purged(PurgeOrder::Deregistration) => "deregistered",
            Self::Purged(PurgeOrder::PolicyChange) => "policy_changed",
            Self::Purged(PurgeOrder::Request) => "requested",
            Self::Purged(PurgeOrder::Shutdown) => "shutdown",
        }
    }
}

impl Failure {
    /// Whether the bytes that came are not those that Meta describes.
    #[must_use]
    pub const fn is_of_integrity(self) -> bool {
        matches!(self, Self::TooShort | Self::TooLong | Self::WrongDigest)
    }
}
