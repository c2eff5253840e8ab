//! Reads a request's body: what makes an operation and its payload of head and body.
//!
//! What it deliberately does not do: look anything up. Facts are gathered by [`super::gather`], of what is read here.

use std::borrow::Cow;

use bytes::Bytes;
use curfew_policies::{MediaId, Message, NodeId, Operation, UnverifiedOperation, Upload};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue};
use http_body::Body as _;
use http_body_util::BodyExt as _;

use crate::body::Inbound;
use crate::budget::JsonBudget;
use crate::call::Payload;
use crate::error::GatewayError;
use crate::graph::classify::Head;
use crate::graph::digest::announced_digest;
use crate::graph::file_offset::{FILE_OFFSET, FileOffset};
use crate::graph::json;
use crate::graph::message::{self, Body as MessageBody, MessageError};
use crate::graph::multipart::{
    Boundary, FormField, FormFields, FormKind, IntakeError, PartHead, UploadForm, boundary_of,
};
use crate::graph::routes::{BodyKind, Kind, Node, Route};
use crate::graph::settings::{STORAGE_NAMES, read_registration, read_settings};
use crate::guard::CallerKey;
use crate::server::{BodyReadError, FrontDoorRefusal};
use crate::upstream::{CollectError, collect_within};

/// What JSON bodies may fill.
pub(crate) struct JsonRoom<'a> {
    /// One of them, in bytes.
    pub(crate) most: usize,
    /// All that are under way together.
    pub(crate) budget: &'a JsonBudget,
    /// Whose share of it they take.
    pub(crate) caller: CallerKey,
}

/// What a body says beside its operation: whom a send goes to, and by which template.
#[derive(Debug)]
pub(crate) struct Addressed {
    /// `None` where it reaches nobody, or nobody can read whom.
    pub(crate) recipient: Option<message::Recipient<'static>>,
    /// The template's name.
    pub(crate) template: message::TemplateName<'static>,
}

/// A body that was read.
pub(super) struct ReadBody {
    pub(super) operation: Operation<'static>,
    pub(super) payload: Payload,
    /// Of sends.
    pub(super) addressed: Option<Addressed>,
}

impl ReadBody {
    const fn unaddressed(operation: Operation<'static>, payload: Payload) -> Self {
        Self {
            operation,
            payload,
            addressed: None,
        }
    }
}

/// Reads the body and makes the operation of it.
pub(super) async fn read(
    head: &Head,
    headers: &HeaderMap,
    body: Inbound,
    room: &JsonRoom<'_>,
) -> Result<ReadBody, GatewayError> {
    if let Some(kind) = form_kind(head.route.body, headers) {
        let (operation, payload) = read_form(kind, head, headers, body).await?;
        return Ok(ReadBody::unaddressed(operation, payload));
    }
    let without_body = || {
        let operation = operation_without_body(head.route, head.node);
        Ok(ReadBody::unaddressed(operation, Payload::Empty))
    };
    match head.route.body {
        BodyKind::None => {
            expect_no_body(body).await?;
            without_body()
        }
        BodyKind::JsonOrNone if body.is_end_stream() => without_body(),
        // Over HTTP/2 a DELETE's end may come in a frame of its own: only then it is known to have no body.
        BodyKind::JsonOrNone if !headers.contains_key(CONTENT_TYPE) => {
            expect_no_body(body).await.map_err(|error| match error {
                GatewayError::UnexpectedBody => wrong_content_type(headers, "application/json"),
                error => error,
            })?;
            without_body()
        }
        BodyKind::Json | BodyKind::JsonOrNone | BodyKind::Form(_) | BodyKind::JsonOrForm(_) => {
            expect_json(headers, head.route.body)?;
            let body = collect_json(headers, body, room).await?;
            if body.is_empty() && head.route.body == BodyKind::JsonOrNone {
                return without_body();
            }
            let (operation, addressed) = operation_of_json(head, &body)?;
            Ok(ReadBody {
                operation,
                payload: Payload::Json(body),
                addressed,
            })
        }
        BodyKind::Raw => {
            let operation = operation_without_body(head.route, head.node);
            Ok(ReadBody::unaddressed(operation, Payload::Raw(body)))
        }
    }
}

/// Which form the body is, if it is one.
pub(crate) fn form_kind(body: BodyKind, headers: &HeaderMap) -> Option<&'static FormKind> {
    match body {
        BodyKind::Form(kind) => Some(kind),
        BodyKind::JsonOrForm(kind) => only_form_type(headers).map(|_| kind),
        BodyKind::None | BodyKind::Json | BodyKind::JsonOrNone | BodyKind::Raw => None,
    }
}

/// Reads a form up to its file; the rest goes out as it comes.
async fn read_form(
    kind: &'static FormKind,
    head: &Head,
    headers: &HeaderMap,
    body: Inbound,
) -> Result<(Operation<'static>, Payload), GatewayError> {
    let boundary = form_boundary(headers)?;
    let form = UploadForm::new(kind, &boundary, body).announced(announced_digest(headers)?);
    let form = form.read_head().await;
    let form = form.map_err(|stopped| intake_error(stopped.reason))?;
    let operation = operation_of_form(head, form.fields(), form.file());
    Ok((operation, Payload::Form(Box::new(form))))
}

