//! Memory that is overwritten before it is given back.

use secrecy::zeroize::optimization_barrier;

/// Bytes that are overwritten in place when they are wiped or dropped.
///
/// Takes no more than it was made for: to grow, it would move, and leave the old bytes behind.
pub(super) struct WipingBuffer {
    bytes: Vec<u8>,
    limit: usize,
}

impl WipingBuffer {
    /// An empty buffer for up to `limit` bytes, allocated at once.
    pub(super) fn for_up_to(limit: usize) -> Self {
        Self {
            bytes: Vec::with_capacity(limit),
            limit,
        }
    }

    /// Appends what there is room for, and returns the rest of `bytes`.
    pub(super) fn append<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let room = self.limit.saturating_sub(self.bytes.len());
        let (taken, rest) = bytes.split_at(room.min(bytes.len()));
        self.bytes.extend_from_slice(taken);
        rest
    }

    pub(super) const fn is_full(&self) -> bool {
        self.bytes.len() >= self.limit
    }

    /// Overwrites the bytes with zeros, where they lie. Their number stays.
    ///
    /// `Zeroize` would store byte by byte, at several times the cost of reading the medium; what makes it safe against
    /// an optimiser that sees no further use is the barrier, which is zeroize's own.
    pub(super) fn wipe(&mut self) {
        self.bytes.fill(0);
        optimization_barrier(self.bytes.as_slice());
    }
}

impl AsRef<[u8]> for WipingBuffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for WipingBuffer {
    fn drop(&mut self) {
        self.wipe();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_never_moves_and_takes_what_fits(
            limit in 0usize..200,
            pieces in proptest::collection::vec(proptest::collection::vec(1u8.., 0..80), 0..8),
        ) {
            let mut buffer = WipingBuffer::for_up_to(limit);
            let place = buffer.bytes.as_ptr();
            let mut offered = Vec::new();
            let mut left = 0;
            for piece in &pieces {
                offered.extend_from_slice(piece);
                left += buffer.append(piece).len();
            }
            prop_assert_eq!(buffer.bytes.as_ptr(), place);
            prop_assert_eq!(buffer.as_ref().len() + left, offered.len());
            prop_assert_eq!(buffer.is_full(), offered.len() >= limit);
            if left == 0 {
                prop_assert_eq!(buffer.as_ref(), &offered);
            }
            buffer.wipe();
            prop_assert_eq!(buffer.bytes.as_ptr(), place);
            prop_assert!(buffer.as_ref().iter().all(|byte| *byte == 0));
        }
    }
}
