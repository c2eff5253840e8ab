//! Pins that all instances see at once: each is one key, read whenever it is asked for.
//!
//! `curfew:{media:ID}` holds `NUMBER ENDS ORIGIN`, and is gone when the pin is to be forgotten. What may follow what is
//! decided by the same code as for the other stores; the script only sees to it that nobody came in between.

use std::sync::LazyLock;
use std::time::Duration;

use curfew_policies::{MediaId, Pin, Timestamp};
use redis::Script;

use super::Valkey;
use crate::stores::StoreError;
use crate::stores::pins::{buried, merged, name_of_origin, origin_named};

/// Puts ARGV[2] under the key for ARGV[3] milliseconds, if what is there is ARGV[1]; says what is there if it is not.
static REPLACE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local held = redis.call('GET', KEYS[1]) or ''
         if held ~= ARGV[1] then return held end
         redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
         return false",
    )
});

impl Valkey {
    /// The pin of `media`, as all instances see it now.
    pub(in crate::stores) async fn pin(&self, media: MediaId) -> Result<Option<Pin>, StoreError> {
        let held: Option<String> = self.link.ask(redis::cmd("GET").arg(key(media))).await?;
        held.map(|held| read(media, &held)).transpose()
    }

    /// Pins `media`, over what is known of it already; `kept` is for how long a pin is remembered after its end.
    pub(in crate::stores) async fn record_pin(
        &self,
        media: MediaId,
        pin: Pin,
        now: Timestamp,
        kept: Duration,
    ) -> Result<Pin, StoreError> {
        let recorded = self.change_pin(media, None, now, kept, |held| Some(merged(held, pin, now)));
        Ok(recorded.await?.unwrap_or(pin))
    }

    /// Turns the pin of `media` into a gravestone, if there is one.
    pub(in crate::stores) async fn bury_pin(
        &self,
        media: MediaId,
        now: Timestamp,
        kept: Duration,
    ) -> Result<Option<Pin>, StoreError> {
        let held = self.pin(media).await?;
        self.change_pin(media, held, now, kept, |held| held.map(buried))
            .await
    }

    /// Has `change` follow what is held, however often somebody else comes first; returns what is then in force.
    async fn change_pin(
        &self,
        media: MediaId,
        mut held: Option<Pin>,
        now: Timestamp,
        kept: Duration,
        change: impl Fn(Option<Pin>) -> Option<Pin>,
    ) -> Result<Option<Pin>, StoreError> {
        loop {
            let pin = change(held);
            let Some(new) = pin.filter(|_| pin != held) else {
                return Ok(pin);
            };
            let life = new.ends.after(kept).since(now).max(Duration::from_millis(1));
            let mut replace = REPLACE.key(key(media));
            replace
                .arg(held.map(written).unwrap_or_default())
                .arg(written(new))
                .arg(
                    u64::try_from(life.as_millis())
                        .unwrap_or(u64::MAX)
                        .min(LONGEST_LIFE),
                );
            let found: Option<String> = self.link.run(&replace).await?;
            match found.as_deref() {
                None => return Ok(pin),
                Some("") => held = None,
                Some(found) => held = Some(read(media, found)?),
            }
        }
    }
}

/// The longest life that the server takes, in milliseconds: a hundred years.
const LONGEST_LIFE: u64 = 100 * 365 * 24 * 3_600_000;

fn key(media: MediaId) -> String {
    format!("curfew:{{media:{media}}}")
}

fn written(pin: Pin) -> String {
    format!(
        "{} {} {}",
        pin.number,
        pin.ends.millis(),
        name_of_origin(pin.origin)
    )
}

fn read(media: MediaId, text: &str) -> Result<Pin, StoreError> {
    let parts = || {
        let mut parts = text.split(' ');
        let pin = Pin {
            number: parts.next()?.parse().ok()?,
            ends: Timestamp::from_millis(parts.next()?.parse().ok()?),
            origin: origin_named(parts.next()?)?,
        };
        parts.next().is_none().then_some(pin)
    };
    parts().ok_or_else(|| StoreError::Damaged {
        path: "the shared store".into(),
        what: format!("the pin of media_id {media} does not make sense"),
    })
}
