//! Forms as published HTTP clients write them: each was recorded from the client named, with made-up content.

use super::testing::{Pieces, Seen, allow, rewrite, run, second_opinion};
use super::{Boundary, FormKind, UploadForm, UploadOutcome, boundary_of, parse_whole};

const CONTENT: &[u8] = b"\x89PNG\r\n--x\r\n";

/// What a client sent, and what was meant by it.
struct Recorded {
    content_type: &'static str,
    body: &'static [u8],
    file_name: &'static str,
    file_type: &'static str,
    /// Fields in the order of our own writing.
    fields: &'static [(&'static str, &'static str)],
}

/// Sends it through the whole rewriting, in one piece and byte for byte.
fn assert_reads(recorded: &Recorded) {
    let boundary = boundary_of(&recorded.content_type.parse().unwrap()).unwrap();
    for lengths in [vec![], vec![1]] {
        let seen = run(async {
            let inbound = Pieces::cut(recorded.body, &lengths);
            let open = UploadForm::new(FormKind::MEDIA, &boundary, inbound)
                .read_head()
                .await
                .map_err(|stopped| stopped.reason)
                .unwrap();
            let out = rewrite(open, 1000, allow::<()>).await;
            assert!(matches!(out.outcome, UploadOutcome::Written(_)));
            second_opinion(
                std::str::from_utf8(&out.boundary.delimiter()[4..]).unwrap(),
                &out.bytes,
            )
            .await
            .unwrap()
        });
        let file = Seen {
            name: Some("file".to_owned()),
            file_name: Some(recorded.file_name.to_owned()),
            content_type: Some(recorded.file_type.to_owned()),
            content: CONTENT.to_vec(),
        };
        let fields = recorded
            .fields
            .iter()
            .map(|(name, value)| Seen::field(name, value.as_bytes()));
        let expected: Vec<Seen> = std::iter::once(file).chain(fields).collect();
        assert_eq!(seen, expected);
    }
}

#[test]
fn python_requests() {
    assert_reads(&Recorded {
        content_type: "multipart/form-data; boundary=9a15c02595b8aec80c3c9eb1d33cff62",
        body: b"--9a15c02595b8aec80c3c9eb1d33cff62\r\n\
            Content-Disposition: form-data; name=\"messaging_product\"\r\n\r\nwhatsapp\r\n\
            --9a15c02595b8aec80c3c9eb1d33cff62\r\n\
            Content-Disposition: form-data; name=\"type\"\r\n\r\nimage/png\r\n\
            --9a15c02595b8aec80c3c9eb1d33cff62\r\n\
            Content-Disposition: form-data; name=\"ttl_minutes\"\r\n\r\n120\r\n\
            --9a15c02595b8aec80c3c9eb1d33cff62\r\n\
            Content-Disposition: form-data; name=\"file\"; filename=\"\xc3\x9cbersicht %22x%22.png\"\r\n\
            Content-Type: image/png\r\n\r\n\x89PNG\r\n--x\r\n\r\n\
            --9a15c02595b8aec80c3c9eb1d33cff62--\r\n",
        file_name: "_bersicht _x_.png",
        file_type: "image/png",
        fields: &[
            ("messaging_product", "whatsapp"),
            ("type", "image/png"),
            ("ttl_minutes", "120"),
        ],
    });
}

#[test]
fn python_httpx_with_the_file_first() {
    assert_reads(&Recorded {
        content_type: "multipart/form-data; boundary=c4f5b3bb350bf921c364609df170d152",
        body: b"--c4f5b3bb350bf921c364609df170d152\r\n\
            Content-Disposition: form-data; name=\"file\"; filename=\"a.png\"\r\n\
            Content-Type: image/png\r\n\r\n\x89PNG\r\n--x\r\n\r\n\
            --c4f5b3bb350bf921c364609df170d152\r\n\
            Content-Disposition: form-data; name=\"messaging_product\"\r\n\r\nwhatsapp\r\n\
            --c4f5b3bb350bf921c364609df170d152\r\n\
            Content-Disposition: form-data; name=\"type\"\r\n\r\nimage/png\r\n\
            --c4f5b3bb350bf921c364609df170d152\r\n\
            Content-Disposition: form-data; name=\"ttl_minutes\"\r\n\r\n120\r\n\
            --c4f5b3bb350bf921c364609df170d152--\r\n",
        file_name: "a.png",
        file_type: "image/png",
        fields: &[
            ("messaging_product", "whatsapp"),
            ("type", "image/png"),
            ("ttl_minutes", "120"),
        ],
    });
}

