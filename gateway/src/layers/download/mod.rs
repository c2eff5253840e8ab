//! Gives a medium's bytes to the holder of one of the gateway's URLs: from the cache, from a fetch that others wait for too,
//! or straight from the media host.
//!
//! Meta's own URL stays here. Only the hosts of `upstream.media` are fetched, and redirects are not followed. Whether the
//! caller may have the medium was judged before this is reached, and is judged again once a copy was found or begun: a
//! medium may be deleted in between. What Meta says of the medium (size and SHA-256) is checked on every way; nothing
//! short or wrong ends as if it were whole.

mod answer;
mod checked;
mod flight;
mod reload;
mod wanted;

use std::sync::Arc;

use curfew_policies::{NumberPolicy, Origin, Pin, Timestamp};
use http_body::Body as _;
use tokio::time::sleep;
use tower::Service;

use super::ask::Asker;
use super::books::Books;
use super::enforce::{Exchange, Permitted};
use crate::body::ResponseBody;
use crate::call::{Answer, Context, Credential};
use crate::clock::Deadline;
use crate::error::GatewayError;
use crate::graph::answer::MediaContent;
use crate::graph::media_host::MediaUrl;
use crate::server::BreakOff;
use crate::stores::Claims;
use crate::stores::media_cache::{
    EndReason, Failure, Fill, Life, MediaKey, MediumReader, Opened, PurgeOrder, Scope,
};
use crate::upstream::{ExchangeError, MetaAnswer};
use answer::{Head, Via};
use flight::{Flight, error_of, fresh_url};
use wanted::Due;

pub use checked::CheckedBody;
pub use reload::adopt;
pub use wanted::Wanted;

/// The largest medium there is, in bytes (Cloud API, "Media": documents, and what users send).
const MOST_BYTES: u64 = 100 * 1024 * 1024;

/// How often a download is begun: a second time where the first came to nothing by no fault of the medium's.
const TRIES: u32 = 2;

/// Answers the download that was `permitted`, by the URL that `claims` stand for.
///
/// # Errors
///
/// [`GatewayError::MediaUrlInvalid`] when nothing stands behind the URL any more, [`GatewayError::MediaGone`] when the media
/// host has no such bytes even under a fresh URL, and whatever policy says of a medium that ended or was deleted meanwhile.
pub(super) async fn fetch<M>(
    meta: M,
    asker: Asker<M>,
    books: Arc<Books>,
    permitted: Permitted,
    claims: Claims,
    wanted: &Wanted,
) -> Result<Answer, GatewayError>
where
    M: Service<Exchange, Response = MetaAnswer, Error = ExchangeError> + Clone + Send + Sync + 'static,
    M::Future: Send,
{
    let behind = Behind::of(&asker, &books, permitted.context(), &claims).await?;
    let content = behind.content;
    if content.size.is_some_and(|size| size > MOST_BYTES) {
        return Err(GatewayError::UnusableAnswer(
            "the media is larger than any can be",
        ));
    }
    let flight = Flight {
        meta,
        asker,
        books,
        permitted: Arc::new(permitted),
        context: behind.context,
        claims,
        url: behind.url,
        is_fresh: behind.is_fresh,
        content,
    };
    Download { flight }.answer(wanted).await
}

/// What stands behind one of the gateway's URLs.
struct Behind {
    url: MediaUrl,
    is_fresh: bool,
    content: MediaContent,
    context: Context,
}

