//! The exchanges that carry canaries: what is sent, over which protocol, how large, and how it ends.

use std::collections::HashSet;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;
use tokio::sync::{Barrier, mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::canary::{Canary, Spelling};
use crate::common::form::Form;
use crate::common::{DEFAULT, NO_STORAGE, TOKEN};
use crate::world::{CACHING, World};

pub(crate) const KIB: usize = 1024;
/// What of a request's end a caller keeps that leaves or stalls. No content is in it.
const TAIL: usize = 64;
/// For how long a request's end is held back while its content is looked for; less than the gateway waits.
const HOLD: Duration = Duration::from_secs(1);
const MIME: &str = "application/pdf";

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) enum Act {
    Send,
    Upload,
    /// Of a number whose media are never cached.
    Download,
    /// Of one whose media are: the last time, it is the copy that is answered with.
    CachedDownload,
}

impl Act {
    /// The number that does it.
    const fn number(self) -> u64 {
        match self {
            Self::Send | Self::Upload | Self::Download => DEFAULT,
            Self::CachedDownload => CACHING,
        }
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum End {
    Whole,
    /// The caller breaks off in the middle.
    CallerLeaves,
    /// The caller says no more, and the gateway does not wait for ever.
    CallerStalls,
    /// The gateway finds at the very end that it may not be.
    Refused,
    /// Meta's connection is reset in the middle of the answer.
    MetaBreaksOff,
}

/// What is done, how large, how it is spelled.
pub(crate) type Kind = (Act, usize, Option<Spelling>);

/// Of which kinds the scan has seen a canary.
pub(crate) type Seen = watch::Receiver<HashSet<Kind>>;

/// One exchange.
#[derive(Clone, Copy)]
pub(crate) struct Exchange {
    pub(crate) protocol: &'static str,
    pub(crate) act: Act,
    pub(crate) end: End,
    pub(crate) size: usize,
    /// None: all in turn.
    spelling: Option<Spelling>,
}

impl fmt::Display for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            protocol,
            act,
            end,
            size,
            ..
        } = self;
        write!(f, "{act:?} of {size} bytes over {protocol}, end: {end:?}")
    }
}

/// Every exchange that is tried. A small body has room for one spelling, so there is one for each; a large one has all.
pub(crate) fn exchanges() -> Vec<Exchange> {
    use Act::{CachedDownload, Download, Send, Upload};
    use End::{CallerLeaves, CallerStalls, MetaBreaksOff, Refused, Whole};
    let (small, middle, large, huge) = (200, 20 * KIB, 2048 * KIB, 16 * KIB * KIB);
    // The most that JSON may have is a MiB.
    let most_json = 1000 * KIB;
    let mut all = Vec::new();
    for protocol in ["http/1.1", "h2"] {
        let exchange = |act, end, size, spelling| Exchange {
            protocol,
            act,
            end,
            size,
            spelling,
        };
        for act in [Send, Upload, Download, CachedDownload] {
            for spelling in Spelling::ALL {
                all.push(exchange(act, Whole, small, Some(spelling)));
            }
        }
        let in_turn = [
            (Send, Whole, vec![middle, most_json]),
            (Upload, Whole, vec![middle, large, huge]),
            (Download, Whole, vec![middle, large, huge]),
            (CachedDownload, Whole, vec![middle, large, huge]),
            (CachedDownload, CallerLeaves, vec![large]),
            (Send, CallerLeaves, vec![middle, most_json]),
            (Upload, CallerLeaves, vec![middle, large]),
            (Download, CallerLeaves, vec![large, huge]),
            (Send, CallerStalls, vec![middle]),
            (Upload, CallerStalls, vec![middle, large]),
            (Send, Refused, vec![middle, most_json]),
            (Upload, Refused, vec![middle, large]),
            (Send, MetaBreaksOff, vec![middle]),
            (Upload, MetaBreaksOff, vec![middle, large]),
            (Download, MetaBreaksOff, vec![middle, large]),
        ];
        for (act, end, sizes) in in_turn {
            all.extend(sizes.into_iter().map(|size| exchange(act, end, size, None)));
        }
    }
    all
}

/// An exchange that can begin.
pub(crate) struct Prepared {
    content: Bytes,
    /// Where a download is to be had.
    target: Option<String>,
    live: Live,
}

impl Prepared {
    /// Does the same exchange again and again, with a good end, until a canary of its kind has been seen; then, when all kinds have been, once
    /// more with the end that is meant. `go` is passed twice: when all have been seen, and when what makes the ends has been arranged.
    pub(crate) async fn run(mut self, seen: Seen, go: Arc<Barrier>) -> Live {
        let exchange = self.live.exchange;
        while !seen.borrow().contains(&exchange.kind()) {
            self.once(End::Whole, Some(&seen)).await;
            assert_eq!(self.live.status, Some(200), "{exchange}");
        }
        go.wait().await;
        go.wait().await;
        self.live.status = None;
        self.once(exchange.end, None).await;
        self.live
    }