#[test]
fn python_aiohttp_with_content_type_before_content_disposition() {
    assert_reads(&Recorded {
        content_type: "multipart/form-data; boundary=86393c2a749348ffa8a60a7aa8cd390d",
        body: b"--86393c2a749348ffa8a60a7aa8cd390d\r\n\
            Content-Type: text/plain; charset=utf-8\r\n\
            Content-Disposition: form-data; name=\"messaging_product\"\r\n\r\nwhatsapp\r\n\
            --86393c2a749348ffa8a60a7aa8cd390d\r\n\
            Content-Type: image/png\r\n\
            Content-Disposition: form-data; name=\"file\"; filename=\"%C3%9C%20b.png\"\r\n\r\n\
            \x89PNG\r\n--x\r\n\r\n\
            --86393c2a749348ffa8a60a7aa8cd390d\r\n\
            Content-Type: text/plain; charset=utf-8\r\n\
            Content-Disposition: form-data; name=\"ttl_minutes\"\r\n\r\n120\r\n\
            --86393c2a749348ffa8a60a7aa8cd390d--\r\n",
        file_name: "_C3_9C_20b.png",
        file_type: "image/png",
        fields: &[("messaging_product", "whatsapp"), ("ttl_minutes", "120")],
    });
}

#[test]
fn node_undici_form_data() {
    assert_reads(&Recorded {
        content_type: "multipart/form-data; boundary=----formdata-undici-006964977459",
        body: b"------formdata-undici-006964977459\r\n\
            Content-Disposition: form-data; name=\"messaging_product\"\r\n\r\nwhatsapp\r\n\
            ------formdata-undici-006964977459\r\n\
            Content-Disposition: form-data; name=\"type\"\r\n\r\nimage/png\r\n\
            ------formdata-undici-006964977459\r\n\
            Content-Disposition: form-data; name=\"file\"; filename=\"\xc3\x9c %22b%22.png\"\r\n\
            Content-Type: image/png\r\n\r\n\x89PNG\r\n--x\r\n\r\n\
            ------formdata-undici-006964977459--\r\n",
        file_name: "_ _b_.png",
        file_type: "image/png",
        fields: &[("messaging_product", "whatsapp"), ("type", "image/png")],
    });
}

#[test]
fn node_undici_lone_blob_without_a_last_crlf() {
    assert_reads(&Recorded {
        content_type: "multipart/form-data; boundary=----formdata-undici-050779288135",
        body: b"------formdata-undici-050779288135\r\n\
            Content-Disposition: form-data; name=\"file\"; filename=\"blob\"\r\n\
            Content-Type: application/octet-stream\r\n\r\n\x89PNG\r\n--x\r\n\r\n\
            ------formdata-undici-050779288135--",
        file_name: "blob",
        file_type: "application/octet-stream",
        fields: &[],
    });
}

#[test]
fn curl() {
    assert_reads(&Recorded {
        content_type: "multipart/form-data; boundary=------------------------650f966ff673c43c",
        body: b"--------------------------650f966ff673c43c\r\n\
            Content-Disposition: form-data; name=\"file\"; filename=\"q%22q.png\"\r\n\
            Content-Type: image/png\r\n\r\n\x89PNG\r\n--x\r\n\r\n\
            --------------------------650f966ff673c43c\r\n\
            Content-Disposition: form-data; name=\"type\"\r\n\
            Content-Type: text/plain\r\n\r\nimage/png\r\n\
            --------------------------650f966ff673c43c--\r\n",
        file_name: "q_q.png",
        file_type: "image/png",
        fields: &[("type", "image/png")],
    });
}

