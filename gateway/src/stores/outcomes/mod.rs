//! The first outcome of each send that may be asked for again, so that no message is sent twice.
//!
//! A send is written down before its first byte goes to Meta, and what came of it before anybody is told. One that is written
//! down and of which nothing came, because the process ended or the answer broke off, is *unknown*, and stays so until its end
//! or until a webhook [settles](Outcomes::settle) it: it is never sent again.
//!
//! What is kept is content-free: ids and fingerprints that only the same request leads to again, and answers that are
//! [sealed](Name::seal) under a key that only the same request brings.
//!
//! What it deliberately does not do: judge answers. Whether an answer is kept, or frees its send for another try, is decided
//! by [`crate::layers::once`].

mod name;
mod table;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

pub use crate::graph::marker::Marker;

pub use self::name::{Asker, FirstAnswer, Name, Sending, Share};
pub(super) use self::name::{Fingerprint, OutcomeId, Secret};
use self::table::Table;
use super::sqlite::{Entries, Writer};
use super::valkey::Valkey;
use super::valkey::outcomes::Run;
use super::{CryptoUnavailable, StoreError};
use crate::clock::Clock;

/// The outcomes. Cheap to clone; clones share them.
#[derive(Clone, Debug)]
pub struct Outcomes {
    keeper: Keeper,
    secret: Arc<Secret>,
}

#[derive(Clone, Debug)]
enum Keeper {
    Memory(Arc<Table>),
    File(Arc<Writer>),
    Shared(Valkey),
}

/// What a webhook says of a send of which no answer came.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Settled {
    /// Meta has accepted it, as this message.
    Accepted {
        /// The message's id.
        wamid: Box<str>,
    },
    /// It failed, with this code of Meta's.
    Failed {
        /// `errors[].code` of the status.
        code: i64,
    },
}

/// What is known of a send's outcome.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Kept {
    /// The answer that came, sealed under the send's [`Name`].
    Sealed(Box<[u8]>),
    /// No answer came, but a webhook.
    Settled(Settled),
}

impl Kept {
    /// An answer says more than a webhook.
    pub(super) fn of(sealed: Option<Box<[u8]>>, settled: Option<Settled>) -> Option<Self> {
        sealed.map(Self::Sealed).or(settled.map(Self::Settled))
    }
}

/// Whether a send may go out.
#[derive(Debug)]
#[must_use]
pub enum Begin<E = Entry> {
    /// It may: it is written down, durably, and nobody else may until its entry is over.
    Begun(E),
    /// It is under way.
    Running,
    /// Another body has the same key.
    OtherBody,
    /// It went out, and what came of it is not known.
    Unknown,
    /// It went out, and this came of it.
    Done(Kept),
    /// There is no room to write it down, for longer than this at least.
    Full(Duration),
}

impl<E> Begin<E> {
    pub(super) fn map<F>(self, entry: impl FnOnce(E) -> F) -> Begin<F> {
        match self {
            Self::Begun(begun) => Begin::Begun(entry(begun)),
            Self::Running => Begin::Running,
            Self::OtherBody => Begin::OtherBody,
            Self::Unknown => Begin::Unknown,
            Self::Done(kept) => Begin::Done(kept),
            Self::Full(wait) => Begin::Full(wait),
        }
    }
}

/// What is asked of a store.
#[derive(Clone, Copy, Debug)]
pub(super) struct Opening {
    pub(super) id: OutcomeId,
    pub(super) fingerprint: Fingerprint,
    pub(super) life: Duration,
    pub(super) marker: Option<Marker>,
    pub(super) share: Option<Share>,
}

/// What a store holds under an id.
pub(super) struct Row {
    pub(super) is_same_body: bool,
    pub(super) is_running: bool,
    pub(super) has_ended: bool,
    pub(super) kept: Option<Kept>,
}

