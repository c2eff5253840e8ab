//! What Graph does with a call: side doors first, then the node, then the edge.

pub(crate) mod account;
pub(crate) mod batch;
pub(crate) mod error;
pub(crate) mod extras;
pub(crate) mod media;
pub(crate) mod messages;
pub(crate) mod number;
pub(crate) mod root;
pub(crate) mod send;
pub(crate) mod settings;
pub(crate) mod templates;

use bytes::Bytes;
use http::StatusCode;
use serde_json::{Map, Value, json};

pub(crate) use self::error::GraphError;
use crate::control::Shared;
use crate::ids::ReplyIds;
use crate::multipart::FilePart;
use crate::params::{self, Params, Target};
use crate::record::Via;
use crate::reply::{JAVASCRIPT, Payload, Reply, served};
use crate::world::Content;

/// What a call does to a node. HEAD is a GET without the body.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Verb {
    Get,
    Post,
    Delete,
}

impl Verb {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        match text.trim().to_ascii_uppercase().as_str() {
            "GET" | "HEAD" => Some(Self::Get),
            "POST" => Some(Self::Post),
            "DELETE" => Some(Self::Delete),
            _ => None,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Post => "post",
            Self::Delete => "delete",
        }
    }
}

/// One call, whatever it was wrapped in.
pub(crate) struct Call {
    pub(crate) verb: Verb,
    /// As the path says it; [`served`] tells which it is.
    pub(crate) version: Option<u16>,
    pub(crate) segments: Vec<String>,
    pub(crate) params: Params,
    pub(crate) files: Vec<FilePart>,
    /// A body that is no form: the bytes of a resumable upload.
    pub(crate) raw: Option<Content>,
    /// The header of a resumable upload, as it came.
    pub(crate) file_offset: Option<String>,
    /// The tokens that came, in the header first.
    pub(crate) tokens: Vec<String>,
    pub(crate) via: Via,
    /// Where media URLs lead instead of the media host, by a fault.
    pub(crate) media_base: Option<String>,
}

impl Call {
    pub(crate) fn generation(&self, shared: &Shared) -> u16 {
        served(self.version, shared.options.app_version)
    }

    /// The token that the reply's own links carry.
    pub(crate) fn token(&self) -> &str {
        self.tokens.first().map_or("", String::as_str)
    }

    /// The same caller and version on another node.
    fn inner(&self, verb: Verb, segments: Vec<String>, params: Params, via: Via) -> Self {
        Self {
            verb,
            version: self.version,
            segments,
            params,
            files: Vec::new(),
            raw: None,
            file_offset: None,
            tokens: self.tokens.clone(),
            via,
            media_base: self.media_base.clone(),
        }
    }
}

/// What a call comes to.
pub(crate) enum Done {
    Json(Value),
    File(String, Payload),
    NotFound,
}

pub(crate) type Answer = Result<Done, GraphError>;

pub(crate) fn success() -> Answer {
    Ok(Done::Json(json!({"success": true})))
}

/// Answers a call as HTTP would.
pub(crate) fn reply(shared: &Shared, mut call: Call, ids: ReplyIds) -> Reply {
    let quiet = params::flag(&call.params, "suppress_http_code");
    let callback = params::text(&call.params, "callback").filter(|name| !name.is_empty());
    let mut reply = match override_verb(&mut call).and_then(|()| answer(shared, call)) {
        Ok(Done::Json(body)) => Reply::json(StatusCode::OK, &body),
        Ok(Done::File(mime, body)) => Reply::file(&mime, body),
        Ok(Done::NotFound) => Reply::not_found(),
        Err(error) => {
            let status = if quiet { StatusCode::OK } else { error.status };
            Reply::json(status, &error.body(&ids.trace()))
        }
    };
    if let (Some(name), Payload::Bytes(body)) = (callback, &reply.body) {
        let script = format!("/**/ {name}({});", String::from_utf8_lossy(body));
        reply.body = Payload::Bytes(Bytes::from(script));
        reply.content_type = JAVASCRIPT;
    }
    reply
}

/// `method`, and the two spellings for which no source is known, replace the HTTP method.
fn override_verb(call: &mut Call) -> Result<(), GraphError> {
    let Some(text) = ["method", "_method"]
        .iter()
        .find_map(|key| params::text(&call.params, key))
    else {
        return Ok(());
    };
    let verb = Verb::parse(&text).ok_or_else(|| GraphError::invalid(format!("Unknown method {text}")))?;
    call.params.remove("method");
    call.params.remove("_method");
    if verb != call.verb {
        call.verb = verb;
        call.via = Via::MethodOverride;
    }
    Ok(())
}

/// Side doors, then the node.
fn answer(shared: &Shared, mut call: Call) -> Answer {
    if call.verb == Verb::Post && call.params.contains_key("batch") {
        return batch::run(shared, &mut call);
    }
    if let Some(ids) = params::text(&call.params, "ids") {
        return by_ids(shared, &mut call, &ids);
    }
    if call.segments.is_empty()
        && let Some(id) = params::text(&call.params, "id")
    {
        call.params.remove("id");
        call.segments = Target::parse(&id).segments;
        call.via = Via::Ids;
    }
    route(shared, call)
}

