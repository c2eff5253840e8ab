//! Stands in for the WhatsApp Cloud API: numbers, storage modes, media that really end, the media host, sends,
//! webhooks, and the side doors of the Graph API that a bypass would use.
mod admin;
pub mod cli;
mod clock;
mod control;
mod fault;
mod graph;
mod ids;
mod io;
mod limits;
mod multipart;
mod options;
mod params;
mod record;
mod reply;
mod server;
mod webhook;
mod world;

pub use control::{Emulator, NumberStatus};
pub use fault::{Effect, Fault, Operation};
pub use options::{DEFAULT_WABA, Error, NumberOptions, Options, State, Storage, parse_duration};
pub use record::{
    BODY_KEPT, OtherContent, Received, SentMessage, SettingsCall, StoredMedia, Via, WebhookAttempt,
};
