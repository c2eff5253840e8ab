//! Promise: memory is bounded. Eight uploads of 100 MiB at once cost the gateway at most 16 MiB above its idle memory, and a
//! hundred callers of one cold medium of 16 MiB, which is fetched once, at most 48 MiB. Two thousand sends to a Meta that never
//! answers cost at most 64 KiB each, and are soon no more than that: whoever comes later is refused at once.
//!
//! The real binary is measured, by the kernel's own account of its peak (`VmHWM`), so this runs on Linux only.
#![cfg(target_os = "linux")]
#![allow(
    clippy::as_conversions,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by panicking, and shows its figures"
)]

mod common;

use std::convert::Infallible;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::pin::Pin;
use std::process::{Child, Command, Stdio};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use common::{PASS_THROUGH, TOKEN};
use curfew_emulator::{Effect, Emulator, Fault, Operation, Options};
use http::Request;
use http_body::{Body, Frame};
use http_body_util::BodyExt as _;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tokio::time::{Instant, timeout};

const MIB: usize = 1024 * 1024;
const UPLOADS: usize = 8;
const FILE_MIB: usize = 100;
const MOST_ABOVE_IDLE_KIB: u64 = 16 * 1024;
const CALLERS: usize = 100;
const MEDIUM_MIB: usize = 16;
const MOST_OF_A_DOWNLOAD_KIB: u64 = 48 * 1024;

const SENDS: usize = 2_000;
const MOST_OF_A_HANG_KIB: u64 = 64 * SENDS as u64;

const HEAD: &str = "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.pdf\"\r\nContent-Type: application/pdf\r\n\r\n";
const TAIL: &str =
    "\r\n--b\r\nContent-Disposition: form-data; name=\"messaging_product\"\r\n\r\nwhatsapp\r\n--b--\r\n";

/// A form with a file of so many MiB that costs its sender nothing: the same chunk again and again.
struct Form {
    chunk: Bytes,
    file_mib: usize,
    sent: usize,
}

impl Body for Form {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let chunks = self.file_mib * MIB / self.chunk.len();
        let data = match self.sent {
            0 => Bytes::from_static(HEAD.as_bytes()),
            n if n <= chunks => self.chunk.clone(),
            n if n == chunks + 1 => Bytes::from_static(TAIL.as_bytes()),
            _ => return Poll::Ready(None),
        };
        self.sent += 1;
        Poll::Ready(Some(Ok(Frame::data(data))))
    }
}

/// A gateway of its own process, killed when dropped.
struct Gateway(Child);

impl Gateway {
    fn kib(&self, field: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0.id())).expect("the process runs");
        let line = status
            .lines()
            .find(|line| line.starts_with(field))
            .expect("the field is there");
        line.split_whitespace()
            .nth(1)
            .and_then(|kib| kib.parse().ok())
            .expect("a figure in kB")
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(folder: &std::path::Path, upstream: &str) -> (Gateway, SocketAddr) {
    fs::write(folder.join("policies.toml"), PASS_THROUGH).expect("the folder can be written");
    let config = format!(
        "listen = \"127.0.0.1:0\"\nadmin_listen = \"127.0.0.1:0\"\npolicies = \"policies.toml\"\n\
         [upstream]\ngraph = \"{upstream}\"\nmedia = [\"{upstream}\"]\n"
    );
    fs::write(folder.join("curfew.toml"), config).expect("the folder can be written");
    let mut child = Command::new(env!("CARGO_BIN_EXE_curfew"))
        .args(["run", "--config"])
        .arg(folder.join("curfew.toml"))
        .stderr(Stdio::piped())
        .spawn()
        .expect("the gateway starts");
    let mut log = BufReader::new(child.stderr.take().expect("a pipe")).lines();
    let gateway = Gateway(child);
    let listening = log
        .by_ref()
        .map_while(Result::ok)
        .find(|line| line.contains("listening"))
        .expect("it listens");
    // Whoever logs must be read, or will wait.
    std::thread::spawn(move || log.for_each(drop));
    let address = listening
        .split("address=")
        .nth(1)
        .and_then(|rest| rest.split(' ').next())
        .expect("an address");
    (gateway, address.parse().expect("an address"))
}

