//! Outcomes of sends in the file.
//!
//! The file knows of a send that it was begun, and later what came of it. Which ones are under way at this moment only the
//! process knows: what a process that died has left behind is under way nowhere, and so unknown.

use std::collections::HashSet;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use curfew_policies::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Row as SqlRow, Transaction, params};
use tokio::sync::mpsc;

use super::file::{failed_at, sqlite_failed_at};
use super::rows::millis;
use super::{Answer, StoreError, Write, Writer};
use crate::stores::outcomes::{
    Begin, Claim, Fingerprint, Kept, Marker, Opening, OutcomeId, Registry, Row, Secret, Settled, judge,
};

/// How many outcomes one step of a sweep forgets, so that sends need not wait for the whole of it.
const SWEEP_STEP: u32 = 256;
/// The name of the row that holds the secret of the outcomes' names.
const SECRET: &str = "outcome";

/// One write to the outcomes.
pub(super) enum OutcomeWrite {
    /// `found` is filled in by the commit.
    Begin {
        opening: Opening,
        found: Option<Begin<()>>,
        answer: Answer<Begin<Claim>>,
    },
    Finish {
        id: OutcomeId,
        sealed: Box<[u8]>,
        life: Duration,
        answer: Answer<()>,
    },
    /// `is_news` is filled in by the commit.
    Settle {
        marker: Marker,
        settled: Settled,
        is_news: bool,
        answer: Answer<bool>,
    },
    /// `swept` is filled in by the commit.
    Expire { swept: usize, answer: Answer<usize> },
    /// Entries were freed: with any write they leave the file.
    Nudge,
}

impl Writer {
    pub(in crate::stores) async fn begin(&self, opening: Opening) -> Result<Begin<Claim>, StoreError> {
        let found = None;
        let write = |answer| OutcomeWrite::Begin {
            opening,
            found,
            answer,
        };
        self.ask(|answer| Write::Outcome(write(answer))).await
    }

    pub(in crate::stores) async fn finish(
        &self,
        id: OutcomeId,
        sealed: Box<[u8]>,
        life: Duration,
    ) -> Result<(), StoreError> {
        let write = |answer| OutcomeWrite::Finish {
            id,
            sealed,
            life,
            answer,
        };
        self.ask(|answer| Write::Outcome(write(answer))).await
    }

    pub(in crate::stores) async fn settle(
        &self,
        marker: Marker,
        settled: Settled,
    ) -> Result<bool, StoreError> {
        let write = |answer| OutcomeWrite::Settle {
            marker,
            settled,
            is_news: false,
            answer,
        };
        self.ask(|answer| Write::Outcome(write(answer))).await
    }

    /// Forgets some of what has ended, and says how many; 0 when there is nothing left.
    pub(in crate::stores) async fn expire(&self) -> Result<usize, StoreError> {
        self.ask(|answer| Write::Outcome(OutcomeWrite::Expire { swept: 0, answer }))
            .await
    }
}

/// The sends that are under way, shared by those who hold them and the thread that writes.
pub(in crate::stores) struct Entries {
    queue: mpsc::WeakSender<Write>,
    room: u64,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    running: HashSet<OutcomeId>,
    /// Those of which nothing was sent, and which are still in the file.
    freed: Vec<OutcomeId>,
}

impl Entries {
    /// Nothing more is begun once the file has `room` bytes.
    pub(super) fn new(queue: mpsc::WeakSender<Write>, room: u64) -> Self {
        Self {
            queue,
            room,
            inner: Mutex::default(),
        }
    }

    /// It is no longer under way.
    pub(in crate::stores) fn leave(&self, id: OutcomeId) {
        self.lock().running.remove(&id);
    }

    /// It never was under way. The file forgets it with the next write, which comes soon.
    pub(in crate::stores) fn free(&self, id: OutcomeId) {
        let mut inner = self.lock();
        inner.running.remove(&id);
        inner.freed.push(id);
        drop(inner);
        if let Some(queue) = self.queue.upgrade() {
            // Where the queue is full, writes come anyway.
            let _ = queue.try_send(Write::Outcome(OutcomeWrite::Nudge));
        }
    }

    /// Takes what was freed out of the file, and says how many that were.
    pub(super) fn write_freed(&self, transaction: &Transaction<'_>) -> rusqlite::Result<usize> {
        let freed = self.lock().freed.clone();
        let mut delete = transaction.prepare_cached(
            "DELETE FROM outcome WHERE id = ?1 AND sealed IS NULL AND wamid IS NULL AND code IS NULL",
        )?;
        for id in &freed {
            delete.execute([id.0])?;
        }
        Ok(freed.len())
    }

    /// The first `count` freed ones are out of the file.
    pub(super) fn forget_freed(&self, count: usize) {
        self.lock().freed.drain(..count);
    }

