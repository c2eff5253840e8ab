//! Management calls: accounts, templates, tokens, resumable uploads, Flows, groups.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code"
)]

mod support;

use curfew_emulator::{DEFAULT_WABA, Options, State};
use http::Method;
use serde_json::json;
use support::{PLAIN, PRODUCT, Part, file, options, start, start_with};

#[tokio::test]
async fn templates_come_page_by_page_with_the_token_in_the_links() {
    let (emulator, client) = start().await;
    let path = format!("/v24.0/{DEFAULT_WABA}/message_templates");
    for n in 0..5 {
        let body =
            json!({"name": format!("t{n}"), "language": "de", "category": "UTILITY", "components": []});
        client.post(&path, &body).await.ok();
    }
    let mut names = Vec::new();
    let mut next = Some(format!("{path}?limit=2&fields=name"));
    let mut pages = 0;
    while let Some(url) = next {
        // Links carry the token themselves.
        let headers: &[(&str, &str)] = if pages == 0 {
            &[("authorization", "Bearer TO/KEN")]
        } else {
            &[]
        };
        let page = client
            .raw(Method::GET, &url, headers, "")
            .await
            .unwrap()
            .ok()
            .json();
        names.extend(
            page["data"]
                .as_array()
                .unwrap()
                .iter()
                .map(|row| row["name"].as_str().unwrap().to_owned()),
        );
        next = page["paging"]["next"].as_str().map(str::to_owned);
        if let Some(next) = &next {
            assert!(next.starts_with(&format!("{}/v24.0/", emulator.base_url())));
            assert!(next.contains("access_token=TO%2FKEN"));
        }
        pages += 1;
    }
    names.sort();
    assert_eq!((pages, names.join(",").as_str()), (3, "t0,t1,t2,t3,t4"));
    let row = client.get(&format!("{path}?name=t3")).await.json()["data"][0].clone();
    let id = row["id"].as_str().unwrap();
    assert_eq!(client.get(&format!("/v24.0/{id}")).await.json()["name"], "t3");
    client.delete(&format!("{path}?name=t3")).await.ok();
    assert_eq!(client.get(&format!("/v24.0/{id}")).await.subcode(), 33);
}

#[tokio::test]
async fn accounts_list_and_take_numbers() {
    let (emulator, client) = start().await;
    let path = format!("/v24.0/{DEFAULT_WABA}/phone_numbers");
    assert_eq!(
        client.get(&path).await.json()["data"].as_array().unwrap().len(),
        4
    );
    let new = client
        .post(
            &path,
            &json!({"cc": "49", "phone_number": "30 1234", "verified_name": "N"}),
        )
        .await
        .ok()
        .id();
    let number = emulator.number(new).unwrap();
    assert_eq!((number.state, number.waba_id), (State::Unverified, DEFAULT_WABA));
    let node = client.get(&format!("/v24.0/{new}")).await.json();
    assert_eq!(node["display_phone_number"], "+49 30 1234");
    assert_eq!(node["throughput"], json!({"level": "STANDARD"}));
    let business = Options::default().business_id;
    let owned = client
        .get(&format!("/v24.0/{business}/owned_whatsapp_business_accounts"))
        .await
        .json();
    assert_eq!(owned["data"][0]["id"], DEFAULT_WABA.to_string());
}

#[tokio::test]
async fn tokens_are_handed_out_and_described() {
    let (_emulator, client) = start_with(Options {
        tokens: vec!["ONE".to_owned()],
        ..options()
    })
    .await;
    let app = Options::default().app_id;
    let secret = Options::default().app_secret;
    let path = format!("/oauth/access_token?client_id={app}&client_secret=");
    assert_eq!(client.get(&format!("{path}wrong")).await.code(), 100);
    let token = client.get(&format!("{path}{secret}")).await.ok().json()["access_token"]
        .as_str()
        .unwrap()
        .to_owned();
    let bearer = format!("Bearer {token}");
    let path = format!("/v24.0/debug_token?input_token={token}");
    let described = client
        .raw(Method::GET, &path, &[("authorization", &bearer)], "")
        .await
        .unwrap()
        .ok()
        .json();
    assert_eq!(described["data"]["is_valid"], true);
    assert_eq!(
        described["data"]["granular_scopes"][0]["target_ids"][0],
        DEFAULT_WABA.to_string()
    );
    let me = client
        .raw(Method::GET, "/me", &[("authorization", "Bearer ONE")], "")
        .await
        .unwrap()
        .ok()
        .json();
    assert!(me["id"].is_string());
}

