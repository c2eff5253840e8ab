//! Promise: a service changes its base URL and works as before, whatever it speaks HTTP with.
//!
//! Published SDKs and HTTP libraries, as they came, run as programs of their own against the gateway. What they make
//! of its answers is asserted on their reports, what they made happen on the emulator's record. What they need is
//! installed by `clients/install.sh`.
#![allow(
    unreachable_pub,
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code; a failure here is a failed test"
)]

mod common;

#[path = "clients/stage.rs"]
mod stage;

#[path = "clients/libraries.rs"]
mod libraries;
#[path = "clients/sdks.rs"]
mod sdks;
