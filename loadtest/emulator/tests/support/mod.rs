//! A small HTTP client, forms, and a webhook receiver for the tests.
#![allow(dead_code, unreachable_pub, reason = "every test takes the part it needs")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "test code"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use bytes::Bytes;
use curfew_emulator::{Emulator, NumberOptions, Options, Storage};
use http::{HeaderMap, Method, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

/// Default storage.
pub const PLAIN: u64 = 111_000_000_000_001;
/// Another with default storage.
pub const OTHER: u64 = 111_000_000_000_002;
/// No Storage.
pub const BARE: u64 = 111_000_000_000_003;
/// Local Storage in Germany.
pub const LOCAL: u64 = 111_000_000_000_004;

pub fn options() -> Options {
    Options {
        numbers: vec![
            NumberOptions::new(PLAIN),
            NumberOptions::new(OTHER),
            NumberOptions::new(BARE).storage(Storage::NoStorage),
            NumberOptions::new(LOCAL).storage(Storage::InCountry("DE".to_owned())),
        ],
        ..Options::default()
    }
}

pub async fn start() -> (Emulator, Client) {
    start_with(options()).await
}

pub async fn start_with(options: Options) -> (Emulator, Client) {
    let emulator = Emulator::start(options).await.unwrap();
    let client = Client::new(&emulator.base_url());
    (emulator, client)
}

/// Fails a test that would wait for ever.
pub async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), future)
        .await
        .unwrap()
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {:?}", self.body))
    }

    pub fn code(&self) -> i64 {
        self.json()["error"]["code"].as_i64().unwrap_or_default()
    }

    pub fn subcode(&self) -> i64 {
        self.json()["error"]["error_subcode"].as_i64().unwrap_or_default()
    }

    pub fn id(&self) -> u64 {
        self.json()["id"]
            .as_str()
            .unwrap_or_else(|| panic!("{:?}", self.body))
            .parse()
            .unwrap()
    }

    pub fn wamid(&self) -> String {
        self.json()["messages"][0]["id"]
            .as_str()
            .unwrap_or_else(|| panic!("{:?}", self.body))
            .to_owned()
    }

    #[track_caller]
    pub fn ok(self) -> Self {
        assert_eq!(self.status, 200, "{:?}", self.body);
        self
    }
}

pub struct Client {
    http: HttpClient<HttpConnector, Full<Bytes>>,
    pub base: String,
}

impl Client {
    pub fn new(base: &str) -> Self {
        Self {
            http: HttpClient::builder(TokioExecutor::new()).build_http(),
            base: base.to_owned(),
        }
    }

    pub fn http2(base: &str) -> Self {
        let http = HttpClient::builder(TokioExecutor::new())
            .http2_only(true)
            .build_http();
        Self {
            http,
            base: base.to_owned(),
        }
    }

    /// One request with these headers and no others.
    pub async fn raw(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Result<Answer, String> {
        let uri = if path.starts_with("http") {
            path.to_owned()
        } else {
            format!("{}{path}", self.base)
        };
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body.into())).unwrap();
        let response = soon(self.http.request(request))
            .await
            .map_err(|error| error.to_string())?;
        let (head, body) = response.into_parts();
        let body = soon(body.collect())
            .await
            .map_err(|error| error.to_string())?
            .to_bytes();
        Ok(Answer {
            status: head.status.as_u16(),
            headers: head.headers,
            body,
        })
    }

    pub async fn try_call(
        &self,
        method: Method,
        path: &str,
        kind: &str,
        body: impl Into<Bytes>,
    ) -> Result<Answer, String> {
        let headers = [("authorization", "Bearer TOKEN"), ("content-type", kind)];
        self.raw(method, path, &headers, body).await
    }

    pub async fn call(&self, method: Method, path: &str, kind: &str, body: impl Into<Bytes>) -> Answer {
        self.try_call(method, path, kind, body).await.unwrap()
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.call(Method::GET, path, "application/json", "").await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.call(Method::DELETE, path, "application/json", "").await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.call(Method::POST, path, "application/json", body.to_string())
            .await
    }

    pub async fn form(&self, path: &str, body: &str) -> Answer {
        self.call(
            Method::POST,
            path,
            "application/x-www-form-urlencoded",
            body.to_owned(),
        )
        .await
    }

    pub async fn multipart(&self, path: &str, parts: &[Part<'_>]) -> Answer {
        self.call(Method::POST, path, FORM, form(parts)).await
    }

    /// Uploads a PNG with a TTL, if one is given.
    pub async fn upload(&self, number: u64, ttl: Option<&str>) -> Answer {
        let mut parts = vec![PRODUCT, file("image/png", b"png bytes")];
        if let Some(ttl) = ttl {
            parts.push(Part {
                name: "ttl_minutes",
                file: None,
                body: ttl.as_bytes(),
            });
        }
        self.multipart(&format!("/v24.0/{number}/media"), &parts).await
    }

    pub async fn text(&self, number: u64, to: &str) -> Answer {
        self.post(&format!("/v24.0/{number}/messages"), &text(to)).await
    }

    pub async fn image(&self, number: u64, id: u64) -> Answer {
        let body = serde_json::json!({
            "messaging_product": "whatsapp", "to": "+4915112345678", "type": "image", "image": {"id": id.to_string()},
        });
        self.post(&format!("/v24.0/{number}/messages"), &body).await
    }
}

