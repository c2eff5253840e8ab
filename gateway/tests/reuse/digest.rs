//! `Repr-Digest`: who announces what it sends is held to it, and need not send it twice.

use aws_lc_rs::digest;
use base64::Engine as _;

use super::*;
use crate::common::raw::{Raw, chunk, upload_head};

const EXPECT: &str = "Expect: 100-continue\r\n";

fn repr_digest(body: &[u8]) -> String {
    let sha256 = digest::digest(&digest::SHA256, body);
    let encoded = base64::engine::general_purpose::STANDARD.encode(sha256);
    format!("Repr-Digest: sha-256=:{encoded}:\r\n")
}

/// The head of a request that announces `body`.
fn announcing(number: u64, body: &[u8], more: &str) -> String {
    upload_head(
        &target(number),
        body.len(),
        &format!("{}{more}", repr_digest(body)),
    )
}

async fn send(world: &World, head: &str, body: &[u8]) -> Reply {
    let mut caller = Raw::connect(world.gateway.addr).await;
    caller.send(head).await;
    caller.send(body).await;
    caller.answer().await
}

/// Sends a head alone, and reads what comes of that.
async fn send_head(world: &World, head: &str) -> (Reply, Raw) {
    let mut caller = Raw::connect(world.gateway.addr).await;
    caller.send(head).await;
    let reply = caller.answer().await;
    (reply, caller)
}

/// Sends a head that asks to go on, and says whether it was.
async fn is_asked_for_its_body(world: &World, head: &str) -> bool {
    send_head(world, head).await.0.status == 100
}

#[tokio::test]
async fn a_request_that_came_before_is_answered_before_its_body() {
    let world = World::of(NUMBERS).await;
    for number in [NO_STORAGE, IN_COUNTRY, DEFAULT] {
        let body = Form::image().bytes();
        let first = send(&world, &announcing(number, &body, ""), &body).await;
        assert_eq!(
            (first.status.as_u16(), is_reused(&first)),
            (200, false),
            "{}",
            first.text()
        );
        let begun = uploads(&world).len();
        for expect in ["", EXPECT] {
            let (reply, mut caller) = send_head(&world, &announcing(number, &body, expect)).await;
            assert_eq!(
                (reply.status.as_u16(), is_reused(&reply)),
                (200, true),
                "{}",
                reply.text()
            );
            assert_eq!(reply.json(), first.json());
            let ends = "curfew-media-expires";
            assert_eq!(reply.header(ends), first.header(ends));
            assert_eq!(
                reply.header("connection"),
                Some("close"),
                "the body may be on its way"
            );
            assert!(caller.is_closed().await);
        }
        assert_eq!(uploads(&world).len(), begun, "nothing was even begun");
    }
    assert_eq!(completed(&world).await, 3);
}

#[tokio::test]
async fn who_sends_all_of_it_before_reading_still_reads_the_answer() {
    let world = World::of(NUMBERS).await;
    let body = pdf("a.pdf", &vec![7; 4 * 1024 * 1024]).bytes();
    let head = announcing(DEFAULT, &body, "");
    let first = send(&world, &head, &body).await;
    let second = send(&world, &head, &body).await;
    assert_eq!((is_reused(&second), second.json()), (true, first.json()));
    // In chunks too.
    let head = head.replace(
        &format!("Content-Length: {}", body.len()),
        "Transfer-Encoding: chunked",
    );
    let mut caller = Raw::connect(world.gateway.addr).await;
    caller.send(head).await;
    caller.send(chunk(&body)).await;
    assert!(is_reused(&caller.answer().await));
}

