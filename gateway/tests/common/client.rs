//! A plain HTTP client for tests: says what it sends, shows all that it gets.

use std::net::SocketAddr;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client as Pool;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

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
        assert!(!self.details().is_empty());
        assert!(error["fbtrace_id"].as_str().is_some_and(|id| !id.is_empty()));
    }
}