/// `ids=a,b`: the path is only the edge; the reply is an object by id.
fn by_ids(shared: &Shared, call: &mut Call, ids: &str) -> Answer {
    call.params.remove("ids");
    let mut rows = Map::new();
    for id in ids.split(',').map(str::trim).filter(|id| !id.is_empty()) {
        let mut segments = vec![id.to_owned()];
        segments.extend(call.segments.iter().cloned());
        let mut inner = call.inner(call.verb, segments, call.params.clone(), Via::Ids);
        inner.files.clone_from(&call.files);
        match route(shared, inner)? {
            Done::Json(body) => rows.insert(id.to_owned(), body),
            Done::File(..) | Done::NotFound => return Err(GraphError::no_object(call.verb.name(), id)),
        };
    }
    Ok(Done::Json(Value::Object(rows)))
}

fn route(shared: &Shared, mut call: Call) -> Answer {
    let segments = std::mem::take(&mut call.segments);
    let path: Vec<&str> = segments.iter().map(String::as_str).collect();
    match path.as_slice() {
        ["whatsapp_business", "attachments", ..] => return Ok(media::download(shared, &call)),
        ["oauth", "access_token"] => return root::access_token(shared, &call),
        _ => {}
    }
    authorize(shared, &call)?;
    match path.as_slice() {
        [] => Err(GraphError::no_object(call.verb.name(), "")),
        ["debug_token"] => root::debug_token(shared, &call),
        ["me", edge @ ..] => root::me(shared, &call, edge),
        ["signups", id] => extras::node(shared, &call, id),
        ["flow_assets", id] => extras::flow_asset(shared, id),
        [session, ..] if session.starts_with("upload:") => extras::upload_session(shared, &call, session),
        [first, edge @ ..] => by_node(shared, call, first, edge),
    }
}

/// One flat space of ids: what a number is, only the world knows.
fn by_node(shared: &Shared, mut call: Call, first: &str, edge: &[&str]) -> Answer {
    let lower: Vec<String> = edge.iter().map(|part| part.to_ascii_lowercase()).collect();
    let edge: Vec<&str> = lower.iter().map(String::as_str).collect();
    let edge = edge.as_slice();
    let verb = call.verb.name();
    let missing = || GraphError::no_object(verb, first);
    let Ok(id) = first.trim().parse::<u64>() else {
        return if shared.world().nodes.contains_key(first) {
            extras::node_edge(shared, &call, first, edge)
        } else if first
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"=+_-".contains(&byte))
            && edge.is_empty()
        {
            Err(missing())
        } else {
            Err(GraphError::unknown_path(&[&[first], edge].concat().join("/")))
        };
    };
    if id == shared.options.app_id {
        return root::app(shared, &mut call, edge);
    }
    if id == shared.options.business_id {
        return root::business(shared, &call, edge);
    }
    enum Kind {
        Number,
        Account,
        Template,
        Node,
        Media,
    }
    let kind = {
        let world = shared.world();
        if world.numbers.contains_key(&id) {
            Kind::Number
        } else if world.accounts.contains_key(&id) {
            Kind::Account
        } else if world.templates.contains_key(&id) {
            Kind::Template
        } else if world.nodes.contains_key(first) {
            Kind::Node
        } else {
            Kind::Media
        }
    };
    match kind {
        Kind::Number => number::route(shared, &mut call, id, edge),
        Kind::Account => account::route(shared, &mut call, id, edge),
        Kind::Template => templates::node(shared, &mut call, id, edge),
        Kind::Node => extras::node_edge(shared, &call, first, edge),
        Kind::Media if edge.is_empty() => media::node(shared, &call, id),
        Kind::Media => Err(missing()),
    }
}

/// Any accepted token will do, wherever it came: which one wins is not documented.
fn authorize(shared: &Shared, call: &Call) -> Result<(), GraphError> {
    let Some(token) = accepted(shared, &call.tokens) else {
        return Err(GraphError::token(if call.tokens.is_empty() {
            "An access token is required to request this resource."
        } else {
            "Invalid OAuth access token - Cannot parse access token"
        }));
    };
    let proof = params::text(&call.params, "appsecret_proof");
    let wanted = || crate::webhook::proof(&shared.options.app_secret, token);
    match proof {
        Some(proof) if proof == wanted() => Ok(()),
        Some(_) => Err(GraphError::invalid(
            "Invalid appsecret_proof provided in the API argument",
        )),
        None if shared.options.require_proof => Err(GraphError::invalid(
            "API calls from the server require an appsecret_proof argument",
        )),
        None => Ok(()),
    }
}

pub(crate) fn accepted<'a>(shared: &Shared, tokens: &'a [String]) -> Option<&'a str> {
    let known = &shared.options.tokens;
    tokens
        .iter()
        .find(|token| {
            !token.is_empty()
                && (known.is_empty() || known.contains(*token) || shared.world().tokens.contains(*token))
        })
        .map(String::as_str)
}

/// A node's own fields: all, or those that `fields` names, with edges expanded by `expand`.
pub(crate) fn read_node(
    call: &Call,
    mut node: Value,
    defaults: &[&str],
    expand: impl Fn(&str, Option<usize>) -> Option<Value>,
) -> Value {
    let Some(text) = params::text(&call.params, "fields") else {
        if let (Value::Object(object), false) = (&mut node, defaults.is_empty()) {
            object.retain(|key, _| key == "id" || defaults.contains(&key.as_str()));
        }
        return node;
    };
    let wanted = params::fields(&text);
    if let Value::Object(object) = &mut node {
        for field in &wanted {
            if !object.contains_key(&field.name)
                && let Some(edge) = expand(&field.name, field.limit)
            {
                object.insert(field.name.clone(), edge);
            }
        }
    }
    params::select(&node, &wanted)
}
