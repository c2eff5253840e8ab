//! One fetch from the media host, on behalf of one caller or of all who want the same medium at once.

use std::sync::Arc;
use std::time::Duration;

use http::header::CONTENT_ENCODING;
use http::{HeaderValue, StatusCode};
use http_body::Body as _;
use tokio::time::timeout;
use tower::{Service, ServiceExt as _};

use super::super::ask::{Asker, Located, Owned};
use super::super::books::{Books, failed};
use super::super::enforce::{Exchange, Permitted};
use crate::call::{Context, Purpose};
use crate::error::GatewayError;
use crate::graph::answer::MediaContent;
use crate::graph::media_host::MediaUrl;
use crate::stores::Claims;
use crate::stores::media_cache::{Failure, Fill};
use crate::upstream::{AnswerBody, ExchangeError, MetaAnswer};

/// How long the media host may take to begin its answer, a fresh URL included. Everybody who wants the medium waits for it.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// How long the media host may send nothing.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// What a fetch needs.
#[derive(Clone)]
pub(super) struct Flight<M> {
    pub(super) meta: M,
    pub(super) asker: Asker<M>,
    pub(super) books: Arc<Books>,
    pub(super) permitted: Arc<Permitted>,
    /// With the token that the fetch goes out under: in pass-through, the one of whoever fetches.
    pub(super) context: Context,
    pub(super) claims: Claims,
    pub(super) url: MediaUrl,
    /// Whether Meta gave the URL out just now.
    pub(super) is_fresh: bool,
    pub(super) content: MediaContent,
}

impl<M> Flight<M>
where
    M: Service<Exchange, Response = MetaAnswer, Error = ExchangeError> + Clone + Send + Sync,
    M::Future: Send,
{
    /// Fetches the medium into the cache, to the end, whoever still waits for it.
    pub(super) async fn fill(self, fill: Fill) {
        let answered = tokio::select! {
            biased;
            // Purged, or over: the fill has nothing to say any more.
            _ = fill.ended() => return,
            answered = self.answer() => answered,
        };
        match answered {
            Ok(body) => {
                // The receipt says why, and every reader.
                let _ = fill.run(body, IDLE_TIMEOUT).await;
            }
            Err(failure) => fill.fail(failure),
        }
    }

    /// The medium's body, as it begins to come.
    pub(super) async fn answer(self) -> Result<AnswerBody, Failure> {
        let answered = timeout(HEAD_TIMEOUT, self.exchange()).await;
        answered.map_err(|_| Failure::Stalled)?
    }

    async fn exchange(mut self) -> Result<AnswerBody, Failure> {
        loop {
            let exchange = self.permitted.fetch(&self.url, self.context.credential.clone());
            let answered = match self.meta.ready().await {
                Ok(meta) => meta.call(exchange).await,
                Err(error) => Err(error),
            };
            let answer = answered.map_err(|error| failure_of(&failed(Purpose::Other, error)))?;
            match answer.status() {
                StatusCode::OK => return self.body_of(answer),
                // Meta's URLs last five minutes; one that ended a moment ago is no reason to fail.
                StatusCode::NOT_FOUND if !self.is_fresh => {
                    self.is_fresh = true;
                    let fresh = fresh_url(&self.asker, &self.books, &self.context, &self.claims).await;
                    (self.url, _) = fresh.map_err(|error| failure_of(&error))?;
                }
                StatusCode::NOT_FOUND => return Err(Failure::Missing),
                status if status.is_redirection() => {
                    return Err(Failure::Unusable("the media host redirects"));
                }
                _ => return Err(Failure::Unusable("the media host refused")),
            }
        }
    }

    /// What can be told from the head is told before anybody was promised anything.
    fn body_of(&self, answer: MetaAnswer) -> Result<AnswerBody, Failure> {
        let is_plain = |coding: &HeaderValue| coding.as_bytes().eq_ignore_ascii_case(b"identity");
        if !answer.headers().get(CONTENT_ENCODING).is_none_or(is_plain) {
            return Err(Failure::Unusable("it is encoded, and was not asked to be"));
        }
        let body = answer.into_body();
        match (body.size_hint().exact(), self.content.size) {
            (Some(announced), Some(size)) if announced < size => Err(Failure::TooShort),
            (Some(announced), size) if announced > size.unwrap_or(super::MOST_BYTES) => Err(Failure::TooLong),
            _ => Ok(body),
        }
    }
}

/// Where Meta serves a medium, asked anew, and what it says that it serves there.
pub(super) async fn fresh_url<M>(
    asker: &Asker<M>,
    books: &Books,
    context: &Context,
    claims: &Claims,
) -> Result<(MediaUrl, MediaContent), GatewayError>
where
    M: Service<Exchange, Response = MetaAnswer, Error = ExchangeError> + Clone + Send + Sync,
    M::Future: Send,
{
    match asker.media(context, claims.media, claims.number).await? {
        Owned::Theirs(Located { url, content }) => {
            let url = books.media_hosts.check(&url).ok_or(GatewayError::UnusableAnswer(
                "its media URL is on no host of upstream.media",
            ))?;
            let content = content.ok_or(GatewayError::UnusableAnswer(
                "its metadata does not say what the media is",
            ))?;
            Ok((url, content))
        }
        Owned::No => Err(GatewayError::MediaGone),
    }
}

/// What everybody who waits for a medium is told, if this is why it does not come.
const fn failure_of(error: &GatewayError) -> Failure {
    match error {
        GatewayError::MediaGone => Failure::Missing,
        GatewayError::Unreachable | GatewayError::Unanswered(_) | GatewayError::Shed(_) => {
            Failure::Unreachable
        }
        GatewayError::UnusableAnswer(why) => Failure::Unusable(why),
        _ => Failure::BrokenOff,
    }
}

/// What a caller is told.
pub(super) const fn error_of(failure: Failure) -> GatewayError {
    match failure {
        Failure::Missing => GatewayError::MediaGone,
        Failure::Unreachable => GatewayError::Unreachable,
        Failure::Unusable(why) => GatewayError::UnusableAnswer(why),
        Failure::TooShort => {
            GatewayError::UnusableAnswer("the media's bytes are fewer than its metadata say")
        }
        Failure::TooLong => GatewayError::UnusableAnswer("the media's bytes are more than its metadata say"),
        Failure::WrongDigest => {
            GatewayError::UnusableAnswer("the media's bytes are not those of its metadata")
        }
        Failure::BrokenOff | Failure::Stalled | Failure::Abandoned => GatewayError::ExchangeBroken,
    }
}
