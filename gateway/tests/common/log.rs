//! The gateway's log, as far as it speaks of requests and of the ends of copies.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Mutex, OnceLock, PoisonError};

use serde_json::Value;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// One line: its fields, without those that say nothing.
pub type Line = BTreeMap<&'static str, Value>;

static LINES: OnceLock<Mutex<Vec<Line>>> = OnceLock::new();

/// Listens from now on. The log is the whole process's, so a test that reads it has a number of its own.
pub fn listen() {
    LINES.get_or_init(|| {
        tracing::subscriber::set_global_default(Listener).expect("nobody else listens");
        Mutex::default()
    });
}

/// The lines about requests for `number`, oldest first.
pub fn about(number: u64) -> Vec<Line> {
    lines_of("request", "number", &number.into())
}

/// The receipts of copies of media of `number`, oldest first.
pub fn receipts(number: u64) -> Vec<Line> {
    lines_of("media copy ended", "number", &number.into())
}

/// The lines about requests of which this field has this value, oldest first.
pub fn with(field: &str, value: &Value) -> Vec<Line> {
    lines_of("request", field, value)
}

fn lines_of(message: &str, field: &str, value: &Value) -> Vec<Line> {
    let lines = LINES.get().expect("it listens");
    let lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
    let about = |line: &&Line| {
        line.get(field) == Some(value) && line.get("message").is_some_and(|said| said == message)
    };
    lines.iter().filter(about).cloned().collect()
}

struct Listener;

impl Subscriber for Listener {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event()
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let is_wanted = fields
            .0
            .get("message")
            .is_some_and(|message| message == "request" || message == "media copy ended");
        if let Some(lines) = LINES.get().filter(|_| is_wanted) {
            lines
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(fields.0);
        }
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[derive(Default)]
struct Fields(Line);

impl Visit for Fields {
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.0.insert(field.name(), value.into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name(), format!("{value:?}").into());
    }
}
