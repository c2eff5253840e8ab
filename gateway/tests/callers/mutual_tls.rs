//! Services that are known by the name in their certificate.

use std::sync::Arc;

use curfew::config::TlsFiles;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::*;
use crate::common::exchange;

type Identity = (CertificateDer<'static>, PrivateKeyDer<'static>);

struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn certify(&self, name: &str, usage: ExtendedKeyUsagePurpose) -> (String, String, Identity) {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.extended_key_usages = vec![usage];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        let private = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let identity = (certificate.der().clone(), private);
        (certificate.pem(), key.serialize_pem(), identity)
    }

    fn service(&self, name: &str) -> Identity {
        self.certify(name, ExtendedKeyUsagePurpose::ClientAuth).2
    }
}

struct Site {
    world: World,
    authority: Authority,
    _folder: tempfile::TempDir,
}

impl Site {
    async fn new() -> Self {
        let authority = Authority::new();
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let (certificate, key, _) = authority.certify("localhost", ExtendedKeyUsagePurpose::ServerAuth);
        let tls = TlsFiles {
            cert_file: write("server.pem", &certificate),
            key_file: write("server.key", &key),
            client_ca_file: Some(write("ca.pem", &authority.0.pem())),
        };
        let caller = "[[caller]]\nname = \"mesh\"\ntls_san = \"billing.bank.example\"\nnumbers = [\"1001\"]\nmay = [\"send\"]\n";
        let setup = Setup {
            policies: format!("{}{caller}", policies()),
            tls: Some(tls),
            ..Setup::default()
        };
        Self {
            world: World::start(setup).await,
            authority,
            _folder: folder,
        }
    }

    async fn send_text(
        &self,
        identity: Option<Identity>,
        number: u64,
        headers: &str,
    ) -> std::io::Result<Reply> {
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.0.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let config = match identity {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => builder.with_client_auth_cert(vec![certificate], key).unwrap(),
        };
        let stream = TcpStream::connect(self.world.gateway.addr).await?;
        let name = ServerName::try_from("localhost").unwrap();
        let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
        let body = text().to_string();
        let request = format!(
            "POST /v23.0/{number}/messages HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        Ok(exchange(stream, request.as_bytes()).await)
    }
}

#[tokio::test]
async fn a_service_is_known_by_the_name_in_its_certificate() {
    let site = Site::new().await;
    let billing = || Some(site.authority.service("billing.bank.example"));
    let reply = site.send_text(billing(), NO_STORAGE, "").await.unwrap();
    assert_eq!(reply.status, 200, "{}", reply.text());
    let capitals = site.authority.service("BILLING.bank.example");
    let reply = site.send_text(Some(capitals), NO_STORAGE, "").await.unwrap();
    assert_eq!(reply.status, 200, "{}", reply.text());
    let reply = site.send_text(billing(), DEFAULT, "").await.unwrap();
    reply.assert_refused(403, 131_005, "number_not_allowed");
    for stranger in [
        "payroll.bank.example",
        "x.billing.bank.example",
        "bank.example",
        "*.bank.example",
    ] {
        let identity = site.authority.service(stranger);
        let reply = site.send_text(Some(identity), NO_STORAGE, "").await.unwrap();
        reply.assert_refused(401, 190, "unknown_caller");
    }
    // A key is as good, of whoever the authority knows.
    let payroll = site.authority.service("payroll.bank.example");
    let key = format!("Authorization: Bearer {BILLING}\r\n");
    let reply = site.send_text(Some(payroll), NO_STORAGE, &key).await.unwrap();
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(site.world.emulator.sent().len(), 3);
}

#[tokio::test]
async fn a_name_in_a_header_or_under_another_authority_is_nobodys() {
    let site = Site::new().await;
    let payroll = site.authority.service("payroll.bank.example");
    let claims =
        "X-Forwarded-Client-Cert: DNS=billing.bank.example\r\nX-Client-SAN: billing.bank.example\r\n";
    let reply = site.send_text(Some(payroll), NO_STORAGE, claims).await.unwrap();
    reply.assert_refused(401, 190, "unknown_caller");
    let forged = Authority::new().service("billing.bank.example");
    // Under TLS 1.3 a client learns of its refusal only when it reads: with an alarm, or with nothing at all.
    let forged = tokio::spawn(async move {
        site.send_text(Some(forged), NO_STORAGE, "")
            .await
            .map(|reply| reply.status)
    });
    assert!(
        !matches!(forged.await, Ok(Ok(_))),
        "an answer for a forged certificate"
    );
}
