//! Fetches a medium's bytes for the holder of one of the gateway's URLs.
//!
//! Meta's own URL stays here. Only the hosts of `upstream.media` are fetched, redirects are not followed, and the bytes
//! stream through.

use http::header::{CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use tower::{Service, ServiceExt as _};

use super::ask::{Asker, Owned};
use super::books::{Books, failed, response};
use super::enforce::{Exchange, Permitted};
use crate::body::ResponseBody;
use crate::call::{Answer, Context, Credential, Purpose};
use crate::error::GatewayError;
use crate::graph::media_host::MediaUrl;
use crate::stores::Claims;
use crate::upstream::{ExchangeError, MetaAnswer};

/// What a media URL promises about the answer: this caller's, now, and never to be kept by anything in between.
const NO_STORE: HeaderValue = HeaderValue::from_static("private, no-store");
const NOSNIFF: HeaderValue = HeaderValue::from_static("nosniff");

/// Fetches what `permitted` allows, under the URL that `claims` stand for.
///
/// # Errors
///
/// [`GatewayError::MediaUrlInvalid`] when nothing stands behind the URL any more, [`GatewayError::MediaGone`] when the media
/// host has no such bytes even under a fresh URL.
pub(super) async fn fetch<M>(
    meta: &mut M,
    asker: &Asker<M>,
    books: &Books,
    permitted: &Permitted,
    claims: &Claims,
) -> Result<Answer, GatewayError>
where
    M: Service<Exchange, Response = MetaAnswer, Error = ExchangeError> + Clone + Send + Sync,
    M::Future: Send,
{
    let mut context = permitted.context().clone();
    let grant = books.grants.find(claims.grant);
    if let Some(token) = grant.as_ref().and_then(|grant| grant.token.clone()) {
        context.credential = Credential::Caller(token);
    } else if context.principal.index.is_none() {
        // Pass-through: without the caller's token there is nothing to fetch with.
        return Err(GatewayError::MediaUrlInvalid);
    }
    let mut fresh = false;
    let mut url = match grant.and_then(|grant| books.media_hosts.check(&grant.upstream_url)) {
        Some(url) => url,
        None => {
            fresh = true;
            fresh_url(asker, books, &context, claims).await?
        }
    };
    loop {
        let exchange = permitted.fetch(&url, context.credential.clone());
        let answer = meta
            .ready()
            .await
            .map_err(|error| failed(Purpose::Other, error))?
            .call(exchange)
            .await
            .map_err(|error| failed(Purpose::Other, error))?;
        match answer.status() {
            StatusCode::OK => return Ok(media_answer(answer)),
            // Meta's URLs last five minutes; one that ended a moment ago is no reason to fail.
            StatusCode::NOT_FOUND if !fresh => {
                fresh = true;
                url = fresh_url(asker, books, &context, claims).await?;
            }
            StatusCode::NOT_FOUND => return Err(GatewayError::MediaGone),
            status if status.is_redirection() => {
                return Err(GatewayError::UnusableAnswer("the media host redirects"));
            }
            _ => return Err(GatewayError::UnusableAnswer("the media host refused")),
        }
    }
}

/// Meta's own URL, asked for anew.
async fn fresh_url<M>(
    asker: &Asker<M>,
    books: &Books,
    context: &Context,
    claims: &Claims,
) -> Result<MediaUrl, GatewayError>
where
    M: Service<Exchange, Response = MetaAnswer, Error = ExchangeError> + Clone + Send + Sync,
    M::Future: Send,
{
    match asker.media(context, claims.media, claims.number).await? {
        Owned::Theirs(url) => books.media_hosts.check(&url).ok_or(GatewayError::UnusableAnswer(
            "its media URL is on no host of upstream.media",
        )),
        Owned::No => Err(GatewayError::MediaGone),
    }
}

/// The answer to GET and HEAD alike: Meta documents no HEAD, so the medium is asked for, and hyper, which sends no body with
/// an answer to HEAD, drops this one unread. What of it is still to come is not read either: the connection to the media
/// host is closed.
fn media_answer(answer: MetaAnswer) -> Answer {
    let (parts, body) = answer.into_parts();
    let content_type = parts.headers.get(CONTENT_TYPE).cloned();
    let disposition = parts.headers.get(header::CONTENT_DISPOSITION).cloned();
    let mut answer = response(parts.status, HeaderMap::new(), ResponseBody::Streamed(body));
    let headers = answer.headers_mut();
    let mut put = |name: HeaderName, value: Option<HeaderValue>| {
        if let Some(value) = value {
            headers.insert(name, value);
        }
    };
    put(
        CONTENT_TYPE,
        Some(content_type.unwrap_or(HeaderValue::from_static("application/octet-stream"))),
    );
    put(header::CONTENT_DISPOSITION, disposition);
    put(header::CACHE_CONTROL, Some(NO_STORE));
    put(X_CONTENT_TYPE_OPTIONS, Some(NOSNIFF));
    answer
}
