//! Every call that the gateway knows, as a table.
//!
//! What is not here is refused. Source: the endpoint list of Meta's Graph and Cloud API references and the OpenAPI file of
//! v23.0; calls of one kind that differ only in their edge share a row.

use std::sync::LazyLock;

use curfew_policies::UnverifiedOperation;
use http::Method;

use super::fields;
use super::multipart::FormKind;

/// What the first segment of a path names.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Node {
    /// `phone_number_id`.
    Number,
    /// `waba_id`.
    Account,
    /// Digits that are neither a number nor an account of the policy: for calls without an edge, a medium.
    Media,
    /// Digits of some other kind of object: an app, a Flow, a template.
    Object,
    /// A group's id, which is opaque (Cloud API, "Groups").
    Group,
    /// `upload:…` of the Resumable Upload API.
    UploadSession,
}

impl Node {
    const fn placeholder(self) -> &'static str {
        match self {
            Self::Number => "phone_number_id",
            Self::Account => "waba_id",
            Self::Media => "media_id",
            Self::Object => "object_id",
            Self::Group => "group_id",
            Self::UploadSession => "upload_session",
        }
    }
}

/// What a request body may be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum BodyKind {
    /// None at all.
    None,
    /// One JSON object.
    Json,
    /// One JSON object, or nothing.
    JsonOrNone,
    /// `multipart/form-data` with a file.
    Form(&'static FormKind),
    /// One JSON object, or `multipart/form-data` with a file; the `Content-Type` says which.
    JsonOrForm(&'static FormKind),
    /// Raw bytes, streamed as they come.
    Raw,
}

/// What a route's request is read as.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// A send, or a read receipt.
    Messages,
    /// A marketing send.
    MarketingMessages,
    /// A media upload.
    UploadMedia,
    /// A medium's metadata.
    ReadMedia,
    /// A medium's deletion.
    DeleteMedia,
    /// A settings call.
    ChangeSettings,
    /// A registration.
    Register,
    /// A deregistration.
    Deregister,
    /// A verification code is sent.
    RequestCode,
    /// A verification code is given.
    VerifyCode,
    /// A call: recorded ones are judged apart.
    Call,
    /// The number's own node: webhook overrides are judged apart.
    ChangeNumber,
    /// Subscribed apps: overrides are judged apart.
    SubscribeApp,
    /// Not documented under storage modes.
    Unverified(UnverifiedOperation),
    /// Sends webhooks elsewhere, always.
    RedirectWebhooks,
    /// A read.
    Read,
    /// Everything else that is allowed.
    Manage,
}

/// One row.
#[derive(Debug)]
pub struct Route {
    /// The method.
    pub method: Method,
    /// What the path begins with.
    pub node: Node,
    /// The segments after it; `*` stands for one id of letters, digits, `_`, `-` and `=`.
    pub edge: &'static [&'static str],
    /// The operation's name, for logs and metrics, where [`Kind`] does not say it.
    pub name: &'static str,
    /// What it is read as.
    pub kind: Kind,
    /// Which query parameters it takes.
    pub query: &'static [&'static str],
    /// Which `fields` it may ask for.
    pub fields: &'static [&'static str],
    /// What its body may be.
    pub body: BodyKind,
}

/// The name of the read of an account's templates, which says what class each is of.
pub const READ_TEMPLATES: &str = "read_templates";
/// The name of the operation that calls a user.
pub const CALL: &str = "call";

const NO_QUERY: &[&str] = &[];
const PAGED: &[&str] = &["limit", "after", "before"];
const FIELDS: &[&str] = &["fields"];
const PAGED_FIELDS: &[&str] = &["fields", "limit", "after", "before"];

const fn route(
    method: Method,
    node: Node,
    edge: &'static [&'static str],
    name: &'static str,
    kind: Kind,
) -> Route {
    let body = match method {
        Method::POST => BodyKind::Json,
        _ => BodyKind::None,
    };
    Route {
        method,
        node,
        edge,
        name,
        kind,
        query: NO_QUERY,
        fields: &[],
        body,
    }
}

