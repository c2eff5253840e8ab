//! HTTP/2 as RFC 9113 and RFC 7541 have it: h2spec finds nothing to object to, in clear text or over TLS.
//!
//! The listener is tested under a service that reads each request to its end, so that every case ends the same way at
//! each run. The whole gateway is tested as well, since it is what sets the listener up, except for what a case does wrong
//! after the head of a POST: the gateway refuses h2spec's requests from their heads alone, which RFC 9113, section 8.1,
//! allows, and its answer may overtake the rest.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod common;

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use common::{Setup, World, outside};
use curfew::config::TlsFiles;
use curfew::server::{ConnInfo, FrontDoorLimits, ServerOptions, serve};
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use tokio::net::TcpListener;

/// Seconds that h2spec waits for an answer. Only a case that fails waits so long, so a busy machine costs nothing.
const PATIENCE: &str = "10";

/// How many cases h2spec 2.2.1 has.
const CASES: usize = 145;

/// All of them but four of a POST whose fault comes after its head: a second head that does not end the stream
/// (`http2/8.1`) or has a pseudo-header (`http2/8.1.2.1/3`), and bodies of another length than was announced
/// (`http2/8.1.2.6`).
const UP_TO_THE_HEAD: [&str; 14] = [
    "generic",
    "hpack",
    "http2/3",
    "http2/4",
    "http2/5",
    "http2/6",
    "http2/7",
    "http2/8.1.2/1",
    "http2/8.1.2.1/1",
    "http2/8.1.2.1/2",
    "http2/8.1.2.1/4",
    "http2/8.1.2.2",
    "http2/8.1.2.3",
    "http2/8.2",
];

/// Runs some sections of h2spec, or all with none named, and asserts that all of so many cases pass.
async fn assert_conforms(server: SocketAddr, tls: bool, sections: &'static [&'static str], cases: usize) {
    let Some(h2spec) = outside::program(
        "CURFEW_TEST_H2SPEC",
        "h2spec",
        "go install github.com/summerwind/h2spec/cmd/h2spec@v2.2.1+incompatible",
    ) else {
        return;
    };
    let (host, port) = (server.ip().to_string(), server.port().to_string());
    let run = move || {
        Command::new(h2spec)
            .args(["--host", &host, "--port", &port, "--timeout", PATIENCE])
            .args(tls.then_some(["--tls", "--insecure"]).iter().flatten())
            .args(sections)
            .output()
    };
    let output = tokio::task::spawn_blocking(run)
        .await
        .expect("the thread does not panic")
        .expect("h2spec starts");
    let report = String::from_utf8_lossy(&output.stdout);
    // Failures are listed again, with what was expected, after all cases.
    let failures = report
        .split_once("Failures:")
        .map_or(&*report, |(_, failures)| failures);
    assert_eq!(
        report.lines().last(),
        Some(&*format!("{cases} tests, {cases} passed, 0 skipped, 0 failed")),
        "{failures}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// A listener whose service reads the whole request before it answers.
async fn listen(tls: Option<&TlsFiles>) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .await
        .expect("a free port");
    let address = listener.local_addr().expect("an address");
    let options = ServerOptions {
        tls: tls.map(|files| Arc::new(files.server_config().expect("the files are good"))),
        limits: FrontDoorLimits::default(),
        drain_timeout: Duration::ZERO,
    };
    let make = |_: ConnInfo| {
        tower::service_fn(|request: Request<Incoming>| async move {
            let answer = match request.into_body().collect().await {
                // Some cases skip themselves if the answer is shorter than they need.
                Ok(_) => "The request was read.",
                Err(_) => "The request was broken off.",
            };
            Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(answer))))
        })
    };
    tokio::spawn(serve(listener, options, make, std::future::pending()));
    address
}

/// A certificate for the loopback address, signed by itself, and its key.
fn self_signed(folder: &Path) -> TlsFiles {
    let signed =
        rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).expect("a certificate can be made");
    let files = TlsFiles {
        cert_file: folder.join("certificate.pem"),
        key_file: folder.join("key.pem"),
        client_ca_file: None,
    };
    std::fs::write(&files.cert_file, signed.cert.pem()).expect("the folder can be written");
    std::fs::write(&files.key_file, signed.signing_key.serialize_pem()).expect("the folder can be written");
    files
}

#[tokio::test]
async fn the_listener_conforms_in_clear_text() {
    let server = listen(None).await;
    assert_conforms(server, false, &[], CASES).await;
}

#[tokio::test]
async fn the_listener_conforms_over_tls() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = listen(Some(&self_signed(folder.path()))).await;
    assert_conforms(server, true, &[], CASES).await;
}

#[tokio::test]
async fn the_gateway_conforms_in_clear_text() {
    let world = World::pass_through().await;
    assert_conforms(world.gateway.addr, false, &UP_TO_THE_HEAD, CASES - 4).await;
}

#[tokio::test]
async fn the_gateway_conforms_over_tls() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let setup = Setup {
        tls: Some(self_signed(folder.path())),
        ..Setup::default()
    };
    let world = World::start(setup).await;
    assert_conforms(world.gateway.addr, true, &UP_TO_THE_HEAD, CASES - 4).await;
}
