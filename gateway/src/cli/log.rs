//! The log: standard error, one line an event, as text or as JSON.
//!
//! It is opened before the configuration is read, since what is wrong before that is told too; the form is set when it is known.

use std::fmt;
use std::panic::PanicHookInfo;
use std::sync::atomic::{AtomicBool, Ordering};

use tracing::{Event, Subscriber};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::format::{Format, Full, Json, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::config::LogFormat;

/// Whether lines are JSON from now on.
static IS_JSON: AtomicBool = AtomicBool::new(false);

/// Logs to standard error at the level that `CURFEW_LOG` names (default: info), panics as well.
///
/// Only what the gateway itself says: what the libraries below it log, at their lowest levels, is what passes through them.
pub(super) fn to_stderr() {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one setting that must hold before the configuration is read"
    )]
    let named = std::env::var("CURFEW_LOG");
    let level = named
        .ok()
        .and_then(|name| name.parse().ok())
        .unwrap_or(LevelFilter::INFO);
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .event_format(EitherFormat::default());
    let ours = Targets::new().with_target("curfew", level);
    // A second subscriber, in a test that runs two commands, is not worth failing for.
    let _ = tracing_subscriber::registry().with(lines).with(ours).try_init();
    std::panic::set_hook(Box::new(tell_panic));
}

/// Sets the form of the lines from now on.
pub(super) fn set_format(format: LogFormat) {
    IS_JSON.store(format == LogFormat::Json, Ordering::Relaxed);
}

/// Says where the program panicked, and nothing else: the message of a panic may quote what was being read.
fn tell_panic(panic: &PanicHookInfo<'_>) {
    let location = panic.location().map(ToString::to_string);
    tracing::error!(location, "panicked: this is a fault of the program");
}

struct EitherFormat {
    text: Format<Full>,
    json: Format<Json>,
}

impl Default for EitherFormat {
    fn default() -> Self {
        Self {
            text: Format::default().with_ansi(false),
            json: Format::default().json().flatten_event(true),
        }
    }
}

impl<S, N> FormatEvent<S, N> for EitherFormat
where
    S: Subscriber + for<'lookup> LookupSpan<'lookup>,
    N: for<'writer> FormatFields<'writer> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        if IS_JSON.load(Ordering::Relaxed) {
            self.json.format_event(context, writer, event)
        } else {
            self.text.format_event(context, writer, event)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::fmt::MakeWriter;

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl MakeWriter<'_> for Lines {
        type Writer = Self;

        fn make_writer(&self) -> Self {
            self.clone()
        }
    }

    #[test]
    fn a_panic_is_told_by_its_place_and_not_by_its_message() {
        let lines = Lines::default();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(lines.clone())
            .event_format(EitherFormat::default())
            .finish();
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(tell_panic));
        let content = "+15550100001";
        let result = tracing::subscriber::with_default(subscriber, || {
            std::panic::catch_unwind(|| assert_eq!(content, "", "while reading {content}"))
        });
        std::panic::set_hook(before);
        assert!(result.is_err());
        let told = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        assert!(
            told.contains("cli/log.rs:") && told.contains("panicked"),
            "{told}"
        );
        assert!(!told.contains(content), "{told}");
    }
}