impl Route {
    const fn query(mut self, query: &'static [&'static str]) -> Self {
        self.query = query;
        self
    }

    const fn fields(mut self, fields: &'static [&'static str]) -> Self {
        self.fields = fields;
        self
    }

    const fn body(mut self, body: BodyKind) -> Self {
        self.body = body;
        self
    }

    /// Its path without what callers fill in, and without the version: `/{phone_number_id}/messages`.
    #[must_use]
    pub fn template(&'static self) -> &'static str {
        let index = ROUTES.iter().position(|route| std::ptr::eq(route, self));
        index
            .and_then(|index| TEMPLATES.get(index))
            .map_or("", String::as_str)
    }

    fn write_template(&self) -> String {
        let mut path = format!("/{{{}}}", self.node.placeholder());
        for segment in self.edge {
            path.push('/');
            path.push_str(if *segment == "*" { "{id}" } else { segment });
        }
        path
    }
}

/// The templates of [`ROUTES`], in its order.
static TEMPLATES: LazyLock<Vec<String>> =
    LazyLock::new(|| ROUTES.iter().map(Route::write_template).collect());

const fn read(node: Node, edge: &'static [&'static str], name: &'static str) -> Route {
    route(Method::GET, node, edge, name, Kind::Read).query(PAGED)
}

const fn manage(method: Method, node: Node, edge: &'static [&'static str], name: &'static str) -> Route {
    route(method, node, edge, name, Kind::Manage)
}

const fn unverified(
    method: Method,
    node: Node,
    edge: &'static [&'static str],
    operation: UnverifiedOperation,
) -> Route {
    route(method, node, edge, operation.name(), Kind::Unverified(operation))
}

