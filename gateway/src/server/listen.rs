//! Accepts connections, finds out what they speak, serves them, and drains them at the end.

use std::convert::Infallible;
use std::error::Error;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};
use tokio_rustls::TlsAcceptor;
use tracing::{debug, info, warn};

use super::activity::{Activity, HeadProgress, Patience, drive};
use super::bridge::Bridge;
use super::detect::{Detected, Rewound, detect};
use super::limits::FrontDoorLimits;
use super::rinse::Rinsed;
use super::strict_io::StrictIo;
use super::{FrontDoorRefusal, tls};
use crate::wiped_io::WipedIo;

/// Wait after a failed accept. Out of file descriptors, the listener stays readable: without it the loop would
/// spin until a connection ends.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// hyper's buffers per HTTP/1 connection and direction, in bytes; enough for the largest head.
const HTTP1_BUFFER_BYTES: usize = 64 * 1024;

/// Figures for HTTP/2 from Envoy's documentation, "Configuring Envoy as an edge proxy".
const HTTP2_STREAMS: u32 = 100;
const HTTP2_STREAM_WINDOW: u32 = 64 * 1024;
const HTTP2_CONNECTION_WINDOW: u32 = 1024 * 1024;
/// A client that does not answer a ping within the same time again is gone.
const HTTP2_PING_INTERVAL: Duration = Duration::from_secs(20);

/// How a listener serves.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// TLS, or clear text without it. Its ALPN is replaced by `h2` and `http/1.1`.
    pub tls: Option<Arc<ServerConfig>>,
    /// The front door's limits.
    pub limits: FrontDoorLimits,
    /// How long requests under way may go on once the listener drains.
    pub drain_timeout: Duration,
}

/// What is known about a connection before its first request.
#[derive(Clone, Debug)]
pub struct ConnInfo {
    /// The address at the other end.
    pub peer: SocketAddr,
    /// Whether the connection is encrypted.
    pub tls: bool,
    /// DNS names in the client's verified certificate, in lower case; empty without mutual TLS.
    pub client_sans: Arc<[String]>,
}

/// How a listener ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Drained {
    /// Connections that were cut off at the drain timeout.
    pub cut_off: usize,
    /// What is left of the drain timeout, for what goes on behind the connections.
    pub left: Duration,
}

/// Serves connections from `listener` until `shutdown` completes, then drains: no new connection is accepted,
/// each open one ends after the requests it carries, and what is left after `drain_timeout` is cut off.
///
/// `make` gives the service of one connection. The service is asked for every request that the front door lets
/// through, and once more for a refused one: it must call [`refusal_of`](super::refusal_of) first.
pub async fn serve<M, S, B>(
    listener: TcpListener,
    options: ServerOptions,
    make: M,
    shutdown: impl Future<Output = ()>,
) -> Drained
where
    M: Fn(ConnInfo) -> S + Send + Sync + 'static,
    S: tower::Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send + 'static,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let (drain, drained) = watch::channel(false);
    let most_connections = options.limits.connections;
    let acceptor = Arc::new(Acceptor {
        tls: options.tls.map(offering_both_versions),
        limits: Arc::new(options.limits),
        make,
        drain: drained,
    });
    let mut connections = JoinSet::new();
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        tokio::select! {
            biased;
            () = &mut shutdown => break,
            Some(ended) = connections.join_next() => log_panic(&ended),
            accepted = listener.accept(), if connections.len() < most_connections => match accepted {
                Ok((stream, peer)) => {
                    let acceptor = Arc::clone(&acceptor);
                    connections.spawn(async move { acceptor.serve_socket(stream, peer).await });
                }
                Err(error) if is_of_one_connection(&error) => debug!(%error, "a connection ended before it was accepted"),
                Err(error) => {
                    warn!(%error, "cannot accept connections; trying again");
                    sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    drop(listener);
    info!(connections = connections.len(), "draining");
    let end = Instant::now() + options.drain_timeout;
    // Without receivers there is nobody to tell.
    let _ = drain.send(true);
    let all_ended = async {
        while let Some(ended) = connections.join_next().await {
            log_panic(&ended);
        }
    };
    let cut_off = if timeout_at(end, all_ended).await.is_ok() {
        0
    } else {
        connections.len()
    };
    connections.shutdown().await;
    let left = end.saturating_duration_since(Instant::now());
    Drained { cut_off, left }
}

/// ALPN is set here and not where certificates are read: what is offered is what this module serves.
fn offering_both_versions(config: Arc<ServerConfig>) -> TlsAcceptor {
    let mut config = Arc::unwrap_or_clone(config);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    TlsAcceptor::from(Arc::new(config))
}

/// Serves one connection in clear text, until it ends: by itself, by a limit, or soon after `drain` turns true.
/// [`serve`] does this for each socket it accepts.
pub async fn serve_stream<I, S, B>(
    mut io: I,
    limits: &FrontDoorLimits,
    service: S,
    mut drain: watch::Receiver<bool>,
) where
    I: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    S: tower::Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send + 'static,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let detected = tokio::select! {
        detected = detect(&mut io, Instant::now() + limits.header_timeout) => detected,
        _ = drain.wait_for(|drain| *drain) => return,
    };
    match detected {
        Ok(Detected::Http2) => serve_http2(io, limits, service, drain).await,
        Ok(Detected::Http1(received)) => serve_http1(io, Some(received), limits, service, drain).await,
        Ok(Detected::TimedOut) => serve_http1(io, None, limits, service, drain).await,
        Ok(Detected::Gone) => {}
        Err(error) => debug!(%error, "connection broke"),
    }
}