#[test]
fn go_mime_multipart() {
    assert_reads(&Recorded {
        content_type: "multipart/form-data; boundary=73de6b1b544545b9326833b82bc0b587b15162471cc5c8a1b6b10af72454",
        body: b"--73de6b1b544545b9326833b82bc0b587b15162471cc5c8a1b6b10af72454\r\n\
            Content-Disposition: form-data; name=\"file\"; filename=\"a \\\"b\\\\c.png\"\r\n\
            Content-Type: application/octet-stream\r\n\r\n\x89PNG\r\n--x\r\n\r\n\
            --73de6b1b544545b9326833b82bc0b587b15162471cc5c8a1b6b10af72454\r\n\
            Content-Disposition: form-data; name=\"messaging_product\"\r\n\r\nwhatsapp\r\n\
            --73de6b1b544545b9326833b82bc0b587b15162471cc5c8a1b6b10af72454\r\n\
            Content-Disposition: form-data; name=\"ttl_minutes\"\r\n\r\n120\r\n\
            --73de6b1b544545b9326833b82bc0b587b15162471cc5c8a1b6b10af72454\r\n\
            Content-Disposition: form-data; name=\"type\"\r\n\
            Content-Type: text/plain; charset=utf-8\r\n\r\nimage/png\r\n\
            --73de6b1b544545b9326833b82bc0b587b15162471cc5c8a1b6b10af72454--\r\n",
        file_name: "c.png",
        file_type: "application/octet-stream",
        fields: &[
            ("messaging_product", "whatsapp"),
            ("type", "image/png"),
            ("ttl_minutes", "120"),
        ],
    });
}

/// Not recorded: written after the documented behaviour of clients that put tokens where others put quoted strings,
/// quote the boundary, and give each part its length.
#[test]
fn unquoted_names_a_quoted_boundary_and_part_lengths() {
    assert_reads(&Recorded {
        content_type: "multipart/form-data; boundary=\"a8c1 (x)\"",
        body: b"--a8c1 (x)\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 8\r\n\
            Content-Disposition: form-data; name=messaging_product\r\n\r\nwhatsapp\r\n\
            --a8c1 (x)\r\nContent-Type: image/png\r\nContent-Transfer-Encoding: binary\r\nContent-Length: 12\r\n\
            Content-Disposition: form-data; name=file; filename=a.png; filename*=utf-8''a.png\r\n\r\n\
            \x89PNG\r\n--x\r\n\r\n--a8c1 (x)--\r\n",
        file_name: "a.png",
        file_type: "image/png",
        fields: &[("messaging_product", "whatsapp")],
    });
}

/// What a lenient parser makes something of, and we do not.
#[test]
fn what_a_lenient_parser_takes_is_refused() {
    let disposition = "Content-Disposition: form-data; name=\"file\"";
    let field = "Content-Disposition: form-data; name=\"ttl_minutes\"";
    for (body, slug) in [
        (
            format!("preamble\r\n--b\r\n{disposition}\r\n\r\nx\r\n--b--\r\n"),
            "form_preamble",
        ),
        (
            format!("\r\n--b\r\n{disposition}\r\n\r\nx\r\n--b--\r\n"),
            "form_preamble",
        ),
        (
            format!("--b\r\n{disposition}\r\n\r\nx\r\n--b--\r\nepilogue"),
            "form_epilogue",
        ),
        (
            format!("--b\r\n{disposition}; name=\"type\"\r\n\r\nx\r\n--b--\r\n"),
            "form_disposition_twice",
        ),
        (
            format!("--b\r\n{disposition}; name*=UTF-8''type\r\n\r\nx\r\n--b--\r\n"),
            "form_disposition_parameter",
        ),
        (
            format!("--b\r\n{field}\r\nContent-Transfer-Encoding: base64\r\n\r\nNjA=\r\n--b--\r\n"),
            "form_transfer_encoding",
        ),
    ] {
        let lenient = run(second_opinion("b", body.as_bytes()));
        assert!(lenient.is_ok(), "{body}");
        let strict = parse_whole(&Boundary::new("b").unwrap(), body.as_bytes(), &[]);
        assert_eq!(strict.map_err(|error| error.slug()), Err(slug), "{body}");
    }
}