impl Behind {
    /// From the grant that was made with the URL, or from Meta, asked anew.
    async fn of<M>(
        asker: &Asker<M>,
        books: &Books,
        context: &Context,
        claims: &Claims,
    ) -> Result<Self, GatewayError>
    where
        M: Service<Exchange, Response = MetaAnswer, Error = ExchangeError> + Clone + Send + Sync,
        M::Future: Send,
    {
        let mut context = context.clone();
        let grant = books.grants.find(claims.grant);
        if let Some(token) = grant.as_ref().and_then(|grant| grant.token.clone()) {
            context.credential = Credential::Caller(token);
        } else if context.principal.index.is_none() {
            // Pass-through: without the caller's token there is nothing to fetch with.
            return Err(GatewayError::MediaUrlInvalid);
        }
        let granted = grant.and_then(|grant| {
            let url = books.media_hosts.check(&grant.upstream_url)?;
            Some((url, grant.content.clone()))
        });
        let is_fresh = granted.is_none();
        let (url, content) = match granted {
            Some(granted) => granted,
            None => {
                let fresh = fresh_url(asker, books, &context, claims).await;
                if matches!(fresh, Err(GatewayError::MediaGone)) {
                    // Deleted through another instance, or not through any.
                    books
                        .media_cache
                        .purge(Scope::Entry(key(claims)), PurgeOrder::Delete);
                }
                fresh?
            }
        };
        Ok(Self {
            url,
            is_fresh,
            content,
            context,
        })
    }
}

const fn key(claims: &Claims) -> MediaKey {
    MediaKey {
        number: claims.number,
        media: claims.media,
    }
}

/// How a medium is to be had.
enum Found {
    /// There is a copy, or one on its way.
    Copy(MediumReader, Via),
    /// It is not kept.
    Past,
}

struct Download<M> {
    flight: Flight<M>,
}

