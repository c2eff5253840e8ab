//! From sockets to calls: accepting, reading bodies, striking faults, replying.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::request::Parts;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::control::Shared;
use crate::fault::{Effect, Operation};
use crate::graph::{self, Call, GraphError, Verb};
use crate::io::{Control, Socket};
use crate::multipart::{self, FilePart, Form, FormError};
use crate::params::{self, Params, Target};
use crate::record::{Entry, Via};
use crate::reply::{Cut, Payload, Reply, ReplyBody, served};
use crate::world::{Content, ContentBuilder};

/// Bodies that are no form or upload are collected up to here.
const BODY_MAX: usize = 16 * 1024 * 1024;
/// HTTP/2 flow control windows: uploads shall not wait for them.
const H2_WINDOW: u32 = 1024 * 1024;

pub(crate) async fn run(listener: TcpListener, shared: Arc<Shared>, mut stop: watch::Receiver<bool>) {
    let mut connections = JoinSet::new();
    let mut serial = 0;
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                // Running out of descriptors passes; there is nobody to tell.
                let Ok((stream, _)) = accepted else {
                    tokio::task::yield_now().await;
                    continue;
                };
                serial += 1;
                connections.spawn(connection(stream, Arc::clone(&shared), serial));
            }
            Some(_) = connections.join_next() => {}
            _ = stop.changed() => return,
        }
    }
}

async fn connection(stream: TcpStream, shared: Arc<Shared>, serial: u64) {
    // Small replies wait for nothing; a socket that cannot do it still works.
    let _ = stream.set_nodelay(true);
    let control = Control::new(serial);
    let socket = TokioIo::new(Socket::new(stream, Arc::clone(&control)));
    let on_request = Arc::clone(&control);
    let service = service_fn(move |request| {
        let (shared, control) = (Arc::clone(&shared), Arc::clone(&on_request));
        async move { Ok::<_, Infallible>(serve(shared, control, request).await) }
    });
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http2()
        .initial_stream_window_size(H2_WINDOW)
        .initial_connection_window_size(4 * H2_WINDOW);
    tokio::select! {
        // How a connection ends is the client's business; what it asked is in the record.
        _ = builder.serve_connection(socket, service) => {}
        () = control.killed() => {}
    }
}

async fn serve(
    shared: Arc<Shared>,
    control: Arc<Control>,
    request: Request<Incoming>,
) -> Response<ReplyBody> {
    let ids = shared.ids.reply();
    let (head, body) = request.into_parts();
    if let Some(path) = head.uri.path().strip_prefix("/_emulator/") {
        let body = http_body_util::Limited::new(body, BODY_MAX).collect().await;
        let body = body.map_or_else(|_| Bytes::new(), http_body_util::Collected::to_bytes);
        return crate::admin::serve(&shared, &head.method, path, &body).into_http(ids, 0, None);
    }
    let target = Target::parse(head.uri.path());
    let version = served(target.version, shared.options.app_version);
    let operation = classify(&shared, &head.method, &target);
    let mut entry = shared.record.open(control.serial, &head, operation);
    let drawn = shared.faults.draw(operation, target.node());
    let reset_at = match drawn.effect {
        Some(Effect::ResetRequest { after_bytes }) => Some(after_bytes),
        _ => None,
    };
    let received = match read(&shared, &head, &target, body, &mut entry, reset_at).await {
        Ok(received) => Ok(received),
        Err(Unread::Reset) => {
            drop(entry);
            control.reset();
            std::future::pending().await
        }
        // The caller is gone: nobody reads this.
        Err(Unread::Broken) => return Reply::not_found().into_http(ids, version, None),
        Err(Unread::Refused(error)) => Err(error),
    };
    if let Some(latency) = drawn.latency {
        tokio::time::sleep(latency).await;
    }
    let mut cut = None;
    let mut media_base = None;
    let mut garbage = false;
    let mut members = None;
    let mut zeros = None;
    match drawn.effect {
        None | Some(Effect::Latency { .. } | Effect::ResetRequest { .. }) => {}
        Some(Effect::Hang) => std::future::pending().await,
        Some(Effect::Redirect { location }) => {
            return Reply::redirect(&location).into_http(ids, version, None);
        }
        Some(Effect::Error {
            status,
            code,
            subcode,
            details,
        }) => {
            let error = GraphError::fault(status, code, subcode, details);
            return Reply::json(error.status, &error.body(&ids.trace())).into_http(ids, version, None);
        }
        Some(Effect::ResetReply { after_bytes }) => control.reset_after(after_bytes),
        Some(Effect::TruncateReply { after_bytes }) => cut = Some(Cut::Close(after_bytes)),
        Some(Effect::MediaUrl { base }) => media_base = Some(base),
        Some(Effect::Garbage) => garbage = true,
        Some(Effect::StallReply { after_bytes }) => cut = Some(Cut::Stall(after_bytes)),
        Some(Effect::Members { members: changed }) => members = Some(changed),
        Some(Effect::Zeros { bytes }) => zeros = Some(bytes),
    }
    let call = received.and_then(|received| call(&head, target, received));
    let mut reply = match call {
        Ok(mut call) => {
            call.media_base = media_base;
            graph::reply(&shared, call, ids)
        }
        Err(error) => Reply::json(error.status, &error.body(&ids.trace())),
    };
    if garbage {
        reply = Reply::json(StatusCode::OK, &Value::Null);
        reply.body = Payload::Bytes(Bytes::from_static(
            b"{\"messaging_product\":\"whatsapp\",\"id\":\"1",
        ));
    }
    if let Some(members) = members {
        reply.replace_members(members);
    }
    if let Some(bytes) = zeros {
        reply.body = Payload::Zeros(bytes);
    }
    reply.into_http(ids, version, cut)
}

