//! Forms are judged twice: when their file begins, and, by the judge that their body carries, when they have ended.

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};

use curfew_policies::{
    Decision, Enforcement, Facts, MediaType, Operation, Reason, Request, SettingsFact, Subject, Upload,
    decide,
};
use http::HeaderValue;

use crate::body::{Inbound, Judge, Outbound};
use crate::call::Context;
use crate::clock::Clock;
use crate::error::GatewayError;
use crate::graph::multipart::{
    self, AbortReason, FileTerms, FormField, FormFields, FormKind, MultipartError, OpenForm, UploadOutcome,
    UploadVerdict, WholeForm, WireBoundary,
};
use crate::layers::reading::read_failure;
use crate::layers::reuse::{Candidate, NewUpload, StandIn};
use crate::stores::SettingsReadings;

/// Why a form that had ended was not completed at Meta.
#[derive(Debug)]
pub enum Withheld {
    /// Policy refused it.
    Denied(Reason),
    /// This medium stands for it.
    Known(StandIn),
}

impl From<Reason> for Withheld {
    fn from(reason: Reason) -> Self {
        Self::Denied(reason)
    }
}

/// How a form ended: the handle that its sender keeps.
pub struct FormEnd {
    kind: &'static FormKind,
    verdict: UploadVerdict<Inbound, Withheld>,
    mime: Option<&'static MediaType>,
    subject: Subject,
    becomes: Option<Arc<OnceLock<NewUpload>>>,
}

/// What came of a form.
#[derive(Debug)]
pub enum Form {
    /// It went out whole, with this life in minutes.
    Written {
        /// `ttl_minutes` as written.
        ttl_minutes: Option<u32>,
        /// By what it will be known again, where its number reuses media.
        becomes: Option<NewUpload>,
    },
    /// It was broken off, because this medium stands for it.
    Known(StandIn),
    /// It was broken off, for this reason.
    Stopped(GatewayError),
    /// Meta stopped taking it before it had ended.
    NotEnded,
}

impl FormEnd {
    /// What came of the form. To be asked once the exchange has ended.
    pub fn outcome(mut self) -> Form {
        match self.verdict.try_take() {
            Some(UploadOutcome::Written(written)) => Form::Written {
                // The judge wrote it from a number.
                ttl_minutes: written
                    .fields
                    .get(FormField::TtlMinutes)
                    .and_then(|minutes| minutes.parse().ok()),
                becomes: self.becomes.and_then(|becomes| becomes.get().cloned()),
            },
            Some(UploadOutcome::Aborted(aborted)) => match aborted.reason {
                AbortReason::Refused(Withheld::Denied(reason)) => {
                    Form::Stopped(GatewayError::denied(reason, self.subject))
                }
                AbortReason::Refused(Withheld::Known(stand_in)) => Form::Known(stand_in),
                AbortReason::FileTooLarge { max_bytes } if self.kind.max_file_bytes().is_some() => {
                    let form = self.kind;
                    Form::Stopped(MultipartError::FileTooLong { form, max_bytes }.into())
                }
                AbortReason::FileTooLarge { max_bytes } => {
                    let mime = self.mime.map_or("", |mime| mime.mime);
                    let reason = Reason::FileTooLarge { mime, max_bytes };
                    Form::Stopped(GatewayError::denied(reason, self.subject))
                }
                AbortReason::Form(error) => Form::Stopped(GatewayError::Form(error)),
                AbortReason::Inbound(error) => Form::Stopped(read_failure(&error)),
                AbortReason::Abandoned => Form::NotEnded,
            },
            None => Form::NotEnded,
        }
    }
}

/// What the second judgement of a form needs.
pub(super) struct Judging {
    pub(super) context: Context,
    pub(super) request: Request<'static>,
    pub(super) clock: Clock,
    pub(super) readings: SettingsReadings,
    pub(super) candidate: Option<Candidate>,
}

impl Judging {
    fn judge(self, form: WholeForm<'_>) -> Result<FormFields, Withheld> {
        let fields = form.fields;
        let text = |field| fields.get(field).map(Cow::Borrowed);
        let operation = match &self.request.operation {
            Operation::UploadMedia(begun) => Operation::UploadMedia(Upload {
                complete: true,
                ttl_minutes: text(FormField::TtlMinutes),
                declared_type: text(FormField::Type).or(begun.declared_type.clone()),
                use_case: text(FormField::UseCase),
                file_bytes: form.file_bytes,
                ..begun.clone()
            }),
            other => other.clone(),
        };
        let request = Request {
            operation,
            ..self.request
        };
        let settings = match request.subject {
            Subject::Number(number) => self.readings.last(number),
            Subject::Media { .. } | Subject::Account(_) | Subject::Other => SettingsFact::NotNeeded,
        };
        let facts = Facts {
            now: self.clock.now(),
            media: &[],
            settings,
            recent_registrations: 0,
        };
        let principal = &self.context.principal;
        match decide(&principal.policies, principal.caller(), &request, &facts) {
            Decision::Deny(reason) => Err(reason.into()),
            Decision::Allow(permit) => {
                // Only what is permitted: knowing a file excuses nothing.
                let stand_in = self
                    .candidate
                    .and_then(|candidate| candidate.judge(&self.context, &request, form, &permit));
                if let Some(stand_in) = stand_in {
                    return Err(Withheld::Known(stand_in));
                }
                let came = fields.get(FormField::TtlMinutes);
                let ttl_minutes: Option<u32> = match (permit.ttl(), permit.observed(), came) {
                    (Some(ttl), ..) => Some(ttl.minutes()),
                    (None, None, _) | (None, _, None) => None,
                    // Monitored: what the caller wrote passes, if it is a number at all.
                    (None, Some(reason), Some(text)) => Some(text.parse().map_err(|_| reason.clone())?),
                };
                if let Some(reason) = permit.observed() {
                    self.context.record.observed(reason.slug());
                }
                // The others as they came: whether they are right, or may be missing, is Meta's to say.
                Ok(fields.clone().with(
                    FormField::TtlMinutes,
                    ttl_minutes.map(|minutes| minutes.to_string()),
                ))
            }
        }
    }
}

pub(super) fn open_form(
    form: OpenForm<Inbound>,
    judging: Judging,
) -> Result<(Outbound, HeaderValue, FormEnd), GatewayError> {
    let boundary = WireBoundary::random().map_err(|_| GatewayError::StoreUnavailable)?;
    let content_type = boundary.content_type();
    let file_type = form.file().content_type.clone();
    let declared = match &judging.request.operation {
        Operation::UploadMedia(upload) => upload.declared_type.clone(),
        _ => None,
    };
    let mime = file_type
        .as_ref()
        .map(multipart::MediaType::essence)
        .or(declared.as_deref())
        .and_then(MediaType::of);
    let subject = judging.request.subject;
    let enforced = judging.context.principal.policies.enforcement == Enforcement::Enforce;
    let kind = form.kind();
    let of_type = || mime.filter(|_| enforced).map(|mime| mime.max_bytes);
    let terms = FileTerms {
        max_file_bytes: kind.max_file_bytes().or_else(of_type).unwrap_or(u64::MAX),
        content_type: file_type,
        is_hashed: judging.candidate.is_some(),
    };
    let becomes = judging.candidate.as_ref().map(Candidate::becomes);
    let judge: Judge = Box::new(move |form: WholeForm<'_>| judging.judge(form));
    let (body, verdict) = form.into_body(boundary, terms, judge);
    Ok((
        Outbound::Upload(Box::new(body)),
        content_type,
        FormEnd {
            kind,
            verdict,
            mime,
            subject,
            becomes,
        },
    ))
}
