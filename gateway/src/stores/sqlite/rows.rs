//! The rows of the tables, each way: what a file is read as, and how a change is written.

use std::path::Path;

use curfew_policies::{MediaId, Minute, PhoneNumberId, Pin, Timestamp};
use rusqlite::{Connection, Transaction, params};

use super::file::sqlite_failed_at;
use crate::stores::StoreError;
use crate::stores::pins::{PinMap, name_of_origin, origin_named};
use crate::stores::registrations::{CallLog, RegistrationCall, call_named, name_of_call};

/// Every pin that the file holds.
pub(super) fn load_pins(connection: &Connection, path: &Path) -> Result<PinMap, StoreError> {
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

/// Every registration call that the file holds.
pub(super) fn load_calls(
    connection: &Connection,
    path: &Path,
    minute: Minute,
) -> Result<CallLog, StoreError> {
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

/// Writes a pin over what the file holds of its medium.
pub(super) fn keep(transaction: &Transaction<'_>, media: MediaId, pin: Pin) -> rusqlite::Result<()> {
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
    pub(super) fn keep(
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
pub(super) fn drop_call(
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

/// Milliseconds as SQLite holds them; what lies beyond is the last of them.
pub(super) fn millis(time: Timestamp) -> i64 {
    i64::try_from(time.millis()).unwrap_or(i64::MAX)
}
