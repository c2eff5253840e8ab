//! Which operation a request head is. After this, no code looks at the path again.

use curfew_policies::{Generation, MediaId, NodeId, PhoneNumberId, PolicySet, Subject, WabaId, shown};
use http::Method;
use thiserror::Error;

use super::links::NOISE;
use super::path::{ApiVersion, GraphPath, QueryError, read_query, write_query};
use super::routes::{Kind, Node, ROUTES, Route};
use super::{fields, media_url};

/// What a request head asks for, before its body is read.
#[derive(Debug)]
pub struct Head {
    /// The row of the table.
    pub route: &'static Route,
    /// The version in the path, if any.
    pub version: Option<ApiVersion>,
    /// What the path names.
    pub subject: Subject,
    /// The node's id, where it is digits.
    pub node: Option<NodeId>,
    /// The query's parameters, decoded, each once.
    pub query: Vec<(&'static str, String)>,
    /// Path and query for Meta, built from the values above.
    pub upstream_target: String,
}

impl Head {
    /// Which storage API the call speaks.
    #[must_use]
    pub fn generation(&self) -> Generation {
        generation(self.version)
    }

    /// A query parameter's value.
    #[must_use]
    pub fn query(&self, name: &str) -> Option<&str> {
        self.query
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, value)| value.as_str())
    }

    /// The number that the path names.
    #[must_use]
    pub const fn number(&self) -> Option<PhoneNumberId> {
        match self.subject {
            Subject::Number(number) => Some(number),
            Subject::Media { number } => number,
            Subject::Account(_) | Subject::Other => None,
        }
    }
}

/// Why a head is no known operation.
#[derive(Debug, Error)]
pub enum ClassifyError {
    /// No row of the table has this method and path.
    #[error(
        "{method} {path} is no call that the gateway knows; unknown calls are refused because what they do with content is not known"
    )]
    Unknown {
        /// The method.
        method: Method,
        /// The path, shortened, ids and all: it is the caller's own.
        path: String,
    },
    /// The row is known, the query is not as it must be.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// `phone_number_id` in the query is no id.
    #[error("phone_number_id must be a phone number's id, digits only; came {0:?}")]
    PhoneNumberId(String),
}

/// What method and path ask for. The query is not read yet: who may not call learns nothing of how the call is spelled.
#[derive(Debug)]
pub struct Named<'a> {
    /// The row of the table.
    pub route: &'static Route,
    /// What the path names. Which number a media call is about, its query may say.
    pub subject: Subject,
    /// The node's id, where it is digits.
    pub node: Option<NodeId>,
    path: GraphPath<'a>,
}

/// Finds the operation of a head.
///
/// # Errors
///
/// When there is none, or its query has anything that the operation does not take.
pub fn classify(
    policies: &PolicySet,
    method: &Method,
    path: &str,
    query: Option<&str>,
) -> Result<Head, ClassifyError> {
    name(policies, method, path)?.with_query(query)
}

/// Finds the operation of a method and path.
///
/// # Errors
///
/// When there is none.
pub fn name<'a>(policies: &PolicySet, method: &Method, path: &'a str) -> Result<Named<'a>, ClassifyError> {
    let unknown = || ClassifyError::Unknown {
        method: method.clone(),
        path: shown(path).into_owned(),
    };
    let parsed = GraphPath::parse(path).ok_or_else(unknown)?;
    let (first, edge) = parsed.segments().split_first().ok_or_else(unknown)?;
    let node: Option<NodeId> = first.parse().ok();
    let route = find(policies, method, first, node, edge).ok_or_else(unknown)?;
    let subject = match (route.node, node) {
        (Node::Number, Some(node)) => Subject::Number(PhoneNumberId::from(node)),
        (Node::Account, Some(node)) => Subject::Account(WabaId::from(node)),
        (Node::Media, Some(_)) => Subject::Media { number: None },
        _ => Subject::Other,
    };
    Ok(Named {
        route,
        subject,
        node,
        path: parsed,
    })
}

