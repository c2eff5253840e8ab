//! The Cloud API's wire vocabulary: what a call is, what its body says, what Meta's answers mean.
//!
//! Nothing here decides and nothing here does I/O: text in, values out.

pub mod answer;
pub mod classify;
pub mod digest;
pub mod failure;
pub mod fields;
pub mod file_offset;
pub mod idempotency_key;
pub mod json;
pub mod links;
pub mod marker;
pub mod media_host;
pub mod media_url;
pub mod message;
pub mod multipart;
pub mod path;
pub mod routes;
pub mod settings;
pub mod webhook;
