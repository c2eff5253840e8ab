//! What a request becomes on its way in. The order of the stack is also a type:
//! [`Seen`] → [`Identified`] → [`Classified`] → [`Call`] → `Permitted` → `Exchange`.
//!
//! Facts travel in these types, never in `http::Extensions`: a layer that needs one cannot be put above the layer that
//! finds it out.

use std::sync::Arc;

use bytes::Bytes;
use curfew_policies::{
    Caller, MediaFact, MediaId, Operation, PhoneNumberId, PolicySet, SendClass, SettingsFact, Subject,
    UnverifiedOperation,
};
use http::{HeaderValue, Method};
use hyper::body::Incoming;
use secrecy::SecretString;

use crate::body::{Inbound, ResponseBody};
use crate::graph::classify::Head;
use crate::graph::file_offset::FileOffset;
use crate::graph::idempotency_key::IdempotencyKey;
use crate::graph::message::Recipient;
use crate::graph::multipart::OpenForm;
use crate::graph::routes::CALL;
use crate::layers::download::Wanted;
use crate::layers::reuse::StandIn;
use crate::record::Record;
use crate::stores::outcomes::Sending;
use crate::stores::{Claims, RegistrationCall, UploadTag};

/// A request as it came, with a record of its own.
#[derive(Debug)]
pub struct Seen {
    /// The request.
    pub request: http::Request<Incoming>,
    /// Its record.
    pub record: Arc<Record>,
    /// What is known of its connection.
    pub connection: Arc<crate::server::ConnInfo>,
}

/// Who asks, under which policies.
#[derive(Clone, Debug)]
pub struct Principal {
    /// The policies in force when the request came: a reload does not change a request half-way.
    pub policies: Arc<PolicySet>,
    /// Which of the policies' callers; `None` = pass-through.
    pub index: Option<usize>,
}

impl Principal {
    /// The caller, as the rules see it.
    #[must_use]
    pub fn caller(&self) -> Caller<'_> {
        match self.index {
            None => Caller::PassThrough,
            // An index that no longer fits is nobody; the gateway itself may do nothing that a caller can ask for.
            Some(index) => self
                .policies
                .callers
                .get(index)
                .map_or(Caller::Gateway, Caller::Known),
        }
    }

    /// The one number that it may use, if there is only one: then a call that names none can only mean that one.
    #[must_use]
    pub fn only_number(&self) -> Option<PhoneNumberId> {
        let caller = self.caller();
        let mut numbers = self
            .policies
            .numbers
            .keys()
            .filter(|number| caller.may_use(**number));
        match (numbers.next(), numbers.next()) {
            (Some(only), None) => Some(*only),
            _ => None,
        }
    }
}

/// Whose token goes to Meta.
#[derive(Clone, Debug)]
pub enum Credential {
    /// The gateway's own.
    Gateway,
    /// The caller's (pass-through), without its scheme.
    Caller(SecretString),
}

/// A request whose caller is known.
#[derive(Debug)]
pub struct Identified {
    /// The request.
    pub request: http::Request<Inbound>,
    /// Its record.
    pub record: Arc<Record>,
    /// Who asks.
    pub principal: Principal,
    /// Whose token goes to Meta.
    pub credential: Credential,
    /// How the caller reached the gateway, for rewritten URLs: `scheme://authority`.
    pub origin: Arc<str>,
    /// The claims of a media URL, for requests that are identified by one.
    pub media_url: Option<Claims>,
}

/// What a known request is for.
#[derive(Debug)]
pub enum Target {
    /// A call of the Graph API.
    Graph(Head),
    /// A download by one of the gateway's own URLs.
    Download(Claims),
}

/// A request whose operation is known.
#[derive(Debug)]
pub struct Classified {
    /// The request; its path and query are not looked at again.
    pub request: http::Request<Inbound>,
    /// What the rest of the stack needs to know of it.
    pub context: Context,
    /// What it is for.
    pub target: Target,
}

/// What the answer's layers need to know of a request, whatever it is.
#[derive(Clone, Debug)]
pub struct Context {
    /// Its record.
    pub record: Arc<Record>,
    /// Who asks.
    pub principal: Principal,
    /// Whose token goes to Meta.
    pub credential: Credential,
    /// How the caller reached the gateway.
    pub origin: Arc<str>,
}

/// A request with everything that a decision needs.
#[derive(Debug)]
pub struct Call {
    /// Context.
    pub context: Context,
    /// What it asks for, as policy sees it.
    pub request: curfew_policies::Request<'static>,
    /// What is known of the media that it names.
    pub media: Vec<MediaFact>,
    /// What is known of the number's settings.
    pub settings: SettingsFact,
    /// How many such calls the number had in 72 hours.
    pub recent_registrations: u32,
    /// Where it would go.
    pub destination: Destination,
    /// What it would carry.
    pub payload: Payload,
    /// The caller's `Accept`.
    pub accept: Option<HeaderValue>,
    /// By what the same request would be known again, for an upload that announces its digest.
    pub announced: Option<UploadTag>,
    /// By what its caller will know it again, for a JSON document that [reaches a user](Purpose::Send).
    pub idempotency_key: Option<IdempotencyKey>,
    /// What its pace goes by, for what counts towards a number's limits.
    pub send: Option<SendFacts>,
}

