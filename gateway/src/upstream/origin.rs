//! Where exchanges go: one scheme, host and port, and how a connection to it is opened.

use std::io;
use std::time::Duration;

use http::header::HOST;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderValue, Request, Uri};
use rustls::pki_types::ServerName;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsConnector;

use super::line::{Line, Socket};
use crate::body::BoxError;
use crate::wiped_io::WipedIo;

/// How long looking up a host and opening a TCP connection to it may take, all its addresses together.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a TLS handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// An origin (RFC 6454), ready to be connected to.
#[derive(Debug)]
pub(super) struct Origin {
    scheme: Scheme,
    authority: Authority,
    /// Without the brackets of an IPv6 address.
    host: String,
    port: u16,
    /// Of `https` only.
    server_name: Option<ServerName<'static>>,
    host_header: HeaderValue,
}

impl Origin {
    /// The origin that a URI names.
    ///
    /// # Errors
    ///
    /// When it names none that can be connected to.
    pub(super) fn of(uri: &Uri) -> Result<Self, BoxError> {
        let (Some(scheme), Some(authority)) = (uri.scheme(), uri.authority()) else {
            return Err("the URI names no origin".into());
        };
        let host = authority.host();
        let host = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'))
            .unwrap_or(host)
            .to_owned();
        let is_tls = *scheme == Scheme::HTTPS;
        if !is_tls && *scheme != Scheme::HTTP {
            return Err("the URI's scheme is not HTTP's".into());
        }
        let usual = if is_tls { 443 } else { 80 };
        let port = authority.port_u16().unwrap_or(usual);
        // RFC 9110, section 7.2: as in the target URI; its usual port is left out, as clients do.
        let host_header = if port == usual {
            HeaderValue::from_str(authority.host())?
        } else {
            HeaderValue::from_str(&format!("{}:{port}", authority.host()))?
        };
        let server_name = is_tls.then(|| ServerName::try_from(host.clone())).transpose()?;
        Ok(Self {
            scheme: scheme.clone(),
            authority: authority.clone(),
            host,
            port,
            server_name,
            host_header,
        })
    }

    /// Whether a URI is of this origin.
    pub(super) fn has(&self, uri: &Uri) -> bool {
        uri.scheme() == Some(&self.scheme) && uri.authority() == Some(&self.authority)
    }

    /// Makes a request one that can be written on a connection to this origin: target in origin form, and `Host`.
    pub(super) fn address<B>(&self, request: &mut Request<B>) {
        let mut target = http::uri::Parts::default();
        target.path_and_query = request
            .uri_mut()
            .path_and_query()
            .cloned()
            .or_else(|| Some(PathAndQuery::from_static("/")));
        // A path alone is always a URI.
        *request.uri_mut() = Uri::from_parts(target).unwrap_or_default();
        request.headers_mut().insert(HOST, self.host_header.clone());
    }

    /// Opens a connection. A host's addresses are tried one after the other, in the resolver's order, each within its
    /// share of the time that is left: no two at once, since connections are few and long-lived.
    ///
    /// # Errors
    ///
    /// When there is none, with what the last address said.
    pub(super) async fn connect(&self, tls: &TlsConnector) -> io::Result<Line> {
        let stream = self.connect_tcp().await?;
        // Requests are written whole; waiting for more would only delay them.
        stream.set_nodelay(true)?;
        let socket = Socket::new(stream);
        let Some(name) = &self.server_name else {
            return Ok(Line::clear(socket));
        };
        let handshake = tls.connect(name.clone(), WipedIo::new(socket));
        match timeout(HANDSHAKE_TIMEOUT, handshake).await {
            Ok(stream) => Ok(Line::tls(stream?)),
            Err(_) => Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "the TLS handshake took too long",
            )),
        }
    }

    async fn connect_tcp(&self) -> io::Result<TcpStream> {
        let late = || io::Error::new(io::ErrorKind::TimedOut, "connecting took too long");
        let deadline = Instant::now() + CONNECT_TIMEOUT;
        let addresses: Vec<_> = timeout_at(deadline, lookup_host((self.host.as_str(), self.port)))
            .await
            .map_err(|_| late())??
            .collect();
        let mut left = u32::try_from(addresses.len()).unwrap_or(u32::MAX);
        let mut failure = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
        for address in addresses {
            let share = deadline.saturating_duration_since(Instant::now()) / left;
            left = left.saturating_sub(1).max(1);
            failure = match timeout(share, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => error,
                Err(_) => late(),
            };
        }
        Err(failure)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_names_its_origin_in_host_alone() {
        for (uri, host, target) in [
            (
                "https://graph.facebook.com/v23.0/1/messages?a=b",
                "graph.facebook.com",
                "/v23.0/1/messages?a=b",
            ),
            ("https://graph.facebook.com:443/", "graph.facebook.com", "/"),
            ("https://graph.facebook.com:8443", "graph.facebook.com:8443", "/"),
            ("http://127.0.0.1:80/x", "127.0.0.1", "/x"),
            ("http://[::1]:4000/x", "[::1]:4000", "/x"),
        ] {
            let mut request = Request::get(uri).body(()).unwrap();
            let origin = Origin::of(request.uri()).unwrap();
            assert!(origin.has(request.uri()));
            origin.address(&mut request);
            assert_eq!(request.headers()[HOST], host);
            assert_eq!(request.uri().to_string(), target);
        }
        for uri in ["/relative", "ftp://host/"] {
            assert!(Origin::of(&Uri::from_static(uri)).is_err(), "{uri}");
        }
    }
}
