//! What a medium's bytes come in through.

use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{self, SHA256};
use bytes::Bytes;
use http_body::Body;
use http_body_util::BodyExt as _;

use super::medium::bytes_in;
use super::{EndReason, Failure, Lease};

/// The one fetch of a medium, on behalf of all who read it.
///
/// Belongs into a task of its own, from the first byte sent to the media host: in the task of the caller that leads, it
/// would be dropped when that caller leaves, and fail the others. Dropped before it has [finished](Self::finish), it has
/// failed; nothing of it is kept.
///
/// It goes on when nobody reads any more. That costs no more than the medium's size, and whoever gave up asks again.
#[must_use = "dropping it fails everybody who reads"]
pub struct Fill {
    lease: Lease,
    digest: Option<digest::Context>,
    filled: u64,
    is_finished: bool,
}

impl Fill {
    pub(super) fn new(lease: Lease) -> Self {
        let digest = lease
            .medium
            .identity
            .sha256
            .map(|_| digest::Context::new(&SHA256));
        Self {
            lease,
            digest,
            filled: 0,
            is_finished: false,
        }
    }

    /// Appends `bytes`, and wakes those who wait for them.
    ///
    /// # Errors
    ///
    /// When they are more than Meta says that the medium has, and when the medium has ended. The fetch is to be broken off.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), EndReason> {
        let filled = self.filled.saturating_add(bytes_in(bytes));
        if filled > self.lease.medium.identity.size {
            return Err(self.end(Failure::TooLong));
        }
        self.lease
            .medium
            .push(bytes, self.lease.clock())
            .map_err(|over| self.lease.over(over))?;
        if let Some(digest) = &mut self.digest {
            digest.update(bytes);
        }
        self.filled = filled;
        Ok(())
    }

    /// Checks size and SHA-256, then lets readers have their last piece, and others the copy.
    ///
    /// # Errors
    ///
    /// When the bytes are not what Meta says; then nobody has had them all, and the copy is gone. And when the medium has
    /// ended before.
    pub fn finish(mut self) -> Result<(), EndReason> {
        if self.filled < self.lease.medium.identity.size {
            return Err(self.end(Failure::TooShort));
        }
        let digest = self.digest.take().map(digest::Context::finish);
        let is_right = match (&digest, &self.lease.medium.identity.sha256) {
            (Some(digest), Some(expected)) => digest.as_ref() == expected,
            // Without a digest of Meta's, the size is all that can be checked.
            _ => true,
        };
        if !is_right {
            return Err(self.end(Failure::WrongDigest));
        }
        self.is_finished = true;
        self.lease
            .medium
            .settle(self.lease.clock())
            .map_err(|over| self.lease.over(over))
    }

    /// Ends the medium for all who read it, saying why.
    pub fn fail(self, failure: Failure) {
        self.end(failure);
    }

    /// Fills from `body` to its end, and [finishes](Self::finish).
    ///
    /// Stops, and drops `body`, as soon as the medium ends. Needs tokio's timer.
    ///
    /// # Errors
    ///
    /// Why the medium has ended; also when nothing came for `idle`.
    pub async fn run<B>(mut self, body: B, idle: Duration) -> Result<(), EndReason>
    where
        B: Body<Data = Bytes>,
    {
        let mut body = pin!(body);
        let medium = Arc::clone(&self.lease.medium);
        loop {
            let frame = tokio::select! {
                biased;
                reason = medium.ended() => return Err(reason),
                frame = tokio::time::timeout(idle, body.frame()) => frame,
            };
            match frame {
                Err(_) => return Err(self.end(Failure::Stalled)),
                Ok(None) => return self.finish(),
                Ok(Some(Err(_))) => return Err(self.end(Failure::BrokenOff)),
                Ok(Some(Ok(frame))) => {
                    if let Ok(bytes) = frame.into_data() {
                        self.push(&bytes)?;
                    }
                }
            }
        }
    }

    /// Waits until the medium ends. For the time before there is a body to [run](Self::run).
    pub async fn ended(&self) -> EndReason {
        self.lease.medium.ended().await
    }

    fn end(&self, failure: Failure) -> EndReason {
        self.lease.end(EndReason::Failed(failure))
    }
}

impl fmt::Debug for Fill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fill")
            .field("key", &self.lease.medium.identity.key)
            .field("filled", &self.filled)
            .finish_non_exhaustive()
    }
}

impl Drop for Fill {
    fn drop(&mut self) {
        if !self.is_finished {
            self.end(Failure::Abandoned);
        }
    }
}
