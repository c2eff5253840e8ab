//! What can be read in more than one way, or in none.

use super::*;

#[tokio::test]
async fn a_body_that_has_more_than_one_meaning_or_none() {
    let world = World::pass_through().await;
    let client = world.client();
    let deep = format!("{}1{}", "{\"a\":".repeat(33), "}".repeat(33));
    let many: Vec<_> = (0..1001)
        .map(|_| json!({ "image": { "link": "https://a.example" } }))
        .collect();
    let many = json!({ "to": "+1", "type": "text", "text": many }).to_string();
    for (body, reason, names) in [
        (
            r#"{"to":"1","to":"2","text":{}}"#,
            "json_duplicate_key",
            &["`to`", "line 1"][..],
        ),
        (
            r#"{"text":{"body":"a","b\u006fdy":"b"}}"#,
            "json_duplicate_key",
            &["text.body"],
        ),
        (
            r#"{"type":"image","image":{"id":"1","ID":"2"}}"#,
            "json_keys_differ_in_case",
            &["image"],
        ),
        (r#"{"to":"1",}"#, "json_syntax", &["line 1"]),
        (
            r#"{"to":"1"} {"to":"2"}"#,
            "json_trailing_data",
            &["one document"],
        ),
        ("\u{feff}{}", "json_byte_order_mark", &["byte order mark"]),
        (
            r#"{"text":{"body":"\ud800"}}"#,
            "json_lone_surrogate",
            &["text.body"],
        ),
        (&deep, "json_too_deep", &["32"]),
        ("[]", "json_not_an_object", &["object"]),
        (
            r#"{"batch":[],"to":"1","text":{"body":"x"}}"#,
            "control_parameter",
            &["`batch`"],
        ),
        (
            r#"{"method":"DELETE","to":"1","text":{"body":"x"}}"#,
            "control_parameter",
            &["`method`"],
        ),
        (
            r#"{"access_token":"x","to":"1","text":{"body":"x"}}"#,
            "control_parameter",
            &["`access_token`"],
        ),
        (
            r#"{"To":"1","type":"text","text":{"body":"x"}}"#,
            "message_letter_case",
            &["`To`", "`to`"],
        ),
        (
            r#"{"to":["1"],"type":"text","text":{"body":"x"}}"#,
            "message_not_a_string",
            &["`to`", "an array"],
        ),
        (
            r#"{"status":"unread","message_id":"wamid.1"}"#,
            "message_not_a_read_receipt",
            &["status"],
        ),
        (&many, "message_too_many_references", &["1000"]),
    ] {
        let reply = client.post_text(MESSAGES, body).await;
        reply.assert_refused(400, 100, reason);
        reply.assert_names(names);
    }
    let latin1 = client.send(
        Method::POST,
        MESSAGES,
        &[("content-type", "application/json")],
        b"{\"to\":\"\xe9\"}"[..].into(),
    );
    let reply = latin1.await;
    reply.assert_refused(400, 100, "json_not_utf8");
    reply.assert_names(&["byte 7"]);
    let reply = client
        .post_text("/v23.0/5001/message_templates", r#"{"batch":[]}"#)
        .await;
    reply.assert_refused(400, 100, "control_member");
    reply.assert_names(&["\"batch\""]);
    assert!(world.reached().is_empty(), "{:?}", world.reached());
}

#[tokio::test]
async fn a_request_in_another_form_than_its_calls() {
    let world = World::pass_through().await;
    let client = world.client();
    for (content_types, expected) in [
        (
            &["application/x-www-form-urlencoded"][..],
            "application/x-www-form-urlencoded",
        ),
        (&["multipart/form-data; boundary=x"], "multipart/form-data"),
        (&["application/json; charset=utf-16"], "utf-16"),
        (&["text/json"], "text/json"),
        (&["application/json", "application/json"], "application/json"),
        (&[], "none"),
    ] {
        let headers: Vec<_> = content_types
            .iter()
            .map(|value| ("content-type", *value))
            .collect();
        let body = text().to_string().into();
        let reply = client.send(Method::POST, MESSAGES, &headers, body).await;
        reply.assert_refused(400, 100, "content_type");
        reply.assert_names(&["application/json", expected]);
    }
    let reply = client.post_text(MEDIA, "{}").await;
    reply.assert_refused(400, 100, "content_type");
    reply.assert_names(&["multipart/form-data", "application/json"]);

    for (query, names) in [
        ("batch=[]", &["\"batch\"", "none"][..]),
        ("method=delete", &["\"method\""]),
        ("to=1&type=text", &["\"to\""]),
        ("access_token=EAAG", &["Authorization: Bearer"]),
        ("%61ccess_token=EAAG", &["Authorization: Bearer"]),
    ] {
        let reply = client.post(&format!("{MESSAGES}?{query}"), &text()).await;
        reply.assert_refused(400, 100, "query_not_allowed");
        reply.assert_names(names);
    }
    for (target, names) in [
        ("/v23.0/1001?fields=id,id", &["id,id"][..]),
        (
            "/v23.0/5001?fields=phone_numbers{messages}",
            &["phone_numbers{messages}"],
        ),
        (
            "/v23.0/5001/phone_numbers?limit=1&limit=2",
            &["\"limit\"", "twice"],
        ),
        ("/v23.0/123?phone_number_id=+1", &["digits only", "\" 1\""]),
        ("/v23.0/1001?fields=%FF", &["percent-encoded"]),
    ] {
        let reply = client.get(&target.replace('{', "%7B").replace('}', "%7D")).await;
        reply.assert_refused(400, 100, "query_not_allowed");
        reply.assert_names(names);
    }
    let body = b"{}"[..].into();
    let json = [("content-type", "application/json")];
    let reply = client.send(Method::DELETE, "/v23.0/123", &json, body).await;
    reply.assert_refused(400, 100, "body_not_taken");
    assert!(world.reached().is_empty(), "{:?}", world.reached());
}

#[tokio::test]
async fn a_form_that_has_more_than_one_meaning_or_none() {
    let world = World::pass_through().await;
    let client = world.client();
    let image = || Form::image();
    for (form, reason, names) in [
        (
            Form::new().field("messaging_product", "whatsapp"),
            "form_file_missing",
            &["\"file\""][..],
        ),
        (
            image().file("image/png", PNG),
            "form_field_twice",
            &["\"file\"", "part 3"],
        ),
        (
            image().field("batch", "[]"),
            "form_field_unknown",
            &["\"batch\"", "part 3"],
        ),
        (
            image().field("method", "delete"),
            "form_field_unknown",
            &["\"method\""],
        ),
        (
            image().field("access_token", "EAAG"),
            "form_field_unknown",
            &["\"access_token\""],
        ),
        (
            image().field("ttl_minutes[]", "60"),
            "form_field_unknown",
            &["\"ttl_minutes[]\""],
        ),
        (
            image().field("TTL_MINUTES", "60"),
            "form_field_unknown",
            &["\"TTL_MINUTES\""],
        ),
        (
            image().raw("Content-Type: text/plain", b"x"),
            "form_disposition_missing",
            &["part 3"],
        ),
    ] {
        let reply = upload_with(&client, NO_STORAGE, form).await;
        reply.assert_refused(400, 100, reason);
        reply.assert_names(names);
    }
    for (content_type, reason) in [
        ("multipart/form-data", "form_boundary_missing"),
        (
            "multipart/form-data; boundary=a; boundary=b",
            "form_boundary_twice",
        ),
    ] {
        let headers = [("content-type", content_type)];
        let reply = client
            .send(Method::POST, MEDIA, &headers, Form::image().bytes())
            .await;
        reply.assert_refused(400, 100, reason);
    }
    assert_eq!(world.emulator.media_bytes_kept(), 0);
}

#[tokio::test]
async fn what_the_front_door_turns_away() {
    let setup = Setup {
        limits: Limits {
            body_idle_timeout: Duration::from_millis(50),
            json_bytes: 1024,
            ..Limits::default()
        },
        ..Setup::default()
    };
    let world = World::start(setup).await;
    let client = world.client();
    let long = "a".repeat(2100);
    let fields = "A: b\r\n".repeat(70);
    for (status, reason, request) in [
        (
            400,
            "dot_segment",
            "GET /v23.0/../1001 HTTP/1.1\r\nHost: h\r\n\r\n".to_owned(),
        ),
        (400, "host_missing", "GET /v23.0/1001 HTTP/1.1\r\n\r\n".to_owned()),
        (
            405,
            "method",
            "PUT /v23.0/1001 HTTP/1.1\r\nHost: h\r\n\r\n".to_owned(),
        ),
        (
            405,
            "method",
            "HEAD /v23.0/1001 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n".to_owned(),
        ),
        (
            408,
            "body_timeout",
            format!(
                "POST {MESSAGES} HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer x\r\nContent-Type: application/json\r\n\
                 Content-Length: 5\r\n\r\n"
            ),
        ),
        (
            413,
            "body_too_large",
            format!("POST {MEDIA} HTTP/1.1\r\nHost: h\r\nContent-Length: 104923137\r\n\r\n"),
        ),
        (
            414,
            "target_too_long",
            format!("GET /{long} HTTP/1.1\r\nHost: h\r\n\r\n"),
        ),
        (
            415,
            "content_encoding",
            format!(
                "POST {MESSAGES} HTTP/1.1\r\nHost: h\r\nContent-Encoding: gzip\r\nContent-Length: 0\r\n\r\n"
            ),
        ),
        (
            417,
            "expect",
            format!("POST {MESSAGES} HTTP/1.1\r\nHost: h\r\nExpect: more\r\nContent-Length: 0\r\n\r\n"),
        ),
        (
            431,
            "too_many_headers",
            format!("GET /v23.0/1001 HTTP/1.1\r\nHost: h\r\n{fields}\r\n"),
        ),
    ] {
        let reply = client.send_raw(request.as_bytes()).await;
        assert_eq!(reply.reason(), Some(reason), "{request}");
        if request.starts_with("HEAD") {
            assert_eq!((reply.status.as_u16(), reply.body.len()), (status, 0));
        } else {
            reply.assert_refused(status, 100, reason);
        }
    }
    let reply = client
        .post_text(MESSAGES, &format!("{{\"a\":\"{}\"}}", "x".repeat(1024)))
        .await;
    reply.assert_refused(413, 100, "json_too_large");
    reply.assert_names(&["1024", "limits.json_bytes"]);
    assert!(world.reached().is_empty(), "{:?}", world.reached());
}
