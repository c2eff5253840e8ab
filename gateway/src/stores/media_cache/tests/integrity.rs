//! What is short or wrong is never served as whole, nor kept.

use proptest::prelude::*;

use super::*;

/// Pushes `came` in pieces of `piece` bytes where `expected` was announced.
fn fill(world: &World, expected: &[u8], came: &[u8], piece: usize) -> (Result<(), EndReason>, Vec<u8>, Stop) {
    let (mut fill, mut reader) = world.lead(1, expected);
    let mut got = Vec::new();
    let mut result = Ok(());
    for piece in came.chunks(piece) {
        result = fill.push(piece);
        if result.is_err() {
            break;
        }
        got.extend(drain(&mut reader).0);
    }
    let result = result.and_then(|()| fill.finish());
    let (rest, stop) = drain(&mut reader);
    got.extend(rest);
    (result, got, stop)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_short_long_or_wrong_body_never_completes(
        len in 1usize..200_000,
        piece in 1_000usize..100_000,
        change in 0u8..3,
        at in any::<proptest::sample::Index>(),
    ) {
        let world = world();
        let expected = content(len);
        let mut came = expected.clone();
        let failure = match change {
            0 => { came.truncate(at.index(len)); Failure::TooShort }
            1 => { came.extend_from_slice(&expected[..=at.index(len)]); Failure::TooLong }
            _ => { came[at.index(len)] ^= 0x40; Failure::WrongDigest }
        };
        let (result, got, stop) = fill(&world, &expected, &came, piece);
        prop_assert_eq!(result, Err(EndReason::Failed(failure)));
        prop_assert_eq!(stop, Stop::Ended(EndReason::Failed(failure)));
        prop_assert!(failure.is_of_integrity());
        prop_assert!(got.len() < len);
        if len <= 64 * 1024 {
            prop_assert_eq!(got.len(), 0);
        }
        prop_assert!(world.cache.find(key(1, 1)).is_none());
        prop_assert_eq!(world.cache.stats().held_bytes, 0);
        prop_assert_eq!(world.reasons(), [EndReason::Failed(failure)]);
    }

    #[test]
    fn the_right_body_does(len in 1usize..200_000, piece in 1_000usize..100_000) {
        let world = world();
        let bytes = content(len);
        let (result, got, stop) = fill(&world, &bytes, &bytes, piece);
        prop_assert_eq!((result, stop), (Ok(()), Stop::Complete));
        prop_assert!(got == bytes);
        prop_assert!(drain(&mut world.hit(1, &bytes)).0 == bytes);
        prop_assert_eq!(world.receipts(), []);
    }
}

#[test]
fn without_a_digest_the_size_is_still_checked() {
    let world = world();
    let meta = MediaContent {
        sha256: None,
        ..meta(b"bytes")
    };
    let open = || lead(world.cache.open(key(1, 1), &meta, hour(START)));
    let (mut short, mut reader) = open();
    short.push(b"byte").unwrap();
    let too_short = EndReason::Failed(Failure::TooShort);
    assert_eq!(short.finish(), Err(too_short));
    assert_eq!(drain(&mut reader), (vec![], Stop::Ended(too_short)));
    let (mut right, mut reader) = open();
    right.push(b"other").unwrap();
    right.finish().unwrap();
    assert_eq!(drain(&mut reader), (b"other".to_vec(), Stop::Complete));
}

#[test]
fn a_range_of_what_still_comes_waits_for_the_check_too() {
    let world = world();
    let bytes = content(300_000);
    let (mut fill, reader) = world.lead(1, &bytes);
    let mut range = reader.range(10..70_000);
    fill.push(&bytes[..299_999]).unwrap();
    let (got, stop) = drain(&mut range);
    assert_eq!((got.len(), stop), (65_536 - 10, Stop::Waits));
    assert!(fill.finish().is_err());
    assert_eq!(
        drain(&mut range),
        (vec![], Stop::Ended(EndReason::Failed(Failure::TooShort)))
    );
}
