//! TLS for the listener: the server's certificate, and optionally the authority that signs callers' ones.
//!
//! Which names a client certificate carries is made available to the service; what they allow is decided there.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ServerConfig, WebPkiClientVerifier};

/// The PEM files of `tls = { … }` in the configuration.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TlsFiles {
    /// The server's certificate, followed by its chain.
    pub cert_file: PathBuf,
    /// The private key of that certificate: PKCS #8, PKCS #1 or SEC 1.
    pub key_file: PathBuf,
    /// The authorities of client certificates. With it, a client without a certificate of theirs is refused in
    /// the handshake (mutual TLS).
    pub client_ca_file: Option<PathBuf>,
}

/// A TLS file that cannot be used.
#[derive(Debug)]
pub struct TlsError {
    /// The file.
    pub file: PathBuf,
    /// What is wrong with it.
    pub problem: String,
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.file.display(), self.problem)
    }
}

impl std::error::Error for TlsError {}

impl TlsFiles {
    /// Reads the files and builds the server's TLS configuration: TLS 1.2 and 1.3, ALPN `h2` and `http/1.1`,
    /// cryptography by aws-lc-rs whatever the process default is.
    ///
    /// # Errors
    ///
    /// [`TlsError`] with the file that is missing, not PEM, empty, or does not fit the others.
    pub fn server_config(&self) -> Result<Arc<ServerConfig>, TlsError> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let chain = certificates(&self.cert_file)?;
        let key = PrivateKeyDer::from_pem_file(&self.key_file)
            .map_err(|error| problem(&self.key_file, format!("no private key can be read: {error}")))?;
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .map_err(|error| problem(&self.cert_file, error.to_string()))?;
        let builder = match &self.client_ca_file {
            None => builder.with_no_client_auth(),
            Some(file) => {
                let mut roots = RootCertStore::empty();
                for certificate in certificates(file)? {
                    roots
                        .add(certificate)
                        .map_err(|error| problem(file, error.to_string()))?;
                }
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                    .build()
                    .map_err(|error| problem(file, error.to_string()))?;
                builder.with_client_cert_verifier(verifier)
            }
        };
        let mut config = builder.with_single_cert(chain, key).map_err(|error| {
            problem(
                &self.key_file,
                format!("does not fit {}: {error}", self.cert_file.display()),
            )
        })?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
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

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let certificates = CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| problem(file, format!("no certificate can be read: {error}")))?;
    if certificates.is_empty() {
        return Err(problem(file, "holds no certificate in PEM form".to_owned()));
    }
    Ok(certificates)
}

fn problem(file: &Path, problem: String) -> TlsError {
    TlsError {
        file: file.to_owned(),
        problem,
    }
}