pub fn text(to: &str) -> Value {
    serde_json::json!({"messaging_product": "whatsapp", "to": to, "type": "text", "text": {"body": "hello"}})
}

pub const FORM: &str = "multipart/form-data; boundary=----cut here";
const BOUNDARY: &str = "----cut here";

#[derive(Clone, Copy)]
pub struct Part<'a> {
    pub name: &'a str,
    /// File name and type.
    pub file: Option<(&'a str, &'a str)>,
    pub body: &'a [u8],
}

pub const PRODUCT: Part<'static> = Part {
    name: "messaging_product",
    file: None,
    body: b"whatsapp",
};

pub fn file<'a>(mime: &'a str, body: &'a [u8]) -> Part<'a> {
    Part {
        name: "file",
        file: Some(("a.bin", mime)),
        body,
    }
}

pub fn form(parts: &[Part<'_>]) -> Vec<u8> {
    let mut body = Vec::new();
    for part in parts {
        body.extend_from_slice(format!("--{BOUNDARY}\r\n").as_bytes());
        let name = part.name;
        let head = match part.file {
            Some((file, mime)) => format!(
                "Content-Type: {mime}\r\nContent-Disposition: form-data; name=\"{name}\"; filename=\"{file}\"\r\n\r\n"
            ),
            None => format!("Content-Disposition: form-data; name=\"{name}\"\r\n\r\n"),
        };
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(part.body);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{BOUNDARY}--\r\n").as_bytes());
    body
}

/// One webhook as it came.
pub struct Hook {
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Hook {
    pub fn value(&self) -> Value {
        let mut body: Value = serde_json::from_slice(&self.body).unwrap();
        body["entry"][0]["changes"][0]["value"].take()
    }
}

/// Answers webhooks with a status that can be changed, and the handshake for the verify token `right`.
pub struct Receiver {
    pub url: String,
    pub hooks: mpsc::UnboundedReceiver<Hook>,
    pub status: Arc<AtomicU16>,
}

impl Receiver {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let (sender, hooks) = mpsc::unbounded_channel();
        let status = Arc::new(AtomicU16::new(200));
        let answer = Arc::clone(&status);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (sender, answer) = (sender.clone(), Arc::clone(&answer));
                let service = hyper::service::service_fn(move |request: Request<hyper::body::Incoming>| {
                    let (sender, answer) = (sender.clone(), Arc::clone(&answer));
                    async move {
                        let (head, body) = request.into_parts();
                        let body = body.collect().await?.to_bytes();
                        let mut response = Response::new(Full::new(Bytes::new()));
                        *response.status_mut() = answer.load(Ordering::Acquire).try_into().unwrap();
                        if head.method == Method::GET {
                            let query = head.uri.query().unwrap_or_default();
                            let part = |key: &str| query.split('&').find_map(|pair| pair.strip_prefix(key));
                            if part("hub.verify_token=") == Some("right") {
                                *response.body_mut() = part("hub.challenge=").unwrap().to_owned().into();
                            }
                        } else {
                            let _ = sender.send(Hook {
                                headers: head.headers,
                                body,
                            });
                        }
                        Ok::<_, hyper::Error>(response)
                    }
                });
                let connection = hyper::server::conn::http1::Builder::new();
                tokio::spawn(connection.serve_connection(TokioIo::new(stream), service));
            }
        });
        Self { url, hooks, status }
    }

    pub fn answer(&self, status: u16) {
        self.status.store(status, Ordering::Release);
    }

    pub async fn next(&mut self) -> Hook {
        soon(self.hooks.recv()).await.unwrap()
    }
}
