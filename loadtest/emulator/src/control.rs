//! Starting, steering and asking an emulator in process.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use serde::Serialize;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::clock::Clock;
use crate::fault::{Fault, Faults};
use crate::graph::send::Recipient;
use crate::graph::{media, messages};
use crate::ids::Ids;
use crate::options::{Options, State, Storage};
use crate::record::{
    OtherContent, Received, Record, Ring, SentMessage, SettingsCall, StoredMedia, WebhookAttempt,
};
use crate::webhook;
use crate::world::{Content, MINUTE_MS, World};

/// How long free-form messages may go to a user who wrote (Send messages, Customer service windows).
const WINDOW_MS: u64 = 24 * 60 * MINUTE_MS;
/// The user who sends media on demand.
const USER: &str = "16505551234";

/// What every request and task of one emulator shares.
pub(crate) struct Shared {
    pub(crate) options: Options,
    pub(crate) base_url: String,
    address: SocketAddr,
    pub(crate) clock: Clock,
    pub(crate) ids: Ids,
    pub(crate) faults: Faults,
    pub(crate) record: Arc<Record>,
    pub(crate) webhooks: webhook::Sender,
    world: Mutex<World>,
    attempts: Mutex<Ring<WebhookAttempt>>,
}

impl Shared {
    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn attempted(&self, attempt: WebhookAttempt) {
        self.attempts().push(attempt);
        self.record.changed.notify_waiters();
    }

