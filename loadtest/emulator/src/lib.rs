//! Stands in for the WhatsApp Cloud API: numbers and their life, the three storage modes, media that really end, the
//! media host, sends, webhooks, and the side doors of the Graph API that a bypass would use.
//!
//! It behaves as Meta's public documentation says and knows nothing of any policy: tests and the sandbox put a
//! gateway in front of it, and what the gateway should have stopped shows here in the record.
//!
//! ```
//! use curfew_emulator::{Emulator, NumberOptions, Options, Storage};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> std::io::Result<()> {
//! let options = Options {
//!     numbers: vec![
//!         NumberOptions::new(106_540_352_242_922).storage(Storage::NoStorage),
//!         NumberOptions::new(106_540_352_242_933).storage(Storage::InCountry("DE".to_owned())),
//!     ],
//!     ..Options::default()
//! };
//! let emulator = Emulator::start(options).await?;
//! // … point the gateway's `upstream.graph` and `upstream.media` at emulator.base_url(), drive it, then:
//! assert!(emulator.sent().is_empty());
//! assert_eq!(emulator.media_bytes_kept(), 0);
//! emulator.shutdown().await;
//! # Ok(())
//! # }
//! ```
//!
//! # Time
//! [`Options::minute`] compresses what Meta states in minutes, hours or days; [`Emulator::advance`] pushes the clock
//! on. Limits that Meta states in seconds (throughput, pairs) run in real time, pushed on by `advance` as well.
//! Nothing depends on when a sweep runs: a medium whose end has come does not exist.
//!
//! # Over HTTP
//! The same handles as JSON, without a token and without a place in the record:
//!
//! | Call | Does |
//! |---|---|
//! | `GET /_emulator/health` | base URL and emulated time |
//! | `GET /_emulator/received`, `sent`, `media`, `other_content`, `settings_calls`, `webhooks`, `numbers` | [`Emulator::received`] and so on |
//! | `DELETE /_emulator/record` | [`Emulator::clear_record`] |
//! | `GET`, `POST`, `DELETE /_emulator/faults` | lists, adds, clears; `{"on":"send","times":1,"number":1,"effect":{"error":{"status":500,"code":131000}}}`, `{"on":"any","effect":"hang"}` |
//! | `POST /_emulator/receive_media` | `{"phone_number_id":1,"mime_type":"image/png","data_base64":"…"}`; gives `id` |
//! | `POST /_emulator/inbound_text` | `{"phone_number_id":1,"from":"49…","body":"…"}`; gives `id` |
//! | `POST /_emulator/storage` | `{"phone_number_id":1,"storage":{"mode":"in_country","region":"DE"}}` |
//! | `POST /_emulator/state` | `{"phone_number_id":1,"state":"verified"}` |
//! | `POST /_emulator/fail` | `{"wamid":"…","code":131036}` |
//! | `POST /_emulator/callback` | `{"url":"http://127.0.0.1:8081/"}`; `null` sends no webhooks |
//! | `POST /_emulator/advance` | `{"minutes":60}` |
//!
//! # Where Meta's documentation leaves a choice
//! The choice is always the one that makes a gateway's mistake visible: callers get what they could hope for.
//!
//! | Open question | Here |
//! |---|---|
//! | path spelling | percent-escapes decoded, empty, `.`, `..` and `;` parts dropped, edges in any case, any version from v1 on, none, trailing slash |
//! | parameters | query, urlencoded, multipart and JSON alike on every edge but uploads; the body wins over the query, the last of equal names wins, `a[b]=c` makes objects |
//! | `method`, `_method`, `X-HTTP-Method-Override` | all override, on GET too |
//! | `ids`, root `id`, `batch` with references, attachments and tokens of its own | all work, for POST too; batch elements run one after the other |
//! | several tokens | any that is accepted will do |
//! | `ttl_minutes` without No Storage | ignored: the medium lives 30 days |
//! | media of a No Storage number | usable by its siblings, as no page says otherwise; that of a Local Storage number is not |
//! | which numbers are one business | all of an emulator |
//! | `id` beside `link` | the id counts |
//! | read receipt with `type`, `to` or a type object | a send |
//! | unusable media in a send | refused at once with code 100, subcode 33; [`Options::late_media_errors`] moves it to a `failed` status |
//! | storage by `settings` on a registered number | refused, code 100 |
//! | `meta_store_retention_minutes`, `data_localization_region` on `register` | honoured in every version |
//! | `register` without storage on v20− | default storage, whatever `settings` said |
//! | `deregister` | switches both storage modes off |
//! | webhook overrides | taken without a handshake; delivered only to loopback, seen in the record anyway |
//! | webhooks of Local Storage numbers | 7 days, as for default ones |
//! | read receipts and throughput | count |
//! | a compressed body (`Content-Encoding`) | not decoded: it is no JSON |
//!
//! # What it does not do
//! It does not look into media, fetch `link`s, render templates, or check permissions of tokens. Management edges
//! without a meaning for content keep what they are told and give it back. Limits on management calls (80007, 4) come
//! as faults only.

mod admin;
pub mod cli;
mod clock;
mod control;
mod fault;
mod graph;
mod ids;
mod io;
mod limits;
mod multipart;
mod options;
mod params;
mod record;
mod reply;
mod server;
mod webhook;
mod world;

pub use control::{Emulator, NumberStatus};
pub use fault::{Effect, Fault, Operation};
pub use options::{DEFAULT_WABA, Error, NumberOptions, Options, State, Storage, parse_duration};
pub use record::{
    BODY_KEPT, OtherContent, Received, SentMessage, SettingsCall, StoredMedia, Via, WebhookAttempt,
};
