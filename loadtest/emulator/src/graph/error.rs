//! Graph's errors: the JSON shape, and each code's title and HTTP status (Error codes).

use http::StatusCode;
use serde_json::{Map, Value, json};

/// One error reply before it has a trace id.
#[derive(Clone, Debug)]
pub(crate) struct GraphError {
    pub(crate) status: StatusCode,
    pub(crate) code: i64,
    pub(crate) subcode: Option<i64>,
    message: String,
    kind: &'static str,
    details: Option<String>,
}

impl GraphError {
    /// An error of the table, with its own title and status.
    pub(crate) fn new(code: i64, details: impl Into<String>) -> Self {
        let (status, title) = known(code);
        Self {
            status: StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST),
            code,
            subcode: None,
            message: format!("(#{code}) {title}"),
            kind: "OAuthException",
            details: Some(details.into()),
        }
    }

    /// Code 100 with the sentence that names the parameter.
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        let message = message.into();
        Self {
            message: format!("(#100) {message}"),
            details: Some(message),
            ..Self::new(100, "")
        }
    }

    /// A required parameter that is not there, by Graph's own check.
    pub(crate) fn required(name: &str) -> Self {
        Self::invalid(format!("The parameter {name} is required."))
    }

    /// An id that leads to nothing, to something else, or to what the caller may not see: all the same.
    pub(crate) fn no_object(method: &str, id: &str) -> Self {
        Self {
            subcode: Some(33),
            message: format!(
                "Unsupported {} request. Object with ID '{id}' does not exist, cannot be loaded due to missing \
                 permissions, or does not support this operation. Please read the Graph API documentation at \
                 https://developers.facebook.com/docs/graph-api",
                method.to_ascii_lowercase()
            ),
            kind: "GraphMethodException",
            details: None,
            ..Self::new(100, "")
        }
    }

    /// No token, or one that is not accepted.
    pub(crate) fn token(message: &str) -> Self {
        Self {
            message: message.to_owned(),
            details: None,
            ..Self::new(190, "")
        }
    }

    /// A path that Graph does not have.
    pub(crate) fn unknown_path(path: &str) -> Self {
        Self {
            message: format!("Unknown path components: /{path}"),
            details: None,
            ..Self::new(2500, "")
        }
    }

    /// As a fault asks for it.
    pub(crate) fn fault(status: u16, code: i64, subcode: Option<i64>, details: Option<String>) -> Self {
        let base = Self::new(code, "");
        let status = StatusCode::from_u16(status).unwrap_or(base.status);
        Self {
            status,
            subcode,
            details: details.or_else(|| Some("Fault on demand".to_owned())),
            ..base
        }
    }

    pub(crate) fn body(&self, trace: &str) -> Value {
        let mut error = Map::new();
        error.insert("message".to_owned(), json!(self.message));
        error.insert("type".to_owned(), json!(self.kind));
        error.insert("code".to_owned(), json!(self.code));
        if let Some(subcode) = self.subcode {
            error.insert("error_subcode".to_owned(), json!(subcode));
        }
        if let Some(details) = &self.details {
            let data = json!({"messaging_product": "whatsapp", "details": details});
            error.insert("error_data".to_owned(), data);
        }
        error.insert("fbtrace_id".to_owned(), json!(trace));
        json!({ "error": error })
    }
}

/// An error as it stands in a webhook.
pub(crate) fn webhook_form(code: i64, details: &str) -> Value {
    let (_, title) = known(code);
    json!({
        "code": code,
        "title": title,
        "message": title,
        "error_data": {"details": details},
        "href": "https://developers.facebook.com/documentation/business-messaging/whatsapp/support/error-codes",
    })
}

