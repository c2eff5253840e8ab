//! What holds for every form and every way of cutting it into chunks.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame};
use http_body_util::BodyExt as _;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::subsequence;

use super::super::digest::{Hasher, Sha256};
use super::testing::{Broken, Part, Pieces, Seen, allow, form, open, rewrite, run, second_opinion};
use super::{
    AbortReason, Boundary, FileTerms, FormFields, FormKind, MultipartError, UploadForm, UploadOutcome,
    WholeForm, WireBoundary, parse_whole,
};

const BOUNDARY: &str = "bnd-9";
const DELIMITER: &[u8] = b"\r\n--bnd-9";

/// Content that keeps almost being a boundary, and never is one.
fn content() -> impl Strategy<Value = Vec<u8>> {
    let fragment = prop_oneof![
        vec(any::<u8>(), 0..40),
        (0..DELIMITER.len()).prop_map(|length| DELIMITER[..length].to_vec()),
        Just(b"--bnd-9".to_vec()),
        Just(b"--bnd-9--".to_vec()),
        Just(b"\n--bnd-9\r\n".to_vec()),
        Just(b"\r".to_vec()),
        Just(b"\r\n".to_vec()),
        Just(b"--".to_vec()),
        Just(b"\r\n--BND-9".to_vec()),
        Just(b"Content-Disposition: form-data; name=\"type\"\r\n\r\n".to_vec()),
    ];
    vec(fragment, 0..12).prop_map(|fragments| {
        let mut content = fragments.concat();
        while let Some(at) = memchr::memmem::find(&content, DELIMITER) {
            content.remove(at);
        }
        content
    })
}

