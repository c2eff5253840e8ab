//! The promise of the front door: one request has one meaning, or is refused before anything acts on it.
//!
//! A recording service stands for all that lies behind. It sees exactly the good requests, on new, reused and
//! pipelined connections, in clear text and over TLS, with HTTP/1.1 and HTTP/2.

#[cfg(test)]
#[path = "../corpus/mod.rs"]
mod corpus;

#[cfg(test)]
mod accepted;
#[cfg(test)]
mod break_off;
#[cfg(test)]
mod drain;
#[cfg(test)]
mod frames;
#[cfg(test)]
mod harness;
#[cfg(test)]
mod http2;
#[cfg(test)]
mod refused;
#[cfg(test)]
mod rests;
#[cfg(test)]
mod timeouts;
#[cfg(test)]
mod tls;
