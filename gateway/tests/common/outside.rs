//! Programs from outside Cargo that a test needs: found, or said to be missing.

use std::env;
use std::ffi::OsString;
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// With the value `all`, a test whose program is missing fails.
const REQUIRE: &str = "CURFEW_TEST_REQUIRE";

/// Where `name` is: what the variable says, or else the first such file in `PATH`.
///
/// `None` where it is missing, after one line that says so and how it is had; the test then has to return.
pub fn program(variable: &str, name: &str, how_to_get_it: &str) -> Option<PathBuf> {
    let found = match env::var_os(variable) {
        Some(path) => Some(PathBuf::from(path)).filter(|path| path.is_file()),
        None => in_path(name, &env::var_os("PATH").unwrap_or_default()),
    };
    if found.is_none() {
        missing(&format!(
            "{name} (in PATH, or where {variable} says): {how_to_get_it}"
        ));
    }
    found
}

/// Says in one line that something is missing; fails where nothing may be.
pub fn missing(what: &str) {
    assert_ne!(
        env::var_os(REQUIRE),
        Some(OsString::from("all")),
        "missing: {what}"
    );
    // Past the test harness, which shows the output of a passed test to nobody.
    let _ = writeln!(std::io::stderr(), "skipped, missing: {what}");
}

fn in_path(name: &str, path: &OsString) -> Option<PathBuf> {
    env::split_paths(path)
        .map(|folder: PathBuf| Path::new(&folder).join(name))
        .find(|file| file.is_file())
}
