//! What webhooks teach: who is who, what came in, whose media it is, what Meta complains of.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use curfew_policies::{MediaId, Minute, NumberPolicy, Origin, Pin, PolicySet, Timestamp};
use futures_util::future::try_join_all;

use crate::clock::Clock;
use crate::graph::failure::{Failure, Usage};
use crate::graph::marker::MarkerKey;
use crate::graph::webhook::{self, Change, Fate, Message, Status};
use crate::stores::limits::{CountryCode, Outcome, Recipient, RecipientId, Scope, SendLimits};
use crate::stores::outcomes::Settled;
use crate::stores::{MediaPins, Outcomes, SeenEvents, StoreError};

/// Everything that webhooks change.
pub struct InboundBooks {
    /// The pace of sends, in which what comes in counts as well.
    pub limits: SendLimits,
    /// Whose each medium is.
    pub pins: MediaPins,
    /// The policies in force: only their numbers are acted upon.
    pub policies: Arc<ArcSwap<PolicySet>>,
    /// What was counted already: Meta delivers some webhooks twice.
    pub seen: SeenEvents,
    /// What the gateway's own markers are known by.
    pub markers: MarkerKey,
    /// What came of sends, which a status may be the first to say.
    pub outcomes: [Outcomes; 2],
    /// The time.
    pub clock: Clock,
    /// The length of a minute of storage.
    pub minute: Minute,
}

/// How much a webhook held for our numbers.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Tally {
    pub(super) messages: usize,
    pub(super) statuses: usize,
    pub(super) media: usize,
}

impl InboundBooks {
    /// Takes in what a webhook says. The media in it are pinned when this returns, so that whoever reads the webhook can
    /// use them at once.
    ///
    /// # Errors
    ///
    /// When a pin could not be kept; nothing was counted then.
    pub(super) async fn note(&self, changes: &[Change<'_>]) -> Result<Tally, StoreError> {
        let policies = self.policies.load_full();
        let ours = || {
            let with_policy = |change| Some((policies.numbers.get(&Change::number(change))?, change));
            changes.iter().filter_map(with_policy)
        };
        let media = ours().flat_map(|(policy, change)| self.pins_of(policy, change));
        let pinned = try_join_all(media.map(|(media, pin)| self.pins.record(media, pin))).await?;
        let mut tally = Tally {
            media: pinned.len(),
            ..Tally::default()
        };
        for (_, change) in ours() {
            tally.messages += change.messages.len();
            tally.statuses += change.statuses.len();
            self.learn(change);
            for message in &change.messages {
                self.count(change, message);
            }
            for status in &change.statuses {
                self.obey(change, status);
            }
            for error in &change.errors {
                self.observe(change, None, *error);
            }
        }
        Ok(tally)
    }

    /// The body without the gateway's own markers; `None` where none is in it. What the marked statuses say of sends whose
    /// outcome was not known is known when this returns.
    ///
    /// # Errors
    ///
    /// When an outcome could not be kept.
    pub(super) async fn give_back(
        &self,
        body: &[u8],
        changes: &[Change<'_>],
    ) -> Result<Option<Bytes>, StoreError> {
        let back = webhook::give_back(body, changes, &self.markers);
        let settled = back.marked.iter().filter_map(|(marker, status)| {
            let settled = match status.fate()? {
                Fate::Accepted => Settled::Accepted {
                    wamid: status.message_id().into(),
                },
                Fate::Failed(code) => Settled::Failed { code: code? },
            };
            Some((*marker, settled))
        });
        let all = settled.flat_map(|(marker, settled)| {
            let stores = self.outcomes.iter();
            stores.map(move |outcomes| outcomes.settle(marker, settled.clone()))
        });
        try_join_all(all).await?;
        Ok(back.body)
    }

    /// The media that came in, each with an end that is counted from when its message was sent: the earliest moment at
    /// which Meta can have begun to count.
    fn pins_of<'c>(
        &self,
        policy: &'c NumberPolicy,
        change: &'c Change<'_>,
    ) -> impl Iterator<Item = (MediaId, Pin)> + use<'c> {
        let now = self.clock.now();
        let life = self.minute.times(policy.storage.inbound_media_minutes());
        let number = change.number();
        change.messages.iter().flat_map(move |message| {
            // Meta's word on when it was sent; one that lies ahead is not believed.
            let (sent, origin) = match sent_at(message) {
                Some(sent) => (sent.min(now), Origin::Webhook),
                None => (now, Origin::Inbound),
            };
            let ends = sent.after(life);
            message.media().map(move |media| {
                let pin = Pin { number, ends, origin };
                (media, pin)
            })
        })
    }

