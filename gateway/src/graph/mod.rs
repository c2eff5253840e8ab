//! The Cloud API's wire vocabulary, as the gateway reads and writes it.

pub mod multipart;
