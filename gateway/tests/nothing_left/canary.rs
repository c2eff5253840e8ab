//! What is looked for: random content that occurs nowhere else, and the spellings in which it travels.

use std::collections::HashMap;

use aws_lc_rs::rand;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};

/// Bytes in a canary: 256 bits as it travels, of which the first are the same for all canaries of a run.
pub(crate) const BYTES: usize = 32;
/// Bytes that all canaries of a run begin with. Chance alone finds them in a gigabyte with a probability below 10⁻¹³.
const FAMILY: usize = 14;
/// Letters that stand for themselves in JSON, in a form and in a path. The last three make base64 and base64url differ.
const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789~?>";

/// How content is spelled.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) enum Spelling {
    Raw,
    HexLower,
    HexUpper,
    Base64,
    Base64Url,
    /// Every character as `\u00XX`, as JSON allows.
    JsonEscaped,
}

impl Spelling {
    pub(crate) const ALL: [Self; 6] = [
        Self::Raw,
        Self::HexLower,
        Self::HexUpper,
        Self::Base64,
        Self::Base64Url,
        Self::JsonEscaped,
    ];

    fn spell(self, bytes: &[u8]) -> Vec<u8> {
        let text = match self {
            Self::Raw => return bytes.to_vec(),
            Self::HexLower => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
            Self::HexUpper => bytes.iter().map(|byte| format!("{byte:02X}")).collect(),
            Self::Base64 => STANDARD.encode(bytes),
            Self::Base64Url => URL_SAFE.encode(bytes),
            Self::JsonEscaped => bytes
                .iter()
                .map(|byte| format!("\\u{byte:04x}"))
                .collect::<String>(),
        };
        text.into_bytes()
    }

    /// At how many places within a group of bytes the same bytes are spelled differently.
    const fn alignments(self) -> usize {
        match self {
            Self::Base64 | Self::Base64Url => 3,
            _ => 1,
        }
    }

    /// The spelling of `bytes` after `alignment` others that are not known, without what depends on neighbours.
    fn needle(self, bytes: &[u8], alignment: usize) -> Vec<u8> {
        if self.alignments() == 1 {
            return self.spell(bytes);
        }
        let shifted = [&vec![0; alignment], bytes].concat();
        let spelled = self.spell(&shifted);
        spelled[(alignment * 8).div_ceil(6)..shifted.len() * 8 / 6].to_vec()
    }
}

/// One exchange's content.
#[derive(Clone, Copy)]
pub(crate) struct Canary([u8; BYTES]);

impl Canary {
    /// `length` bytes, as many of them as possible canaries in one spelling.
    pub(crate) fn fill(&self, spelling: Spelling, length: usize) -> Vec<u8> {
        let one = spelling.spell(&self.0).len();
        let mut bytes = spelling.spell(&self.0.repeat(length / one + 1));
        // A cut within an escape would be no JSON.
        if spelling == Spelling::JsonEscaped {
            bytes.truncate(length / one * one);
        }
        bytes.resize(length, b'.');
        bytes
    }

    /// `length` bytes of canaries in one spelling after the other.
    pub(crate) fn fill_in_turn(&self, length: usize) -> Vec<u8> {
        let turn: Vec<u8> = Spelling::ALL
            .into_iter()
            .flat_map(|spelling| self.fill(spelling, 3 * spelling.spell(&self.0).len()))
            .collect();
        let mut bytes = turn.repeat(length / turn.len());
        bytes.resize(length, b'.');
        bytes
    }
}

/// All canaries of a run, and how to find any of them in one pass.
pub(crate) struct Canaries {
    canaries: Vec<Canary>,
    needles: Vec<Needle>,
}

struct Needle {
    spelling: Spelling,
    beginning: memchr::memmem::Finder<'static>,
    /// The whole needle, and whose it is.
    whole: HashMap<Vec<u8>, usize>,
    length: usize,
}

impl Canaries {
    pub(crate) fn new(count: usize) -> Self {
        let mut family = letters::<FAMILY>();
        // Wherever a group of three bytes begins, one of them comes last in it and makes a `+`, `/`, `-` or `_`.
        family[3..6].copy_from_slice(b"~?>");
        let canaries: Vec<_> = (0..count)
            .map(|_| {
                let mut canary = letters::<BYTES>();
                canary[..FAMILY].copy_from_slice(&family);
                Canary(canary)
            })
            .collect();
        let needles = Spelling::ALL.into_iter().flat_map(|spelling| {
            let (canaries, family) = (&canaries, &family);
            (0..spelling.alignments()).map(move |alignment| {
                let whole: HashMap<_, _> = canaries
                    .iter()
                    .enumerate()
                    .map(|(index, canary)| (spelling.needle(&canary.0, alignment), index))
                    .collect();
                Needle {
                    spelling,
                    beginning: memchr::memmem::Finder::new(&spelling.needle(family, alignment)).into_owned(),
                    length: whole.keys().next().map_or(0, Vec::len),
                    whole,
                }
            })
        });
        Self {
            needles: needles.collect(),
            canaries,
        }
    }

    pub(crate) fn canary(&self, index: usize) -> Canary {
        self.canaries[index]
    }

    /// The length of the longest thing that is looked for.
    pub(crate) fn longest(&self) -> usize {
        self.needles.iter().map(|needle| needle.length).max().unwrap_or(0)
    }

    /// Every whole canary in `bytes`: where it begins, whose it is, how it is spelled.
    pub(crate) fn find(&self, bytes: &[u8], mut found: impl FnMut(usize, usize, Spelling)) {
        for needle in &self.needles {
            for at in needle.beginning.find_iter(bytes) {
                let whole = bytes.get(at..at + needle.length);
                if let Some(index) = whole.and_then(|whole| needle.whole.get(whole)) {
                    found(at, *index, needle.spelling);
                }
            }
        }
    }
}

fn letters<const N: usize>() -> [u8; N] {
    let mut random = [0; N];
    rand::fill(&mut random).expect("randomness");
    random.map(|byte| LETTERS[usize::from(byte) % LETTERS.len()])
}

#[test]
fn every_spelling_is_found_wherever_it_stands() {
    let canaries = Canaries::new(2);
    for index in 0..2 {
        for spelling in Spelling::ALL {
            for before in 0..7 {
                let content = [&vec![b'x'; before], &canaries.canary(index).0[..]].concat();
                let spelled = [b"\0\xff".as_slice(), &spelling.spell(&content), b"\"}"].concat();
                let mut found = Vec::new();
                canaries.find(&spelled, |_, whose, how| found.push((whose, how)));
                assert_eq!(found, [(index, spelling)], "{before} bytes before it");
            }
        }
    }
}

#[test]
fn a_body_is_full_of_them() {
    let canaries = Canaries::new(1);
    for spelling in Spelling::ALL {
        let body = canaries.canary(0).fill(spelling, 200);
        let mut found = 0;
        canaries.find(&body, |_, _, how| {
            assert_eq!(how, spelling);
            found += 1;
        });
        assert!(found >= 1, "{spelling:?}");
        assert_eq!(body.len(), 200);
    }
    let mut found = std::collections::HashSet::new();
    canaries.find(&canaries.canary(0).fill_in_turn(20_000), |_, _, how| {
        found.insert(how);
    });
    assert_eq!(found.len(), Spelling::ALL.len());
}
