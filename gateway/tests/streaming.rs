//! Promise: uploads stream through, and what was refused was never stored at Meta, whatever the order of its parts.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod common;

use aws_lc_rs::digest;
use bytes::Bytes;
use common::form::{Form, PNG};
use common::raw::{Raw, chunk, upload_head};
use common::{IN_COUNTRY, NO_STORAGE, Reply, Setup, TOKEN, World, soon};
use curfew_emulator::{Effect, Emulator, Fault, Operation, Options, Received, Storage};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

const MIB: usize = 1024 * 1024;
const MEDIA: &str = "/v23.0/1001/media";

/// Bytes that do not repeat with any chunk's length.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_u32;
    let next = move || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state.to_le_bytes()[0]
    };
    std::iter::repeat_with(next).take(length).collect()
}

fn sha256(bytes: &[u8]) -> String {
    let digest = digest::digest(&digest::SHA256, bytes);
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn uploads(emulator: &Emulator) -> Vec<Received> {
    let mut received = emulator.received();
    received.retain(|call| call.operation == Operation::Upload);
    received
}

/// Waits until an upload has begun at the emulator.
async fn begun(world: &World) {
    soon(world.emulator.until(|emulator| !uploads(emulator).is_empty())).await;
}

/// Nothing is stored, nothing ever was, and no upload came to its end.
async fn assert_nothing_stored(emulator: &Emulator) {
    let all_ended = |emulator: &Emulator| uploads(emulator).iter().all(|upload| upload.ended);
    soon(emulator.until(all_ended)).await;
    assert!(uploads(emulator).iter().all(|upload| !upload.complete));
    assert_eq!(emulator.media_bytes_kept(), 0);
    assert!(emulator.media().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thirty_two_mib_arrive_whole_in_either_order_of_parts() {
    let world = World::start(Setup {
        emulator: Options {
            keep_media: false,
            ..Options::default()
        },
        ..Setup::default()
    })
    .await;
    let client = world.client();
    let file = noise(32 * MIB);
    let expected = sha256(&file);
    let fields = |form: Form| {
        form.field("messaging_product", "whatsapp")
            .field("type", "application/pdf")
            .field("ttl_minutes", "90")
    };
    for form in [
        fields(Form::new()).file("application/pdf", &file),
        fields(Form::new().file("application/pdf", &file)),
    ] {
        let reply = client.post_form(MEDIA, &form).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        let id = reply.media_id();
        let stored = world.emulator.media();
        let stored = stored.iter().find(|media| media.id == id).expect("it is there");
        assert_eq!(
            (usize::try_from(stored.len), &stored.sha256, stored.ttl_minutes),
            (Ok(file.len()), &expected, Some(90))
        );
    }
}

#[tokio::test]
async fn the_upstream_has_begun_before_the_caller_has_finished() {
    let world = World::pass_through().await;
    let body = Form::new()
        .field("messaging_product", "whatsapp")
        .file("application/pdf", &noise(MIB))
        .field("ttl_minutes", "60")
        .bytes();
    let (begin, end) = body.split_at(100_000);
    let mut caller = Raw::connect(world.gateway.addr).await;
    caller.send(upload_head(MEDIA, body.len(), "")).await;
    caller.send(begin).await;
    begun(&world).await;
    assert!(!uploads(&world.emulator)[0].ended);
    caller.send(end).await;
    let reply = caller.answer().await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(world.emulator.media()[0].ttl_minutes, Some(60));
}

#[tokio::test]
async fn the_bytes_go_upstream_as_they_come() {
    let world = World::pass_through().await;
    // Meta breaks off after half a mebibyte: it can, because the bytes are there.
    let reset = Effect::ResetRequest {
        after_bytes: 512 * 1024,
    };
    world
        .emulator
        .fault(Fault::new(Operation::Upload, reset).times(1));
    let body = Form::new()
        .field("messaging_product", "whatsapp")
        .file("application/pdf", &noise(4 * MIB))
        .bytes();
    let mut caller = Raw::connect(world.gateway.addr).await;
    caller.send(upload_head(MEDIA, body.len(), "")).await;
    caller.send(&body[..MIB]).await;
    let reply = caller.answer().await;
    reply.assert_refused(502, 131_000, "upstream_broke_off");
    assert_nothing_stored(&world.emulator).await;
    world.client().upload(NO_STORAGE).await;
}

#[tokio::test]
async fn an_answer_that_breaks_off_or_makes_no_sense_tells_no_id() {
    let world = World::pass_through().await;
    for (effect, reason) in [
        (Effect::ResetReply { after_bytes: 30 }, "upstream_broke_off"),
        (Effect::TruncateReply { after_bytes: 5 }, "upstream_broke_off"),
        (Effect::Garbage, "unusable_answer"),
        (
            Effect::Redirect {
                location: "http://127.0.0.1:9/".to_owned(),
            },
            "unusable_answer",
        ),
    ] {
        world
            .emulator
            .fault(Fault::new(Operation::Upload, effect).times(1));
        let reply = world.client().post_form(MEDIA, &Form::image()).await;
        reply.assert_refused(502, 131_000, reason);
    }
    // Meta's own refusal is the caller's answer.
    let error = Effect::Error {
        status: 400,
        code: 131_053,
        subcode: None,
        details: None,
    };
    world
        .emulator
        .fault(Fault::new(Operation::Upload, error).times(1));
    let reply = world.client().post_form(MEDIA, &Form::image()).await;
    assert_eq!(
        (reply.status.as_u16(), reply.code(), reply.reason()),
        (400, Some(131_053), None)
    );
    assert_eq!(reply.header("curfew-media-expires"), None);
}

#[tokio::test]
async fn a_caller_who_hangs_up_leaves_nothing() {
    let body = Form::new()
        .field("messaging_product", "whatsapp")
        .file("application/pdf", &noise(MIB))
        .bytes();
    for last in [1_000, MIB / 2, body.len() - 60, body.len() - 1] {
        for chunked in [false, true] {
            let world = World::pass_through().await;
            let mut caller = Raw::connect(world.gateway.addr).await;
            if chunked {
                caller.send(chunked_head()).await;
                caller.send(chunk(&body[..last])).await;
            } else {
                caller.send(upload_head(MEDIA, body.len(), "")).await;
                caller.send(&body[..last]).await;
            }
            begun(&world).await;
            drop(caller);
            assert_nothing_stored(&world.emulator).await;
            world.client().upload(NO_STORAGE).await;
        }
    }
}

#[tokio::test]
async fn what_says_which_product_is_meant_goes_on_as_it_came() {
    let world = World::pass_through().await;
    let client = world.client();
    let form = Form::new().file("image/png", PNG);
    let in_query = format!("{MEDIA}?messaging_product=whatsapp&type=image/png");
    let reply = client.post_form(&in_query, &form).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    for wrong in [form.clone(), form.field("messaging_product", "messenger")] {
        let reply = client.post_form(MEDIA, &wrong).await;
        assert_eq!(
            (reply.status.as_u16(), reply.reason()),
            (400, None),
            "Meta's own no"
        );
    }
    assert_eq!(world.emulator.media().len(), 1);
}

#[tokio::test]
async fn a_form_that_ends_too_early_is_refused_and_leaves_nothing() {
    let world = World::pass_through().await;
    let body = Form::image().bytes();
    // Without its last line, the final one of the dashes, and without the closing boundary.
    for cut in [5, 4, 30] {
        let mut caller = Raw::connect(world.gateway.addr).await;
        let cut = &body[..body.len() - cut];
        caller.send(upload_head(MEDIA, cut.len(), "")).await;
        caller.send(cut).await;
        let reply = caller.answer().await;
        assert_eq!(
            (reply.status.as_u16(), reply.code()),
            (400, Some(100)),
            "{}",
            reply.text()
        );
    }
    assert_nothing_stored(&world.emulator).await;
}

const EXPECT: &str = "Expect: 100-continue\r\n";

#[tokio::test]
async fn a_caller_who_waits_is_told_to_go_on_only_if_the_head_is_fine() {
    let world = World::pass_through().await;
    world
        .emulator
        .set_storage(IN_COUNTRY, Storage::InCountry("IN".to_owned()));
    let head = |target: &str| upload_head(target, 50 * MIB, EXPECT);
    let good = head(MEDIA);
    for (what, head, expected) in [
        (
            "another number",
            head("/v23.0/4711/media"),
            (403, 131_005, "number_not_in_policy"),
        ),
        (
            "settings that differ",
            head("/v23.0/1002/media"),
            (503, 131_005, "settings_differ"),
        ),
        (
            "a type that Meta does not take",
            head("/v23.0/1001/media?type=text/html"),
            (400, 131_053, "media_type_not_taken"),
        ),
        (
            "an unknown parameter",
            head("/v23.0/1001/media?ttl_minutes=60"),
            (400, 100, "query_not_allowed"),
        ),
        (
            "an unknown call",
            head("/v23.0/1001/files"),
            (403, 131_005, "unknown_operation"),
        ),
        (
            "no token",
            good.replace(&format!("Bearer {TOKEN}"), "Basic eA=="),
            (401, 190, "unknown_caller"),
        ),
        (
            "no form",
            good.replace("multipart/form-data", "multipart/mixed"),
            (400, 100, "content_type"),
        ),
        (
            "no boundary",
            good.replace("; boundary=", "; border="),
            (400, 100, "form_content_type_parameter"),
        ),
        (
            "a body that is too large",
            upload_head(MEDIA, 200 * MIB, EXPECT),
            (413, 100, "body_too_large"),
        ),
    ] {
        let mut caller = Raw::connect(world.gateway.addr).await;
        caller.send(head).await;
        let reply = caller.answer().await;
        let reason = reply.reason().unwrap_or_default();
        assert_eq!(
            (reply.status.as_u16(), reply.code().unwrap_or(0), reason),
            expected,
            "{what}: {}",
            reply.text()
        );
        assert!(caller.is_closed().await, "{what}: the body was never asked for");
    }
    assert!(uploads(&world.emulator).is_empty());
}

#[tokio::test]
async fn a_caller_who_waits_goes_on_when_all_that_is_known_is_fine() {
    let world = World::pass_through().await;
    let body = Form::image().bytes();
    let mut caller = Raw::connect(world.gateway.addr).await;
    caller.send(upload_head(MEDIA, body.len(), EXPECT)).await;
    assert_eq!(caller.answer().await.status, 100);
    caller.send(body).await;
    let reply = caller.answer().await;
    assert_eq!(reply.status, 200, "{}", reply.text());
}

#[tokio::test]
async fn what_the_first_parts_earn_is_told_before_the_file_is_sent() {
    let world = World::pass_through().await;
    let body = Form::new()
        .field("ttl_minutes", "43200")
        .field("messaging_product", "whatsapp")
        .file("application/pdf", &noise(MIB))
        .bytes();
    for expect in ["", EXPECT] {
        let mut caller = Raw::connect(world.gateway.addr).await;
        caller.send(upload_head(MEDIA, body.len(), expect)).await;
        if !expect.is_empty() {
            assert_eq!(caller.answer().await.status, 100);
        }
        caller.send(&body[..1_000]).await;
        let reply = caller.answer().await;
        reply.assert_refused(400, 131_009, "ttl_out_of_bounds");
    }
    assert!(uploads(&world.emulator).is_empty(), "not even begun");
}

/// Sends all of it before it reads anything.
async fn send_then_read(world: &World, head: &str, body: &[u8]) -> Reply {
    let mut caller = Raw::connect(world.gateway.addr).await;
    caller.send(head).await;
    assert!(caller.try_send(body).await, "the gateway takes what it was sent");
    caller.answer().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_reads_only_after_sending_still_reads_why_it_was_refused() {
    let world = World::pass_through().await;
    let file = noise(8 * MIB);
    let form = || Form::new().field("messaging_product", "whatsapp");
    let pdf = |form: Form| form.file("application/pdf", &file);
    let plain = pdf(form()).bytes();
    let first = pdf(form().field("ttl_minutes", "59")).bytes();
    let last = pdf(form()).field("ttl_minutes", "59").bytes();
    let image = form().file("image/png", &file).bytes();
    for (target, body, status, reason) in [
        ("/v23.0/4711/media", &plain, 403, "number_not_in_policy"),
        ("/v23.0/1001/files", &plain, 403, "unknown_operation"),
        ("/v23.0/1001/messages", &plain, 400, "content_type"),
        (
            "/v23.0/1001/media?type=text/html",
            &plain,
            400,
            "media_type_not_taken",
        ),
        (MEDIA, &first, 400, "ttl_out_of_bounds"),
        (MEDIA, &last, 400, "ttl_out_of_bounds"),
        (MEDIA, &image, 400, "file_too_large"),
    ] {
        let reply = send_then_read(&world, &upload_head(target, body.len(), ""), body).await;
        assert_eq!(
            (reply.status.as_u16(), reply.reason()),
            (status, Some(reason)),
            "{}",
            reply.text()
        );
    }
    let head = upload_head(MEDIA, plain.len(), "").replace(&format!("Bearer {TOKEN}"), "Basic eA==");
    let reply = send_then_read(&world, &head, &plain).await;
    reply.assert_refused(401, 190, "unknown_caller");
    let head = format!(
        "POST /v23.0/1001/messages HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer {TOKEN}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        file.len()
    );
    let reply = send_then_read(&world, &head, &file).await;
    reply.assert_refused(413, 100, "json_too_large");
    assert_nothing_stored(&world.emulator).await;
}

fn chunked_head() -> String {
    upload_head(MEDIA, 0, "").replace("Content-Length: 0", "Transfer-Encoding: chunked")
}

/// What is wrong with a form.
#[derive(Clone, Debug)]
enum Flaw {
    Ttl(&'static str),
    TtlTwice,
    Mime(&'static str),
    TypesDisagree,
    TooLarge,
    UnknownField,
    SecondFile,
    Cut(usize),
}

fn flaws() -> impl Strategy<Value = Flaw> {
    let ttl = prop_oneof![
        Just("1441"),
        Just("43200"),
        Just("59"),
        Just("0"),
        Just("-60"),
        Just("60.5"),
        Just("1e2"),
        Just(""),
        Just("18446744073709551676")
    ];
    prop_oneof![
        6 => ttl.prop_map(Flaw::Ttl),
        2 => Just(Flaw::TtlTwice),
        2 => prop_oneof![Just("text/html"), Just("image/gif"), Just("application/zip")].prop_map(Flaw::Mime),
        1 => Just(Flaw::TypesDisagree),
        1 => Just(Flaw::TooLarge),
        1 => Just(Flaw::UnknownField),
        1 => Just(Flaw::SecondFile),
        1 => (1_usize..40).prop_map(Flaw::Cut),
    ]
}

/// A form of some parts in some order, cut into some chunks.
#[derive(Clone, Debug)]
struct Case {
    file_bytes: usize,
    declares_type: bool,
    has_ttl: bool,
    order: Vec<u32>,
    cuts: Vec<prop::sample::Index>,
}

fn cases() -> impl Strategy<Value = Case> {
    (
        prop_oneof![1_usize..100, 1_usize..300_000],
        any::<bool>(),
        any::<bool>(),
        prop::collection::vec(any::<u32>(), 8),
        prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    )
        .prop_map(|(file_bytes, declares_type, has_ttl, order, cuts)| Case {
            file_bytes,
            declares_type,
            has_ttl,
            order,
            cuts,
        })
}

type PartWriter = Box<dyn Fn(Form) -> Form>;

impl Case {
    fn body(&self, flaw: Option<&Flaw>) -> (Bytes, Vec<u8>) {
        let mut mime = "application/pdf";
        let mut file = noise(self.file_bytes);
        let mut declared = self.declares_type.then_some("application/pdf");
        let mut ttls = if self.has_ttl { vec!["90"] } else { Vec::new() };
        let mut more: Vec<PartWriter> = Vec::new();
        match flaw {
            Some(Flaw::Ttl(text)) => ttls = vec![text],
            Some(Flaw::TtlTwice) => ttls = vec!["60", "90"],
            Some(Flaw::Mime(other)) => {
                mime = other;
                declared = None;
            }
            Some(Flaw::TypesDisagree) => declared = Some("image/png"),
            Some(Flaw::TooLarge) => {
                mime = "image/webp";
                declared = None;
                file = noise(500 * 1024 + 1);
            }
            Some(Flaw::UnknownField) => more.push(Box::new(|form| form.field("ttl", "60"))),
            Some(Flaw::SecondFile) => more.push(Box::new(|form| form.file("image/png", PNG))),
            Some(Flaw::Cut(_)) | None => {}
        }
        let content = file.clone();
        let mut parts: Vec<PartWriter> = vec![
            Box::new(move |form| form.file(mime, &content)),
            Box::new(move |form| form.field("messaging_product", "whatsapp")),
        ];
        if let Some(declared) = declared {
            parts.push(Box::new(move |form| form.field("type", declared)));
        }
        for ttl in ttls {
            parts.push(Box::new(move |form| form.field("ttl_minutes", ttl)));
        }
        parts.extend(more);
        let mut order: Vec<_> = self.order.iter().zip(&parts).collect();
        order.sort_by_key(|(place, _)| **place);
        let form = order.into_iter().fold(Form::new(), |form, (_, part)| part(form));
        let mut body = form.bytes();
        if let Some(Flaw::Cut(bytes)) = flaw {
            // The line break after the closing boundary is nobody's.
            body.truncate(body.len() - 2 - bytes);
        }
        (body, file)
    }

    async fn send(&self, world: &World, body: &Bytes) -> Reply {
        let mut cuts: Vec<_> = self.cuts.iter().map(|cut| cut.index(body.len())).collect();
        cuts.extend([0, body.len()]);
        cuts.sort_unstable();
        cuts.dedup();
        let mut caller = Raw::connect(world.gateway.addr).await;
        caller.send(chunked_head()).await;
        for pair in cuts.windows(2) {
            // Who was refused already may be told so by a closed connection; the answer is what counts.
            let _ = caller.try_send(chunk(&body[pair[0]..pair[1]])).await;
        }
        let _ = caller.try_send("0\r\n\r\n").await;
        caller.answer().await
    }
}

fn run_cases<S: Strategy>(count: u32, strategy: &S, test: &impl AsyncFn(S::Value, &World)) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    let world = runtime.block_on(World::pass_through());
    let mut runner = TestRunner::new(Config {
        cases: count,
        failure_persistence: None,
        ..Config::default()
    });
    let result = runner.run(strategy, |case| {
        runtime.block_on(test(case, &world));
        Ok(())
    });
    result.unwrap_or_else(|failure| panic!("{failure}"));
}

#[test]
fn what_was_refused_was_never_stored_upstream() {
    run_cases(
        160,
        &(cases(), flaws()),
        &async |(case, flaw): (Case, Flaw), world: &World| {
            let (body, _) = case.body(Some(&flaw));
            let reply = case.send(world, &body).await;
            assert_eq!(reply.status, 400, "{flaw:?}: {}", reply.text());
            assert!(reply.reason().is_some(), "{flaw:?}: {}", reply.text());
            assert_nothing_stored(&world.emulator).await;
            world.emulator.clear_record();
        },
    );
}

#[test]
fn what_was_allowed_arrives_byte_for_byte() {
    run_cases(60, &cases(), &async |case: Case, world: &World| {
        let (body, file) = case.body(None);
        let reply = case.send(world, &body).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        let id = reply.media_id();
        assert!(
            world
                .emulator
                .media_bytes(id)
                .is_some_and(|stored| stored == file)
        );
        let stored = world.emulator.media();
        let stored = stored.iter().find(|media| media.id == id).expect("it is there");
        assert_eq!(stored.ttl_minutes, Some(if case.has_ttl { 90 } else { 120 }));
    });
}
