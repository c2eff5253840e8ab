//! Raw HTTP/1 requests that must not be understood, each with the one answer that is right.
//!
//! Many of them are accepted by stock parsers, each in its own way: that is what request smuggling lives on.

mod bodies;
mod fields;
mod framing;
mod request_lines;

/// One request that the front door refuses.
pub(crate) struct Refused {
    pub(crate) name: &'static str,
    pub(crate) raw: &'static [u8],
    pub(crate) status: u16,
    pub(crate) slug: &'static str,
}

/// All rows. What follows a request in the same bytes is part of the attack: it must not be read as a request.
pub(crate) fn refused() -> impl Iterator<Item = &'static Refused> {
    request_lines::CASES
        .iter()
        .chain(fields::CASES)
        .chain(framing::CASES)
        .chain(bodies::CASES)
}

/// A row whose status is 400.
const fn bad(name: &'static str, slug: &'static str, raw: &'static [u8]) -> Refused {
    refused_with(name, 400, slug, raw)
}

const fn refused_with(name: &'static str, status: u16, slug: &'static str, raw: &'static [u8]) -> Refused {
    Refused {
        name,
        raw,
        status,
        slug,
    }
}
