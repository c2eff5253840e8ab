//! The front door's rules on parsed requests, for HTTP/2, where no bytes can be checked before the parser.
//!
//! The HTTP/2 library itself refuses broken frames, upper-case names, connection headers and lengths that do not
//! match; a `#` and what follows it in `:path` it cuts off, which is harmless as long as the upstream target is
//! built from parsed values.

use http::{HeaderMap, Method, Request, Uri, Version, header, request};
use http_body::Body;

use super::head::{is_expected, names_upgrade, parse_length};
use super::limits::FrontDoorLimits;
use super::target::{check_host, check_target};
use super::{FrontDoorRefusal, REFUSED_METHOD, is_allowed_method};

/// Why the front door refuses this request, if it does. To be asked before any layer acts on the request.
///
/// HTTP/1: the reason that the connection found in the bytes; HTTP/2: the checks of [`check_request_parts`] and
/// that no body comes with GET or HEAD.
pub fn refusal_of<B: Body>(request: &Request<B>, limits: &FrontDoorLimits) -> Option<FrontDoorRefusal> {
    if request.version() < Version::HTTP_2 && request.method().as_str() == REFUSED_METHOD {
        let slug = request.uri().path().trim_start_matches('/');
        return Some(FrontDoorRefusal::from_slug(slug).unwrap_or(FrontDoorRefusal::NotHttp));
    }
    let whole = Whole {
        method: request.method(),
        uri: request.uri(),
        version: request.version(),
        headers: request.headers(),
    };
    if let Err(refusal) = whole.check(limits) {
        return Some(refusal);
    }
    let unexpected_body = !takes_body(request.method()) && !request.body().is_end_stream();
    unexpected_body.then_some(FrontDoorRefusal::UnexpectedBody)
}

/// Checks method, target, host and headers of a parsed request.
///
/// # Errors
///
/// The first rule that is broken, in the order method, target, number and size of headers, host, the others.
pub fn check_request_parts(parts: &request::Parts, limits: &FrontDoorLimits) -> Result<(), FrontDoorRefusal> {
    Whole {
        method: &parts.method,
        uri: &parts.uri,
        version: parts.version,
        headers: &parts.headers,
    }
    .check(limits)
}

struct Whole<'a> {
    method: &'a Method,
    uri: &'a Uri,
    version: Version,
    headers: &'a HeaderMap,
}

impl Whole<'_> {
    fn check(&self, limits: &FrontDoorLimits) -> Result<(), FrontDoorRefusal> {
        if !is_allowed_method(self.method.as_str().as_bytes()) {
            return Err(FrontDoorRefusal::Method);
        }
        let target = self.uri.path_and_query().ok_or(FrontDoorRefusal::TargetForm)?;
        check_target(target.as_str())?;
        // Absent from HTTP/1; in HTTP/2 it says whose rules the rest of the target follows (RFC 9113 section 8.3.1).
        if !matches!(self.uri.scheme_str(), None | Some("http" | "https")) {
            return Err(FrontDoorRefusal::TargetForm);
        }
        self.check_size(limits)?;
        self.check_host()?;
        self.check_fields()?;
        self.check_length(limits)
    }

    fn check_size(&self, limits: &FrontDoorLimits) -> Result<(), FrontDoorRefusal> {
        if self.headers.len() > limits.headers {
            return Err(FrontDoorRefusal::TooManyHeaders);
        }
        // 32 bytes each: RFC 9113 section 6.5.2.
        let size: usize = self
            .headers
            .iter()
            .map(|(name, value)| name.as_str().len() + value.len() + 32)
            .sum();
        if self.version == Version::HTTP_2 && size > limits.head_bytes {
            return Err(FrontDoorRefusal::HeadTooLarge);
        }
        Ok(())
    }

    fn check_host(&self) -> Result<(), FrontDoorRefusal> {
        let mut hosts = self.headers.get_all(header::HOST).into_iter();
        let host = hosts.next();
        if hosts.next().is_some() {
            return Err(FrontDoorRefusal::HostRepeated);
        }
        if self.version < Version::HTTP_2 {
            if self.uri.authority().is_some() {
                return Err(FrontDoorRefusal::TargetForm);
            }
            return check_host(host.ok_or(FrontDoorRefusal::HostMissing)?.as_bytes());
        }
        let authority = self
            .uri
            .authority()
            .ok_or(FrontDoorRefusal::HostMissing)?
            .as_str();
        check_host(authority.as_bytes())?;
        match host {
            Some(host) if !host.as_bytes().eq_ignore_ascii_case(authority.as_bytes()) => {
                Err(FrontDoorRefusal::HostMismatch)
            }
            _ => Ok(()),
        }
    }

    fn check_fields(&self) -> Result<(), FrontDoorRefusal> {
        let mut expectations = self.headers.get_all(header::EXPECT).into_iter();
        let first_is_known = expectations
            .next()
            .is_none_or(|value| is_expected(value.as_bytes()));
        if !first_is_known || expectations.next().is_some() {
            return Err(FrontDoorRefusal::Expect);
        }
        if self.headers.contains_key(header::CONTENT_ENCODING) {
            return Err(FrontDoorRefusal::ContentEncoding);
        }
        let mut connection = self.headers.get_all(header::CONNECTION).into_iter();
        if self.headers.contains_key(header::UPGRADE)
            || connection.any(|value| names_upgrade(value.as_bytes()))
        {
            return Err(FrontDoorRefusal::Upgrade);
        }
        Ok(())
    }

    fn check_length(&self, limits: &FrontDoorLimits) -> Result<(), FrontDoorRefusal> {
        let mut lengths = self.headers.get_all(header::CONTENT_LENGTH).into_iter();
        let Some(length) = lengths.next() else {
            return Ok(());
        };
        if self.headers.contains_key(header::TRANSFER_ENCODING) {
            return Err(FrontDoorRefusal::LengthWithEncoding);
        }
        if lengths.next().is_some() {
            return Err(FrontDoorRefusal::ContentLength);
        }
        let length = parse_length(length.as_bytes())?;
        if length > 0 && !takes_body(self.method) {
            return Err(FrontDoorRefusal::UnexpectedBody);
        }
        if length > limits.upload_bytes {
            Err(FrontDoorRefusal::BodyTooLarge)
        } else {
            Ok(())
        }
    }
}

