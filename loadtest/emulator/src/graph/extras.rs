//! What else carries content into Meta's storage, and edges that only keep what they are told: resumable uploads,
//! Flows, groups, sign-ups.

use serde_json::{Map, Value, json};

use super::{Answer, Call, Done, GraphError, Verb, success};
use crate::control::Shared;
use crate::multipart::FilePart;
use crate::params::{self, Params};
use crate::record::OtherContent;
use crate::reply::Payload;
use crate::world::{Content, Node, NodeKind, Session};

/// `file_type`'s values (Resumable Upload API).
const FILE_TYPES: [&str; 5] = [
    "application/pdf",
    "image/jpeg",
    "image/jpg",
    "image/png",
    "video/mp4",
];

/// `POST /{APP_ID}/uploads`.
pub(crate) fn start_upload(shared: &Shared, call: &Call) -> Answer {
    let length =
        params::whole(&call.params, "file_length").ok_or_else(|| GraphError::required("file_length"))?;
    let kind = params::text(&call.params, "file_type").ok_or_else(|| GraphError::required("file_type"))?;
    if !FILE_TYPES.contains(&kind.as_str()) {
        return Err(GraphError::invalid(format!(
            "Param file_type must be one of {FILE_TYPES:?}"
        )));
    }
    let id = format!("upload:{}", shared.ids.opaque(48));
    let session = Session {
        length,
        received: 0,
        handle: None,
    };
    shared.world().sessions.insert(id.clone(), session);
    Ok(Done::Json(json!({ "id": id })))
}

/// `POST` and `GET /upload:…`: bytes from the `file_offset` of the header on, which must be where the session is; a handle
/// when all are there.
pub(crate) fn upload_session(shared: &Shared, call: &Call, id: &str) -> Answer {
    let mut world = shared.world();
    let session = world
        .sessions
        .get_mut(id)
        .ok_or_else(|| GraphError::no_object(call.verb.name(), id))?;
    match call.verb {
        Verb::Get => Ok(Done::Json(json!({"id": id, "file_offset": session.received}))),
        Verb::Post => {
            let offset = call
                .file_offset
                .as_deref()
                .ok_or_else(|| GraphError::required("file_offset"))?;
            if offset.trim().parse() != Ok(session.received) {
                return Err(GraphError::invalid("file_offset is not the session's"));
            }
            let content = call.raw.as_ref().filter(|content| content.len > 0);
            let content = content.ok_or_else(|| GraphError::invalid("The upload has no bytes"))?;
            if session.received + content.len > session.length {
                return Err(GraphError::invalid("More bytes than file_length"));
            }
            session.received += content.len;
            let whole = session.received == session.length;
            let mut handle = None;
            if whole {
                handle = session
                    .handle
                    .get_or_insert_with(|| format!("4::aW{}", shared.ids.opaque(80)))
                    .clone()
                    .into();
            }
            world.other.push(other("resumable_upload", id, content));
            shared.record.changed.notify_waiters();
            match handle {
                Some(handle) => Ok(Done::Json(json!({ "h": handle }))),
                None => success(),
            }
        }
        Verb::Delete => Err(GraphError::no_object("delete", id)),
    }
}

fn other(door: &'static str, node: &str, content: &Content) -> OtherContent {
    OtherContent {
        door,
        node: node.to_owned(),
        len: content.len,
        sha256: content.sha256.clone(),
    }
}

/// `GET, POST /{WABA}/flows`.
pub(crate) fn flows(shared: &Shared, call: &mut Call, waba: u64) -> Answer {
    if call.verb == Verb::Post {
        params::text(&call.params, "name").ok_or_else(|| GraphError::required("name"))?;
        call.params.insert("status".to_owned(), json!("DRAFT"));
    }
    let id = shared.ids.node().to_string();
    nodes(shared, call, NodeKind::Flow, &waba.to_string(), &id)
}

/// `GET, POST /{WABA}/signups`.
pub(crate) fn signups(shared: &Shared, call: &mut Call, waba: u64) -> Answer {
    let id = shared.ids.node().to_string();
    nodes(shared, call, NodeKind::Signup, &waba.to_string(), &id)
}

/// `GET, POST /{PNID}/groups`. The new id comes in the reply: Meta sends it by webhook.
pub(crate) fn groups(shared: &Shared, call: &mut Call, number: u64) -> Answer {
    if call.verb == Verb::Post {
        params::text(&call.params, "subject").ok_or_else(|| GraphError::required("subject"))?;
    }
    let id = format!("Y2FwaV9ncm91cD{}", shared.ids.opaque(26));
    nodes(shared, call, NodeKind::Group, &number.to_string(), &id)
}

fn nodes(shared: &Shared, call: &mut Call, kind: NodeKind, parent: &str, id: &str) -> Answer {
    params::unfold(&mut call.params);
    let mut world = shared.world();
    if call.verb == Verb::Get {
        let rows: Vec<&Map<String, Value>> = world
            .nodes
            .values()
            .filter(|node| node.kind == kind && node.parent == parent)
            .map(|node| &node.fields)
            .collect();
        return Ok(Done::Json(json!({"data": rows})));
    }
    let mut fields = std::mem::take(&mut call.params);
    fields.insert("id".to_owned(), json!(id));
    world.nodes.insert(
        id.to_owned(),
        Node {
            kind,
            parent: parent.to_owned(),
            fields,
            content: None,
            asset: Params::new(),
        },
    );
    Ok(Done::Json(json!({ "id": id })))
}

