//! The cache under a clock that the tests move.

mod ends;
mod flight;
mod integrity;
mod purge;
mod ranges;
mod room;
#[cfg(target_os = "linux")]
mod traces;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_lc_rs::digest;
use bytes::Bytes;
use curfew_policies::Timestamp;
use futures_util::FutureExt as _;
use http::HeaderValue;
use http_body_util::BodyExt as _;

use super::*;
use crate::clock::ManualTime;

const START: Timestamp = Timestamp::from_millis(1_800_000_000_000);
const HOUR: Duration = Duration::from_secs(3600);
const MIB: u64 = 1024 * 1024;

/// A cache whose clock stands, and the receipts of its ends.
struct World {
    cache: MediaCache,
    time: ManualTime,
    clock: Clock,
    ended: Arc<Mutex<Vec<Ended>>>,
}

fn world() -> World {
    world_with(CacheLimits {
        max_bytes: 64 * MIB,
        object_bytes: 16 * MIB,
    })
}

fn world_with(limits: CacheLimits) -> World {
    let (clock, time) = Clock::manual(START);
    let ended: Arc<Mutex<Vec<Ended>>> = Arc::default();
    let receipts = Arc::clone(&ended);
    let on_end = move |ended: &Ended| receipts.lock().unwrap().push(*ended);
    World {
        cache: MediaCache::new(limits, clock.clone(), on_end),
        time,
        clock,
        ended,
    }
}

impl World {
    /// The receipts since the last call.
    fn receipts(&self) -> Vec<Ended> {
        std::mem::take(&mut *self.ended.lock().unwrap())
    }

    fn reasons(&self) -> Vec<EndReason> {
        self.receipts().into_iter().map(|ended| ended.reason).collect()
    }

    fn open(&self, id: u64, bytes: &[u8]) -> Opened {
        self.cache.open(key(1, id), &meta(bytes), hour(START))
    }

    fn lead(&self, id: u64, bytes: &[u8]) -> (Fill, MediumReader) {
        lead(self.open(id, bytes))
    }

    /// A whole copy of `bytes`, and nobody reading it.
    fn put(&self, id: u64, bytes: &[u8]) {
        let (mut fill, reader) = self.lead(id, bytes);
        drop(reader);
        fill.push(bytes).unwrap();
        fill.finish().unwrap();
    }

    fn hit(&self, id: u64, bytes: &[u8]) -> MediumReader {
        match self.open(id, bytes) {
            Opened::Hit(reader) => reader,
            other => panic!("{other:?}"),
        }
    }
}

fn key(number: u64, media: u64) -> MediaKey {
    MediaKey {
        number: number.to_string().parse().unwrap(),
        media: media.to_string().parse().unwrap(),
    }
}

fn meta(bytes: &[u8]) -> MediaContent {
    let digest = digest::digest(&digest::SHA256, bytes);
    MediaContent {
        content_type: HeaderValue::from_static("image/png"),
        size: Some(count(bytes.len())),
        sha256: Some(digest.as_ref().try_into().unwrap()),
    }
}

fn count(number: usize) -> u64 {
    number.try_into().unwrap()
}

/// An hour from `start`, and as long by policy.
fn hour(start: Timestamp) -> Life {
    Life {
        ends: start.after(HOUR),
        at_most: HOUR,
    }
}

fn lead(opened: Opened) -> (Fill, MediumReader) {
    match opened {
        Opened::Lead(fill, reader) => (fill, reader),
        other => panic!("{other:?}"),
    }
}

fn joined(opened: Opened) -> MediumReader {
    match opened {
        Opened::Joined(reader) => reader,
        other => panic!("{other:?}"),
    }
}

/// `len` bytes that say where they are.
fn content(len: usize) -> Vec<u8> {
    let byte = |at: usize| (at.wrapping_mul(31) >> 3).to_le_bytes()[0] | 1;
    (0..len).map(byte).collect()
}

/// One look at what there is to read: `None` if there is nothing yet.
fn step(reader: &mut MediumReader) -> Option<Option<Result<Bytes, EndReason>>> {
    let frame = reader.frame().now_or_never()?;
    Some(frame.map(|frame| frame.map(|frame| frame.into_data().unwrap())))
}

/// What can be read now: the bytes, and how it stopped.
fn drain(reader: &mut MediumReader) -> (Vec<u8>, Stop) {
    let mut bytes = Vec::new();
    loop {
        match step(reader) {
            None => return (bytes, Stop::Waits),
            Some(None) => return (bytes, Stop::Complete),
            Some(Some(Ok(more))) => bytes.extend_from_slice(&more),
            Some(Some(Err(reason))) => return (bytes, Stop::Ended(reason)),
        }
    }
}

#[derive(Debug, PartialEq)]
enum Stop {
    Waits,
    Complete,
    Ended(EndReason),
}
