//! Checks chunked framing byte by byte, and takes out what must not go further.
//!
//! Valid framing passes as it is, because hyper decodes it; chunk extensions and trailers are cut out, so that no
//! later code can see them. Nothing is buffered: bytes are compacted in the place where they were received.

use super::FrontDoorRefusal;
use super::head::is_token_byte;
use super::limits::FrontDoorLimits;

/// Largest extension of all chunks of a body together, in bytes. Extensions are without use here; the room is for
/// clients that send them anyway.
const EXTENSION_BYTES: usize = 16 * 1024;

/// A chunk size fits 64 bits.
const SIZE_DIGITS: usize = 16;

/// The state of reading one chunked body.
#[derive(Debug)]
pub(super) struct ChunkFilter {
    state: State,
    /// Of the chunk being read: its size while that is read, then the bytes that are still to come.
    chunk: u64,
    size_digits: usize,
    body_bytes_left: u64,
    extension_bytes_left: usize,
    trailer_bytes_left: usize,
    trailers_left: usize,
}

/// What [`ChunkFilter::filter`] made of some bytes.
#[derive(Debug)]
pub(super) struct Filtered {
    /// How many bytes are now at the front, to be handed on.
    pub(super) kept: usize,
    /// How many bytes were read; those behind are untouched. All, unless the body is complete or broken.
    pub(super) consumed: usize,
    pub(super) end: Option<Result<(), FrontDoorRefusal>>,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Size,
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    TrailerStart,
    TrailerName,
    TrailerValue,
    TrailerLf,
    EndLf,
}

enum Step {
    Keep(State),
    Drop(State),
    End,
}

impl ChunkFilter {
    pub(super) fn new(limits: &FrontDoorLimits) -> Self {
        Self {
            state: State::Size,
            chunk: 0,
            size_digits: 0,
            body_bytes_left: limits.upload_bytes,
            extension_bytes_left: EXTENSION_BYTES,
            trailer_bytes_left: limits.head_bytes,
            trailers_left: limits.headers,
        }
    }

    /// Reads `data` and moves what may be handed on to its front.
    pub(super) fn filter(&mut self, data: &mut [u8]) -> Filtered {
        let mut kept = 0;
        let mut consumed = 0;
        let end = loop {
            if let State::Data = self.state {
                let available = data.len() - consumed;
                let run = usize::try_from(self.chunk).unwrap_or(usize::MAX).min(available);
                if kept != consumed {
                    data.copy_within(consumed..consumed + run, kept);
                }
                kept += run;
                consumed += run;
                self.chunk -= u64::try_from(run).unwrap_or(u64::MAX);
                if self.chunk == 0 {
                    self.state = State::DataCr;
                }
            }
            let Some(&byte) = data.get(consumed) else {
                break None;
            };
            consumed += 1;
            let (next, keep) = match self.step(byte) {
                Ok(Step::Keep(state)) => (Some(state), true),
                Ok(Step::Drop(state)) => (Some(state), false),
                Ok(Step::End) => (None, true),
                Err(refusal) => break Some(Err(refusal)),
            };
            if keep && let Some(slot) = data.get_mut(kept) {
                *slot = byte;
                kept += 1;
            }
            match next {
                Some(state) => self.state = state,
                None => break Some(Ok(())),
            }
        };
        Filtered { kept, consumed, end }
    }