/// `/signups/{id}`.
pub(crate) fn node(shared: &Shared, call: &Call, id: &str) -> Answer {
    node_edge(shared, call, id, &[])
}

/// A Flow, group or sign-up and its edges.
pub(crate) fn node_edge(shared: &Shared, call: &Call, id: &str, edge: &[&str]) -> Answer {
    let missing = || GraphError::no_object(call.verb.name(), id);
    let mut world = shared.world();
    let node = world.nodes.get_mut(id).ok_or_else(missing)?;
    let kind = node.kind;
    match (call.verb, edge) {
        (Verb::Get, []) => {
            let fields = Value::Object(node.fields.clone());
            drop(world);
            Ok(Done::Json(super::read_node(call, fields, &[], |_, _| None)))
        }
        (Verb::Post, []) => {
            let content = match call.files.first() {
                None => None,
                Some(file) if kind == NodeKind::Group => Some(("group_picture", picture(file)?)),
                Some(file) => Some(("flow_assets", file.content.clone())),
            };
            let mut params: Params = call.params.clone();
            params::unfold(&mut params);
            node.fields.extend(params);
            if let Some((door, content)) = content {
                node.content = Some(content.clone());
                world.other.push(other(door, id, &content));
                shared.record.changed.notify_waiters();
            }
            success()
        }
        (Verb::Delete, []) => {
            world.nodes.remove(id);
            success()
        }
        (Verb::Get, ["assets"]) if kind == NodeKind::Flow => {
            let told =
                |field: &str, unless: &str| params::text(&node.asset, field).unwrap_or(unless.to_owned());
            let rows: Vec<Value> = node
                .content
                .iter()
                .map(|_| {
                    json!({"name": told("name", "flow.json"), "asset_type": told("asset_type", "FLOW_JSON"),
                    "download_url": format!("{}/flow_assets/{id}", shared.base_url)})
                })
                .collect();
            Ok(Done::Json(json!({"data": rows})))
        }
        (Verb::Post, ["assets"]) if kind == NodeKind::Flow => {
            let file = call.files.iter().find(|file| file.name == "file");
            let content = file.ok_or_else(|| GraphError::required("file"))?.content.clone();
            node.asset.clone_from(&call.params);
            node.content = Some(content.clone());
            world.other.push(other("flow_assets", id, &content));
            shared.record.changed.notify_waiters();
            Ok(Done::Json(json!({"success": true, "validation_errors": []})))
        }
        (Verb::Post, ["publish" | "deprecate"]) if kind == NodeKind::Flow => {
            let status = if edge == ["publish"] {
                "PUBLISHED"
            } else {
                "DEPRECATED"
            };
            node.fields.insert("status".to_owned(), json!(status));
            success()
        }
        (_, [name @ ("invite_link" | "join_requests" | "participants")]) if kind == NodeKind::Group => {
            drop(world);
            kept_edge(shared, call, id, name)
        }
        _ => Err(missing()),
    }
}

/// A group's picture. The Groups page calls the part `file` in its example and `profile_picture_file` in its table; how
/// Meta answers a larger one is not documented.
fn picture(file: &FilePart) -> Result<Content, GraphError> {
    const MOST: u64 = 5 * 1024 * 1024;
    if !["file", "profile_picture_file"].contains(&file.name.as_str()) {
        return Err(GraphError::required("file"));
    }
    if file.content.len == 0 || file.content.len > MOST {
        return Err(GraphError::invalid("The picture must have 1 byte to 5 MB"));
    }
    Ok(file.content.clone())
}

/// Where a Flow asset's `download_url` leads.
pub(crate) fn flow_asset(shared: &Shared, id: &str) -> Answer {
    let content = shared.world().nodes.get(id).and_then(|node| node.content.clone());
    let content = content.ok_or_else(|| GraphError::no_object("get", id))?;
    let body = content.bytes.map_or(Payload::Zeros(content.len), Payload::Bytes);
    Ok(Done::File("application/json".to_owned(), body))
}

/// An edge without a behaviour of its own: `POST` keeps, `GET` gives back, `DELETE` forgets.
pub(crate) fn kept_edge(shared: &Shared, call: &Call, node: &str, edge: &str) -> Answer {
    let key = (node.to_owned(), edge.to_owned());
    let mut world = shared.world();
    match call.verb {
        Verb::Get => Ok(Done::Json(rows(world.edges.get(&key)))),
        Verb::Post => {
            let mut params = call.params.clone();
            params::unfold(&mut params);
            world.edges.entry(key).or_default().extend(params);
            success()
        }
        Verb::Delete => {
            world.edges.remove(&key);
            success()
        }
    }
}

pub(crate) fn rows(kept: Option<&Map<String, Value>>) -> Value {
    match kept {
        Some(kept) => json!({"data": [kept]}),
        None => json!({"data": []}),
    }
}
