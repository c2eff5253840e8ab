//! The push reader: chunks in, events out.

use std::fmt;

use bytes::{Buf as _, Bytes, BytesMut};
use memchr::memmem;

use super::boundary::Boundary;
use super::error::{MultipartError, PartRef};
use super::part::PartHead;
use super::{MAX_HEADER_BLOCK, MAX_PARTS};

/// What the reader met next.
#[derive(Clone, Eq, PartialEq)]
pub enum Event {
    /// The headers of a part.
    PartBegin(PartHead),
    /// Some of the part's content, never empty: a slice of a chunk, or of the boundary where a chunk ended within
    /// something that only looked like one.
    Data(Bytes),
    /// The part's content is complete.
    PartEnd,
    /// The closing boundary was met. The form is known to be whole only when [`FormReader::finish`] agrees.
    End,
}

/// Content is never shown.
impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PartBegin(head) => f.debug_tuple("PartBegin").field(head).finish(),
            Self::Data(data) => write!(f, "Data({} bytes)", data.len()),
            Self::PartEnd => f.write_str("PartEnd"),
            Self::End => f.write_str("End"),
        }
    }
}

/// A strict reader of one `multipart/form-data` body, without I/O.
///
/// Call [`feed`](Self::feed), then [`next_event`](Self::next_event) until it says `None`, and so on; at the end of the
/// body [`finish`](Self::finish). Besides the chunk in hand it holds a header block of at most 8 KiB, or a count of how
/// much of the boundary the last chunk ended with. The result does not depend on how the body is cut into chunks.
///
/// A boundary begins with the only CR that it holds. So content that turns out not to be one can be given out from our
/// own copy of the boundary, and the search starts anew at the first byte that differs.
#[derive(Debug)]
pub struct FormReader {
    /// CRLF, two dashes and the boundary.
    delimiter: Bytes,
    finder: memmem::Finder<'static>,
    input: Bytes,
    stage: Stage,
    /// The header block so far.
    block: Vec<u8>,
    /// The part being read, or read last; number 0 before the first.
    part: PartRef,
    failure: Option<MultipartError>,
}

#[derive(Clone, Copy, Debug)]
enum Stage {
    /// Before the first boundary, of which so many bytes have come; counted from the delimiter's CR.
    Start { matched: usize },
    /// Behind a boundary, and behind this byte.
    Delimited { first: Option<u8> },
    /// In a part's headers.
    Headers,
    /// In a part's content; so many bytes of a possible delimiter have come last.
    Content { matched: usize },
    /// Behind the closing boundary, and so many bytes of a CRLF.
    Closed { matched: usize },
}

impl FormReader {
    /// A reader for one form.
    #[must_use]
    pub fn new(boundary: &Boundary) -> Self {
        let delimiter = boundary.delimiter().clone();
        Self {
            finder: memmem::Finder::new(&delimiter).into_owned(),
            delimiter,
            input: Bytes::new(),
            stage: Stage::Start {
                matched: b"\r\n".len(),
            },
            block: Vec::new(),
            part: PartRef::unnamed(0),
            failure: None,
        }
    }

    /// Gives the reader the next chunk. Input that was not read yet is kept before it, at the price of a copy.
    pub fn feed(&mut self, chunk: Bytes) {
        if self.input.is_empty() {
            self.input = chunk;
        } else {
            let mut joined = BytesMut::from(std::mem::take(&mut self.input));
            joined.extend_from_slice(&chunk);
            self.input = joined.freeze();
        }
    }

    /// The next event, or `None` when more input is needed.
    ///
    /// # Errors
    /// The first rule that the form breaks; the same one at each call from then on.
    pub fn next_event(&mut self) -> Result<Option<Event>, MultipartError> {
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        let event = self.advance();
        if let Err(failure) = &event {
            self.failure = Some(failure.clone());
            self.input = Bytes::new();
            self.block = Vec::new();
        }
        event
    }

