//! The running gateway: what a configuration becomes.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use curfew_policies::{Minute, PolicySet};
use http::uri::{Authority, Scheme};
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, timeout};
use tokio_util::task::TaskTracker;

use crate::admin::{Admin, Readiness};
use crate::budget::JsonBudget;
use crate::clock::Clock;
use crate::config::{self, Config, PemError, StoreConfig, TlsError};
use crate::graph::media_host::MediaHosts;
use crate::guard::Guard;
use crate::layers::authenticate::Authenticated;
use crate::layers::books::Books;
use crate::layers::download::adopt;
use crate::layers::gather::Sources;
use crate::layers::graph_token::{GraphTokenLayer, marker_key, recipient_key, url_signer};
use crate::layers::once::Once;
use crate::layers::pace::Pacer;
use crate::layers::reuse::Reuse;
use crate::server::{Drained, FrontDoorLimits, ServerOptions, serve};
use crate::stack::{Parts, stack};
use crate::stores::limits::{Event, RecipientKey, SendLimits, WaitingRoom};
use crate::stores::media_cache::{EndReason, Ended, MediaCache, PurgeOrder, Scope};
use crate::stores::{
    CryptoUnavailable, DenialBudget, KnownUploads, Outcomes, SeenEvents, SettingsReadings, StoreError,
    Stores, TemplateClasses, UrlGrants, UrlSigner,
};
use crate::upstream::Upstream;
use crate::webhooks::{InboundBooks, WebhookListener};

/// How long requests under way may go on once the gateway is told to stop.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(30);

/// Why a gateway did not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// An address could not be listened on.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The store could not be opened.
    #[error("the store cannot be opened")]
    Store(#[from] StoreError),
    /// The listener's TLS files cannot be used.
    #[error("TLS cannot be set up: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Tls(Vec<TlsError>),
    /// The private roots of the upstream, or of the receiver of webhooks, cannot be used.
    #[error("ca_file cannot be used")]
    Roots(#[from] PemError),
    /// No TLS client can be built: the system has no roots that it could trust.
    #[error(
        "TLS towards Meta or the receiver of webhooks cannot be set up: {0}; install the system's CA certificates or name ca_file"
    )]
    ClientTls(String),
    /// The upstream's origin does not make a URL.
    #[error("upstream.graph does not make a URL")]
    Origin(#[from] http::Error),
    /// No randomness, or no key.
    #[error("no signing key can be made")]
    Crypto(#[from] CryptoUnavailable),
    /// Webhooks are to be taken, and what Meta signs them with is not known.
    #[error("[webhooks] needs upstream.app_secret, which Meta signs with")]
    NoAppSecret,
    /// A part of the contract that this version does not keep: not starting is better than promising it.
    #[error("{0}")]
    NotYet(&'static str),
}

/// A gateway that listens, and will serve once it is asked to.
pub struct Gateway {
    listener: TcpListener,
    admin_listener: TcpListener,
    options: ServerOptions,
    parts: Parts,
    stores: Stores,
    grants: UrlGrants,
    media_cache: MediaCache,
    minute: Minute,
    readiness: Readiness,
    has_token: bool,
    settles: bool,
    webhooks: Option<WebhookListener>,
}

/// The policies in force.
pub struct InForce {
    policies: Arc<ArcSwap<PolicySet>>,
    media_cache: MediaCache,
    send_limits: SendLimits,
    has_token: bool,
    settles: bool,
}

/// Why policies cannot be put in force in a gateway that was started for others.
#[derive(Clone, Copy, Debug, Error)]
pub enum NotReplaced {
    /// They name callers, and it has no token of its own.
    #[error(
        "they name callers, which takes upstream.token, and the gateway was started without one: restart it"
    )]
    NoToken,
    /// They let webhooks settle sends, and it takes none, or cannot sign what it hands on.
    #[error(
        "they have settle_unknown, which takes [webhooks] with a delivery_secret, and the gateway was started without: \
         restart it"
    )]
    NoWebhooks,
}

