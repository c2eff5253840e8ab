//! What Meta has closed, for all instances: one hash, which each reads anew when its version has changed.

use std::sync::LazyLock;
use std::time::Duration;

use redis::Script;

use super::Valkey;
use crate::stores::StoreError;

const CLOSED: &str = "curfew:{closed}";

static CLOSE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("scripts/close.lua")));
static OPEN: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("scripts/open.lua")));
static READ: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("scripts/closed.lua")));

/// The end, in microseconds, that stands for "until it is opened", see `scripts/close.lua`.
const EVER: u64 = 9_000_000_000_000_000;

/// One place, as the store has it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(in crate::stores) struct ClosedPlace {
    pub(in crate::stores) place: String,
    /// How long ago it was closed or opened.
    pub(in crate::stores) age: Duration,
    pub(in crate::stores) state: ClosedState,
}

/// Whether it is closed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::stores) enum ClosedState {
    /// It was opened.
    Open,
    /// For so long, for this code of Meta's; `None`: until it is opened.
    Closed(Option<Duration>, i64),
}

impl Valkey {
    /// Closes `place` for all, for so long, or until it is opened.
    pub(in crate::stores) async fn close(
        &self,
        place: &str,
        lasts: Option<Duration>,
        code: i64,
    ) -> Result<(), StoreError> {
        let lasts = lasts.map_or(-1, |lasts| i64::try_from(lasts.as_micros()).unwrap_or(i64::MAX));
        let mut close = CLOSE.key(CLOSED);
        close.arg(place).arg(lasts).arg(code);
        self.link.run(&close).await
    }

    /// Opens `place` for all.
    pub(in crate::stores) async fn open(&self, place: &str) -> Result<(), StoreError> {
        let mut open = OPEN.key(CLOSED);
        open.arg(place);
        self.link.run(&open).await
    }

    /// All places, if they are not those of `version`, which is then theirs.
    pub(in crate::stores) async fn closed(
        &self,
        version: &mut String,
    ) -> Result<Vec<ClosedPlace>, StoreError> {
        let mut read = READ.key(CLOSED);
        read.arg(version.as_str());
        let said: Vec<String> = self.link.run(&read).await?;
        let Some(([new, now], places)) = said.split_first_chunk() else {
            return Ok(Vec::new());
        };
        let now: u64 = now.parse().unwrap_or_default();
        // What nobody can read was written by a later version, for its like.
        let places = places.as_chunks().0.iter().filter_map(|[place, value]| {
            let mut parts = value.split(' ').map(str::parse::<i64>);
            let mut next = || u64::try_from(parts.next()?.ok()?).ok();
            let (since, ends) = (next()?, next()?);
            let code = parts.next()?.ok()?;
            let state = match ends {
                0 => ClosedState::Open,
                EVER.. => ClosedState::Closed(None, code),
                _ => ClosedState::Closed(Some(Duration::from_micros(ends.saturating_sub(now))), code),
            };
            Some(ClosedPlace {
                place: place.clone(),
                age: Duration::from_micros(now.saturating_sub(since)),
                state,
            })
        });
        let places = places.collect();
        version.clone_from(new);
        Ok(places)
    }
}
