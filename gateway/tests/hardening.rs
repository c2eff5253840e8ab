//! Promise: the process keeps its memory to itself. Read from the kernel's own account, so on Linux only.
#![cfg(target_os = "linux")]
#![allow(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use common::process::Program;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_of_its_memory_can_be_dumped_or_swapped() {
    let folder = tempfile::tempdir().expect("a folder");
    let free = ["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];
    let mut program = Program::start(folder.path(), &[&["sandbox", "--json"], &free[..]].concat());
    program.out_line().await;
    let of = |file: &str| fs::read_to_string(format!("/proc/{}/{file}", program.id())).expect("it runs");

    let limits = of("limits");
    let core = limits.lines().find(|line| line.starts_with("Max core file size"));
    let figures: Vec<_> = core
        .expect("a limit on cores")
        .split_whitespace()
        .skip(4)
        .take(2)
        .collect();
    assert_eq!(figures, ["0", "0"]);

    // A process that is not dumpable hands its files in `/proc` to root, and nobody else may attach to it.
    let memory = fs::metadata(format!("/proc/{}/mem", program.id())).expect("it runs");
    assert_eq!(memory.uid(), 0);

    let status = of("status");
    let kib = |field: &str| {
        let line = status
            .lines()
            .find(|line| line.starts_with(field))
            .expect("the field is there");
        line.split_whitespace()
            .nth(1)
            .and_then(|kib| kib.parse::<u64>().ok())
            .expect("a figure in kB")
    };
    assert_eq!(kib("VmSwap"), 0);
    if kib("VmLck") == 0 {
        program.log_line("memory is not locked").await;
    }
}
