//! Emulates.