/// What kind of call a request looks like, before its parameters are known.
fn classify(shared: &Shared, method: &Method, target: &Target) -> Operation {
    let segments: Vec<&str> = target.segments.iter().map(String::as_str).collect();
    let post = method == Method::POST;
    if let ["whatsapp_business", "attachments", ..] = segments.as_slice() {
        return Operation::MediaDownload;
    }
    if post
        && ["messages", "marketing_messages", "messages_encrypted"]
            .iter()
            .any(|name| target.is_last(name))
    {
        return Operation::Send;
    }
    if post && target.is_last("media") {
        return Operation::Upload;
    }
    if [
        "settings",
        "register",
        "deregister",
        "request_code",
        "verify_code",
    ]
    .iter()
    .any(|name| target.is_last(name))
    {
        return Operation::Settings;
    }
    if let ([first], Some(id)) = (segments.as_slice(), target.node()) {
        let world = shared.world();
        let other = world.numbers.contains_key(&id)
            || world.accounts.contains_key(&id)
            || world.templates.contains_key(&id)
            || world.nodes.contains_key(*first)
            || id == shared.options.app_id
            || id == shared.options.business_id;
        return match *method {
            _ if other => Operation::Other,
            Method::GET | Method::HEAD => Operation::MediaMetadata,
            Method::DELETE => Operation::MediaDelete,
            _ => Operation::Other,
        };
    }
    Operation::Other
}

/// A body that was read to its end.
#[derive(Default)]
struct Body {
    params: Params,
    files: Vec<FilePart>,
    raw: Option<Content>,
    is_form: bool,
    is_empty: bool,
}

enum Unread {
    /// The caller went away, or its framing is broken.
    Broken,
    /// A fault wants a reset here.
    Reset,
    /// No use reading on.
    Refused(GraphError),
}

/// Reads the body, handing what arrives to the record as it comes.
async fn read(
    shared: &Shared,
    head: &Parts,
    target: &Target,
    mut body: Incoming,
    entry: &mut Entry,
    reset_at: Option<u64>,
) -> Result<Body, Unread> {
    let content_type = head
        .headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or("");
    let essence = multipart::essence(content_type);
    let mut sink = match multipart::boundary(content_type).filter(|_| essence == "multipart/form-data") {
        Some(boundary) => Sink::Form(Box::new(Form::new(&boundary, shared.options.keep_media))),
        None if target
            .segments
            .first()
            .is_some_and(|first| first.starts_with("upload:")) =>
        {
            Sink::Raw(ContentBuilder::new(false))
        }
        None => Sink::Whole(Vec::new(), 0),
    };
    let mut count = 0_u64;
    while let Some(frame) = next_frame(&mut body, reset_at == Some(0)).await {
        let Ok(chunk) = frame.map_err(|_| Unread::Broken)?.into_data() else {
            continue;
        };
        count += u64::try_from(chunk.len()).unwrap_or(0);
        entry.body(&chunk);
        if reset_at.is_some_and(|at| count >= at) {
            return Err(Unread::Reset);
        }
        sink.push(chunk)?;
    }
    if reset_at == Some(0) {
        return Err(Unread::Reset);
    }
    entry.finish();
    if reset_at.is_some() {
        return Err(Unread::Reset);
    }
    let mut read = sink.finish(&essence)?;
    read.is_empty = count == 0;
    Ok(read)
}

async fn next_frame(
    body: &mut Incoming,
    skip: bool,
) -> Option<Result<hyper::body::Frame<Bytes>, hyper::Error>> {
    if skip { None } else { body.frame().await }
}