struct Acceptor<M> {
    tls: Option<TlsAcceptor>,
    limits: Arc<FrontDoorLimits>,
    make: M,
    drain: watch::Receiver<bool>,
}

impl<M> Acceptor<M> {
    async fn serve_socket<S, B>(&self, stream: TcpStream, peer: SocketAddr)
    where
        M: Fn(ConnInfo) -> S,
        S: tower::Service<Request<Incoming>, Response = Response<B>, Error = Infallible>
            + Clone
            + Send
            + 'static,
        S::Future: Send + 'static,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        // Answers are written whole; waiting for more would only delay them.
        if let Err(error) = stream.set_nodelay(true) {
            debug!(%error, %peer, "cannot set TCP_NODELAY");
        }
        let mut drain = self.drain.clone();
        let Some(acceptor) = &self.tls else {
            let service = (self.make)(ConnInfo {
                peer,
                tls: false,
                client_sans: Arc::from([]),
            });
            return serve_stream(stream, &self.limits, service, drain).await;
        };
        let deadline = Instant::now() + self.limits.header_timeout;
        let handshake = tokio::select! {
            handshake = timeout_at(deadline, acceptor.accept(WipedIo::new(stream))) => handshake,
            _ = drain.wait_for(|drain| *drain) => return,
        };
        let mut stream = match handshake {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return debug!(%error, %peer, "TLS handshake failed"),
            Err(_) => return debug!(%peer, "TLS handshake took too long"),
        };
        let session = stream.get_ref().1;
        let is_http2 = session.alpn_protocol() == Some(b"h2");
        let certificate = session.peer_certificates().and_then(<[_]>::first);
        let client_sans = certificate.map_or_else(|| Arc::from([]), tls::dns_names);
        let service = (self.make)(ConnInfo {
            peer,
            tls: true,
            client_sans,
        });
        if !is_http2 {
            return serve_http1(stream, Some(Vec::new()), &self.limits, service, drain).await;
        }
        // hyper itself would wait for the preface without end.
        let preface = tokio::select! {
            detected = detect(&mut stream, Instant::now() + self.limits.header_timeout) => detected,
            _ = drain.wait_for(|drain| *drain) => return,
        };
        match preface {
            Ok(Detected::Http2) => serve_http2(stream, &self.limits, service, drain).await,
            Err(error) => debug!(%error, %peer, "connection broke"),
            Ok(_) => debug!(%peer, "HTTP/2 was agreed on but not spoken"),
        }
    }
}