    /// Says whether the form may end here.
    ///
    /// # Errors
    /// [`MultipartError::CutOff`] before the closing boundary, [`MultipartError::Epilogue`] behind half a CRLF, or the
    /// error that stopped the reader.
    pub fn finish(&self) -> Result<(), MultipartError> {
        match (&self.failure, self.stage) {
            (Some(failure), _) => Err(failure.clone()),
            (None, Stage::Closed { matched: 0 | 2 }) if self.input.is_empty() => Ok(()),
            (None, Stage::Closed { .. }) => Err(MultipartError::Epilogue),
            (None, _) => Err(MultipartError::CutOff {
                at: self.part.clone(),
            }),
        }
    }

    /// Bytes of the form that the reader holds.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        let matched = match self.stage {
            Stage::Start { matched } | Stage::Content { matched } | Stage::Closed { matched } => matched,
            Stage::Delimited { .. } => self.delimiter.len() + 1,
            Stage::Headers => 0,
        };
        self.input.len() + self.block.capacity() + matched
    }

    fn advance(&mut self) -> Result<Option<Event>, MultipartError> {
        while !self.input.is_empty() {
            let event = match self.stage {
                Stage::Start { matched } => self.start(matched)?,
                Stage::Delimited { first } => self.delimited(first)?,
                Stage::Headers => self.headers()?,
                Stage::Content { matched } => self.content(matched),
                Stage::Closed { matched } => self.closed(matched)?,
            };
            if event.is_some() {
                return Ok(event);
            }
        }
        Ok(None)
    }

    /// Takes what continues the delimiter from the front of the input. The count of matched bytes after that.
    fn match_delimiter(&mut self, matched: usize) -> usize {
        let expected = self.delimiter.iter().skip(matched);
        let agreeing = expected
            .zip(self.input.iter())
            .take_while(|(want, have)| want == have)
            .count();
        self.input.advance(agreeing);
        matched + agreeing
    }

    fn start(&mut self, matched: usize) -> Result<Option<Event>, MultipartError> {
        let matched = self.match_delimiter(matched);
        if matched == self.delimiter.len() {
            self.stage = Stage::Delimited { first: None };
        } else if self.input.is_empty() {
            self.stage = Stage::Start { matched };
        } else {
            return Err(MultipartError::Preamble);
        }
        Ok(None)
    }

    fn delimited(&mut self, first: Option<u8>) -> Result<Option<Event>, MultipartError> {
        let Some(byte) = self.input.first().copied() else {
            return Ok(None);
        };
        self.input.advance(1);
        match (first, byte) {
            (None, b'\r' | b'-') => self.stage = Stage::Delimited { first: Some(byte) },
            (Some(b'\r'), b'\n') if self.part.number == MAX_PARTS => {
                return Err(MultipartError::TooManyParts);
            }
            (Some(b'\r'), b'\n') => {
                self.part = PartRef::unnamed(self.part.number + 1);
                self.stage = Stage::Headers;
            }
            (Some(b'-'), b'-') => {
                self.stage = Stage::Closed { matched: 0 };
                return Ok(Some(Event::End));
            }
            _ => {
                return Err(MultipartError::AfterBoundary {
                    after: self.part.clone(),
                });
            }
        }
        Ok(None)
    }

    /// Takes one line, or the piece of one that is there.
    fn headers(&mut self) -> Result<Option<Event>, MultipartError> {
        let end = memchr::memchr(b'\n', &self.input).map(|at| at + 1);
        let line = self.input.split_to(end.unwrap_or(self.input.len()));
        if self.block.len() + line.len() > MAX_HEADER_BLOCK {
            return Err(MultipartError::HeaderBlockTooLarge {
                part: self.part.clone(),
            });
        }
        self.block.extend_from_slice(&line);
        if end.is_none() {
            return Ok(None);
        }
        if !self.block.ends_with(b"\r\n") {
            return Err(MultipartError::BareLineFeed {
                part: self.part.clone(),
            });
        }
        if self.block != b"\r\n" && !self.block.ends_with(b"\r\n\r\n") {
            return Ok(None);
        }
        let head = PartHead::parse(&std::mem::take(&mut self.block), self.part.number)?;
        self.part = head.place();
        self.stage = Stage::Content { matched: 0 };
        Ok(Some(Event::PartBegin(head)))
    }

    fn content(&mut self, matched: usize) -> Option<Event> {
        if matched > 0 {
            let matched = self.match_delimiter(matched);
            if matched == self.delimiter.len() {
                self.stage = Stage::Delimited { first: None };
                return Some(Event::PartEnd);
            }
            if self.input.is_empty() {
                self.stage = Stage::Content { matched };
                return None;
            }
            self.stage = Stage::Content { matched: 0 };
            return Some(Event::Data(self.delimiter.slice(..matched)));
        }
        match self.finder.find(&self.input) {
            Some(0) => {
                self.input.advance(self.delimiter.len());
                self.stage = Stage::Delimited { first: None };
                Some(Event::PartEnd)
            }
            Some(at) => Some(Event::Data(self.input.split_to(at))),
            None => {
                let matched = self.begun_at_the_end();
                // What is cut off stands in the delimiter as well: the chunk is not kept for its sake.
                let mut data = std::mem::take(&mut self.input);
                data.truncate(data.len() - matched);
                self.stage = Stage::Content { matched };
                (!data.is_empty()).then_some(Event::Data(data))
            }
        }
    }

    /// How many bytes at the end of the input may be the beginning of the delimiter.
    fn begun_at_the_end(&self) -> usize {
        let reach = self.input.len().min(self.delimiter.len() - 1);
        let (_, tail) = self.input.split_at(self.input.len() - reach);
        let Some(at) = memchr::memrchr(b'\r', tail) else {
            return 0;
        };
        let (_, begun) = tail.split_at(at);
        if self.delimiter.starts_with(begun) {
            begun.len()
        } else {
            0
        }
    }

    fn closed(&mut self, matched: usize) -> Result<Option<Event>, MultipartError> {
        let agrees = matches!((matched, self.input.first()), (0, Some(b'\r')) | (1, Some(b'\n')));
        if !agrees {
            return Err(MultipartError::Epilogue);
        }
        self.input.advance(1);
        self.stage = Stage::Closed { matched: matched + 1 };
        Ok(None)
    }
}

