//! TLS for the listener: what it agrees to speak, and which names a client's certificate carries.
//!
//! What those names allow is decided by the service.

use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::server::ServerConfig;

/// The configuration of a listener that offers HTTP/2 and HTTP/1.1, in this order.
#[must_use]
pub fn speaking_http(mut config: ServerConfig) -> Arc<ServerConfig> {
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Arc::new(config)
}

/// The DNS names of a verified client certificate, in lower case.
pub(super) fn dns_names(certificate: &CertificateDer<'_>) -> Arc<[String]> {
    match webpki::EndEntityCert::try_from(certificate) {
        Ok(certificate) => certificate
            .valid_dns_names()
            .map(str::to_ascii_lowercase)
            .collect(),
        Err(_) => Arc::from([]),
    }
}
