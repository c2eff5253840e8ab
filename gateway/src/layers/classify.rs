//! Finds out which operation a request is, from its head alone. Below this layer no code looks at the path again.

use std::future::{Ready, ready};
use std::task::{Context as TaskContext, Poll};

use futures_util::future::Either;
use tower::{Layer, Service};

use crate::call::{Answer, Classified, Context, Identified, Target};
use crate::error::GatewayError;
use crate::graph::classify::classify;

/// The layer.
#[derive(Clone, Copy, Debug)]
pub struct ClassifyLayer;

impl<S> Layer<S> for ClassifyLayer {
    type Service = Classify<S>;

    fn layer(&self, inner: S) -> Classify<S> {
        Classify { inner }
    }
}

/// The service.
#[derive(Clone, Debug)]
pub struct Classify<S> {
    inner: S,
}

impl<S> Service<Identified> for Classify<S>
where
    S: Service<Classified, Response = Answer, Error = GatewayError>,
{
    type Response = Answer;
    type Error = GatewayError;
    type Future = Either<S::Future, Ready<Result<Answer, GatewayError>>>;

    fn poll_ready(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<(), GatewayError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, identified: Identified) -> Self::Future {
        match classified(identified) {
            Ok(classified) => Either::Left(self.inner.call(classified)),
            Err(error) => Either::Right(ready(Err(error))),
        }
    }
}

fn classified(identified: Identified) -> Result<Classified, GatewayError> {
    let Identified {
        request,
        record,
        principal,
        credential,
        origin,
        media_url,
    } = identified;
    let target = match media_url {
        Some(claims) => {
            record.operation("download_media");
            record.number(claims.number);
            Target::Download(claims)
        }
        None => {
            let uri = request.uri();
            let head = classify(&principal.policies, request.method(), uri.path(), uri.query())?;
            record.operation(head.route.name);
            if let Some(number) = head.number() {
                record.number(number);
            }
            Target::Graph(head)
        }
    };
    let context = Context {
        record,
        principal,
        credential,
        origin,
    };
    Ok(Classified {
        request,
        context,
        target,
    })
}
