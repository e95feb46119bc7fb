//! Where in a source a cut begins, found by seeking.

use std::path::Path;

use super::super::merge::{clock_face, nanoseconds, open_input, shifted};
use super::{REACH, ROUNDING, Range, nothing_in};
use crate::cancel::CancelToken;
use crate::error::{Error, Result};
use crate::ffi::Packet;
use crate::ffi::input::{InputContext, Probe};
use crate::ffi::log::LogTail;
use crate::units::Rational;

/// How far before the keyframe the reading begins: some files hold the sound of a time before its pictures.
const HEAD_START: i64 = 1_000_000_000;

/// A source, and what is asked of it.
pub(super) struct Searched<'a> {
    pub(super) path: &'a Path,
    pub(super) probe: Probe,
    /// The stream whose keyframes decide: the first video, or else the first stream that is kept.
    pub(super) lead: usize,
    /// When the source begins, in nanoseconds of its clock.
    pub(super) zero: i64,
    pub(super) cancel: &'a CancelToken,
}

/// Where a cut begins, in nanoseconds of the source's clock.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    /// The time of the keyframe.
    pub(super) key: i64,
    /// The time to seek, so as to come across it.
    pub(super) open_at: i64,
}

/// What was found in one look at the leading stream.
#[derive(Debug, Default)]
struct Look {
    /// The last keyframe that is early enough.
    key: Option<i64>,
    /// The first that is not.
    later: Option<i64>,
    /// The end of the latest packet.
    reached: Option<i64>,
    /// Whether the source ended.
    ended: bool,
}

impl Searched<'_> {
    /// Opens the source at or before a time; whether that is its very start.
    pub(super) fn open(&self, time: i64) -> Result<(InputContext, bool)> {
        let open = || open_input(self.path, self.probe, self.cancel, &LogTail::default());
        let mut input = open()?;
        if time <= self.zero {
            return Ok((input, true));
        }
        let base = input.streams().get(self.lead).map_or(Rational::ONE, |stream| stream.time_base);
        match input.seek(self.lead, shifted(0, Rational::ONE, time, base)) {
            Ok(()) => Ok((input, false)),
            Err(code) => {
                tracing::debug!("{}: read from its start, since seeking failed: {code}", self.path.display());
                Ok((open()?, true))
            }
        }
    }

    /// The next packet; a source that breaks off has ended.
    pub(super) fn read(&self, input: &mut InputContext) -> Result<Option<(usize, Packet)>> {
        match input.read() {
            _ if self.cancel.is_cancelled() => Err(Error::Cancelled),
            Ok(packet) => Ok(packet),
            Err(code) => {
                tracing::warn!("{} breaks off: {code}", self.path.display());
                Ok(None)
            }
        }
    }

    /// Whether libav can tell the presentation times that the source leaves out. With several reordered pictures it would
    /// be wrong.
    pub(super) fn makes_up_times(&self, input: &InputContext) -> bool {
        const REORDER_MORE: [&str; 3] = ["h264", "hevc", "vvc"];
        let lead = input.streams().get(self.lead);
        lead.is_some_and(|stream| !REORDER_MORE.contains(&stream.parameters.codec_name().as_str()))
    }

    /// Finds the keyframe that a cut begins with: the last one that is shown at `range.from` or before it, or the first of
    /// all where the source begins between keyframes.
    pub(super) fn place(&self, range: Range) -> Result<Place> {
        let mut back: i64 = 0;
        loop {
            let open_at = range.from.saturating_sub(back);
            let (input, from_start) = self.open(open_at)?;
            let look = self.look(input, range.from.saturating_add(ROUNDING))?;
            if look.ended
                && look.reached.is_none_or(|reached| reached <= range.from)
                && (from_start || look.key.is_some())
            {
                return Err(self.too_short(&look, range));
            }
            // A stream that is late, or that cannot be decoded from its beginning, begins within the range or not at all.
            let later = look.later.filter(|&later| from_start && later < range.to);
            if let Some(key) = look.key.or(later) {
                return Ok(Place { key, open_at: open_at.min(key).saturating_sub(HEAD_START) });
            }
            if from_start {
                let (from, to) = (clock_face(range.from), clock_face(range.to));
                return Err(nothing_in(
                    self.path,
                    &format!("no keyframe that a cut from {from} to {to} could begin with"),
                ));
            }
            // An index that leads past the keyframe, or none: further back each time, and at last from the start.
            back = back.saturating_mul(2).max(HEAD_START);
        }
    }

    /// Reads the leading stream up to `time`.
    fn look(&self, mut input: InputContext, time: i64) -> Result<Look> {
        input.want(&[self.lead]);
        if self.makes_up_times(&input) {
            input.make_up_times();
        }
        let base = input.streams().get(self.lead).map_or(Rational::ONE, |stream| stream.time_base);
        let mut look = Look::default();
        while let Some((_, packet)) = self.read(&mut input)? {
            // What comes before any time is known lies at the source's beginning.
            let shown = packet.pts().or(packet.dts()).map_or(self.zero, |ticks| nanoseconds(ticks, base));
            let end = shown.saturating_add(nanoseconds(packet.duration().max(1), base));
            look.reached = look.reached.max(Some(end));
            if packet.is_key() && shown <= time {
                look.key = look.key.max(Some(shown));
            } else if packet.is_key() {
                look.later = look.later.or(Some(shown));
            }
            let decoded = packet.dts().map_or(shown, |ticks| nanoseconds(ticks, base));
            let found = look.key.or(look.later).is_some() && decoded > time;
            if found || decoded > time.saturating_add(REACH) && look.later.is_some() {
                return Ok(look);
            }
        }
        look.ended = true;
        Ok(look)
    }

    fn too_short(&self, look: &Look, range: Range) -> Error {
        let since_zero = |time: i64| clock_face(time.saturating_sub(self.zero));
        let from = since_zero(range.from);
        let reason = match look.reached {
            Some(end) => format!("it ends at {}, before the cut that is to begin at {from}", since_zero(end)),
            None => format!("it has nothing to begin a cut at {from} with"),
        };
        nothing_in(self.path, &reason)
    }
}