/// What is held means for who asks again; `None`: it may begin.
pub(super) fn judge(row: Option<Row>) -> Option<Begin<()>> {
    let Row {
        is_same_body,
        is_running,
        has_ended,
        kept,
    } = row?;
    // What is under way does not end, however long it takes.
    if has_ended && !is_running {
        return None;
    }
    Some(match kept {
        _ if !is_same_body => Begin::OtherBody,
        Some(kept @ Kept::Sealed(_)) => Begin::Done(kept),
        // Its answer may still come, and says more.
        _ if is_running => Begin::Running,
        Some(kept @ Kept::Settled(_)) => Begin::Done(kept),
        None => Begin::Unknown,
    })
}

impl Outcomes {
    /// How much memory outcomes may take unless told otherwise, in bytes: 256 MiB, about 300 000 sends.
    pub const MEMORY_BYTES: usize = 256 << 20;
    /// How large the store's file may grow before no more sends are written down, in bytes: 8 GiB, about ten million sends.
    pub const FILE_BYTES: u64 = 8 << 30;

    /// Outcomes that last as long as the process, of about `capacity` bytes.
    ///
    /// # Errors
    ///
    /// When the system gives no random bytes.
    pub fn in_memory(clock: Clock, capacity: usize) -> Result<Self, CryptoUnavailable> {
        Ok(Self {
            keeper: Keeper::Memory(Arc::new(Table::new(clock, capacity))),
            secret: Arc::new(Secret::of(&Secret::draw()?)),
        })
    }

    pub(super) fn kept_by(writer: Arc<Writer>, secret: Secret) -> Self {
        Self {
            keeper: Keeper::File(writer),
            secret: Arc::new(secret),
        }
    }

    /// Outcomes that all who share `store` keep together.
    pub(super) async fn shared(store: Valkey) -> Result<Self, StoreError> {
        let secret = Arc::new(Secret::of(&store.outcomes_secret().await?));
        let keeper = Keeper::Shared(store);
        Ok(Self { keeper, secret })
    }

    /// What this asker's `send` is known again by.
    ///
    /// # Errors
    ///
    /// When the cryptographic library refuses, which its documentation gives no reason for with keys of this length.
    pub fn name(&self, asker: Asker<'_>, send: &Sending<'_>) -> Result<Name, CryptoUnavailable> {
        Name::of(&self.secret, asker, send)
    }

    /// Writes down that `name` is about to be sent, unless something is known of it. Its outcome is kept for `life`, counted from
    /// when it comes; an outcome that never comes, from now at least. By the wall clock if it outlives the process, else by
    /// the monotonic one.
    ///
    /// Dropping the future before it is ready leaves nothing written.
    ///
    /// # Errors
    ///
    /// When it could not be made durable; then it must not be sent.
    pub async fn begin(
        &self,
        name: &Name,
        life: Duration,
        marker: Option<Marker>,
    ) -> Result<Begin, StoreError> {
        let opening = Opening {
            id: name.id,
            fingerprint: name.fingerprint,
            life,
            marker,
            share: name.share,
        };
        let begun = match &self.keeper {
            Keeper::Memory(table) => {
                let claim = |()| Claim::new(name.id, Registry::Memory(Arc::clone(table)));
                table.begin(&opening).map(claim)
            }
            Keeper::File(writer) => writer.begin(opening).await?,
            Keeper::Shared(store) => {
                // Made first: a begin that is broken off may be written down all the same.
                let run = store.new_run(&opening)?;
                let claim = Claim::new(name.id, Registry::Shared(run.clone()));
                match run.begin(&opening).await? {
                    Some(row) => match judge(Some(row)) {
                        Some(found) => {
                            drop(claim);
                            found.map(|()| Claim::new(name.id, Registry::Shared(run)))
                        }
                        None => Begin::Unknown,
                    },
                    None => Begin::Begun(claim),
                }
            }
        };
        let keeper = self.keeper.clone();
        Ok(begun.map(|claim| Entry { claim, keeper, life }))
    }