type Uploader = Client<hyper_util::client::legacy::connect::HttpConnector, Form>;

async fn upload(client: Uploader, addr: SocketAddr, file_mib: usize) -> Bytes {
    let form = Form {
        chunk: Bytes::from(vec![0x5a; 256 * 1024]),
        file_mib,
        sent: 0,
    };
    let request = Request::post(format!("http://{addr}/v23.0/1003/media"))
        .header("authorization", format!("Bearer {TOKEN}"))
        .header("content-type", "multipart/form-data; boundary=b")
        .body(form)
        .expect("a request");
    let response = client.request(request).await.expect("an answer");
    let status = response.status();
    let body = response.into_body().collect().await.expect("a body").to_bytes();
    assert_eq!(status, 200, "{}", String::from_utf8_lossy(&body));
    body
}

async fn download(url: String) -> usize {
    let client = Client::builder(TokioExecutor::new()).build_http::<http_body_util::Empty<Bytes>>();
    let response = client.get(url.parse().expect("a URL")).await.expect("an answer");
    assert_eq!(response.status(), 200);
    let mut body = response.into_body();
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        length += frame.expect("a whole body").data_ref().map_or(0, Bytes::len);
    }
    length
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_callers_of_one_cold_medium_cost_little_more_than_the_medium() {
    let options = Options {
        numbers: Options::from_policies_toml(PASS_THROUGH).expect("policies"),
        tokens: vec![TOKEN.to_owned()],
        ..Options::default()
    };
    let emulator = Emulator::start(options).await.expect("the emulator starts");
    let folder = tempfile::tempdir().expect("a folder");
    let (gateway, addr) = start(folder.path(), &emulator.base_url());

    let client = Client::builder(TokioExecutor::new()).build_http();
    let uploaded = upload(client, addr, MEDIUM_MIB).await;
    let uploaded: serde_json::Value = serde_json::from_slice(&uploaded).expect("an id");
    let media = uploaded["id"].as_str().expect("an id");
    let metadata = common::Client::new(addr)
        .bearer(TOKEN)
        .get(&format!("/v23.0/{media}"))
        .await
        .json();
    let url = metadata["url"].as_str().expect("a URL").to_owned();

    let idle = gateway.kib("VmRSS");
    let downloads: Vec<_> = (0..CALLERS)
        .map(|_| tokio::spawn(download(url.clone())))
        .collect();
    for download in downloads {
        assert_eq!(download.await.expect("an answer"), MEDIUM_MIB * MIB);
    }
    let peak = gateway.kib("VmHWM");
    println!("idle {idle} KiB, peak {peak} KiB, above idle {} KiB", peak - idle);
    let received = emulator.received();
    let fetches = received
        .iter()
        .filter(|call| call.operation == Operation::MediaDownload);
    assert_eq!(fetches.count(), 1);
    assert!(
        peak - idle <= MOST_OF_A_DOWNLOAD_KIB,
        "peak is {} KiB above idle",
        peak - idle
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eight_uploads_of_100_mib_stream_in_constant_memory() {
    let options = Options {
        numbers: Options::from_policies_toml(PASS_THROUGH).expect("policies"),
        tokens: vec![TOKEN.to_owned()],
        keep_media: false,
        ..Options::default()
    };
    let emulator = Emulator::start(options).await.expect("the emulator starts");
    let folder = tempfile::tempdir().expect("a folder");
    let (gateway, addr) = start(folder.path(), &emulator.base_url());

    let idle = gateway.kib("VmRSS");
    let client = Client::builder(TokioExecutor::new()).build_http();
    let uploads: Vec<_> = (0..UPLOADS)
        .map(|_| tokio::spawn(upload(client.clone(), addr, FILE_MIB)))
        .collect();
    for upload in uploads {
        upload.await.expect("the upload is answered");
    }
    let peak = gateway.kib("VmHWM");
    println!("idle {idle} KiB, peak {peak} KiB, above idle {} KiB", peak - idle);
    assert_eq!(
        emulator.media().iter().map(|media| media.len).sum::<u64>(),
        (UPLOADS * FILE_MIB * MIB) as u64
    );
    assert!(
        peak - idle <= MOST_ABOVE_IDLE_KIB,
        "peak is {} KiB above idle",
        peak - idle
    );
}

/// A send in a task of its own, over a connection of ten.
fn send(clients: &[Sender], number: usize, addr: SocketAddr) -> tokio::task::JoinHandle<Option<String>> {
    let token = TOKENS[number % 2];
    let body = r#"{"messaging_product":"whatsapp","to":"15550100001","text":{"body":"x"}}"#;
    let request = Request::post(format!("http://{addr}/v23.0/1003/messages"))
        .header("authorization", format!("Bearer {token}"))
        .header("content-type", "application/json")
        .body(http_body_util::Full::new(Bytes::from_static(body.as_bytes())))
        .expect("a request");
    let client = clients[number % clients.len()].clone();
    tokio::spawn(async move {
        let answer = client.request(request).await.ok()?;
        let reason = answer.headers().get("curfew-reason")?;
        Some(reason.to_str().ok()?.to_owned())
    })
}

type Sender = Client<hyper_util::client::legacy::connect::HttpConnector, http_body_util::Full<Bytes>>;

/// Two callers, since one has a share only.
const TOKENS: [&str; 2] = [TOKEN, "EAAG-another-token"];

/// As many open files as the system lets us have: both ends of each exchange but one are here.
fn open_many_files() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).expect("the soft limit can be raised");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_meta_that_never_answers_takes_little_memory_and_soon_no_more() {
    open_many_files();
    let options = Options {
        numbers: Options::from_policies_toml(PASS_THROUGH).expect("policies"),
        tokens: TOKENS.map(str::to_owned).to_vec(),
        ..Options::default()
    };
    let emulator = Emulator::start(options).await.expect("the emulator starts");
    let folder = tempfile::tempdir().expect("a folder");
    let (gateway, addr) = start(folder.path(), &emulator.base_url());

    let clients: Vec<Sender> = (0..40)
        .map(|_| {
            Client::builder(TokioExecutor::new())
                .http2_only(true)
                .build_http()
        })
        .collect();
    // Tokens that Meta has not taken share one place.
    for number in 0..TOKENS.len() {
        assert_eq!(send(&clients, number, addr).await.expect("no panic"), None);
    }
    emulator.fault(Fault::new(Operation::Send, Effect::Hang));
    let idle = gateway.kib("VmRSS");
    let begun = Instant::now();
    let mut waiting: Vec<_> = (0..SENDS).map(|number| send(&clients, number, addr)).collect();
    // Until the first is refused.
    let (mut later, mut refused) = (SENDS, 0);
    while refused == 0 {
        assert!(begun.elapsed() < Duration::from_secs(30), "it is never refused");
        let mut one = send(&clients, later, addr);
        later += 1;
        match timeout(Duration::from_millis(100), &mut one).await {
            Ok(reason) => {
                assert_eq!(reason.expect("no panic").as_deref(), Some("circuit_open"));
                refused += 1;
            }
            Err(_) => waiting.push(one),
        }
    }
    let opened = begun.elapsed();
    let begun = Instant::now();
    for number in 0..100 {
        let mut one = send(&clients, number, addr);
        match timeout(Duration::from_secs(1), &mut one).await {
            Ok(reason) => {
                assert_eq!(reason.expect("no panic").as_deref(), Some("circuit_open"));
                refused += 1;
            }
            // A probe.
            Err(_) => waiting.push(one),
        }
    }
    let took = begun.elapsed();
    let hung = waiting.iter().filter(|waiting| !waiting.is_finished()).count();
    let peak = gateway.kib("VmHWM");
    println!(
        "{hung} hung, refused after {opened:?}, a hundred more in {took:?}; idle {idle} KiB, peak {peak} KiB, above idle {} KiB",
        peak - idle
    );
    assert!(hung > 0 && refused > 80, "{hung} hung, {refused} refused");
    assert!(
        peak - idle <= MOST_OF_A_HANG_KIB,
        "peak is {} KiB above idle",
        peak - idle
    );
    for waiting in waiting {
        waiting.abort();
    }
}
