//! What fuzzing found worth keeping, replayed: the gateway and a second parser read every input of `fuzz/corpus` alike.
#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test fails by panicking, and shows on which input"
)]

use std::path::Path;

#[path = "../fuzz/oracles/mod.rs"]
mod oracles;

/// Runs every input of a corpus, and asserts that some are taken and some refused: otherwise it tests one side alone.
fn replay(target: &str, check: fn(&[u8]) -> bool) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/corpus")
        .join(target);
    let (mut taken, mut refused) = (0, 0);
    for entry in std::fs::read_dir(&folder).expect("the corpus is there") {
        let file = entry.expect("the corpus can be listed").path();
        let input = std::fs::read(&file).expect("an input can be read");
        // Shown if the check panics.
        println!("{}", file.display());
        if check(&input) {
            taken += 1;
        } else {
            refused += 1;
        }
    }
    assert!(taken > 0 && refused > 0, "{taken} taken, {refused} refused");
}

#[test]
fn heads_mean_the_same_to_httparse() {
    replay("head", oracles::head::check);
}

#[test]
fn messages_name_the_same_media_to_a_reader_of_trees() {
    replay("message", oracles::message::check);
}

#[test]
fn forms_mean_the_same_to_multer() {
    replay("multipart", oracles::multipart::check);
}

#[test]
fn targets_mean_the_same_to_the_url_standard() {
    replay("path", oracles::path::check);
}

#[test]
fn settings_say_the_same_to_a_reader_of_trees() {
    replay("settings", oracles::settings::check);
}
