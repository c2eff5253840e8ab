//! Forms: the strict reader and the writer against multer.
//!
//! The first line of an input is a `Content-Type`, the rest a body.

use std::convert::Infallible;

use bytes::Bytes;
use curfew::graph::multipart::{
    Boundary, FileTerms, FormField, FormFields, FormKind, OpenForm, UploadForm, UploadOutcome, WholeForm,
    WholePart, WireBoundary, boundary_of, parse_whole,
};
use futures_util::stream;
use http::HeaderValue;
use http_body_util::{BodyExt as _, Full};

pub fn check(data: &[u8]) -> bool {
    let Some(line_end) = data.iter().position(|byte| *byte == b'\n') else {
        return false;
    };
    let (content_type, body) = (&data[..line_end], &data[line_end + 1..]);
    let Ok(content_type) = HeaderValue::from_bytes(content_type) else {
        return false;
    };
    let Ok(boundary) = boundary_of(&content_type) else {
        return false;
    };
    let text = content_type.to_str().expect("what is taken is ASCII");
    // Blanks before a `;`, which RFC 9110, section 5.6.6, allows, are too much for multer. No boundary holds a `;`.
    let tidy: Vec<_> = text.split(';').map(str::trim).collect();
    let theirs = multer::parse_boundary(tidy.join("; ")).expect("multer finds a boundary");
    assert_eq!(Boundary::new(&theirs), Ok(boundary.clone()));

    let whole = parse_whole(&boundary, body, &[]);
    assert_eq!(whole, parse_whole(&boundary, body, &vec![1; body.len()]));
    let Ok(parts) = whole else { return false };
    let seen = second_opinion(&theirs, body);
    assert_eq!(parts.len(), seen.len());
    let misleading = misleads_multer(body);
    for (part, seen) in parts.iter().zip(&seen) {
        agrees(part, seen, misleading);
    }
    written_anew(&boundary, body, &parts);
    true
}

/// One part as multer sees it.
#[derive(Debug)]
struct Seen {
    name: Option<String>,
    file_name: Option<String>,
    content_type: Option<String>,
    content: Vec<u8>,
}

fn run<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime")
        .block_on(future)
}

fn second_opinion(boundary: &str, body: &[u8]) -> Vec<Seen> {
    let body = Ok::<_, Infallible>(Bytes::copy_from_slice(body));
    let mut form = multer::Multipart::new(stream::iter([body]), boundary);
    run(async {
        let mut parts = Vec::new();
        while let Some(field) = form.next_field().await.expect("multer reads it") {
            parts.push(Seen {
                name: field.name().map(str::to_owned),
                file_name: field.file_name().map(str::to_owned),
                content_type: field.content_type().map(|mime| mime.essence_str().to_owned()),
                content: field.bytes().await.expect("multer reads it").to_vec(),
            });
        }
        parts
    })
}

fn agrees(part: &WholePart, seen: &Seen, misleading: bool) {
    let head = &part.head;
    assert_eq!(part.content, seen.content);
    if !misleading {
        assert_eq!(Some(&head.name), seen.name.as_ref());
        // That there is one decides, what it says does not. multer passes over those that are not UTF-8, or are `filename*`.
        assert!(head.file_name.is_some() || seen.file_name.is_none());
    }
    // multer has none where it cannot read one, such as before a blank and a semicolon.
    if let Some(seen) = &seen.content_type {
        let ours = head.content_type.as_ref().map(|media_type| media_type.essence());
        assert_eq!(ours, Some(seen.as_str()));
    }
}

/// Whether a Content-Disposition has what multer gets wrong by RFC 9110, section 5.6.6: it knows parameters in lower case
/// only, and finds them inside quoted strings too. What goes to Meta has neither.
fn misleads_multer(body: &[u8]) -> bool {
    body.split(|byte| *byte == b'\n').any(|line| {
        let line = String::from_utf8_lossy(line);
        let name_in = |text: &str| text.to_ascii_lowercase().contains("name");
        let is_disposition = line.to_ascii_lowercase().starts_with("content-disposition");
        is_disposition
            && (line.contains('\\')
                || line.split('"').skip(1).step_by(2).any(name_in)
                || line
                    .split('"')
                    .step_by(2)
                    .any(|text| name_in(&text.replace("name", ""))))
    })
}

/// If it is one of the forms that pass, what goes to Meta is that form and nothing else.
fn written_anew(boundary: &Boundary, body: &[u8], parts: &[WholePart]) {
    for kind in [FormKind::MEDIA, FormKind::FLOW_ASSET, FormKind::GROUP_PICTURE] {
        written_anew_as(kind, boundary, body, parts);
    }
}

fn written_anew_as(kind: &'static FormKind, boundary: &Boundary, body: &[u8], parts: &[WholePart]) {
    let form = UploadForm::new(kind, boundary, Full::new(Bytes::copy_from_slice(body)));
    let Ok(open) = run(form.read_head()) else { return };
    let wire = WireBoundary::random().expect("the system has randomness");
    let content_type = wire.content_type();
    let Some(written) = run(write(open, wire)) else {
        return;
    };
    let boundary = multer::parse_boundary(content_type.to_str().expect("ASCII")).expect("multer finds it");
    let seen = second_opinion(&boundary, &written);

    let file = parts.iter().find(|part| kind.is_file(&part.head.name));
    let fields = kind
        .fields()
        .iter()
        .filter_map(|field| parts.iter().find(|part| part.head.name == field.name()));
    let expected: Vec<_> = file
        .into_iter()
        .chain(fields)
        .map(|part| (part.head.name.clone(), part.content.clone()))
        .collect();
    let left_out = parts.iter().filter(|part| part.head.name == "typeFile").count();
    assert_eq!(expected.len() + left_out, parts.len());
    let seen: Vec<_> = seen
        .into_iter()
        .map(|part| (part.name.unwrap_or_default(), part.content))
        .collect();
    assert_eq!(seen, expected);
}

/// Writes the upload with every field as it came; `None` if that was refused, or its TTL is no number.
async fn write(open: OpenForm<Full<Bytes>>, wire: WireBoundary) -> Option<Vec<u8>> {
    let terms = FileTerms {
        max_file_bytes: u64::MAX,
        content_type: open.file().content_type.clone(),
        is_hashed: false,
    };
    let (mut body, verdict) = open.into_body(wire, terms, as_it_came);
    let mut written = Vec::new();
    while let Some(frame) = body.frame().await {
        written.extend_from_slice(&frame.ok()?.into_data().expect("no trailers"));
    }
    let outcome = verdict.ended().await.expect("it has ended");
    assert!(matches!(outcome, UploadOutcome::Written(_)));
    Some(written)
}

fn as_it_came(form: WholeForm<'_>) -> Result<FormFields, ()> {
    if let Some(text) = form.fields.get(FormField::TtlMinutes) {
        let minutes: u32 = text.parse().map_err(|_| ())?;
        (minutes.to_string() == text).then_some(()).ok_or(())?;
    }
    Ok(form.fields.clone())
}
