//! Secrets: `curfew.toml` says where they are, never what they are.

use std::io;
use std::path::Path;

use super::document::{Entry, Report};
use super::file::{self, Unreadable};

/// How the environment is looked up: the process's own, or a test's.
pub type Environment<'a> = &'a dyn Fn(&str) -> Result<String, std::env::VarError>;

/// The most that a secret may have, in bytes: it must fit into a request's head.
const MOST: u64 = 8 * 1024;

/// The longest name of an environment variable that is shown.
const SHOWN_NAME: usize = 64;

/// The process's environment.
///
/// # Errors
///
/// When there is no variable `name`, or when it is not UTF-8.
#[expect(
    clippy::disallowed_methods,
    reason = "the one place where the environment is read"
)]
pub(super) fn process_environment(name: &str) -> Result<String, std::env::VarError> {
    std::env::var(name)
}

/// Reads the secret that `entry` refers to by `{ env = "NAME" }` or `{ file = "PATH" }`.
///
/// One newline at its end is dropped, because editors and `echo` put it there. What is left must be visible ASCII: a
/// token goes into a header, and an app secret has nothing else either.
pub(super) fn read(
    entry: Entry<'_>,
    directory: &Path,
    environment: Environment<'_>,
    report: &mut Report<'_>,
) -> Option<String> {
    if entry.as_text().is_some() {
        report.add(
            entry.place(),
            "must not be written here: refer to it, as { env = \"NAME\" } or { file = \"PATH\" }",
        );
        return None;
    }
    let mut table = entry.table(report)?;
    let (variable, path) = (table.take("env"), table.take("file"));
    let place = table.place().clone();
    table.finish(report);
    match (variable, path) {
        (Some(variable), None) => {
            let name = variable.text(report)?;
            let what = if may_be_shown(name) {
                format!("the environment variable {name}")
            } else {
                "the environment variable that this names".to_owned()
            };
            let read = environment(name).map_err(|error| match error {
                std::env::VarError::NotPresent => "is not set",
                std::env::VarError::NotUnicode(_) => "is not UTF-8",
            });
            read.and_then(clean)
                .map_err(|why| report.add(variable.place(), format!("{what} {why}")))
                .ok()
        }
        (None, Some(path)) => {
            let read = file::text(&path.path(directory, report)?, MOST);
            // The path is not shown: where a secret was pasted in its place, that would show the secret.
            let (what, where_to) = ("the file that this names", directory_name(directory));
            let cleaned = match read {
                Ok(text) => clean(text).map_err(|why| format!("{what} {why}")),
                Err(Unreadable::Io(error)) if error.kind() == io::ErrorKind::NotFound => Err(format!(
                    "{what} is not there; a relative path starts from {where_to}"
                )),
                Err(why) => Err(format!("{what} {why}")),
            };
            cleaned.map_err(|message| report.add(path.place(), message)).ok()
        }
        (None, None) | (Some(_), Some(_)) => {
            report.add(
                &place,
                "must have exactly one of env and file: { env = \"NAME\" } or { file = \"PATH\" }",
            );
            None
        }
    }
}

/// Drops one newline from the end; says what is wrong with the rest.
fn clean(mut text: String) -> Result<String, &'static str> {
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    if text.is_empty() {
        return Err("is empty");
    }
    if u64::try_from(text.len()).is_ok_and(|length| length > MOST) {
        return Err("is too long: a request's head must have room for it");
    }
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(
            "holds something that no secret of Meta's has: expected letters, digits and signs, no space, \
                    no second line",
        );
    }
    Ok(text)
}

/// Whether `name` looks like the name of an environment variable and not like a secret.
///
/// Graph tokens mix cases and app secrets are lower case, so neither passes for a name in the upper case of POSIX.
fn may_be_shown(name: &str) -> bool {
    name.len() <= SHOWN_NAME
        && name.starts_with(|first: char| first.is_ascii_uppercase() || first == '_')
        && name
            .bytes()
            .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_')
}

fn directory_name(directory: &Path) -> String {
    if directory.as_os_str().is_empty() {
        "the current directory".to_owned()
    } else {
        directory.display().to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_newline_at_the_end_is_not_part_of_a_secret() {
        for (text, secret) in [
            ("EAAGtoken", Ok("EAAGtoken")),
            ("EAAGtoken\n", Ok("EAAGtoken")),
            ("EAAGtoken\r\n", Ok("EAAGtoken")),
        ] {
            assert_eq!(
                clean(text.to_owned()).as_deref(),
                secret.as_ref().map(|s| *s),
                "{text:?}"
            );
        }
        for text in [
            "",
            "\n",
            "\r\n",
            "two words",
            "EAAG\n\n",
            " EAAG",
            "EAAG\t",
            "tökén",
            "a\nb",
        ] {
            assert!(clean(text.to_owned()).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_secret_does_not_pass_for_the_name_of_a_variable() {
        for (name, shown) in [
            ("CURFEW_GRAPH_TOKEN", true),
            ("_X2", true),
            ("", false),
            ("2X", false),
            ("EAAGm0PX4ZCps", false),
            ("0123456789abcdef0123456789abcdef", false),
        ] {
            assert_eq!(may_be_shown(name), shown, "{name:?}");
        }
        assert!(!may_be_shown(&"A".repeat(65)));
    }
}
