//! What tests of stores stand on: a folder, a clock that they move, and a runtime.

use std::path::PathBuf;
use std::time::Duration;

use curfew_policies::{Minute, Timestamp};
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

use super::{StoreError, Stores};
use crate::clock::{Clock, ManualTime};

/// Where the clock stands at first.
pub(super) const START: Timestamp = Timestamp::from_millis(1_800_000_000_000);
pub(super) const DAY: Duration = Duration::from_secs(24 * 3600);

pub(super) struct Bench {
    pub(super) folder: TempDir,
    pub(super) clock: Clock,
    pub(super) time: ManualTime,
    pub(super) runtime: Runtime,
}

impl Bench {
    pub(super) fn new() -> Self {
        let (clock, time) = Clock::manual(START);
        Self {
            folder: tempfile::tempdir().unwrap(),
            clock,
            time,
            runtime: Builder::new_multi_thread().worker_threads(2).build().unwrap(),
        }
    }

    pub(super) fn path(&self) -> PathBuf {
        self.folder.path().join("curfew.db")
    }

    pub(super) fn open(&self) -> Result<Stores, StoreError> {
        Stores::open(&self.path(), &self.clock, Minute::REAL)
    }
}