    fn attempts(&self) -> MutexGuard<'_, Ring<WebhookAttempt>> {
        self.attempts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How a number stands now.
#[derive(Clone, Debug, Serialize)]
pub struct NumberStatus {
    /// Its node id.
    pub phone_number_id: u64,
    /// Its account.
    pub waba_id: u64,
    /// How far it is.
    pub state: State,
    /// Its storage.
    pub storage: Storage,
    /// The code that was "sent" and not used yet.
    pub verification_code: Option<String>,
    /// Where its webhooks go now, overrides counted.
    pub callback: Option<String>,
}

/// A running emulator. Dropping it stops it; [`Emulator::shutdown`] waits until it has.
pub struct Emulator {
    shared: Arc<Shared>,
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Emulator {
    /// Binds and serves in tasks of the current tokio runtime.
    ///
    /// # Errors
    /// The address cannot be bound, or a webhook address is not plain HTTP.
    pub async fn start(options: Options) -> io::Result<Self> {
        if let Some(url) = options
            .webhook_url
            .as_ref()
            .filter(|url| !url.starts_with("http://"))
        {
            let error = crate::options::Error::Webhook(url.clone());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, error));
        }
        let listener = TcpListener::bind(options.listen).await?;
        let address = listener.local_addr()?;
        let base_url = options.public_url.as_deref().map_or_else(
            || {
                let ip = if address.ip().is_unspecified() {
                    IpAddr::V4(Ipv4Addr::LOCALHOST)
                } else {
                    address.ip()
                };
                format!("http://{}", SocketAddr::new(ip, address.port()))
            },
            |url| url.trim_end_matches('/').to_owned(),
        );
        let (webhooks, queue) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared {
            base_url,
            address,
            clock: Clock::new(options.start, options.minute),
            ids: Ids::new(options.seed),
            faults: Faults::default(),
            record: Arc::new(Record::new(options.record)),
            webhooks,
            world: Mutex::new(World::new(&options)),
            attempts: Mutex::new(Ring::new(options.record)),
            options,
        });
        let (stop, stopped) = watch::channel(false);
        let tasks = vec![
            tokio::spawn(crate::server::run(listener, Arc::clone(&shared), stopped)),
            tokio::spawn(webhook::run(Arc::clone(&shared), queue)),
        ];
        Ok(Self { shared, stop, tasks })
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.shared.address
    }

    /// The same emulator for a request to `/_emulator/…`; dropping it stops nothing.
    pub(crate) fn handle(shared: &Arc<Shared>) -> Self {
        Self {
            shared: Arc::clone(shared),
            stop: watch::channel(false).0,
            tasks: Vec::new(),
        }
    }

    /// `http://` and the address, or [`Options::public_url`]; no slash at the end.
    #[must_use]
    pub fn base_url(&self) -> String {
        self.shared.base_url.clone()
    }

    /// Every request that reached it, oldest first, those under `/_emulator/` left out.
    #[must_use]
    pub fn received(&self) -> Vec<Received> {
        self.shared.record.received()
    }

    /// Every send that was accepted, oldest first.
    #[must_use]
    pub fn sent(&self) -> Vec<SentMessage> {
        self.shared.world().sent.to_vec()
    }

    /// The media that exist now, by id.
    #[must_use]
    pub fn media(&self) -> Vec<StoredMedia> {
        let now_ms = self.shared.clock.now_ms();
        let mut world = self.shared.world();
        let mut media: Vec<_> = world
            .live_media(now_ms)
            .values()
            .map(|medium| medium.info.clone())
            .collect();
        media.sort_by_key(|medium| medium.id);
        media
    }

    /// The bytes of a medium that exists now; none where bytes are not kept.
    #[must_use]
    pub fn media_bytes(&self, id: u64) -> Option<Bytes> {
        let now_ms = self.shared.clock.now_ms();
        self.shared
            .world()
            .live_media(now_ms)
            .get(&id)
            .and_then(|medium| medium.bytes.clone())
    }

    /// How many bytes of media were ever stored, those since ended or deleted too. Uploads that were cut off, refused
    /// or never closed add nothing.
    #[must_use]
    pub fn media_bytes_kept(&self) -> u64 {
        self.shared.world().stored_bytes
    }

    /// Content that came by resumable uploads, Flow assets and group pictures, oldest first.
    #[must_use]
    pub fn other_content(&self) -> Vec<OtherContent> {
        self.shared.world().other.to_vec()
    }

    /// Every reading and change of numbers' settings, refused ones too, oldest first.
    #[must_use]
    pub fn settings_calls(&self) -> Vec<SettingsCall> {
        self.shared.world().settings_calls.to_vec()
    }

    /// Every attempt to deliver a webhook, oldest first.
    #[must_use]
    pub fn webhooks(&self) -> Vec<WebhookAttempt> {
        self.shared.attempts().to_vec()
    }

    /// How the numbers stand, by id.
    #[must_use]
    pub fn numbers(&self) -> Vec<NumberStatus> {
        let world = self.shared.world();
        world
            .numbers
            .values()
            .map(|number| NumberStatus {
                phone_number_id: number.id,
                waba_id: number.waba,
                state: number.state,
                storage: number.storage.clone(),
                verification_code: number.code.clone(),
                callback: world.callback_of(number.id).map(|(url, _)| url),
            })
            .collect()
    }

    /// How one number stands.
    #[must_use]
    pub fn number(&self, phone_number_id: u64) -> Option<NumberStatus> {
        self.numbers()
            .into_iter()
            .find(|number| number.phone_number_id == phone_number_id)
    }

    /// Forgets all records; media and settings stay.
    pub fn clear_record(&self) {
        self.shared.record.clear();
        self.shared.attempts().clear();
        let mut world = self.shared.world();
        world.sent.clear();
        world.settings_calls.clear();
        world.other.clear();
    }

    /// A user sends a medium to a number: gives its id, and tells it by webhook if there is a callback. It ends after
    /// 7 days, under No Storage after 60 minutes. An unknown number counts as one with default storage.
    #[must_use]
    pub fn receive_media(&self, phone_number_id: u64, mime: &str, bytes: Bytes) -> u64 {
        let info = media::inbound(&self.shared, phone_number_id, mime, Content::of(bytes, true));
        let kind = match media::kind(mime) {
            Some(media::Kind::Audio) => "audio",
            Some(media::Kind::Image) => "image",
            Some(media::Kind::Sticker) => "sticker",
            Some(media::Kind::Video) => "video",
            Some(media::Kind::Document) | None => "document",
        };
        let url = media::url(&self.shared, None, info.id);
        let object = json!({"id": info.id.to_string(), "mime_type": info.mime, "sha256": base64_of(&info.sha256), "url": url});
        self.inbound(phone_number_id, USER, kind, &object);
        info.id
    }

    /// A user writes to a number: gives the wamid, and tells it by webhook if there is a callback.
    #[must_use]
    pub fn inbound_text(&self, phone_number_id: u64, from: &str, body: &str) -> String {
        self.inbound(phone_number_id, from, "text", &json!({"body": body}))
    }

    fn inbound(&self, number: u64, from: &str, kind: &str, object: &serde_json::Value) -> String {
        let from: String = from.chars().filter(char::is_ascii_digit).collect();
        let wamid = self.shared.ids.wamid(&from);
        {
            let until_ms = self.shared.clock.now_ms() + WINDOW_MS;
            let mut world = self.shared.world();
            world.windows.insert((number, from.clone()), until_ms);
            // Inbound counts for throughput, but users are not held back by it.
            let _ = messages::throughput(&self.shared, &mut world, number);
        }
        let message = json!({
            "from": from,
            "from_user_id": webhook::user_id(&from),
            "id": wamid,
            "timestamp": self.shared.clock.now().to_string(),
            "type": kind,
            kind: object,
        });
        webhook::inbound(&self.shared, number, &from, "Emulated User", &message);
        wamid
    }

    /// Tells by webhook that a recorded message failed with this code; 131036 is the lost payload of No Storage.
    /// Whether the message is recorded.
    pub fn fail_message(&self, wamid: &str, code: i64) -> bool {
        let sent = self
            .shared
            .world()
            .sent
            .to_vec()
            .into_iter()
            .find(|sent| sent.wamid == wamid);
        let Some(sent) = sent else { return false };
        let message = webhook::Message {
            number: sent.phone_number_id,
            wamid: sent.wamid,
            recipient: Recipient::Phone(sent.recipient.clone()),
            canonical: sent.recipient,
            opaque: sent
                .body
                .get("biz_opaque_callback_data")
                .and_then(|data| data.as_str())
                .map(str::to_owned),
        };
        webhook::statuses(&self.shared, &message, &["failed"], code);
        true
    }

    /// Whether a callback gives the challenge back for this verify token (Webhooks, Verification requests).
    pub async fn verify_callback(&self, url: &str, verify_token: &str) -> bool {
        webhook::handshake(url, verify_token, &self.shared.ids.opaque(20)).await
    }

    /// Sets the app's callback, as the App Dashboard does; none sends no webhooks. It is not asked for a handshake.
    pub fn set_callback(&self, url: Option<String>) {
        self.shared.world().callback = url;
    }

    /// Changes a number's storage as an administrator in Meta's own pages could, unseen by a gateway.
    pub fn set_storage(&self, phone_number_id: u64, storage: Storage) {
        if let Some(number) = self.shared.world().numbers.get_mut(&phone_number_id) {
            number.storage = storage;
        }
    }

    /// Changes a number's state, unseen by a gateway.
    pub fn set_state(&self, phone_number_id: u64, state: State) {
        if let Some(number) = self.shared.world().numbers.get_mut(&phone_number_id) {
            number.state = state;
        }
    }

    /// Adds a fault. Several may strike one request: all latencies, and the oldest other.
    pub fn fault(&self, fault: Fault) {
        self.shared.faults.add(fault);
    }

    /// The faults that still can strike.
    #[must_use]
    pub fn faults(&self) -> Vec<Fault> {
        self.shared.faults.list()
    }

    /// Takes all faults away. Requests that hang already go on hanging.
    pub fn clear_faults(&self) {
        self.shared.faults.clear();
    }

    /// Moves the clock: media end, windows close, lock-outs are over, webhooks are tried again.
    pub fn advance(&self, minutes: u64) {
        self.shared.clock.advance(minutes);
        let now_ms = self.shared.clock.now_ms();
        self.shared.world().live_media(now_ms);
        self.shared.record.changed.notify_waiters();
    }

    /// Emulated seconds since 1970.
    #[must_use]
    pub fn now(&self) -> u64 {
        self.shared.clock.now()
    }

    /// Waits until something that the emulator records makes the condition true. No time limit: put one around it.
    pub async fn until(&self, condition: impl Fn(&Self) -> bool) {
        loop {
            let changed = self.shared.record.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if condition(self) {
                return;
            }
            changed.await;
        }
    }

    /// Closes all connections and waits for the tasks.
    pub async fn shutdown(mut self) {
        let _ = self.stop.send(true);
        let tasks = std::mem::take(&mut self.tasks);
        for task in tasks {
            task.abort();
            // Aborted, so an error is the expected end.
            let _ = task.await;
        }
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

fn base64_of(hex: &str) -> String {
    use base64::Engine as _;
    let bytes: Vec<u8> = (0..hex.len() / 2)
        .filter_map(|at| {
            hex.get(2 * at..2 * at + 2)
                .and_then(|pair| u8::from_str_radix(pair, 16).ok())
        })
        .collect();
    base64::engine::general_purpose::STANDARD.encode(bytes)
}
