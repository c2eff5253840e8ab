//! Promise: an outage is Meta's alone. Whoever asks while Meta does not answer learns it at once and nothing was sent; one number's
//! trouble is no other's; and no caller, however slow, takes from others what they need to send.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod common;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use common::form::Form;
use common::{Client, DEFAULT, IN_COUNTRY, Reply, World, caller_table, soon};
use curfew_emulator::{Effect, Fault, Operation};
use http::Request;
use http_body::Frame;
use http_body_util::StreamBody;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

const CONNECTIONS: usize = 42;
const STREAMS: usize = 100;
/// All that could be under way at once when kinds and callers shared one bound.
const ONCE_ENOUGH: usize = 4096;
/// A caller's part of the uploads and downloads that can be under way.
const SHARE: usize = 256;

/// Uploads that begin, and then bring nothing more, over as many connections as it takes.
struct Trickle {
    tasks: JoinSet<()>,
    answered: Arc<Semaphore>,
    overloaded: Arc<AtomicUsize>,
}

impl Trickle {
    async fn start(addr: SocketAddr, key: &str) -> Self {
        let (answered, overloaded) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicUsize::new(0)));
        let mut tasks = JoinSet::new();
        for _ in 0..CONNECTIONS {
            let stream = TcpStream::connect(addr).await.expect("a connection");
            let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
            let (sender, connection) = handshake.await.expect("HTTP/2");
            tasks.spawn(async move {
                let _ = connection.await;
            });
            for _ in 0..STREAMS {
                let request = begun(addr, key);
                let mut sender = sender.clone();
                let (answered, overloaded) = (Arc::clone(&answered), Arc::clone(&overloaded));
                tasks.spawn(async move {
                    let answer = sender.send_request(request).await.expect("an answer");
                    let reason = answer.headers().get("curfew-reason");
                    if reason.is_some_and(|reason| reason == "overloaded") {
                        overloaded.fetch_add(1, Ordering::SeqCst);
                    }
                    answered.add_permits(1);
                });
            }
        }
        Self {
            tasks,
            answered,
            overloaded,
        }
    }

    /// Waits until so many were answered.
    async fn until_answered(&self, count: usize) {
        let count = u32::try_from(count).expect("a count");
        let permits = soon(self.answered.acquire_many(count)).await;
        drop(permits.expect("it is open"));
    }
}