/// One part of a form that was read whole.
#[derive(Clone, Eq, PartialEq)]
pub struct WholePart {
    /// Its headers.
    pub head: PartHead,
    /// Its content.
    pub content: Vec<u8>,
}

/// Content is never shown.
impl fmt::Debug for WholePart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WholePart({:?}, {} bytes)", self.head, self.content.len())
    }
}

/// Reads a form that is in memory, cut into chunks of the lengths in `split` and one of the rest: for tests and
/// fuzzing, where the whole of it is small.
///
/// # Errors
/// As [`FormReader::next_event`] and [`FormReader::finish`].
pub fn parse_whole(
    boundary: &Boundary,
    body: &[u8],
    split: &[usize],
) -> Result<Vec<WholePart>, MultipartError> {
    let mut reader = FormReader::new(boundary);
    let mut rest = Bytes::copy_from_slice(body);
    let mut parts: Vec<WholePart> = Vec::new();
    for length in split.iter().copied().chain([usize::MAX]) {
        reader.feed(rest.split_to(length.min(rest.len())));
        while let Some(event) = reader.next_event()? {
            match event {
                Event::PartBegin(head) => parts.push(WholePart {
                    head,
                    content: Vec::new(),
                }),
                Event::Data(data) => {
                    if let Some(part) = parts.last_mut() {
                        part.content.extend_from_slice(&data);
                    }
                }
                Event::PartEnd | Event::End => {}
            }
        }
    }
    reader.finish()?;
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "Content-Disposition: form-data; name=\"a\"\r\n\r\n";

    fn parse(body: &str) -> Result<Vec<Vec<u8>>, &'static str> {
        let boundary = Boundary::new("xyz").unwrap();
        let whole = parse_whole(&boundary, body.as_bytes(), &[]);
        assert_eq!(
            whole,
            parse_whole(&boundary, body.as_bytes(), &vec![1; body.len()]),
            "bytewise: {body:?}"
        );
        whole
            .map(|parts| parts.into_iter().map(|part| part.content).collect())
            .map_err(|error| error.slug())
    }

    fn one(content: &str) -> Result<Vec<Vec<u8>>, &'static str> {
        parse(&format!("--xyz\r\n{HEAD}{content}\r\n--xyz--\r\n"))
    }

    #[test]
    fn parts_are_read_with_and_without_a_last_crlf() {
        let form = format!("--xyz\r\n{HEAD}one\r\n--xyz\r\n{HEAD}\r\n--xyz--");
        assert_eq!(parse(&form), Ok(vec![b"one".to_vec(), Vec::new()]));
        assert_eq!(
            parse(&format!("{form}\r\n")),
            Ok(vec![b"one".to_vec(), Vec::new()])
        );
        assert_eq!(parse("--xyz--\r\n"), Ok(vec![]));
    }

    #[test]
    fn content_may_look_like_a_boundary() {
        for content in [
            "",
            "\r",
            "\n",
            "\r\n",
            "\r\n--",
            "\r\n--xy",
            "\r\n--xyZ",
            "--xyz",
            "--xyz--",
            "\n--xyz--",
            "\r\r\n--xy\r\n--",
            "\r\n-\r\n--x\r\n--xy\r",
            "\r\n --xyz",
        ] {
            assert_eq!(one(content), Ok(vec![content.as_bytes().to_vec()]), "{content:?}");
        }
    }

    #[test]
    fn nothing_comes_before_the_first_boundary() {
        for form in [
            "\r\n--xyz",
            "x--xyz",
            " --xyz",
            "-xyz",
            "\n--xyz",
            "--xy--",
            "--XYZ",
            "preamble\r\n--xyz",
        ] {
            assert_eq!(
                parse(&format!("{form}\r\n{HEAD}a\r\n--xyz--\r\n")),
                Err("form_preamble"),
                "{form:?}"
            );
        }
    }

    #[test]
    fn nothing_comes_after_the_last_boundary_but_one_crlf() {
        for epilogue in [
            "\r",
            "\n",
            " ",
            "\r\n\r\n",
            "\r\nx",
            "x",
            "--",
            "\r\n--xyz\r\n",
            "\r\r",
            "\0",
        ] {
            let form = format!("--xyz\r\n{HEAD}a\r\n--xyz--{epilogue}");
            assert_eq!(parse(&form), Err("form_epilogue"), "{epilogue:?}");
        }
    }

    #[test]
    fn a_boundary_is_followed_by_crlf_or_two_dashes_alone() {
        for behind in [
            " \r\n", "\t\r\n", "\n", "\rx", "0\r\n", "-\r\n", "- -", "-x", "\r\r\n",
        ] {
            let form = format!("--xyz{behind}{HEAD}a\r\n--xyz--\r\n");
            assert_eq!(parse(&form), Err("form_after_boundary"), "{behind:?}");
            assert_eq!(
                one(&format!("a\r\n--xyz{behind}")),
                Err("form_after_boundary"),
                "{behind:?}"
            );
        }
    }

    #[test]
    fn a_form_that_is_cut_off_is_refused_wherever_it_ends() {
        let form = format!("--xyz\r\n{HEAD}one\r\n--xyz\r\n{HEAD}two\r\n--xyz--");
        for end in 0..form.len() {
            assert_eq!(parse(&form[..end]), Err("form_cut_off"), "{end}");
        }
        let cut = parse_whole(
            &Boundary::new("xyz").unwrap(),
            &form.as_bytes()[..form.len() - 1],
            &[],
        );
        let at = PartRef {
            number: 2,
            name: Some("a".to_owned()),
        };
        assert_eq!(cut, Err(MultipartError::CutOff { at }));
    }

    #[test]
    fn header_lines_end_in_crlf() {
        for form in [
            "--xyz\r\nContent-Disposition: form-data; name=\"a\"\n\r\nb\r\n--xyz--",
            "--xyz\r\nContent-Disposition: form-data; name=\"a\"\r\n\nb\r\n--xyz--",
            "--xyz\r\n\nb\r\n--xyz--",
        ] {
            assert_eq!(parse(form), Err("form_bare_line_feed"), "{form:?}");
        }
        // Another content to a parser that takes CR alone for a line's end.
        assert_eq!(
            parse("--xyz\r\nContent-Disposition: form-data; name=a\rX: y\r\n\r\n"),
            Err("form_header_malformed")
        );
    }

    #[test]
    fn a_header_block_has_a_limit() {
        let form = |length: usize| {
            let start = "Content-Disposition: form-data; name=a; filename=\"";
            let filler = "f".repeat(length - start.len() - "\"\r\n\r\n".len());
            format!("--xyz\r\n{start}{filler}\"\r\n\r\nb\r\n--xyz--")
        };
        assert_eq!(parse(&form(MAX_HEADER_BLOCK)), Ok(vec![b"b".to_vec()]));
        assert_eq!(
            parse(&form(MAX_HEADER_BLOCK + 1)),
            Err("form_header_block_too_large")
        );
        assert_eq!(
            parse(&format!("--xyz\r\n{}", "x".repeat(10_000))),
            Err("form_header_block_too_large")
        );
    }

    #[test]
    fn a_form_has_at_most_sixteen_parts() {
        let form = |count: usize| format!("{}--xyz--", format!("--xyz\r\n{HEAD}\r\n").repeat(count));
        assert_eq!(parse(&form(16)).map(|parts| parts.len()), Ok(16));
        assert_eq!(parse(&form(17)), Err("form_too_many_parts"));
    }

    #[test]
    fn a_failed_reader_stays_failed() {
        let mut reader = FormReader::new(&Boundary::new("xyz").unwrap());
        reader.feed(Bytes::from_static(b"x"));
        assert_eq!(reader.next_event(), Err(MultipartError::Preamble));
        reader.feed(Bytes::from_static(b"--xyz--"));
        assert_eq!(reader.next_event(), Err(MultipartError::Preamble));
        assert_eq!(reader.finish(), Err(MultipartError::Preamble));
    }

    #[test]
    fn feeding_early_loses_nothing() {
        let mut reader = FormReader::new(&Boundary::new("xyz").unwrap());
        reader.feed(Bytes::from_static(b"--xyz"));
        reader.feed(Bytes::from_static(b"--\r"));
        reader.feed(Bytes::from_static(b"\n"));
        assert_eq!(reader.next_event(), Ok(Some(Event::End)));
        assert_eq!(reader.finish(), Err(MultipartError::Epilogue));
        assert_eq!(reader.next_event(), Ok(None));
        assert_eq!(reader.finish(), Ok(()));
    }

    #[test]
    fn content_is_sliced_not_copied() {
        let mut reader = FormReader::new(&Boundary::new("xyz").unwrap());
        reader.feed(Bytes::from(format!("--xyz\r\n{HEAD}")));
        assert!(matches!(reader.next_event(), Ok(Some(Event::PartBegin(_)))));
        let chunk = Bytes::from(vec![b'c'; 4096]);
        reader.feed(chunk.clone());
        let Ok(Some(Event::Data(data))) = reader.next_event() else {
            panic!("no data")
        };
        assert_eq!((data.as_ptr(), data.len()), (chunk.as_ptr(), chunk.len()));
    }

    #[test]
    fn debug_output_hides_content() {
        assert_eq!(
            format!("{:?}", Event::Data(Bytes::from_static(b"secret"))),
            "Data(6 bytes)"
        );
    }
}
