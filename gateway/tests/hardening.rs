//! Promise: the process keeps its memory to itself. Read from the kernel's own account, so on Linux only.
#![cfg(target_os = "linux")]

mod common;

use std::fs;

use common::process::Process;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_of_its_memory_can_be_dumped_or_swapped() {
    let gateway = Process::run(common::PASS_THROUGH, &[]).await;
    let limits = fs::read_to_string(format!("/proc/{}/limits", gateway.id())).expect("limits");
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).expect("a limit on cores");
    assert_eq!(core.split_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"], "{core}");
    assert_eq!(gateway.kib("VmSwap"), 0);
    // A process that is not dumpable hands its `/proc` files to root.
    use std::os::unix::fs::MetadataExt as _;
    let owner = fs::metadata(format!("/proc/{}/mem", gateway.id())).expect("the process runs").uid();
    assert_eq!(owner, 0);
    let told = gateway.log().iter().any(|line| line.contains("memory is not locked"));
    assert!(gateway.kib("VmLck") > 0 || told, "memory is neither locked nor is it said that it is not");
}