/// A small field and its value; `ttl_minutes` is a number, so that it can be compared after writing.
fn fields() -> impl Strategy<Value = Vec<(&'static str, Vec<u8>)>> {
    let text = || "[a-z/ \r\n-]{0,30}".prop_map(String::into_bytes);
    (0_u32..100_000, vec(text(), 4)).prop_flat_map(|(ttl, texts)| {
        let all: Vec<(&'static str, Vec<u8>)> = ["messaging_product", "type", "use_case", "description"]
            .into_iter()
            .zip(texts)
            .chain([("ttl_minutes", ttl.to_string().into_bytes())])
            .collect();
        subsequence(all, 0..=5).prop_shuffle()
    })
}

/// A form: the fields before the file, the file's content, the fields behind it.
#[derive(Clone, Debug)]
struct Meant {
    fields: Vec<(&'static str, Vec<u8>)>,
    /// How many of the fields stand before the file.
    before: usize,
    content: Vec<u8>,
}

impl Meant {
    fn body(&self) -> Vec<u8> {
        let mut parts: Vec<Part<'_>> = self
            .fields
            .iter()
            .map(|(name, value)| Part::field(name, value))
            .collect();
        parts.insert(self.before, Part::file(&self.content));
        form(BOUNDARY, &parts)
    }

    /// In our own order of writing.
    fn seen(&self) -> Vec<Seen> {
        let file = Seen {
            file_name: Some("a.png".to_owned()),
            content_type: Some("image/png".to_owned()),
            ..Seen::field("file", &self.content)
        };
        let order = [
            "messaging_product",
            "type",
            "ttl_minutes",
            "use_case",
            "description",
        ];
        let written = order
            .iter()
            .filter_map(|name| self.fields.iter().find(|(field, _)| field == name));
        std::iter::once(file)
            .chain(written.map(|(name, value)| Seen::field(name, value)))
            .collect()
    }
}

fn meant() -> impl Strategy<Value = Meant> {
    (fields(), content(), any::<prop::sample::Index>()).prop_map(|(fields, content, before)| {
        let before = before.index(fields.len() + 1);
        Meant {
            fields,
            before,
            content,
        }
    })
}

fn cuts() -> impl Strategy<Value = Vec<usize>> {
    prop_oneof![
        Just(vec![1]),
        Just(vec![]),
        vec(1_usize..12, 1..8),
        vec(1_usize..200, 1..8)
    ]
}

/// A form that somebody tampered with: pieces taken out, put in, or doubled.
fn tampered() -> impl Strategy<Value = Vec<u8>> {
    let insertion = prop::sample::select(vec![
        &b"\r\n--bnd-9\r\n"[..],
        b"\r\n--bnd-9--\r\n",
        b"--bnd-9",
        b"\r\n",
        b"\n",
        b"\r",
        b" ",
        b"\"",
        b";",
        b"--",
        b"\\",
        b"; name=\"type\"",
        b"; name*=UTF-8''a",
        b"; filename=\"\\\"\"",
        b"Content-Type: text/plain\r\n",
        b"\0",
        b"\xff",
        b"X: 1\r\n",
        b"Content-Disposition: form-data; name=\"description\"\r\n",
        b"Content-Transfer-Encoding: base64\r\n",
    ]);
    let edit = (any::<prop::sample::Index>(), 0_usize..4, insertion);
    (meant(), vec(edit, 0..4)).prop_map(|(meant, edits)| {
        let mut body = meant.body();
        for (at, removed, inserted) in edits {
            let at = at.index(body.len() + 1);
            let end = (at + removed).min(body.len());
            body.splice(at..end, inserted.iter().copied());
        }
        body
    })
}

proptest! {
    #[test]
    fn what_comes_out_is_what_was_meant(meant in meant(), cuts in cuts()) {
        let out = run(async {
            rewrite(open(BOUNDARY, Pieces::cut(&meant.body(), &cuts)).await, u64::MAX, allow::<()>).await
        });
        let wire = std::str::from_utf8(&out.boundary.delimiter()[4..]).unwrap();
        let seen = run(second_opinion(wire, &out.bytes)).unwrap();
        prop_assert_eq!(seen, meant.seen());
        let UploadOutcome::Written(written) = out.outcome else { panic!("not written") };
        prop_assert_eq!(written.file_bytes, u64::try_from(meant.content.len()).unwrap());
    }

    #[test]
    fn a_refused_upload_ends_with_its_file_and_is_never_closed(meant in meant(), cuts in cuts()) {
        let refuse = |_: WholeForm<'_>| Err::<FormFields, _>(());
        let out = run(async { rewrite(open(BOUNDARY, Pieces::cut(&meant.body(), &cuts)).await, u64::MAX, refuse).await });
        let head_end = memchr::memmem::find(&out.bytes, b"\r\n\r\n").unwrap() + 4;
        prop_assert_eq!(&out.bytes[head_end..], &meant.content);
        prop_assert!(memchr::memmem::find(&out.bytes, out.boundary.delimiter()).is_none());
        prop_assert!(out.error.is_some());
        let UploadOutcome::Aborted(aborted) = out.outcome else { panic!("not aborted") };
        prop_assert!(matches!(aborted.reason, AbortReason::Refused(())));
    }

    #[test]
    fn a_cut_off_upload_is_never_closed(meant in meant(), cuts in cuts(), end in any::<prop::sample::Index>()) {
        let body = meant.body();
        // The very last CRLF may be missing.
        let end = end.index(body.len() - 1);
        prop_assume!(end != body.len() - 2);
        let boundary = Boundary::new(BOUNDARY).unwrap();
        let pieces = Pieces::cut(&body[..end], &cuts);
        let reason = run(async {
            match UploadForm::new(FormKind::MEDIA, &boundary, pieces).read_head().await {
                Err(stopped) => stopped.reason.to_string(),
                Ok(open) => {
                    let out = rewrite(open, u64::MAX, allow::<()>).await;
                    assert!(memchr::memmem::find(&out.bytes, out.boundary.delimiter()).is_none());
                    let UploadOutcome::Aborted(aborted) = out.outcome else { panic!("not aborted") };
                    aborted.reason.to_string()
                }
            }
        });
        prop_assert!(reason.contains("cut off"), "{}", reason);
    }

    #[test]
    fn chunks_make_no_difference(body in tampered(), cuts in vec(0_usize..50, 0..200)) {
        let boundary = Boundary::new(BOUNDARY).unwrap();
        let whole = parse_whole(&boundary, &body, &[]);
        prop_assert_eq!(&whole, &parse_whole(&boundary, &body, &vec![1; body.len()]));
        prop_assert_eq!(&whole, &parse_whole(&boundary, &body, &cuts));
    }

    #[test]
    fn what_we_take_a_second_parser_reads_alike(body in tampered()) {
        let boundary = Boundary::new(BOUNDARY).unwrap();
        if let Ok(parts) = parse_whole(&boundary, &body, &[]) {
            let ours: Vec<_> = parts.into_iter().map(|part| (Some(part.head.name), part.content)).collect();
            let theirs = run(second_opinion(BOUNDARY, &body)).unwrap();
            let theirs: Vec<_> = theirs.into_iter().map(|part| (part.name, part.content)).collect();
            prop_assert_eq!(ours, theirs);
        }
    }

    #[test]
    fn any_bytes_are_an_error_or_a_form(body in vec(any::<u8>(), 0..300), starts_well in any::<bool>()) {
        let start = if starts_well { &b"--bnd-9\r\n"[..] } else { b"" };
        let _: Result<_, MultipartError> = parse_whole(&Boundary::new(BOUNDARY).unwrap(), &[start, &body].concat(), &[]);
    }
}

/// An inbound body that is always ready: the head of a form, then one chunk again and again, then the end.
struct Endless {
    head: Option<Bytes>,
    chunk: Bytes,
    chunks: usize,
    tail: Option<Bytes>,
    pulled: usize,
}

impl Body for Endless {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let this = self.get_mut();
        let data = match this.head.take() {
            None if this.chunks > 0 => {
                this.chunks -= 1;
                this.pulled += 1;
                Some(this.chunk.clone())
            }
            None => this.tail.take(),
            head => head,
        };
        Poll::Ready(data.map(|data| Ok(Frame::data(data))))
    }
}

fn sha256(bytes: &[u8]) -> Sha256 {
    let mut hasher = Hasher::new();
    hasher.update(bytes);
    hasher.finish()
}

proptest! {
    #[test]
    fn the_judge_knows_the_digest_of_the_file_alone(meant in meant(), lengths in cuts()) {
        let pieces = Pieces::cut(&meant.body(), &lengths);
        let mut judged = None;
        run(async {
            rewrite(open(BOUNDARY, pieces).await, u64::MAX, |form| {
                judged = form.file_sha256;
                allow::<()>(form)
            })
            .await
        });
        prop_assert_eq!(judged, Some(sha256(&meant.content)));
    }

    #[test]
    fn only_the_body_that_was_announced_is_judged(
        meant in meant(),
        lengths in cuts(),
        changed in any::<Option<prop::sample::Index>>(),
    ) {
        let body = meant.body();
        let mut announced = body.clone();
        if let Some(changed) = changed {
            announced[changed.index(body.len())] ^= 1;
        }
        let boundary = Boundary::new(BOUNDARY).unwrap();
        let pieces = Pieces::cut(&body, &lengths);
        let mut is_judged = false;
        let out = run(async {
            let form = UploadForm::new(FormKind::MEDIA, &boundary, pieces).announced(Some(sha256(&announced)));
            let open = form.read_head().await.map_err(|stopped| stopped.reason).unwrap();
            rewrite(open, u64::MAX, |form| {
                is_judged = true;
                allow::<()>(form)
            })
            .await
        });
        prop_assert_eq!(is_judged, changed.is_none());
        let differs = matches!(
            out.outcome,
            UploadOutcome::Aborted(aborted)
                if matches!(aborted.reason, AbortReason::Form(MultipartError::DigestDiffers))
        );
        prop_assert_eq!(differs, changed.is_some());
        // Nothing follows the file, not even a line break.
        prop_assert!(changed.is_none() || out.bytes.ends_with(&meant.content));
    }
}

#[test]
fn memory_does_not_grow_with_the_file() {
    const CHUNK: usize = 256 * 1024;
    const CHUNKS: usize = 2048;
    // Each chunk ends in the beginning of a boundary, which has to be kept for the next one.
    let mut chunk = vec![b'x'; CHUNK];
    chunk[CHUNK - 5..].copy_from_slice(b"\r\n--b");
    let whole = form(BOUNDARY, &[Part::file(b"")]);
    let head_end = memchr::memmem::find(&whole, b"\r\n\r\n").unwrap() + 4;
    let inbound = Endless {
        head: Some(Bytes::copy_from_slice(&whole[..head_end])),
        chunk: Bytes::from(chunk),
        chunks: CHUNKS,
        tail: Some(Bytes::copy_from_slice(&whole[head_end..])),
        pulled: 0,
    };
    let boundary = Boundary::new(BOUNDARY).unwrap();
    run(async {
        let Ok(open) = UploadForm::new(FormKind::MEDIA, &boundary, inbound)
            .read_head()
            .await
        else {
            panic!("refused")
        };
        let terms = FileTerms {
            max_file_bytes: u64::MAX,
            content_type: None,
            is_hashed: false,
        };
        let (mut body, verdict) = open.into_body(WireBoundary::random().unwrap(), terms, allow::<()>);
        let (mut sent, mut most_held) = (0, 0);
        while let Some(frame) = body.frame().await {
            sent += frame.unwrap().into_data().unwrap().len();
            most_held = most_held.max(body.held());
            // What was pulled and neither sent on nor held would be kept somewhere else.
            assert!(body.inbound().map_or(0, |inbound| inbound.pulled) * CHUNK <= sent + body.held());
        }
        assert!(sent > CHUNKS * CHUNK);
        assert!(most_held <= CHUNK + DELIMITER.len() + 4, "{most_held}");
        let Some(UploadOutcome::Written(written)) = verdict.ended().await else {
            panic!("not written")
        };
        assert_eq!(written.file_bytes, u64::try_from(CHUNKS * CHUNK).unwrap());
    });
}