    async fn once(&mut self, end: End, held_until: Option<&Seen>) {
        match &self.target {
            Some(target) => self.live.download(target, &self.content, end).await,
            None => self.live.post(&self.content, end, held_until).await,
        }
    }
}

/// A caller's connection after its exchange: open, unless the exchange cost it.
pub(crate) struct Live {
    pub(crate) exchange: Exchange,
    /// None: there was no whole head of an answer.
    pub(crate) status: Option<u16>,
    requests: Requests,
    connection: JoinHandle<()>,
}

impl Live {
    /// Whether the connection still serves.
    pub(crate) async fn serves(&mut self) -> bool {
        let target = format!("/v23.0/{DEFAULT}?fields=id");
        let request = self.exchange.request(Method::GET, &target).body(Parts::None);
        let Ok(answer) = self.requests.send(request.expect("a request")).await.await else {
            return false;
        };
        let is_good = answer.status() == 200;
        // An answer that is not read would cost the connection.
        is_good && answer.into_body().collect().await.is_ok()
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

impl Exchange {
    /// Opens a connection for it, and for a download asks where it is to be had.
    pub(crate) async fn prepare(self, world: &World, canary: Canary) -> Prepared {
        let content = Bytes::from(match self.spelling {
            Some(spelling) => canary.fill(spelling, self.size),
            None => canary.fill_in_turn(self.size),
        });
        let (requests, connection) = Requests::connect(world, self.protocol).await;
        let mut live = Live {
            exchange: self,
            status: None,
            requests,
            connection,
        };
        let mut target = None;
        if matches!(self.act, Act::Download | Act::CachedDownload) {
            let media = world
                .emulator
                .receive_media(self.act.number(), MIME, content.clone());
            target = Some(live.url_of(media).await);
        } else {
            // A connection on which nothing has ever come would not be waited for.
            assert!(live.serves().await, "{self}: no connection");
        }
        Prepared {
            content,
            target,
            live,
        }
    }

    /// Where to, and what, as type and bytes. What comes last is no content.
    fn body(&self, content: &[u8], end: End) -> (String, String, Bytes) {
        let number = if end == End::Refused && self.act == Act::Send {
            NO_STORAGE
        } else {
            self.act.number()
        };
        if self.act == Act::Send {
            let content = std::str::from_utf8(content).expect("text");
            let what = if end == End::Refused {
                format!(
                    "\"type\":\"image\",\"image\":{{\"link\":\"https://elsewhere.example/a\",\"caption\":\"{content}\"}}"
                )
            } else {
                // The type that may be longest.
                format!(
                    "\"type\":\"template\",\"template\":{{\"name\":\"notice\",\"language\":{{\"code\":\"en\"}},\"components\":\
                     [{{\"type\":\"body\",\"parameters\":[{{\"type\":\"text\",\"text\":\"{content}\"}}]}}]}}"
                )
            };
            let json = format!(
                "{{\"messaging_product\":\"whatsapp\",\"to\":\"+15550100001\",{what}}}{}",
                " ".repeat(TAIL)
            );
            let target = format!("/v23.0/{number}/messages");
            return (target, "application/json".to_owned(), Bytes::from(json));
        }
        let form = Form::new()
            .field("messaging_product", "whatsapp")
            .file(MIME, content)
            .field("type", MIME);
        let form = if end == End::Refused {
            // This number has no storage that would end.
            form.field("ttl_minutes", "60")
        } else {
            form
        };
        (
            format!("/v23.0/{number}/media"),
            form.content_type(),
            form.bytes(),
        )
    }

    pub(crate) const fn kind(&self) -> Kind {
        (self.act, self.size, self.spelling)
    }

    fn request(&self, method: Method, target: &str) -> http::request::Builder {
        let uri = if self.protocol == "h2" {
            format!("http://localhost{target}")
        } else {
            target.to_owned()
        };
        let request = Request::builder()
            .method(method)
            .uri(uri)
            .header("authorization", format!("Bearer {TOKEN}"));
        if self.protocol == "h2" {
            request
        } else {
            request.header("host", "localhost")
        }
    }
}

impl Live {
    async fn url_of(&mut self, media: u64) -> String {
        let number = self.exchange.act.number();
        let target = format!("/v23.0/{media}?phone_number_id={number}");
        let request = self.exchange.request(Method::GET, &target).body(Parts::None);
        let answer = self.requests.send(request.expect("a request")).await.await;
        let answer = answer.expect("an answer").into_body().collect().await;
        let json: Value = serde_json::from_slice(&answer.expect("a body").to_bytes()).expect("JSON");
        let url = json["url"].as_str().unwrap_or_else(|| panic!("{json}"));
        let uri: http::Uri = url.parse().expect("a URL");
        uri.path_and_query().expect("a path").as_str().to_owned()
    }

    async fn download(&mut self, target: &str, content: &Bytes, end: End) {
        let request = self.exchange.request(Method::GET, target).body(Parts::None);
        let answer = self.requests.send(request.expect("a request")).await.await;
        let Ok(answer) = answer else {
            // A reset that comes soon may overtake the head.
            assert_eq!(end, End::MetaBreaksOff, "{}", self.exchange);
            return;
        };
        self.status = Some(answer.status().as_u16());
        let mut body = answer.into_body();
        let mut received = Vec::new();
        while let Some(frame) = body.frame().await {
            let Ok(frame) = frame else {
                assert_eq!(end, End::MetaBreaksOff, "{}", self.exchange);
                return;
            };
            received.extend_from_slice(frame.data_ref().expect("no trailers"));
            if end == End::CallerLeaves {
                assert!(received.len() < content.len(), "{}: all is here", self.exchange);
                if self.exchange.protocol == "http/1.1" {
                    self.connection.abort();
                }
                return;
            }
        }
        assert_eq!(end, End::Whole, "{}", self.exchange);
        assert!(received == *content, "{}: other bytes came", self.exchange);
    }

    /// Sends or uploads. With `held_until`, the end is held back for a while, or until this kind of content has been seen: JSON is then in
    /// the gateway's hands, and so is part of a file.
    async fn post(&mut self, content: &[u8], end: End, held_until: Option<&Seen>) {
        let (target, content_type, mut body) = self.exchange.body(content, end);
        let (sender, receiver) = mpsc::channel(1);
        let request = self.exchange.request(Method::POST, &target);
        let request = request
            .header("content-type", content_type)
            .header("content-length", body.len())
            .body(Parts::Some(receiver))
            .expect("a request");
        let answer = tokio::spawn(self.requests.send(request).await);
        let tail = body.split_off(body.len() - TAIL);
        while !body.is_empty() {
            let piece = body.split_to(body.len().min(64 * KIB));
            sender.send(Ok(piece)).await.expect("the gateway reads on");
        }
        if let Some(seen) = held_until {
            let kind = self.exchange.kind();
            let mut seen = seen.clone();
            // Late is as good as seen: it is tried again.
            let _ = timeout(HOLD, seen.wait_for(|seen| seen.contains(&kind))).await;
        }
        match end {
            End::CallerStalls => {}
            End::CallerLeaves => {
                let _ = sender.send(Err(io::ErrorKind::BrokenPipe.into())).await;
                drop(sender);
                assert!(answer.await.expect("no panic").is_err(), "{}", self.exchange);
                return;
            }
            End::Whole | End::Refused | End::MetaBreaksOff => {
                sender.send(Ok(tail)).await.expect("the gateway reads on");
                drop(sender);
            }
        }
        let answer = answer.await.expect("no panic").expect("an answer");
        self.status = Some(answer.status().as_u16());
        // A refusal over HTTP/1 costs the connection, perhaps before its body is read.
        let _ = answer.into_body().collect().await;
    }
}

/// A request's body, part by part; none at all is not the same as an empty one.
pub(crate) enum Parts {
    None,
    Some(mpsc::Receiver<io::Result<Bytes>>),
}

impl Body for Parts {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        match self.get_mut() {
            Self::None => Poll::Ready(None),
            Self::Some(parts) => parts
                .poll_recv(cx)
                .map(|part| part.map(|part| part.map(Frame::data))),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::None)
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::None => SizeHint::with_exact(0),
            Self::Some(_) => SizeHint::default(),
        }
    }
}

