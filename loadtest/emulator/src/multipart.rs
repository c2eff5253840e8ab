//! A push parser for `multipart/form-data`: any part order, any chunking, content handed on as it comes.
//!
//! It is as lenient as a general form parser: a part's headers come in any order, the last of two equal fields wins,
//! the preamble is skipped. What it insists on is the closing boundary, so that a form that was cut off is never
//! taken for a whole one.

use bytes::BytesMut;
use memchr::memmem;
use serde_json::{Map, Value};

use crate::world::{Content, ContentBuilder};

const HEADERS_MAX: usize = 16 * 1024;
const FIELD_MAX: u64 = 1024 * 1024;
/// Meta's largest medium (Media, Supported media types).
pub(crate) const FILE_MAX: u64 = 100 * 1024 * 1024;

/// A file that came in a form.
#[derive(Clone)]
pub(crate) struct FilePart {
    pub(crate) name: String,
    /// The part's own `Content-Type`, without parameters, in lower case.
    pub(crate) mime: Option<String>,
    pub(crate) content: Content,
}

/// Why a form is not one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum FormError {
    /// Headers or framing that make no sense.
    Malformed,
    /// A field or file beyond what is taken.
    TooLarge,
}

pub(crate) struct Form {
    delimiter: memmem::Finder<'static>,
    buffer: BytesMut,
    state: FormState,
    keep_files: bool,
    pub(crate) fields: Map<String, Value>,
    pub(crate) files: Vec<FilePart>,
}

enum FormState {
    Preamble,
    Headers,
    Body(Part),
    Epilogue,
}

struct Part {
    name: String,
    mime: Option<String>,
    content: ContentBuilder,
    is_file: bool,
}

impl Form {
    /// A parser for a form with this boundary. Without `keep_files`, files keep only digest and length.
    pub(crate) fn new(boundary: &str, keep_files: bool) -> Self {
        let delimiter = format!("\r\n--{boundary}");
        Self {
            delimiter: memmem::Finder::new(delimiter.as_bytes()).into_owned(),
            // The first boundary needs no line break before it.
            buffer: BytesMut::from(&b"\r\n"[..]),
            state: FormState::Preamble,
            keep_files,
            fields: Map::new(),
            files: Vec::new(),
        }
    }

    pub(crate) fn feed(&mut self, chunk: &[u8]) -> Result<(), FormError> {
        self.buffer.extend_from_slice(chunk);
        while self.step()? {}
        Ok(())
    }

    /// Whether the closing boundary came.
    pub(crate) fn finish(self) -> Result<(Map<String, Value>, Vec<FilePart>), FormError> {
        match self.state {
            FormState::Epilogue => Ok((self.fields, self.files)),
            _ => Err(FormError::Malformed),
        }
    }

    /// Does one thing; whether there may be more to do.
    fn step(&mut self) -> Result<bool, FormError> {
        match &mut self.state {
            FormState::Epilogue => {
                self.buffer.clear();
                Ok(false)
            }
            FormState::Headers => self.headers(),
            FormState::Preamble | FormState::Body(_) => self.content(),
        }
    }

    fn content(&mut self) -> Result<bool, FormError> {
        let needle = self.delimiter.needle().len();
        let Some(at) = self.delimiter.find(&self.buffer) else {
            let safe = self.buffer.len().saturating_sub(needle.saturating_sub(1));
            self.emit(safe)?;
            return Ok(false);
        };
        self.emit(at)?;
        let after = self.buffer.get(needle..).unwrap_or_default();
        if after.len() < 2 {
            return Ok(false);
        }
        if after.starts_with(b"--") {
            self.end_part();
            self.state = FormState::Epilogue;
            return Ok(true);
        }
        match memmem::find(after, b"\r\n") {
            Some(line) if after.iter().take(line).all(|byte| matches!(byte, b' ' | b'\t')) => {
                self.end_part();
                // The line break stays: an empty header block is then found like any other.
                let _ = self.buffer.split_to(needle + line);
                self.state = FormState::Headers;
                Ok(true)
            }
            None if after.iter().all(|byte| matches!(byte, b' ' | b'\t' | b'\r')) && after.len() < 256 => {
                Ok(false)
            }
            // A longer line that only begins like the boundary is content.
            _ => {
                self.emit(needle)?;
                Ok(true)
            }
        }
    }

    fn headers(&mut self) -> Result<bool, FormError> {
        let Some(end) = memmem::find(&self.buffer, b"\r\n\r\n") else {
            return if self.buffer.len() > HEADERS_MAX {
                Err(FormError::Malformed)
            } else {
                Ok(false)
            };
        };
        let block = self.buffer.split_to(end + 4);
        let text = String::from_utf8_lossy(&block);
        let (mut name, mut file_name, mut mime) = (None, false, None);
        for line in text.split("\r\n") {
            let Some((key, value)) = line.split_once(':') else {
                continue;
            };
            match key.trim().to_ascii_lowercase().as_str() {
                "content-disposition" => {
                    name = parameter(value, "name");
                    file_name =
                        parameter(value, "filename").is_some() || parameter(value, "filename*").is_some();
                }
                "content-type" => mime = Some(essence(value)).filter(|mime| !mime.is_empty()),
                _ => {}
            }
        }
        let name = name.ok_or(FormError::Malformed)?;
        let is_file = file_name || name == "file";
        let content = ContentBuilder::new(!is_file || self.keep_files);
        self.state = FormState::Body(Part {
            name,
            mime,
            content,
            is_file,
        });
        Ok(true)
    }

