//! What is left in the process's memory where bytes have been, read as any debugger could.

use std::fs::File;
use std::os::unix::fs::FileExt as _;

use super::*;

/// One for each test, which may run side by side and get each other's memory.
fn canary(test: u8) -> Vec<u8> {
    (0..32_u8).map(|at| at.wrapping_mul(37) ^ test).collect()
}

/// Looks for the canary in memory. Made before what it looks for is gone, lest its buffer come to lie there.
struct Scanner {
    memory: File,
    canary: Vec<u8>,
    buffer: Vec<u8>,
}

impl Scanner {
    fn new(canary: Vec<u8>) -> Self {
        Self {
            canary,
            memory: File::open("/proc/self/mem").unwrap(),
            buffer: vec![1; 512 * 1024],
        }
    }

    /// How often the canary stands at `place`. Memory that is no longer mapped holds nothing.
    fn canaries(&mut self, (start, len): (usize, usize)) -> usize {
        let buffer = &mut self.buffer[..len];
        let is_mapped = self.memory.read_exact_at(buffer, count(start)).is_ok();
        let found = memchr::memmem::find_iter(buffer, &self.canary).count();
        // Other tests may get this buffer's memory next.
        buffer.fill(0);
        if is_mapped { found } else { 0 }
    }
}

/// Three chunks full of canaries.
fn canaried(test: u8) -> Vec<u8> {
    canary(test).repeat(40_000)
}

#[test]
fn an_end_leaves_no_trace_where_the_bytes_lay() {
    const TEST: u8 = 0xA5;
    let world = world();
    world.put(1, &canaried(TEST));
    let reader = world.hit(1, &canaried(TEST));
    let mut scanner = Scanner::new(canary(TEST));
    let places = reader.lease.medium.places();
    let found: usize = places.iter().map(|place| scanner.canaries(*place)).sum();
    // A few straddle two chunks.
    assert!((39_990..=40_000).contains(&found), "{found}");
    world.time.advance(HOUR);
    world.cache.sweep();
    let found: Vec<_> = places.iter().map(|place| scanner.canaries(*place)).collect();
    assert_eq!(found, [0, 0, 0]);
    assert!(reader.lease.medium.places().is_empty());
}

#[test]
fn what_was_lent_at_the_end_leaves_no_trace_once_it_is_dropped() {
    const TEST: u8 = 0x5A;
    let world = world();
    world.put(1, &canaried(TEST));
    let mut reader = world.hit(1, &canaried(TEST));
    let lent = match step(&mut reader) {
        Some(Some(Ok(bytes))) => bytes,
        other => panic!("{other:?}"),
    };
    let mut scanner = Scanner::new(canary(TEST));
    let places = reader.lease.medium.places();
    // As they lie there: nothing was copied.
    assert_eq!((lent.as_ptr().addr(), lent.len()), places[0]);
    world.time.advance(HOUR);
    world.cache.sweep();
    let found: Vec<_> = places.iter().map(|place| scanner.canaries(*place)).collect();
    assert_eq!(found, [512 * 1024 / 32, 0, 0]);
    drop(lent);
    assert_eq!(scanner.canaries(places[0]), 0);
}
