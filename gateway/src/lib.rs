//! Acts.

pub mod clock;
pub mod stores;
