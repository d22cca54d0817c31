//! Log lines on stderr.

use std::io::{IsTerminal, stderr};

use tracing::Subscriber;
use tracing_subscriber::filter::{ParseError, Targets};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

/// How a log line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people: one line, coloured on a terminal.
    #[default]
    Human,
    /// For machines: one JSON object a line.
    Json,
}

/// Why logging was not set up.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    /// The filter cannot be understood.
    #[error("{filter:?} is not a log filter: write a level, or target=level, with commas between")]
    Filter {
        /// The filter as given.
        filter: String,
        /// What the parser said.
        source: ParseError,
    },
    /// Logging was set up before.
    #[error("logging is set up already")]
    AlreadySet(#[from] TryInitError),
}

/// Sets up logging for the process.
///
/// `filter` is a level (`error`, `warn`, `info`, `debug`, `trace`, `off`), or directives such as
/// `info,downlink_gateway=debug`; the most specific target wins. There are no filters by span or field: they would
/// cost a regular-expression engine and time on every event.
///
/// # Errors
/// [`LoggingError`].
pub fn init_logging(filter: &str, format: LogFormat) -> Result<(), LoggingError> {
    let targets = parse(filter)?;
    let is_terminal = stderr().is_terminal();
    match format {
        LogFormat::Human => human(targets, is_terminal, stderr).try_init()?,
        LogFormat::Json => json(targets, stderr).try_init()?,
    }
    Ok(())
}

fn parse(filter: &str) -> Result<Targets, LoggingError> {
    filter.parse().map_err(|source| LoggingError::Filter {
        filter: filter.to_owned(),
        source,
    })
}

fn human<W>(targets: Targets, colours: bool, writer: W) -> impl Subscriber + Send + Sync
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let lines = tracing_subscriber::fmt::layer()
        .with_ansi(colours)
        .with_writer(writer);
    tracing_subscriber::registry().with(targets).with(lines)
}

fn json<W>(targets: Targets, writer: W) -> impl Subscriber + Send + Sync
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let lines = tracing_subscriber::fmt::layer()
        .json()
        .flatten_event(true)
        .with_writer(writer);
    tracing_subscriber::registry().with(targets).with(lines)
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};
    use std::sync::Arc;

    use parking_lot::Mutex;
    use tracing::subscriber::with_default;

    use super::{human, json, parse};

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Sink {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().clone()).unwrap()
        }
    }

    fn log_something() {
        tracing::info!(target: "downlink_queue", { device.id = "dev-1" }, "locked");
        tracing::debug!(target: "downlink_queue", "hidden");
        tracing::debug!(target: "downlink_gateway", "shown");
    }

    #[test]
    fn most_specific_target_decides() {
        let sink = Sink::default();
        let writer = sink.clone();
        let targets = parse("info,downlink_gateway=debug").unwrap();
        with_default(human(targets, false, move || writer.clone()), log_something);
        let text = sink.text();
        assert!(
            text.contains("locked") && text.contains("device.id=\"dev-1\""),
            "{text}"
        );
        assert!(text.contains("shown") && !text.contains("hidden"), "{text}");
    }

    #[test]
    fn json_lines_hold_message_and_fields() {
        let sink = Sink::default();
        let writer = sink.clone();
        with_default(
            json(parse("info").unwrap(), move || writer.clone()),
            log_something,
        );
        let text = sink.text();
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(
            text.starts_with('{') && text.trim_end().ends_with('}'),
            "{text}"
        );
        assert!(text.contains(r#""message":"locked""#) && text.contains(r#""device.id":"dev-1""#));
    }

    #[test]
    fn filter_that_makes_no_sense_is_named() {
        let error = parse("downlink=loud").unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("\"downlink=loud\" is not a log filter")
        );
    }
}
