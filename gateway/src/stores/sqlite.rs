//! The SQLite file behind the stores: opening it, and the one thread that writes it.
//!
//! Metadata only: ids, times, origins. Ids are `TEXT` in Meta's own decimal spelling, since the widest do not fit SQLite's
//! signed integers; times are `INTEGER` milliseconds since 1970. An auditor can read it with the stock `sqlite3`, also
//! while the gateway runs: `SELECT media_id, datetime(ends_ms / 1000, 'unixepoch'), origin FROM pin`.
//!
//! Writes are grouped: what has queued up while one transaction was written goes into the next. Answers are given after
//! the commit, with `synchronous=FULL`, so after the file was synced. The maps in memory change after the commit too,
//! and only here, which is why they and the file always agree.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use curfew_policies::{MediaId, Minute, Origin, PhoneNumberId, Pin, Timestamp};
use rusqlite::{Connection, ErrorCode, OpenFlags, Transaction, TransactionBehavior, params};
use tokio::sync::{mpsc, oneshot};

use super::StoreError;
use super::pins::{PinMap, buried, merged};
use super::registrations::{CallLog, Note, RegistrationCall};
use crate::clock::Clock;

/// Marks a file as ours in SQLite's header: the letters "CRFW".
const APPLICATION_ID: i64 = 0x4352_4657;
/// The version of [`SCHEMA`], kept in SQLite's `user_version`.
const SCHEMA_VERSION: i64 = 1;
const SCHEMA: &str = "
    CREATE TABLE pin (
        media_id TEXT NOT NULL PRIMARY KEY,
        phone_number_id TEXT NOT NULL,
        ends_ms INTEGER NOT NULL CHECK (ends_ms >= 0),
        origin TEXT NOT NULL CHECK (origin IN ('upload', 'inbound', 'deleted'))
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE registration_call (
        phone_number_id TEXT NOT NULL,
        call TEXT NOT NULL CHECK (call IN ('register', 'deregister')),
        at_ms INTEGER NOT NULL CHECK (at_ms >= 0)
    ) STRICT;
";

/// How long a write waits for somebody else's lock, such as an auditor's open transaction, before it fails.
const BUSY: Duration = Duration::from_secs(2);
/// How many writes may wait in the queue; the next ones wait to be queued.
const QUEUE: usize = 1024;
/// How many writes go into one transaction at most.
const BATCH: usize = 256;
/// The size in bytes to which the write-ahead log is cut after a checkpoint.
const JOURNAL_BYTES: i64 = 4 << 20;
/// SQLite's page cache, in KiB (negative: that is how SQLite tells KiB from pages). The maps serve the reads.
const CACHE_KIB: i64 = -1024;

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

/// Opens the file at `path` and starts its writer; returns also what the file holds.
pub(super) fn open(
    path: &Path,
    clock: &Clock,
    minute: Minute,
) -> Result<(Writer, Arc<PinMap>, Arc<CallLog>), StoreError> {
    let path = resolve(path).map_err(failed_at(path))?;
    let lock = lock(&path)?;
    let connection = connect(&path)?;
    let pins = Arc::new(load_pins(&connection, &path)?);
    let calls = Arc::new(load_calls(&connection, &path, minute)?);
    let (queue, writes) = mpsc::channel(QUEUE);
    let scribe = Scribe {
        connection,
        pins: Arc::clone(&pins),
        calls: Arc::clone(&calls),
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
    Ok((writer, pins, calls))
}

/// Makes the file at `path` if it is missing, and returns its one name, so that a link to it is locked as the same file.
///
/// A file that is there already is not opened: to close it again would drop the locks that SQLite may hold on it
/// elsewhere in this process.
fn resolve(path: &Path) -> io::Result<PathBuf> {
    match private_file().create_new(true).open(path) {
        // SQLite gives the files beside the database the same rights as it.
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error),
    }
    let path = path.canonicalize()?;
    if !path.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "is not a file"));
    }
    Ok(path)
}

/// Takes the lock that keeps a second gateway out.
///
/// A file of its own, which stays when the store is closed: SQLite's exclusive mode would keep auditors out as well, and closing any other handle of the
/// database would drop SQLite's own locks on it.
fn lock(path: &Path) -> Result<File, StoreError> {
    let mut name = OsString::from(path);
    name.push("-lock");
    let name = PathBuf::from(name);
    let file = private_file().create(true).truncate(false).open(&name);
    let file = file.map_err(failed_at(&name))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::InUse {
            path: path.to_owned(),
        }),
        Err(TryLockError::Error(error)) => Err(failed_at(&name)(error)),
    }
}

