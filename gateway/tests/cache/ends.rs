//! No copy outlives its medium, nor the time that the policy gives it, whatever the clocks do.

use std::time::Duration;

use curfew_policies::Timestamp;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

use super::*;
use crate::common::{IN_COUNTRY, log, soon};

const MINUTE: Duration = Duration::from_secs(60);
const MILLISECOND: Duration = Duration::from_millis(1);

/// One number of its own, so that its receipts are told from other tests', and one caller.
fn policies_of(number: u64, storage: &str, media: &str) -> String {
    format!(
        "[[number]]\nphone_number_id = \"{number}\"\nstorage = {storage}\n[number.media]\n{media}\n{}",
        caller_table("billing", KEY, &[number], &["send", "media"])
    )
}

/// Waits until nothing is kept any more.
async fn nothing_is_kept(world: &World) {
    soon(async {
        while kept(world).await["entries"] != 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(kept(world).await["bytes"], 0);
}

async fn upload_for(client: &Client, number: u64, ttl_minutes: &str, bytes: &[u8]) -> u64 {
    let form = Form::new()
        .field("messaging_product", "whatsapp")
        .field("ttl_minutes", ttl_minutes)
        .file("application/pdf", bytes);
    let target = format!("/v23.0/{number}/media");
    client.post_form(&target, &form).await.media_id()
}

#[tokio::test]
async fn a_copy_ends_with_its_medium_and_the_log_says_so() {
    const NUMBER: u64 = 2001;
    log::listen();
    let policies = policies_of(NUMBER, "{ mode = \"no_storage\" }", "cache_minutes = 600");
    let world = World::of(&policies).await;
    let client = world.caller(KEY);
    let bytes = bytes(1000);
    let media = upload_for(&client, NUMBER, "60", &bytes).await;
    // Counted from the upload, not from when it was first kept.
    world.time.advance(58 * MINUTE);
    let url = url_of(&client, media).await;
    assert_whole(&get(&client, &url, &[]).await, &bytes, "miss");
    world.time.advance(2 * MINUTE - MILLISECOND);
    assert_whole(&get(&client, &url, &[]).await, &bytes, "hit");
    world.time.advance(MILLISECOND);
    get(&client, &url, &[])
        .await
        .assert_refused(404, 100, "media_url_invalid");
    nothing_is_kept(&world).await;

    let receipts = log::receipts(NUMBER);
    assert_eq!(receipts.len(), 1, "{receipts:?}");
    let receipt = &receipts[0];
    assert_eq!(receipt["media"], media);
    assert_eq!(receipt["reason"], "deadline");
    assert_eq!(receipt["bytes"], 1000);
    let end = Timestamp::from_millis(1_800_000_000_000 + 3_600_000).rfc3339();
    assert_eq!(receipt["due"], end);
    assert_eq!(
        (receipt["at"].as_str(), receipt["late_ms"].as_u64()),
        (Some(&*end), Some(0))
    );
    let said = format!("{receipt:?}");
    assert!(!said.contains("http") && !said.contains("pdf"), "{said}");
}

#[tokio::test]
async fn a_copy_ends_when_the_policy_says() {
    let world = World::of(&policies("cache_minutes = 3")).await;
    let client = world.caller(OTHER_KEY);
    let bytes = bytes(1000);
    let (_, url) = upload(&client, IN_COUNTRY, &bytes).await;
    assert_whole(&get(&client, &url, &[]).await, &bytes, "miss");
    world.time.advance(3 * MINUTE - MILLISECOND);
    assert_whole(&get(&client, &url, &[]).await, &bytes, "hit");
    world.time.advance(MILLISECOND);
    assert_whole(&get(&client, &url, &[]).await, &bytes, "miss");
    assert_eq!(fetches(&world), 2);
}

#[tokio::test]
async fn a_wall_clock_that_is_set_back_puts_no_end_off() {
    let world = World::of(&policies("cache_minutes = 3")).await;
    let client = world.caller(OTHER_KEY);
    let bytes = bytes(1000);
    let (media, url) = upload(&client, IN_COUNTRY, &bytes).await;
    assert_whole(&get(&client, &url, &[]).await, &bytes, "miss");
    world
        .time
        .set_wall(Timestamp::from_millis(1_800_000_000_000 - 30_000));
    assert_whole(&get(&client, &url, &[]).await, &bytes, "hit");
    world.time.advance_monotonic(3 * MINUTE);
    nothing_is_kept(&world).await;

    // Set forth, it brings the end nearer.
    let url = url_of(&client, media).await;
    assert_whole(&get(&client, &url, &[]).await, &bytes, "miss");
    world
        .time
        .set_wall(Timestamp::from_millis(1_800_000_000_000 + 180_000));
    nothing_is_kept(&world).await;
}

#[tokio::test]
async fn inbound_media_have_the_inbound_life_of_their_number() {
    for (storage, minutes) in [
        ("{ mode = \"no_storage\" }", 60),
        ("{ mode = \"in_country\", region = \"DE\" }", 7 * 24 * 60),
    ] {
        let policies = policies_of(2002, storage, "cache_minutes = 43200");
        let world = World::of(&policies).await;
        let client = world.caller(KEY);
        let bytes = bytes(1000);
        let media = world
            .emulator
            .receive_media(2002, "application/pdf", bytes.clone());
        let url = url_of(&client, media).await;
        assert_whole(&get(&client, &url, &[]).await, &bytes, "miss");
        world.time.advance(minutes * MINUTE - 2 * MINUTE);
        let url = url_of(&client, media).await;
        assert_whole(&get(&client, &url, &[]).await, &bytes, "hit");
        world.time.advance(2 * MINUTE);
        get(&client, &url, &[])
            .await
            .assert_refused(404, 100, "media_url_invalid");
        nothing_is_kept(&world).await;
        let reply = client.get(&format!("/v23.0/{media}")).await;
        reply.assert_refused(400, 100, "media_ended");
    }
}

/// Asks for `url`, takes in little, and reads no more than the first bytes.
async fn stalled(world: &World, url: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(16 * 1024).unwrap();
    let mut stream = socket.connect(world.gateway.addr).await.unwrap();
    let (_, path) = url.split_once("/_curfew").unwrap();
    let request = format!("GET /_curfew{path} HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    soon(stream.read_exact(&mut [0; 1024])).await.unwrap();
    stream
}

#[tokio::test]
async fn an_answer_under_way_breaks_off_at_the_end() {
    let bytes = bytes(12_000_000);
    for object_bytes in [32_000_000, 1_000_000] {
        let world = World::start(Setup {
            policies: policies("cache_minutes = 600"),
            configure: if object_bytes > 12_000_000 {
                |_| {}
            } else {
                |config| config.cache.object_bytes = 1_000_000
            },
            ..Setup::default()
        })
        .await;
        let client = world.caller(KEY);
        let media = upload_for(&client, 1001, "60", &bytes).await;
        let url = url_of(&client, media).await;
        let mut stream = stalled(&world, &url).await;
        if object_bytes > 12_000_000 {
            let reply = get(&client, &url, &[]).await;
            assert!(reply.status == 200 && reply.body == bytes);
        }
        world.time.advance(60 * MINUTE);
        nothing_is_kept(&world).await;
        let mut rest = Vec::new();
        let _ = soon(stream.read_to_end(&mut rest)).await;
        assert!(rest.len() < bytes.len(), "{} bytes", rest.len());
    }
}
