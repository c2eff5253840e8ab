//! Finds out which operation a request is, from its head alone, and whether its caller may call that at all. Below this
//! layer no code looks at the path again.
//!
//! Callers are judged here, before query and body are read: who may not call learns nothing of how the call is spelled,
//! and nobody sends 100 MiB, or is asked to by `100 Continue`, for a refusal that the head already earned.

use std::future::{Ready, ready};
use std::task::{Context as TaskContext, Poll};

use curfew_policies::{Operation, Registration, Request, SettingsChange, Upload, admit};
use futures_util::future::Either;
use tower::{Layer, Service};

use super::reading::operation_without_body;
use crate::call::{Answer, Classified, Context, Identified, Principal, Target};
use crate::error::GatewayError;
use crate::graph::classify::{Named, name};
use crate::graph::media_url::PATH_TEMPLATE;
use crate::graph::routes::Kind;

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
            record.route("download_media", PATH_TEMPLATE);
            record.number(claims.number);
            Target::Download(claims)
        }
        None => {
            let uri = request.uri();
            let named = name(&principal.policies, request.method(), uri.path())?;
            record.route(named.route.name, named.route.template());
            judge_caller(&principal, &named)?;
            let head = named.with_query(uri.query())?;
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

/// Whether the caller may use what the path names at all, judged by the same rules as the whole request later.
fn judge_caller(principal: &Principal, named: &Named<'_>) -> Result<(), GatewayError> {
    let request = Request {
        subject: named.subject,
        generation: named.generation(),
        operation: operation_before_body(named),
    };
    admit(&principal.policies, principal.caller(), &request)
        .map_err(|reason| GatewayError::denied(reason, named.subject))
}

/// The operation as far as the head tells: enough for who may call what, not for what is in it.
fn operation_before_body(named: &Named<'_>) -> Operation<'static> {
    match named.route.kind {
        Kind::Messages | Kind::MarketingMessages => Operation::MarkRead,
        Kind::UploadMedia => Operation::UploadMedia(Upload::default()),
        Kind::ChangeSettings => Operation::ChangeSettings(SettingsChange::default()),
        Kind::Register => Operation::Register(Registration::default()),
        _ => operation_without_body(named.route, named.node),
    }
}
