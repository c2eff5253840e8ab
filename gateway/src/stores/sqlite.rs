//! The SQLite file behind the stores, and the one thread that writes it.
//!
//! Metadata only: ids, times, origins; and outcomes of sends, sealed. Ids are `TEXT` in Meta's own decimal spelling, since the widest do not fit SQLite's
//! signed integers; times are `INTEGER` milliseconds since 1970. An auditor can read it with the stock `sqlite3`, also
//! while the gateway runs: `SELECT media_id, datetime(ends_ms / 1000, 'unixepoch'), origin FROM pin`.
//!
//! Writes are grouped: what has queued up while one transaction was written goes into the next. Answers are given after
//! the commit, with `synchronous=FULL`, so after the file was synced. The maps in memory change after the commit too,
//! and only here, which is why they and the file always agree.

mod file;
mod outcomes;
mod rows;

use std::collections::HashMap;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use curfew_policies::{MediaId, Minute, PhoneNumberId, Pin, Timestamp};
use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::{mpsc, oneshot};

pub(super) use self::outcomes::Entries;

use self::file::{connect, failed_at, lock, resolve};
use self::outcomes::{OutcomeWrite, load_secret};
use self::rows::{drop_call, keep, load_calls, load_pins};
use super::StoreError;
use super::outcomes::Secret;
use super::pins::{PinMap, buried, merged};
use super::registrations::{CallLog, Note, RegistrationCall};
use crate::clock::Clock;

/// How many writes may wait in the queue; the next ones wait to be queued.
const QUEUE: usize = 1024;
/// How many writes go into one transaction at most.
const BATCH: usize = 256;

/// The way to the thread that writes. Dropping it writes what is queued, closes the file and waits for both.
#[derive(Debug)]
pub(super) struct Writer {
    queue: Option<mpsc::Sender<Write>>,
    thread: Option<JoinHandle<()>>,
    /// Held as long as the file is open.
    _lock: File,
}

/// One write, and where its answer goes.
enum Write {
    /// `pin` is what is asked for, and once it is committed what is in force.
    Record {
        media: MediaId,
        pin: Pin,
        answer: Answer<Pin>,
    },
    /// `gravestone` is filled in by the commit.
    Bury {
        media: MediaId,
        gravestone: Option<Pin>,
        answer: Answer<Option<Pin>>,
    },
    /// `media` are candidates, and once it is committed those that were forgotten.
    Forget {
        media: Vec<MediaId>,
        limit: Timestamp,
        answer: Answer<usize>,
    },
    /// `is_taken` is filled in by the commit.
    Note {
        number: PhoneNumberId,
        call: RegistrationCall,
        most: u32,
        is_taken: bool,
        answer: Answer<Note>,
    },
    TakeBack {
        number: PhoneNumberId,
        call: RegistrationCall,
        at: Timestamp,
        answer: Answer<()>,
    },
    Outcome(OutcomeWrite),
}

type Answer<T> = oneshot::Sender<Result<T, StoreError>>;

impl Writer {
    pub(super) async fn record(&self, media: MediaId, pin: Pin) -> Result<Pin, StoreError> {
        self.ask(|answer| Write::Record { media, pin, answer }).await
    }

    pub(super) async fn bury(&self, media: MediaId) -> Result<Option<Pin>, StoreError> {
        self.ask(|answer| Write::Bury {
            media,
            gravestone: None,
            answer,
        })
        .await
    }

    /// Forgets those of `media` whose pins ended at `limit` or before, and returns how many they were.
    pub(super) async fn forget(&self, media: Vec<MediaId>, limit: Timestamp) -> Result<usize, StoreError> {
        self.ask(|answer| Write::Forget { media, limit, answer }).await
    }

    /// Notes a call, unless `most` count already.
    pub(super) async fn note(
        &self,
        number: PhoneNumberId,
        call: RegistrationCall,
        most: u32,
    ) -> Result<Note, StoreError> {
        self.ask(|answer| Write::Note {
            number,
            call,
            most,
            is_taken: false,
            answer,
        })
        .await
    }

