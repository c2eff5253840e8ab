//! Certificates, keys and roots, read from the PEM files that `curfew.toml` names.
//!
//! The errors never repeat what a file holds: one of them is a private key.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::sign::{CertifiedKey, SigningKey, SingleCertAndKey};
use rustls::{InconsistentKeys, RootCertStore, ServerConfig};
use thiserror::Error;

use super::file::{self, Unreadable};

/// The most that a PEM file may have, in bytes. A whole system's trust store is a quarter of it.
const MOST: u64 = 1024 * 1024;

/// The files of the listener's TLS.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TlsFiles {
    /// The gateway's certificate and the chain that leads to the root, in this order, as PEM.
    pub cert_file: PathBuf,
    /// The private key of the certificate, as PEM: PKCS#8, PKCS#1 or SEC1, not encrypted.
    pub key_file: PathBuf,
    /// The roots that callers' certificates must lead to, as PEM. With it, every caller must show a certificate.
    pub client_ca_file: Option<PathBuf>,
}

impl TlsFiles {
    /// Reads the files and makes of them what a listener needs: TLS 1.2 and 1.3, and without ALPN, which is the
    /// listener's to set.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with any of the files.
    pub fn server_config(&self) -> Result<ServerConfig, Vec<TlsError>> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut errors = Vec::new();
        let chain = certificates(&self.cert_file).map_err(TlsError::Certificate);
        let key = private_key(&self.key_file, &provider).map_err(TlsError::Key);
        let clients = self.client_ca_file.as_deref().map(roots).transpose();
        let clients = clients.map_err(TlsError::ClientCa);
        let (Some(chain), Some(key), Some(clients)) = (
            keep(chain, &mut errors),
            keep(key, &mut errors),
            keep(clients, &mut errors),
        ) else {
            return Err(errors);
        };
        server_config(chain, key, clients, provider).map_err(|error| vec![error])
    }
}

/// Why the listener's TLS cannot be set up.
#[derive(Debug, Error)]
pub enum TlsError {
    /// `cert_file`.
    #[error("{0}")]
    Certificate(PemError),
    /// `key_file`.
    #[error("{0}")]
    Key(PemError),
    /// `client_ca_file`.
    #[error("{0}")]
    ClientCa(PemError),
    /// The two files do not belong together.
    #[error("is not the key of the first certificate in cert_file")]
    Mismatch,
    /// What is left is that the TLS library cannot work with the two.
    #[error("cannot be used for TLS")]
    Unusable,
}

impl TlsError {
    /// The key of `[tls]` that names the file at fault.
    #[must_use]
    pub const fn key(&self) -> &'static str {
        match self {
            Self::Certificate(_) => "cert_file",
            Self::Key(_) | Self::Mismatch | Self::Unusable => "key_file",
            Self::ClientCa(_) => "client_ca_file",
        }
    }
}

/// Why a PEM file is of no use.
#[derive(Debug, Error)]
pub enum PemError {
    /// It cannot be read.
    #[error("{0}")]
    Unreadable(#[from] Unreadable),
    /// A section that begins does not end, or is not base64.
    #[error("is not whole PEM: a section is cut off or is not base64")]
    NotPem,
    /// There is no `-----BEGIN CERTIFICATE-----` in it.
    #[error("has no PEM certificate in it")]
    NoCertificate,
    /// The certificate so counted, from 1, is not X.509.
    #[error("holds a certificate that cannot be parsed, number {0} from the top")]
    BadCertificate(usize),
    /// The certificate so counted, from 1, cannot be a root.
    #[error("holds a certificate that cannot be a root, number {0} from the top")]
    BadRoot(usize),
    /// There is no `-----BEGIN PRIVATE KEY-----` or the like in it.
    #[error("has no PEM private key in it (an encrypted one cannot be used)")]
    NoKey,
    /// A key of a kind or size that the TLS library does not take.
    #[error("holds a private key that cannot be used: RSA of 2048 bits or more, ECDSA and Ed25519 can")]
    BadKey,
}

/// Reads the trusted roots of a PEM file.
///
/// # Errors
///
/// When the file cannot be read, has no certificate, or has one that cannot be a root.
pub fn roots(path: &Path) -> Result<RootCertStore, PemError> {
    let mut roots = RootCertStore::empty();
    for (index, certificate) in certificates(path)?.into_iter().enumerate() {
        roots.add(certificate).map_err(|_| PemError::BadRoot(index + 1))?;
    }
    Ok(roots)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, PemError> {
    let text = file::bytes(path, MOST)?;
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&text)
        .collect::<Result<_, _>>()
        .map_err(|_| PemError::NotPem)?;
    if chain.is_empty() {
        return Err(PemError::NoCertificate);
    }
    for (index, certificate) in chain.iter().enumerate() {
        ParsedCertificate::try_from(certificate).map_err(|_| PemError::BadCertificate(index + 1))?;
    }
    Ok(chain)
}

fn private_key(path: &Path, provider: &CryptoProvider) -> Result<Arc<dyn SigningKey>, PemError> {
    let text = file::bytes(path, MOST)?;
    let key = PrivateKeyDer::from_pem_slice(&text).map_err(|error| match error {
        pem::Error::NoItemsFound => PemError::NoKey,
        _ => PemError::NotPem,
    })?;
    provider
        .key_provider
        .load_private_key(key)
        .map_err(|_| PemError::BadKey)
}

fn server_config(
    chain: Vec<CertificateDer<'static>>,
    key: Arc<dyn SigningKey>,
    clients: Option<RootCertStore>,
    provider: Arc<CryptoProvider>,
) -> Result<ServerConfig, TlsError> {
    let certified = CertifiedKey::new(chain, key);
    match certified.keys_match() {
        // A key that cannot tell its public half is tried in the handshake.
        Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => {}
        Err(_) => return Err(TlsError::Mismatch),
    }
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|_| TlsError::Unusable)?;
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(roots) => builder.with_client_cert_verifier(
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                .build()
                .map_err(|_| TlsError::ClientCa(PemError::NoCertificate))?,
        ),
    };
    Ok(builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(certified))))
}

