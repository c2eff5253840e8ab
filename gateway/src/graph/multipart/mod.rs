//! The forms of the Cloud API, `multipart/form-data`: `POST /{PHONE_NUMBER_ID}/media`, `POST /{FLOW_ID}/assets` and a group's
//! picture. Which parts each has is a table, [`FormKind`]; all else they share.
//!
//! An upload is read strictly, judged, and written anew; nothing but the bytes of the file is passed through. Two
//! parsers that read one form differently are a way round any policy (two `boundary` parameters, two `name`s, text
//! before the first boundary, …), so whatever a second parser could understand otherwise is refused here, and what
//! goes upstream is only what this module writes, with a boundary that no caller can know.
//!
//! The pieces, from the wire inwards:
//!
//! 1. [`boundary_of`] reads the request's `Content-Type`.
//! 2. [`FormReader`] turns chunks into [`Event`]s. It does no I/O and copies no content.
//! 3. [`UploadForm`] drives it from an inbound body up to the file: [`UploadForm::read_head`].
//! 4. [`OpenForm::into_body`] makes the outbound body: the file first, then, once the whole form was read and judged,
//!    the small fields and the closing boundary. On a refusal the body ends in an error, which breaks the upstream
//!    request off, so that nothing is stored.
//!
//! Memory is constant: one inbound frame at a time, polled only when the outbound side asks for more; no task, no
//! channel.
//!
//! What this module deliberately does not do: it judges no value. Whether `ttl_minutes` is in bounds or a MIME type is
//! one that Meta takes is decided by the callback that its user hands in. It reads no nested multipart, decodes no
//! transfer encoding and guesses no character set: these are refused.

mod boundary;
mod error;
mod fields;
mod form;
mod intake;
mod params;
mod part;
mod reader;
mod writer;

#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod wire_tests;

pub use self::boundary::{Boundary, RandomnessUnavailable, WireBoundary, boundary_of};
pub use self::error::{MultipartError, PartRef};
pub use self::fields::{FormField, FormFields};
pub use self::form::FormKind;
pub use self::intake::{IntakeError, OpenForm, ReadForm, Stopped, UploadForm, read_form};
pub use self::part::{FileName, MediaType, PartHead};
pub use self::reader::{Event, FormReader, WholePart, parse_whole};
pub use self::writer::{
    AbortReason, Aborted, FileTerms, UploadAborted, UploadBody, UploadOutcome, UploadVerdict, WholeForm,
    Written,
};

/// Most parts that one form may have. The longest has six known ones; the rest is room for a clear error.
pub const MAX_PARTS: u8 = 16;
/// Most header lines that one part may have. Four are known.
pub const MAX_PART_HEADERS: usize = 8;
/// Most bytes of one part's header block, its empty line included.
pub const MAX_HEADER_BLOCK: usize = 8 * 1024;
/// Most bytes of a field other than the file.
pub const MAX_FIELD_BYTES: usize = 1024;
/// Most characters of a part's name.
pub const MAX_NAME_BYTES: usize = 64;