impl InForce {
    /// Puts `new` in force for requests that come from now on, and ends at once what is kept and would not be under `new`. A
    /// request that came before is judged by what was in force then.
    ///
    /// # Errors
    ///
    /// [`NotReplaced`]; then nothing changes.
    pub fn replace(&self, new: PolicySet) -> Result<(), NotReplaced> {
        if !new.callers.is_empty() && !self.has_token {
            return Err(NotReplaced::NoToken);
        }
        if !self.settles && config::settling_number(&new).is_some() {
            return Err(NotReplaced::NoWebhooks);
        }
        self.send_limits.apply(&new);
        adopt(&self.policies, &self.media_cache, new);
        Ok(())
    }
}

/// What is remembered, as the stack's parts share it.
struct Kept {
    stores: Stores,
    grants: UrlGrants,
    media_cache: MediaCache,
    send_limits: SendLimits,
}

impl Gateway {
    /// Opens the stores and listens; serves nothing yet.
    ///
    /// `minute` is how long a minute of storage lasts: sixty seconds, but in demonstrations and tests.
    ///
    /// # Errors
    ///
    /// When anything that it needs cannot be had: a gateway that cannot keep its promises does not start.
    pub async fn bind(
        config: &Config,
        policies: PolicySet,
        minute: Minute,
        clock: Clock,
    ) -> Result<Self, StartError> {
        if config.audit.is_some() {
            return Err(StartError::NotYet(
                "[audit] is not kept by this version; remove it, rather than rely on a trail that is not there",
            ));
        }
        let stores = match &config.store {
            StoreConfig::Memory => Stores::in_memory(&clock, minute)?,
            StoreConfig::Sqlite { path } => Stores::open(path, &clock, minute)?,
            StoreConfig::Valkey { url, instances } => Stores::shared(url, *instances, &clock, minute).await?,
        };
        let limits = front_door_limits(config);
        let tls = config
            .tls
            .as_ref()
            .map(|files| files.server_config().map(Arc::new))
            .transpose()
            .map_err(StartError::Tls)?;
        let grants = UrlGrants::new(clock.clone(), minute, UrlGrants::CAPACITY);
        let media_cache = MediaCache::new(config.cache, clock.clone(), tell_end);
        let kept = Kept {
            stores: stores.clone(),
            grants: grants.clone(),
            media_cache: media_cache.clone(),
            send_limits: send_limits(config, &policies, minute, &clock, &stores).await?,
        };
        let parts = parts(config, policies, minute, clock, kept, limits.clone())?;
        let listener = listen(config.listen).await?;
        let admin_listener = listen(config.admin_listen).await?;
        let options = ServerOptions {
            tls,
            limits,
            drain_timeout: DRAIN_TIMEOUT,
        };
        let webhooks = match (&config.webhooks, &config.upstream.app_secret) {
            (None, _) => None,
            (Some(_), None) => return Err(StartError::NoAppSecret),
            (Some(webhooks), Some(app_secret)) => {
                let books = InboundBooks {
                    limits: parts.books.limits.clone(),
                    pins: stores.pins.clone(),
                    policies: Arc::clone(&parts.policies),
                    seen: SeenEvents::new(parts.clock.clone(), minute),
                    markers: marker_key(app_secret)?,
                    outcomes: [parts.once.outcomes.clone(), parts.once.repeats.clone()],
                    clock: parts.clock.clone(),
                    minute,
                };
                Some(WebhookListener::bind(webhooks, app_secret, &options, books).await?)
            }
        };
        Ok(Self {
            listener,
            admin_listener,
            options,
            parts,
            stores,
            grants,
            media_cache,
            minute,
            readiness: Readiness::default(),
            has_token: config.upstream.token.is_some(),
            settles: config
                .webhooks
                .as_ref()
                .is_some_and(|webhooks| webhooks.delivery_secret.is_some()),
            webhooks,
        })
    }

