//! Webhooks: what is told, to whom, signed, and again until it is heard or the storage mode's window is over.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::hmac;
use bytes::Bytes;
use http::{Method, Request, Uri};
use http_body_util::Full;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Map, Value, json};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

use crate::control::Shared;
use crate::graph::error::webhook_form;
use crate::graph::send::Recipient;
use crate::ids::hex;
use crate::options::Storage;
use crate::record::WebhookAttempt;
use crate::world::{MINUTE_MS, World};

/// How long delivery is tried (Webhooks overview: 7 days).
const WINDOW_MS: u64 = 7 * 24 * 60 * MINUTE_MS;
/// How long under No Storage (No Storage: 1 hour).
const NO_STORAGE_WINDOW_MS: u64 = 60 * MINUTE_MS;
/// Emulated seconds before each retry: at once, then with falling frequency. Meta names no figures.
const BACKOFF_S: [u64; 7] = [1, 10, 60, 300, 900, 1_800, 3_600];
/// Deliveries at a time.
const PARALLEL: usize = 64;
/// Real time for one attempt.
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) type Sender = mpsc::UnboundedSender<Vec<Event>>;
pub(crate) type Receiver = mpsc::UnboundedReceiver<Vec<Event>>;

/// One webhook on its way.
pub(crate) struct Event {
    url: String,
    /// Whether a caller named the URL: such are only delivered to loopback.
    overridden: bool,
    body: Value,
    expires_ms: u64,
    /// What is told instead when the window is over.
    instead: Option<Value>,
}

/// A sent message as statuses speak of it.
pub(crate) struct Message {
    pub(crate) number: u64,
    pub(crate) wamid: String,
    pub(crate) recipient: Recipient,
    pub(crate) canonical: String,
    pub(crate) opaque: Option<String>,
}

/// `X-Hub-Signature-256` of a body.
pub(crate) fn sign(secret: &str, body: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    format!("sha256={}", hex(hmac::sign(&key, body).as_ref()))
}

/// `appsecret_proof` of a token (Graph API, Secure requests).
pub(crate) fn proof(secret: &str, token: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    hex(hmac::sign(&key, token.as_bytes()).as_ref())
}

/// Tells the statuses of a message, one after the other. `failed` carries `code`.
pub(crate) fn statuses(shared: &Shared, message: &Message, names: &[&str], code: i64) {
    let now = shared.clock.now().to_string();
    let world = shared.world();
    let events = names.iter().filter_map(|name| {
        let mut status = Map::new();
        status.insert("id".to_owned(), json!(message.wamid));
        status.insert("status".to_owned(), json!(name));
        status.insert("timestamp".to_owned(), json!(now));
        match &message.recipient {
            Recipient::Phone(_) => status.insert("recipient_id".to_owned(), json!(message.canonical)),
            Recipient::User(user) => status.insert("recipient_user_id".to_owned(), json!(user)),
            Recipient::Group(group) => {
                status.insert("recipient_type".to_owned(), json!("group"));
                status.insert("recipient_id".to_owned(), json!(group))
            }
        };
        if let Some(opaque) = &message.opaque {
            status.insert("biz_opaque_callback_data".to_owned(), json!(opaque));
        }
        if *name == "failed" {
            let details = if code == 131_036 {
                "Message payload not found"
            } else {
                "Emulated failure"
            };
            status.insert("errors".to_owned(), json!([webhook_form(code, details)]));
        }
        event(shared, &world, message.number, "statuses", json!([status]), false)
    });
    let events: Vec<Event> = events.collect();
    drop(world);
    send(shared, events);
}

/// Tells of a user's message.
pub(crate) fn inbound(shared: &Shared, number: u64, from: &str, name: &str, message: &Value) {
    let world = shared.world();
    let event = event(shared, &world, number, "messages", json!([message]), true).map(|mut event| {
        let contact = json!([{"profile": {"name": name}, "wa_id": from, "user_id": user_id(from)}]);
        if let Some(Value::Object(value)) = event.body.pointer_mut("/entry/0/changes/0/value") {
            value.insert("contacts".to_owned(), contact);
        }
        event
    });
    drop(world);
    send(shared, event.into_iter().collect());
}

/// A user's business-scoped id, always the same for the same number.
pub(crate) fn user_id(from: &str) -> String {
    let digits: String = hex(from.as_bytes())
        .chars()
        .filter(char::is_ascii_digit)
        .collect();
    format!("US.{digits}")
}

fn send(shared: &Shared, events: Vec<Event>) {
    if !events.is_empty() {
        // Nobody listens only while the emulator is being shut down.
        let _ = shared.webhooks.send(events);
    }
}

