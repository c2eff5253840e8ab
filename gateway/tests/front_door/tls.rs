//! TLS: the same front door, ALPN, and mutual TLS that lets no HTTP byte of a stranger in.

use std::path::PathBuf;
use std::sync::Arc;

use curfew::config::TlsFiles;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::corpus;
use crate::frames::{DATA, END_HEADERS, END_STREAM, HEADERS, PREFACE, Reader, block, frame};
use crate::harness::{Client, GOOD, GOOD_ANSWER, Listening, PATIENCE, Recorder, in_short};

/// An authority, and the files of a server that trusts it.
struct Pki {
    authority: CertifiedIssuer<'static, KeyPair>,
    folder: TempDir,
}

/// A certificate and its key.
type Identity = (CertificateDer<'static>, PrivateKeyDer<'static>);

impl Pki {
    fn new() -> Self {
        let authority = authority("Test Authority");
        let folder = tempfile::tempdir().unwrap();
        let pki = Self { authority, folder };
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &pki.authority).unwrap();
        pki.write("server.pem", &certificate.pem());
        pki.write("server.key", &key.serialize_pem());
        pki.write("ca.pem", &pki.authority.pem());
        pki
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn files(&self, mutual: bool) -> TlsFiles {
        TlsFiles {
            cert_file: self.path("server.pem"),
            key_file: self.path("server.key"),
            client_ca_file: mutual.then(|| self.path("ca.pem")),
        }
    }

    async fn listen(&self, mutual: bool) -> Listening {
        let config = self.files(mutual).server_config().unwrap();
        Listening::start(Recorder::default(), Some(Arc::new(config)), PATIENCE).await
    }

    async fn connect(
        &self,
        server: &Listening,
        alpn: &[&str],
        identity: Option<Identity>,
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match identity {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => builder.with_client_auth_cert(vec![certificate], key).unwrap(),
        };
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        let stream = TcpStream::connect(server.address).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, stream).await
    }
}

fn authority(name: &str) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn identity(
    issuer: &CertifiedIssuer<'static, KeyPair>,
    names: &[&str],
    change: impl Fn(&mut CertificateParams),
) -> Identity {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    change(&mut params);
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, issuer).unwrap();
    (
        certificate.der().clone(),
        PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
    )
}

#[tokio::test]
async fn the_same_requests_are_refused_over_tls() {
    let pki = Pki::new();
    for alpn in [&["http/1.1"][..], &[]] {
        let server = pki.listen(false).await;
        for case in corpus::refused() {
            let mut client = Client::new(pki.connect(&server, alpn, None).await.unwrap());
            client.send(&[GOOD, case.raw].concat()).await;
            let answers = timeout(PATIENCE, client.answers()).await.unwrap();
            let refusal = format!("refused {}", case.slug);
            assert_eq!(
                in_short(&answers),
                [GOOD_ANSWER, (case.status, &refusal)],
                "{}",
                case.name
            );
        }
        assert_eq!(
            server.recorder.targets(),
            vec!["/good"; corpus::refused().count()]
        );
        if alpn.is_empty() {
            break;
        }
    }
}

#[tokio::test]
async fn alpn_chooses_http2() {
    let pki = Pki::new();
    let server = pki.listen(false).await;
    let mut stream = pki.connect(&server, &["h2", "http/1.1"], None).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let fields = [
        (":method", "GET"),
        (":scheme", "https"),
        (":authority", "localhost"),
        (":path", "/1"),
    ];
    let request = frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(&fields));
    stream
        .write_all(&[PREFACE, &frame(4, 0, 0, &[]), &request].concat())
        .await
        .unwrap();
    let mut frames = Reader::new(stream);
    loop {
        let received = frames.next().await.unwrap();
        if received.kind == DATA {
            assert_eq!(received.payload, b"ok GET /1 0");
            break;
        }
    }
}

#[tokio::test]
async fn http1_where_http2_was_agreed_on_is_closed() {
    let pki = Pki::new();
    let server = pki.listen(false).await;
    let mut stream = pki.connect(&server, &["h2"], None).await.unwrap();
    stream.write_all(GOOD).await.unwrap();
    let mut received = Vec::new();
    let _ = timeout(PATIENCE, stream.read_to_end(&mut received))
        .await
        .unwrap();
    assert!(received.is_empty());
    assert!(server.recorder.seen().is_empty());
}

#[tokio::test]
async fn clear_text_on_a_tls_listener_reaches_nobody() {
    let server = Pki::new().listen(false).await;
    let mut client = server.connect().await;
    client.send(GOOD).await;
    let mut received = Vec::new();
    let _ = timeout(PATIENCE, client.stream.read_to_end(&mut received))
        .await
        .unwrap();
    assert!(!received.starts_with(b"HTTP"));
    assert!(server.recorder.seen().is_empty());
}

#[tokio::test]
async fn the_names_of_a_client_certificate_reach_the_service() {
    let pki = Pki::new();
    let server = pki.listen(true).await;
    let caller = identity(
        &pki.authority,
        &["billing.bank.example", "Other.Bank.Example"],
        |_| (),
    );
    let mut client = Client::new(pki.connect(&server, &["http/1.1"], Some(caller)).await.unwrap());
    client.send(GOOD).await;
    assert_eq!(in_short(&[client.answer().await.unwrap()]), [GOOD_ANSWER]);
    assert_eq!(
        server.recorder.sans(),
        ["billing.bank.example", "other.bank.example"]
    );
}

#[tokio::test]
async fn bad_client_certificates_get_no_http_byte() {
    let pki = Pki::new();
    let server = pki.listen(true).await;
    let stranger = authority("Another Authority");
    let names = ["billing.bank.example"];
    for (name, bad) in [
        ("none", None),
        ("of another authority", Some(identity(&stranger, &names, |_| ()))),
        (
            "expired",
            Some(identity(&pki.authority, &names, |params| {
                params.not_after = date_time_ymd(2020, 1, 1)
            })),
        ),
        (
            "not yet valid",
            Some(identity(&pki.authority, &names, |params| {
                params.not_before = date_time_ymd(2200, 1, 1)
            })),
        ),
        (
            "for servers only",
            Some(identity(&pki.authority, &names, |params| {
                params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
            })),
        ),
        ("self-signed", Some(self_signed())),
    ] {
        // With TLS 1.3 the client learns of the refusal only after its own handshake.
        if let Ok(mut stream) = pki.connect(&server, &["http/1.1"], bad).await {
            let _ = stream.write_all(GOOD).await;
            let mut received = Vec::new();
            let read = timeout(PATIENCE, stream.read_to_end(&mut received))
                .await
                .unwrap();
            assert!(read.is_err() && received.is_empty(), "{name}");
        }
    }
    assert!(server.recorder.seen().is_empty());
    assert!(server.recorder.sans().is_empty());
}

fn self_signed() -> Identity {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["billing.bank.example".to_owned()]).unwrap();
    let certificate = params.self_signed(&key).unwrap();
    (
        certificate.der().clone(),
        PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
    )
}
