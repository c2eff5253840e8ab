//! When a person or a supervisor asks the process to end.

/// Completes at SIGTERM or SIGINT. Where signals cannot be heard, it never does.
///
/// It listens from the call on: whoever was told that the process is up may ask it to end at once.
#[cfg(unix)]
pub(super) fn told_to_end() -> impl Future<Output = ()> {
    use tokio::signal::unix::{SignalKind, signal};
    let terminate = signal(SignalKind::terminate());
    let interrupt = signal(SignalKind::interrupt());
    async {
        match (terminate, interrupt) {
            (Ok(mut terminate), Ok(mut interrupt)) => {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
            }
            _ => std::future::pending().await,
        }
    }
}

/// Completes at Ctrl-C. Where it cannot be heard, it never does.
#[cfg(not(unix))]
pub(super) async fn told_to_end() {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending().await
    }
}