/// HTTP status and title by code. Where Meta's table gives no status, Graph's usual 400 stands.
fn known(code: i64) -> (u16, &'static str) {
    match code {
        0 => (401, "AuthException"),
        1 => (400, "API Unknown"),
        2 => (503, "API Service"),
        3 => (500, "API Method"),
        4 => (400, "Application request limit reached"),
        10 => (403, "Permission Denied"),
        33 => (400, "Parameter value is not valid"),
        100 => (400, "Invalid parameter"),
        190 => (401, "Access token has expired"),
        200..=299 => (403, "API Permission"),
        368 => (403, "Temporarily blocked for policies violations"),
        2500 => (400, "An unknown error occurred"),
        80007 => (400, "Rate limit issues"),
        80008 => (
            400,
            "There have been too many calls to this WhatsApp Business account",
        ),
        130_429 => (400, "Rate limit hit"),
        130_472 => (400, "User's number is part of an experiment"),
        130_497 => (
            403,
            "Business account is restricted from messaging users in this country",
        ),
        131_000 => (500, "Something went wrong"),
        131_005 => (403, "Access denied"),
        131_008 => (400, "Required parameter is missing"),
        131_009 => (400, "Parameter value is not valid"),
        131_016 => (500, "Service unavailable"),
        131_021 => (400, "Recipient cannot be sender"),
        131_026 => (400, "Message undeliverable"),
        131_031 => (403, "Account has been locked"),
        131_035 => (400, "Webhook could not be delivered within data retention limit"),
        131_036 => (
            400,
            "Message failed to be delivered on at least one of the user's device",
        ),
        131_042 => (400, "Business eligibility payment issue"),
        131_045 => (500, "Incorrect certificate"),
        131_047 => (400, "Re-engagement message"),
        131_048 => (400, "Spam rate limit hit"),
        131_049 => (
            400,
            "Message not delivered to maintain healthy ecosystem engagement",
        ),
        131_050 => (400, "User has stopped marketing messages"),
        131_051 => (400, "Unsupported message type"),
        131_052 => (400, "Media download error"),
        131_053 => (400, "Media upload error"),
        131_055 => (400, "Method not allowed"),
        131_056 => (400, "(Business Account, Consumer Account) pair rate limit hit"),
        131_057 => (500, "Account in maintenance mode"),
        131_207 => (403, "Group suspended"),
        131_208 => (429, "Group operations limit hit"),
        132_000 => (
            400,
            "Number of parameters does not match the expected number of params",
        ),
        132_001 => (404, "Template name does not exist in the translation"),
        132_015 => (400, "Template is paused"),
        132_016 => (400, "Template is disabled"),
        133_000 => (500, "Incomplete deregistration"),
        133_004 => (503, "Server temporarily unavailable"),
        133_005 => (400, "Two step verification PIN mismatch"),
        133_006 => (400, "Phone number re-verification needed"),
        133_008 => (400, "Too many two step verification PIN guesses"),
        133_009 => (400, "Two step verification PIN guessed too fast"),
        133_010 => (400, "Phone number not registered"),
        133_015 => (
            400,
            "Wait a few minutes before attempting to register this phone number",
        ),
        133_016 => (400, "Account register or deregister rate limit exceeded"),
        134_100 => (400, "Only marketing messages supported"),
        136_024 => (400, "Phone number already verified"),
        137_000 => (400, "Identity key hash mismatch"),
        _ => (400, "Error"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_has_graphs_shape() {
        let error = GraphError::new(130_429, "too fast");
        let body = error.body("Atrace");
        assert_eq!(error.status, StatusCode::BAD_REQUEST);
        assert_eq!(body["error"]["message"], "(#130429) Rate limit hit");
        assert_eq!(body["error"]["error_data"]["details"], "too fast");
        assert_eq!(body["error"]["fbtrace_id"], "Atrace");
        assert!(body["error"].get("error_subcode").is_none());
        let gone = GraphError::no_object("GET", "7").body("A");
        assert_eq!(
            (&gone["error"]["code"], &gone["error"]["error_subcode"]),
            (&json!(100), &json!(33))
        );
    }
}