#[tokio::test]
async fn another_request_is_read_though_it_announces_the_same() {
    let world = World::of(NUMBERS).await;
    let body = Form::image().bytes();
    let head = announcing(DEFAULT, &body, EXPECT);
    assert!(is_asked_for_its_body(&world, &head).await, "nothing has come yet");
    send(&world, &announcing(DEFAULT, &body, ""), &body).await;
    assert!(!is_asked_for_its_body(&world, &head).await);
    let other = |from: &str, to: &str| head.replace(from, to);
    for (what, head) in [
        ("number", other("/1003/", "/1002/")),
        ("version", other("/v23.0/", "/v24.0/")),
        ("query", other("/media ", "/media?type=image/png ")),
        (
            "boundary",
            other("----a-callers-boundary", "----another-boundary"),
        ),
        ("digest", announcing(DEFAULT, b"another body", EXPECT)),
        ("token", other(TOKEN, "EAAG-of-somebody-else")),
        ("no digest", upload_head(&target(DEFAULT), body.len(), EXPECT)),
        ("algorithm", other("sha-256=", "sha-512=")),
    ] {
        assert!(is_asked_for_its_body(&world, &head).await, "another {what}");
    }
    assert_eq!(completed(&world).await, 1);
}

#[tokio::test]
async fn another_boundary_makes_another_request_of_the_same_bytes() {
    let world = World::of(NUMBERS).await;
    let body = Form::image().bytes();
    send(&world, &announcing(DEFAULT, &body, ""), &body).await;
    let head = announcing(DEFAULT, &body, "").replace("----a-callers-boundary", "----another-boundary");
    let reply = send(&world, &head, &body).await;
    reply.assert_refused(400, 100, "form_preamble");
}

#[tokio::test]
async fn the_head_is_answered_to_the_same_caller_only() {
    let world = World::of(&two_callers()).await;
    let body = Form::image().bytes();
    let of = |key: &str, more: &str| announcing(DEFAULT, &body, more).replace(TOKEN, key);
    let first = send(&world, &of("key-of-billing", ""), &body).await;
    // Support could know the digest without having the file.
    assert!(is_asked_for_its_body(&world, &of("key-of-support", EXPECT)).await);
    // Whoever has sent the whole file need not do it again.
    let second = send(&world, &of("key-of-support", ""), &body).await;
    assert_eq!((is_reused(&second), second.media_id()), (true, first.media_id()));
    for key in ["key-of-support", "key-of-billing"] {
        let (reply, _) = send_head(&world, &of(key, EXPECT)).await;
        assert_eq!(
            (reply.status.as_u16(), reply.media_id()),
            (200, first.media_id()),
            "{key}"
        );
    }
    let (reply, _) = send_head(&world, &of("key-of-otp", EXPECT)).await;
    reply.assert_refused(403, 131_005, "operation_not_allowed");
}

#[tokio::test]
async fn the_head_is_judged_by_what_holds_now() {
    let world = World::of(NUMBERS).await;
    let client = world.client();
    let body = image("60").bytes();
    let head = announcing(NO_STORAGE, &body, EXPECT);
    let known = async || {
        let begun = send(&world, &announcing(NO_STORAGE, &body, ""), &body).await;
        assert_eq!(begun.status, 200, "{}", begun.text());
        assert!(!is_asked_for_its_body(&world, &head).await);
        begun.media_id()
    };
    let first = known().await;
    world.pass_minutes(5);
    assert!(!is_asked_for_its_body(&world, &head).await);
    world.pass_minutes(1);
    assert!(
        is_asked_for_its_body(&world, &head).await,
        "it ends too early now"
    );

    let second = known().await;
    assert_ne!(first, second);
    let deleted = client
        .delete(&format!("/v23.0/{second}?phone_number_id=1001"))
        .await;
    assert_eq!(deleted.status, 200, "{}", deleted.text());
    assert!(is_asked_for_its_body(&world, &head).await, "it was deleted");

    // They are good for fifteen minutes, of which three are left.
    world.pass_minutes(6);
    known().await;
    world.emulator.set_storage(NO_STORAGE, Storage::Default);
    world.pass_minutes(4);
    let (reply, _) = send_head(&world, &head).await;
    reply.assert_refused(503, 131_005, "settings_differ");
}

