//! A range reads what a slice would.

use http_body::Body as _;
use proptest::prelude::*;

use super::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn a_range_is_what_a_slice_is(
        len in 1usize..300_000,
        start in 0usize..320_000,
        span in 0usize..320_000,
        piece in 1_000usize..150_000,
        early in any::<bool>(),
    ) {
        let world = world();
        let bytes = content(len);
        let (mut fill, reader) = world.lead(1, &bytes);
        let range = count(start)..count(start + span);
        let mut reading = reader.range(range.clone());
        let from = start.min(len);
        let expected = &bytes[from..(start + span).clamp(from, len)];
        prop_assert_eq!(reading.size_hint().exact(), Some(count(expected.len())));
        let mut got = Vec::new();
        for piece in bytes.chunks(piece) {
            fill.push(piece).unwrap();
            if early {
                got.extend(drain(&mut reading).0);
                prop_assert_eq!(reading.size_hint().exact(), Some(count(expected.len() - got.len())));
            }
        }
        fill.finish().unwrap();
        let (rest, stop) = drain(&mut reading);
        got.extend(rest);
        prop_assert_eq!(stop, Stop::Complete);
        prop_assert!(got == expected);
        prop_assert!(reading.is_end_stream());
        let mut whole = world.hit(1, &bytes).range(range);
        prop_assert!(drain(&mut whole).0 == expected);
    }
}

#[test]
fn a_reader_tells_what_it_reads() {
    let world = world();
    let bytes = content(100);
    world.put(1, &bytes);
    world.time.advance(Duration::from_secs(90));
    let reader = world.hit(1, &bytes).range(10..20);
    assert_eq!(reader.content_type(), "image/png");
    assert_eq!(reader.size(), 100);
    assert_eq!(reader.sha256(), meta(&bytes).sha256);
    assert_eq!(reader.age(), Duration::from_secs(90));
    assert_eq!(reader.due(), START.after(HOUR));
    assert!(!format!("{reader:?} {:?}", world.cache).contains("bytes: ["));
}
