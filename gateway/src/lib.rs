//! Acts.

pub mod server;