/// Where requests go in.
enum Requests {
    One(http1::SendRequest<Parts>),
    Two(http2::SendRequest<Parts>),
}

impl Requests {
    async fn connect(world: &World, protocol: &str) -> (Self, JoinHandle<()>) {
        let stream = TokioIo::new(world.connect(protocol).await);
        if protocol == "h2" {
            let (requests, connection) = http2::handshake(TokioExecutor::new(), stream)
                .await
                .expect("HTTP/2");
            let connection = tokio::spawn(async { drop(connection.await) });
            (Self::Two(requests), connection)
        } else {
            let (requests, connection) = http1::handshake(stream).await.expect("HTTP/1.1");
            let connection = tokio::spawn(async { drop(connection.await) });
            (Self::One(requests), connection)
        }
    }

    /// Waits until the connection takes a request, and gives it one.
    async fn send(
        &mut self,
        request: Request<Parts>,
    ) -> Pin<Box<dyn Future<Output = hyper::Result<Response<Incoming>>> + Send>> {
        // A connection that is gone says so with the request.
        match self {
            Self::One(requests) => {
                let _ = requests.ready().await;
                Box::pin(requests.send_request(request))
            }
            Self::Two(requests) => {
                let _ = requests.ready().await;
                Box::pin(requests.send_request(request))
            }
        }
    }
}
