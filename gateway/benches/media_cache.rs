//! What a cached download costs in the cache itself: the look-up, and copying the bytes out.
//!
//! Measured on two shared virtual cores (Debian 12) beside other work, optimised, medians: opening one of 10,000 copies and
//! leaving it 1.2 µs, two threads at once 1.7 µs; reading one MiB 55 µs, wiping what was read included, with one thread or
//! two; taking in one MiB 0.7 ms, most of it the system's, for fresh memory.

use std::time::Duration;

use bytes::Bytes;
use curfew::clock::Clock;
use curfew::graph::answer::MediaContent;
use curfew::stores::media_cache::{CacheLimits, Life, MediaCache, MediaKey, Opened};
use divan::Bencher;
use divan::counter::BytesCount;
use futures_util::FutureExt as _;
use http::HeaderValue;
use http_body_util::BodyExt as _;

const MIB: usize = 1024 * 1024;
const HOUR: Duration = Duration::from_secs(3600);

fn main() {
    divan::main();
}

fn cache() -> MediaCache {
    let limits = CacheLimits {
        max_bytes: 256 * 1024 * 1024,
        object_bytes: 16 * 1024 * 1024,
    };
    MediaCache::new(limits, Clock::system(), |_| {})
}

fn key(id: usize) -> Option<MediaKey> {
    Some(MediaKey {
        number: "106540352242922".parse().ok()?,
        media: (1_000_000_000_000_000 + id).to_string().parse().ok()?,
    })
}

fn meta(len: usize) -> MediaContent {
    MediaContent {
        content_type: HeaderValue::from_static("image/jpeg"),
        size: u64::try_from(len).ok(),
        sha256: None,
    }
}

fn life() -> Life {
    Life {
        ends: Clock::system().now().after(HOUR),
        at_most: HOUR,
    }
}

fn put(cache: &MediaCache, key: MediaKey, bytes: &Bytes) {
    if let Opened::Lead(mut fill, _) = cache.open(key, &meta(bytes.len()), life()) {
        let _ = fill.push(bytes).and_then(|()| fill.finish());
    }
}

/// Opening one of 10,000 copies and leaving it.
#[divan::bench(threads = [1, 2])]
fn hit(bencher: Bencher<'_, '_>) {
    const COPIES: usize = 10_000;
    let cache = cache();
    let bytes = Bytes::from_static(b"bytes");
    let keys: Vec<_> = (0..COPIES).filter_map(key).collect();
    for key in &keys {
        put(&cache, *key, &bytes);
    }
    let (meta, life) = (meta(bytes.len()), life());
    let next = std::sync::atomic::AtomicUsize::new(0);
    bencher.bench(|| {
        let at = next.fetch_add(7_907, std::sync::atomic::Ordering::Relaxed);
        keys.get(at % COPIES).map(|key| cache.open(*key, &meta, life))
    });
}

/// Reading a copy of one MiB to its end, each piece wiped when it has been read.
#[divan::bench(threads = [1, 2])]
fn read_1_mib(bencher: Bencher<'_, '_>) {
    let cache = cache();
    let bytes = Bytes::from(vec![7; MIB]);
    let Some(key) = key(0) else { return };
    put(&cache, key, &bytes);
    let (meta, life) = (meta(MIB), life());
    bencher.counter(BytesCount::new(MIB)).bench(|| {
        let Opened::Hit(mut reader) = cache.open(key, &meta, life) else {
            return 0;
        };
        let mut read = 0;
        while let Some(Some(Ok(frame))) = reader.frame().now_or_never() {
            read += frame.data_ref().map_or(0, Bytes::len);
        }
        read
    });
}

/// Taking in one MiB, for which an older copy goes. Without SHA-256, which costs more than all else.
#[divan::bench]
fn fill_1_mib(bencher: Bencher<'_, '_>) {
    let cache = cache();
    let bytes = Bytes::from(vec![7; MIB]);
    let meta = meta(MIB);
    let next = std::sync::atomic::AtomicUsize::new(0);
    bencher.counter(BytesCount::new(MIB)).bench(|| {
        let key = key(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed))?;
        match cache.open(key, &meta, life()) {
            Opened::Lead(mut fill, _) => fill.push(&bytes).and_then(|()| fill.finish()).ok(),
            _ => None,
        }
    });
}