    /// Takes back the note of a call that was made `at` this time.
    pub(super) async fn take_back(
        &self,
        number: PhoneNumberId,
        call: RegistrationCall,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        self.ask(|answer| Write::TakeBack {
            number,
            call,
            at,
            answer,
        })
        .await
    }

    async fn ask<T>(&self, write: impl FnOnce(Answer<T>) -> Write) -> Result<T, StoreError> {
        let (answer, answered) = oneshot::channel();
        let queue = self.queue.as_ref().ok_or(StoreError::Stopped)?;
        queue.send(write(answer)).await.map_err(|_| StoreError::Stopped)?;
        answered.await.map_err(|_| StoreError::Stopped)?
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take() {
            // If it panicked, those who wait have been answered `Stopped`; there is nobody else to tell.
            let _ = thread.join();
        }
    }
}

/// A file that is open: what it holds, and the way to change it.
pub(super) struct Opened {
    pub(super) writer: Writer,
    pub(super) pins: Arc<PinMap>,
    pub(super) calls: Arc<CallLog>,
    pub(super) secret: Secret,
}

/// Opens the file at `path` and starts its writer. No more sends are begun once the file has `room` bytes.
pub(super) fn open(path: &Path, clock: &Clock, minute: Minute, room: u64) -> Result<Opened, StoreError> {
    let path = resolve(path).map_err(failed_at(path))?;
    let lock = lock(&path)?;
    let connection = connect(&path)?;
    let pins = Arc::new(load_pins(&connection, &path)?);
    let calls = Arc::new(load_calls(&connection, &path, minute)?);
    let secret = load_secret(&connection, &path)?;
    let (queue, writes) = mpsc::channel(QUEUE);
    let scribe = Scribe {
        connection,
        pins: Arc::clone(&pins),
        calls: Arc::clone(&calls),
        entries: Arc::new(Entries::new(queue.downgrade(), room)),
        clock: clock.clone(),
    };
    let thread = thread::Builder::new()
        .name("curfew-store".to_owned())
        .spawn(move || scribe.serve(writes))
        .map_err(failed_at(&path))?;
    let writer = Writer {
        queue: Some(queue),
        thread: Some(thread),
        _lock: lock,
    };
    Ok(Opened {
        writer,
        pins,
        calls,
        secret,
    })
}

/// What the writing thread owns.
struct Scribe {
    connection: Connection,
    pins: Arc<PinMap>,
    calls: Arc<CallLog>,
    entries: Arc<Entries>,
    clock: Clock,
}

impl Scribe {
    /// Writes until the queue is empty and nobody is left to fill it.
    fn serve(mut self, mut queue: mpsc::Receiver<Write>) {
        let mut batch = Vec::with_capacity(BATCH);
        while queue.blocking_recv_many(&mut batch, BATCH) > 0 {
            let now = self.clock.now();
            match self.commit(&mut batch, now) {
                Ok(changed) => {
                    self.publish(changed);
                    batch.drain(..).for_each(|write| self.confirm(write, now));
                }
                Err(error) => {
                    let error = StoreError::Write {
                        source: Arc::new(error),
                    };
                    batch.drain(..).for_each(|write| self.refuse(write, &error));
                }
            }
        }
        if self.entries.has_freed() {
            // Nobody is left to be told; what stays in the file counts as unknown.
            let _ = self.commit(&mut [], self.clock.now());
        }
    }