#[tokio::test]
async fn resumable_uploads_end_in_a_handle() {
    let (emulator, client) = start().await;
    let app = Options::default().app_id;
    let start = |kind: &str| format!("/v24.0/{app}/uploads?file_name=a&file_length=10&file_type={kind}");
    assert_eq!(client.form(&start("text/html"), "").await.code(), 100);
    let id = client.form(&start("image/png"), "").await.ok().json()["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let post = |offset: &'static str, bytes: &'static str| {
        let path = format!("/v24.0/{}", id.replace(':', "%3A"));
        let client = &client;
        async move {
            let headers = [("authorization", "OAuth T"), ("file_offset", offset)];
            client.raw(Method::POST, &path, &headers, bytes).await.unwrap()
        }
    };
    let path = format!("/v24.0/{id}");
    let without = client.raw(Method::POST, &path, &[("authorization", "OAuth T")], "01234");
    assert_eq!(without.await.unwrap().code(), 100);
    post("0", "01234").await.ok();
    for wrong in ["0", "4", "6", "-5", "five", ""] {
        assert_eq!(post(wrong, "01234").await.code(), 100, "{wrong}");
    }
    assert_eq!(client.get(&format!("/v24.0/{id}")).await.json()["file_offset"], 5);
    let handle = post("5", "56789").await.ok().json();
    assert!(handle["h"].as_str().unwrap().starts_with("4::aW"));
    let stored: Vec<_> = emulator
        .other_content()
        .into_iter()
        .map(|content| (content.door, content.len))
        .collect();
    assert_eq!(stored, [("resumable_upload", 5), ("resumable_upload", 5)]);
}

#[tokio::test]
async fn flows_and_groups_keep_content_too() {
    let (emulator, client) = start().await;
    let flow = client
        .post(
            &format!("/v24.0/{DEFAULT_WABA}/flows"),
            &json!({"name": "f", "categories": ["OTHER"]}),
        )
        .await
        .ok()
        .id();
    client
        .multipart(
            &format!("/v24.0/{flow}/assets"),
            &[
                Part {
                    name: "name",
                    file: None,
                    body: b"a.json",
                },
                file("application/json", b"{}"),
            ],
        )
        .await
        .ok();
    let assets = client.get(&format!("/v24.0/{flow}/assets")).await.json();
    assert_eq!(assets["data"][0]["name"], "a.json");
    assert_eq!(assets["data"][0]["asset_type"], "FLOW_JSON");
    let url = assets["data"][0]["download_url"].as_str().unwrap();
    assert_eq!(client.get(url).await.ok().body, "{}");
    client
        .post(&format!("/v24.0/{flow}/publish"), &json!({}))
        .await
        .ok();
    assert_eq!(
        client.get(&format!("/v24.0/{flow}?fields=status")).await.json()["status"],
        "PUBLISHED"
    );
    let group = client
        .post(&format!("/v24.0/{PLAIN}/groups"), &json!({"subject": "s"}))
        .await
        .ok()
        .json()["id"]
        .as_str()
        .unwrap()
        .to_owned();
    client
        .multipart(&format!("/v24.0/{group}"), &[PRODUCT, file("image/jpeg", b"x")])
        .await
        .ok();
    let named = |name: &'static str, body| Part {
        name,
        ..file("image/jpeg", body)
    };
    let large = vec![0; 5 * 1024 * 1024 + 1];
    for (part, code) in [
        (named("profile_picture_file", &b"y"[..]), 0),
        (named("picture", b"y"), 100),
        (named("file", b""), 100),
        (named("file", &large), 100),
    ] {
        let reply = client
            .multipart(&format!("/v24.0/{group}"), &[PRODUCT, part])
            .await;
        assert_eq!(reply.code(), code);
    }
    let doors: Vec<_> = emulator
        .other_content()
        .into_iter()
        .map(|content| content.door)
        .collect();
    assert_eq!(doors, ["flow_assets", "group_picture", "group_picture"]);
    assert_eq!(emulator.media_bytes_kept(), 0);
    client.delete(&format!("/v24.0/{group}")).await.ok();
    assert_eq!(client.get(&format!("/v24.0/{group}")).await.subcode(), 33);
}

#[tokio::test]
async fn profiles_and_block_lists_answer() {
    let (_emulator, client) = start().await;
    let path = format!("/v24.0/{PLAIN}/whatsapp_business_profile");
    client
        .post(&path, &json!({"messaging_product": "whatsapp", "about": "us"}))
        .await
        .ok();
    assert_eq!(client.get(&path).await.json()["data"][0]["about"], "us");
    let path = format!("/v24.0/{PLAIN}/block_users");
    let body = json!({"messaging_product": "whatsapp", "block_users": [{"user": "+4915112345678"}]});
    let blocked = client.post(&path, &body).await.ok().json();
    assert_eq!(blocked["block_users"]["added_users"][0]["wa_id"], "4915112345678");
}
