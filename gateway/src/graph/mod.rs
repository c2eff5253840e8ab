//! The Cloud API's wire vocabulary: what comes in as bytes becomes a value here, once.

pub mod json;
pub mod message;
pub mod settings;