impl<M> Download<M>
where
    M: Service<Exchange, Response = MetaAnswer, Error = ExchangeError> + Clone + Send + Sync + 'static,
    M::Future: Send,
{
    async fn answer(self, wanted: &Wanted) -> Result<Answer, GatewayError> {
        let head = Head::of(&self.flight.content);
        let part = match wanted.due(head.etag(), self.flight.content.size) {
            Due::PreconditionFailed => return Err(GatewayError::PreconditionFailed),
            Due::NotSatisfiable { size } => return Err(GatewayError::RangeNotSatisfiable { size }),
            Due::NotModified => return self.told(|via, age| head.not_modified(via, age)).await,
            // The metadata say all that the answer to a GET would.
            Due::Whole if wanted.is_head() => return self.told(|via, age| head.announced(via, age)).await,
            Due::Whole => None,
            Due::Part(part) => Some(part),
        };
        let mut tries = TRIES;
        loop {
            tries -= 1;
            let (mut reader, via) = match self.open().await? {
                Found::Copy(reader, via) => (reader, via),
                Found::Past => return self.past(&head).await,
            };
            if let Some(part) = &part {
                reader = reader.range(part.clone());
            }
            match reader.ready().await {
                Ok(()) => return Ok(head.copy(reader, via, part.as_ref(), wanted.continues())),
                Err(reason) => {
                    self.still_holds().await?;
                    if tries == 0 || !self.may_try_again(reason, via) {
                        return Err(ended(reason));
                    }
                }
            }
        }
    }

    /// An answer that needs no byte of the medium.
    async fn told(
        &self,
        answer: impl FnOnce(Via, Option<std::time::Duration>) -> Answer,
    ) -> Result<Answer, GatewayError> {
        let copy = self.books().media_cache.find(key(&self.flight.claims));
        self.still_holds().await?;
        Ok(match copy.filter(MediumReader::is_whole) {
            Some(copy) => answer(Via::Hit, Some(copy.age())),
            None => answer(Via::Miss, None),
        })
    }

    fn books(&self) -> &Books {
        &self.flight.books
    }

    /// Looks the medium up, and begins to fetch it if nobody does.
    async fn open(&self) -> Result<Found, GatewayError> {
        let books = self.books();
        let key = key(&self.flight.claims);
        let policies = books.policies.load_full();
        let pin = self.live_pin().await?;
        let cache_minutes = policies
            .numbers
            .get(&key.number)
            .filter(|number| pin.is_some_and(|pin| may_be_kept(pin, number)))
            .map_or(0, |number| number.media.cache_minutes);
        let life = Life {
            ends: pin.map_or(Timestamp::from_millis(0), |pin| pin.ends),
            at_most: books.minute.times(cache_minutes),
        };
        let opened = books.media_cache.open(key, &self.flight.content, life);
        // Not before: whoever deletes buries the pin and then purges, so one of the two sees the other.
        self.still_holds().await?;
        if !Arc::ptr_eq(&policies, &books.policies.load()) {
            // What the new policies forbid may have been purged before this began; the next who asks goes by them.
            drop(opened);
            books
                .media_cache
                .purge(Scope::Entry(key), PurgeOrder::PolicyChange);
            return Ok(Found::Past);
        }
        Ok(match opened {
            Opened::Hit(reader) => Found::Copy(reader, Via::Hit),
            Opened::Joined(reader) => Found::Copy(reader, Via::Joined),
            Opened::Lead(fill, reader) => {
                self.take_off(fill);
                Found::Copy(reader, Via::Miss)
            }
            Opened::Bypass(_) => Found::Past,
        })
    }

    /// Fetches in a task of its own: the caller who happens to be first may leave, and the others still get theirs.
    fn take_off(&self, fill: Fill) {
        tokio::spawn(self.flight.clone().fill(fill));
    }

    /// Straight through, for this caller alone.
    async fn past(self, head: &Head) -> Result<Answer, GatewayError> {
        let key = key(&self.flight.claims);
        let clock = self.books().clock.clone();
        let now = clock.now();
        let deadline = self.live_pin().await?.filter(|pin| pin.ends > now).map(|pin| {
            let left = pin.ends.since(now);
            Deadline::new(pin.ends, clock.monotonic().after(left))
        });
        let mut content = self.flight.content.clone();
        let body = self.flight.answer().await.map_err(error_of)?;
        content.size = content.size.or(body.size_hint().exact());
        let mut body = CheckedBody::new(key, body, &content, deadline, clock.clone());
        body.begin().await.map_err(ended)?;
        let mut answer = head.whole(Via::Bypass, ResponseBody::Checked(Box::new(body)));
        if let Some(deadline) = deadline {
            let left = deadline.monotonic().since(clock.monotonic());
            answer.extensions_mut().insert(BreakOff::when(sleep(left)));
        }
        Ok(answer)
    }

    /// What is known of the medium; `None` for one that is said to be gone already.
    async fn live_pin(&self) -> Result<Option<Pin>, GatewayError> {
        let claims = &self.flight.claims;
        let pin = claims.pin(&self.books().pins).await?;
        Ok((pin.number == claims.number && pin.origin != Origin::Deleted).then_some(pin))
    }

    /// Whether policy still allows the download, by what is known now.
    async fn still_holds(&self) -> Result<(), GatewayError> {
        let pin = self.flight.claims.pin(&self.books().pins).await?;
        self.flight.permitted.still_holds(self.books().clock.now(), pin)
    }

    /// Whether a copy that came to nothing may be better a second time.
    fn may_try_again(&self, reason: EndReason, via: Via) -> bool {
        match reason {
            EndReason::Failed(Failure::Abandoned) => true,
            // In pass-through it was another caller's token that failed, unless the bytes themselves are wrong.
            EndReason::Failed(failure) => {
                via == Via::Joined
                    && self.flight.context.principal.index.is_none()
                    && !failure.is_of_integrity()
            }
            // The copy's time, not the medium's.
            EndReason::Deadline | EndReason::Evicted | EndReason::Purged(_) => true,
        }
    }
}

/// Whether a copy may be kept at all.
///
/// What Meta was asked about has begun at a time that nobody told us, and its copy could outlive it by as much as it is
/// older than the question. A restricted number's copies must not: such media go past the cache, unless a webhook told.
const fn may_be_kept(pin: Pin, number: &NumberPolicy) -> bool {
    matches!(pin.origin, Origin::Upload | Origin::Webhook) || !number.storage.is_restricted()
}

/// What a caller is told whose medium ended before its answer began.
const fn ended(reason: EndReason) -> GatewayError {
    match reason {
        EndReason::Failed(failure) => error_of(failure),
        EndReason::Deadline | EndReason::Evicted | EndReason::Purged(_) => GatewayError::MediaUrlInvalid,
    }
}