    fn step(&mut self, byte: u8) -> Result<Step, FrontDoorRefusal> {
        use State as S;
        match (self.state, byte) {
            (S::Size, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => self.size_digit(byte),
            (S::Size, b'\r') if self.size_digits > 0 => Ok(Step::Keep(S::SizeLf)),
            (S::Size, b';') if self.size_digits > 0 => Ok(Step::Drop(S::Extension)),
            (S::Extension, b'\r') => Ok(Step::Keep(S::SizeLf)),
            (S::Extension, b'\t' | 0x20..=0x7e) => {
                spend(&mut self.extension_bytes_left)?;
                Ok(Step::Drop(S::Extension))
            }
            (S::SizeLf, b'\n') => self.size_is_known(),
            (S::DataCr, b'\r') => Ok(Step::Keep(S::DataLf)),
            (S::DataLf, b'\n') => {
                self.size_digits = 0;
                Ok(Step::Keep(S::Size))
            }
            (S::TrailerStart, b'\r') => Ok(Step::Keep(S::EndLf)),
            (S::TrailerStart, byte) if is_token_byte(byte) => {
                spend(&mut self.trailers_left)?;
                self.trailer_byte(S::TrailerName)
            }
            (S::TrailerName, byte) if is_token_byte(byte) => self.trailer_byte(S::TrailerName),
            (S::TrailerName, b':') => self.trailer_byte(S::TrailerValue),
            (S::TrailerValue, b'\r') => self.trailer_byte(S::TrailerLf),
            (S::TrailerValue, b'\t' | 0x20..=0x7e | 0x80..) => self.trailer_byte(S::TrailerValue),
            (S::TrailerLf, b'\n') => self.trailer_byte(S::TrailerStart),
            (S::EndLf, b'\n') => Ok(Step::End),
            _ => Err(FrontDoorRefusal::BadChunk),
        }
    }

    fn size_digit(&mut self, byte: u8) -> Result<Step, FrontDoorRefusal> {
        if self.size_digits == 0 {
            self.chunk = 0;
        }
        self.size_digits += 1;
        if self.size_digits > SIZE_DIGITS {
            return Err(FrontDoorRefusal::BadChunk);
        }
        let digit = char::from(byte).to_digit(16).ok_or(FrontDoorRefusal::BadChunk)?;
        self.chunk = (self.chunk << 4) | u64::from(digit);
        Ok(Step::Keep(State::Size))
    }

    fn size_is_known(&mut self) -> Result<Step, FrontDoorRefusal> {
        if self.chunk == 0 {
            return Ok(Step::Keep(State::TrailerStart));
        }
        self.body_bytes_left = self
            .body_bytes_left
            .checked_sub(self.chunk)
            .ok_or(FrontDoorRefusal::BodyTooLarge)?;
        Ok(Step::Keep(State::Data))
    }

    fn trailer_byte(&mut self, next: State) -> Result<Step, FrontDoorRefusal> {
        spend(&mut self.trailer_bytes_left)?;
        Ok(Step::Drop(next))
    }
}

fn spend(left: &mut usize) -> Result<(), FrontDoorRefusal> {
    *left = left.checked_sub(1).ok_or(FrontDoorRefusal::BadChunk)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Feeds `raw` in pieces of `piece` bytes: what was handed on, how it ended, and what was left over.
    fn feed(
        raw: &[u8],
        piece: usize,
        limits: &FrontDoorLimits,
    ) -> (Vec<u8>, Option<Result<(), FrontDoorRefusal>>, usize) {
        let mut filter = ChunkFilter::new(limits);
        let mut out = Vec::new();
        let mut read = 0;
        for part in raw.chunks(piece) {
            let mut part = part.to_vec();
            let filtered = filter.filter(&mut part);
            out.extend_from_slice(&part[..filtered.kept]);
            read += filtered.consumed;
            if filtered.end.is_some() {
                return (out, filtered.end, raw.len() - read);
            }
        }
        (out, None, raw.len() - read)
    }

    fn feed_whole(raw: &[u8]) -> (Vec<u8>, Option<Result<(), FrontDoorRefusal>>, usize) {
        feed(raw, usize::MAX, &FrontDoorLimits::default())
    }

    #[test]
    fn valid_framing_passes_and_the_next_request_is_left_over() {
        let raw = b"5\r\nhello\r\nA\r\n0123456789\r\n0\r\n\r\nGET";
        assert_eq!(feed_whole(raw), (raw[..raw.len() - 3].to_vec(), Some(Ok(())), 3));
    }

    #[test]
    fn extensions_and_trailers_are_cut_out() {
        let raw = b"5;a=b;c=\"d\"\r\nhello\r\n0;x\r\nExpires: 1\r\nContent-Length: 7\r\n\r\n";
        assert_eq!(
            feed_whole(raw),
            (b"5\r\nhello\r\n0\r\n\r\n".to_vec(), Some(Ok(())), 0)
        );
    }

    #[test]
    fn malformed_chunks_are_refused() {
        for raw in [
            &b"\r\nhello"[..],
            b"5\nhello\r\n0\r\n\r\n",
            b"5 \r\nhello\r\n0\r\n\r\n",
            b" 5\r\nhello\r\n0\r\n\r\n",
            b"0x5\r\nhello\r\n0\r\n\r\n",
            b"+5\r\nhello\r\n0\r\n\r\n",
            b"-5\r\n",
            b"g\r\n",
            b";a\r\n",
            b"5\r\nhelloX\r\n0\r\n\r\n",
            b"5\r\nhello\n0\r\n\r\n",
            b"5\r\nhello\rX",
            b"5\rX",
            b"5;a\nhello",
            b"5;a\x0b\r\nhello",
            b"00000000000000005\r\nhello",
            b"0\r\n\n",
            b"0\r\n\rX",
            b"0\r\nA b: c\r\n\r\n",
            b"0\r\nA\r\n\r\n",
            b"0\r\n : c\r\n\r\n",
            b"0\r\nA: c\n\r\n",
            b"0\r\nA: c\x00\r\n\r\n",
            b"0\r\nGET / HTTP/1.1\r\n\r\n",
        ] {
            let (_, end, _) = feed_whole(raw);
            assert_eq!(
                end,
                Some(Err(FrontDoorRefusal::BadChunk)),
                "{}",
                raw.escape_ascii()
            );
        }
    }

    #[test]
    fn sizes_beyond_the_limit_are_refused_before_their_bytes() {
        for size in [
            "10000000000000000",
            "ffffffffffffffff",
            "8000000000000000",
            "6410001",
        ] {
            let (_, end, _) = feed_whole(format!("{size}\r\n").as_bytes());
            let expected = if size.len() > 16 {
                FrontDoorRefusal::BadChunk
            } else {
                FrontDoorRefusal::BodyTooLarge
            };
            assert_eq!(end, Some(Err(expected)), "{size}");
        }
    }

    #[test]
    fn the_limit_counts_all_chunks_together_and_is_exact() {
        let limits = FrontDoorLimits {
            upload_bytes: 10,
            ..FrontDoorLimits::default()
        };
        assert_eq!(
            feed(b"5\r\nhello\r\n5\r\nhello\r\n0\r\n\r\n", 99, &limits).1,
            Some(Ok(()))
        );
        let over = feed(b"5\r\nhello\r\n6\r\nhello!\r\n0\r\n\r\n", 99, &limits).1;
        assert_eq!(over, Some(Err(FrontDoorRefusal::BodyTooLarge)));
    }

    #[test]
    fn extensions_and_trailers_are_bounded() {
        let extension = |bytes: usize| format!("1;{}\r\nx\r\n0\r\n\r\n", "e".repeat(bytes)).into_bytes();
        assert_eq!(feed_whole(&extension(EXTENSION_BYTES)).1, Some(Ok(())));
        assert_eq!(
            feed_whole(&extension(EXTENSION_BYTES + 1)).1,
            Some(Err(FrontDoorRefusal::BadChunk))
        );
        let trailers = |count: usize| format!("0\r\n{}\r\n", "a:b\r\n".repeat(count)).into_bytes();
        assert_eq!(feed_whole(&trailers(64)).1, Some(Ok(())));
        assert_eq!(feed_whole(&trailers(65)).1, Some(Err(FrontDoorRefusal::BadChunk)));
        let trailer = |bytes: usize| format!("0\r\na:{}\r\n\r\n", "v".repeat(bytes - 4)).into_bytes();
        assert_eq!(feed_whole(&trailer(16_384)).1, Some(Ok(())));
        assert_eq!(
            feed_whole(&trailer(16_385)).1,
            Some(Err(FrontDoorRefusal::BadChunk))
        );
    }

    proptest! {
        #[test]
        fn the_outcome_does_not_depend_on_how_the_bytes_are_cut(
            raw in "(([0-9a-f]{1,2}(;[a-z]{1,3})?\r\n[a-z]{0,9}(\r\n)?){0,4})(0\r\n(a: b\r\n)?\r\n)?[ -~]{0,3}",
            piece in 1usize..7,
        ) {
            let limits = FrontDoorLimits::default();
            let whole = feed(raw.as_bytes(), usize::MAX, &limits);
            prop_assert_eq!(feed(raw.as_bytes(), piece, &limits), whole);
        }

        #[test]
        fn every_chunking_of_a_body_is_valid(chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..8), piece in 1usize..50) {
            let mut raw = Vec::new();
            for chunk in &chunks {
                raw.extend_from_slice(format!("{:X}\r\n", chunk.len()).as_bytes());
                raw.extend_from_slice(chunk);
                raw.extend_from_slice(b"\r\n");
            }
            raw.extend_from_slice(b"0\r\n\r\n");
            prop_assert_eq!(feed(&raw, piece, &FrontDoorLimits::default()), (raw.clone(), Some(Ok(())), 0));
        }
    }
}