/// `received`: what has been read; `None` when that did not make a head in time.
async fn serve_http1<I, S, B>(
    io: I,
    received: Option<Vec<u8>>,
    limits: &FrontDoorLimits,
    service: S,
    mut drain: watch::Receiver<bool>,
) where
    I: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    S: tower::Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let activity = Activity::new(HeadProgress::FirstAwaited);
    let timed_out = received.is_none();
    let mut io = StrictIo::new(
        io,
        received.unwrap_or_default(),
        Arc::new(limits.clone()),
        Arc::clone(&activity),
    );
    if timed_out {
        io.refuse(FrontDoorRefusal::HeaderTimeout);
    }
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        // The front door has its own, which answers 408.
        .header_read_timeout(None)
        .max_buf_size(HTTP1_BUFFER_BYTES.max(limits.head_bytes));
    // Setting it costs an allocation per request, and hyper's own bound of 100 is enough for less.
    if limits.headers > 100 {
        builder.max_headers(limits.headers);
    }
    let patience = Patience {
        keep_alive_idle: limits.keep_alive_idle,
        // The front door's reader of bytes has its own alarm.
        delivery: None,
    };
    let mut service = Bridge::new(service, Arc::clone(&activity), limits);
    loop {
        let mut connection = builder.serve_connection(TokioIo::new(io), service);
        let served = drive(Pin::new(&mut connection), &activity, drain.clone(), patience).await;
        if let Err(error) = served {
            return debug!(%error, "HTTP/1 connection broke");
        }
        // hyper's part ends here, with its buffers: what they held is wiped, whether the connection goes on or not.
        let http1::Parts {
            io: stream,
            read_buf,
            service: bridge,
            ..
        } = connection.into_parts();
        // Empty, and yet it holds the buffer.
        drop(read_buf);
        io = stream.into_inner();
        service = bridge;
        if !(io.is_resting() && wakes(&mut io, &activity, &mut drain, limits).await) {
            return io.close().await;
        }
    }
}

/// Waits until a resting connection has to be served again; false when it has to end instead.
async fn wakes<I>(
    io: &mut StrictIo<I>,
    activity: &Activity,
    drain: &mut watch::Receiver<bool>,
    limits: &FrontDoorLimits,
) -> bool
where
    I: AsyncRead + AsyncWrite + Unpin,
{
    // It rests, so it is idle.
    let end = activity
        .idle_until(limits.keep_alive_idle)
        .unwrap_or_else(Instant::now);
    tokio::select! {
        biased;
        woken = poll_fn(|cx| io.poll_wake(cx)) => woken.is_ok(),
        () = sleep_until(end) => false,
        _ = drain.wait_for(|drain| *drain) => false,
    }
}

async fn serve_http2<I, S, B>(io: I, limits: &FrontDoorLimits, service: S, drain: watch::Receiver<bool>)
where
    I: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    S: tower::Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send + 'static,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let activity = Activity::new(HeadProgress::Nothing);
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(HTTP2_STREAMS)
        .initial_stream_window_size(HTTP2_STREAM_WINDOW)
        .initial_connection_window_size(HTTP2_CONNECTION_WINDOW)
        .max_send_buf_size(HTTP1_BUFFER_BYTES)
        .max_header_list_size(u32::try_from(limits.head_bytes).unwrap_or(u32::MAX))
        .keep_alive_interval(HTTP2_PING_INTERVAL)
        .keep_alive_timeout(HTTP2_PING_INTERVAL);
    let io = TokioIo::new(Rewound::new(Rinsed::new(io)));
    let connection = builder.serve_connection(io, Bridge::new(service, Arc::clone(&activity), limits));
    let connection = pin!(connection);
    let patience = Patience {
        keep_alive_idle: limits.keep_alive_idle,
        delivery: Some(limits.body_idle_timeout),
    };
    if let Err(error) = drive(connection, &activity, drain, patience).await {
        debug!(%error, "HTTP/2 connection broke");
    }
}

/// Whether a failed accept concerns only the connection that would have been accepted.
fn is_of_one_connection(error: &std::io::Error) -> bool {
    use std::io::ErrorKind as K;
    matches!(
        error.kind(),
        K::ConnectionAborted | K::ConnectionReset | K::ConnectionRefused | K::Interrupted
    )
}

fn log_panic(ended: &Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        // The payload may quote a request.
        warn!("a connection ended in a panic");
    }
}