    /// Says what came of the send with this marker, unless that is known; returns whether it was news.
    ///
    /// # Errors
    ///
    /// When it could not be made durable; then nothing is settled.
    pub async fn settle(&self, marker: Marker, settled: Settled) -> Result<bool, StoreError> {
        match &self.keeper {
            Keeper::Memory(table) => Ok(table.settle(marker, settled)),
            Keeper::File(writer) => writer.settle(marker, settled).await,
            Keeper::Shared(store) => store.settle(marker, &settled).await,
        }
    }

    /// Forgets outcomes that have ended, and returns how many they were. To be called on a timer; nothing depends on it but the
    /// room.
    ///
    /// # Errors
    ///
    /// When the file could not be written. What was forgotten until then stays forgotten.
    pub async fn sweep(&self) -> Result<usize, StoreError> {
        match &self.keeper {
            Keeper::Memory(table) => Ok(table.sweep()),
            // It forgets by itself.
            Keeper::Shared(_) => Ok(0),
            Keeper::File(writer) => {
                let mut swept = 0;
                loop {
                    match writer.expire().await? {
                        0 => return Ok(swept),
                        more => swept += more,
                    }
                }
            }
        }
    }
}

/// A send that was begun: who holds it alone may send it. Dropped before it [sets out](Self::sets_out), it is as if it never
/// was; afterwards its outcome is unknown.
#[derive(Debug)]
#[must_use]
pub struct Entry {
    claim: Claim,
    keeper: Keeper,
    life: Duration,
}

impl Entry {
    /// From now on its bytes may leave.
    pub fn sets_out(&mut self) {
        self.claim.has_set_out = true;
    }

    /// Nothing was sent, or Meta says that it did nothing of it: the next one with the same name is a first one.
    pub fn free(mut self) {
        self.claim.has_set_out = false;
    }

    /// Keeps what came of it, [sealed](Name::seal). It is known when this is ready, and is written even if the future is
    /// dropped.
    ///
    /// # Errors
    ///
    /// When it could not be made durable; then its outcome is unknown to all who ask again.
    pub async fn finish(mut self, sealed: Box<[u8]>) -> Result<(), StoreError> {
        self.claim.has_set_out = true;
        match &self.keeper {
            Keeper::Memory(table) => {
                table.finish(self.claim.id, sealed);
                self.claim.is_over = true;
                Ok(())
            }
            Keeper::File(writer) => writer.finish(self.claim.id, sealed, self.life).await,
            Keeper::Shared(_) => match &self.claim.registry {
                Registry::Shared(run) => {
                    run.finish(&sealed).await?;
                    self.claim.is_over = true;
                    Ok(())
                }
                Registry::Memory(_) | Registry::File(_) => Err(StoreError::Stopped),
            },
        }
    }
}

/// Gives its id back when it is dropped.
pub(super) struct Claim {
    id: OutcomeId,
    registry: Registry,
    has_set_out: bool,
    is_over: bool,
}

pub(super) enum Registry {
    Memory(Arc<Table>),
    File(Arc<Entries>),
    Shared(Run),
}

impl Claim {
    pub(super) fn new(id: OutcomeId, registry: Registry) -> Self {
        Self {
            id,
            registry,
            has_set_out: false,
            is_over: false,
        }
    }
}

impl fmt::Debug for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claim")
            .field("has_set_out", &self.has_set_out)
            .finish_non_exhaustive()
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        match (&self.registry, self.has_set_out) {
            (Registry::Memory(table), true) => table.leave_unknown(self.id),
            (Registry::Memory(table), false) => table.free(self.id),
            (Registry::File(entries), true) => entries.leave(self.id),
            (Registry::File(entries), false) => entries.free(self.id),
            (Registry::Shared(run), true) => run.leave(),
            (Registry::Shared(run), false) => run.free(),
        }
    }
}

#[cfg(test)]
mod tests;
