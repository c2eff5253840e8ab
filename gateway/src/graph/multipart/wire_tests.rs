//! The rewritten body behind a real HTTP client: an upstream never sees a refused upload as a whole one.

use std::sync::Mutex;

use bytes::Bytes;
use http::{Request, Response, header};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::convert::Infallible;
use tokio::io::DuplexStream;

use super::testing::{Part, Pieces, allow, form, open, run, second_opinion};
use super::{
    AbortReason, FileTerms, FormFields, UploadBody, UploadOutcome, UploadVerdict, WholeForm, WireBoundary,
    boundary_of,
};

/// What the upstream saw of the one request: its bytes so far, and whether the body came to its end.
#[derive(Debug, Default)]
struct Upstream {
    content_type: Option<header::HeaderValue>,
    content_length: bool,
    bytes: Vec<u8>,
    whole: bool,
}

async fn receive(
    request: Request<Incoming>,
    seen: &Mutex<Upstream>,
) -> Result<Response<Empty<Bytes>>, Infallible> {
    let (parts, mut body) = request.into_parts();
    {
        let mut seen = seen.lock().unwrap();
        seen.content_type = parts.headers.get(header::CONTENT_TYPE).cloned();
        seen.content_length = parts.headers.contains_key(header::CONTENT_LENGTH);
    }
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else {
            return Ok(Response::new(Empty::new()));
        };
        if let Ok(data) = frame.into_data() {
            seen.lock().unwrap().bytes.extend_from_slice(&data);
        }
    }
    seen.lock().unwrap().whole = true;
    Ok(Response::new(Empty::new()))
}

type Judged<J> = (
    Request<UploadBody<Pieces, J, &'static str>>,
    UploadVerdict<Pieces, &'static str>,
);

async fn upload<J>(judge: J) -> Judged<J>
where
    J: FnOnce(WholeForm<'_>) -> Result<FormFields, &'static str>,
{
    let body = form(
        "xyz",
        &[Part::file(&[b'x'; 5000]), Part::field("ttl_minutes", b"60")],
    );
    let open = open("xyz", Pieces::cut(&body, &[700])).await;
    let wire = WireBoundary::random().unwrap();
    let content_type = wire.content_type();
    let terms = FileTerms {
        max_file_bytes: 5000,
        content_type: open.file().content_type.clone(),
        is_hashed: false,
    };
    let (body, verdict) = open.into_body(wire, terms, judge);
    let request = Request::post("http://upstream/media")
        .header(header::CONTENT_TYPE, content_type)
        .body(body)
        .unwrap();
    (request, verdict)
}

fn duplex() -> (TokioIo<DuplexStream>, TokioIo<DuplexStream>) {
    let (client, server) = tokio::io::duplex(1024);
    (TokioIo::new(client), TokioIo::new(server))
}

async fn over_http1<J>(judge: J) -> (Upstream, bool, UploadOutcome<Pieces, &'static str>)
where
    J: FnOnce(WholeForm<'_>) -> Result<FormFields, &'static str> + Send + 'static,
{
    let seen = Mutex::new(Upstream::default());
    let (client, server) = duplex();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(client).await.unwrap();
    let (request, verdict) = upload(judge).await;
    let send = async move { sender.send_request(request).await.is_ok() };
    let server = hyper::server::conn::http1::Builder::new()
        .serve_connection(server, service_fn(|request| receive(request, &seen)));
    let (answered, _, _) = tokio::join!(send, connection, server);
    (
        seen.into_inner().unwrap(),
        answered,
        verdict.ended().await.unwrap(),
    )
}

async fn over_http2<J>(judge: J) -> (Upstream, bool, UploadOutcome<Pieces, &'static str>)
where
    J: FnOnce(WholeForm<'_>) -> Result<FormFields, &'static str> + Send + 'static,
{
    let seen = std::sync::Arc::new(Mutex::new(Upstream::default()));
    let (client, server) = duplex();
    let kept = std::sync::Arc::clone(&seen);
    let service = service_fn(move |request| {
        let seen = std::sync::Arc::clone(&kept);
        async move { receive(request, &seen).await }
    });
    let server =
        hyper::server::conn::http2::Builder::new(TokioExecutor::new()).serve_connection(server, service);
    let dial = hyper::client::conn::http2::handshake(TokioExecutor::new(), client);
    let send = async {
        let (mut sender, connection) = dial.await.unwrap();
        let (request, verdict) = upload(judge).await;
        let send = async move { sender.send_request(request).await.is_ok() };
        let (answered, _) = tokio::join!(send, connection);
        (answered, verdict.ended().await.unwrap())
    };
    let ((answered, outcome), _) = tokio::join!(send, server);
    let seen = std::mem::take(&mut *seen.lock().unwrap());
    (seen, answered, outcome)
}

fn refuse(_: WholeForm<'_>) -> Result<FormFields, &'static str> {
    Err("too long a life")
}

fn assert_stored(upstream: &Upstream, answered: bool) {
    assert!(upstream.whole && answered && !upstream.content_length);
    let content_type = upstream.content_type.as_ref().unwrap();
    let boundary = boundary_of(content_type).unwrap();
    let wire = std::str::from_utf8(&boundary.delimiter()[4..]).unwrap();
    let parts = run(second_opinion(wire, &upstream.bytes)).unwrap();
    assert_eq!(
        (parts[0].content.len(), parts[1].content.as_slice()),
        (5000, &b"60"[..])
    );
}

fn assert_broken_off(upstream: &Upstream, answered: bool, outcome: UploadOutcome<Pieces, &'static str>) {
    assert!(!upstream.whole && !answered);
    assert!(upstream.bytes.ends_with(b"x"), "nothing follows the file");
    let UploadOutcome::Aborted(aborted) = outcome else {
        panic!("not aborted")
    };
    assert!(matches!(aborted.reason, AbortReason::Refused("too long a life")));
}

#[test]
fn an_allowed_upload_arrives_whole_over_http1() {
    let (upstream, answered, outcome) = run(over_http1(allow));
    assert_stored(&upstream, answered);
    assert!(matches!(outcome, UploadOutcome::Written(written) if written.file_bytes == 5000));
}

#[test]
fn an_allowed_upload_arrives_whole_over_http2() {
    let (upstream, answered, outcome) = run(over_http2(allow));
    assert_stored(&upstream, answered);
    assert!(matches!(outcome, UploadOutcome::Written(written) if written.file_bytes == 5000));
}

#[test]
fn a_refused_upload_is_broken_off_over_http1() {
    let (upstream, answered, outcome) = run(over_http1(refuse));
    assert_broken_off(&upstream, answered, outcome);
}

#[test]
fn a_refused_upload_is_broken_off_over_http2() {
    let (upstream, answered, outcome) = run(over_http2(refuse));
    assert_broken_off(&upstream, answered, outcome);
}
