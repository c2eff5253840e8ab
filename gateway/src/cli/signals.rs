//! What a person or a supervisor asks of the process.

use std::convert::Infallible;

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

/// Calls `reload` at each SIGHUP, one after the other. Where signals cannot be heard, never.
///
/// It listens from the call on: without, the system would end the process.
#[cfg(unix)]
pub(super) fn at_each_reload<F: Future<Output = ()>>(
    reload: impl Fn() -> F,
) -> impl Future<Output = Infallible> {
    use tokio::signal::unix::{SignalKind, signal};
    let hang_up = signal(SignalKind::hangup());
    async move {
        if let Ok(mut hang_up) = hang_up {
            while hang_up.recv().await.is_some() {
                reload().await;
            }
        }
        std::future::pending().await
    }
}

/// Never: there is no such signal here.
#[cfg(not(unix))]
pub(super) async fn at_each_reload<F: Future<Output = ()>>(_: impl Fn() -> F) -> Infallible {
    std::future::pending().await
}

/// Completes at Ctrl-C. Where it cannot be heard, it never does.
#[cfg(not(unix))]
pub(super) async fn told_to_end() {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending().await
    }
}