    /// Writes all of `batch` or nothing, and returns what changed among the pins (`None`: forgotten). Each write is left
    /// holding what it came to.
    fn commit(
        &mut self,
        batch: &mut [Write],
        now: Timestamp,
    ) -> rusqlite::Result<HashMap<MediaId, Option<Pin>>> {
        if !self.connection.is_autocommit() {
            // The roll-back after the last failure failed too.
            self.connection.execute_batch("ROLLBACK")?;
        }
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        let freed = self.entries.write_freed(&transaction)?;
        let mut changed = HashMap::new();
        // Notes of this batch that the log in memory does not know yet. What the batch takes back frees its place only
        // afterwards: too few for a moment, never too many.
        let mut noted: HashMap<(PhoneNumberId, RegistrationCall), u32> = HashMap::new();
        for write in batch {
            match write {
                Write::Record { media, pin, .. } => {
                    let held = held(&self.pins, &changed, *media);
                    *pin = merged(held, *pin, now);
                    if held != Some(*pin) {
                        keep(&transaction, *media, *pin)?;
                        changed.insert(*media, Some(*pin));
                    }
                }
                Write::Bury {
                    media, gravestone, ..
                } => {
                    let held = held(&self.pins, &changed, *media);
                    *gravestone = held.map(buried);
                    if let Some(pin) = gravestone.filter(|pin| held != Some(*pin)) {
                        keep(&transaction, *media, pin)?;
                        changed.insert(*media, Some(pin));
                    }
                }
                Write::Forget { media, limit, .. } => {
                    media.retain(|media| {
                        held(&self.pins, &changed, *media).is_some_and(|pin| pin.ends <= *limit)
                    });
                    let mut delete = transaction.prepare_cached("DELETE FROM pin WHERE media_id = ?1")?;
                    for media in media {
                        delete.execute([media.to_string()])?;
                        changed.insert(*media, None);
                    }
                }
                Write::Note {
                    number,
                    call,
                    most,
                    is_taken,
                    ..
                } => {
                    let noted = noted.entry((*number, *call)).or_default();
                    *is_taken = self.calls.recent(*number, *call, now).saturating_add(*noted) < *most;
                    if *is_taken {
                        self.calls.keep(&transaction, *number, *call, now)?;
                        *noted += 1;
                    }
                }
                Write::TakeBack { number, call, at, .. } => drop_call(&transaction, *number, *call, *at)?,
                Write::Outcome(write) => write.commit(&transaction, &self.entries, now)?,
            }
        }
        transaction.commit()?;
        self.entries.forget_freed(freed);
        Ok(changed)
    }

    fn publish(&self, changed: HashMap<MediaId, Option<Pin>>) {
        for (media, pin) in changed {
            match pin {
                Some(pin) => self.pins.insert(media, pin),
                None => self.pins.remove(media),
            }
        }
    }

    /// Answers a write that is committed. Whoever has stopped waiting for it misses nothing but the answer.
    fn confirm(&self, write: Write, now: Timestamp) {
        match write {
            Write::Record { pin, answer, .. } => drop(answer.send(Ok(pin))),
            Write::Bury {
                gravestone, answer, ..
            } => drop(answer.send(Ok(gravestone))),
            Write::Forget { media, answer, .. } => drop(answer.send(Ok(media.len()))),
            Write::Note {
                number,
                call,
                is_taken,
                answer,
                ..
            } => {
                // What the file holds counts in memory too, so whether it was taken is not judged again.
                let most = if is_taken { u32::MAX } else { 0 };
                drop(answer.send(Ok(self.calls.note(number, call, now, most))));
            }
            Write::TakeBack {
                number,
                call,
                at,
                answer,
            } => {
                self.calls.take_back(number, call, at);
                drop(answer.send(Ok(())));
            }
            Write::Outcome(write) => write.confirm(&self.entries),
        }
    }

    /// Answers a write that failed.
    fn refuse(&self, write: Write, error: &StoreError) {
        match write {
            Write::Record { answer, .. } => drop(answer.send(Err(error.clone()))),
            Write::Bury { answer, .. } => drop(answer.send(Err(error.clone()))),
            Write::Forget { answer, .. } => drop(answer.send(Err(error.clone()))),
            Write::Note { answer, .. } => drop(answer.send(Err(error.clone()))),
            Write::TakeBack { answer, .. } => drop(answer.send(Err(error.clone()))),
            Write::Outcome(write) => write.refuse(&self.entries, error),
        }
    }
}

/// The pin of `media` as the transaction sees it.
fn held(pins: &PinMap, changed: &HashMap<MediaId, Option<Pin>>, media: MediaId) -> Option<Pin> {
    changed.get(&media).copied().unwrap_or_else(|| pins.find(media))
}

#[cfg(test)]
mod tests;
