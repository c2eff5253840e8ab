//! A plain HTTP client for tests: says what it sends, shows all that it gets.

use std::net::SocketAddr;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client as Pool;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::form::Form;

/// A client of one gateway.
#[derive(Clone)]
pub struct Client {
    pool: Pool<HttpConnector, Full<Bytes>>,
    addr: SocketAddr,
    bearer: Option<String>,
}

impl Client {
    pub fn new(addr: SocketAddr) -> Self {
        Self {
            pool: Pool::builder(TokioExecutor::new()).build_http(),
            addr,
            bearer: None,
        }
    }

    pub fn bearer(mut self, token: &str) -> Self {
        self.bearer = Some(token.to_owned());
        self
    }

    pub fn anonymous(mut self) -> Self {
        self.bearer = None;
        self
    }

    /// Sends a request with these headers beside `Authorization`. `target` may be a whole URL of the gateway.
    pub async fn send(&self, method: Method, target: &str, headers: &[(&str, &str)], body: Bytes) -> Reply {
        let reply = self.try_send(method, target, headers, body).await;
        reply.expect("a whole answer")
    }

    /// The same, of a gateway that may be gone before it has answered.
    pub async fn try_send(
        &self,
        method: Method,
        target: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> Result<Reply, Box<dyn std::error::Error + Send + Sync>> {
        let uri = if target.starts_with("http") {
            target.to_owned()
        } else {
            format!("http://{}{target}", self.addr)
        };
        let mut request = Request::builder().method(method).uri(uri);
        if let Some(token) = &self.bearer {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body)).expect("a request");
        let response = self.pool.request(request).await?;
        let (parts, body) = response.into_parts();
        let body = body.collect().await?.to_bytes();
        Ok(Reply {
            status: parts.status,
            headers: parts.headers,
            body,
        })
    }

    /// Sends these bytes on a connection of their own, and reads until the gateway closes it.
    pub async fn send_raw(&self, request: &[u8]) -> Reply {
        let stream = TcpStream::connect(self.addr).await.expect("a connection");
        exchange(stream, request).await
    }

    pub async fn get(&self, target: &str) -> Reply {
        self.send(Method::GET, target, &[], Bytes::new()).await
    }

    pub async fn delete(&self, target: &str) -> Reply {
        self.send(Method::DELETE, target, &[], Bytes::new()).await
    }

    pub async fn post(&self, target: &str, body: &Value) -> Reply {
        self.post_text(target, &body.to_string()).await
    }

    /// Posts text as JSON, well-formed or not.
    pub async fn post_text(&self, target: &str, body: &str) -> Reply {
        let json = [(CONTENT_TYPE.as_str(), "application/json")];
        self.send(Method::POST, target, &json, Bytes::from(body.to_owned()))
            .await
    }

    pub async fn post_form(&self, target: &str, form: &Form) -> Reply {
        let content_type = form.content_type();
        self.send(
            Method::POST,
            target,
            &[(CONTENT_TYPE.as_str(), &content_type)],
            form.bytes(),
        )
        .await
    }

    /// Uploads a small PNG for `number` and returns its id.
    pub async fn upload(&self, number: u64) -> u64 {
        let reply = self
            .post_form(&format!("/v23.0/{number}/media"), &Form::image())
            .await;
        assert_eq!(reply.status, StatusCode::OK, "{}", reply.text());
        reply.media_id()
    }

    /// Sends a text from `number`.
    pub async fn send_text(&self, number: u64) -> Reply {
        let body = serde_json::json!({
            "messaging_product": "whatsapp",
            "to": "+15550100001",
            "type": "text",
            "text": { "body": "Hello" },
        });
        self.post(&format!("/v23.0/{number}/messages"), &body).await
    }

    /// Sends an image from `number`.
    pub async fn send_image(&self, number: u64, media: u64) -> Reply {
        let body = serde_json::json!({
            "messaging_product": "whatsapp",
            "to": "+15550100001",
            "type": "image",
            "image": { "id": media.to_string() },
        });
        self.post(&format!("/v23.0/{number}/messages"), &body).await
    }
}