    pub(super) fn has_freed(&self) -> bool {
        !self.lock().freed.is_empty()
    }

    /// Whether nothing was sent of it, though it may still be in the file.
    fn is_freed(&self, id: OutcomeId) -> bool {
        let inner = self.lock();
        !inner.running.contains(&id) && inner.freed.contains(&id)
    }

    fn is_running(&self, id: OutcomeId) -> bool {
        self.lock().running.contains(&id)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl OutcomeWrite {
    /// Writes it, as part of a transaction; it is left holding what it came to.
    pub(super) fn commit(
        &mut self,
        transaction: &Transaction<'_>,
        entries: &Entries,
        now: Timestamp,
    ) -> rusqlite::Result<()> {
        match self {
            Self::Begin { opening, found, .. } => {
                let begin = begin(transaction, entries, opening, now)?;
                if matches!(begin, Begin::Begun(())) {
                    // Already here, for others of the same batch; undone if it fails.
                    entries.lock().running.insert(opening.id);
                }
                *found = Some(begin);
            }
            Self::Finish { id, sealed, life, .. } => {
                let mut update = transaction
                    .prepare_cached("UPDATE outcome SET sealed = ?2, ends_ms = ?3 WHERE id = ?1")?;
                update.execute(params![id.0, &*sealed, millis(now.after(*life))])?;
            }
            Self::Settle {
                marker,
                settled,
                is_news,
                ..
            } => {
                let mut update = transaction.prepare_cached(
                    "UPDATE outcome SET wamid = ?2, code = ?3
                     WHERE marker = ?1 AND sealed IS NULL AND wamid IS NULL AND code IS NULL",
                )?;
                let (wamid, code) = match settled {
                    Settled::Accepted { wamid } => (Some(&**wamid), None),
                    Settled::Failed { code } => (None, Some(*code)),
                };
                *is_news = update.execute(params![marker.0, wamid, code])? > 0;
            }
            Self::Expire { swept, .. } => *swept = expire(transaction, entries, now)?,
            Self::Nudge => {}
        }
        Ok(())
    }

    /// Answers a write that is committed. Who has stopped waiting for a begin gives it back by that.
    pub(super) fn confirm(self, entries: &Arc<Entries>) {
        match self {
            Self::Begin {
                opening,
                found: Some(found),
                answer,
            } => {
                if matches!(found, Begin::Begun(())) {
                    // Freed while its batch was written, it was begun anew: what is in the file now stays.
                    entries.lock().freed.retain(|id| *id != opening.id);
                }
                let claim = |()| Claim::new(opening.id, Registry::File(Arc::clone(entries)));
                drop(answer.send(Ok(found.map(claim))));
            }
            // Every begin that is committed has found something.
            Self::Begin { answer, .. } => drop(answer.send(Err(StoreError::Stopped))),
            Self::Finish { answer, .. } => drop(answer.send(Ok(()))),
            Self::Settle { is_news, answer, .. } => drop(answer.send(Ok(is_news))),
            Self::Expire { swept, answer } => drop(answer.send(Ok(swept))),
            Self::Nudge => {}
        }
    }

    /// Answers a write that failed.
    pub(super) fn refuse(self, entries: &Entries, error: &StoreError) {
        match self {
            Self::Begin {
                opening,
                found,
                answer,
            } => {
                if matches!(found, Some(Begin::Begun(()))) {
                    entries.leave(opening.id);
                }
                drop(answer.send(Err(error.clone())));
            }
            Self::Finish { answer, .. } => drop(answer.send(Err(error.clone()))),
            Self::Settle { answer, .. } => drop(answer.send(Err(error.clone()))),
            Self::Expire { answer, .. } => drop(answer.send(Err(error.clone()))),
            Self::Nudge => {}
        }
    }
}

fn begin(
    transaction: &Transaction<'_>,
    entries: &Entries,
    opening: &Opening,
    now: Timestamp,
) -> rusqlite::Result<Begin<()>> {
    let mut select = transaction
        .prepare_cached("SELECT fingerprint, ends_ms, sealed, wamid, code FROM outcome WHERE id = ?1")?;
    let read = |row: &SqlRow<'_>| {
        let wamid: Option<Box<str>> = row.get(3)?;
        let settled = match wamid {
            Some(wamid) => Some(Settled::Accepted { wamid }),
            None => row.get::<_, Option<i64>>(4)?.map(|code| Settled::Failed { code }),
        };
        Ok(Row {
            is_same_body: Fingerprint(row.get(0)?) == opening.fingerprint,
            is_running: entries.is_running(opening.id),
            has_ended: row.get::<_, i64>(1)? <= millis(now),
            kept: Kept::of(row.get(2)?, settled),
        })
    };
    let held = select.query_row([opening.id.0], read).optional()?;
    // Freed since the batch began, it has not left the file yet.
    let held = held.filter(|row| row.kept.is_some() || !entries.is_freed(opening.id));
    if let Some(found) = judge(held) {
        return Ok(found);
    }
    let mut bytes = transaction.prepare_cached(
        "SELECT (page_count - freelist_count) * page_size
         FROM pragma_page_count, pragma_freelist_count, pragma_page_size",
    )?;
    let bytes: i64 = bytes.query_row([], |row| row.get(0))?;
    if u64::try_from(bytes).is_ok_and(|bytes| bytes >= entries.room) {
        let mut first = transaction.prepare_cached("SELECT min(ends_ms) FROM outcome")?;
        let first: Option<i64> = first.query_row([], |row| row.get(0))?;
        let wait = first.map_or(0, |ends| ends.saturating_sub(millis(now)).max(0));
        return Ok(Begin::Full(Duration::from_millis(
            u64::try_from(wait).unwrap_or(0),
        )));
    }
    let mut insert = transaction.prepare_cached(
        "INSERT OR REPLACE INTO outcome (id, fingerprint, ends_ms, marker) VALUES (?1, ?2, ?3, ?4)",
    )?;
    insert.execute(params![
        opening.id.0,
        opening.fingerprint.0,
        millis(now.after(opening.life)),
        opening.marker.map(|marker| marker.0),
    ])?;
    Ok(Begin::Begun(()))
}

fn expire(transaction: &Transaction<'_>, entries: &Entries, now: Timestamp) -> rusqlite::Result<usize> {
    let mut select =
        transaction.prepare_cached("SELECT id FROM outcome WHERE ends_ms <= ?1 ORDER BY ends_ms LIMIT ?2")?;
    let ended = select.query_map(params![millis(now), SWEEP_STEP], |row| row.get(0))?;
    let ended: Vec<[u8; 32]> = ended.collect::<Result<_, _>>()?;
    let mut delete = transaction.prepare_cached("DELETE FROM outcome WHERE id = ?1")?;
    let mut swept = 0;
    for id in ended {
        if !entries.is_running(OutcomeId(id)) {
            swept += delete.execute([id])?;
        }
    }
    Ok(swept)
}

/// The secret of the names in this file: made with the file, and as old as the outcomes that it is for.
pub(super) fn load_secret(connection: &Connection, path: &Path) -> Result<Secret, StoreError> {
    let new = Secret::draw().map_err(|error| failed_at(path)(std::io::Error::other(error)))?;
    let load = || {
        connection.execute(
            "INSERT INTO secret (name, value) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
            params![SECRET, new],
        )?;
        connection.query_row("SELECT value FROM secret WHERE name = ?1", [SECRET], |row| {
            row.get(0)
        })
    };
    let bytes: [u8; Secret::BYTES] = load().map_err(sqlite_failed_at(path))?;
    Ok(Secret::of(&bytes))
}

#[cfg(test)]
mod tests {
    use super::super::file::connect;
    use super::*;
    use crate::stores::testing::{Bench, DAY, START};

