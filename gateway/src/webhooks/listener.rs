//! The listener for webhooks, from its configuration to its end.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;

use super::{InboundBooks, MOST_BYTES, Receiver, Webhooks};
use crate::config;
use crate::gateway::{StartError, client_tls, listen};
use crate::layers::graph_token::signing_key;
use crate::server::{Drained, FrontDoorLimits, ServerOptions, serve};
use crate::telemetry::Telemetry;
use crate::upstream::Upstream;

/// A listener that will serve once it is asked to.
pub(crate) struct WebhookListener {
    listener: TcpListener,
    options: ServerOptions,
    webhooks: Webhooks,
}

impl WebhookListener {
    /// Listens as `config` says, and takes what is signed with `app_secret`. `options` are those of the callers' listener.
    ///
    /// # Errors
    ///
    /// When the address, a certificate or the roots cannot be used.
    pub(crate) async fn bind(
        config: &config::Webhooks,
        app_secret: &secrecy::SecretString,
        options: &ServerOptions,
        books: InboundBooks,
        telemetry: Telemetry,
    ) -> Result<Self, StartError> {
        let tls = config.tls.as_ref().map(config::TlsFiles::server_config);
        let tls = tls.transpose().map_err(StartError::Tls)?;
        let limits = FrontDoorLimits {
            upload_bytes: u64::try_from(MOST_BYTES).unwrap_or(u64::MAX),
            ..options.limits.clone()
        };
        let deliver_to = &config.deliver_to;
        let client = client_tls(config.ca_file.as_deref(), deliver_to.is_https())?;
        let receiver = Receiver::new(
            Upstream::new(client),
            deliver_to.uri().clone(),
            config.delivery_secret.as_ref().map(signing_key),
        );
        let webhooks = Webhooks::new(
            config.path.clone(),
            config.verify_token.clone(),
            app_secret,
            limits.clone(),
            books,
            receiver,
            telemetry,
        );
        Ok(Self {
            listener: listen(config.listen).await?,
            options: ServerOptions {
                tls: tls.map(Arc::new),
                limits,
                drain_timeout: options.drain_timeout,
            },
            webhooks,
        })
    }

    /// Where Meta connects.
    ///
    /// # Errors
    ///
    /// When the system does not say.
    pub(crate) fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `shutdown` completes, then lets what is under way end.
    pub(crate) async fn serve(self, shutdown: impl Future<Output = ()>) -> Drained {
        let webhooks = self.webhooks;
        serve(self.listener, self.options, move |_| webhooks.clone(), shutdown).await
    }
}
