//! The gateway's own URLs for media: how callers download without ever holding Meta's address.
//!
//! `{origin}/_curfew/media/{token}`. Everything is in the path, because some clients glue `?access_token=…` to the end
//! of whatever URL they are given; the token is base64url, because some rewrite percent-escapes; and Meta's host name is
//! nowhere in it, because some drop their credentials when they see it.

/// What every such path begins with. No Graph node id can begin with `_`.
pub const PATH_PREFIX: &str = "/_curfew/media/";

/// The same, with the token left out.
pub const PATH_TEMPLATE: &str = "/_curfew/media/{token}";

/// The URL of a token, on the origin by which the caller reached the gateway.
#[must_use]
pub fn media_url(origin: &str, token: &str) -> String {
    format!("{origin}{PATH_PREFIX}{token}")
}
