//! Scheme, host and port: where the upstream is, and where callers find the gateway.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use thiserror::Error;

/// Why a text is not an origin. None of them repeats the text.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum OriginError {
    /// No scheme, or another one.
    #[error("must begin with https:// or http://")]
    Scheme,
    /// `user@`, which some parsers read as the host and some do not.
    #[error("must not hold a user name or password")]
    UserInfo,
    /// More than scheme, host and port.
    #[error(
        "must be scheme, host and port alone, such as https://graph.facebook.com: no path, query or fragment, and no slash at the end"
    )]
    Path,
    /// Not a host name, IPv4 address or bracketed IPv6 address.
    #[error("must name a host by its DNS name (ASCII), its IPv4 address, or its IPv6 address in brackets")]
    Host,
    /// Not a port.
    #[error("must have a port from 1 to 65535, or none")]
    Port,
    /// Clear text to another machine.
    #[error("must be https: plain http is only for loopback (127.0.0.1, [::1], localhost)")]
    ClearText,
}

/// An origin that the gateway calls: `https` anywhere, `http` only on loopback, so that a token never crosses a network
/// in clear text.
///
/// Two origins are equal when parsed scheme, host and port are: the spelling (case of the host, default port written or
/// not) does not count.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Origin(Site);

impl Origin {
    /// The origin of an absolute URI, whatever its path and query are.
    ///
    /// # Errors
    ///
    /// As for [`Origin::from_str`], save [`OriginError::Path`].
    pub fn of(uri: &http::Uri) -> Result<Self, OriginError> {
        let scheme = uri.scheme_str().ok_or(OriginError::Scheme)?;
        let authority = uri.authority().ok_or(OriginError::Host)?;
        Self::new(Site::new(scheme, authority.as_str())?)
    }

    /// Whether it is `https`.
    #[must_use]
    pub const fn is_https(&self) -> bool {
        self.0.https
    }

    /// The port; 443 or 80 where none was written.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.0.port
    }

    /// Host and port as a `Host` header has them: the port only if it is not the scheme's, IPv6 in brackets.
    #[must_use]
    pub fn authority(&self) -> String {
        self.0.authority()
    }

    /// Whether it is on this machine: a loopback address, or `localhost` (RFC 6761, section 6.3).
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        self.0.host.is_loopback()
    }

    /// `https` on port 443 of one of Meta's hosts, which the code names in lower case.
    pub(super) fn of_meta(host: &'static str) -> Self {
        Self(Site {
            https: true,
            host: Host::Name(host.into()),
            port: default_port(true),
        })
    }

    fn new(site: Site) -> Result<Self, OriginError> {
        if site.https || site.host.is_loopback() {
            Ok(Self(site))
        } else {
            Err(OriginError::ClearText)
        }
    }
}

impl FromStr for Origin {
    type Err = OriginError;

