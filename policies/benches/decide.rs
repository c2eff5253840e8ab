//! What one decision costs, and that an allowed one allocates nothing.
//!
//! Run with `cargo bench -p curfew-policies --bench decide`. The goal is 3 µs a decision; building the [`Request`] from the
//! bytes of a call is the gateway's cost and not in these figures. Allocations are counted, and shown where there are any:
//! under `refused`, whose reason says what came, and nowhere else.

use std::hint::black_box;

use curfew_policies::{
    Caller, Decision, Facts, Generation, IdValue, MediaFact, MediaObject, Message, MessageKind,
    ObservedStorage, Operation, Origin, PhoneNumberId, Pin, PolicySet, Request, SettingsFact, StorageMode,
    Subject, Timestamp, Upload, decide, parse,
};
use divan::{AllocProfiler, Bencher};

#[global_allocator]
static ALLOCATIONS: AllocProfiler = AllocProfiler::system();

const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

fn main() {
    divan::main();
}

/// A mid-sized company: 40 numbers, half of them No Storage, and 20 services with five numbers each. What is measured is
/// the last caller's last number.
fn company() -> PolicySet {
    let mut text = String::new();
    for number in 0..40 {
        let mode = if number % 2 == 0 { "default" } else { "no_storage" };
        text.push_str(&format!(
            "[[number]]\nphone_number_id = \"{}\"\nstorage = {{ mode = \"{mode}\" }}\n\
             [number.media]\nlinks = {{ hosts = [\"cdn.bank.example\"] }}\n",
            106_540_352_242_900_u64 + number
        ));
    }
    for caller in 0..20_u64 {
        let numbers: Vec<_> = (0..5)
            .map(|nth| format!("\"{}\"", 106_540_352_242_900 + (caller * 5 + nth + 20) % 40))
            .collect();
        text.push_str(&format!(
            "[[caller]]\nname = \"service-{caller}\"\nkey_sha256 = \"{caller:064x}\"\nnumbers = [{}]\n\
             may = [\"read\", \"media\", \"send\"]\n",
            numbers.join(", ")
        ));
    }
    parse(&text).unwrap_or_default()
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Outcome {
    Allowed,
    Refused,
}

fn measure(bencher: Bencher<'_, '_>, operation: Operation<'_>, media: &[MediaFact], outcome: Outcome) {
    let policies = company();
    let number: PhoneNumberId = "106540352242939"
        .parse()
        .unwrap_or_else(|_| std::process::exit(1));
    let caller = policies.callers.last().map_or(Caller::PassThrough, Caller::Known);
    let request = Request {
        subject: Subject::Number(number),
        generation: Generation::FromV21,
        operation,
    };
    let facts = Facts {
        now: NOW,
        media,
        settings: SettingsFact::Read(ObservedStorage::Mode(StorageMode::NoStorage)),
        recent_registrations: 0,
    };
    // Another outcome would be another path than the one that is meant.
    let is_allowed = matches!(decide(&policies, caller, &request, &facts), Decision::Allow(_));
    assert_eq!(is_allowed, outcome == Outcome::Allowed);
    bencher.bench(|| {
        decide(
            black_box(&policies),
            black_box(caller),
            black_box(&request),
            black_box(&facts),
        )
    });
}

/// What the reader makes of a 640-byte template send with one image in its header.
#[divan::bench]
fn template_with_one_media_header(bencher: Bencher<'_, '_>) {
    let pin = Pin {
        number: "106540352242939"
            .parse()
            .unwrap_or_else(|_| std::process::exit(1)),
        ends: NOW.after(std::time::Duration::from_secs(600)),
        origin: Origin::Upload,
    };
    let message = Message {
        kind: MessageKind::Known("template"),
        media: vec![MediaObject {
            at: "template.components[0].parameters[0].image".to_owned(),
            documented: true,
            id: "1013859600285441".parse().ok().map(IdValue::Canonical),
            link: None,
            unknown_members: Vec::new(),
        }],
        stray_links: Vec::new(),
        unknown_context: Vec::new(),
    };
    measure(
        bencher,
        Operation::SendMessage(message),
        &[MediaFact::Pinned(pin)],
        Outcome::Allowed,
    );
}

/// The same with its image by `link`.
#[divan::bench]
fn template_with_one_linked_header(bencher: Bencher<'_, '_>) {
    let message = linked("https://cdn.bank.example/2026/statement-preview.png?v=3");
    measure(bencher, Operation::SendMessage(message), &[], Outcome::Allowed);
}

/// The same from a host that is not listed.
#[divan::bench]
fn refused(bencher: Bencher<'_, '_>) {
    let message = linked("https://cdn.elsewhere.example/2026/statement-preview.png?v=3");
    measure(bencher, Operation::SendMessage(message), &[], Outcome::Refused);
}

fn linked(link: &str) -> Message<'_> {
    Message {
        kind: MessageKind::Known("template"),
        media: vec![MediaObject {
            at: "template.components[0].parameters[0].image".to_owned(),
            documented: true,
            id: None,
            link: Some(link.into()),
            unknown_members: Vec::new(),
        }],
        stray_links: Vec::new(),
        unknown_context: Vec::new(),
    }
}

#[divan::bench]
fn text(bencher: Bencher<'_, '_>) {
    let message = Message {
        kind: MessageKind::Known("text"),
        media: Vec::new(),
        stray_links: Vec::new(),
        unknown_context: Vec::new(),
    };
    measure(bencher, Operation::SendMessage(message), &[], Outcome::Allowed);
}

#[divan::bench]
fn upload(bencher: Bencher<'_, '_>) {
    let upload = Upload {
        complete: true,
        ttl_minutes: Some("120".into()),
        declared_type: Some("image/png".into()),
        file_type: Some("image/png".into()),
        use_case: None,
        file_bytes: 100_000,
    };
    measure(bencher, Operation::UploadMedia(upload), &[], Outcome::Allowed);
}
