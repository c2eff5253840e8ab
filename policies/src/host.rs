//! Host names, in the one spelling that every URL parser takes for a name and never for an address.

/// Whether `text` is a plain DNS host name: labels of 1 to 63 ASCII letters, digits and hyphens (none first or last),
/// joined by single dots, 253 characters at most, the last label beginning with a letter.
///
/// The last condition keeps out IPv4 addresses in all their spellings (`127.1`, `2130706433`, `0x7f.1`).
/// Source: RFC 1123 §2.1; WHATWG URL, "ends in a number" checker.
pub(crate) fn is_host_name(text: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let last_is_a_name = text
        .rsplit('.')
        .next()
        .is_some_and(|label| label.starts_with(|c: char| c.is_ascii_alphabetic()));
    text.len() <= 253 && last_is_a_name && text.split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use super::is_host_name;

    #[test]
    fn a_host_name_is_a_name_and_nothing_else() {
        let label = "a".repeat(63);
        let longest = format!("{label}.{label}.{label}.{}", "b".repeat(61));
        for name in [
            "cdn.bank.example",
            "CDN.Bank.Example",
            "localhost",
            "a-1.xn--p1ai",
            "1.2.3.x4",
            &longest,
        ] {
            assert!(is_host_name(name), "{name}");
        }
        for other in [
            "",
            ".",
            "cdn.bank.example.",
            ".cdn.example",
            "a..b",
            "-a.example",
            "a-.example",
            "*.example",
            "a_b.example",
            "a b.example",
            "cdn.example:443",
            "https://cdn.example",
            "cdn.example/",
            "user@cdn.example",
            "127.0.0.1",
            "127.1",
            "2130706433",
            "0177.0.0.1",
            "1.0x7f",
            "[::1]",
            "cdn。example",
            "ｃdn.example",
            "cdn.exämple",
            &format!("{label}a.example"),
            &format!("{longest}b"),
        ] {
            assert!(!is_host_name(other), "{other:?}");
        }
    }
}
