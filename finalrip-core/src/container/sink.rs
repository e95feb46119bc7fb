//! A destination that is written to as the file comes: standard output, an open file, whatever takes bytes.

use std::fmt;
use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Shared by whoever writes and whoever may give the encode up.
#[derive(Clone)]
pub(crate) struct Sink(Arc<Mutex<State>>);

struct State {
    /// `None` once the encode is given up: what is left of it writes nothing more.
    place: Option<Place>,
    /// Where the next byte goes, and the end of what was written, from where the sink began.
    position: u64,
    end: u64,
}

enum Place {
    Stream(Box<dyn Write + Send>),
    /// From `base` on.
    File {
        file: File,
        base: u64,
    },
}

impl Sink {
    pub(crate) fn stream(writer: impl Write + Send + 'static) -> Self {
        Self::new(Place::Stream(Box::new(writer)))
    }

    /// An open file, from where it stands. What is no regular file, or is open for appending, is a stream.
    pub(crate) fn file(mut file: File) -> Self {
        let is_regular = file.metadata().is_ok_and(|about| about.is_file());
        if is_regular
            && !crate::ffi::descriptor::appends(&file)
            && let Ok(base) = file.stream_position()
        {
            return Self::new(Place::File { file, base });
        }
        Self::stream(file)
    }

    fn new(place: Place) -> Self {
        Self(Arc::new(Mutex::new(State { place: Some(place), position: 0, end: 0 })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn is_seekable(&self) -> bool {
        matches!(self.state().place, Some(Place::File { .. }))
    }

    pub(crate) fn write(&self, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.state();
        let written = match &mut state.place {
            None => Err(given_up()),
            Some(Place::Stream(writer)) => writer.write_all(bytes),
            Some(Place::File { file, .. }) => file.write_all(bytes),
        };
        if let Err(error) = written {
            // libav passes a number on, and no words.
            tracing::warn!("the output cannot be written: {error}");
            return Err(error);
        }
        state.position += bytes.len() as u64;
        state.end = state.end.max(state.position);
        Ok(())
    }

    /// Goes to a place in what was written; returns it.
    pub(crate) fn seek(&self, to: SeekFrom) -> io::Result<u64> {
        let mut state = self.state();
        let (position, end) = (state.position, state.end);
        let Some(Place::File { file, base }) = &mut state.place else { return Err(io::ErrorKind::NotSeekable.into()) };
        let to = match to {
            SeekFrom::Start(to) => Some(to),
            SeekFrom::Current(by) => position.checked_add_signed(by),
            SeekFrom::End(by) => end.checked_add_signed(by),
        };
        let to = to.ok_or(io::ErrorKind::InvalidInput)?;
        file.seek(SeekFrom::Start(base.saturating_add(to)))?;
        state.position = to;
        Ok(to)
    }

    /// The bytes written so far.
    pub(crate) fn bytes(&self) -> u64 {
        self.state().end
    }

    /// Hands everything over, and goes to the end.
    pub(crate) fn complete(&self) -> io::Result<u64> {
        let mut state = self.state();
        let end = state.end;
        match &mut state.place {
            None => return Err(given_up()),
            Some(Place::Stream(writer)) => writer.flush()?,
            Some(Place::File { file, base }) => drop(file.seek(SeekFrom::Start(base.saturating_add(end)))?),
        }
        Ok(end)
    }

    /// Takes back what was written, for another attempt.
    pub(crate) fn reset(&self) -> io::Result<()> {
        let mut state = self.state();
        let end = state.end;
        match &mut state.place {
            Some(Place::File { file, base }) => {
                file.set_len(*base)?;
                file.seek(SeekFrom::Start(*base))?;
            }
            _ if end > 0 => return Err(io::Error::other("it is a stream, and cannot be begun again")),
            _ => {}
        }
        (state.position, state.end) = (0, 0);
        Ok(())
    }

    /// Writes nothing more, and lets the writer go.
    pub(crate) fn give_up(&self) {
        drop(self.state().place.take());
    }
}

fn given_up() -> io::Error {
    io::Error::other("the encode was given up")
}

impl fmt::Debug for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sink").field("bytes", &self.bytes()).finish_non_exhaustive()
    }
}