enum Sink {
    Form(Box<Form>),
    Raw(ContentBuilder),
    Whole(Vec<Bytes>, usize),
}

impl Sink {
    fn push(&mut self, chunk: Bytes) -> Result<(), Unread> {
        match self {
            Self::Form(form) => form.feed(&chunk).map_err(refused)?,
            Self::Raw(builder) => builder.push(chunk),
            Self::Whole(chunks, len) => {
                *len += chunk.len();
                if *len > BODY_MAX {
                    return Err(refused(FormError::TooLarge));
                }
                chunks.push(chunk);
            }
        }
        Ok(())
    }

    fn finish(self, essence: &str) -> Result<Body, Unread> {
        let (mut params, mut files, mut raw) = (Params::new(), Vec::new(), None);
        let mut is_form = essence == "application/x-www-form-urlencoded";
        match self {
            Self::Form(form) => {
                is_form = true;
                let (fields, parts) = form.finish().map_err(refused)?;
                // Fields may have brackets in their names, like a urlencoded form's.
                let pairs: Vec<String> = fields
                    .iter()
                    .map(|(key, value)| {
                        let value = value.as_str().unwrap_or_default();
                        format!(
                            "{}={}",
                            params::percent_encode(key),
                            params::percent_encode(value)
                        )
                    })
                    .collect();
                params::read_pairs(&pairs.join("&"), &mut params);
                files = parts;
            }
            Self::Raw(builder) => raw = Some(builder.finish()),
            Self::Whole(chunks, _) => {
                let bytes = join(chunks);
                let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
                let looks_json = text.trim_ascii_start().starts_with(b"{");
                if text.trim_ascii().is_empty() {
                    // No parameters.
                } else if essence.ends_with("json") || (looks_json && !is_form) {
                    match serde_json::from_slice(text) {
                        Ok(Value::Object(object)) => params = object,
                        Ok(_) | Err(_) => {
                            return Err(Unread::Refused(GraphError::invalid(
                                "The body is not a JSON object",
                            )));
                        }
                    }
                } else {
                    is_form = true;
                    params::read_pairs(&String::from_utf8_lossy(text), &mut params);
                }
            }
        }
        Ok(Body {
            params,
            files,
            raw,
            is_form,
            is_empty: false,
        })
    }
}

fn join(mut chunks: Vec<Bytes>) -> Bytes {
    if chunks.len() < 2 {
        return chunks.pop().unwrap_or_default();
    }
    let mut whole = BytesMut::new();
    for chunk in chunks {
        whole.extend_from_slice(&chunk);
    }
    whole.freeze()
}

fn refused(error: FormError) -> Unread {
    Unread::Refused(match error {
        FormError::Malformed => GraphError::invalid("The multipart body is malformed"),
        FormError::TooLarge => GraphError::new(131_053, "The file is larger than 100 MB"),
    })
}

/// Puts query, headers and body together.
fn call(head: &Parts, target: Target, body: Body) -> Result<Call, GraphError> {
    let verb = Verb::parse(head.method.as_str())
        .ok_or_else(|| GraphError::invalid(format!("Unsupported method {}", head.method)))?;
    let header = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok());
    let mut params = Params::new();
    params::read_pairs(head.uri.query().unwrap_or_default(), &mut params);
    let queried = ["to", "recipient", "type", "text"]
        .iter()
        .any(|key| params.contains_key(*key));
    let mut tokens = Vec::new();
    tokens.extend(
        head.headers
            .get_all(header::AUTHORIZATION)
            .iter()
            .filter_map(|value| bearer(value.to_str().ok()?)),
    );
    tokens.extend(params::text(&params, "access_token"));
    let via = if body.is_form {
        Via::Form
    } else if queried && body.is_empty {
        Via::Query
    } else {
        Via::Direct
    };
    params.extend(body.params);
    tokens.extend(params::text(&params, "access_token"));
    params.remove("access_token");
    tokens.retain(|token| !token.is_empty());
    if let Some(method) = header("x-http-method-override") {
        params.entry("_method").or_insert_with(|| Value::from(method));
    }
    Ok(Call {
        verb,
        version: target.version,
        segments: target.segments,
        params,
        files: body.files,
        raw: body.raw,
        file_offset: header("file_offset").map(str::to_owned),
        tokens,
        via,
        media_base: None,
    })
}

/// The token of `Bearer` or, as resumable uploads show it, `OAuth`.
fn bearer(value: &str) -> Option<String> {
    let (scheme, token) = value.trim().split_once(' ')?;
    let known = scheme.eq_ignore_ascii_case("bearer") || scheme.eq_ignore_ascii_case("oauth");
    known.then(|| token.trim().to_owned())
}
