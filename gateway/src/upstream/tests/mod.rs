//! The client against a server that does with bytes what a script says, on a thread of its own.

mod bounds;
mod cuts;
mod deadlines;
mod reuse;

use std::future::Future;
use std::io;
use std::net::Ipv4Addr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request};
use rustls::RootCertStore;
use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tower::Service as _;

use super::pool::Bounds;
use super::{ExchangeError, MetaAnswer, Upstream, collect};
use crate::body::Outbound;

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(30);

const ANSWER: &str =
    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 16\r\n\r\n{\"success\":true}";
const MESSAGE: &str = "{\"messaging_product\":\"whatsapp\",\"to\":\"1\",\"text\":{\"body\":\"x\"}}";

/// How a connection is cut.
#[derive(Clone, Copy, Debug)]
enum Cut {
    /// RST.
    Reset,
    /// FIN, then no byte more is read.
    End,
}

/// A socket that takes and gives so many bytes, and fails from then on.
struct Rationed {
    stream: TcpStream,
    reads: usize,
    writes: usize,
}

impl AsyncRead for Rationed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.reads == 0 {
            return Poll::Ready(Err(io::ErrorKind::Other.into()));
        }
        let mut bytes = vec![0; self.reads.min(buffer.remaining())];
        let mut part = ReadBuf::new(&mut bytes);
        std::task::ready!(Pin::new(&mut self.stream).poll_read(cx, &mut part))?;
        self.reads -= part.filled().len();
        buffer.put_slice(part.filled());
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Rationed {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.writes == 0 {
            return Poll::Ready(Err(io::ErrorKind::Other.into()));
        }
        let most = self.writes.min(bytes.len());
        let written = std::task::ready!(Pin::new(&mut self.stream).poll_write(cx, &bytes[..most]))?;
        self.writes -= written;
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

enum Io {
    Clear(Rationed),
    Tls(Box<TlsStream<Rationed>>),
}

/// The server's end of one connection.
struct Peer {
    io: Io,
    received: Vec<u8>,
}

impl Peer {
    fn rationed(&mut self) -> &mut Rationed {
        match &mut self.io {
            Io::Clear(stream) => stream,
            Io::Tls(stream) => stream.get_mut().0,
        }
    }

    /// From here on, so many bytes are read and written, counted on the wire.
    fn ration(&mut self, reads: usize, writes: usize) {
        (self.rationed().reads, self.rationed().writes) = (reads, writes);
    }

    async fn read(&mut self) -> io::Result<usize> {
        match &mut self.io {
            Io::Clear(stream) => stream.read_buf(&mut self.received).await,
            Io::Tls(stream) => stream.read_buf(&mut self.received).await,
        }
    }

    /// The next head.
    async fn head(&mut self) -> io::Result<String> {
        loop {
            if let Some(end) = self.received.windows(4).position(|four| four == b"\r\n\r\n") {
                let head = self.received.drain(..end + 4).collect();
                return Ok(String::from_utf8(head).unwrap());
            }
            if self.read().await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// The next request, whole, and then its head.
    async fn request(&mut self) -> io::Result<String> {
        let head = self.head().await?;
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "))
            .map_or(0, |length| length.parse().unwrap());
        while self.received.len() < length {
            if self.read().await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        self.received.drain(..length);
        Ok(head)
    }

    async fn write(&mut self, bytes: &str) -> io::Result<()> {
        match &mut self.io {
            Io::Clear(stream) => stream.write_all(bytes.as_bytes()).await,
            Io::Tls(stream) => {
                stream.write_all(bytes.as_bytes()).await?;
                stream.flush().await
            }
        }
    }

    /// Waits until the client ends the connection.
    async fn ended(&mut self) {
        while self.read().await.is_ok_and(|read| read > 0) {}
    }

    async fn cut(mut self, cut: Cut) {
        let stream = &mut self.rationed().stream;
        match cut {
            Cut::Reset => stream.set_zero_linger().unwrap(),
            Cut::End => {
                stream.shutdown().await.ok();
            }
        }
    }
}

/// What the server saw.
#[derive(Default)]
struct Seen {
    connections: AtomicUsize,
    /// Requests that came whole.
    accepted: AtomicUsize,
}

impl Seen {
    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }

    /// Reads a request and gives the usual answer.
    async fn serve(&self, peer: &mut Peer) -> io::Result<()> {
        peer.request().await?;
        self.accepted.fetch_add(1, Ordering::SeqCst);
        peer.write(ANSWER).await
    }

    async fn serve_all(&self, peer: &mut Peer) {
        while self.serve(peer).await.is_ok() {}
    }
}

/// A server. It ends with the test.
struct Meta {
    origin: String,
    roots: RootCertStore,
    seen: Arc<Seen>,
    _stop: oneshot::Sender<()>,
}

impl Meta {
    /// `script` runs once for each connection, which it is given with its number, from 0 on.
    fn clear<F: Future<Output = ()> + Send>(
        script: impl Fn(Peer, usize, Arc<Seen>) -> F + Send + Sync + 'static,
    ) -> Self {
        Self::start(None, script)
    }

    fn tls<F: Future<Output = ()> + Send>(
        script: impl Fn(Peer, usize, Arc<Seen>) -> F + Send + Sync + 'static,
    ) -> Self {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        Self::start(Some(made), script)
    }

    fn start<F: Future<Output = ()> + Send>(
        identity: Option<rcgen::CertifiedKey<rcgen::KeyPair>>,
        script: impl Fn(Peer, usize, Arc<Seen>) -> F + Send + Sync + 'static,
    ) -> Self {
        let mut roots = RootCertStore::empty();
        let acceptor = identity.map(|identity| {
            let certificate = identity.cert.der().clone();
            roots.add(certificate.clone()).unwrap();
            let key = PrivateKeyDer::try_from(identity.signing_key.serialize_der()).unwrap();
            let config = rustls::ServerConfig::builder_with_provider(provider())
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_no_client_auth()
                .with_single_cert(vec![certificate], key)
                .unwrap();
            TlsAcceptor::from(Arc::new(config))
        });
        let scheme = if acceptor.is_some() { "https" } else { "http" };
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let origin = format!("{scheme}://localhost:{}", listener.local_addr().unwrap().port());
        let seen = Arc::new(Seen::default());
        let script = Arc::new(script);
        let (stop, stopped) = oneshot::channel();
        let serve = {
            let seen = Arc::clone(&seen);
            async move {
                let listener = TcpListener::from_std(listener).unwrap();
                loop {
                    let (stream, _) = listener.accept().await.unwrap();
                    stream.set_nodelay(true).unwrap();
                    let number = seen.connections.fetch_add(1, Ordering::SeqCst);
                    let (seen, acceptor, script) = (Arc::clone(&seen), acceptor.clone(), Arc::clone(&script));
                    tokio::task::spawn_local(async move {
                        let stream = Rationed {
                            stream,
                            reads: usize::MAX,
                            writes: usize::MAX,
                        };
                        let io = match acceptor {
                            None => Io::Clear(stream),
                            Some(acceptor) => match acceptor.accept(stream).await {
                                Ok(stream) => Io::Tls(Box::new(stream)),
                                Err(_) => return,
                            },
                        };
                        let received = Vec::new();
                        script(Peer { io, received }, number, seen).await;
                    });
                }
            }
        };
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            tokio::task::LocalSet::new().block_on(&runtime, async {
                tokio::select! {
                    _ = stopped => {}
                    () = serve => {}
                }
            });
        });
        Self {
            origin,
            roots,
            seen,
            _stop: stop,
        }
    }

    fn client(&self) -> Upstream {
        self.bounded(Bounds::default())
    }

    fn bounded(&self, bounds: Bounds) -> Upstream {
        let tls = rustls::ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(self.roots.clone())
            .with_no_client_auth();
        Upstream::bounded(tls, bounds)
    }

    fn request(&self, method: Method, body: Outbound) -> Request<Outbound> {
        let uri = format!("{}/v23.0/1/messages", self.origin);
        let request = Request::builder().method(method).uri(uri);
        request.body(body).unwrap()
    }

    async fn start_send(&self, client: &Upstream) -> Result<MetaAnswer, ExchangeError> {
        let body = Outbound::json(Bytes::from_static(MESSAGE.as_bytes()));
        let request = self.request(Method::POST, body);
        soon(client.clone().call(request)).await
    }

    async fn send(&self, client: &Upstream) -> Outcome {
        Outcome::of(self.start_send(client).await).await
    }

    async fn get(&self, client: &Upstream, method: Method) -> Outcome {
        let request = self.request(method, Outbound::Empty);
        Outcome::of(soon(client.clone().call(request)).await).await
    }

    /// Connections to this server that are idle.
    fn idle(&self, client: &Upstream) -> usize {
        let uri = self.origin.parse().unwrap();
        client.shared.pool.host(&uri).unwrap().idle_lines()
    }
}

/// What became of an exchange.
#[derive(Debug, Eq, PartialEq)]
enum Outcome {
    Answered(u16, String),
    /// The head came, and not the whole body.
    Torn,
    Broken,
    Unsent,
}

impl Outcome {
    async fn of(answer: Result<MetaAnswer, ExchangeError>) -> Self {
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) if error.is_unsent() => return Self::Unsent,
            Err(_) => return Self::Broken,
        };
        let status = answer.status().as_u16();
        match soon(collect(answer.into_body(), 1 << 24)).await {
            Ok(body) => Self::Answered(status, String::from_utf8(body.to_vec()).unwrap()),
            Err(_) => Self::Torn,
        }
    }

    fn success() -> Self {
        Self::Answered(200, "{\"success\":true}".to_owned())
    }
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// Fails a test that would wait for ever.
async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future)
        .await
        .expect("it does not take for ever")
}
