//! Bytes come from the media host, for five minutes, with a token.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code"
)]

mod support;

use bytes::Bytes;
use http::Method;
use support::{BARE, PLAIN, start, start_with};

#[tokio::test]
async fn metadata_leads_to_the_bytes() {
    let (emulator, client) = start().await;
    let id = client.upload(PLAIN, None).await.ok().id();
    let metadata = client.get(&format!("/v24.0/{id}")).await.ok().json();
    assert_eq!(metadata["messaging_product"], "whatsapp");
    assert_eq!(metadata["mime_type"], "image/png");
    assert_eq!(metadata["file_size"], "9");
    assert_eq!(metadata["id"], id.to_string());
    assert_eq!(metadata["sha256"], emulator.media()[0].sha256);
    assert!(metadata.get("download_url").is_none());
    let url = metadata["url"].as_str().unwrap();
    assert!(
        url.starts_with(&format!(
            "{}/whatsapp_business/attachments/?mid={id}&ext=",
            emulator.base_url()
        )),
        "{url}"
    );
    let download = client.get(url).await.ok();
    assert_eq!(download.body, "png bytes");
    assert_eq!(download.headers["content-type"], "image/png");
    let head = client.call(Method::HEAD, url, "", "").await.ok();
    assert_eq!(
        (head.headers["content-length"].to_str().unwrap(), head.body.len()),
        ("9", 0)
    );
}

#[tokio::test]
async fn a_url_needs_a_token_and_its_hash() {
    let options = curfew_emulator::Options {
        tokens: vec!["RIGHT".to_owned()],
        ..support::options()
    };
    let (emulator, client) = start_with(options).await;
    let id = emulator.receive_media(PLAIN, "image/jpeg", Bytes::from_static(b"jpeg"));
    let get = |url: String, token: &'static str| {
        let client = &client;
        async move {
            client
                .raw(Method::GET, &url, &[("authorization", token)], "")
                .await
                .unwrap()
        }
    };
    let url = get(format!("{}/{id}", client.base), "Bearer RIGHT").await.json()["url"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(get(url.clone(), "Bearer RIGHT").await.status, 200);
    assert_eq!(get(url.clone(), "OAuth RIGHT").await.status, 200);
    assert_eq!(get(url.clone(), "Bearer WRONG").await.status, 404);
    assert_eq!(get(url.clone(), "Bearer ").await.status, 404);
    assert_eq!(get(format!("{url}x"), "Bearer RIGHT").await.status, 404);
    assert_eq!(
        get(url.replace("ext=", "ext=9"), "Bearer RIGHT").await.status,
        404
    );
    assert_eq!(get(format!("{url}&access_token=RIGHT"), "").await.status, 200);
    assert_eq!(get(format!("{url}?access_token=RIGHT"), "").await.status, 200);
    assert_eq!(get(format!("{url}?access_token=WRONG"), "").await.status, 404);
}

#[tokio::test]
async fn a_url_is_over_after_five_minutes_or_with_its_medium() {
    let (emulator, client) = start().await;
    let id = client.upload(BARE, Some("60")).await.ok().id();
    let url = || async {
        client.get(&format!("/v24.0/{id}")).await.ok().json()["url"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let first = url().await;
    emulator.advance(4);
    client.get(&first).await.ok();
    emulator.advance(1);
    assert_eq!(client.get(&first).await.status, 404);
    emulator.advance(53);
    let last = url().await;
    client.get(&last).await.ok();
    emulator.advance(2);
    assert_eq!(client.get(&last).await.status, 404);
    let other = client.upload(PLAIN, None).await.ok().id();
    let url = client.get(&format!("/v24.0/{other}")).await.json()["url"]
        .as_str()
        .unwrap()
        .to_owned();
    client.delete(&format!("/v24.0/{other}")).await.ok();
    assert_eq!(client.get(&url).await.status, 404);
}

#[tokio::test]
async fn the_media_host_can_be_elsewhere() {
    let options = curfew_emulator::Options {
        media_base: Some("http://media.test".to_owned()),
        download_url: true,
        ..support::options()
    };
    let (_emulator, client) = start_with(options).await;
    let id = client.upload(PLAIN, None).await.ok().id();
    let metadata = client.get(&format!("/v24.0/{id}")).await.json();
    assert!(
        metadata["url"]
            .as_str()
            .unwrap()
            .starts_with("http://media.test/whatsapp_business/")
    );
    assert_eq!(metadata["url"], metadata["download_url"]);
}
