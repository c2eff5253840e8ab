//! Which names a client's certificate carries. What they allow is decided by the service.

use std::sync::Arc;

use rustls::pki_types::CertificateDer;

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