    fn learn(&self, change: &Change<'_>) {
        let number = change.number();
        if let Some(code) = change.display_phone_number().and_then(CountryCode::leading) {
            self.limits.set_country(number, code);
        }
        for person in change.people() {
            let user_id = Recipient::UserId(person.user_id);
            self.limits.learn(number, user_id, person.wa_id);
        }
    }

    /// Counts a message that came in, once however often it is delivered.
    fn count(&self, change: &Change<'_>, message: &Message<'_>) {
        if !self.seen.is_new(&["message", message.id()]) {
            return;
        }
        // The window is counted from the message, the limits count from now: one that comes late opens none, which only
        // makes them stricter.
        let age = sent_at(message).map_or(Duration::MAX, |sent| self.clock.now().since(sent));
        let is_sender_known = message.opens_window() && age <= self.minute.length();
        let phone = message.from().map(international);
        let sender = match (&phone, message.from_user_id()) {
            (Some(phone), _) => Some(Recipient::Phone(phone)),
            (None, Some(user_id)) => Some(Recipient::UserId(user_id)),
            (None, None) => None,
        };
        self.limits
            .inbound(change.number(), sender.filter(|_| is_sender_known));
    }

    /// Obeys what Meta says of a message that failed, once however often it is delivered.
    fn obey(&self, change: &Change<'_>, status: &Status<'_>) {
        let errors = status.errors();
        if errors.is_empty() || !self.seen.is_new(&["failed", status.message_id()]) {
            return;
        }
        let phone = status.recipient_id().map(international);
        let recipient = match (&phone, status.recipient_id(), status.recipient_user_id()) {
            (_, Some(group), _) if status.is_of_group() => Some(Recipient::Group(group)),
            (Some(phone), ..) => Some(Recipient::Phone(phone)),
            (None, _, Some(user_id)) => Some(Recipient::UserId(user_id)),
            (None, _, None) => None,
        };
        let recipient = recipient.map(|recipient| self.limits.identify(change.number(), recipient));
        for error in errors {
            self.observe(change, recipient, error);
        }
    }

    fn observe(&self, change: &Change<'_>, recipient: Option<RecipientId>, error: Failure) {
        let number = change.number();
        // What was lost under No Storage: an inbound message, or the payload of an outgoing one.
        if matches!(error.code, 131_035 | 131_036) {
            tracing::error!(number = number.get(), code = error.code, "a message was lost");
        }
        let outcome = Outcome::of_failure(error, Usage::default());
        // A webhook does not say whose token it is about.
        let is_of_app = matches!(
            outcome,
            Outcome::Pause {
                scope: Scope::App,
                ..
            }
        );
        if !is_of_app {
            self.limits.observe(number, 0, recipient, &outcome);
        }
    }
}

fn sent_at(message: &Message<'_>) -> Option<Timestamp> {
    let seconds = message.timestamp()?;
    Some(Timestamp::from_millis(seconds.checked_mul(1_000)?))
}

/// A `wa_id` as a phone number that needs no country code: Meta leaves the `+` out.
fn international(wa_id: &str) -> String {
    format!("+{wa_id}")
}

#[cfg(test)]
mod tests;
