//! The end of what an encoder process logs: its own lines, and whatever its script and its encoders print.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::process::ChildStderr;
use tokio::sync::watch;
use tokio::time::timeout;

use super::lines::Lines;

/// A line that the child writes before it says how something ended, so that all lines before it are read by then.
pub(super) const MARK: &[u8] = b"\n\x1e\n";

/// How much is kept: lines, bytes of all, and bytes of one.
const LINES: usize = 200;
const BYTES: usize = 64 << 10;
const LINE: usize = 4 << 10;

#[derive(Debug)]
pub(super) struct Log {
    tail: Mutex<Tail>,
    marks: watch::Receiver<u64>,
}

#[derive(Debug, Default)]
struct Tail {
    lines: VecDeque<String>,
    bytes: usize,
    /// Marks that somebody has waited for.
    expected: u64,
}

impl Log {
    /// Reads `errors` until it ends, on a task of its own.
    pub(super) fn keep(errors: ChildStderr) -> Arc<Self> {
        let (sender, marks) = watch::channel(0);
        let log = Arc::new(Self { tail: Mutex::default(), marks });
        let kept = Arc::clone(&log);
        tokio::spawn(async move {
            let mut lines = Lines::new(errors, LINE);
            while let Ok(Some(line)) = lines.next_cut().await {
                if line == b"\x1e" {
                    sender.send_modify(|marks| *marks += 1);
                } else {
                    kept.push(line);
                }
            }
        });
        log
    }

    pub(super) fn push(&self, line: &[u8]) {
        let text = String::from_utf8_lossy(&line[..line.len().min(LINE)]);
        // Of what overwrites itself on a terminal the end is what counts.
        let text = text.trim_end();
        let text = text.rsplit('\r').next().unwrap_or(text);
        if text.is_empty() {
            return;
        }
        tracing::debug!("encoder process: {text}");
        let mut tail = self.tail.lock().unwrap_or_else(PoisonError::into_inner);
        tail.bytes += text.len() + 1;
        tail.lines.push_back(text.to_owned());
        while tail.lines.len() > LINES || tail.bytes > BYTES {
            let Some(gone) = tail.lines.pop_front() else { break };
            tail.bytes -= gone.len() + 1;
        }
    }

    /// Waits until what was written before the next mark is read.
    pub(super) async fn catch_up(&self) {
        let expected = {
            let mut tail = self.tail.lock().unwrap_or_else(PoisonError::into_inner);
            tail.expected += 1;
            tail.expected
        };
        let mut marks = self.marks.clone();
        // The mark is lost when the pipe is; there is nothing to wait for then.
        drop(timeout(Duration::from_secs(1), marks.wait_for(|&marks| marks >= expected)).await);
    }

    /// What is kept, oldest first.
    pub(super) fn text(&self) -> String {
        self.last(LINES).join("\n")
    }

    /// The last lines, oldest first.
    pub(super) fn last(&self, count: usize) -> Vec<String> {
        let tail = self.tail.lock().unwrap_or_else(PoisonError::into_inner);
        tail.lines.iter().skip(tail.lines.len().saturating_sub(count)).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn empty() -> Log {
        Log { tail: Mutex::default(), marks: watch::channel(0).1 }
    }

    #[test]
    fn the_tail_is_bounded_by_lines_and_by_bytes() {
        let log = empty();
        (0..1000).for_each(|line| log.push(line.to_string().as_bytes()));
        assert_eq!(log.last(LINES).len(), LINES);
        assert_eq!(log.last(2), ["998", "999"]);
        (0..100).for_each(|_| log.push(&[b'x'; LINE]));
        assert!(log.text().len() <= BYTES, "{}", log.text().len());
        assert!(log.text().len() > BYTES - 2 * LINE);
    }

    #[test]
    fn a_line_is_text_and_what_overwrites_itself_is_its_end() {
        let log = empty();
        log.push(b"10 %\r20 %\r30 %\r");
        log.push(b"  \r");
        log.push(b"\xff!");
        assert_eq!(log.last(9), ["30 %", "\u{fffd}!"]);
    }
}
