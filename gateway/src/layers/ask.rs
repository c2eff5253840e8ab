//! Asks Meta what policy needs to know: which storage mode is really on, and whose a medium is.
//!
//! A question needs a permit like any other request; only the gateway itself can get one for it.

use std::time::Duration;

use bytes::Bytes;
use curfew_policies::{MediaId, PhoneNumberId, Question};
use http::StatusCode;
use tower::{Service, ServiceExt as _};

use super::enforce::{Exchange, permit_question};
use crate::call::{Context, Credential};
use crate::error::GatewayError;
use crate::graph::answer::{self, MediaContent};
use crate::graph::settings::read_observed;
use crate::stores::Asked;
use crate::upstream::{ExchangeError, MetaAnswer, collect};

/// The largest answer that a question can have, in bytes.
const ANSWER_BYTES: usize = 256 * 1024;
/// How long a question may take, answer and all. Requests wait for it, each other's too.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Asks over the same connection to Meta that requests use.
#[derive(Clone, Debug)]
pub struct Asker<S> {
    meta: S,
}

/// What Meta said of a medium.
#[derive(Debug)]
pub enum Owned {
    /// It is that number's, and this is where its bytes are.
    Theirs(Located),
    /// It is not, or it does not exist.
    No,
}

/// A medium's bytes.
#[derive(Debug)]
pub struct Located {
    /// Where they are.
    pub url: String,
    /// What they are; `None` when what Meta says makes no sense.
    pub content: Option<MediaContent>,
}

impl<S> Asker<S>
where
    S: Service<Exchange, Response = MetaAnswer, Error = ExchangeError> + Clone,
{
    /// Asks through `meta`.
    pub const fn new(meta: S) -> Self {
        Self { meta }
    }

    /// What `number`'s settings say (`GET /{phone_number_id}/settings`).
    pub async fn settings(&self, context: &Context, number: PhoneNumberId) -> Asked {
        let Ok(exchange) = permit_question(context, Question::Settings, number) else {
            return Asked::Unread;
        };
        let Some((status, body)) = self.ask(exchange).await else {
            return Asked::Unread;
        };
        if status != StatusCode::OK {
            tracing::warn!(
                number = number.get(),
                status = status.as_u16(),
                "settings could not be read"
            );
            // In pass-through it is the caller's own token that Meta does not answer.
            let is_callers = matches!(context.credential, Credential::Caller(_));
            return if is_callers && status.is_client_error() {
                Asked::NotToThisCaller
            } else {
                Asked::Unread
            };
        }
        Asked::Read(read_observed(&body))
    }

    /// Meta's answer, whole, if it comes in time.
    async fn ask(&self, exchange: Exchange) -> Option<(StatusCode, Bytes)> {
        let answered = async {
            let answer = self.meta.clone().oneshot(exchange).await.ok()?;
            let status = answer.status();
            let body = collect(answer.into_body(), ANSWER_BYTES).await.ok()?;
            Some((status, body))
        };
        tokio::time::timeout(ANSWER_TIMEOUT, answered).await.ok()?
    }

    /// Whether `media` is `number`'s (`GET /{media_id}?phone_number_id=…`: Meta acts only when it is).
    ///
    /// # Errors
    ///
    /// When Meta's answer says neither yes nor no.
    pub async fn media(
        &self,
        context: &Context,
        media: MediaId,
        number: PhoneNumberId,
    ) -> Result<Owned, GatewayError> {
        let unanswered = GatewayError::Unanswered("a media id");
        let exchange = permit_question(context, Question::Media(media), number)?;
        let Some((status, body)) = self.ask(exchange).await else {
            return Err(unanswered);
        };
        if let Some(metadata) = answer::media_metadata(&body).filter(|metadata| metadata.id == media) {
            return Ok(Owned::Theirs(Located {
                url: metadata.url,
                content: metadata.content,
            }));
        }
        // Only what Meta says of the object itself is a no; a bad token, a limit or a fault is no answer at all.
        match answer::error_code(&body) {
            Some(100 | 33 | 131_009) => Ok(Owned::No),
            None if status.is_success() => Ok(Owned::No),
            _ => Err(unanswered),
        }
    }
}
