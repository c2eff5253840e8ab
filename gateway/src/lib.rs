//! Acts.

pub mod config;
