//! The one public error. Each module folds its own failure into it, naming the stage, the frame or the path.

use std::path::PathBuf;

use crate::encoder::command::CommandError;
use crate::units::FrameRange;

/// The result of every fallible call of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What failed, where, and what to do about it.
///
/// `Display` prints one level; the cause, where there is one, is in [`std::error::Error::source`]. `Debug` prints the text
/// and those of all causes, for people: it is what a `main` that returns this error shows.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// VapourSynth cannot be started in this process: its library was not found, or it has no Python to run.
    #[error("VapourSynth cannot be started: {reason}\nsearched:\n{}\nto fix it: {fix}", indent(.searched))]
    Setup {
        /// What is wrong.
        reason: String,
        /// Every place that was looked at, in order.
        searched: Vec<String>,
        /// The command or step that mends it.
        fix: String,
    },

    /// The script could not be read, or Python raised an exception while it ran.
    #[error("the script {script} failed:\n{traceback}")]
    Script {
        /// The script's path, or `<string>` for a script given as text.
        script: String,
        /// Python's traceback, or the operating system's reason, verbatim.
        traceback: String,
    },

    /// The script's clip cannot be encoded as it is: no output set, an empty clip, a format libav lacks, a range
    /// outside the clip.
    #[error("the clip cannot be encoded: {reason}")]
    Clip {
        /// What is wrong with the clip and what the script can do about it.
        reason: String,
    },

    /// A filter failed while it made a frame.
    #[error("frame {frame} failed: {message}")]
    Frame {
        /// The number of the output frame, from 0.
        frame: u32,
        /// The filter's message, or Python's traceback, verbatim.
        message: String,
    },

    /// The encode command does not mean anything here.
    #[error("the encode command is not valid: {0}")]
    Command(CommandError),

    /// The encoder, or a filter in front of it, refused its settings or its input.
    #[error("{stage} failed: {message}{}", log_tail(.log))]
    Encoder {
        /// The encoder's or filter's name, such as `libx265`.
        stage: String,
        /// What it refused.
        message: String,
        /// The last lines that it logged, oldest first.
        log: Vec<String>,
    },

    /// The source of a merge cannot be read.
    #[error("cannot read the source {}: {reason}", .path.display())]
    Source {
        /// The source file.
        path: PathBuf,
        /// The operating system's or the container's reason.
        reason: String,
    },

    /// The output could not be written.
    #[error("cannot write {}: {reason}", .path.display())]
    Output {
        /// The file that the caller asked for.
        path: PathBuf,
        /// The operating system's or the container's reason.
        reason: String,
    },

    /// A chunk of a rip failed each time that it was tried. What is finished is kept for the next run.
    #[error("chunk {chunk} (frames {range}) failed, tried {attempts} times")]
    Chunk {
        /// The chunk, from 0.
        chunk: usize,
        /// Its frames.
        range: FrameRange,
        /// How often it was tried.
        attempts: u32,
        /// Why it failed the last time.
        source: Box<Error>,
    },

    /// Another rip, in this process or another, is making the same file.
    #[error("another rip is making {} right now; wait for it or stop it (its state is in {})", .output.display(), .folder.display())]
    Busy {
        /// The file that both would make.
        output: PathBuf,
        /// The other rip's state.
        folder: PathBuf,
    },

    /// The state that a rip keeps beside its output cannot be read or written.
    #[error("cannot keep the rip's state in {}: {reason}", .path.display())]
    State {
        /// The folder.
        path: PathBuf,
        /// The operating system's reason.
        reason: String,
    },

    /// A setting has a value that makes no sense.
    #[error("{option} cannot be {value}: {expected}")]
    Setting {
        /// The setting's name.
        option: &'static str,
        /// What it was set to.
        value: String,
        /// What it can be.
        expected: &'static str,
    },

    /// The [`CancelToken`](crate::CancelToken) was used. No output file exists; a rip keeps its finished chunks.
    #[error("the encode was cancelled")]
    Cancelled,

    /// The caller's progress callback panicked. No output file exists, unless it was a rip's last event.
    #[error("the progress callback panicked: {message}")]
    Callback {
        /// The panic's message.
        message: String,
    },

    /// A fault of this library: a worker thread ended without a result.
    #[error("internal error: {0}; please report it")]
    Internal(String),
}

// By hand: a derived one would show field names and escaped line ends to whoever returns the error from `main`.
impl std::fmt::Debug for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&chain(self))
    }
}

// By hand: with thiserror's `from` the inner message, which the text holds already, would be the cause as well.
impl From<CommandError> for Error {
    fn from(error: CommandError) -> Self {
        Self::Command(error)
    }
}

/// The error's text and that of everything that caused it, on one level each.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

fn indent(lines: &[String]) -> String {
    lines.iter().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
}

fn log_tail(lines: &[String]) -> String {
    if lines.is_empty() { String::new() } else { format!("\nits log:\n{}", indent(lines)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn main_shows_the_error_and_its_causes_as_text() {
        let cause = Error::Frame { frame: 7, message: "Traceback:\n  line 3".to_owned() };
        let error = Error::Chunk { chunk: 2, range: (0..9).into(), attempts: 4, source: Box::new(cause) };
        let shown = format!("{error:?}");
        assert_eq!(shown, "chunk 2 (frames 0..9) failed, tried 4 times: frame 7 failed: Traceback:\n  line 3");
        assert_eq!(format!("{:?}", Error::Cancelled), "the encode was cancelled");
    }
}
