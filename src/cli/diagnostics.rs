//! Warnings and errors on standard error: `blockscope: warning: …`, one a line.
//!
//! They come as `tracing` events from wherever they are noticed. File names and the like in them are escaped.

use std::fmt::{self, Write as _};
use std::io::{self, Write};

use blockscope::report::escape::escaped;
use indicatif::ProgressBar;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::fmt::{FmtContext, MakeWriter};
use tracing_subscriber::registry::LookupSpan;

use super::Common;

/// Sends events to standard error, above `bar`.
pub(super) fn start(common: Common, bar: &ProgressBar) {
    let level = match (common.quiet, common.verbose) {
        (true, _) => LevelFilter::ERROR,
        (false, 0) => LevelFilter::WARN,
        (false, 1) => LevelFilter::DEBUG,
        (false, _) => LevelFilter::TRACE,
    };
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(level)
        .event_format(Plain)
        .with_writer(AboveBar(bar.clone()))
        .finish();
    // Another subscriber is only there if a caller of ours has set one, which then is what they want.
    let _ = tracing::subscriber::set_global_default(subscriber);
}

/// A line for the user.
pub(super) fn line(severity: &str, message: &str) -> String {
    format!("blockscope: {severity}: {}", escaped(message))
}

struct Plain;

impl<S, N> FormatEvent<S, N> for Plain
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let severity = match *event.metadata().level() {
            Level::ERROR => "error",
            Level::WARN => "warning",
            Level::INFO => "info",
            Level::DEBUG => "debug",
            Level::TRACE => "trace",
        };
        let mut told = Told::default();
        event.record(&mut told);
        writeln!(
            writer,
            "{}",
            line(severity, &format!("{}{}", told.message, told.fields))
        )
    }
}

/// An event's message and its other fields, unescaped: [`line`] does that, as everywhere.
#[derive(Default)]
struct Told {
    message: String,
    fields: String,
}

impl Visit for Told {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a string cannot fail.
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " ({name}: {value:?})"),
        };
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.record_debug(field, &format_args!("{value}"));
    }
}

/// Standard error, with the progress bar out of the way while a line is written.
#[derive(Clone)]
struct AboveBar(ProgressBar);

impl Write for AboveBar {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.suspend(|| io::stderr().write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

impl<'a> MakeWriter<'a> for AboveBar {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_name_in_a_warning_gives_no_orders() {
        assert_eq!(
            line("warning", "a\x1b[2J.pcap"),
            r"blockscope: warning: a\u{1b}[2J.pcap"
        );
    }
}