fn keep<T>(result: Result<T, TlsError>, errors: &mut Vec<TlsError>) -> Option<T> {
    result.map_err(|error| errors.push(error)).ok()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    struct Files {
        directory: tempfile::TempDir,
        files: TlsFiles,
    }

    impl Files {
        fn new() -> Self {
            let directory = tempfile::tempdir().unwrap();
            let made = rcgen::generate_simple_self_signed(["curfew.bank.example".to_owned()]).unwrap();
            let files = TlsFiles {
                cert_file: directory.path().join("cert.pem"),
                key_file: directory.path().join("key.pem"),
                client_ca_file: Some(directory.path().join("ca.pem")),
            };
            fs::write(&files.cert_file, made.cert.pem()).unwrap();
            fs::write(&files.key_file, made.signing_key.serialize_pem()).unwrap();
            fs::write(directory.path().join("ca.pem"), made.cert.pem()).unwrap();
            Self { directory, files }
        }

        fn write(&self, name: &str, text: &str) {
            fs::write(self.directory.path().join(name), text).unwrap();
        }

        fn read(&self, name: &str) -> String {
            fs::read_to_string(self.directory.path().join(name)).unwrap()
        }

        fn errors(&self) -> Vec<(&'static str, String)> {
            let errors = self.files.server_config().unwrap_err();
            errors
                .iter()
                .map(|error| (error.key(), error.to_string()))
                .collect()
        }
    }

    #[test]
    fn a_certificate_and_its_key_serve() {
        let mut files = Files::new();
        assert!(files.files.server_config().is_ok());
        files.files.client_ca_file = None;
        assert!(files.files.server_config().is_ok());
    }

    #[test]
    fn every_bad_file_is_named() {
        let files = Files::new();
        files.write("cert.pem", "");
        files.write("key.pem", "-----BEGIN PRIVATE KEY-----\nAAAA\n");
        files.write(
            "ca.pem",
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        );
        let keys: Vec<_> = files.errors().into_iter().map(|(key, _)| key).collect();
        assert_eq!(keys, ["cert_file", "key_file", "client_ca_file"]);
    }

    #[test]
    fn a_key_of_another_certificate_is_refused() {
        let (files, other) = (Files::new(), Files::new());
        files.write("key.pem", &other.read("key.pem"));
        let errors = files.errors();
        assert_eq!(errors.len(), 1);
        assert!(matches!(&errors[..], [("key_file", why)] if why.contains("is not the key of")));
    }

    #[test]
    fn a_chain_is_checked_to_its_end() {
        let files = Files::new();
        let chain = format!(
            "{}-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
            files.read("cert.pem")
        );
        files.write("cert.pem", &chain);
        assert!(matches!(&files.errors()[..], [("cert_file", why)] if why.contains("number 2")));
    }

    #[test]
    fn swapped_files_are_refused_without_showing_the_key() {
        let mut files = Files::new();
        std::mem::swap(&mut files.files.cert_file, &mut files.files.key_file);
        let errors = files.errors();
        assert_eq!(errors.len(), 2);
        let key = files.read("key.pem");
        for line in key.lines() {
            assert!(errors.iter().all(|(_, why)| !why.contains(line)), "{errors:?}");
        }
    }

    #[test]
    fn a_key_of_a_kind_that_tls_lacks_is_refused() {
        let files = Files::new();
        files.write(
            "key.pem",
            "-----BEGIN PRIVATE KEY-----\nAAAAAAAA\n-----END PRIVATE KEY-----\n",
        );
        assert!(matches!(&files.errors()[..], [("key_file", why)] if why.contains("cannot be used")));
    }
}
