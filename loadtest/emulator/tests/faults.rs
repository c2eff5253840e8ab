//! Faults strike what they are meant for, and do what they say to both sides.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "test code"
)]

mod support;

use std::time::{Duration, Instant};

use curfew_emulator::{Effect, Emulator, Fault, Operation};
use http::Method;
use support::{BARE, FORM, OTHER, PLAIN, PRODUCT, file, form, soon, start, text};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

fn send_request(number: u64) -> String {
    let body = text("+4915112345678").to_string();
    format!(
        "POST /v24.0/{number}/messages HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer T\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// What comes back on a fresh connection, and how it ended.
async fn exchange(emulator: &Emulator, request: &str) -> (Vec<u8>, std::io::Result<()>) {
    let mut stream = TcpStream::connect(emulator.addr()).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut reply = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        match soon(stream.read(&mut chunk)).await {
            Ok(0) => return (reply, Ok(())),
            Ok(count) => reply.extend_from_slice(&chunk[..count]),
            Err(error) => return (reply, Err(error)),
        }
    }
}

#[tokio::test]
async fn errors_on_demand_do_nothing_else() {
    let (emulator, client) = start().await;
    let error = Effect::Error {
        status: 503,
        code: 131_016,
        subcode: Some(7),
        details: Some("gone".to_owned()),
    };
    emulator.fault(Fault::new(Operation::Send, error).times(2).number(PLAIN));
    client.text(OTHER, "+4915112345678").await.ok();
    for _ in 0..2 {
        let answer = client.text(PLAIN, "+4915112345678").await;
        assert_eq!(
            (answer.status, answer.code(), answer.subcode()),
            (503, 131_016, 7)
        );
        assert_eq!(answer.json()["error"]["error_data"]["details"], "gone");
    }
    client.text(PLAIN, "+4915112345678").await.ok();
    assert_eq!(emulator.sent().len(), 2);
    assert!(emulator.faults().is_empty());
}

#[tokio::test]
async fn each_kind_of_call_is_told_apart() {
    let (emulator, client) = start().await;
    let id = client.upload(PLAIN, None).await.ok().id();
    let url = client.get(&format!("/{id}")).await.json()["url"]
        .as_str()
        .unwrap()
        .to_owned();
    for (kind, method, path) in [
        (Operation::Upload, Method::POST, format!("/v24.0/{PLAIN}/media")),
        (Operation::MediaMetadata, Method::GET, format!("/v24.0/{id}")),
        (Operation::MediaDownload, Method::GET, url),
        (Operation::MediaDelete, Method::DELETE, format!("/v24.0/{id}")),
        (
            Operation::Settings,
            Method::GET,
            format!("/v24.0/{PLAIN}/settings"),
        ),
        (
            Operation::Settings,
            Method::POST,
            format!("/v24.0/{PLAIN}/deregister"),
        ),
        (Operation::Other, Method::GET, format!("/v24.0/{PLAIN}")),
        (Operation::Any, Method::GET, "/v24.0/me".to_owned()),
    ] {
        emulator.fault(Fault::new(
            kind,
            Effect::Error {
                status: 500,
                code: 131_000,
                subcode: None,
                details: None,
            },
        ));
        let answer = client.call(method, &path, "application/json", "").await;
        assert_eq!((answer.status, answer.code()), (500, 131_000), "{kind:?}");
        emulator.clear_faults();
    }
    client.get(&format!("/{id}")).await.ok();
}

#[tokio::test]
async fn a_reset_before_the_body_sends_nothing() {
    let (emulator, _client) = start().await;
    for after_bytes in [0, 10, 1_000_000] {
        emulator.fault(Fault::new(Operation::Any, Effect::ResetRequest { after_bytes }).times(1));
        let (reply, end) = exchange(&emulator, &send_request(PLAIN)).await;
        assert!(reply.is_empty());
        assert_eq!(
            end.unwrap_err().kind(),
            std::io::ErrorKind::ConnectionReset,
            "{after_bytes}"
        );
    }
    assert!(emulator.sent().is_empty());
    assert_eq!(emulator.received().len(), 3);
}

#[tokio::test]
async fn an_upload_that_is_reset_stores_nothing() {
    let (emulator, client) = start().await;
    emulator.fault(Fault::new(
        Operation::Upload,
        Effect::ResetRequest { after_bytes: 1_000 },
    ));
    let body = form(&[PRODUCT, file("image/png", &[1; 100_000])]);
    let outcome = client
        .try_call(Method::POST, &format!("/v24.0/{BARE}/media"), FORM, body)
        .await;
    assert!(outcome.is_err());
    soon(emulator.until(|emulator| emulator.received().iter().all(|request| request.ended))).await;
    assert!(!emulator.received()[0].complete);
    assert_eq!(emulator.media_bytes_kept(), 0);
}

#[tokio::test]
async fn a_reset_in_the_reply_comes_after_the_send() {
    let (emulator, _client) = start().await;
    for after_bytes in [0_u64, 1, 40] {
        emulator.fault(Fault::new(Operation::Send, Effect::ResetReply { after_bytes }).times(1));
        let (reply, end) = exchange(&emulator, &send_request(PLAIN)).await;
        assert_eq!(reply.len(), usize::try_from(after_bytes).unwrap());
        assert_eq!(end.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
    }
    assert_eq!(emulator.sent().len(), 3, "all were sent");
}

#[tokio::test]
async fn a_truncated_reply_is_shorter_than_it_says() {
    let (emulator, _client) = start().await;
    emulator.fault(Fault::new(Operation::Send, Effect::TruncateReply { after_bytes: 20 }).times(1));
    let (reply, end) = exchange(&emulator, &send_request(PLAIN)).await;
    end.unwrap();
    let text = String::from_utf8(reply).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    assert_eq!(body.len(), 20);
    let declared = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))
        .unwrap();
    assert!(declared.parse::<usize>().unwrap() > 100);
    assert_eq!(emulator.sent().len(), 1);
}