/// POST, and DELETE: the Graph API has DELETE calls with a body (Cloud API, "Block users").
fn takes_body(method: &Method) -> bool {
    matches!(*method, Method::POST | Method::DELETE)
}

#[cfg(test)]
mod tests {
    use http_body_util::{Empty, Full};

    use super::*;
    use FrontDoorRefusal as R;

    fn http2(method: &str, uri: &str, headers: &[(&str, &str)]) -> Request<Empty<bytes::Bytes>> {
        let mut request = Request::builder()
            .version(Version::HTTP_2)
            .method(method)
            .uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(Empty::new()).unwrap()
    }

    fn judge(method: &str, uri: &str, headers: &[(&str, &str)]) -> Option<R> {
        refusal_of(&http2(method, uri, headers), &FrontDoorLimits::default())
    }

    #[test]
    fn http2_requests_follow_the_same_rules() {
        let h = "http://h/v24.0/1";
        assert_eq!(judge("GET", h, &[]), None);
        assert_eq!(judge("GET", h, &[("host", "H")]), None);
        assert_eq!(
            judge("POST", h, &[("content-length", "5"), ("expect", "100-continue")]),
            None
        );
        for (method, uri, headers, refusal) in [
            ("PUT", h, &[][..], R::Method),
            ("OPTIONS", h, &[], R::Method),
            (REFUSED_METHOD, "http://h/bad_chunk", &[], R::Method),
            ("GET", "http://h/a/../b", &[], R::DotSegment),
            ("GET", "http://h//b", &[], R::EmptySegment),
            ("GET", "http://h/a%2fb", &[], R::PathEscape),
            ("GET", "/v24.0/1", &[], R::HostMissing),
            ("GET", "ftp://h/1", &[], R::TargetForm),
            ("GET", "http://u@h/1", &[], R::HostInvalid),
            ("GET", h, &[("host", "other")], R::HostMismatch),
            ("GET", h, &[("host", "h"), ("host", "h")], R::HostRepeated),
            ("POST", h, &[("expect", "100-continue, x")], R::Expect),
            (
                "POST",
                h,
                &[("expect", "100-continue"), ("expect", "100-continue")],
                R::Expect,
            ),
            ("POST", h, &[("content-encoding", "gzip")], R::ContentEncoding),
            ("POST", h, &[("content-length", "104923137")], R::BodyTooLarge),
            ("POST", h, &[("content-length", "+5")], R::ContentLength),
            ("GET", h, &[("content-length", "5")], R::UnexpectedBody),
        ] {
            assert_eq!(
                judge(method, uri, headers),
                Some(refusal),
                "{method} {uri} {headers:?}"
            );
        }
    }

    #[test]
    fn http2_heads_are_bounded_in_number_and_size() {
        let mut request = http2("GET", "http://h/1", &[]);
        for index in 0..64 {
            request.headers_mut().append("x", index.into());
        }
        assert_eq!(refusal_of(&request, &FrontDoorLimits::default()), None);
        request.headers_mut().append("x", 64.into());
        assert_eq!(
            refusal_of(&request, &FrontDoorLimits::default()),
            Some(R::TooManyHeaders)
        );

        let large = "v".repeat(16_384 - 33);
        assert_eq!(judge("GET", "http://h/1", &[("x", &large)]), None);
        assert_eq!(
            judge("GET", "http://h/1", &[("x", &format!("{large}v"))]),
            Some(R::HeadTooLarge)
        );
    }

    #[test]
    fn a_get_with_a_body_of_unknown_length_is_refused() {
        let request = http2("GET", "http://h/1", &[]).map(|_| Full::new(bytes::Bytes::from_static(b"x")));
        assert_eq!(
            refusal_of(&request, &FrontDoorLimits::default()),
            Some(R::UnexpectedBody)
        );
    }

    #[test]
    fn the_synthesized_request_carries_its_reason() {
        for refusal in R::ALL {
            let request = Request::builder()
                .method(REFUSED_METHOD)
                .uri(format!("/{}", refusal.slug()))
                .body(Empty::<bytes::Bytes>::new())
                .unwrap();
            assert_eq!(refusal_of(&request, &FrontDoorLimits::default()), Some(refusal));
        }
    }
}