/// An upload of which there comes the form's head and the beginning of its file.
fn begun(
    addr: SocketAddr,
    key: &str,
) -> Request<impl http_body::Body<Data = Bytes, Error = Infallible> + use<>> {
    let form = Form::new()
        .field("messaging_product", "whatsapp")
        .file("application/pdf", &[b'x'; 2048]);
    let whole = form.bytes();
    let mut part = Some(whole.slice(..whole.len() - 1024));
    let frames = futures_util::stream::poll_fn(move |_| match part.take() {
        Some(part) => Poll::Ready(Some(Ok(Frame::data(part)))),
        None => Poll::Pending,
    });
    Request::post(format!("http://{addr}/v23.0/{DEFAULT}/media"))
        .header("authorization", format!("Bearer {key}"))
        .header("content-type", form.content_type())
        .body(StreamBody::new(frames))
        .expect("a request")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_callers_trickling_uploads_take_nobodys_sends() {
    let policies = format!(
        "{}{}{}",
        common::PASS_THROUGH,
        caller_table("slow", "slow-key", &[DEFAULT], &["send", "media"]),
        caller_table("other", "other-key", &[DEFAULT], &["send", "media"]),
    );
    let world = World::of(&policies).await;
    let mut trickle = Trickle::start(world.gateway.addr, "slow-key").await;
    let all = CONNECTIONS * STREAMS;
    trickle.until_answered(all - ONCE_ENOUGH).await;
    for key in ["other-key", "slow-key"] {
        let reply = soon(world.caller(key).send_text(DEFAULT)).await;
        assert_eq!(reply.status, 200, "{key}: {}", reply.text());
    }
    // Others still upload; the slow one waits for itself.
    soon(world.caller("other-key").upload(DEFAULT)).await;
    trickle.until_answered(all - SHARE).await;
    assert_eq!(trickle.overloaded.load(Ordering::SeqCst), all - SHARE);
    let reply = soon(
        world
            .caller("slow-key")
            .post_form(&media(DEFAULT), &Form::image()),
    )
    .await;
    reply.assert_refused(503, 131_016, "overloaded");
    assert_eq!(reply.header("retry-after"), Some("1"));
    trickle.tasks.shutdown().await;
}

fn media(number: u64) -> String {
    format!("/v23.0/{number}/media")
}

async fn upstream(world: &World) -> Value {
    let reply = soon(Client::new(world.gateway.admin).get("/upstream")).await;
    assert_eq!(reply.status, 200);
    reply.json()
}

async fn text(world: &World, number: u64) -> Reply {
    soon(world.client().send_text(number)).await
}

#[tokio::test]
async fn a_number_that_meta_cannot_serve_is_refused_at_once_and_alone() {
    let world = World::pass_through().await;
    let unavailable = Effect::Error {
        status: 500,
        code: 131_016,
        subcode: None,
        details: None,
    };
    let fault = Fault::new(Operation::Send, unavailable).number(DEFAULT);
    world.emulator.fault(fault);
    for _ in 0..10 {
        let reply = text(&world, DEFAULT).await;
        // Meta's own answer, as it is.
        assert_eq!((reply.status.as_u16(), reply.reason()), (500, None));
    }
    let reached = world.reached().len();
    let reply = text(&world, DEFAULT).await;
    reply.assert_refused(503, 131_016, "circuit_open");
    reply.assert_names(&[&DEFAULT.to_string(), "nothing was sent"]);
    assert_eq!(reply.header("retry-after"), Some("1"));
    let reply = soon(world.client().post_form(&media(DEFAULT), &Form::image())).await;
    reply.assert_refused(503, 131_016, "circuit_open");
    assert_eq!(world.reached().len(), reached, "nothing was sent");
    assert_eq!(text(&world, IN_COUNTRY).await.status, 200);

    let told = upstream(&world).await;
    let breaker = &told["breakers"]["numbers"][DEFAULT.to_string()];
    assert_eq!(
        (&breaker["state"], &breaker["cause"]),
        (&"open".into(), &"failures_in_a_row".into())
    );
    assert_eq!((&breaker["opened"], &breaker["refused"]), (&1.into(), &2.into()));
    assert_eq!(told["breakers"]["graph"]["state"], "closed");

    world.emulator.clear_faults();
    world.time.advance(Duration::from_secs(1));
    for _ in 0..4 {
        assert_eq!(text(&world, DEFAULT).await.status, 200);
    }
    let told = upstream(&world).await;
    assert_eq!(
        told["breakers"]["numbers"][DEFAULT.to_string()]["state"],
        "closed"
    );
    assert_eq!(told["exchanges"]["sends"]["limit"], 4096);
    assert_eq!(told["exchanges"]["sends"]["under_way"], 0);
}

#[tokio::test]
async fn a_meta_that_hangs_is_asked_no_more_until_it_answers() {
    let world = World::pass_through().await;
    assert_eq!(text(&world, DEFAULT).await.status, 200);
    world.emulator.fault(Fault::new(Operation::Send, Effect::Hang));
    let mut waiting = JoinSet::new();
    for _ in 0..12 {
        let client = world.client();
        waiting.spawn(async move { client.send_text(DEFAULT).await });
    }
    let arrived = |emulator: &curfew_emulator::Emulator| {
        let received = emulator.received();
        received
            .iter()
            .filter(|call| call.operation == Operation::Send)
            .count()
            == 13
    };
    soon(world.emulator.until(arrived)).await;
    world.time.advance(Duration::from_secs(2));
    let reply = text(&world, IN_COUNTRY).await;
    // A settings reading may be due, and cannot be had either.
    assert_eq!(reply.status, 503, "{}", reply.text());
    text(&world, DEFAULT)
        .await
        .assert_refused(503, 131_016, "circuit_open");
    assert_eq!(upstream(&world).await["breakers"]["graph"]["cause"], "silence");

    world.emulator.clear_faults();
    world.time.advance(Duration::from_secs(1));
    for _ in 0..3 {
        assert_eq!(text(&world, DEFAULT).await.status, 200);
    }
    assert_eq!(upstream(&world).await["breakers"]["graph"]["state"], "closed");
    waiting.shutdown().await;
}

#[tokio::test]
async fn copies_are_served_while_the_media_host_does_not_answer() {
    let world = World::pass_through().await;
    let client = world.client();
    let kept = client.upload(DEFAULT).await;
    let metadata = soon(client.get(&format!("/v23.0/{kept}"))).await.json();
    let kept = metadata["url"].as_str().expect("a URL").to_owned();
    assert_eq!(soon(client.get(&kept)).await.status, 200);
    let unavailable = Effect::Error {
        status: 503,
        code: 2,
        subcode: None,
        details: None,
    };
    world
        .emulator
        .fault(Fault::new(Operation::MediaDownload, unavailable));
    for _ in 0..10 {
        let other = client.upload(DEFAULT).await;
        let metadata = soon(client.get(&format!("/v23.0/{other}"))).await.json();
        let url = metadata["url"].as_str().expect("a URL").to_owned();
        assert_eq!(soon(client.get(&url)).await.status, 502);
    }
    assert_eq!(upstream(&world).await["breakers"]["media"]["state"], "open");
    assert_eq!(soon(client.get(&kept)).await.status, 200);
    assert_eq!(text(&world, DEFAULT).await.status, 200);
}
