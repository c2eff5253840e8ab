//! The grammar of request targets and of `Host`, for HTTP/1 and HTTP/2 alike.
//!
//! It is narrower than RFC 3986: what two parsers could read as two paths is refused, so that the path that is
//! judged is the only one that the bytes can mean. It knows nothing of the Cloud API's own paths.

use std::net::Ipv6Addr;

use super::FrontDoorRefusal;

/// Longest request target (path and query), in bytes.
pub const TARGET_BYTES: usize = 2048;

/// Checks a request target in origin form: a canonical path, and after `?` a query.
///
/// The path consists of RFC 3986 `pchar` without `;` and without percent escapes, save that `upload:` at the
/// start of a segment may spell its colon `%3A` or `%3a`. The query may also hold `/ ? [ ] { } | ^` and the
/// backtick, which clients send unescaped, and well-formed percent escapes.
///
/// # Errors
///
/// The first rule that the target breaks, in the order length, form, path, query.
pub fn check_target(raw: &str) -> Result<(), FrontDoorRefusal> {
    if raw.len() > TARGET_BYTES {
        return Err(FrontDoorRefusal::TargetTooLong);
    }
    if !raw.starts_with('/') {
        return Err(FrontDoorRefusal::TargetForm);
    }
    let (path, query) = match raw.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (raw, None),
    };
    check_path(path)?;
    query.map_or(Ok(()), check_query)
}

/// Checks the value of `Host` or `:authority`: a name, an IPv4 address or an IPv6 address in brackets, with an
/// optional port from 1 to 65535. Userinfo, paths, spaces and percent escapes are refused.
pub(super) fn check_host(value: &[u8]) -> Result<(), FrontDoorRefusal> {
    let valid = std::str::from_utf8(value).is_ok_and(|value| match value.strip_prefix('[') {
        Some(rest) => rest.split_once(']').is_some_and(|(address, port)| {
            address.parse::<Ipv6Addr>().is_ok()
                && (port.is_empty() || port.strip_prefix(':').is_some_and(is_port))
        }),
        None => match value.split_once(':') {
            Some((name, port)) => is_host_name(name) && is_port(port),
            None => is_host_name(value),
        },
    });
    if valid {
        Ok(())
    } else {
        Err(FrontDoorRefusal::HostInvalid)
    }
}

fn check_path(path: &str) -> Result<(), FrontDoorRefusal> {
    let bytes = path.as_bytes();
    if let Some(refusal) = bytes.iter().find_map(|&byte| path_byte_refusal(byte)) {
        return Err(refusal);
    }
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        // A slash at the end is no doubled slash.
        if segment.is_empty() && segments.peek().is_some() {
            return Err(FrontDoorRefusal::EmptySegment);
        }
        if segment == "." || segment == ".." {
            return Err(FrontDoorRefusal::DotSegment);
        }
        let literal = segment
            .strip_prefix("upload%3A")
            .or_else(|| segment.strip_prefix("upload%3a"))
            .unwrap_or(segment);
        if literal.contains('%') {
            return Err(FrontDoorRefusal::PathEscape);
        }
    }
    Ok(())
}

fn path_byte_refusal(byte: u8) -> Option<FrontDoorRefusal> {
    match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => None,
        b'/' | b'-' | b'.' | b'_' | b'~' | b':' | b'@' | b'%' => None,
        b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b'=' => None,
        b';' => Some(FrontDoorRefusal::PathParameter),
        _ => Some(FrontDoorRefusal::TargetByte),
    }
}

fn check_query(query: &str) -> Result<(), FrontDoorRefusal> {
    let mut bytes = query.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => {
                let two_digits = bytes.next().is_some_and(|b| b.is_ascii_hexdigit())
                    && bytes.next().is_some_and(|b| b.is_ascii_hexdigit());
                if !two_digits {
                    return Err(FrontDoorRefusal::QueryEscape);
                }
            }
            b'"' | b'#' | b'<' | b'>' | b'\\' => return Err(FrontDoorRefusal::TargetByte),
            0x21..=0x7e => {}
            _ => return Err(FrontDoorRefusal::TargetByte),
        }
    }
    Ok(())
}

fn is_host_name(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    name.len() <= 253
        && name.split('.').all(|label| {
            !label.is_empty()
                && label
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        })
}

