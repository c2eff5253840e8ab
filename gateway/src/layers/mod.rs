//! One tower layer a file. [`crate::stack`] puts them together; nothing else does.

pub mod admit;
pub mod ask;
pub mod authenticate;
pub mod books;
pub mod classify;
pub mod download;
pub mod enforce;
pub mod gather;
pub mod graph_token;
pub mod note;
pub mod once;
pub mod pace;
mod pass_on;
pub(crate) mod reading;
pub mod respond;
pub mod reuse;
pub mod shed;
pub mod watch;

use std::future::Future;
use std::pin::Pin;

/// The future of a layer that must wait for something of its own.
pub type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;
