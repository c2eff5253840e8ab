//! What must hold of every input, by the word of a second parser that shares no code with the gateway's.
//!
//! Each `check` panics where the two disagree, and says whether the gateway takes the input. The fuzz targets run them on
//! what a fuzzer makes up; `gateway/tests/fuzz_corpora.rs` runs them on what was kept of it.
#![allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "test code, of which each fuzz target uses a part; a failure here is a finding"
)]

pub mod head;
mod json;
pub mod message;
pub mod multipart;
pub mod path;
pub mod settings;