/// How a file is opened for writing, and if need be made for its owner only.
fn private_file() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

fn connect(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags).map_err(sqlite_failed_at(path))?;
    let version = prepare(&mut connection).map_err(sqlite_failed_at(path))?;
    match version {
        Schema::Current => {}
        Schema::Foreign => {
            return Err(StoreError::Foreign {
                path: path.to_owned(),
            });
        }
        Schema::Newer(found) => {
            return Err(StoreError::Newer {
                path: path.to_owned(),
                found,
                known: SCHEMA_VERSION,
            });
        }
    }
    // SQLite syncs the file, not the folder entry that leads to it.
    let folder = path.parent().unwrap_or(Path::new("/"));
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(failed_at(path))?;
    Ok(connection)
}

enum Schema {
    Current,
    Foreign,
    Newer(i64),
}

/// Looks whose file it is before anything is written to it, then sets it up.
fn prepare(connection: &mut Connection) -> rusqlite::Result<Schema> {
    connection.busy_timeout(BUSY)?;
    let application: i64 = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let objects: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    let is_new = application == 0 && version == 0 && objects == 0;
    if !is_new && application != APPLICATION_ID {
        return Ok(Schema::Foreign);
    }
    if version > SCHEMA_VERSION {
        return Ok(Schema::Newer(version));
    }
    // Only version 1 exists: a file of ours that has another one was not written by us.
    if !is_new && version != SCHEMA_VERSION {
        return Ok(Schema::Foreign);
    }
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.pragma_update(None, "cell_size_check", true)?;
    connection.pragma_update(None, "journal_size_limit", JOURNAL_BYTES)?;
    connection.pragma_update(None, "cache_size", CACHE_KIB)?;
    if is_new {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute_batch(SCHEMA)?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", SCHEMA_VERSION)?;
        transaction.commit()?;
    }
    Ok(Schema::Current)
}

fn load_pins(connection: &Connection, path: &Path) -> Result<PinMap, StoreError> {
    let pins = PinMap::default();
    let mut select = connection
        .prepare("SELECT media_id, phone_number_id, ends_ms, origin FROM pin")
        .map_err(sqlite_failed_at(path))?;
    let mut rows = select.query([]).map_err(sqlite_failed_at(path))?;
    while let Some(row) = rows.next().map_err(sqlite_failed_at(path))? {
        let media: String = row.get(0).map_err(sqlite_failed_at(path))?;
        let number: String = row.get(1).map_err(sqlite_failed_at(path))?;
        let ends: i64 = row.get(2).map_err(sqlite_failed_at(path))?;
        let origin: String = row.get(3).map_err(sqlite_failed_at(path))?;
        let read = || {
            let pin = Pin {
                number: number.parse().ok()?,
                ends: Timestamp::from_millis(u64::try_from(ends).ok()?),
                origin: origin_named(&origin)?,
            };
            Some((media.parse().ok()?, pin))
        };
        let (media, pin) = read().ok_or_else(|| StoreError::Damaged {
            path: path.to_owned(),
            what: format!("the pin of media_id {media:?} does not make sense"),
        })?;
        pins.insert(media, pin);
    }
    Ok(pins)
}

fn load_calls(connection: &Connection, path: &Path, minute: Minute) -> Result<CallLog, StoreError> {
    let calls = CallLog::new(minute);
    let mut select = connection
        .prepare("SELECT phone_number_id, call, at_ms FROM registration_call ORDER BY at_ms")
        .map_err(sqlite_failed_at(path))?;
    let mut rows = select.query([]).map_err(sqlite_failed_at(path))?;
    while let Some(row) = rows.next().map_err(sqlite_failed_at(path))? {
        let number: String = row.get(0).map_err(sqlite_failed_at(path))?;
        let call: String = row.get(1).map_err(sqlite_failed_at(path))?;
        let at: i64 = row.get(2).map_err(sqlite_failed_at(path))?;
        let read = || {
            let at = Timestamp::from_millis(u64::try_from(at).ok()?);
            Some((number.parse().ok()?, call_named(&call)?, at))
        };
        let (number, call, at) = read().ok_or_else(|| StoreError::Damaged {
            path: path.to_owned(),
            what: format!("a registration_call of phone_number_id {number:?} does not make sense"),
        })?;
        let _ = calls.note(number, call, at, u32::MAX);
    }
    Ok(calls)
}

