//! The log, on standard error, which may be closed or full at any moment: a server goes on without its log.

use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::config::{Config, ConfigError, LogFormat};

/// Sends the log to standard error from now on.
///
/// # Errors
/// The filter cannot be read.
pub fn start(config: &Config) -> Result<(), ConfigError> {
    let filter = filter(&config.log.filter)?;
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(io::stderr().is_terminal())
        // It would write to standard error itself, and panic where that is closed.
        .log_internal_errors(false)
        .with_writer(LossyWriter::new(io::stderr, config.log.format));
    match config.log.format {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().init(),
    }
    Ok(())
}

/// Reads `log.filter`.
///
/// # Errors
/// [`ConfigError::Value`], with the part that cannot be read.
pub(crate) fn filter(text: &str) -> Result<EnvFilter, ConfigError> {
    EnvFilter::try_new(text)
        .map_err(|error| ConfigError::Value { name: "log.filter".to_owned(), reason: error.to_string() })
}

/// Makes writers that never fail. Lines that could not be written are counted, and the count is logged in front of the next
/// line that can be.
struct LossyWriter<M> {
    make: M,
    format: LogFormat,
    lost: Arc<AtomicU64>,
}

impl<M> LossyWriter<M> {
    fn new(make: M, format: LogFormat) -> Self {
        Self { make, format, lost: Arc::default() }
    }
}

impl<'a, M, W> MakeWriter<'a> for LossyWriter<M>
where
    M: Fn() -> W + 'a,
    W: Write,
{
    type Writer = LossyLine<W>;

    fn make_writer(&'a self) -> Self::Writer {
        LossyLine { inner: (self.make)(), format: self.format, lost: Arc::clone(&self.lost) }
    }
}

/// Writes one line of the log, or counts it as lost.
struct LossyLine<W> {
    inner: W,
    format: LogFormat,
    lost: Arc<AtomicU64>,
}

impl<W: Write> LossyLine<W> {
    fn try_write(&mut self, line: &[u8]) -> io::Result<()> {
        let lost = self.lost.swap(0, Ordering::Relaxed);
        if lost > 0 {
            let note = format!("{lost} lines of the log could not be written before this one");
            let written = match self.format {
                LogFormat::Text => writeln!(self.inner, "WARN {note}"),
                LogFormat::Json => writeln!(self.inner, r#"{{"level":"WARN","fields":{{"message":"{note}"}}}}"#),
            };
            if let Err(error) = written {
                self.lost.fetch_add(lost, Ordering::Relaxed);
                return Err(error);
            }
        }
        self.inner.write_all(line)
    }
}

impl<W: Write> Write for LossyLine<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.try_write(line).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// A disk that is full until somebody makes room.
    #[derive(Clone, Default)]
    struct Disk {
        has_room: Arc<std::sync::atomic::AtomicBool>,
        content: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if !self.has_room.load(Ordering::Relaxed) {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.content.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_that_cannot_be_written_are_counted_and_the_count_is_logged() {
        for (format, note) in [(LogFormat::Text, "WARN 2 lines"), (LogFormat::Json, r#"{"level":"WARN","#)] {
            let disk = Disk::default();
            let log = LossyWriter::new(|| disk.clone(), format);
            for _ in 0..2 {
                log.make_writer().write_all(b"lost\n").unwrap();
            }
            disk.has_room.store(true, Ordering::Relaxed);
            for line in [b"one\n", b"two\n"] {
                log.make_writer().write_all(line).unwrap();
            }
            let content = String::from_utf8(disk.content.lock().unwrap().clone()).unwrap();
            assert!(content.starts_with(note), "{content}");
            assert!(content.contains("2 lines of the log") && content.ends_with("\none\ntwo\n"), "{content}");
            assert!(!content.contains("lost\n"), "{content}");
        }
    }
}