    #[test]
    fn what_is_freed_while_its_batch_is_written_may_begin_in_that_batch() {
        let bench = Bench::new();
        drop(bench.open().unwrap());
        let mut connection = connect(&bench.path()).unwrap();
        let (queue, _writes) = mpsc::channel(8);
        let entries = Arc::new(Entries::new(queue.downgrade(), u64::MAX));
        let opening = Opening {
            id: OutcomeId([1; 32]),
            fingerprint: Fingerprint([2; 32]),
            life: DAY,
            marker: None,
            share: None,
        };
        let mut claims = Vec::new();
        for _ in 0..3 {
            let (answer, mut answered) = tokio::sync::oneshot::channel();
            let mut begin = OutcomeWrite::Begin {
                opening,
                found: None,
                answer,
            };
            let transaction = connection.transaction().unwrap();
            let freed = entries.write_freed(&transaction).unwrap();
            // Between what the batch takes out of the file and its begin, the holder gives it back.
            drop(claims.pop());
            begin.commit(&transaction, &entries, START).unwrap();
            transaction.commit().unwrap();
            entries.forget_freed(freed);
            begin.confirm(&entries);
            match answered.try_recv().unwrap().unwrap() {
                Begin::Begun(claim) => claims.push(claim),
                other => panic!("{other:?}"),
            }
        }
        let transaction = connection.transaction().unwrap();
        assert_eq!(entries.write_freed(&transaction).unwrap(), 0);
        let rows = transaction.query_row("SELECT count(*) FROM outcome", [], |row| row.get::<_, i64>(0));
        assert_eq!(rows.unwrap(), 1, "what is under way stays written down");
    }
}
