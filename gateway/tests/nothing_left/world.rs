//! The real program between callers and the emulator, with or without TLS on both sides.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use curfew_emulator::{Emulator, Options};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncWrite, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::common::process::Gateway;
use crate::common::{PASS_THROUGH, TOKEN, UNPACED, outside};

/// A number whose media are cached.
pub(crate) const CACHING: u64 = 1004;

/// The numbers of [`PASS_THROUGH`], of which the last keeps no copies, and [`CACHING`].
fn policies() -> String {
    format!(
        "{PASS_THROUGH}[number.media]\ncache_minutes = 0\n\n\
         [[number]]\nphone_number_id = \"{CACHING}\"\nwaba_id = \"5001\"\nstorage = {{ mode = \"default\" }}\n{UNPACED}"
    )
}

/// A byte stream, encrypted or not.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// How the gateway's connections are made.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Wires {
    ClearText,
    /// TLS on both sides.
    Tls,
}

/// Says that memory cannot be read here.
pub(crate) fn cannot_read_memory() {
    outside::missing("CAP_SYS_PTRACE, to read another process's memory: run as root");
}

/// A gateway, the emulator behind it, and what is between them.
pub(crate) struct World {
    pub(crate) emulator: Emulator,
    pub(crate) gateway: Gateway,
    pub(crate) folder: TempDir,
    roots: Option<RootCertStore>,
}

impl World {
    pub(crate) async fn start(wires: Wires) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let pki = Pki::write(folder.path());
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let decrypting = format!(
            "https://localhost:{}",
            listener.local_addr().expect("an address").port()
        );
        let encrypted = match wires {
            Wires::ClearText => None,
            Wires::Tls => Some((decrypting, pki.acceptor())),
        };
        let emulator = Emulator::start(Options {
            numbers: Options::from_policies_toml(&policies()).expect("policies"),
            tokens: vec![TOKEN.to_owned()],
            keep_media: false,
            // Where media are said to be.
            public_url: encrypted.as_ref().map(|(url, _)| url.clone()),
            ..Options::default()
        })
        .await
        .expect("the emulator starts");
        let upstream = match encrypted {
            None => emulator.base_url(),
            Some((url, acceptor)) => {
                tokio::spawn(decrypt(listener, acceptor, emulator.addr()));
                url
            }
        };
        write_config(folder.path(), &upstream, wires);
        let gateway = Gateway::start_with(folder.path(), &[("CURFEW_LOG", "trace")]).await;
        Self {
            emulator,
            gateway,
            folder,
            roots: matches!(wires, Wires::Tls).then_some(pki.roots),
        }
    }

    /// A caller's connection, which speaks this protocol.
    pub(crate) async fn connect(&self, protocol: &str) -> Box<dyn Stream> {
        let stream = TcpStream::connect(self.gateway.addr).await.expect("a connection");
        stream.set_nodelay(true).expect("a socket");
        let Some(roots) = &self.roots else {
            return Box::new(stream);
        };
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots.clone())
            .with_no_client_auth();
        config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
        let name = ServerName::try_from("localhost").expect("a name");
        let connector = TlsConnector::from(Arc::new(config));
        Box::new(connector.connect(name, stream).await.expect("TLS"))
    }
}

fn write_config(folder: &Path, upstream: &str, wires: Wires) {
    let tls = match wires {
        Wires::ClearText => "",
        Wires::Tls => "tls = { cert_file = \"server.pem\", key_file = \"server.key\" }\n",
    };
    let config = format!(
        "listen = \"127.0.0.1:0\"\nadmin_listen = \"127.0.0.1:0\"\npolicies = \"policies.toml\"\n{tls}\
         [upstream]\ngraph = \"{upstream}\"\nmedia = [\"{upstream}\"]\nca_file = \"ca.pem\"\n\
         [limits]\nbody_idle_timeout_s = 5\nkeep_alive_idle_s = 300\n\
         [store]\nkind = \"sqlite\"\npath = \"curfew.db\"\n"
    );
    fs::write(folder.join("curfew.toml"), config).expect("a file");
    fs::write(folder.join("policies.toml"), policies()).expect("a file");
}

/// An authority, and one server's certificate.
struct Pki {
    certificate: PathBuf,
    key: PathBuf,
    roots: RootCertStore,
}

impl Pki {
    fn write(folder: &Path) -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority =
            CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("an authority");
        let key = KeyPair::generate().expect("a key");
        let server = CertificateParams::new(vec!["localhost".to_owned()]).expect("parameters");
        let server = server.signed_by(&key, &authority).expect("a certificate");
        let write = |name: &str, text: String| {
            let path = folder.join(name);
            fs::write(&path, text).expect("a file");
            path
        };
        write("ca.pem", authority.pem());
        let mut roots = RootCertStore::empty();
        roots.add(authority.der().clone()).expect("a root");
        Self {
            certificate: write("server.pem", server.pem()),
            key: write("server.key", key.serialize_pem()),
            roots,
        }
    }

    /// As Meta's, but for HTTP/2.
    fn acceptor(&self) -> TlsAcceptor {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let certificate = CertificateDer::from_pem_file(&self.certificate).expect("a certificate");
        let key = PrivateKeyDer::from_pem_file(&self.key).expect("a key");
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .expect("TLS");
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        TlsAcceptor::from(Arc::new(config))
    }
}

/// Passes the gateway's connections on to the emulator, which speaks no TLS.
async fn decrypt(listener: TcpListener, acceptor: TlsAcceptor, emulator: SocketAddr) {
    while let Ok((socket, _)) = listener.accept().await {
        let acceptor = acceptor.clone();
        tokio::spawn(async move {
            socket.set_nodelay(true)?;
            let mut outer = acceptor.accept(socket).await?;
            let mut inner = TcpStream::connect(emulator).await?;
            inner.set_nodelay(true)?;
            // A reset on one side is an end on the other: the connection is gone, without a word of TLS.
            copy_bidirectional(&mut outer, &mut inner).await
        });
    }
}
