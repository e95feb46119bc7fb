//! What the library and libav log while one call works, on its way to that call.

use std::fmt;

use crossbeam_channel::Sender;
use tracing::dispatcher::{Dispatch, with_default};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

/// A line of the log.
pub(crate) struct Line {
    /// `error`, `warning` or `info`.
    pub(crate) level: &'static str,
    pub(crate) text: String,
}

/// Does `work`; what it logs goes to `lines`, from this thread and those that the library starts for it.
///
/// Sending never waits, since a thread may hold the GIL when it logs, for which the receiver may be waiting.
pub(crate) fn forwarded<T>(lines: Sender<Line>, work: impl FnOnce() -> T) -> T {
    with_default(&Dispatch::new(Forward(lines)), work)
}

struct Forward(Sender<Line>);

impl Subscriber for Forward {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let ours = ["libav", "finalrip"].iter().any(|name| metadata.target().starts_with(name));
        ours && *metadata.level() <= Level::INFO
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        // Spans are not told apart.
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let level = match *event.metadata().level() {
            Level::ERROR => "error",
            Level::WARN => "warning",
            _ => "info",
        };
        let mut text = Text::default();
        event.record(&mut text);
        // The call may have returned, and left its work to end by itself.
        let _ = self.0.send(Line { level, text: text.0 });
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// An event's message, and its fields behind it.
#[derive(Default)]
struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.0.insert_str(0, &format!("{value:?}"));
        } else {
            self.0.push_str(&format!(" {}={value:?}", field.name()));
        }
    }
}
