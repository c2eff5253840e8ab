//! Reads a request's body: what makes an operation and its payload of head and body.
//!
//! What it deliberately does not do: look anything up. Facts are gathered by [`super::gather`], of what is read here.

use std::borrow::Cow;

use bytes::Bytes;
use curfew_policies::{MediaId, Message, NodeId, Operation, UnverifiedOperation, Upload};
use http::HeaderMap;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http_body::Body as _;
use http_body_util::BodyExt as _;

use crate::body::Inbound;
use crate::budget::JsonBudget;
use crate::call::Payload;
use crate::error::GatewayError;
use crate::graph::classify::Head;
use crate::graph::json;
use crate::graph::message::{self, Body as MessageBody, MessageError};
use crate::graph::multipart::{Boundary, IntakeError, UploadForm, boundary_of};
use crate::graph::routes::{BodyKind, Kind, Route};
use crate::graph::settings::{STORAGE_NAMES, read_registration, read_settings};
use crate::server::{BodyReadError, FrontDoorRefusal};
use crate::upstream::{CollectError, collect};

/// What JSON bodies may fill.
pub(super) struct JsonRoom<'a> {
    /// One of them, in bytes.
    pub(super) most: usize,
    /// All that are under way together.
    pub(super) budget: &'a JsonBudget,
}

/// Reads the body and makes the operation of it.
pub(super) async fn read(
    head: &Head,
    headers: &HeaderMap,
    body: Inbound,
    room: &JsonRoom<'_>,
) -> Result<(Operation<'static>, Payload), GatewayError> {
    match head.route.body {
        BodyKind::None => {
            expect_no_body(body).await?;
            Ok((operation_without_body(head.route, head.node), Payload::Empty))
        }
        BodyKind::JsonOrNone if body.is_end_stream() => {
            Ok((operation_without_body(head.route, head.node), Payload::Empty))
        }
        // Over HTTP/2 a DELETE's end may come in a frame of its own: only then it is known to have no body.
        BodyKind::JsonOrNone if !headers.contains_key(CONTENT_TYPE) => {
            expect_no_body(body).await.map_err(|error| match error {
                GatewayError::UnexpectedBody => wrong_content_type(headers, "application/json"),
                error => error,
            })?;
            Ok((operation_without_body(head.route, head.node), Payload::Empty))
        }
        BodyKind::Json | BodyKind::JsonOrNone => {
            expect_content_type(headers, "application/json")?;
            let body = collect_json(headers, body, room).await?;
            if body.is_empty() && head.route.body == BodyKind::JsonOrNone {
                return Ok((operation_without_body(head.route, head.node), Payload::Empty));
            }
            let operation = operation_of_json(head, &body)?;
            Ok((operation, Payload::Json(body)))
        }
        BodyKind::MediaForm => {
            let boundary = upload_boundary(headers)?;
            let form = UploadForm::new(&boundary, body).read_head().await;
            let form = form.map_err(|stopped| intake_error(stopped.reason))?;
            let upload = Upload {
                complete: false,
                ttl_minutes: form.fields().ttl_minutes.clone().map(Cow::Owned),
                declared_type: form
                    .fields()
                    .media_type
                    .clone()
                    .or_else(|| head.query("type").map(str::to_owned))
                    .map(Cow::Owned),
                file_type: form
                    .file()
                    .content_type
                    .as_ref()
                    .map(|value| Cow::Owned(value.to_string())),
                use_case: form.fields().use_case.clone().map(Cow::Owned),
                file_bytes: 0,
            };
            Ok((Operation::UploadMedia(upload), Payload::Form(Box::new(form))))
        }
        BodyKind::Raw => {
            let operation = operation_without_body(head.route, head.node);
            Ok((operation, Payload::Raw(body)))
        }
    }
}

async fn collect_json(
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
    // Before a byte of it is read: what is not read stays in the client's own memory.
    let place = room
        .budget
        .take(announced.unwrap_or(most))
        .ok_or(GatewayError::Busy)?;
    let body = collect(body, most).await.map_err(|error| match error {
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

/// Makes the operation of a JSON body.
pub(crate) fn operation_of_json(head: &Head, body: &[u8]) -> Result<Operation<'static>, GatewayError> {
    let sends = |body| -> Result<Option<Message<'static>>, GatewayError> {
        match message::read(body)? {
            MessageBody::ReadReceipt => Ok(None),
            MessageBody::Send(message, _recipient) => Ok(Some(message.into_owned())),
        }
    };
    match head.route.kind {
        Kind::Messages => Ok(sends(body)?.map_or(Operation::MarkRead, Operation::SendMessage)),
        Kind::MarketingMessages => match sends(body)? {
            Some(message) => Ok(Operation::SendMarketing(message)),
            None => Err(MessageError::ReceiptMisplaced.into()),
        },
        kind => operation_of_management(head, kind, body),
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

/// The boundary of an upload's form, from its one `Content-Type`.
pub(crate) fn upload_boundary(headers: &HeaderMap) -> Result<Boundary, GatewayError> {
    let mut values = headers.get_all(CONTENT_TYPE).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return Err(wrong_content_type(headers, "multipart/form-data"));
    };
    let is_form = value
        .to_str()
        .is_ok_and(|value| curfew_policies::essence(value).eq_ignore_ascii_case("multipart/form-data"));
    if !is_form {
        return Err(wrong_content_type(headers, "multipart/form-data"));
    }
    Ok(boundary_of(value)?)
}

fn intake_error(error: IntakeError<BodyReadError>) -> GatewayError {
    match error {
        IntakeError::Form(error) => GatewayError::Form(error),
        IntakeError::Inbound(error) => read_failure(&error),
    }
}

/// Exactly one `Content-Type`, with this essence; `charset=utf-8` may follow.
pub(crate) fn expect_content_type(headers: &HeaderMap, expected: &'static str) -> Result<(), GatewayError> {
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
    if essence.trim_ascii().eq_ignore_ascii_case(expected) && charset_is_fine {
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