/// Makes the operation of a form, as far as it is read.
pub(crate) fn operation_of_form(head: &Head, fields: &FormFields, file: &PartHead) -> Operation<'static> {
    if head.route.kind != Kind::UploadMedia {
        return operation_without_body(head.route, head.node);
    }
    let field = |field| fields.get(field).map(str::to_owned);
    Operation::UploadMedia(Upload {
        complete: false,
        ttl_minutes: field(FormField::TtlMinutes).map(Cow::Owned),
        declared_type: field(FormField::Type)
            .or_else(|| head.query("type").map(str::to_owned))
            .map(Cow::Owned),
        file_type: file
            .content_type
            .as_ref()
            .map(|value| Cow::Owned(value.to_string())),
        use_case: field(FormField::UseCase).map(Cow::Owned),
        file_bytes: 0,
    })
}

/// Where the file of a resumable upload goes on; other calls have no such header, and it goes no further.
pub(crate) fn file_offset(route: &Route, headers: &HeaderMap) -> Result<Option<FileOffset>, GatewayError> {
    if route.node != Node::UploadSession {
        return Ok(None);
    }
    let mut values = headers.get_all(FILE_OFFSET).iter();
    let offset = match (values.next(), values.next()) {
        (None, _) => return Ok(None),
        (Some(value), None) => value.to_str().ok().and_then(|text| text.parse().ok()),
        (Some(_), Some(_)) => None,
    };
    offset.map(Some).ok_or(GatewayError::FileOffset)
}

pub(crate) async fn collect_json(
    headers: &HeaderMap,
    body: Inbound,
    room: &JsonRoom<'_>,
) -> Result<Bytes, GatewayError> {
    let most = room.most;
    let announced = headers
        .get(CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.parse::<usize>().ok());
    if announced.is_some_and(|announced| announced > most) {
        return Err(GatewayError::JsonTooLarge(most));
    }
    // Before it is read: what is not read stays in the client's own memory. And no more than is soon there: who announces much
    // and sends little takes little.
    let mut place = room.budget.open(room.caller, announced.unwrap_or(most));
    let body = collect_within(body, most, |read| place.reaches_past(read)).await;
    let body = body.map_err(|error| match error {
        CollectError::NoRoom => GatewayError::Busy,
        CollectError::TooLarge => GatewayError::JsonTooLarge(most),
        CollectError::Broken(error) => read_failure(error.as_ref()),
    })?;
    Ok(place.hold(body))
}

/// Makes the operation of a head alone.
pub(crate) fn operation_without_body(route: &Route, node: Option<NodeId>) -> Operation<'static> {
    let media = node.map(MediaId::from);
    match (route.kind, media) {
        (Kind::ReadMedia, Some(media)) => Operation::ReadMedia(media),
        (Kind::DeleteMedia, Some(media)) => Operation::DeleteMedia(media),
        (Kind::Deregister, _) => Operation::Deregister,
        (Kind::RequestCode, _) => Operation::RequestCode,
        (Kind::VerifyCode, _) => Operation::VerifyCode,
        (Kind::Unverified(operation), _) => Operation::Unverified(operation),
        (Kind::RedirectWebhooks, _) => Operation::RedirectWebhooks,
        (Kind::Read, _) => Operation::Read(route.name),
        _ => Operation::Manage(route.name),
    }
}