/// The table. Sends come first: the scan ends there for almost every request.
pub static ROUTES: &[Route] = &[
    route(
        Method::POST,
        Node::Number,
        &["messages"],
        "send_message",
        Kind::Messages,
    ),
    route(
        Method::POST,
        Node::Number,
        &["media"],
        "upload_media",
        Kind::UploadMedia,
    )
    .query(&["messaging_product", "type"])
    .body(BodyKind::Form(FormKind::MEDIA)),
    route(Method::GET, Node::Media, &[], "read_media", Kind::ReadMedia).query(&["phone_number_id"]),
    route(
        Method::DELETE,
        Node::Media,
        &[],
        "delete_media",
        Kind::DeleteMedia,
    )
    .query(&["phone_number_id"]),
    route(
        Method::POST,
        Node::Number,
        &["marketing_messages"],
        "send_marketing_message",
        Kind::MarketingMessages,
    ),
    // A number's life and storage.
    route(
        Method::POST,
        Node::Number,
        &["settings"],
        "change_settings",
        Kind::ChangeSettings,
    ),
    route(
        Method::POST,
        Node::Number,
        &["register"],
        "register",
        Kind::Register,
    ),
    route(
        Method::POST,
        Node::Number,
        &["deregister"],
        "deregister",
        Kind::Deregister,
    )
    .body(BodyKind::JsonOrNone),
    route(
        Method::POST,
        Node::Number,
        &["request_code"],
        "request_code",
        Kind::RequestCode,
    )
    .query(&["code_method", "language"])
    .body(BodyKind::JsonOrNone),
    route(
        Method::POST,
        Node::Number,
        &["verify_code"],
        "verify_code",
        Kind::VerifyCode,
    )
    .query(&["code"])
    .body(BodyKind::JsonOrNone),
    route(
        Method::GET,
        Node::Number,
        &["settings"],
        "read_settings",
        Kind::Read,
    )
    .query(FIELDS)
    .fields(fields::SETTINGS),
    route(Method::GET, Node::Number, &[], "read_number", Kind::Read)
        .query(FIELDS)
        .fields(fields::NUMBER),
    route(
        Method::POST,
        Node::Number,
        &[],
        "change_number",
        Kind::ChangeNumber,
    ),
    // What reaches users without `/messages`.
    unverified(
        Method::POST,
        Node::Number,
        &["messages_encrypted"],
        UnverifiedOperation::MessagesEncrypted,
    ),
    route(Method::POST, Node::Number, &["calls"], CALL, Kind::Call),
    route(
        Method::GET,
        Node::Number,
        &["call_permissions"],
        "read_call_permissions",
        Kind::Read,
    )
    .query(&["user_wa_id", "recipient"]),
    // A number's edges.
    read(Node::Number, &["message_history"], "read_message_history").query(&[
        "message_id",
        "limit",
        "after",
        "before",
    ]),
    read(Node::Number, &["block_users"], "read_blocked_users"),
    manage(Method::POST, Node::Number, &["block_users"], "block_users"),
    manage(Method::DELETE, Node::Number, &["block_users"], "unblock_users").body(BodyKind::JsonOrNone),
    manage(
        Method::DELETE,
        Node::Number,
        &["contact_book"],
        "delete_contact_book",
    )
    .body(BodyKind::JsonOrNone),
    read(
        Node::Number,
        &["whatsapp_business_profile"],
        "read_business_profile",
    )
    .query(FIELDS)
    .fields(fields::BUSINESS_PROFILE),
    manage(
        Method::POST,
        Node::Number,
        &["whatsapp_business_profile"],
        "change_business_profile",
    ),
    read(Node::Number, &["message_qrdls"], "read_qr_codes")
        .query(PAGED_FIELDS)
        .fields(fields::QR_CODE),
    manage(Method::POST, Node::Number, &["message_qrdls"], "change_qr_code"),
    read(Node::Number, &["message_qrdls", "*"], "read_qr_code")
        .query(FIELDS)
        .fields(fields::QR_CODE),
    manage(
        Method::DELETE,
        Node::Number,
        &["message_qrdls", "*"],
        "delete_qr_code",
    ),
    read(
        Node::Number,
        &["conversational_automation"],
        "read_conversational_automation",
    ),
    manage(
        Method::POST,
        Node::Number,
        &["conversational_automation"],
        "change_conversational_automation",
    ),
    read(
        Node::Number,
        &["whatsapp_commerce_settings"],
        "read_commerce_settings",
    )
    .query(FIELDS)
    .fields(fields::COMMERCE_SETTINGS),
    manage(
        Method::POST,
        Node::Number,
        &["whatsapp_commerce_settings"],
        "change_commerce_settings",
    )
    .query(&["is_cart_enabled", "is_catalog_visible"])
    .body(BodyKind::JsonOrNone),
    read(
        Node::Number,
        &["whatsapp_business_encryption"],
        "read_flow_encryption",
    ),
    manage(
        Method::POST,
        Node::Number,
        &["whatsapp_business_encryption"],
        "change_flow_encryption",
    ),
    read(
        Node::Number,
        &["business_compliance_info"],
        "read_compliance_info",
    ),
    manage(
        Method::POST,
        Node::Number,
        &["business_compliance_info"],
        "change_compliance_info",
    ),
    read(
        Node::Number,
        &["official_business_account"],
        "read_official_account",
    ),
    manage(
        Method::POST,
        Node::Number,
        &["official_business_account"],
        "apply_official_account",
    ),
    read(Node::Number, &["username"], "read_username"),
    manage(Method::POST, Node::Number, &["username"], "change_username"),
    manage(Method::DELETE, Node::Number, &["username"], "delete_username"),
    read(
        Node::Number,
        &["username_suggestions"],
        "read_username_suggestions",
    ),
    read(Node::Number, &["groups"], "read_groups"),
    unverified(
        Method::POST,
        Node::Number,
        &["groups"],
        UnverifiedOperation::GroupPicture,
    ),
    // Groups. Subject and description are text that rests at Meta, so they are judged like the picture.
    read(Node::Group, &[], "read_group")
        .query(FIELDS)
        .fields(fields::GROUP),
    unverified(Method::POST, Node::Group, &[], UnverifiedOperation::GroupPicture)
        .body(BodyKind::JsonOrForm(FormKind::GROUP_PICTURE)),
    manage(Method::DELETE, Node::Group, &[], "delete_group"),
    read(Node::Group, &["invite_link"], "read_invite_link"),
    manage(Method::POST, Node::Group, &["invite_link"], "reset_invite_link").body(BodyKind::JsonOrNone),
    read(Node::Group, &["join_requests"], "read_join_requests"),
    manage(
        Method::POST,
        Node::Group,
        &["join_requests"],
        "approve_join_requests",
    ),
    manage(
        Method::DELETE,
        Node::Group,
        &["join_requests"],
        "reject_join_requests",
    )
    .body(BodyKind::JsonOrNone),
    manage(
        Method::DELETE,
        Node::Group,
        &["participants"],
        "remove_participants",
    )
    .body(BodyKind::JsonOrNone),
    // An account's edges.
    read(Node::Account, &[], "read_account")
        .query(FIELDS)
        .fields(fields::ACCOUNT),
    manage(Method::POST, Node::Account, &[], "change_account"),
    read(Node::Account, &["phone_numbers"], "read_numbers")
        .query(PAGED_FIELDS)
        .fields(fields::NUMBER),
    manage(Method::POST, Node::Account, &["phone_numbers"], "add_number"),
    read(Node::Account, &["message_templates"], READ_TEMPLATES)
        .query(&[
            "fields", "summary", "limit", "after", "before", "name", "status", "category", "language",
            "content",
        ])
        .fields(fields::TEMPLATE),
    manage(
        Method::POST,
        Node::Account,
        &["message_templates"],
        "create_template",
    ),
    manage(
        Method::DELETE,
        Node::Account,
        &["message_templates"],
        "delete_template",
    )
    .query(&["name", "hsm_id"]),
    manage(
        Method::POST,
        Node::Account,
        &["upsert_message_templates"],
        "upsert_templates",
    ),
    manage(
        Method::POST,
        Node::Account,
        &["migrate_message_templates"],
        "migrate_templates",
    )
    .query(&["source_waba_id", "page_number"])
    .body(BodyKind::JsonOrNone),
    read(
        Node::Account,
        &["message_template_previews"],
        "read_template_previews",
    )
    .query(&[
        "category",
        "languages",
        "add_security_recommendation",
        "code_expiration_minutes",
        "button_types",
    ]),
    read(Node::Account, &["flows"], "read_flows")
        .query(PAGED_FIELDS)
        .fields(fields::FLOW),
    unverified(
        Method::POST,
        Node::Account,
        &["flows"],
        UnverifiedOperation::FlowAssets,
    ),
    unverified(
        Method::POST,
        Node::Account,
        &["migrate_flows"],
        UnverifiedOperation::FlowAssets,
    ),
    read(Node::Account, &["subscribed_apps"], "read_subscribed_apps"),
    route(
        Method::POST,
        Node::Account,
        &["subscribed_apps"],
        "subscribe_app",
        Kind::SubscribeApp,
    )
    .body(BodyKind::JsonOrNone),
    manage(
        Method::DELETE,
        Node::Account,
        &["subscribed_apps"],
        "unsubscribe_app",
    ),
    read(Node::Account, &["assigned_users"], "read_assigned_users")
        .query(&["business", "limit", "after", "before"]),
    read(Node::Account, &["activities"], "read_activities"),
    read(Node::Account, &["schedules"], "read_schedules"),
    read(Node::Account, &["solutions"], "read_solutions"),
    read(
        Node::Account,
        &["payment_configurations"],
        "read_payment_configurations",
    ),
    unverified(
        Method::POST,
        Node::Account,
        &["signups"],
        UnverifiedOperation::Signups,
    ),
    read(Node::Account, &["signups"], "read_signups"),
    unverified(
        Method::POST,
        Node::Account,
        &["welcome_message_sequences"],
        UnverifiedOperation::WelcomeSequences,
    ),
    read(
        Node::Account,
        &["welcome_message_sequences"],
        "read_welcome_sequences",
    ),
    manage(
        Method::DELETE,
        Node::Account,
        &["welcome_message_sequences"],
        "delete_welcome_sequence",
    )
    .query(&["sequence_id"]),
    // Other objects, known by their edges.
    read(Node::Object, &["assets"], "read_flow_assets"),
    unverified(
        Method::POST,
        Node::Object,
        &["assets"],
        UnverifiedOperation::FlowAssets,
    )
    .body(BodyKind::Form(FormKind::FLOW_ASSET)),
    unverified(
        Method::POST,
        Node::Object,
        &["publish"],
        UnverifiedOperation::FlowAssets,
    )
    .body(BodyKind::JsonOrNone),
    unverified(
        Method::POST,
        Node::Object,
        &["deprecate"],
        UnverifiedOperation::FlowAssets,
    )
    .body(BodyKind::JsonOrNone),
    read(Node::Object, &["compare"], "compare_templates").query(&["template_ids", "start", "end"]),
    manage(Method::POST, Node::Object, &["unpause"], "unpause_template").body(BodyKind::JsonOrNone),
    route(
        Method::POST,
        Node::Object,
        &["subscriptions"],
        "subscribe_webhooks",
        Kind::RedirectWebhooks,
    )
    .body(BodyKind::JsonOrNone),
    unverified(
        Method::POST,
        Node::Object,
        &["uploads"],
        UnverifiedOperation::ResumableUpload,
    )
    .query(&["file_name", "file_length", "file_type"])
    .body(BodyKind::JsonOrNone),
    unverified(
        Method::POST,
        Node::UploadSession,
        &[],
        UnverifiedOperation::ResumableUpload,
    )
    .body(BodyKind::Raw),
    unverified(
        Method::GET,
        Node::UploadSession,
        &[],
        UnverifiedOperation::ResumableUpload,
    ),
];