impl Call {
    /// The send that it is, and by which key its caller will know it again; `None` if it is no send. A call that reaches a user
    /// and is no message is one if it comes with a key.
    #[must_use]
    pub fn as_send(&self) -> Option<Sending<'_>> {
        let number = match self.request.subject {
            Subject::Number(number) => Some(number),
            Subject::Media { .. } | Subject::Account(_) | Subject::Other => None,
        };
        let is_send = match &self.request.operation {
            Operation::SendMessage(_) | Operation::SendMarketing(_) => number.is_some(),
            // Only sends that have a key come with one.
            _ => self.idempotency_key.is_some(),
        };
        match (&self.destination, &self.payload) {
            (Destination::Graph { target, .. }, Payload::Json(body)) if is_send => Some(Sending {
                number,
                key: self.idempotency_key.as_ref().map(IdempotencyKey::as_bytes),
                target,
                body,
            }),
            _ => None,
        }
    }
}

/// What the pace of a send goes by, beside its number.
#[derive(Debug)]
pub struct SendFacts {
    /// Whom it reaches. `None` for what reaches nobody, a read receipt, and for what nobody here can read: it counts for the
    /// number's throughput alone.
    pub recipient: Option<Recipient<'static>>,
    /// What it is for.
    pub class: SendClass,
    /// Whether it may be a template: others reach nobody outside a service window.
    pub is_template: bool,
}

/// Where a request goes.
#[derive(Clone, Debug)]
pub enum Destination {
    /// To the Graph API, by method and a target that was built from parsed values.
    Graph {
        /// The method.
        method: Method,
        /// Path and query.
        target: String,
        /// Where the file of a resumable upload goes on.
        file_offset: Option<FileOffset>,
    },
    /// To the media host, under a URL that Meta gave out.
    MediaHost {
        /// The claims of the gateway's URL.
        claims: Claims,
        /// What of it is asked for, and on which conditions.
        wanted: Wanted,
    },
    /// Nowhere: this medium stands for the upload, whose body is not read.
    Known(StandIn),
}

/// What a request carries.
pub enum Payload {
    /// Nothing.
    Empty,
    /// A JSON document, judged, byte for byte.
    Json(Bytes),
    /// A form, read up to its file.
    Form(Box<OpenForm<Inbound>>),
    /// Bytes that nobody judges.
    Raw(Inbound),
}

impl std::fmt::Debug for Payload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Empty => "Empty",
            Self::Json(_) => "Json(…)",
            Self::Form(_) => "Form(…)",
            Self::Raw(..) => "Raw(…)",
        })
    }
}

/// What an answer of Meta's means for the gateway's books.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Purpose {
    /// A send, or another call that reaches a user: if its outcome is not known, it must not be tried again.
    Send,
    /// An upload by this number.
    Upload {
        /// The number.
        number: PhoneNumberId,
    },
    /// A medium's metadata.
    ReadMedia {
        /// The medium.
        media: MediaId,
        /// Its number.
        number: PhoneNumberId,
    },
    /// The metadata of a medium of which nobody knows whose it is.
    ReadUnknownMedia,
    /// A medium's deletion.
    DeleteMedia {
        /// The medium.
        media: MediaId,
    },
    /// A call that can change a number's storage.
    ChangeStorage {
        /// The number.
        number: PhoneNumberId,
        /// Whether Meta counts it towards a lock-out, and as what.
        registration: Option<RegistrationCall>,
    },
    /// A read, whose answer may hold links to further pages.
    Read,
    /// Anything else.
    Other,
}

impl Purpose {
    /// What an operation's answer means.
    #[must_use]
    pub fn of(operation: &Operation<'_>, number: Option<PhoneNumberId>, media: &[MediaFact]) -> Self {
        let owner = media.first().and_then(|fact| match fact {
            MediaFact::Pinned(pin) => Some(pin.number),
            MediaFact::Unknown | MediaFact::Denied => None,
        });
        match (operation, number) {
            (Operation::SendMessage(_) | Operation::SendMarketing(_), _) => Self::Send,
            // Whatever else reaches a user, now or later, would reach them twice.
            (
                Operation::Unverified(
                    UnverifiedOperation::MarketingMessages
                    | UnverifiedOperation::MessagesEncrypted
                    | UnverifiedOperation::CallRecording
                    | UnverifiedOperation::Signups
                    | UnverifiedOperation::WelcomeSequences,
                ),
                _,
            )
            | (Operation::Manage(CALL), _) => Self::Send,
            (Operation::UploadMedia(_), Some(number)) => Self::Upload { number },
            (Operation::ReadMedia(media), _) => match owner {
                Some(number) => Self::ReadMedia {
                    media: *media,
                    number,
                },
                None => Self::ReadUnknownMedia,
            },
            (Operation::DeleteMedia(media), _) => Self::DeleteMedia { media: *media },
            (Operation::ChangeSettings(_), Some(number)) => Self::ChangeStorage {
                number,
                registration: None,
            },
            (Operation::Register(_), Some(number)) => Self::ChangeStorage {
                number,
                registration: Some(RegistrationCall::Register),
            },
            (Operation::Deregister, Some(number)) => Self::ChangeStorage {
                number,
                registration: Some(RegistrationCall::Deregister),
            },
            (Operation::Read(_), _) => Self::Read,
            _ => Self::Other,
        }
    }

    /// Whether its bookkeeping must come to its end even when the caller hangs up: Meta may have done what was asked by then.
    /// An upload is not of these, since its body comes from the caller.
    #[must_use]
    pub const fn outlives_its_caller(self) -> bool {
        matches!(self, Self::DeleteMedia { .. } | Self::ChangeStorage { .. })
    }
}

/// An answer on its way to the caller.
pub type Answer = http::Response<ResponseBody>;