fn event(
    shared: &Shared,
    world: &World,
    number: u64,
    key: &str,
    rows: Value,
    inbound: bool,
) -> Option<Event> {
    let (url, overridden) = world.callback_of(number)?;
    let found = world.numbers.get(&number)?;
    let no_storage = found.storage == Storage::NoStorage;
    let window = if no_storage {
        NO_STORAGE_WINDOW_MS
    } else {
        WINDOW_MS
    };
    let envelope = |key: &str, rows: Value| {
        json!({"object": "whatsapp_business_account", "entry": [{"id": found.waba.to_string(), "changes": [{
            "field": "messages",
            "value": {
                "messaging_product": "whatsapp",
                "metadata": {"display_phone_number": found.digits(), "phone_number_id": number.to_string()},
                key: rows,
            },
        }]}]})
    };
    let lost = || {
        let title = "Webhook could not be delivered within data retention limit";
        envelope("errors", json!([webhook_form(131_035, title)]))
    };
    Some(Event {
        url,
        overridden,
        body: envelope(key, rows),
        expires_ms: shared.clock.now_ms() + window,
        instead: (inbound && no_storage).then(lost),
    })
}

/// Delivers until the emulator ends.
pub(crate) async fn run(shared: Arc<Shared>, mut queue: Receiver) {
    let client = Client::builder(TokioExecutor::new()).build_http();
    let room = Arc::new(Semaphore::new(PARALLEL));
    let mut deliveries = JoinSet::new();
    loop {
        tokio::select! {
            chain = queue.recv() => match chain {
                Some(chain) => {
                    let delivery = deliver_chain(Arc::clone(&shared), client.clone(), Arc::clone(&room), chain);
                    deliveries.spawn(delivery);
                }
                None => return,
            },
            Some(_) = deliveries.join_next() => {}
        }
    }
}

type HttpClient = Client<HttpConnector, Full<Bytes>>;

async fn deliver_chain(shared: Arc<Shared>, client: HttpClient, room: Arc<Semaphore>, chain: Vec<Event>) {
    for event in chain {
        deliver(&shared, &client, &room, event).await;
    }
}

async fn deliver(shared: &Shared, client: &HttpClient, room: &Semaphore, mut event: Event) {
    loop {
        if attempts(shared, client, room, &event).await {
            return;
        }
        // The content is dropped; that it was is told, for as long as other webhooks are.
        let Some(instead) = event.instead.take() else {
            return;
        };
        event.body = instead;
        event.expires_ms = shared.clock.now_ms() + WINDOW_MS;
    }
}

/// Tries inside the window; whether it was heard.
async fn attempts(shared: &Shared, client: &HttpClient, room: &Semaphore, event: &Event) -> bool {
    let body = Bytes::from(serde_json::to_vec(&event.body).unwrap_or_default());
    let mut attempt = 0_u32;
    let mut waits = BACKOFF_S.iter().chain(std::iter::repeat(&3_600));
    while shared.clock.now_ms() < event.expires_ms {
        attempt += 1;
        let status = {
            let _permit = room.acquire().await;
            post(shared, client, event, body.clone()).await
        };
        shared.attempted(WebhookAttempt {
            url: event.url.clone(),
            body: event.body.clone(),
            attempt,
            status,
            at: shared.clock.now(),
        });
        if status == Some(200) {
            return true;
        }
        let wait_ms = waits.next().unwrap_or(&3_600) * 1_000;
        shared
            .clock
            .reach((shared.clock.now_ms() + wait_ms).min(event.expires_ms))
            .await;
    }
    false
}

async fn post(shared: &Shared, client: &HttpClient, event: &Event, body: Bytes) -> Option<u16> {
    let uri: Uri = event.url.parse().ok()?;
    if uri.scheme_str() != Some("http") || (event.overridden && !is_loopback(&uri)) {
        return None;
    }
    let request = Request::builder()
        .method(Method::POST)
        .uri(uri)
        .header("content-type", "application/json")
        .header("user-agent", "facebookexternalua")
        .header("x-hub-signature-256", sign(&shared.options.app_secret, &body))
        .body(Full::new(body))
        .ok()?;
    match tokio::time::timeout(PATIENCE, client.request(request)).await {
        Ok(Ok(response)) => Some(response.status().as_u16()),
        Ok(Err(_)) | Err(_) => None,
    }
}

fn is_loopback(uri: &Uri) -> bool {
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// The handshake: does the callback give the challenge back for this verify token, with 200?
pub(crate) async fn handshake(url: &str, verify_token: &str, challenge: &str) -> bool {
    let token = crate::params::percent_encode(verify_token);
    let gap = if url.contains('?') { '&' } else { '?' };
    let url = format!("{url}{gap}hub.mode=subscribe&hub.challenge={challenge}&hub.verify_token={token}");
    let Ok(request) = Request::builder().uri(url).body(Full::new(Bytes::new())) else {
        return false;
    };
    let client: HttpClient = Client::builder(TokioExecutor::new()).build_http();
    let Ok(Ok(response)) = tokio::time::timeout(PATIENCE, client.request(request)).await else {
        return false;
    };
    if response.status() != http::StatusCode::OK {
        return false;
    }
    let body = http_body_util::Limited::new(response.into_body(), 4096);
    match http_body_util::BodyExt::collect(body).await {
        Ok(body) => body.to_bytes() == challenge.as_bytes(),
        Err(_) => false,
    }
}
