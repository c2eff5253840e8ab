//! Multipart forms, part by part.

use bytes::Bytes;

const BOUNDARY: &str = "----a-callers-boundary";

/// The smallest PNG that there is.
pub const PNG: &[u8] = &[
    0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a, 0x00, 0x00, 0x00, 0x0d, 0x49, 0x48, 0x44, 0x52, 0x00,
    0x00, 0x00, 0x01, 0x00, 0x00, 0x00, 0x01, 0x08, 0x06, 0x00, 0x00, 0x00, 0x1f, 0x15, 0xc4, 0x89, 0x00,
    0x00, 0x00, 0x0d, 0x49, 0x44, 0x41, 0x54, 0x78, 0xda, 0x63, 0x64, 0xf8, 0xcf, 0x50, 0x0f, 0x00, 0x03,
    0x86, 0x01, 0x80, 0x5a, 0x34, 0x7d, 0x6b, 0x00, 0x00, 0x00, 0x00, 0x49, 0x45, 0x4e, 0x44, 0xae, 0x42,
    0x60, 0x82,
];

/// A form that is being written.
#[derive(Clone, Default)]
pub struct Form {
    parts: Vec<Vec<u8>>,
}

impl Form {
    pub fn new() -> Self {
        Self::default()
    }

    /// A small PNG, and nothing beside it but what must be.
    pub fn image() -> Self {
        Self::new()
            .field("messaging_product", "whatsapp")
            .file("image/png", PNG)
    }

    pub fn field(self, name: &str, value: &str) -> Self {
        self.raw(
            &format!("Content-Disposition: form-data; name=\"{name}\""),
            value.as_bytes(),
        )
    }

    pub fn file(self, mime: &str, bytes: &[u8]) -> Self {
        let headers = format!(
            "Content-Disposition: form-data; name=\"file\"; filename=\"a.bin\"\r\nContent-Type: {mime}"
        );
        self.raw(&headers, bytes)
    }

    /// A part with these header lines.
    pub fn raw(mut self, headers: &str, content: &[u8]) -> Self {
        let mut part = format!("{headers}\r\n\r\n").into_bytes();
        part.extend_from_slice(content);
        self.parts.push(part);
        self
    }

    pub fn content_type(&self) -> String {
        format!("multipart/form-data; boundary={BOUNDARY}")
    }

    pub fn bytes(&self) -> Bytes {
        let mut bytes = Vec::new();
        for part in &self.parts {
            bytes.extend_from_slice(format!("--{BOUNDARY}\r\n").as_bytes());
            bytes.extend_from_slice(part);
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(format!("--{BOUNDARY}--\r\n").as_bytes());
        Bytes::from(bytes)
    }
}
