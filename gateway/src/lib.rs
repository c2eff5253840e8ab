//! Acts on what `curfew_policies` decides: a reverse proxy between a company's services and the WhatsApp Cloud API.
//!
//! [`gateway`] starts it, [`stack`] is the life of a request in one place, [`layers`] are its stations. [`graph`] knows the
//! Cloud API's words, [`stores`] remember, [`server`] listens, [`upstream`] connects, [`cli`] is what people type.

pub mod admin;
pub mod body;
pub mod budget;
pub mod call;
pub mod cli;
pub mod clock;
pub mod config;
pub mod error;
pub mod gateway;
pub mod graph;
pub mod guard;
pub mod hardening;
pub mod headers;
pub mod layers;
pub mod record;
pub mod server;
pub mod stack;
pub mod stores;
pub mod telemetry;
pub mod upstream;
pub mod webhooks;
pub mod wiped_io;