/// An answer, whole.
#[derive(Debug)]
pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Reply {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The gateway's reason, if the gateway refused.
    pub fn reason(&self) -> Option<&str> {
        self.header("curfew-reason")
    }

    /// `error.code`.
    pub fn code(&self) -> Option<i64> {
        self.json()["error"]["code"].as_i64()
    }

    /// `error.error_data.details`.
    pub fn details(&self) -> String {
        self.json()["error"]["error_data"]["details"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    /// Asserts that the details name all of these.
    #[track_caller]
    pub fn assert_names(&self, values: &[&str]) {
        let details = self.details();
        for value in values {
            assert!(details.contains(value), "{value} is not in: {details}");
        }
    }

    /// `error.error_subcode`.
    pub fn subcode(&self) -> Option<i64> {
        self.json()["error"]["error_subcode"].as_i64()
    }

    /// What two answers to the same question have in common: all but dates, usage, the ids of traces and messages, and the
    /// tokens of media URLs.
    pub fn lasting(&self) -> (u16, Vec<(String, String)>, Value) {
        let mut headers: Vec<_> = self
            .headers
            .iter()
            .filter(|(name, _)| {
                let name = name.as_str();
                name != "date" && !name.starts_with("x-fb-") && !name.ends_with("-usage")
            })
            .map(|(name, value)| {
                let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
                (name.to_string(), value)
            })
            .collect();
        headers.sort();
        let mut body = self.json();
        for at in ["/error/fbtrace_id", "/messages/0/id", "/url", "/download_url"] {
            if let Some(value) = body.pointer_mut(at) {
                assert!(value.as_str().is_some_and(|text| !text.is_empty()));
                *value = Value::Null;
            }
        }
        (self.status.as_u16(), headers, body)
    }

    /// The id that an upload answered.
    pub fn media_id(&self) -> u64 {
        self.json()["id"]
            .as_str()
            .and_then(|id| id.parse().ok())
            .unwrap_or_else(|| panic!("{}", self.text()))
    }

    /// Asserts that the gateway refused, how, and in Graph's own shape.
    #[track_caller]
    pub fn assert_refused(&self, status: u16, code: i64, reason: &str) {
        assert_eq!(
            (self.status.as_u16(), self.code(), self.reason()),
            (status, Some(code), Some(reason)),
            "{}",
            self.text()
        );
        let error = &self.json()["error"];
        assert_eq!(error["type"], "CurfewPolicyException");
        assert!(
            error["message"]
                .as_str()
                .is_some_and(|text| text.starts_with(&format!("(#{code})"))),
            "{error}"
        );
        assert!(
            curfew::error::slugs().any(|slug| slug == reason),
            "{reason} is in no list"
        );
        assert!(!self.details().is_empty());
        let retry_after = self
            .header("retry-after")
            .map(|seconds| seconds.parse::<u32>().ok());
        assert_eq!(
            retry_after.is_some(),
            matches!(status, 429 | 503) || reason == "idempotency_running",
            "{retry_after:?}"
        );
        assert_ne!(retry_after, Some(None), "whole seconds");
        assert!(error["fbtrace_id"].as_str().is_some_and(|id| !id.is_empty()));
    }
}

/// Writes a request as it is, and reads its answer until the other side closes.
pub async fn exchange(mut stream: impl AsyncRead + AsyncWrite + Unpin, request: &[u8]) -> Reply {
    // The gateway may refuse, and close, before it has read everything: that is an answer, not a failure.
    let _ = stream.write_all(request).await;
    let mut received = Vec::new();
    let _ = stream.read_to_end(&mut received).await;
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut head = httparse::Response::new(&mut headers);
    let parsed = head.parse(&received);
    let Ok(httparse::Status::Complete(length)) = parsed else {
        panic!("{parsed:?}: {}", String::from_utf8_lossy(&received));
    };
    let headers = head.headers.iter().map(|header| {
        let name: HeaderName = header.name.parse().expect("a name");
        (name, HeaderValue::from_bytes(header.value).expect("a value"))
    });
    Reply {
        status: StatusCode::from_u16(head.code.expect("a status")).expect("a status"),
        headers: headers.collect(),
        body: Bytes::copy_from_slice(&received[length..]),
    }
}
