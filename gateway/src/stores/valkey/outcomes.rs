//! Outcomes of sends that all instances know: each is one hash, which ends by itself.
//!
//! `curfew:{outcome:ID}`; a marker leads to it by `curfew:{marker:MARKER}`. A send that is under way at an instance which ends
//! without a word is unknown after [`LONGEST_RUN`]: until then it counts as under way, and in neither case is it sent again.

use std::sync::LazyLock;
use std::time::Duration;

use aws_lc_rs::rand;
use redis::Script;

use super::{Valkey, hexadecimal};
use crate::stores::StoreError;
use crate::stores::outcomes::{Fingerprint, Kept, Marker, Opening, OutcomeId, Row, Secret, Settled};

/// For how long a send is taken to be under way if nobody says what became of it.
const LONGEST_RUN: Duration = Duration::from_secs(15 * 60);

const SECRET: &str = "curfew:{secret}:outcomes";

static BEGIN: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("scripts/begin.lua")));
static END: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("scripts/end.lua")));
static SETTLE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("scripts/settle.lua")));

/// One send's time under way.
#[derive(Clone)]
pub(in crate::stores) struct Run {
    store: Valkey,
    key: String,
    fingerprint: Fingerprint,
    life: Duration,
    /// What tells it from others of the same name.
    nonce: [u8; 16],
}

/// How a run ends.
enum End<'a> {
    /// With this answer.
    Answered(&'a [u8]),
    /// Nobody knows.
    Unknown,
    /// Nothing was sent.
    Unsent,
}

impl Valkey {
    /// What sets the names of all who share the store apart.
    pub(in crate::stores) async fn outcomes_secret(&self) -> Result<[u8; Secret::BYTES], StoreError> {
        let new = Secret::draw().map_err(|_| NO_RANDOMNESS)?;
        let secret = self.shared_secret(SECRET, new.to_vec()).await?;
        secret.try_into().map_err(|_| StoreError::Unfit {
            what: "its secret of outcomes has another length",
        })
    }

    /// A run for what is about to be begun.
    pub(in crate::stores) fn new_run(&self, opening: &Opening) -> Result<Run, StoreError> {
        let mut nonce = [0; 16];
        rand::fill(&mut nonce).map_err(|_| NO_RANDOMNESS)?;
        Ok(Run {
            store: self.clone(),
            key: key(opening.id),
            fingerprint: opening.fingerprint,
            life: opening.life,
            nonce,
        })
    }

    /// Says what a webhook said of the send with this marker; whether it was news.
    pub(in crate::stores) async fn settle(
        &self,
        marker: Marker,
        settled: &Settled,
    ) -> Result<bool, StoreError> {
        let key: Option<String> = self.link.ask(redis::cmd("GET").arg(marker_key(marker))).await?;
        let Some(key) = key else { return Ok(false) };
        let mut settle = SETTLE.key(key);
        settle.arg(match settled {
            Settled::Accepted { wamid } => format!("accepted {wamid}"),
            Settled::Failed { code } => format!("failed {code}"),
        });
        self.link.run(&settle).await
    }
}

impl Run {
    /// Writes it down, unless one of the same name is: then says what is known of that one.
    pub(in crate::stores) async fn begin(&self, opening: &Opening) -> Result<Option<Row>, StoreError> {
        // As long as it may be under way, whatever its life.
        let kept = LONGEST_RUN + self.life;
        if let Some(marker) = opening.marker {
            let mut lead = redis::cmd("SET");
            lead.arg(marker_key(marker))
                .arg(&self.key)
                .arg("PX")
                .arg(millis(kept));
            let () = self.store.link.ask(&lead).await?;
        }
        let mut begin = BEGIN.key(&self.key);
        begin
            .arg(&self.fingerprint.0[..])
            .arg(&self.nonce[..])
            .arg(millis(LONGEST_RUN))
            .arg(millis(kept));
        let held: Vec<redis::Value> = self.store.link.run(&begin).await?;
        let [body, runs, sealed, settled] = held.as_slice() else {
            return Ok(None);
        };
        let bytes = |value| redis::from_redis_value_ref::<Vec<u8>>(value).unwrap_or_default();
        let sealed = Some(bytes(sealed)).filter(|sealed| !sealed.is_empty());
        let settled = String::from_utf8(bytes(settled))
            .ok()
            .and_then(|text| read_settled(&text));
        Ok(Some(Row {
            is_same_body: bytes(body) == self.fingerprint.0,
            is_running: matches!(runs, redis::Value::Int(1)),
            has_ended: false,
            kept: Kept::of(sealed.map(Vec::into_boxed_slice), settled),
        }))
    }

    /// Keeps what came of it.
    pub(in crate::stores) async fn finish(&self, sealed: &[u8]) -> Result<(), StoreError> {
        self.end(&End::Answered(sealed)).await
    }

    /// It is no longer under way, and nobody knows what came of it.
    pub(in crate::stores) fn leave(&self) {
        self.end_soon(End::Unknown);
    }

    /// Nothing was sent. A store that does not hear of it holds the send for unknown: that refuses, and sends nothing twice.
    pub(in crate::stores) fn free(&self) {
        self.end_soon(End::Unsent);
    }

    fn end_soon(&self, end: End<'static>) {
        let run = self.clone();
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                if let Err(error) = run.end(&end).await {
                    tracing::warn!(%error, "the shared store was not told of a send's end: it stays unknown");
                }
            });
        }
    }

    async fn end(&self, how: &End<'_>) -> Result<(), StoreError> {
        let (sealed, is_unsent): (&[u8], bool) = match how {
            End::Answered(sealed) => (sealed, false),
            End::Unknown => (&[], false),
            End::Unsent => (&[], true),
        };
        let mut end = END.key(&self.key);
        end.arg(&self.fingerprint.0[..])
            .arg(&self.nonce[..])
            .arg(millis(self.life))
            .arg(sealed)
            .arg(u8::from(is_unsent));
        self.store.link.run(&end).await
    }
}

const NO_RANDOMNESS: StoreError = StoreError::Unfit {
    what: "the system gives no random bytes",
};

fn read_settled(text: &str) -> Option<Settled> {
    let (how, what) = text.split_once(' ')?;
    match how {
        "accepted" => Some(Settled::Accepted { wamid: what.into() }),
        "failed" => what.parse().ok().map(|code| Settled::Failed { code }),
        _ => None,
    }
}

fn key(id: OutcomeId) -> String {
    format!("curfew:{{outcome:{}}}", hexadecimal(&id.0))
}

fn marker_key(marker: Marker) -> String {
    format!("curfew:{{marker:{}}}", hexadecimal(&marker.0))
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).max(1)
}
