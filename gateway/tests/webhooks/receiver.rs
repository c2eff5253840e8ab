//! The company's own receiver of webhooks, as a test has it answer.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::common::soon;

/// How it answers.
#[derive(Clone, Debug)]
pub enum Answer {
    /// With this status.
    Status(u16),
    /// That it moved there.
    MovedTo(String),
    /// It hangs up.
    HangUp,
}

/// What it got.
#[derive(Debug)]
pub struct Got {
    pub target: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Got {
    /// `value` of its first change.
    pub fn value(&self) -> Value {
        let body: Value = serde_json::from_slice(&self.body).expect("JSON");
        body["entry"][0]["changes"][0]["value"].clone()
    }
}

pub struct Receiver {
    pub url: String,
    got: mpsc::UnboundedReceiver<Got>,
    answer: Arc<Mutex<Answer>>,
}

impl Receiver {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (sender, got) = mpsc::unbounded_channel();
        let answer = Arc::new(Mutex::new(Answer::Status(200)));
        tokio::spawn(serve(listener, sender, Arc::clone(&answer)));
        Self {
            url: format!("http://{address}/hooks/whatsapp?team=care"),
            got,
            answer,
        }
    }

    pub fn answer(&self, answer: Answer) {
        *self.answer.lock().expect("nobody panicked") = answer;
    }

    /// What comes next.
    pub async fn next(&mut self) -> Got {
        soon(self.got.recv()).await.expect("it listens")
    }

    /// Whether nothing came that was not looked at.
    pub fn is_idle(&self) -> bool {
        self.got.is_empty()
    }
}

async fn serve(listener: TcpListener, sender: mpsc::UnboundedSender<Got>, answer: Arc<Mutex<Answer>>) {
    while let Ok((stream, _)) = listener.accept().await {
        let (sender, answer) = (sender.clone(), Arc::clone(&answer));
        let service = service_fn(move |request: Request<Incoming>| {
            let (sender, answer) = (sender.clone(), Arc::clone(&answer));
            async move {
                let (head, body) = request.into_parts();
                let body = body
                    .collect()
                    .await
                    .map_err(|error| error.to_string())?
                    .to_bytes();
                // A test that has ended listens no more.
                let _ = sender.send(Got {
                    target: format!("{} {}", head.method, head.uri),
                    headers: head.headers,
                    body,
                });
                let answer = answer.lock().expect("nobody panicked").clone();
                let builder = match answer {
                    Answer::Status(status) => Response::builder().status(status),
                    Answer::MovedTo(url) => Response::builder().status(307).header("location", url),
                    Answer::HangUp => return Err("told to".to_owned()),
                };
                let told = Full::new(Bytes::from_static(b"not for Meta"));
                Ok(builder.body(told).expect("a response"))
            }
        });
        let connection = hyper::server::conn::http1::Builder::new();
        tokio::spawn(connection.serve_connection(TokioIo::new(stream), service));
    }
}
