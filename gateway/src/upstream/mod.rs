//! The way to Meta: HTTP/1.1 on pooled connections, no silent retries, no redirects.
//!
//! `drive` is one exchange, `pool` what rests between two, `line` one connection, `origin` how it is opened.
//! Only origins that the configuration names ever come here.
//!
//! Every phase of an exchange has its end, whatever the server does:
//!
//! | Phase | Ends after | Then |
//! |---|---|---|
//! | looking up and connecting, all addresses together | 5 s | nothing was sent |
//! | TLS handshake | 5 s | nothing was sent |
//! | writing the request | 60 s in which the socket takes no byte | broken; nothing was sent if it never took any |
//! | waiting for the answer's head | 60 s, and what is left of the 60 s in which the last byte was written | broken |
//! | the answer's body | 60 s of waiting in which neither 60 KiB come nor the end | broken |
//! | the whole | a caller's body by the front door's least rate; an answer by its largest size at that rate | |
//!
//! A connection on which any of these ended is closed, and what came of an answer is never called whole.

use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Request;
use thiserror::Error;
use tokio_rustls::TlsConnector;
use tower::Service;

mod answer;
mod drive;
mod line;
mod origin;
mod pool;
#[cfg(test)]
mod tests;

use self::pool::{Bounds, Pool};
use crate::body::{BoxError, Outbound};
use crate::guard::Refusal;

pub use self::answer::{AnswerBody, CollectError, collect, collect_within};
pub use self::drive::Driven;

/// What Meta answers, its body still coming.
pub type MetaAnswer = http::Response<AnswerBody>;

/// How long an exchange may make no progress: Meta takes no byte of the request, and its answer does not begin, or does
/// not go on.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// How often a request that no byte was written of is tried, the first time included: an idle connection may have died
/// unseen.
const TRIES: usize = 3;

/// Why there is no answer.
#[derive(Debug, Error)]
pub enum ExchangeError {
    /// No byte of the request was written.
    #[error("no connection to Meta")]
    Unsent(#[source] BoxError),
    /// The gateway did not let it out.
    #[error("the exchange with Meta was not begun")]
    Refused(#[source] Refusal),
    /// What was to be sent makes no request.
    #[error("the request cannot be built")]
    NotBuilt,
    /// Some byte may have been written, and no whole answer came.
    #[error("the exchange with Meta broke off")]
    Broken(#[source] BoxError),
}

impl ExchangeError {
    /// Whether it is certain that nothing was sent.
    #[must_use]
    pub const fn is_unsent(&self) -> bool {
        match self {
            Self::Unsent(_) | Self::Refused(_) | Self::NotBuilt => true,
            Self::Broken(_) => false,
        }
    }
}

/// What an [`Upstream`] has open.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct UpstreamStats {
    /// Exchanges under way, each with a connection of its own or on the way to one.
    pub active: usize,
    /// Connections between two exchanges.
    pub idle: usize,
}

/// The client.
#[derive(Clone)]
pub struct Upstream {
    shared: Arc<Shared>,
}

struct Shared {
    pool: Pool,
    tls: TlsConnector,
}

impl Upstream {
    /// A client that trusts what `tls` trusts, and speaks clear text where a URL says `http` (the configuration allows
    /// that on loopback only).
    #[must_use]
    pub fn new(tls: rustls::ClientConfig) -> Self {
        Self::bounded(tls, Bounds::default())
    }

    /// What is there now.
    #[must_use]
    pub fn stats(&self) -> UpstreamStats {
        self.shared.pool.stats()
    }

    fn bounded(mut tls: rustls::ClientConfig, bounds: Bounds) -> Self {
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        Self {
            shared: Arc::new(Shared {
                pool: Pool::new(bounds),
                tls: TlsConnector::from(Arc::new(tls)),
            }),
        }
    }
}

impl Shared {
    async fn exchange(&self, mut request: Request<Outbound>) -> Result<MetaAnswer, ExchangeError> {
        let unsent = ExchangeError::Unsent;
        let host = self.pool.host(request.uri()).map_err(unsent)?;
        host.origin.address(&mut request);
        let mut tries = TRIES;
        loop {
            let turn = self.pool.turn(Arc::clone(&host)).await.map_err(unsent)?;
            // What is tried again goes out on a new connection: the idle ones may all have died together.
            let idle = if tries == TRIES { host.take() } else { None };
            tries -= 1;
            let line = match idle {
                Some(line) => line,
                None => match host.origin.connect(&self.tls).await {
                    Ok(line) => line,
                    Err(error) if tries > 0 && is_cut(&error) => continue,
                    Err(error) => return Err(ExchangeError::Unsent(error.into())),
                },
            };
            let meter = line.meter().clone();
            let before = meter.bytes();
            let spare = copy(&request);
            let exchange = drive::exchange(line, turn, request);
            let answer = in_time(exchange, || meter.bytes()).await;
            // With any error the connection is gone: what was not written by now never will be.
            let unwritten = spare.filter(|_| meter.bytes() == before);
            let (error, again) = match answer {
                Ok(Ok(answer)) => {
                    let resent = u32::try_from(TRIES - 1 - tries).unwrap_or(u32::MAX);
                    return Ok(answer.map(|body| AnswerBody::new(body).after(resent)));
                }
                Ok(Err(failed)) => (failed.error, failed.untouched.or(unwritten)),
                Err(stalled) if unwritten.is_some() => return Err(ExchangeError::Unsent(stalled.into())),
                Err(stalled) => (stalled.into(), None),
            };
            match again {
                Some(again) if tries > 0 => request = again,
                Some(_) => return Err(ExchangeError::Unsent(error)),
                None => return Err(ExchangeError::Broken(error)),
            }
        }
    }
}

/// Whether a connection was opened and then cut, before it could be used: not a Meta that is away.
fn is_cut(error: &io::Error) -> bool {
    use io::ErrorKind as K;
    matches!(
        error.kind(),
        K::ConnectionReset | K::ConnectionAborted | K::BrokenPipe | K::UnexpectedEof
    )
}

/// The same request once more, unless its body comes only once.
fn copy(request: &Request<Outbound>) -> Option<Request<Outbound>> {
    let body = match request.body() {
        Outbound::Empty => Outbound::Empty,
        Outbound::Whole(body) => Outbound::Whole(body.clone()),
        Outbound::Upload(_) | Outbound::Raw(_) => return None,
    };
    let mut copy = Request::new(body);
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.headers_mut() = request.headers().clone();
    Some(copy)
}

/// Waits for an answer as long as `progress` goes on: to the end of the first stretch of [`ANSWER_TIMEOUT`] without any.
async fn in_time<F: Future>(answer: F, progress: impl Fn() -> u64) -> Result<F::Output, Stalled> {
    let mut answer = pin!(answer);
    let mut seen = progress();
    loop {
        if let Ok(output) = tokio::time::timeout(ANSWER_TIMEOUT, &mut answer).await {
            return Ok(output);
        }
        let now = progress();
        if now == seen {
            return Err(Stalled);
        }
        seen = now;
    }
}

/// An exchange made no progress for too long.
#[derive(Debug, Error)]
#[error("no progress for {} seconds", ANSWER_TIMEOUT.as_secs())]
struct Stalled;

impl Service<Request<Outbound>> for Upstream {
    type Response = MetaAnswer;
    type Error = ExchangeError;
    type Future = Pin<Box<dyn Future<Output = Result<MetaAnswer, ExchangeError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ExchangeError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Outbound>) -> Self::Future {
        let shared = Arc::clone(&self.shared);
        Box::pin(async move { shared.exchange(request).await })
    }
}
