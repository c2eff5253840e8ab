//! A recording service behind the real listener, and a client that speaks in raw bytes.

use std::convert::Infallible;
use std::future::pending;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use curfew::server::{
    BodyReadError, BreakOff, ConnInfo, Drained, FrontDoorLimits, IdleTimeoutBody, ServerOptions, refusal_of,
    serve, serve_stream,
};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// A test that waits longer than this has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A request that came through whole, as the service saw it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) body: Bytes,
    pub(crate) header_count: usize,
}

/// What the service shares with the test.
#[derive(Clone, Default)]
pub(crate) struct Recorder {
    pub(crate) limits: FrontDoorLimits,
    seen: Arc<Mutex<Vec<Seen>>>,
    sans: Arc<Mutex<Vec<String>>>,
    /// Requests to `/wait` and `/judge` go on when this is notified; the answer to `/ending` has its end then.
    pub(crate) gate: Arc<Notify>,
    /// Notified when such a request has arrived.
    pub(crate) arrived: Arc<Notify>,
}

impl Recorder {
    pub(crate) fn with(limits: FrontDoorLimits) -> Self {
        Self {
            limits,
            ..Self::default()
        }
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    pub(crate) fn targets(&self) -> Vec<String> {
        self.seen().into_iter().map(|seen| seen.target).collect()
    }

    pub(crate) fn sans(&self) -> Vec<String> {
        self.sans.lock().unwrap().clone()
    }

    pub(crate) fn note(&self, info: &ConnInfo) {
        self.sans.lock().unwrap().extend(info.client_sans.iter().cloned());
    }

    async fn answer(self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        if let Some(refusal) = refusal_of(&request, &self.limits) {
            return plain(refusal.status(), format!("refused {}", refusal.slug()));
        }
        let (head, body) = request.into_parts();
        let target = head.uri.path_and_query().unwrap().as_str().to_owned();
        if target == "/wait" || target == "/judge" {
            self.arrived.notify_one();
            self.gate.notified().await;
        }
        if target == "/deaf" {
            return plain(StatusCode::FORBIDDEN, "not read".to_owned());
        }
        let body = match IdleTimeoutBody::new(body, &self.limits).collect().await {
            Ok(body) if body.trailers().is_some() => panic!("trailers came through"),
            Ok(body) => body.to_bytes(),
            Err(BodyReadError::Refused(refusal)) => {
                return plain(refusal.status(), format!("refused {}", refusal.slug()));
            }
            Err(BodyReadError::Broken(error)) => return plain(StatusCode::BAD_REQUEST, error.to_string()),
        };
        let answer = match target.as_str() {
            "/ending-small" => "x".repeat(10_000),
            "/large" | "/ending" => "x".repeat(8 * 1024 * 1024),
            _ => format!("ok {} {target} {}", head.method, body.len()),
        };
        let mut answer = plain(StatusCode::OK, answer);
        if target.starts_with("/ending") {
            let gate = Arc::clone(&self.gate);
            let end = BreakOff::when(async move { gate.notified().await });
            answer.extensions_mut().insert(end);
        }
        self.seen.lock().unwrap().push(Seen {
            method: head.method.to_string(),
            target,
            body,
            header_count: head.headers.len(),
        });
        answer
    }
}

impl tower::Service<Request<Incoming>> for Recorder {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        let answer = self.clone().answer(request);
        Box::pin(async move { Ok(answer.await) })
    }
}

fn plain(status: StatusCode, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    response
}

/// A listener on a port of its own.
pub(crate) struct Listening {
    pub(crate) address: SocketAddr,
    pub(crate) recorder: Recorder,
    stop: oneshot::Sender<()>,
    served: JoinHandle<Drained>,
}

impl Listening {
    pub(crate) async fn start(
        recorder: Recorder,
        tls: Option<Arc<rustls::ServerConfig>>,
        drain_timeout: Duration,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let options = ServerOptions {
            tls,
            limits: recorder.limits.clone(),
            drain_timeout,
        };
        let (stop, stopped) = oneshot::channel::<()>();
        let service = recorder.clone();
        let make = move |info: ConnInfo| {
            service.note(&info);
            service.clone()
        };
        let served = tokio::spawn(serve(listener, options, make, async move {
            // A test that drops its end without stopping must not stop the listener while it still connects.
            if stopped.await.is_err() {
                pending::<()>().await;
            }
        }));
        Self {
            address,
            recorder,
            stop,
            served,
        }
    }