    /// Where callers connect.
    ///
    /// # Errors
    ///
    /// When the system does not say.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Where operators connect.
    ///
    /// # Errors
    ///
    /// When the system does not say.
    pub fn admin_address(&self) -> io::Result<SocketAddr> {
        self.admin_listener.local_addr()
    }

    /// Where Meta connects with its webhooks; `None` if it does not.
    ///
    /// # Errors
    ///
    /// When the system does not say.
    pub fn webhook_address(&self) -> io::Result<Option<SocketAddr>> {
        self.webhooks.as_ref().map(WebhookListener::address).transpose()
    }

    /// The policies in force, to be replaced while it serves.
    #[must_use]
    pub fn policies(&self) -> InForce {
        InForce {
            policies: Arc::clone(&self.parts.policies),
            media_cache: self.media_cache.clone(),
            send_limits: self.parts.books.limits.clone(),
            has_token: self.has_token,
            settles: self.settles,
        }
    }

    /// Serves until `shutdown` completes, then lets requests under way end, and with them what was begun for callers who have
    /// hung up: half a minute at most.
    pub async fn serve(self, shutdown: impl Future<Output = ()>) -> Drained {
        let Self {
            listener,
            admin_listener,
            options,
            parts,
            stores,
            grants,
            media_cache,
            minute,
            readiness,
            has_token: _,
            settles: _,
            webhooks,
        } = self;
        // In a task of its own: no end waits for whatever else this one has to do. It ends with the set.
        let mut reaper = JoinSet::new();
        let reaped = media_cache.clone();
        reaper.spawn(async move { reaped.reap().await });
        let send_limits = parts.books.limits.clone();
        let leaving = send_limits.clone();
        let paced = send_limits.clone();
        reaper.spawn(async move { paced.run().await });
        let (stop_admin, mut admin_stopped) = watch::channel(false);
        let admin_options = ServerOptions {
            tls: None,
            ..options.clone()
        };
        let known_uploads = parts.books.reuse.known.clone();
        let once = Arc::clone(&parts.once);
        let admin = Admin::new(
            readiness.clone(),
            options.limits.clone(),
            media_cache.clone(),
            known_uploads.clone(),
            send_limits,
            parts.guard.clone(),
        );
        let admin = serve(
            admin_listener,
            admin_options,
            move |_| admin.clone(),
            async move {
                // A sender that is gone means the same.
                let _ = admin_stopped.wait_for(|stopped| *stopped).await;
            },
        );
        readiness.set(true);
        let exchanges = parts.books.exchanges.clone();
        let (stop_webhooks, mut webhooks_stopped) = watch::channel(false);
        // Boxed: most gateways have none, and its state is large.
        let webhooks = Box::pin(async {
            if let Some(webhooks) = webhooks {
                let stopped = async {
                    let _ = webhooks_stopped.wait_for(|stopped| *stopped).await;
                };
                webhooks.serve(stopped).await;
            }
        });
        let callers = async {
            let shutdown = async {
                shutdown.await;
                readiness.set(false);
                let _ = stop_webhooks.send(true);
            };
            let drained = serve(
                listener,
                options,
                move |connection| stack(&parts, connection),
                shutdown,
            )
            .await;
            // No caller is left to begin another.
            exchanges.close();
            if timeout(drained.left, exchanges.wait()).await.is_err() {
                let left = exchanges.len();
                tracing::warn!(
                    left,
                    "exchanges with Meta were cut off: what came of them is not booked"
                );
            }
            // The operator's listener goes last: it tells that the gateway drains.
            let _ = stop_admin.send(true);
            drained
        };
        let drained = tokio::select! {
            (drained, ..) = async { tokio::join!(callers, admin, webhooks) } => drained,
            never = sweep(stores.clone(), grants, known_uploads, &once, minute) => match never {},
            never = stores.keep() => match never {},
        };
        leaving.leave().await;
        media_cache.purge(Scope::All, PurgeOrder::Shutdown);
        drained
    }
}

