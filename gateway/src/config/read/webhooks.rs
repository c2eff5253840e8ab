//! `[webhooks]`: where Meta's webhooks come in, and who gets them.

use std::net::SocketAddr;
use std::path::PathBuf;

use curfew_policies::PolicySet;
use http::Uri;
use secrecy::SecretString;

use super::{Found, Reader, address};
use crate::config::document::{Place, Table};
use crate::config::origin::{Origin, OriginError};
use crate::config::tls::TlsFiles;
use crate::config::{secret, settling_number};
use crate::layers::graph_token::is_secret;
use crate::server::check_target;

/// The longest callback that Meta takes (Cloud API, "Webhook overrides"), and more than any path needs.
const MOST_PATH: usize = 200;

/// How Meta's webhooks are taken, and handed on.
#[derive(Clone, Debug)]
pub struct Webhooks {
    /// Where Meta, or what stands in front of us towards Meta, connects. Never one of the other listeners.
    pub listen: SocketAddr,
    /// The path of the callback URL.
    pub path: String,
    /// TLS of the listener; `None` is clear text.
    pub tls: Option<TlsFiles>,
    /// What the App Dashboard was told, and Meta asks with (Cloud API, "Create a webhook endpoint").
    pub verify_token: SecretString,
    /// Who gets them.
    pub deliver_to: ReceiverUrl,
    /// Private roots to trust towards the receiver instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// What deliveries are signed with instead of Meta's own signature.
    pub delivery_secret: Option<SecretString>,
}

/// Where webhooks are delivered: `https` anywhere, `http` only on loopback, with path and query, without user name and
/// fragment.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ReceiverUrl(Uri);

impl ReceiverUrl {
    /// The URL.
    #[must_use]
    pub const fn uri(&self) -> &Uri {
        &self.0
    }

    /// Whether it is `https`.
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.0.scheme_str() == Some("https")
    }
}

impl std::str::FromStr for ReceiverUrl {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        const WRONG: &str = "must be an https URL without user name and fragment, such as \
                             https://receiver.bank.example/webhook; plain http is only for loopback";
        let uri: Uri = text.parse().map_err(|_| WRONG)?;
        match Origin::of(&uri) {
            Ok(_) if !text.contains('#') => Ok(Self(uri)),
            Err(OriginError::ClearText) => Err("must be https: plain http is only for loopback"),
            _ => Err(WRONG),
        }
    }
}

impl<'t> Reader<'_, 't> {
    /// The table, if it is there. `others` are the addresses that are taken.
    pub(super) fn webhooks(
        &mut self,
        root: &mut Table<'t>,
        found: &Found,
        others: &[SocketAddr],
        policies: Option<&PolicySet>,
    ) -> Option<Webhooks> {
        let Some(entry) = root.take("webhooks") else {
            let lacks = "comes back in Meta's webhooks; add [webhooks]";
            self.settling(policies, &root.place().child("webhooks"), lacks);
            return None;
        };
        let mut table = entry.table(&mut self.report)?;
        let tls = self.tls(&mut table);
        let report = &mut self.report;
        let listen = table.require("listen", "\"127.0.0.1:8081\"", report);
        let listen = listen.and_then(|entry| {
            let listen = entry.parse(report, address)?;
            // Port 0 is another port each time.
            if listen.port() != 0 && others.contains(&listen) {
                report.add(
                    entry.place(),
                    "must differ from listen and admin_listen: whoever reaches it is asked for Meta's signature alone",
                );
            }
            Some(listen)
        });
        let path = table.take("path").and_then(|entry| entry.parse(report, path));
        let deliver_to = table
            .require("deliver_to", "\"https://receiver.bank.example/webhook\"", report)
            .and_then(|entry| entry.parse(report, str::parse::<ReceiverUrl>));
        let ca_file = self.roots(&mut table);
        let report = &mut self.report;
        let verify_token = table.require("verify_token", "{ env = \"CURFEW_VERIFY_TOKEN\" }", report);
        let delivery_secret = table.take("delivery_secret");
        let (directory, environment) = (self.directory, self.environment);
        let verify_token = verify_token.and_then(|entry| secret::read(entry, directory, environment, report));
        let secret_place = delivery_secret.as_ref().map(|entry| entry.place().clone());
        let delivery_secret =
            delivery_secret.and_then(|entry| secret::read(entry, directory, environment, report));
        let app_secret = found.upstream.app_secret.as_ref();
        if found.app_secret.is_none() {
            report.add(
                &found.table.child("app_secret"),
                "is missing: Meta signs its webhooks with it, and none is taken without that signature; write \
                 app_secret = { file = \"secrets/app-secret\" }",
            );
        }
        if let (Some(place), Some(delivery), Some(app)) = (&secret_place, &delivery_secret, app_secret)
            && is_secret(app, delivery)
        {
            report.add(
                place,
                "must not be the app secret: receivers could then sign in Meta's name",
            );
        }
        if secret_place.is_none() {
            let lacks = "is taken out of webhooks, whose signature is no longer Meta's then; write \
                         delivery_secret = { file = \"secrets/delivery-secret\" }";
            self.settling(policies, &table.place().child("delivery_secret"), lacks);
        }
        table.finish(&mut self.report);
        Some(Webhooks {
            listen: listen?,
            path: path.unwrap_or_else(|| "/".to_owned()),
            tls,
            verify_token: verify_token?.into(),
            deliver_to: deliver_to?,
            ca_file,
            delivery_secret: delivery_secret.map(SecretString::from),
        })
    }

    /// Reports that `place` is missing where a policy lets webhooks settle sends.
    fn settling(&mut self, policies: Option<&PolicySet>, place: &Place, lacks: &str) {
        if let Some(number) = policies.and_then(settling_number) {
            let message =
                format!("is missing: the number {number} has settle_unknown = true, whose marker {lacks}");
            self.report.add(place, message);
        }
    }
}

/// A path that the front door lets through, and nothing behind it.
fn path(text: &str) -> Result<String, &'static str> {
    let is_path = text.starts_with('/')
        && text.len() <= MOST_PATH
        && !text.contains(['?', '#', '%'])
        && check_target(text).is_ok();
    if is_path {
        Ok(text.to_owned())
    } else {
        Err(
            "must be the path of a URL, such as /webhooks: at most 200 letters, digits and signs, no query, no escape",
        )
    }
}