impl Named<'_> {
    /// Which storage API the call speaks.
    #[must_use]
    pub fn generation(&self) -> Generation {
        generation(self.path.version)
    }

    /// The whole head, with what its query says.
    ///
    /// # Errors
    ///
    /// When the query has anything that the operation does not take.
    pub fn with_query(self, query: Option<&str>) -> Result<Head, ClassifyError> {
        let Self {
            route,
            subject,
            node,
            path,
        } = self;
        // What only changes how an answer is written stands in Meta's own links to further pages.
        let dropped: &[&str] = if route.method == Method::GET { &NOISE } else { &[] };
        let query = read_query(query, route.query, dropped)?;
        for (name, value) in &query {
            match *name {
                "fields" => fields::check(name, value, route.fields)?,
                "summary" => fields::check(name, value, fields::TEMPLATE_SUMMARY)?,
                _ => {}
            }
        }
        let subject = match subject {
            Subject::Media { .. } => Subject::Media {
                number: claimed_number(&query)?,
            },
            subject => subject,
        };
        let upstream_target = upstream_target(&path, &query);
        Ok(Head {
            route,
            version: path.version,
            subject,
            node,
            query,
            upstream_target,
        })
    }
}

fn generation(version: Option<ApiVersion>) -> Generation {
    version.map_or(Generation::Unversioned, ApiVersion::generation)
}

fn claimed_number(query: &[(&'static str, String)]) -> Result<Option<PhoneNumberId>, ClassifyError> {
    query
        .iter()
        .find(|(name, _)| *name == "phone_number_id")
        .map(|(_, value)| {
            value
                .parse()
                .map_err(|_| ClassifyError::PhoneNumberId(shown(value).into_owned()))
        })
        .transpose()
}

fn upstream_target(path: &GraphPath<'_>, query: &[(&'static str, String)]) -> String {
    use std::fmt::Write as _;
    let mut target = String::with_capacity(64);
    if let Some(version) = path.version {
        // Writing to a `String` cannot fail.
        let _ = write!(target, "/{version}");
    }
    for segment in path.segments() {
        target.push('/');
        target.push_str(segment);
    }
    if !query.is_empty() {
        let pairs: Vec<_> = query
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        target.push_str(&write_query(&pairs));
    }
    target
}

/// The row for a method and path. Digits without an edge are a number or account where the policy declares them, else a medium:
/// numbers, accounts and media share one id space, so the path alone does not tell.
fn find(
    policies: &PolicySet,
    method: &Method,
    first: &str,
    node: Option<NodeId>,
    edge: &[&str],
) -> Option<&'static Route> {
    let bare = node.filter(|_| edge.is_empty()).map(|node| {
        if policies.numbers.contains_key(&PhoneNumberId::from(node)) {
            Node::Number
        } else if policies.knows_account(WabaId::from(node)) {
            Node::Account
        } else {
            Node::Media
        }
    });
    let fits = |expected: Node| match (bare, node) {
        (Some(bare), _) => expected == bare,
        (None, Some(_)) => matches!(expected, Node::Number | Node::Account | Node::Object),
        (None, None) => match expected {
            Node::UploadSession => is_upload_session(first),
            Node::Group => is_group(first),
            Node::Number | Node::Account | Node::Media | Node::Object => false,
        },
    };
    // HEAD is for the gateway's own media URLs; Meta documents it for no call.
    ROUTES
        .iter()
        .find(|route| route.method == *method && edge_matches(route.edge, edge) && fits(route.node))
}

fn edge_matches(expected: &[&str], edge: &[&str]) -> bool {
    expected.len() == edge.len()
        && expected.iter().zip(edge).all(|(expected, segment)| {
            if *expected == "*" {
                is_opaque(segment)
            } else {
                expected == segment
            }
        })
}

fn is_opaque(segment: &str) -> bool {
    (1..=256).contains(&segment.len())
        && segment
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'='))
}

/// Groups have base64-like ids. Sixteen characters and more keep words such as `me`, `oauth` and `debug_token` out.
fn is_group(segment: &str) -> bool {
    segment.len() >= 16 && is_opaque(segment) && segment.bytes().any(|byte| byte.is_ascii_uppercase())
}

fn is_upload_session(segment: &str) -> bool {
    segment
        .strip_prefix("upload:")
        .or_else(|| segment.strip_prefix("upload%3A"))
        .or_else(|| segment.strip_prefix("upload%3a"))
        .is_some_and(is_opaque)
}

/// The media id of a bare node.
#[must_use]
pub fn media_id(head: &Head) -> Option<MediaId> {
    match head.route.kind {
        Kind::ReadMedia | Kind::DeleteMedia => head.node.map(MediaId::from),
        _ => None,
    }
}

/// Whether a path is one of the gateway's own media URLs, and its token.
#[must_use]
pub fn media_token(path: &str) -> Option<&str> {
    path.strip_prefix(media_url::PATH_PREFIX)
}