/// Writes a copy's receipt into the log: whose it was, why and when it ended, and how late. Nothing of its content.
fn tell_end(ended: &Ended) {
    let Ended {
        key,
        bytes,
        reason,
        due,
        at,
    } = *ended;
    let late = match reason {
        EndReason::Deadline => at.since(due),
        EndReason::Evicted | EndReason::Failed(_) | EndReason::Purged(_) => Duration::ZERO,
    };
    let failure = match reason {
        EndReason::Failed(failure) => Some(failure.to_string()),
        EndReason::Deadline | EndReason::Evicted | EndReason::Purged(_) => None,
    };
    tracing::info!(
        number = key.number.get(),
        media = key.media.get(),
        reason = reason.slug(),
        failure,
        bytes,
        due = due.rfc3339(),
        at = at.rfc3339(),
        late_ms = u64::try_from(late.as_millis()).unwrap_or(u64::MAX),
        "media copy ended"
    );
}

/// Writes what befell a limit into the log; what somebody must look at, as an error.
fn tell_limits(event: &Event) {
    if event.is_alarm() {
        tracing::error!(?event, "Meta stops sends: somebody must look at it");
    } else {
        tracing::warn!(?event, "the pace of sends changes");
    }
}

/// Forgets what has ended, once a minute. No read depends on it: it frees memory.
async fn sweep(
    stores: Stores,
    grants: UrlGrants,
    known_uploads: KnownUploads,
    once: &Once,
    minute: Minute,
) -> std::convert::Infallible {
    let mut ticks = tokio::time::interval(minute.length());
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        grants.sweep();
        known_uploads.sweep();
        if let Err(error) = stores.pins.sweep().await {
            tracing::warn!(%error, "ended pins could not be forgotten; trying again");
        }
        for outcomes in [&once.outcomes, &once.repeats] {
            if let Err(error) = outcomes.sweep().await {
                tracing::warn!(%error, "ended outcomes could not be forgotten; trying again");
            }
        }
    }
}

pub(crate) async fn listen(address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address)
        .await
        .map_err(|source| StartError::Listen { address, source })
}

fn front_door_limits(config: &Config) -> FrontDoorLimits {
    let limits = &config.limits;
    FrontDoorLimits {
        head_bytes: limits.head_bytes,
        headers: limits.headers,
        upload_bytes: limits.upload_bytes,
        header_timeout: limits.header_timeout,
        body_idle_timeout: limits.body_idle_timeout,
        body_min_bytes_per_s: limits.body_min_bytes_per_s,
        keep_alive_idle: limits.keep_alive_idle,
        connections: FrontDoorLimits::default().connections,
    }
}

/// The limits of sends: all instances' together where they share a store.
async fn send_limits(
    config: &Config,
    policies: &PolicySet,
    minute: Minute,
    clock: &Clock,
    stores: &Stores,
) -> Result<SendLimits, StartError> {
    let (clock, room) = (clock.clone(), WaitingRoom::DEFAULT);
    let Some(sharing) = stores.sharing()? else {
        let key = RecipientKey::random()?;
        return Ok(SendLimits::new(policies, key, clock, minute, room, tell_limits));
    };
    let key = match &config.upstream.token {
        Some(token) => recipient_key(token)?,
        // Callers' own tokens are shared with no other instance.
        None => RecipientKey::derived_from(&sharing.secret().await?)?,
    };
    let of_time = (clock, minute);
    Ok(SendLimits::shared(
        policies,
        key,
        of_time,
        room,
        sharing,
        tell_limits,
    ))
}