/// What the writing thread owns.
struct Scribe {
    connection: Connection,
    pins: Arc<PinMap>,
    calls: Arc<CallLog>,
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
                    batch.drain(..).for_each(|write| refuse(write, &error));
                }
            }
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
            }
        }
        transaction.commit()?;
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
        }
    }
}

fn refuse(write: Write, error: &StoreError) {
    match write {
        Write::Record { answer, .. } => drop(answer.send(Err(error.clone()))),
        Write::Bury { answer, .. } => drop(answer.send(Err(error.clone()))),
        Write::Forget { answer, .. } => drop(answer.send(Err(error.clone()))),
        Write::Note { answer, .. } => drop(answer.send(Err(error.clone()))),
        Write::TakeBack { answer, .. } => drop(answer.send(Err(error.clone()))),
    }
}

/// The pin of `media` as the transaction sees it.
fn held(pins: &PinMap, changed: &HashMap<MediaId, Option<Pin>>, media: MediaId) -> Option<Pin> {
    changed.get(&media).copied().unwrap_or_else(|| pins.find(media))
}

fn keep(transaction: &Transaction<'_>, media: MediaId, pin: Pin) -> rusqlite::Result<()> {
    let mut upsert = transaction.prepare_cached(
        "INSERT OR REPLACE INTO pin (media_id, phone_number_id, ends_ms, origin) VALUES (?1, ?2, ?3, ?4)",
    )?;
    upsert.execute(params![
        media.to_string(),
        pin.number.to_string(),
        millis(pin.ends),
        name_of_origin(pin.origin),
    ])?;
    Ok(())
}

impl CallLog {
    /// Notes a call in the file, and drops there those that no longer count.
    fn keep(
        &self,
        transaction: &Transaction<'_>,
        number: PhoneNumberId,
        call: RegistrationCall,
        now: Timestamp,
    ) -> rusqlite::Result<()> {
        let mut delete = transaction.prepare_cached("DELETE FROM registration_call WHERE at_ms <= ?1")?;
        if let Some(limit) = self.last_not_counted(now) {
            delete.execute([millis(limit)])?;
        }
        let mut insert = transaction.prepare_cached(
            "INSERT INTO registration_call (phone_number_id, call, at_ms) VALUES (?1, ?2, ?3)",
        )?;
        insert.execute(params![number.to_string(), name_of_call(call), millis(now)])?;
        Ok(())
    }
}

/// Drops one call of this kind and time from the file.
fn drop_call(
    transaction: &Transaction<'_>,
    number: PhoneNumberId,
    call: RegistrationCall,
    at: Timestamp,
) -> rusqlite::Result<()> {
    let mut delete = transaction.prepare_cached(
        "DELETE FROM registration_call WHERE rowid = (SELECT rowid FROM registration_call
         WHERE phone_number_id = ?1 AND call = ?2 AND at_ms = ?3 LIMIT 1)",
    )?;
    delete.execute(params![number.to_string(), name_of_call(call), millis(at)])?;
    Ok(())
}

fn name_of_origin(origin: Origin) -> &'static str {
    match origin {
        Origin::Upload => "upload",
        Origin::Inbound => "inbound",
        Origin::Deleted => "deleted",
    }
}

fn origin_named(name: &str) -> Option<Origin> {
    [Origin::Upload, Origin::Inbound, Origin::Deleted]
        .into_iter()
        .find(|origin| name_of_origin(*origin) == name)
}

fn name_of_call(call: RegistrationCall) -> &'static str {
    match call {
        RegistrationCall::Register => "register",
        RegistrationCall::Deregister => "deregister",
    }
}

fn call_named(name: &str) -> Option<RegistrationCall> {
    [RegistrationCall::Register, RegistrationCall::Deregister]
        .into_iter()
        .find(|call| name_of_call(*call) == name)
}

/// Milliseconds as SQLite holds them; what lies beyond is the last of them.
fn millis(time: Timestamp) -> i64 {
    i64::try_from(time.millis()).unwrap_or(i64::MAX)
}

fn failed_at(path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    move |error| StoreError::Open {
        path: path.to_owned(),
        source: Arc::new(error),
    }
}

fn sqlite_failed_at(path: &Path) -> impl FnOnce(rusqlite::Error) -> StoreError {
    move |error| match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => StoreError::NotADatabase {
            path: path.to_owned(),
        },
        Some(ErrorCode::DatabaseCorrupt) => StoreError::Damaged {
            path: path.to_owned(),
            what: error.to_string(),
        },
        _ => StoreError::Open {
            path: path.to_owned(),
            source: Arc::new(error),
        },
    }
}

#[cfg(test)]
mod tests;
