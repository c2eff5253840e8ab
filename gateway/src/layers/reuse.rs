//! Upload once: a file that Meta has already is not stored a second time, where `media.reuse` of its number says so.
//!
//! An upload is known again in two ways. By its **file**, when the form has ended: the same bytes under the same name, type and
//! small fields, by the same number. Until then the duplicate goes out like any upload, and it is broken off before
//! its closing boundary. Or by its **head**, before a byte of the body is read: a caller that announces `Repr-Digest` (RFC 9530)
//! and has sent the very same request before is answered at once.
//!
//! Neither is a way round the policy: each such upload is judged like all others first, by the policies, settings and pins of
//! now, and only what would have gone to Meta may be answered from here. Who answers what to whom:
//!
//! - A digest proves nothing, so the head alone is answered only to the caller who sent that request before. In pass-through that is
//!   the holder of the same token.
//! - Whoever sends the whole file has it. Among declared callers, each of which policy lets upload for the number, it does not
//!   matter who was first. In pass-through only Meta can tell what a token is worth, and a duplicate is not shown to Meta: there
//!   the file too is known again for the same token only.
//!
//! Two equal uploads at once both go to Meta; what is remembered of them is the medium that ends later.

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};

use curfew_policies::{
    Decision, Facts, MediaId, Minute, NumberPolicy, Operation, Permit, Pin, Request, SettingsFact, Subject,
    Timestamp, Upload, decide, essence,
};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::books::tell_end;
use super::graph_token::caller_tag;
use super::reading::only_form_type;
use crate::body::ResponseBody;
use crate::call::{Answer, Context};
use crate::clock::Clock;
use crate::graph::classify::Head;
use crate::graph::digest::Sha256;
use crate::graph::multipart::{FileName, FormField, WholeForm};
use crate::stores::{CallerTag, KnownUpload, KnownUploads, MediaPins, UploadTag, UrlSigner};

/// `true` on the answer to an upload that was not stored, since Meta has the file already.
pub const CURFEW_REUSED: HeaderName = HeaderName::from_static("curfew-reused");

/// What knows uploads again. Cheap to clone; clones share it.
#[derive(Clone)]
pub struct Reuse {
    /// The uploads that were made.
    pub known: KnownUploads,
    /// Whose their media are, and whether they live.
    pub pins: MediaPins,
    /// Tells callers apart.
    pub signer: Arc<UrlSigner>,
    /// The time.
    pub clock: Clock,
    /// The length of a minute of storage.
    pub minute: Minute,
}

/// The medium that an upload is answered with.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct StandIn {
    /// The medium.
    pub media: MediaId,
    /// When it ends.
    pub ends: Timestamp,
}

impl StandIn {
    /// The answer to the upload, in the shape of Meta's own (Cloud API, "Media").
    pub(super) fn answer(self, context: &Context) -> Answer {
        context.record.reused();
        let body = serde_json::json!({ "id": self.media.to_string() }).to_string();
        let mut answer = Answer::new(ResponseBody::whole(body));
        let headers = answer.headers_mut();
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/json; charset=UTF-8"),
        );
        headers.insert(CURFEW_REUSED, HeaderValue::from_static("true"));
        tell_end(headers, self.ends);
        answer
    }
}

/// An upload that was known by its head.
#[derive(Debug)]
pub(super) struct Recalled {
    /// What policy read of it when it came first; of the same bytes it would read the same.
    pub(super) upload: Upload<'static>,
    /// The medium that it made.
    pub(super) stand_in: StandIn,
}

/// By what an upload that goes to Meta will be known again.
#[derive(Clone, Debug)]
pub struct NewUpload {
    tags: [Option<UploadTag>; 2],
    upload: Arc<Upload<'static>>,
}

impl Reuse {
    /// By what a request that announces this digest is known again, by the same caller: where it goes, how its body is to be
    /// read, and what its body is. `None` if the number does not reuse media.
    pub(super) fn request_tag(
        &self,
        context: &Context,
        head: &Head,
        headers: &HeaderMap,
        announced: Sha256,
    ) -> Option<UploadTag> {
        policy_of(context, head.subject)?;
        let content_type = only_form_type(headers)?;
        let caller = caller_tag(&self.signer, &context.principal, &context.credential);
        Some(self.known.tag(&[
            Some(b"request"),
            Some(caller.as_bytes()),
            Some(head.upstream_target.as_bytes()),
            Some(content_type.as_bytes()),
            Some(announced.as_bytes()),
        ]))
    }

    /// A known upload, if policy permits it now and its medium, of this pin, may stand for it.
    pub(super) fn recall(
        &self,
        context: &Context,
        head: &Head,
        settings: SettingsFact,
        known: &KnownUpload,
        pin: Option<Pin>,
    ) -> Option<Recalled> {
        let upload = Upload::clone(&known.upload);
        let request = Request {
            subject: head.subject,
            generation: head.generation(),
            operation: Operation::UploadMedia(upload.clone()),
        };
        let facts = Facts {
            now: self.clock.now(),
            media: &[],
            settings,
            recent_registrations: 0,
        };
        let principal = &context.principal;
        // The permit opens nothing: whoever gets the answer is judged once more on the way to it.
        match decide(&principal.policies, principal.caller(), &request, &facts) {
            Decision::Deny(_) => None,
            Decision::Allow(permit) => {
                let policy = policy_of(context, head.subject)?;
                let stand_in = self.stand_in(policy, known, pin, &permit)?.0;
                Some(Recalled { upload, stand_in })
            }
        }
    }

