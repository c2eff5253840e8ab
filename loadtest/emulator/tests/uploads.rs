//! Uploads are read in any part order, and what is not whole leaves nothing.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code"
)]

mod support;

use bytes::Bytes;
use http::Method;
use serde_json::json;
use support::{BARE, FORM, OTHER, PLAIN, PRODUCT, Part, file, form, start};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

const TTL: Part<'static> = Part {
    name: "ttl_minutes",
    file: None,
    body: b"120",
};
const TYPE: Part<'static> = Part {
    name: "type",
    file: None,
    body: b"image/jpeg",
};

#[tokio::test]
async fn every_part_order_means_the_same() {
    let (emulator, client) = start().await;
    let parts = [PRODUCT, file("image/jpeg", b"\xff\xd8 jpeg"), TTL, TYPE];
    let mut count = 0;
    for a in 0..4 {
        for b in (0..4).filter(|&b| b != a) {
            for c in (0..4).filter(|&c| c != a && c != b) {
                let order = [parts[a], parts[b], parts[c], parts[6 - a - b - c]];
                client
                    .multipart(&format!("/v24.0/{BARE}/media"), &order)
                    .await
                    .ok();
                count += 1;
            }
        }
    }
    let media = emulator.media();
    assert_eq!((media.len(), count), (24, 24));
    for medium in media {
        assert_eq!(
            (medium.mime.as_str(), medium.len, medium.ttl_minutes),
            ("image/jpeg", 7, Some(120))
        );
    }
}

#[tokio::test]
async fn what_sdks_do_works() {
    let (emulator, client) = start().await;
    let path = format!("/{PLAIN}/media?messaging_product=whatsapp&type=image/png");
    client.multipart(&path, &[file("image/png", b"x")]).await.ok();
    client
        .multipart(
            &path,
            &[Part {
                name: "file",
                file: None,
                body: b"x",
            }],
        )
        .await
        .ok();
    let octets = [PRODUCT, file("application/octet-stream", b"x"), TYPE];
    client
        .multipart(&format!("/v20.0/{PLAIN}/media/"), &octets)
        .await
        .ok();
    client
        .multipart(
            &format!("/v20.0/{PLAIN}/media"),
            &[PRODUCT, file("audio/ogg; codecs=opus", b"x")],
        )
        .await
        .ok();
    let mut mimes: Vec<_> = emulator.media().into_iter().map(|medium| medium.mime).collect();
    mimes.sort();
    assert_eq!(mimes, ["audio/ogg", "image/jpeg", "image/png", "image/png"]);
}

#[tokio::test]
async fn type_and_size_have_bounds() {
    let (emulator, client) = start().await;
    let upload = |mime: &'static str, len: usize| {
        let body = form(&[PRODUCT, file(mime, &vec![7; len])]);
        client.call(Method::POST, "/v24.0/111000000000001/media", FORM, body)
    };
    const MIB: usize = 1024 * 1024;
    for (mime, len) in [
        ("image/gif", 1),
        ("audio/opus", 1),
        ("application/zip", 1),
        ("image/png", 0),
        ("image/png", 5 * MIB + 1),
        ("audio/ogg", 16 * MIB + 1),
        ("image/webp", 100 * 1024 + 1),
    ] {
        let refused = upload(mime, len).await;
        assert_eq!((refused.status, refused.code()), (400, 131_053), "{mime} {len}");
    }
    assert_eq!(emulator.media_bytes_kept(), 0);
    upload("image/png", 5 * MIB).await.ok();
    upload("image/webp", 100 * 1024).await.ok();
    let mut animated = b"RIFF....WEBPVP8X\x0a\0\0\0\x02".to_vec();
    animated.resize(500 * 1024, 0);
    let body = form(&[PRODUCT, file("image/webp", &animated)]);
    client
        .call(Method::POST, &format!("/v24.0/{PLAIN}/media"), FORM, body)
        .await
        .ok();
}

#[tokio::test]
async fn forms_that_are_none_store_nothing() {
    let (emulator, client) = start().await;
    let path = format!("/v24.0/{PLAIN}/media");
    let json = json!({"messaging_product": "whatsapp", "file": "@/local/path", "type": "image/png"});
    assert_eq!(client.post(&path, &json).await.code(), 100);
    assert_eq!(
        client
            .form(&path, "messaging_product=whatsapp&file=x")
            .await
            .code(),
        100
    );
    assert_eq!(
        client.multipart(&path, &[file("image/png", b"x")]).await.code(),
        100,
        "no product"
    );
    assert_eq!(client.multipart(&path, &[PRODUCT]).await.code(), 100, "no file");
    let mut open = form(&[PRODUCT, file("image/png", b"x")]);
    open.truncate(open.len() - 4);
    assert_eq!(
        client.call(Method::POST, &path, FORM, open).await.code(),
        100,
        "no closing boundary"
    );
    assert_eq!(emulator.media_bytes_kept(), 0);
    assert!(emulator.media().is_empty());
}

#[tokio::test]
async fn an_upload_that_is_cut_off_leaves_nothing() {
    for (framing, closing) in [
        ("Content-Length: 100000", &b""[..]),
        ("Transfer-Encoding: chunked", b"\r\n"),
    ] {
        let (emulator, _client) = start().await;
        let mut stream = TcpStream::connect(emulator.addr()).await.unwrap();
        let head = format!(
            "POST /v24.0/{BARE}/media HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer T\r\nContent-Type: {FORM}\r\n{framing}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let body = form(&[file("image/png", &[9; 50_000]), PRODUCT]);
        if !closing.is_empty() {
            stream
                .write_all(format!("{:x}\r\n", body.len()).as_bytes())
                .await
                .unwrap();
        }
        // The form is whole, the body is not.
        stream.write_all(&body).await.unwrap();
        stream.write_all(closing).await.unwrap();
        drop(stream);
        support::soon(emulator.until(|emulator| emulator.received().iter().any(|request| request.ended)))
            .await;
        let received = emulator.received();
        assert!(!received[0].complete);
        assert!(received[0].body.is_none());
        assert_eq!(emulator.media_bytes_kept(), 0);
        assert!(emulator.media().is_empty());
    }
}

#[tokio::test]
async fn large_bodies_are_remembered_by_digest() {
    let (emulator, client) = start().await;
    let body = Bytes::from(form(&[PRODUCT, file("text/plain", &vec![b'a'; 200_000])]));
    client
        .call(Method::POST, &format!("/v24.0/{OTHER}/media"), FORM, body.clone())
        .await
        .ok();
    client.text(PLAIN, "+4915112345678").await.ok();
    let received = emulator.received();
    assert!(received[0].complete && received[0].body.is_none());
    assert_eq!(usize::try_from(received[0].body_len).unwrap(), body.len());
    assert_eq!(received[0].body_sha256.as_ref().map(String::len), Some(64));
    assert_eq!(received[1].json(), Some(support::text("+4915112345678")));
    assert_eq!(received[0].connection, received[1].connection);
}

#[tokio::test]
async fn without_bytes_the_length_still_downloads() {
    let options = curfew_emulator::Options {
        keep_media: false,
        ..support::options()
    };
    let (emulator, client) = support::start_with(options).await;
    let id = client
        .multipart(
            &format!("/v24.0/{PLAIN}/media"),
            &[PRODUCT, file("text/plain", &[7; 100_000])],
        )
        .await
        .id();
    assert!(emulator.media_bytes(id).is_none());
    let url = client.get(&format!("/v24.0/{id}")).await.json()["url"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(client.get(&url).await.ok().body, vec![0; 100_000]);
}
