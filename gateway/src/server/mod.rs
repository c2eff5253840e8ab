//! The listener, and the strict front door in it: one request has one meaning, or is refused.
//!
//! [`serve`] accepts HTTP/1.1 and HTTP/2, in clear text or over TLS, and asks a tower service for each request.
//! What is ambiguous, oversized or late is refused before any layer can act on it: HTTP/1 by a wrapper around
//! the socket, HTTP/2 by checks on the parsed request. Both kinds of refusal reach the service, which learns of
//! them by [`refusal_of`] and answers them like any other refusal.
//!
//! This module knows no operation of the Cloud API and no policy, and it writes no response.

mod activity;
mod alarm;
mod body;
mod break_off;
mod bridge;
mod chunked;
mod detect;
mod head;
mod limits;
mod listen;
mod refusal;
mod request;
mod rinse;
mod strict_io;
mod target;
mod tls;
mod trickle;

pub use body::{BodyReadError, IdleTimeoutBody};
pub use break_off::BreakOff;
pub use head::{BodyFraming, Head, HeadScanner, check_head};
pub use limits::FrontDoorLimits;
pub use listen::{ConnInfo, Drained, ServerOptions, serve, serve_stream};
pub use refusal::FrontDoorRefusal;
pub use request::{check_request_parts, refusal_of};
pub use target::{TARGET_BYTES, check_target};
pub(crate) use trickle::Trickle;

/// The method of the request that stands for a refused HTTP/1 request; its path is `/` and the reason's slug.
/// No client can send it: the front door lets only GET, POST, DELETE and HEAD through.
pub const REFUSED_METHOD: &str = "CURFEW-REFUSED";

fn is_allowed_method(method: &[u8]) -> bool {
    matches!(method, b"GET" | b"POST" | b"DELETE" | b"HEAD")
}