fn is_port(port: &str) -> bool {
    port.len() <= 5
        && port.bytes().all(|b| b.is_ascii_digit())
        && port.parse::<u16>().is_ok_and(|number| number > 0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use FrontDoorRefusal as R;

    #[test]
    fn paths_of_the_cloud_api_are_let_through() {
        for target in [
            "/",
            "/v24.0/106540352242922/messages",
            "/106540352242922/media",
            "/v24.0/106540352242922/",
            "/v24.0/1?phone_number_id=2&fields=id,name",
            "/v24.0/upload:MTphdHRh==?sig=ARZ-_x",
            "/v24.0/upload%3AMTphdHRh",
            "/upload%3aMTphdHRh",
            "/media/1/abc?sig=x?access_token=EAAG|x",
            "/v24.0/1?fields=dimensions([%22A%22])&x={y}",
            "/v24.0/1?",
            "/.well-known/x",
            "/a/.../b",
        ] {
            assert_eq!(check_target(target), Ok(()), "{target}");
        }
    }

    #[test]
    fn ambiguous_targets_are_refused() {
        for (target, refusal) in [
            ("", R::TargetForm),
            ("*", R::TargetForm),
            ("http://h/1", R::TargetForm),
            ("h:443", R::TargetForm),
            ("//h/1", R::EmptySegment),
            ("/v1//2", R::EmptySegment),
            ("/v1/2//", R::EmptySegment),
            ("/a/../b", R::DotSegment),
            ("/a/./b", R::DotSegment),
            ("/..", R::DotSegment),
            ("/a/.", R::DotSegment),
            ("/%2e%2e/b", R::PathEscape),
            ("/a%2fb", R::PathEscape),
            ("/a%00", R::PathEscape),
            ("/a%3Ab", R::PathEscape),
            ("/xupload%3Ab", R::PathEscape),
            ("/UPLOAD%3Ab", R::PathEscape),
            ("/upload%3A%3A", R::PathEscape),
            ("/upload%3", R::PathEscape),
            ("/a;x=y", R::PathParameter),
            ("/a\\b", R::TargetByte),
            ("/a#b", R::TargetByte),
            ("/a?b#c", R::TargetByte),
            ("/a?b\\c", R::TargetByte),
            ("/a b", R::TargetByte),
            ("/a\tb", R::TargetByte),
            ("/a\u{7f}", R::TargetByte),
            ("/\u{661}\u{662}", R::TargetByte),
            ("/a?q=\u{e9}", R::TargetByte),
            ("/{a}", R::TargetByte),
            ("/a?b=%", R::QueryEscape),
            ("/a?b=%2", R::QueryEscape),
            ("/a?b=%zz", R::QueryEscape),
        ] {
            assert_eq!(check_target(target), Err(refusal), "{target}");
        }
    }

    #[test]
    fn the_length_of_a_target_is_exact() {
        let fits = format!("/{}", "a".repeat(TARGET_BYTES - 1));
        assert_eq!(check_target(&fits), Ok(()));
        assert_eq!(check_target(&format!("{fits}a")), Err(R::TargetTooLong));
    }

    #[test]
    fn hosts_are_names_or_addresses_with_a_port() {
        for host in [
            "h",
            "a.b.example",
            "a.b.example.",
            "127.0.0.1:8080",
            "[::1]",
            "[2001:db8::1]:443",
            "my_host:1",
        ] {
            assert_eq!(check_host(host.as_bytes()), Ok(()), "{host}");
        }
        for host in [
            "",
            " ",
            "a b",
            "a@b",
            "u:p@b",
            "a/b",
            "a?b",
            "a#b",
            "a:",
            "a:0",
            "a:65536",
            "a:+1",
            "a:1:2",
            "a:80x",
            ":80",
            ".",
            "a..b",
            ".a",
            "[::1",
            "[::1]x",
            "[::1]:",
            "[1.2.3.4]",
            "a%2eb",
            "a,b",
            "h\u{e9}",
            "[]",
            "a\\b",
            "a;b",
            "a:000001",
        ] {
            assert_eq!(check_host(host.as_bytes()), Err(R::HostInvalid), "{host}");
        }
    }

    proptest! {
        /// What the front door lets through, the HTTP library must read the same way.
        #[test]
        fn an_accepted_target_means_the_same_to_the_uri_parser(target in "(/[a-z0-9._~:@!$&'()*+,;=%-]{0,5}){1,4}([?][ -~]{0,6})?") {
            if check_target(&target).is_ok() {
                let uri: http::Uri = target.parse().expect("accepted targets parse");
                let whole = uri.path_and_query().expect("there is a path").as_str();
                prop_assert_eq!(whole, target.as_str());
                prop_assert!(!uri.path().contains("//") && !uri.path().contains(';'));
            }
        }

        #[test]
        fn checking_never_panics(target in any::<String>(), host in any::<Vec<u8>>()) {
            let _ = check_target(&target);
            let _ = check_host(&host);
        }
    }
}