    fn from_str(text: &str) -> Result<Self, OriginError> {
        Self::new(text.parse()?)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How callers reach the gateway: what rewritten URLs begin with. `http` is possible, since a load balancer may end TLS.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct PublicUrl(Site);

impl PublicUrl {
    /// Whether it is `https`.
    #[must_use]
    pub const fn is_https(&self) -> bool {
        self.0.https
    }

    /// Host and port as a `Host` header has them.
    #[must_use]
    pub fn authority(&self) -> String {
        self.0.authority()
    }
}

impl FromStr for PublicUrl {
    type Err = OriginError;

    fn from_str(text: &str) -> Result<Self, OriginError> {
        text.parse().map(Self)
    }
}

impl fmt::Display for PublicUrl {
    /// `https://curfew.bank.example`, without a slash at the end: a path can be put behind it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
struct Site {
    https: bool,
    host: Host,
    port: u16,
}

impl Site {
    fn new(scheme: &str, authority: &str) -> Result<Self, OriginError> {
        let https = if scheme.eq_ignore_ascii_case("https") {
            true
        } else if scheme.eq_ignore_ascii_case("http") {
            false
        } else {
            return Err(OriginError::Scheme);
        };
        if authority.contains('@') {
            return Err(OriginError::UserInfo);
        }
        let (host, port) = split_port(authority)?;
        let port = match port {
            None => default_port(https),
            Some(digits) => Some(digits)
                .filter(|digits| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()))
                .and_then(|digits| digits.parse().ok())
                .filter(|port| *port != 0)
                .ok_or(OriginError::Port)?,
        };
        Ok(Self {
            https,
            host: host.parse()?,
            port,
        })
    }

    fn authority(&self) -> String {
        if self.port == default_port(self.https) {
            self.host.to_string()
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

impl FromStr for Site {
    type Err = OriginError;

    fn from_str(text: &str) -> Result<Self, OriginError> {
        let (scheme, rest) = text.split_once("://").ok_or(OriginError::Scheme)?;
        let end = rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let site = Self::new(scheme, authority)?;
        if path.is_empty() {
            Ok(site)
        } else {
            Err(OriginError::Path)
        }
    }
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.https { "https" } else { "http" };
        write!(f, "{scheme}://{}", self.authority())
    }
}

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
enum Host {
    Name(Box<str>),
    Ip(IpAddr),
}

impl Host {
    fn is_loopback(&self) -> bool {
        match self {
            Self::Name(name) => &**name == "localhost",
            Self::Ip(ip) => ip.is_loopback(),
        }
    }
}

impl FromStr for Host {
    type Err = OriginError;

    fn from_str(text: &str) -> Result<Self, OriginError> {
        if let Some(address) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            let address: Ipv6Addr = address.parse().map_err(|_| OriginError::Host)?;
            return Ok(Self::Ip(IpAddr::V6(address)));
        }
        let name = text.to_ascii_lowercase();
        let last = name.rsplit('.').next().unwrap_or_default();
        // No top-level domain begins with a digit, but addresses do, also in spellings that resolvers read and we do not
        // (127.1, 0x7f.1): whatever begins so must be a plain IPv4 address.
        if last.starts_with(|first: char| first.is_ascii_digit()) {
            let address: Ipv4Addr = name.parse().map_err(|_| OriginError::Host)?;
            return Ok(Self::Ip(IpAddr::V4(address)));
        }
        if name.len() <= 253 && name.split('.').all(is_label) {
            Ok(Self::Name(name.into()))
        } else {
            Err(OriginError::Host)
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Ip(IpAddr::V4(address)) => address.fmt(f),
            Self::Ip(IpAddr::V6(address)) => write!(f, "[{address}]"),
        }
    }
}

const fn default_port(https: bool) -> u16 {
    if https { 443 } else { 80 }
}

/// The host, brackets included, and what stands behind the colon.
fn split_port(authority: &str) -> Result<(&str, Option<&str>), OriginError> {
    let host_end = if authority.starts_with('[') {
        authority.find(']').ok_or(OriginError::Host)? + 1
    } else {
        authority.find(':').unwrap_or(authority.len())
    };
    let (host, rest) = authority.split_at(host_end);
    match rest.strip_prefix(':') {
        Some(port) => Ok((host, Some(port))),
        None if rest.is_empty() => Ok((host, None)),
        None => Err(OriginError::Host),
    }
}

/// A label of a host name (RFC 1123, section 2.1), lower case.
fn is_label(label: &str) -> bool {
    (1..=63).contains(&label.len())
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        for (text, shown) in [
            ("https://graph.facebook.com", "https://graph.facebook.com"),
            ("HTTPS://Graph.Facebook.COM:443", "https://graph.facebook.com"),
            (
                "https://graph.facebook.com:8443",
                "https://graph.facebook.com:8443",
            ),
            ("https://10.0.0.7", "https://10.0.0.7"),
            ("https://[2001:db8::0:1]:8443", "https://[2001:db8::1]:8443"),
            ("http://127.0.0.1:4000", "http://127.0.0.1:4000"),
            ("http://127.9.9.9:80", "http://127.9.9.9"),
            ("http://[::1]:4000", "http://[::1]:4000"),
            ("http://localhost:4000", "http://localhost:4000"),
        ] {
            assert_eq!(
                text.parse::<Origin>().map(|o| o.to_string()).as_deref(),
                Ok(shown),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_not_an_origin_says_why() {
        for (text, why) in [
            ("", OriginError::Scheme),
            ("graph.facebook.com", OriginError::Scheme),
            ("ftp://graph.facebook.com", OriginError::Scheme),
            ("https:/graph.facebook.com", OriginError::Scheme),
            ("https://graph.facebook.com@evil.example", OriginError::UserInfo),
            ("https://user:word@graph.facebook.com", OriginError::UserInfo),
            ("https://graph.facebook.com/", OriginError::Path),
            ("https://graph.facebook.com/v23.0", OriginError::Path),
            ("https://graph.facebook.com?x", OriginError::Path),
            ("https://graph.facebook.com#x", OriginError::Path),
            ("https://graph.facebook.com\\x", OriginError::Path),
            ("https://", OriginError::Host),
            ("https://.facebook.com", OriginError::Host),
            ("https://graph.facebook.com.", OriginError::Host),
            ("https://-x.example", OriginError::Host),
            ("https://gräph.example", OriginError::Host),
            ("https://graph%2efacebook.com", OriginError::Host),
            ("https://graph facebook.com", OriginError::Host),
            ("https://127.1", OriginError::Host),
            ("https://2130706433", OriginError::Host),
            ("https://0x7f.0x1", OriginError::Host),
            ("https://[::1", OriginError::Host),
            ("https://[::1]x", OriginError::Host),
            ("https://::1", OriginError::Port),
            ("https://graph.facebook.com:", OriginError::Port),
            ("https://graph.facebook.com:0", OriginError::Port),
            ("https://graph.facebook.com:+443", OriginError::Port),
            ("https://graph.facebook.com:65536", OriginError::Port),
            ("http://graph.facebook.com", OriginError::ClearText),
            ("http://10.0.0.7", OriginError::ClearText),
            ("http://localhost.example", OriginError::ClearText),
        ] {
            assert_eq!(text.parse::<Origin>(), Err(why), "{text}");
        }
    }

    #[test]
    fn metas_origins_are_what_their_text_says() {
        assert_eq!(
            "https://graph.facebook.com".parse(),
            Ok(Origin::of_meta("graph.facebook.com"))
        );
    }

    #[test]
    fn a_public_url_may_be_clear_text_anywhere() {
        let url: PublicUrl = "http://curfew.bank.example:8080".parse().unwrap();
        assert_eq!(url.to_string(), "http://curfew.bank.example:8080");
        assert_eq!(url.authority(), "curfew.bank.example:8080");
        assert!(!url.is_https());
        assert_eq!("https://x/y".parse::<PublicUrl>(), Err(OriginError::Path));
    }

    #[test]
    fn the_origin_of_a_uri_is_the_one_that_is_called() {
        let media: Origin = "https://lookaside.fbsbx.com".parse().unwrap();
        let of = |text: &str| Origin::of(&text.parse().unwrap());
        assert_eq!(of("https://LOOKASIDE.fbsbx.com:443/a?b=c"), Ok(media.clone()));
        assert_ne!(of("https://lookaside.fbsbx.com:8443/a"), Ok(media.clone()));
        assert_ne!(of("https://lookaside.fbsbx.com.evil.example/a"), Ok(media));
        assert_eq!(
            of("https://lookaside.fbsbx.com@evil.example/a"),
            Err(OriginError::UserInfo)
        );
        assert_eq!(of("http://lookaside.fbsbx.com/a"), Err(OriginError::ClearText));
        assert_eq!(of("/a"), Err(OriginError::Scheme));
    }

    proptest! {
        #[test]
        fn an_origin_reads_back_what_it_writes(text in "https?://[a-z0-9.:@\\[\\]/-]{0,24}") {
            if let Ok(origin) = text.parse::<Origin>() {
                prop_assert_eq!(origin.to_string().parse::<Origin>(), Ok(origin.clone()));
                let uri: http::Uri = format!("{origin}/path?query").parse().unwrap();
                prop_assert_eq!(Origin::of(&uri), Ok(origin));
            }
        }
    }
}
