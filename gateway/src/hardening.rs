//! Keeps the process's memory to itself: no core dump, nobody attached, nothing swapped out where the system allows.
//!
//! Content lives only in memory, for as long as it must; what would carry memory elsewhere is switched off at the start.
//! What cannot be switched off is told, not ignored.

/// What could not be had, in words for the operator's log.
pub type Warnings = Vec<&'static str>;

/// Switches off core dumps and debuggers for this process, and locks its memory if it may. To be called once, first thing.
///
/// Memory is locked only where the limit on it cannot be met later (root, `CAP_IPC_LOCK`, or `RLIMIT_MEMLOCK` unlimited): with
/// a small limit every allocation beyond it would fail.
#[cfg(target_os = "linux")]
#[must_use]
pub fn harden() -> Warnings {
    use rustix::mm::{MlockAllFlags, mlockall};
    use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

    let mut warnings = Warnings::new();
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    if setrlimit(Resource::Core, none).is_err() {
        warnings.push("core dumps could not be switched off (RLIMIT_CORE)");
    }
    if set_dumpable_behavior(DumpableBehavior::NotDumpable).is_err() {
        warnings.push("debuggers could not be kept off (PR_SET_DUMPABLE)");
    }
    let locked = may_lock_all()
        && mlockall(MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT).is_ok();
    if !locked {
        warnings.push(
            "memory is not locked, so content could be swapped out: give CAP_IPC_LOCK or an unlimited RLIMIT_MEMLOCK, or \
             switch swap off",
        );
    }
    warnings
}

#[cfg(target_os = "linux")]
fn may_lock_all() -> bool {
    use rustix::process::{Resource, getrlimit};
    use rustix::thread::{CapabilitySet, capabilities};

    let by_capability = capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::IPC_LOCK));
    by_capability || getrlimit(Resource::Memlock).current.is_none()
}

/// Elsewhere than on Linux none of it is known how to do.
#[cfg(not(target_os = "linux"))]
#[must_use]
pub fn harden() -> Warnings {
    vec!["this system's core dumps, debuggers and swap are not switched off: run on Linux to have them so"]
}
