//! How things end, in words.

use std::fmt;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use rustix::process::WaitStatus;
use serde::{Deserialize, Serialize};

use super::log::Log;
use crate::error::{Error, chain};

/// The longest reason, in bytes; a ledger keeps 4 KiB.
pub(super) const REASON: usize = 4000;

/// How many of the log's lines a reason repeats.
const LAST_LINES: usize = 5;

/// How an encoder ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum End {
    /// It never began.
    NotStarted(String),
    /// With an exit status.
    Status(i32),
    /// By a signal.
    Signal(i32),
}

impl From<WaitStatus> for End {
    fn from(status: WaitStatus) -> Self {
        match status.terminating_signal() {
            Some(signal) => Self::Signal(signal),
            None => Self::Status(status.exit_status().unwrap_or(-1)),
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotStarted(reason) => write!(f, "the encoder process does not start: {reason}"),
            Self::Status(status) => {
                write!(f, "the encoder process ended with status {status} in the middle of its work")
            }
            Self::Signal(signal) => write!(f, "the encoder process was killed by {}", signal_words(*signal)),
        }
    }
}

/// How a process ended, after its name.
pub(super) fn how_it_ended(status: ExitStatus) -> String {
    match (status.signal(), status.code()) {
        (Some(signal), _) => format!("was killed by {}", signal_words(signal)),
        (None, code) => format!("ended with status {}", code.unwrap_or(-1)),
    }
}

fn signal_words(signal: i32) -> String {
    let hint = match signal {
        libc::SIGKILL => ": by hand, or because the machine ran out of memory",
        libc::SIGXFSZ => ": a file grew beyond the limit",
        libc::SIGXCPU => ": it used more processor time than it may",
        _ => "",
    };
    match signal_name(signal) {
        Some(name) => format!("signal {signal} ({name}{hint})"),
        None => format!("signal {signal}"),
    }
}

fn signal_name(signal: i32) -> Option<&'static str> {
    Some(match signal {
        libc::SIGHUP => "SIGHUP",
        libc::SIGINT => "SIGINT",
        libc::SIGQUIT => "SIGQUIT",
        libc::SIGILL => "SIGILL",
        libc::SIGTRAP => "SIGTRAP",
        libc::SIGABRT => "SIGABRT",
        libc::SIGBUS => "SIGBUS",
        libc::SIGFPE => "SIGFPE",
        libc::SIGKILL => "SIGKILL",
        libc::SIGUSR1 => "SIGUSR1",
        libc::SIGSEGV => "SIGSEGV",
        libc::SIGUSR2 => "SIGUSR2",
        libc::SIGPIPE => "SIGPIPE",
        libc::SIGALRM => "SIGALRM",
        libc::SIGTERM => "SIGTERM",
        libc::SIGXCPU => "SIGXCPU",
        libc::SIGXFSZ => "SIGXFSZ",
        libc::SIGSYS => "SIGSYS",
        _ => return None,
    })
}

/// A reason, under it where Python was when the process crashed, if it did, and the last lines of the log before that.
pub(super) fn with_last_lines(reason: &str, log: &Log) -> String {
    let under = |lines: &[String]| lines.iter().map(|line| format!("\n  {}", shortened(line, 200))).collect::<String>();
    let mut lines = log.last(usize::MAX);
    let mut text = reason.to_owned();
    let calls = calls_of_crash(&lines);
    if !calls.is_empty() {
        text.push_str(&format!("; Python was at:{}", under(&calls[..calls.len().min(LAST_LINES)])));
        let crash = lines.iter().rposition(|line| line.starts_with("Fatal Python error"));
        lines.truncate(crash.unwrap_or(lines.len()));
    }
    let last = &lines[lines.len().saturating_sub(LAST_LINES)..];
    if last.is_empty() { text } else { format!("{text}; the last that it said:{}", under(last)) }
}