    /// The medium of a known upload, and its pin, if it may stand for one that is permitted now.
    fn stand_in(
        &self,
        policy: &NumberPolicy,
        known: &KnownUpload,
        pin: Option<Pin>,
        permit: &Permit,
    ) -> Option<(StandIn, Pin)> {
        if permit.observed().is_some() {
            // It passes only because refusals do not refuse yet: then it passes as it came.
            return None;
        }
        let pin = pin.map(|pin| Pin {
            ends: pin.ends.min(known.ends),
            ..pin
        })?;
        let stand_in = StandIn {
            media: known.media,
            ends: pin.ends,
        };
        policy
            .lets_stand_in(pin, permit.ttl(), self.clock.now(), self.minute)
            .then_some((stand_in, pin))
    }

    /// Begins to watch an upload whose number reuses media; `target` is where it goes, `announced` the tag of its request.
    pub(super) fn watch(
        &self,
        context: &Context,
        request: &Request<'_>,
        target: &str,
        announced: Option<UploadTag>,
    ) -> Option<Candidate> {
        if !matches!(request.operation, Operation::UploadMedia(_)) {
            return None;
        }
        policy_of(context, request.subject)?;
        let scope = context
            .principal
            .index
            .is_none()
            .then(|| caller_tag(&self.signer, &context.principal, &context.credential));
        Some(Candidate {
            reuse: self.clone(),
            scope,
            query: target.split_once('?').map(|(_, query)| query.into()),
            announced,
            becomes: Arc::default(),
        })
    }

    /// Remembers an upload that has become this medium.
    pub(super) fn remember(&self, new: NewUpload, media: MediaId, pin: Pin) {
        let tags = new.tags.into_iter().flatten();
        self.known.remember(tags, media, pin, new.upload);
    }
}

/// The policy of a number that reuses media.
fn policy_of(context: &Context, subject: Subject) -> Option<&NumberPolicy> {
    let Subject::Number(number) = subject else {
        return None;
    };
    let policy = context.principal.policies.numbers.get(&number)?;
    policy.media.reuse.then_some(policy)
}

/// An upload under way that may be known, or will be.
pub(super) struct Candidate {
    reuse: Reuse,
    /// Whose uploads it may be known from, where not everybody's.
    scope: Option<CallerTag>,
    query: Option<Box<str>>,
    announced: Option<UploadTag>,
    becomes: Arc<OnceLock<NewUpload>>,
}

impl Candidate {
    /// Where [`Candidate::judge`] puts what the upload will be known by.
    pub(super) fn becomes(&self) -> Arc<OnceLock<NewUpload>> {
        Arc::clone(&self.becomes)
    }

    /// The medium that stands for a whole form, which is permitted. If there is none, what it will be known by is noted.
    pub(super) fn judge(
        &self,
        context: &Context,
        request: &Request<'_>,
        form: WholeForm<'_>,
        permit: &Permit,
    ) -> Option<StandIn> {
        let Operation::UploadMedia(upload) = &request.operation else {
            return None;
        };
        let policy = policy_of(context, request.subject)?;
        let is_for_messages = [FormField::UseCase, FormField::Description]
            .into_iter()
            .all(|field| form.fields.get(field).is_none());
        // What is for something else than messages may be read, kept or changed in ways of its own.
        if permit.observed().is_some() || !is_for_messages {
            return None;
        }
        let tag = self.file_tag(request.subject, form)?;
        let known = self.reuse.known.find(tag);
        let upload = Arc::new(lasting(upload));
        let stands_in = known.and_then(|known| {
            // A form that ends cannot wait for a shared store: there, only what is known by its head is answered with.
            let pin = self.reuse.pins.find(known.media);
            self.reuse.stand_in(policy, &known, pin, permit)
        });
        if let Some((stand_in, pin)) = stands_in {
            // The next one may be known by its head.
            self.reuse
                .known
                .remember(self.announced, stand_in.media, pin, upload);
            return Some(stand_in);
        }
        let tags = [Some(tag), self.announced];
        // A form is judged once.
        let _ = self.becomes.set(NewUpload { tags, upload });
        None
    }

    /// By what a file is known again. Whatever Meta's answer may turn on is part of it, but the version and `ttl_minutes`.
    fn file_tag(&self, subject: Subject, form: WholeForm<'_>) -> Option<UploadTag> {
        let Subject::Number(number) = subject else {
            return None;
        };
        let content_type = form.file.content_type.as_ref().map(ToString::to_string);
        let field = |field| form.fields.get(field).map(str::as_bytes);
        Some(
            self.reuse.known.tag(&[
                Some(b"file"),
                Some(&number.get().to_be_bytes()),
                self.scope.as_ref().map(|caller| caller.as_bytes().as_slice()),
                self.query.as_deref().map(str::as_bytes),
                form.file
                    .file_name
                    .as_ref()
                    .map(FileName::as_str)
                    .map(str::as_bytes),
                content_type.as_deref().map(str::as_bytes),
                field(FormField::MessagingProduct),
                field(FormField::Type),
                Some(form.file_sha256?.as_bytes()),
            ]),
        )
    }
}

/// What is to be judged again of an upload: its types as policy tells them apart, so that no caller's text is kept.
fn lasting(upload: &Upload<'_>) -> Upload<'static> {
    let of_type =
        |text: &Option<Cow<'_, str>>| text.as_deref().map(|text| Cow::Owned(essence(text).to_owned()));
    Upload {
        complete: true,
        ttl_minutes: upload
            .ttl_minutes
            .as_deref()
            .map(|text| Cow::Owned(text.to_owned())),
        declared_type: of_type(&upload.declared_type),
        file_type: of_type(&upload.file_type),
        use_case: None,
        file_bytes: upload.file_bytes,
    }
}
