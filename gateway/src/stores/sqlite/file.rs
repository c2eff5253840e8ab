//! The file itself: made, locked, opened, recognised as ours and given its schema.

use std::ffi::OsString;
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};

use crate::stores::StoreError;

/// Marks a file as ours in SQLite's header: the letters "CRFW".
pub(super) const APPLICATION_ID: i64 = 0x4352_4657;
/// What brings a file from each version to the next; the version is kept in SQLite's `user_version`. Files of every version are
/// about, so what stands here never changes.
pub(super) const MIGRATIONS: [&str; 3] = [PINS_AND_REGISTRATIONS, OUTCOMES, PINS_BY_WEBHOOK];
const PINS_AND_REGISTRATIONS: &str = "
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
/// Without `sealed`, `wamid` and `code` an outcome is not known (yet).
const OUTCOMES: &str = "
    CREATE TABLE outcome (
        id BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 32),
        fingerprint BLOB NOT NULL CHECK (length(fingerprint) = 32),
        ends_ms INTEGER NOT NULL CHECK (ends_ms >= 0),
        marker BLOB CHECK (length(marker) = 16),
        sealed BLOB,
        wamid TEXT,
        code INTEGER
    ) STRICT;
    CREATE INDEX outcome_ends ON outcome (ends_ms);
    CREATE INDEX outcome_marker ON outcome (marker) WHERE marker IS NOT NULL;
    CREATE TABLE secret (
        name TEXT NOT NULL PRIMARY KEY,
        value BLOB NOT NULL CHECK (length(value) = 32)
    ) STRICT, WITHOUT ROWID;
";
/// SQLite cannot change a check: the table is made anew.
const PINS_BY_WEBHOOK: &str = "
    ALTER TABLE pin RENAME TO pin_before;
    CREATE TABLE pin (
        media_id TEXT NOT NULL PRIMARY KEY,
        phone_number_id TEXT NOT NULL,
        ends_ms INTEGER NOT NULL CHECK (ends_ms >= 0),
        origin TEXT NOT NULL CHECK (origin IN ('upload', 'inbound', 'webhook', 'deleted'))
    ) STRICT, WITHOUT ROWID;
    INSERT INTO pin SELECT media_id, phone_number_id, ends_ms, origin FROM pin_before;
    DROP TABLE pin_before;
";

/// How long a write waits for somebody else's lock, such as an auditor's open transaction, before it fails.
const BUSY: Duration = Duration::from_secs(2);
/// The size in bytes to which the write-ahead log is cut after a checkpoint.
const JOURNAL_BYTES: i64 = 4 << 20;
/// SQLite's page cache, in KiB (negative: that is how SQLite tells KiB from pages). The maps serve the reads.
const CACHE_KIB: i64 = -1024;

/// Makes the file at `path` if it is missing, and returns its one name, so that a link to it is locked as the same file.
///
/// A file that is there already is not opened: to close it again would drop the locks that SQLite may hold on it
/// elsewhere in this process.
pub(super) fn resolve(path: &Path) -> io::Result<PathBuf> {
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
pub(super) fn lock(path: &Path) -> Result<File, StoreError> {
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

/// Opens the file, or says why it is not one of ours.
pub(super) fn connect(path: &Path) -> Result<Connection, StoreError> {
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
                known: known_version(),
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
    if version > known_version() {
        return Ok(Schema::Newer(version));
    }
    let missing = match usize::try_from(version) {
        Ok(0) if is_new => &MIGRATIONS[..],
        // There is no version 0 of a file of ours.
        Ok(version @ 1..) => MIGRATIONS.get(version..).unwrap_or_default(),
        _ => return Ok(Schema::Foreign),
    };
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.pragma_update(None, "cell_size_check", true)?;
    connection.pragma_update(None, "journal_size_limit", JOURNAL_BYTES)?;
    connection.pragma_update(None, "cache_size", CACHE_KIB)?;
    if !missing.is_empty() {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for migration in missing {
            transaction.execute_batch(migration)?;
        }
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", known_version())?;
        transaction.commit()?;
    }
    Ok(Schema::Current)
}

/// The last version that this gateway knows.
fn known_version() -> i64 {
    i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX)
}

pub(super) fn failed_at(path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    move |error| StoreError::Open {
        path: path.to_owned(),
        source: Arc::new(error),
    }
}

pub(super) fn sqlite_failed_at(path: &Path) -> impl FnOnce(rusqlite::Error) -> StoreError {
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