#[tokio::test]
async fn what_was_announced_is_what_must_come() {
    for policies in [NUMBERS, common::PASS_THROUGH] {
        let world = World::of(policies).await;
        let body = pdf("a.pdf", &vec![7; 100_000]).bytes();
        let mut other = body.to_vec();
        other[50_000] ^= 1;
        let reply = send(&world, &announcing(DEFAULT, &body, ""), &other).await;
        reply.assert_refused(400, 100, "form_digest_differs");
        // The bytes that follow the file count as well.
        let turned = Form::image().field("type", "image/png").bytes();
        let wrong = announcing(DEFAULT, &body, "");
        let wrong = wrong.replace(
            &format!("Content-Length: {}", body.len()),
            &format!("Content-Length: {}", turned.len()),
        );
        let reply = send(&world, &wrong, &turned).await;
        reply.assert_refused(400, 100, "form_digest_differs");
        assert_eq!(completed(&world).await, 0);
        assert_eq!(world.emulator.media_bytes_kept(), 0);
        assert!(world.emulator.media().is_empty());
        // What it was not is not remembered.
        assert!(is_asked_for_its_body(&world, &announcing(DEFAULT, &body, EXPECT)).await);
        let reply = send(&world, &announcing(DEFAULT, &body, ""), &body).await;
        assert_eq!(
            (reply.status.as_u16(), is_reused(&reply)),
            (200, false),
            "{}",
            reply.text()
        );
    }
}

#[tokio::test]
async fn a_digest_that_cannot_be_read_is_refused_before_the_body() {
    let world = World::of(common::PASS_THROUGH).await;
    let body = Form::image().bytes();
    let good = repr_digest(&body);
    for bad in [
        good.replace("=:", "="),
        good.replace("sha-256", "SHA-256"),
        format!("{good}{good}"),
        "Repr-Digest: sha-256=:AAAA:\r\n".to_owned(),
        "Repr-Digest: \r\n".to_owned(),
    ] {
        let head = upload_head(&target(DEFAULT), body.len(), &format!("{bad}{EXPECT}"));
        let (reply, _) = send_head(&world, &head).await;
        reply.assert_refused(400, 100, "digest_malformed");
    }
    assert!(uploads(&world).is_empty());
    let unknown = "Repr-Digest: sha-512=:AAAA:, crc32c=:AAAA:\r\n";
    let reply = send(&world, &upload_head(&target(DEFAULT), body.len(), unknown), &body).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
}

#[tokio::test]
async fn over_http2_the_head_is_answered_too() {
    use http_body_util::{BodyExt as _, Full};
    use hyper_util::client::legacy::Client as Pool;
    use hyper_util::rt::TokioExecutor;

    let world = World::of(NUMBERS).await;
    let body = Form::image().bytes();
    let line = repr_digest(&body);
    let (name, value) = line.trim_end().split_once(": ").unwrap();
    let request = || {
        http::Request::post(format!("http://{}{}", world.gateway.addr, target(DEFAULT)))
            .header("authorization", format!("Bearer {TOKEN}"))
            .header("content-type", Form::new().content_type())
            .header(name, value)
    };
    let pool = Pool::builder(TokioExecutor::new()).http2_only(true).build_http();
    let first = pool
        .request(request().body(Full::new(body.clone()).boxed()).unwrap())
        .await
        .unwrap();
    let first = first.into_body().collect().await.unwrap().to_bytes();
    // A body that never comes.
    let pending = http_body_util::StreamBody::new(futures_util::stream::pending());
    let pending = pending
        .map_err(|never: std::convert::Infallible| match never {})
        .boxed();
    let second = soon(pool.request(request().body(pending).unwrap()))
        .await
        .unwrap();
    assert_eq!(second.headers()["curfew-reused"], "true");
    let second = second.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(first, second);
    assert_eq!(uploads(&world).len(), 1);
}
