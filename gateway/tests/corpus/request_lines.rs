//! Request lines: method, target, version.

use super::{Refused, bad, refused_with};

pub(crate) const CASES: &[Refused] = &[
    bad(
        "no HTTP at all",
        "not-http",
        b"INVALID CONNECTION PREFACE\r\n\r\n",
    ),
    bad("HTTP/0.9", "not-http", b"GET /0.9\r\n\r\n"),
    bad(
        "an empty line first",
        "not-http",
        b"\r\nGET /late HTTP/1.1\r\nHost: h\r\n\r\n",
    ),
    bad(
        "two spaces before the target",
        "request-line",
        b"GET  /x HTTP/1.1\r\nHost: h\r\n\r\n",
    ),
    bad(
        "two spaces before the version",
        "request-line",
        b"GET /x  HTTP/1.1\r\nHost: h\r\n\r\n",
    ),
    bad(
        "a space behind the version",
        "request-line",
        b"GET /x HTTP/1.1 \r\nHost: h\r\n\r\n",
    ),
    bad(
        "a space before the method",
        "request-line",
        b" GET /x HTTP/1.1\r\nHost: h\r\n\r\n",
    ),
    bad(
        "a space in the target",
        "request-line",
        b"GET /x y HTTP/1.1\r\nHost: h\r\n\r\n",
    ),
    bad(
        "tabs for spaces",
        "request-line",
        b"GET\t/x\tHTTP/1.1\r\nHost: h\r\n\r\n",
    ),
    bad(
        "a method that is no token",
        "request-line",
        b"GE(T /x HTTP/1.1\r\nHost: h\r\n\r\n",
    ),
    bad(
        "HTTP/2.0 in a request line",
        "http-version",
        b"GET /x HTTP/2.0\r\nHost: h\r\n\r\n",
    ),
    bad("HTTP/1.2", "http-version", b"GET /x HTTP/1.2\r\nHost: h\r\n\r\n"),
    bad(
        "HTTP/1.10",
        "http-version",
        b"GET /x HTTP/1.10\r\nHost: h\r\n\r\n",
    ),
    bad(
        "a preface that goes wrong late",
        "http-version",
        b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n",
    ),
    refused_with(
        "CONNECT",
        405,
        "method",
        b"CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\n\r\n",
    ),
    refused_with(
        "OPTIONS *",
        405,
        "method",
        b"OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n",
    ),
    refused_with(
        "lower-case post",
        405,
        "method",
        b"post /x HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n",
    ),
    refused_with(
        "PUT",
        405,
        "method",
        b"PUT /x HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n",
    ),
    refused_with("PATCH", 405, "method", b"PATCH /x HTTP/1.1\r\nHost: h\r\n\r\n"),
    refused_with("TRACE", 405, "method", b"TRACE /x HTTP/1.1\r\nHost: h\r\n\r\n"),
    refused_with(
        "the front door's own method",
        405,
        "method",
        b"CURFEW-REFUSED /bad-chunk HTTP/1.1\r\nHost: h\r\n\r\n",
    ),
    bad(
        "absolute form",
        "target-form",
        b"GET http://other/x HTTP/1.1\r\nHost: h\r\n\r\n",
    ),
    bad(
        "absolute form with userinfo",
        "target-form",
        b"GET http://a@other/x HTTP/1.1\r\nHost: h\r\n\r\n",
    ),
    bad(
        "absolute form of the same host",
        "target-form",
        b"GET http://h/x HTTP/1.1\r\nHost: h\r\n\r\n",
    ),
    bad(
        "authority form",
        "target-form",
        b"GET h:443 HTTP/1.1\r\nHost: h\r\n\r\n",
    ),
    bad(
        "asterisk form",
        "target-form",
        b"GET * HTTP/1.1\r\nHost: h\r\n\r\n",
    ),
    bad(
        "no slash first",
        "target-form",
        b"GET x/y HTTP/1.1\r\nHost: h\r\n\r\n",
    ),
    bad(
        "dot segments",
        "dot-segment",
        b"GET /a/../b HTTP/1.1\r\nHost: h\r\n\r\n",
    ),
    bad(
        "a single dot segment",
        "dot-segment",
        b"GET /a/./b HTTP/1.1\r\nHost: h\r\n\r\n",
    ),
    bad(
        "escaped dots",
        "path-escape",
        b"GET /a/%2e%2e/b HTTP/1.1\r\nHost: h\r\n\r\n",
    ),
    bad(
        "an escaped slash",
        "path-escape",
        b"GET /a%2fb HTTP/1.1\r\nHost: h\r\n\r\n",
    ),
    bad(
        "an escaped NUL",
        "path-escape",
        b"GET /a%00 HTTP/1.1\r\nHost: h\r\n\r\n",
    ),
    bad(
        "an escaped letter",
        "path-escape",
        b"GET /%6dessages HTTP/1.1\r\nHost: h\r\n\r\n",
    ),
    bad(
        "an escaped percent sign",
        "path-escape",
        b"GET /a%252f HTTP/1.1\r\nHost: h\r\n\r\n",
    ),
    bad(
        "doubled slash first",
        "empty-segment",
        b"GET //other/x HTTP/1.1\r\nHost: h\r\n\r\n",
    ),
    bad(
        "doubled slash inside",
        "empty-segment",
        b"GET /v24.0//1 HTTP/1.1\r\nHost: h\r\n\r\n",
    ),
    bad(
        "a path parameter",
        "path-parameter",
        b"GET /a;x=y HTTP/1.1\r\nHost: h\r\n\r\n",
    ),
    bad(
        "a backslash",
        "target-byte",
        b"GET /a\\b HTTP/1.1\r\nHost: h\r\n\r\n",
    ),
    bad(
        "a fragment",
        "target-byte",
        b"GET /x#/y HTTP/1.1\r\nHost: h\r\n\r\n",
    ),
    bad(
        "a fragment behind the query",
        "target-byte",
        b"GET /x?y#z HTTP/1.1\r\nHost: h\r\n\r\n",
    ),
    bad(
        "raw UTF-8 digits",
        "target-byte",
        b"GET /\xd9\xa1\xd9\xa2 HTTP/1.1\r\nHost: h\r\n\r\n",
    ),
    bad(
        "bytes that are not UTF-8",
        "target-byte",
        b"GET /\xff HTTP/1.1\r\nHost: h\r\n\r\n",
    ),
    bad(
        "a NUL in the target",
        "control-byte",
        b"GET /a\0b HTTP/1.1\r\nHost: h\r\n\r\n",
    ),
    bad(
        "a broken escape in the query",
        "query-escape",
        b"GET /x?y=%zz HTTP/1.1\r\nHost: h\r\n\r\n",
    ),
    bad(
        "a line feed alone behind the request line",
        "line-end",
        b"GET /x HTTP/1.1\nHost: h\r\n\r\n",
    ),
];
