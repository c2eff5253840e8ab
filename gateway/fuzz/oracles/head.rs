//! Heads of HTTP/1 requests: the front door against httparse, which hyper reads them with.

use curfew::server::{BodyFraming, FrontDoorLimits, FrontDoorRefusal, Head, HeadScanner, check_head};
use http::Version;

pub fn check(raw: &[u8]) -> bool {
    let limits = FrontDoorLimits::default();
    let whole = check_head(raw, &limits);
    for step in [1, 7] {
        assert_eq!(whole, piecewise(raw, step, &limits), "in pieces of {step}");
    }
    let Ok(head) = whole else { return false };
    agrees(raw, &head);
    true
}

fn piecewise(raw: &[u8], step: usize, limits: &FrontDoorLimits) -> Result<Head, FrontDoorRefusal> {
    let mut scanner = HeadScanner::default();
    let mut received = 0;
    loop {
        match scanner.advance(&raw[..received], limits)? {
            Some(head) => return Ok(head),
            None if received == raw.len() => return Err(FrontDoorRefusal::HeaderTimeout),
            None => received = raw.len().min(received + step),
        }
    }
}

fn agrees(raw: &[u8], head: &Head) {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut request = httparse::Request::new(&mut headers);
    let parsed = request.parse(raw).expect("httparse reads it");
    assert_eq!(parsed, httparse::Status::Complete(head.len));
    assert!(matches!(request.method, Some("GET" | "POST" | "DELETE" | "HEAD")));
    assert_eq!(request.path.map(str::as_bytes), Some(&raw[head.target.clone()]));
    let version = match request.version {
        Some(1) => Version::HTTP_11,
        Some(0) => Version::HTTP_10,
        other => panic!("HTTP/1.{other:?}"),
    };
    assert_eq!(head.version, version);

    let values = |name: &str| -> Vec<&[u8]> {
        let named = request
            .headers
            .iter()
            .filter(|header| header.name.eq_ignore_ascii_case(name));
        named.map(|header| header.value).collect()
    };
    assert_eq!(values("host").len(), 1);
    assert!(values("upgrade").is_empty() && values("content-encoding").is_empty());
    assert!(values("expect").len() <= 1);
    for options in values("connection") {
        let options = String::from_utf8_lossy(options).to_ascii_lowercase();
        assert!(!options.split(',').any(|option| option.trim() == "upgrade"));
    }
    let framing = match (
        values("content-length").as_slice(),
        values("transfer-encoding").as_slice(),
    ) {
        ([], []) => BodyFraming::Length(0),
        ([length], []) => {
            let length = std::str::from_utf8(length).expect("digits");
            assert!(length.bytes().all(|byte| byte.is_ascii_digit()));
            BodyFraming::Length(length.parse().expect("below the limit, so it fits"))
        }
        ([], [coding]) => {
            assert!(coding.eq_ignore_ascii_case(b"chunked"));
            BodyFraming::Chunked
        }
        both => panic!("{both:?}"),
    };
    assert_eq!(head.framing, framing);
    if framing != BodyFraming::Length(0) {
        assert!(matches!(request.method, Some("POST" | "DELETE")));
        assert_eq!(head.version, Version::HTTP_11);
    }
}
