//! Who is let in: whoever knows the verify token for the handshake, and what Meta has signed.

use bytes::Bytes;
use http::Method;

use super::*;

#[tokio::test]
async fn the_handshake_gives_the_challenge_back_to_whoever_knows_the_token() {
    let relayed = Relayed::pass_through().await;
    let emulator = relayed.emulator();
    assert!(soon(emulator.verify_callback(&relayed.url(), VERIFY_TOKEN)).await);
    assert!(!soon(emulator.verify_callback(&relayed.url(), "another token")).await);

    let asked = async |query: &str| relayed.stranger().get(&format!("{PATH}?{query}")).await;
    let right = "hub.mode=subscribe&hub.challenge=1158201444&hub.verify_token=a%20verify%2Btoken";
    let reply = asked(right).await;
    assert_eq!(
        (reply.status.as_u16(), reply.text()),
        (200, "1158201444".to_owned())
    );
    assert_eq!(reply.header("content-type"), Some("text/plain; charset=utf-8"));
    assert_eq!(reply.header("x-content-type-options"), Some("nosniff"));

    let long = "1".repeat(257);
    for wrong in [
        String::new(),
        right.replace("subscribe", "unsubscribe"),
        right.replace("a%20verify", "A%20verify"),
        right.replace("&hub.verify_token=a%20verify%2Btoken", ""),
        right.replace("&hub.challenge=1158201444", ""),
        right.replace("1158201444", ""),
        right.replace("1158201444", "a%20b"),
        right.replace("1158201444", "%C3%A9"),
        right.replace("1158201444", &long),
        format!("{right}&hub.verify_token=a%20verify%2Btoken"),
        format!("{right}&more=1"),
    ] {
        let reply = asked(&wrong).await;
        assert_eq!(
            (reply.status.as_u16(), reply.text()),
            (403, String::new()),
            "{wrong}"
        );
    }
}

#[tokio::test]
async fn what_meta_has_not_signed_is_not_looked_at() {
    let relayed = Relayed::pass_through().await;
    let body = br#"{"object":"whatsapp_business_account","entry":[]}"#;
    let right = signature(APP_SECRET, body);
    let upper = right.to_uppercase().replace("SHA256", "sha256");
    let sha1 = format!("sha1={}", &right[7..47]);
    for wrong in [
        signature("another-secret", body),
        signature(APP_SECRET, b"another body"),
        right.replace("sha256=", ""),
        right[..right.len() - 2].to_owned(),
        format!("{right}00"),
        format!("{}zz", &right[..right.len() - 2]),
        format!("{}+1", &right[..right.len() - 2]),
        sha1,
        String::new(),
    ] {
        let reply = relayed.post(body, &wrong).await;
        assert_eq!(
            (reply.status.as_u16(), reply.text()),
            (401, String::new()),
            "{wrong}"
        );
    }
    let json = ("content-type", "application/json");
    let signed = ("x-hub-signature-256", right.as_str());
    for headers in [vec![json], vec![json, signed, signed]] {
        let sent = Bytes::from_static(body);
        let reply = relayed.stranger().send(Method::POST, PATH, &headers, sent).await;
        assert_eq!(reply.status, 401, "{headers:?}");
    }
    assert!(relayed.receiver.is_idle());
    assert_eq!(
        relayed.post(body, &upper).await.status,
        200,
        "digits in either case"
    );
    assert_eq!(relayed.post(body, &right).await.status, 200);
}

#[tokio::test]
async fn only_webhooks_are_taken() {
    let relayed = Relayed::pass_through().await;
    let body = Bytes::from(vec![b' '; curfew::webhooks::MOST_BYTES + 1]);
    let signature = signature(APP_SECRET, &body);
    let client = relayed.stranger();
    let signed = |content_type| {
        [
            ("content-type", content_type),
            ("x-hub-signature-256", signature.as_str()),
        ]
    };
    let json = signed("application/json");
    assert_eq!(
        client.send(Method::POST, PATH, &json, body.clone()).await.status,
        413
    );
    assert_eq!(
        client.send(Method::POST, "/", &json, Bytes::new()).await.status,
        404
    );
    assert_eq!(client.get("/livez").await.status, 404);
    let form = signed("application/x-www-form-urlencoded");
    let reply = client
        .send(Method::POST, PATH, &form, Bytes::from_static(b"a=b"))
        .await;
    assert_eq!(reply.status, 415);
    let reply = client.delete(PATH).await;
    assert_eq!(
        (reply.status.as_u16(), reply.header("allow")),
        (405, Some("GET, POST"))
    );
    assert!(relayed.receiver.is_idle());

    // The largest that Meta sends.
    let body = vec![b' '; curfew::webhooks::MOST_BYTES];
    assert_eq!(relayed.post_signed(&body).await.status, 200);
}

#[tokio::test]
async fn what_became_of_webhooks_is_counted() {
    let relayed = Relayed::pass_through().await;
    let body = br#"{"object":"whatsapp_business_account","entry":[]}"#;
    assert_eq!(relayed.post_signed(body).await.status, 200);
    assert_eq!(relayed.post(body, &signature("another", body)).await.status, 401);
    let operator = Client::new(relayed.world.gateway.admin);
    let page = operator.get("/metrics").await.text();
    for reason in ["delivered", "signature"] {
        let line = format!("curfew_webhook_duration_seconds_count{{curfew_reason=\"{reason}\"}} 1");
        assert!(page.lines().any(|found| found == line), "{line}\n{page}");
    }
}