    pub(crate) async fn clear_text(recorder: Recorder) -> Self {
        Self::start(recorder, None, PATIENCE).await
    }

    pub(crate) async fn connect(&self) -> Client<TcpStream> {
        let stream = TcpStream::connect(self.address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Client::new(stream)
    }

    /// Tells the listener to drain.
    pub(crate) fn stop(self) -> JoinHandle<Drained> {
        self.stop.send(()).unwrap();
        self.served
    }
}

/// One connection in memory, so that tokio's paused clock rules it.
pub(crate) struct InMemory {
    pub(crate) client: Client<DuplexStream>,
    pub(crate) served: JoinHandle<()>,
    pub(crate) drain: watch::Sender<bool>,
}

impl InMemory {
    pub(crate) fn connect(recorder: &Recorder) -> Self {
        let (near, far) = tokio::io::duplex(64 * 1024);
        let (drain, drained) = watch::channel(false);
        let recorder = recorder.clone();
        let served = tokio::spawn(async move {
            let limits = recorder.limits.clone();
            serve_stream(far, &limits, recorder, drained).await;
        });
        Self {
            client: Client::new(near),
            served,
            drain,
        }
    }

    /// Waits until the server has done with the connection.
    pub(crate) async fn ended(self) {
        timeout(Duration::from_secs(3600), self.served)
            .await
            .expect("the connection does not end")
            .unwrap();
    }
}

/// One HTTP/1 answer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

/// The sending of raw bytes and the reading of HTTP/1 answers.
pub(crate) struct Client<S> {
    pub(crate) stream: S,
    received: Vec<u8>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self {
            stream,
            received: Vec::new(),
        }
    }

    /// Sends; a server that has closed already is no error, for its answer is what counts.
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes).await;
        let _ = self.stream.flush().await;
    }

    /// Sends in the given pieces, each of which the server reads alone.
    pub(crate) async fn send_in_pieces(&mut self, bytes: &[u8], mut piece: impl FnMut() -> usize) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let (now, later) = rest.split_at(piece().clamp(1, rest.len()));
            self.send(now).await;
            for _ in 0..3 {
                tokio::task::yield_now().await;
            }
            rest = later;
        }
    }

    /// The next answer to a request other than HEAD; `None` when the server has closed.
    pub(crate) async fn answer(&mut self) -> Option<Answer> {
        self.read_answer(true).await
    }

    pub(crate) async fn answer_to_head(&mut self) -> Option<Answer> {
        self.read_answer(false).await
    }

    /// All answers until the server closes.
    pub(crate) async fn answers(&mut self) -> Vec<Answer> {
        let mut answers = Vec::new();
        while let Some(answer) = self.answer().await {
            answers.push(answer);
        }
        answers
    }

    async fn read_answer(&mut self, with_body: bool) -> Option<Answer> {
        let end = loop {
            if let Some(at) = memchr::memmem::find(&self.received, b"\r\n\r\n") {
                break at + 4;
            }
            if !self.read_more().await {
                assert!(
                    self.received.is_empty(),
                    "cut off: {}",
                    self.received.escape_ascii()
                );
                return None;
            }
        };
        let head = String::from_utf8(self.received.drain(..end).collect()).unwrap();
        let status = head["HTTP/1.1 ".len()..][..3].parse().unwrap();
        let lengths = head
            .lines()
            .filter_map(|line| line.strip_prefix("content-length: "));
        let length: usize = lengths.map(|value| value.parse::<usize>().unwrap()).sum();
        let wanted = if with_body { length } else { 0 };
        while self.received.len() < wanted {
            assert!(self.read_more().await, "cut off in the body");
        }
        let body = String::from_utf8(self.received.drain(..wanted).collect()).unwrap();
        Some(Answer { status, head, body })
    }

    async fn read_more(&mut self) -> bool {
        let read = timeout(
            Duration::from_secs(3600),
            self.stream.read_buf(&mut self.received),
        );
        read.await
            .expect("the server neither answers nor closes")
            .unwrap_or(0)
            > 0
    }
}

/// A good request, and what the service makes of it.
pub(crate) const GOOD: &[u8] = b"POST /good HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello";
pub(crate) const GOOD_ANSWER: (u16, &str) = (200, "ok POST /good 5");

pub(crate) fn in_short(answers: &[Answer]) -> Vec<(u16, &str)> {
    answers
        .iter()
        .map(|answer| (answer.status, answer.body.as_str()))
        .collect()
}
