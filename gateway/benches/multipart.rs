//! How fast the form reader goes through an upload, in chunks as they come from a socket.
//!
//! `cargo bench -p curfew --bench multipart`

#![expect(
    clippy::expect_used,
    reason = "a benchmark whose form is not read measures nothing"
)]

use bytes::Bytes;
use curfew::graph::digest::{Hasher, Sha256};
use curfew::graph::multipart::{Boundary, Event, FormReader};
use divan::Bencher;
use divan::counter::BytesCount;

const BOUNDARY: &str = "------------------------650f966ff673c43c";
const CHUNK: usize = 64 * 1024;
const CHUNKS: usize = 256;

fn main() {
    divan::main();
}

/// Reads a form whose file is `chunk` 256 times, and counts the file's bytes.
fn read(chunk: &Bytes) -> usize {
    let head =
        format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\n");
    let tail = format!("\r\n--{BOUNDARY}--\r\n");
    let boundary = Boundary::new(BOUNDARY).expect("a valid boundary");
    let mut reader = FormReader::new(&boundary);
    let mut file_bytes = 0;
    let chunks = std::iter::repeat_n(chunk, CHUNKS).cloned();
    for chunk in [Bytes::from(head)]
        .into_iter()
        .chain(chunks)
        .chain([Bytes::from(tail)])
    {
        reader.feed(chunk);
        while let Some(event) = reader.next_event().expect("a valid form") {
            if let Event::Data(data) = event {
                file_bytes += data.len();
            }
        }
    }
    reader.finish().expect("a whole form");
    assert_eq!(file_bytes, CHUNKS * CHUNK);
    file_bytes
}

fn bench_content(bencher: Bencher<'_, '_>, chunk: Vec<u8>) {
    let chunk = Bytes::from(chunk);
    bencher
        .counter(BytesCount::new(CHUNKS * CHUNK))
        .bench(|| read(divan::black_box(&chunk)));
}

/// Like a compressed image: every byte value, no structure.
#[divan::bench]
fn compressed(bencher: Bencher<'_, '_>) {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let random = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    bench_content(bencher, random.flatten().take(CHUNK).collect());
}

/// Like a text file with short lines.
#[divan::bench]
fn short_lines(bencher: Bencher<'_, '_>) {
    bench_content(
        bencher,
        b"a line\r\n".iter().copied().cycle().take(CHUNK).collect(),
    );
}

/// The worst that a caller can send: almost a boundary, over and over.
#[divan::bench]
fn near_boundaries(bencher: Bencher<'_, '_>) {
    let near = format!("\r\n--{}X", &BOUNDARY[..BOUNDARY.len() - 1]);
    bench_content(bencher, near.bytes().cycle().take(CHUNK).collect());
}

/// What `Repr-Digest` or `media.reuse` adds to each: SHA-256 of what goes by.
#[divan::bench]
fn digest(bencher: Bencher<'_, '_>) {
    let chunk = [7; CHUNK];
    let hash = |chunk: &[u8]| -> Sha256 {
        let mut hasher = Hasher::new();
        (0..CHUNKS).for_each(|_| hasher.update(chunk));
        hasher.finish()
    };
    bencher
        .counter(BytesCount::new(CHUNKS * CHUNK))
        .bench(|| hash(divan::black_box(&chunk)));
}
