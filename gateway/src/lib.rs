//! Acts.

pub mod graph;