    /// Takes `count` bytes of content off the buffer.
    fn emit(&mut self, count: usize) -> Result<(), FormError> {
        let data = self.buffer.split_to(count).freeze();
        if let FormState::Body(part) = &mut self.state {
            part.content.push(data);
            let max = if part.is_file { FILE_MAX } else { FIELD_MAX };
            if part.content.len() > max {
                return Err(FormError::TooLarge);
            }
        }
        Ok(())
    }

    fn end_part(&mut self) {
        let FormState::Body(part) = std::mem::replace(&mut self.state, FormState::Preamble) else {
            return;
        };
        let content = part.content.finish();
        if part.is_file {
            self.files.push(FilePart {
                name: part.name,
                mime: part.mime,
                content,
            });
        } else {
            let bytes = content.bytes.unwrap_or_default();
            self.fields.insert(
                part.name,
                Value::String(String::from_utf8_lossy(&bytes).into_owned()),
            );
        }
    }
}

/// The boundary of a `multipart/form-data` content type.
pub(crate) fn boundary(content_type: &str) -> Option<String> {
    let boundary = parameter(content_type, "boundary")?;
    (!boundary.is_empty()).then_some(boundary)
}

/// A media type without its parameters, in lower case.
pub(crate) fn essence(value: &str) -> String {
    value
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase()
}

/// A parameter of a header value such as `form-data; name="file"`; quotes and backslashes are taken off.
fn parameter(value: &str, wanted: &str) -> Option<String> {
    let mut rest = value.split_once(';')?.1;
    loop {
        let (key, after) = rest.split_once('=')?;
        let mut text = String::new();
        let after = after.trim_start();
        let mut end = after.len();
        if let Some(quoted) = after.strip_prefix('"') {
            let mut escaped = false;
            for (at, c) in quoted.char_indices() {
                match c {
                    '\\' if !escaped => escaped = true,
                    '"' if !escaped => {
                        end = at + 2;
                        break;
                    }
                    c => {
                        text.push(c);
                        escaped = false;
                    }
                }
            }
        } else {
            end = after.find(';').unwrap_or(after.len());
            text.push_str(after.get(..end).unwrap_or_default().trim());
        }
        if key.trim().eq_ignore_ascii_case(wanted) {
            return Some(text);
        }
        rest = after.get(end..).unwrap_or_default().split_once(';')?.1;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(body: &[u8], chunk: usize) -> Result<(Map<String, Value>, Vec<FilePart>), FormError> {
        let mut form = Form::new("XX", true);
        for piece in body.chunks(chunk.max(1)) {
            form.feed(piece)?;
        }
        form.finish()
    }

    const BODY: &[u8] = b"--XX\r\nContent-Type: image/png; q=1\r\nContent-Disposition: form-data; name=\"file\"; \
        filename=\"a;\\\"b.png\"\r\n\r\n\x00\r\n--X\r\n--XXY data\r\n--XX\r\ncontent-disposition: form-data; \
        name=ttl_minutes\r\n\r\n120\r\n--XX\r\nContent-Disposition: form-data; name=\"empty\"\r\n\r\n\r\n--XX--\r\n";

    #[test]
    fn every_chunking_reads_the_same() {
        for chunk in 1..BODY.len() {
            let (fields, files) = parse(BODY, chunk).unwrap();
            assert_eq!(fields.get("ttl_minutes"), Some(&Value::from("120")));
            assert_eq!(fields.get("empty"), Some(&Value::from("")));
            assert_eq!(files.len(), 1);
            assert_eq!(files[0].mime.as_deref(), Some("image/png"));
            assert_eq!(
                files[0].content.bytes.as_deref(),
                Some(&b"\x00\r\n--X\r\n--XXY data"[..])
            );
        }
    }

    #[test]
    fn a_form_without_its_closing_boundary_is_none() {
        for end in 0..BODY.len() - 4 {
            assert!(parse(&BODY[..end], 7).is_err(), "{end}");
        }
    }

    proptest! {
        #[test]
        fn content_survives_any_bytes(data in proptest::collection::vec(any::<u8>(), 0..400), chunk in 1_usize..64) {
            prop_assume!(memmem::find(&data, b"\r\n--XX").is_none());
            let mut body = b"--XX\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\n".to_vec();
            body.extend_from_slice(&data);
            body.extend_from_slice(b"\r\n--XX--");
            let (_, files) = parse(&body, chunk).unwrap();
            prop_assert_eq!(files[0].content.bytes.as_deref(), Some(&data[..]));
        }
    }
}