fn parts(
    config: &Config,
    policies: PolicySet,
    minute: Minute,
    clock: Clock,
    kept: Kept,
    limits: FrontDoorLimits,
) -> Result<Parts, StartError> {
    let Kept {
        stores,
        grants,
        media_cache,
        send_limits,
    } = kept;
    let share_percent = config.limits.caller_share_percent;
    let guard = Guard::new(clock.clone(), share_percent);
    let templates = TemplateClasses::default();
    let policies = Arc::new(ArcSwap::from_pointee(policies));
    let upstream = &config.upstream;
    // Callers' own tokens are shared with no other instance, so neither is a key.
    let signer = match &upstream.token {
        Some(token) => url_signer(token, minute)?,
        None => UrlSigner::random(minute)?,
    };
    let signer = Arc::new(signer);
    let reuse = Reuse {
        known: KnownUploads::new(clock.clone(), KnownUploads::CAPACITY)?,
        pins: stores.pins.clone(),
        signer: Arc::clone(&signer),
        clock: clock.clone(),
        minute,
    };
    let readings = SettingsReadings::new(clock.clone(), minute);
    let scheme = if upstream.graph.is_https() {
        Scheme::HTTPS
    } else {
        Scheme::HTTP
    };
    let needs_tls = upstream.graph.is_https() || upstream.media.iter().any(config::Origin::is_https);
    let authority = Authority::try_from(upstream.graph.authority()).map_err(http::Error::from)?;
    Ok(Parts {
        policies: Arc::clone(&policies),
        authenticated: Arc::new(Authenticated {
            signer: Arc::clone(&signer),
            public_url: config.public_url.as_ref().map(|url| url.to_string().into()),
            limits,
            clock: clock.clone(),
        }),
        sources: Arc::new(Sources {
            pins: stores.pins.clone(),
            denials: DenialBudget::new(clock.clone(), minute),
            signer: Arc::clone(&signer),
            readings: readings.clone(),
            registrations: stores.registrations.clone(),
            clock: clock.clone(),
            minute,
            json_bytes: config.limits.json_bytes,
            json_budget: JsonBudget::shared(share_percent, config.limits.json_bytes),
            guard: guard.clone(),
            reuse: reuse.clone(),
            templates: templates.clone(),
        }),
        pacer: Arc::new(Pacer {
            limits: send_limits.clone(),
            pins: stores.pins.clone(),
            readings: readings.clone(),
            guard: guard.clone(),
            clock: clock.clone(),
        }),
        books: Arc::new(Books {
            pins: stores.pins,
            readings,
            registrations: stores.registrations,
            grants,
            media_cache,
            policies,
            reuse,
            signer,
            media_hosts: MediaHosts::new(upstream.media.iter().map(ToString::to_string).collect()),
            graph_origin: upstream.graph.to_string(),
            clock: clock.clone(),
            minute,
            exchanges: TaskTracker::new(),
            limits: send_limits,
            guard: guard.clone(),
            templates,
        }),
        token: GraphTokenLayer::new(
            scheme,
            authority,
            upstream.token.clone(),
            upstream.app_secret.clone(),
        ),
        upstream: Upstream::new(client_tls(upstream.ca_file.as_deref(), needs_tls)?),
        once: Arc::new(Once {
            outcomes: stores.outcomes,
            repeats: Outcomes::in_memory(clock.clone(), Once::REPEATS_BYTES)?,
            minute,
            markers: match (&config.webhooks, &upstream.app_secret) {
                (Some(_), Some(app_secret)) => Some(marker_key(app_secret)?),
                _ => None,
            },
            guard: guard.clone(),
            share_percent,
        }),
        guard,
        clock,
    })
}

/// What the gateway trusts on its way out: private roots if it has any, else the system's.
pub(crate) fn client_tls(
    ca_file: Option<&Path>,
    needs_tls: bool,
) -> Result<rustls::ClientConfig, StartError> {
    use rustls_platform_verifier::BuilderVerifierExt as _;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| StartError::ClientTls(error.to_string()))?;
    if let Some(path) = ca_file {
        return Ok(builder
            .with_root_certificates(config::roots(path)?)
            .with_no_client_auth());
    }
    if !needs_tls {
        // Loopback in clear text: nothing is trusted, and nothing has to be.
        return Ok(builder
            .with_root_certificates(rustls::RootCertStore::empty())
            .with_no_client_auth());
    }
    builder
        .with_platform_verifier()
        .map(|builder| builder.with_no_client_auth())
        .map_err(|error| StartError::ClientTls(error.to_string()))
}
