//! A client in raw bytes, for tests that say when each byte goes.

use std::net::SocketAddr;

use bytes::{Buf as _, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::client::Reply;
use super::form::Form;
use super::{TOKEN, soon};

/// One connection.
pub struct Raw {
    stream: TcpStream,
    received: BytesMut,
}

impl Raw {
    pub async fn connect(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect(addr).await.expect("a connection");
        stream.set_nodelay(true).expect("a socket");
        Self {
            stream,
            received: BytesMut::new(),
        }
    }

    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        assert!(self.try_send(bytes).await, "the gateway closed");
    }

    /// Sends, and says whether the other side took it.
    pub async fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        soon(self.stream.write_all(bytes.as_ref())).await.is_ok()
    }

    /// The next answer, an interim one too. It must have a length, as all answers in these tests do.
    pub async fn answer(&mut self) -> Reply {
        let (status, headers, length) = loop {
            if let Some(head) = self.head() {
                break head;
            }
            self.read().await;
        };
        while self.received.len() < length {
            self.read().await;
        }
        Reply {
            status,
            headers,
            body: self.received.split_to(length).freeze(),
        }
    }

    /// Whether the other side ends the connection in good order, with nothing more to say.
    pub async fn is_closed(&mut self) -> bool {
        self.received.is_empty() && matches!(soon(self.stream.read_buf(&mut self.received)).await, Ok(0))
    }

    async fn read(&mut self) {
        let read = soon(self.stream.read_buf(&mut self.received)).await;
        let count = read.expect("an answer, not a reset");
        assert!(
            count > 0,
            "closed after {:?}",
            String::from_utf8_lossy(&self.received)
        );
    }

    /// Takes a head that has come whole, and the length of its body.
    fn head(&mut self) -> Option<(StatusCode, HeaderMap, usize)> {
        let mut lines = [httparse::EMPTY_HEADER; 64];
        let mut response = httparse::Response::new(&mut lines);
        let end = match response.parse(&self.received).expect("an HTTP answer") {
            httparse::Status::Complete(end) => end,
            httparse::Status::Partial => return None,
        };
        let status = StatusCode::from_u16(response.code?).expect("a status");
        let mut headers = HeaderMap::new();
        for line in response.headers.iter() {
            headers.append(
                line.name.parse::<HeaderName>().expect("a name"),
                HeaderValue::from_bytes(line.value).expect("a value"),
            );
        }
        self.received.advance(end);
        let length = headers.get("content-length").map(|value| {
            value
                .to_str()
                .ok()
                .and_then(|text| text.parse().ok())
                .expect("a length")
        });
        assert!(
            length.is_some() || status.is_informational(),
            "an answer without length"
        );
        Some((status, headers, length.unwrap_or(0)))
    }
}

/// The head of an upload whose body has this length.
pub fn upload_head(target: &str, length: usize, more: &str) -> String {
    format!(
        "POST {target} HTTP/1.1\r\nHost: gateway\r\nAuthorization: Bearer {TOKEN}\r\nContent-Type: {}\r\n\
         Content-Length: {length}\r\n{more}\r\n",
        Form::new().content_type()
    )
}

/// A chunk of a chunked body.
pub fn chunk(bytes: &[u8]) -> Bytes {
    let mut chunk = format!("{:x}\r\n", bytes.len()).into_bytes();
    chunk.extend_from_slice(bytes);
    chunk.extend_from_slice(b"\r\n");
    chunk.into()
}
