//! Ids, trace ids and hashes as Meta's look, all following from the seed.

use std::sync::atomic::{AtomicU64, Ordering};

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

pub(crate) struct Ids {
    seed: u64,
    /// Objects and replies count apart, so that reads do not change which ids the next objects get.
    objects: AtomicU64,
    replies: AtomicU64,
    key: hmac::Key,
}

impl Ids {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            seed,
            objects: AtomicU64::new(1),
            replies: AtomicU64::new(1),
            key: hmac::Key::new(hmac::HMAC_SHA256, &seed.to_be_bytes()),
        }
    }

    fn object(&self) -> u64 {
        mix(self.seed, self.objects.fetch_add(1, Ordering::Relaxed))
    }

    /// A node id of sixteen digits: numbers, media, templates and all else share one space.
    pub(crate) fn node(&self) -> u64 {
        1_000_000_000_000_000 + self.object() % 9_000_000_000_000_000
    }

    /// `wamid.` and a base64 text that holds the recipient, as Meta's do.
    pub(crate) fn wamid(&self, recipient: &str) -> String {
        let mut raw = Vec::with_capacity(32 + recipient.len());
        raw.extend_from_slice(&[0x1c, 0x18, u8::try_from(recipient.len()).unwrap_or(u8::MAX)]);
        raw.extend_from_slice(recipient.as_bytes());
        raw.extend_from_slice(&[0x15, 0x02, 0x00, 0x11, 0x18, 0x12]);
        let (first, second) = (self.object(), self.object());
        raw.extend_from_slice(format!("{first:016X}{:02X}", second & 0xff).as_bytes());
        raw.push(0);
        let mut id = String::with_capacity(64);
        id.push_str("wamid.");
        STANDARD.encode_string(raw, &mut id);
        id
    }

    /// An opaque text of `length` letters and digits.
    pub(crate) fn opaque(&self, length: usize) -> String {
        let mut text = String::with_capacity(length + 11);
        while text.len() < length {
            URL_SAFE_NO_PAD.encode_string(self.object().to_be_bytes(), &mut text);
        }
        text.retain(|c| c.is_ascii_alphanumeric());
        while text.len() < length {
            text.push('A');
        }
        text.truncate(length);
        text
    }

    /// Six digits.
    pub(crate) fn code(&self) -> String {
        format!("{:06}", self.object() % 1_000_000)
    }

    pub(crate) fn reply(&self) -> ReplyIds {
        let count = self.replies.fetch_add(1, Ordering::Relaxed);
        ReplyIds {
            count,
            first: mix(!self.seed, count),
            second: mix(self.seed.rotate_left(32), count),
        }
    }

    /// What a media URL's `hash` must be for this medium and this end.
    pub(crate) fn url_hash(&self, media: u64, ends: u64) -> String {
        let mut text = [0_u8; 16];
        let (head, tail) = text.split_at_mut(8);
        head.copy_from_slice(&media.to_be_bytes());
        tail.copy_from_slice(&ends.to_be_bytes());
        URL_SAFE_NO_PAD.encode(hmac::sign(&self.key, &text))
    }
}

/// The ids of one reply.
#[derive(Clone, Copy)]
pub(crate) struct ReplyIds {
    pub(crate) count: u64,
    first: u64,
    second: u64,
}

impl ReplyIds {
    /// `fbtrace_id`.
    pub(crate) fn trace(self) -> String {
        let mut text = String::with_capacity(24);
        text.push('A');
        let mut raw = [0_u8; 16];
        let (head, tail) = raw.split_at_mut(8);
        head.copy_from_slice(&self.first.to_be_bytes());
        tail.copy_from_slice(&self.second.to_be_bytes());
        URL_SAFE_NO_PAD.encode_string(raw, &mut text);
        text
    }

    pub(crate) fn request(self) -> String {
        format!(
            "{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}",
            self.first >> 32,
            self.first & 0xffff,
            (self.first >> 16) & 0xfff,
            self.second >> 52,
            self.second & 0xffff_ffff_ffff
        )
    }
}

/// SplitMix64: the same place in the same sequence is the same number.
fn mix(seed: u64, count: u64) -> u64 {
    let mut z = seed.wrapping_add(count.wrapping_mul(GOLDEN));
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        for nibble in [byte >> 4, byte & 15] {
            text.push(
                DIGITS
                    .get(usize::from(nibble))
                    .map_or('0', |&digit| char::from(digit)),
            );
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_ids_and_reads_do_not_shift_them() {
        let (one, two, other) = (Ids::new(7), Ids::new(7), Ids::new(8));
        let _ = two.reply();
        assert_eq!(one.node(), two.node());
        assert_eq!(one.wamid("4915112345678"), two.wamid("4915112345678"));
        assert_ne!(one.node(), other.node());
        assert_eq!(one.opaque(40).len(), 40);
    }
}