/// What Python's `faulthandler` says of the thread that crashed, the latest call first.
fn calls_of_crash(lines: &[String]) -> Vec<String> {
    let Some(crash) = lines.iter().rposition(|line| line.starts_with("Current thread 0x")) else { return Vec::new() };
    let calls = lines[crash + 1..].iter().map(|line| line.trim_start());
    calls.take_while(|line| line.starts_with("File ")).map(str::to_owned).collect()
}

/// What a user is told of an error, and whether another attempt would fail as well.
pub(super) fn told(error: &Error) -> (String, bool) {
    (shortened(&chain(error), REASON), is_permanent(error))
}

fn is_permanent(error: &Error) -> bool {
    match error {
        Error::Chunk { source, .. } => is_permanent(source),
        // The last line of a traceback names the exception. Memory may be there the next time.
        Error::Script { traceback, .. } => {
            let last = traceback.trim_end().lines().next_back();
            !last.is_some_and(|line| line.starts_with("MemoryError"))
        }
        Error::Setup { .. } | Error::Clip { .. } | Error::Command(_) | Error::Setting { .. } => true,
        _ => false,
    }
}

/// A text of at most `longest` bytes: its start and, since that is where a traceback says what happened, more of its end.
pub(super) fn shortened(text: &str, longest: usize) -> String {
    if text.len() <= longest {
        return text.to_owned();
    }
    const GAP: &str = " [...] ";
    let room = longest.saturating_sub(GAP.len());
    let (head, tail) = (text.floor_char_boundary(room / 4), text.ceil_char_boundary(text.len() - room * 3 / 4));
    format!("{}{GAP}{}", &text[..head], &text[tail..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_told_in_words() {
        assert_eq!(End::Signal(11).to_string(), "the encoder process was killed by signal 11 (SIGSEGV)");
        assert_eq!(End::Status(0).to_string(), "the encoder process ended with status 0 in the middle of its work");
        assert!(End::Signal(9).to_string().contains("memory"));
        assert_eq!(End::Signal(60).to_string(), "the encoder process was killed by signal 60");
    }

    #[test]
    fn a_crash_is_told_with_pythons_calls_and_not_with_what_follows_them() {
        let said = "Fatal Python error: Segmentation fault\nThread 0x1 (most recent call first):\n  File \"a\", line 1 in f\n\
                    Current thread 0x2 (most recent call first):\n  File \"<string>\", line 4 in deep\n  File \"<string>\", \
                    line 6 in <module>\nExtension modules: vapoursynth (total: 1)";
        let lines: Vec<String> = said.lines().map(str::to_owned).collect();
        assert_eq!(
            calls_of_crash(&lines),
            ["File \"<string>\", line 4 in deep", "File \"<string>\", line 6 in <module>"]
        );
        assert_eq!(calls_of_crash(&lines[..3]), [""; 0]);
    }

    #[test]
    fn a_long_text_keeps_its_start_and_its_end() {
        let text = format!("Traceback {} ValueError: 東", "é".repeat(5000));
        let short = shortened(&text, REASON);
        assert!(short.len() <= REASON && short.len() > REASON - 10, "{}", short.len());
        assert!(short.starts_with("Traceback ") && short.ends_with(" ValueError: 東"));
        assert_eq!(shortened("short", 5), "short");
    }

    #[test]
    fn only_what_stays_wrong_is_permanent() {
        let script = |traceback: &str| Error::Script { script: "s".to_owned(), traceback: traceback.to_owned() };
        assert!(is_permanent(&script("Traceback:\nNameError: name 'x' is not defined\n")));
        assert!(!is_permanent(&script("Traceback:\nMemoryError\n")));
        assert!(!is_permanent(&Error::Frame { frame: 1, message: "no".to_owned() }));
        let inner = Box::new(Error::Clip { reason: "no".to_owned() });
        assert!(is_permanent(&Error::Chunk { chunk: 0, range: (0..1).into(), attempts: 1, source: inner }));
    }
}
