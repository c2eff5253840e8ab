//! Request lines: method, target, version.

use super::{Refused, bad, refused_with};

pub(crate) const CASES: &[Refused] = &[
    bad(
        "no HTTP at all",
        "not_http",
        b"INVALID CONNECTION PREFACE\r\n\r\n",
    ),
    bad("HTTP/0.9", "not_http", b"GET /0.9\r\n\r\n"),
    bad(
        "an empty line first",
        "not_http",
        b"\r\nGET /late HTTP/1.1\r\nHost: h\r\n\r\n",
    ),
    bad(
        "two spaces before the target",
        "request_line",
        b"GET  /x HTTP/1.1\r\nHost: h\r\n\r\n",
    ),
    bad(
        "two spaces before the version",
        "request_line",
        b"GET /x  HTTP/1.1\r\nHost: h\r\n\r\n",
    ),
    bad(
        "a space behind the version",
        "request_line",
        b"GET /x HTTP/1.1 \r\nHost: h\r\n\r\n",
    ),
    bad(
        "a space before the method",
        "request_line",
        b" GET /x HTTP/1.1\r\nHost: h\r\n\r\n",
    ),
    bad(
        "a space in the target",
        "request_line",
        b"GET /x y HTTP/1.1\r\nHost: h\r\n\r\n",
    ),
    bad(
        "tabs for spaces",
        "request_line",
        b"GET\t/x\tHTTP/1.1\r\nHost: h\r\n\r\n",
    ),
    bad(
        "a method that is no token",
        "request_line",
        b"GE(T /x HTTP/1.1\r\nHost: h\r\n\r\n",
    ),
    bad(
        "HTTP/2.0 in a request line",
        "http_version",
        b"GET /x HTTP/2.0\r\nHost: h\r\n\r\n",
    ),
    bad("HTTP/1.2", "http_version", b"GET /x HTTP/1.2\r\nHost: h\r\n\r\n"),
    bad(
        "HTTP/1.10",
        "http_version",
        b"GET /x HTTP/1.10\r\nHost: h\r\n\r\n",
    ),
    bad(
        "a preface that goes wrong late",
        "http_version",
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
        "target_form",
        b"GET http://other/x HTTP/1.1\r\nHost: h\r\n\r\n",
    ),
    bad(
        "absolute form with userinfo",
        "target_form",
        b"GET http://a@other/x HTTP/1.1\r\nHost: h\r\n\r\n",
    ),
    bad(
        "absolute form of the same host",
        "target_form",
        b"GET http://h/x HTTP/1.1\r\nHost: h\r\n\r\n",
    ),
    bad(
        "authority form",
        "target_form",
        b"GET h:443 HTTP/1.1\r\nHost: h\r\n\r\n",
    ),
    bad(
        "asterisk form",
        "target_form",
        b"GET * HTTP/1.1\r\nHost: h\r\n\r\n",
    ),
    bad(
        "no slash first",
        "target_form",
        b"GET x/y HTTP/1.1\r\nHost: h\r\n\r\n",
    ),
    bad(
        "dot segments",
        "dot_segment",
        b"GET /a/../b HTTP/1.1\r\nHost: h\r\n\r\n",
    ),
    bad(
        "a single dot segment",
        "dot_segment",
        b"GET /a/./b HTTP/1.1\r\nHost: h\r\n\r\n",
    ),
    bad(
        "escaped dots",
        "path_escape",
        b"GET /a/%2e%2e/b HTTP/1.1\r\nHost: h\r\n\r\n",
    ),
    bad(
        "an escaped slash",
        "path_escape",
        b"GET /a%2fb HTTP/1.1\r\nHost: h\r\n\r\n",
    ),
    bad(
        "an escaped NUL",
        "path_escape",
        b"GET /a%00 HTTP/1.1\r\nHost: h\r\n\r\n",
    ),
    bad(
        "an escaped letter",
        "path_escape",
        b"GET /%6dessages HTTP/1.1\r\nHost: h\r\n\r\n",
    ),
    bad(
        "an escaped percent sign",
        "path_escape",
        b"GET /a%252f HTTP/1.1\r\nHost: h\r\n\r\n",
    ),
    bad(
        "doubled slash first",
        "empty_segment",
        b"GET //other/x HTTP/1.1\r\nHost: h\r\n\r\n",
    ),
    bad(
        "doubled slash inside",
        "empty_segment",
        b"GET /v24.0//1 HTTP/1.1\r\nHost: h\r\n\r\n",
    ),
    bad(
        "a path parameter",
        "path_parameter",
        b"GET /a;x=y HTTP/1.1\r\nHost: h\r\n\r\n",
    ),
    bad(
        "a backslash",
        "target_byte",
        b"GET /a\\b HTTP/1.1\r\nHost: h\r\n\r\n",
    ),
    bad(
        "a fragment",
        "target_byte",
        b"GET /x#/y HTTP/1.1\r\nHost: h\r\n\r\n",
    ),
    bad(
        "a fragment behind the query",
        "target_byte",
        b"GET /x?y#z HTTP/1.1\r\nHost: h\r\n\r\n",
    ),
    bad(
        "raw UTF-8 digits",
        "target_byte",
        b"GET /\xd9\xa1\xd9\xa2 HTTP/1.1\r\nHost: h\r\n\r\n",
    ),
    bad(
        "bytes that are not UTF-8",
        "target_byte",
        b"GET /\xff HTTP/1.1\r\nHost: h\r\n\r\n",
    ),
    bad(
        "a NUL in the target",
        "control_byte",
        b"GET /a\0b HTTP/1.1\r\nHost: h\r\n\r\n",
    ),
    bad(
        "a broken escape in the query",
        "query_escape",
        b"GET /x?y=%zz HTTP/1.1\r\nHost: h\r\n\r\n",
    ),
    bad(
        "a line feed alone behind the request line",
        "line_end",
        b"GET /x HTTP/1.1\nHost: h\r\n\r\n",
    ),
];