/// Makes the operation of a JSON body, and says whom it reaches.
pub(crate) fn operation_of_json(
    head: &Head,
    body: &[u8],
) -> Result<(Operation<'static>, Option<Addressed>), GatewayError> {
    let send: fn(Message<'static>) -> Operation<'static> = match head.route.kind {
        Kind::Messages => Operation::SendMessage,
        Kind::MarketingMessages => Operation::SendMarketing,
        kind => return Ok((operation_of_management(head, kind, body)?, None)),
    };
    match message::read(body)? {
        MessageBody::Send(message, recipient, template) => {
            let addressed = Addressed {
                recipient: Some(recipient.into_owned()),
                template: template.map(|name| Cow::Owned(name.into_owned())),
            };
            Ok((send(message.into_owned()), Some(addressed)))
        }
        MessageBody::ReadReceipt if head.route.kind == Kind::Messages => {
            let addressed = Addressed {
                recipient: None,
                template: None,
            };
            Ok((Operation::MarkRead, Some(addressed)))
        }
        MessageBody::ReadReceipt => Err(MessageError::ReceiptMisplaced.into()),
    }
}

/// The members that send a number's or an account's webhooks elsewhere, wherever a body has them (Cloud API, "Webhooks
/// overrides"; Graph API, "Subscriptions").
const WEBHOOK_NAMES: [&str; 3] = ["webhook_configuration", "override_callback_uri", "callback_url"];

/// The members of a call that make Meta keep what is said.
const RECORDING_NAMES: [&str; 2] = ["recording", "transcription"];

/// Every name that is looked for at any depth of a body that manages something.
const WATCHED_NAMES: &[&str] = &[
    "webhook_configuration",
    "override_callback_uri",
    "callback_url",
    "verify_token",
    "storage_configuration",
    "data_localization_region",
    "meta_store_retention_minutes",
    "retention_minutes",
    "recording",
    "transcription",
];

fn operation_of_management(head: &Head, kind: Kind, body: &[u8]) -> Result<Operation<'static>, GatewayError> {
    let names = json::check_names(body, WATCHED_NAMES)?;
    let is_about_storage = matches!(kind, Kind::ChangeSettings | Kind::Register);
    // No other call is documented to have a member of storage: one that does would change it unseen.
    let misplaced = names
        .control_parameter()
        .or_else(|| names.find_anywhere(&STORAGE_NAMES));
    if let Some(key) = misplaced.filter(|_| !is_about_storage) {
        return Err(GatewayError::ControlMember(
            curfew_policies::shown(key).into_owned(),
        ));
    }
    let redirects = names.find_anywhere(&WEBHOOK_NAMES).is_some()
        || (kind == Kind::SubscribeApp && names.find_anywhere(&["verify_token"]).is_some());
    if redirects {
        return Ok(Operation::RedirectWebhooks);
    }
    Ok(match kind {
        Kind::ChangeSettings => Operation::ChangeSettings(read_settings(body)?.into_owned()),
        Kind::Register => Operation::Register(read_registration(body)?.into_owned()),
        Kind::Call if names.find_anywhere(&RECORDING_NAMES).is_some() => {
            Operation::Unverified(UnverifiedOperation::CallRecording)
        }
        _ => operation_without_body(head.route, head.node),
    })
}

/// Reads to the end, and takes no byte.
pub(super) async fn expect_no_body(mut body: Inbound) -> Result<(), GatewayError> {
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| read_failure(&error))?;
        if frame.data_ref().is_some_and(|data| !data.is_empty()) {
            return Err(GatewayError::UnexpectedBody);
        }
    }
    Ok(())
}

/// The boundary of a form, from the request's one `Content-Type`.
pub(crate) fn form_boundary(headers: &HeaderMap) -> Result<Boundary, GatewayError> {
    let value = only_form_type(headers).ok_or_else(|| wrong_content_type(headers, "multipart/form-data"))?;
    Ok(boundary_of(value)?)
}

/// The one `Content-Type`, if it says that the body is a form.
pub(super) fn only_form_type(headers: &HeaderMap) -> Option<&HeaderValue> {
    let mut values = headers.get_all(CONTENT_TYPE).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return None;
    };
    let essence = curfew_policies::essence(value.to_str().ok()?);
    essence
        .eq_ignore_ascii_case("multipart/form-data")
        .then_some(value)
}

fn intake_error(error: IntakeError<BodyReadError>) -> GatewayError {
    match error {
        IntakeError::Form(error) => GatewayError::Form(error),
        IntakeError::Inbound(error) => read_failure(&error),
    }
}

/// Exactly one `Content-Type`, `application/json`; `charset=utf-8` may follow. `body` is what the call takes, for the error.
pub(crate) fn expect_json(headers: &HeaderMap, body: BodyKind) -> Result<(), GatewayError> {
    let expected = match body {
        BodyKind::JsonOrForm(_) => "application/json, or multipart/form-data with a file",
        _ => "application/json",
    };
    let mut values = headers.get_all(CONTENT_TYPE).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return Err(wrong_content_type(headers, expected));
    };
    let Ok(value) = value.to_str() else {
        return Err(wrong_content_type(headers, expected));
    };
    let (essence, parameters) = value.split_once(';').unwrap_or((value, ""));
    let parameters = parameters.trim_ascii();
    let charset_is_fine = parameters.is_empty()
        || parameters.eq_ignore_ascii_case("charset=utf-8")
        || parameters.eq_ignore_ascii_case("charset=\"utf-8\"");
    if essence.trim_ascii().eq_ignore_ascii_case("application/json") && charset_is_fine {
        Ok(())
    } else {
        Err(wrong_content_type(headers, expected))
    }
}

fn wrong_content_type(headers: &HeaderMap, expected: &'static str) -> GatewayError {
    let came = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .map_or_else(
            || "none".to_owned(),
            |value| format!("{:?}", curfew_policies::shown(value)),
        );
    GatewayError::ContentType { expected, came }
}

/// What broke a body: the front door, its pauses, or the connection.
pub(crate) fn read_failure(error: &(dyn std::error::Error + 'static)) -> GatewayError {
    match FrontDoorRefusal::of_error(error) {
        Some(refusal) => GatewayError::FrontDoor(refusal),
        None => GatewayError::BodyBroken,
    }
}