#[tokio::test]
async fn garbage_redirects_and_wrong_urls_look_like_answers() {
    let (emulator, client) = start().await;
    emulator.fault(Fault::new(Operation::Send, Effect::Garbage).times(1));
    let answer = client.text(PLAIN, "+4915112345678").await.ok();
    assert!(serde_json::from_slice::<serde_json::Value>(&answer.body).is_err());
    let id = client.upload(PLAIN, None).await.ok().id();
    emulator.fault(
        Fault::new(
            Operation::MediaMetadata,
            Effect::MediaUrl {
                base: "http://evil.test".to_owned(),
            },
        )
        .times(1),
    );
    let url = client.get(&format!("/{id}")).await.json()["url"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(url.starts_with("http://evil.test/whatsapp_business/"));
    let url = client.get(&format!("/{id}")).await.json()["url"]
        .as_str()
        .unwrap()
        .to_owned();
    emulator.fault(
        Fault::new(
            Operation::MediaDownload,
            Effect::Redirect {
                location: "http://evil.test/".to_owned(),
            },
        )
        .times(1),
    );
    let answer = client.get(&url).await;
    assert_eq!(
        (answer.status, answer.headers["location"].to_str().unwrap()),
        (302, "http://evil.test/")
    );
    client.get(&url).await.ok();
}

#[tokio::test]
async fn latency_delays_and_a_hang_never_ends() {
    let (emulator, client) = start().await;
    emulator.fault(Fault::new(Operation::Send, Effect::Latency { millis: 150 }).times(1));
    let began = Instant::now();
    client.text(PLAIN, "+4915112345678").await.ok();
    assert!(began.elapsed() >= Duration::from_millis(150));
    emulator.fault(Fault::new(Operation::Send, Effect::Hang).times(1));
    let sending = client.text(PLAIN, "+4915112345678");
    tokio::pin!(sending);
    let arrived =
        emulator.until(|emulator| emulator.received().len() == 2 && emulator.received()[1].complete);
    tokio::select! {
        answer = &mut sending => panic!("{answer:?}"),
        () = soon(arrived) => {}
    }
    assert_eq!(emulator.sent().len(), 1);
}
