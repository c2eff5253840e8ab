//! Which name a key may be read as.
//!
//! It is not documented how Graph reads keys, so a key counts as every name that some reader is known to make of it: PHP
//! splits at brackets, turns blanks and dots into underscores and takes a NUL for an end; others split at dots, trim, drop
//! what is invisible, or pass over letter case.

/// Whether `key` names one of `names`, which are lower case: as a whole, or by its first part.
#[must_use]
pub fn names_parameter(key: &str, names: &[&str]) -> bool {
    is_one_of(key, names) || !is_plain(key) && parts(key).next().is_some_and(|part| is_one_of(part, names))
}

/// Whether `key` names one of `names` as a whole or by any part, as `template[components][0]` and `image.id` do.
pub(crate) fn part_names(key: &str, names: &[&str]) -> bool {
    is_one_of(key, names) || !is_plain(key) && parts(key).any(|part| is_one_of(part, names))
}

/// Whether `key` can only be read as it is written, but for letter case.
pub(crate) fn is_plain(key: &str) -> bool {
    key.bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn parts(key: &str) -> impl Iterator<Item = &str> {
    key.split(['[', ']', '.', '\0'])
        .filter(|part| !part.trim_matches(is_filler).is_empty())
}

fn is_one_of(part: &str, names: &[&str]) -> bool {
    if is_plain(part) {
        return names.iter().any(|name| name.eq_ignore_ascii_case(part));
    }
    let read = || {
        part.trim_matches(is_filler)
            .chars()
            .filter(|c| !is_invisible(*c))
            .map(|c| match c {
                '.' => '_',
                c if c.is_whitespace() => '_',
                c => c.to_ascii_lowercase(),
            })
    };
    names.iter().any(|name| read().eq(name.chars()))
}

/// What may stand round a name without being of it.
fn is_filler(c: char) -> bool {
    c.is_whitespace() || is_invisible(c) || matches!(c, '[' | ']' | '.')
}

/// Control characters, soft hyphens, zero-width characters, marks of direction and of byte order.
fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2064}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reading_of_a_key_counts() {
        for key in [
            "storage_configuration",
            "Storage_Configuration",
            " storage_configuration\t",
            "storage configuration",
            "storage.configuration",
            "[storage_configuration]",
            "storage_configuration[status]",
            "storage_configuration.status",
            "storage_configuration\0x",
            "storage\0_configuration",
            "storage_con\u{200b}figuration",
            "\u{feff}storage_configuration",
        ] {
            assert!(names_parameter(key, &["x", "storage_configuration"]), "{key:?}");
            assert!(part_names(key, &["storage_configuration"]), "{key:?}");
        }
        for key in [
            "",
            "[]",
            ".",
            "storage",
            "storageconfiguration",
            "my_storage_configuration",
            "é",
        ] {
            assert!(!part_names(key, &["storage_configuration"]), "{key:?}");
        }
        for key in ["a[storage_configuration]", "a.storage_configuration"] {
            assert!(!names_parameter(key, &["storage_configuration"]), "{key:?}");
            assert!(part_names(key, &["storage_configuration"]), "{key:?}");
        }
    }
}
