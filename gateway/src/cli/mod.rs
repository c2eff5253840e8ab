//! The commands, one a file: each has its arguments and a `run`.

pub mod check;
pub mod key;
