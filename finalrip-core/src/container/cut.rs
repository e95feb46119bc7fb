//! A part of a source as a file of its own, by stream copy: to be looked at, not to be encoded.
//!
//! It begins with the last keyframe at or before the time that was asked for, which becomes 0; all else keeps its
//! distance from it. It ends with the last picture before the end, and those that this one cannot be decoded without.

mod order;
mod part;
mod place;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::Path;

use crate::cancel::CancelToken;
use crate::encoder::command::streams::StreamRules;
use crate::error::{Error, Result};
use crate::ffi::Packet;
use crate::ffi::format::OutputFormat;
use crate::ffi::input::InputStream;
use crate::ffi::output::Priming;

use self::part::Part;
use self::place::{Place, Searched};
use super::merge::{Layout, Source, Target, Track, Writer, clock_face, copied, is_file, not_passed_on, start};
use super::{MergeOptions, MergeSettings, PartialFile, StreamKind, output_error};

/// How far past the end the reading goes in search of the end of each stream: some files are interleaved badly, and some
/// streams end before the others.
const REACH: i64 = 10_000_000_000;

/// A container's times are rounded, to a millisecond in Matroska: so much too early or too late is still in time.
const ROUNDING: i64 = 1_000_000;

/// Copies a share of `source`, from one part of its duration to another (0 to 1), as [`cut`] does.
///
/// # Errors
/// As [`cut`]; [`Error::Source`] when the source does not say how long it is.
#[cfg(feature = "tasks")]
pub(crate) fn cut_share(source: &Path, share: (f64, f64), output: &Path, cancel: &CancelToken) -> Result<u64> {
    let opened = Source::open(source, &settings()?, cancel)?;
    let duration = opened.input.duration().ok_or_else(|| nothing_in(source, "it does not say how long it is"))?;
    drop(opened);
    let seconds = |part: f64| part * duration as f64 / 1e9;
    // Rounding must not leave out the last picture.
    let end = if share.1 >= 1.0 { f64::from(u32::MAX) } else { seconds(share.1) };
    cut(source, seconds(share.0), end, output, cancel)
}

/// Copies the part of `source` from `start` up to `end` into a Matroska file, and gives the file's size in bytes.
///
/// Times are in seconds from the source's first picture, or from its first packet where it has no video. The file holds
/// every video, audio and subtitle stream that Matroska takes; what it does not take is left out with a warning. An end
/// beyond the source's own is the source's own.
///
/// # Errors
/// [`Error::Setting`] when the times make no sense, [`Error::Source`] when the source cannot be read or ends before
/// `start`, [`Error::Output`] when the file cannot be written. No file is left behind then, nor after a cancel.
pub(crate) fn cut(source: &Path, start: f64, end: f64, output: &Path, cancel: &CancelToken) -> Result<u64> {
    check(start, end)?;
    let settings = settings()?;
    let file = PartialFile::new(output).map_err(|error| output_error(output, error.to_string()))?;
    let mut source = Source::open(source, &settings, cancel)?;
    let target = Target::new(file.target());
    let mut layout = plan(&source, &target, &settings)?;
    let taken: Vec<usize> = layout.streams.iter().filter_map(|planned| planned.source).collect();
    let lead = source.video.filter(|video| taken.contains(video)).or(taken.first().copied());
    let lead = lead.ok_or_else(|| nothing_in(source.path, "it has no stream that a Matroska file can carry"))?;
    let others = if source.video.is_some() { &[] } else { &taken[..] };
    let zero = start::find(&mut source.input, (source.video, others), Priming::None, &source.log).base(|_| true);
    let range = Range { from: after(zero, start), to: after(zero, end).saturating_sub(ROUNDING) };
    let searched = Searched { path: source.path, probe: source.probe, lead, zero, cancel };
    let place = searched.place(range)?;
    let job = Job { streams: source.input.streams(), searched: &searched, place, range };
    let bytes = job.write(&mut layout, &target, &file)?;
    if cancel.is_cancelled() {
        return Err(Error::Cancelled);
    }
    file.publish().map_err(|error| output_error(output, error.to_string()))?;
    Ok(bytes)
}

/// What is asked for, in nanoseconds of the source's clock, half-open.
#[derive(Debug, Clone, Copy)]
struct Range {
    from: i64,
    to: i64,
}

fn after(zero: i64, seconds: f64) -> i64 {
    // Saturates at the ends of i64.
    zero.saturating_add((seconds * 1e9).round() as i64)
}

fn check(start: f64, end: f64) -> Result<()> {
    let wrong = |option, value: f64, expected| Err(Error::Setting { option, value: format!("{value} s"), expected });
    if !start.is_finite() || start < 0.0 {
        return wrong("the start of a cut", start, "a time of 0 s or more");
    }
    // Not a number is greater than nothing.
    if end.partial_cmp(&start) != Some(std::cmp::Ordering::Greater) {
        return wrong("the end of a cut", end, "a time after its start");
    }
    Ok(())
}

fn settings() -> Result<MergeSettings> {
    let format = OutputFormat::guess(Some("matroska"), None);
    let format = format.ok_or_else(|| Error::Internal("this libav has no Matroska muxer".to_owned()))?;
    Ok(MergeSettings {
        format,
        options: Vec::new(),
        metadata: Vec::new(),
        stream_metadata: Vec::new(),
        tag: None,
        keep: MergeOptions::default(),
        rules: StreamRules::default(),
        without: BTreeMap::new(),
        excerpt: None,
    })
}

/// Chooses the streams.
fn plan<'a>(source: &Source<'_>, target: &'a Target<'a>, settings: &'a MergeSettings) -> Result<Layout<'a>> {
    let mut layout = Layout::empty(target, settings);
    for stream in source.input.streams().iter().filter(|stream| is_wanted(stream)) {
        match copied(stream, &mut layout, settings) {
            Ok(planned) => layout.streams.push(planned),
            Err(reason) => {
                let (kind, codec) = (stream.kind, stream.parameters.codec_name());
                let path = source.path.display();
                tracing::warn!("{path}: stream {} ({kind}, {codec}) is left out of the cut: {reason}", stream.index);
            }
        }
    }
    Ok(layout)
}

fn is_wanted(stream: &InputStream) -> bool {
    matches!(stream.kind, StreamKind::Video | StreamKind::Audio | StreamKind::Subtitle) && !is_file(stream)
}

fn nothing_in(path: &Path, reason: &str) -> Error {
    Error::Source { path: path.to_owned(), reason: reason.to_owned() }
}

/// A cut whose place in the source is known.
struct Job<'a> {
    /// The source's.
    streams: &'a [InputStream],
    searched: &'a Searched<'a>,
    place: Place,
    range: Range,
}

impl<'a> Job<'a> {
    /// Writes the file and completes it. Returns its size.
    fn write(&self, layout: &mut Layout<'_>, target: &Target<'_>, file: &PartialFile) -> Result<u64> {
        let (mut input, _) = self.searched.open(self.place.open_at)?;
        let mut writer = Writer::open(target, layout, file)?;
        let mut parts = self.parts(layout, &writer);
        input.want(&parts.keys().copied().collect::<Vec<_>>());
        if self.searched.makes_up_times(&input) {
            input.make_up_times();
        }
        while let Some((index, packet)) = self.searched.read(&mut input)? {
            let Some(part) = parts.get_mut(&index) else { continue };
            let beyond = part.decoded_at(&packet).is_some_and(|time| time > self.range.to.saturating_add(REACH));
            write_packets(part.take(Some(packet)), part, &mut writer)?;
            if beyond || parts.values().all(Part::is_over) {
                break;
            }
        }
        for part in parts.values_mut() {
            write_packets(part.take(None), part, &mut writer)?;
            let rest = part.track.take(None).map_err(not_passed_on)?;
            writer.write(rest)?;
        }
        if !parts.values().any(Part::has_begun) {
            let (from, to) = (clock_face(self.place.key), clock_face(self.range.to));
            return Err(nothing_in(self.searched.path, &format!("it holds nothing between {from} and {to}")));
        }
        Ok(writer.finish(file)?.bytes)
    }

    /// The streams by their number in the source.
    fn parts(&self, layout: &mut Layout<'_>, writer: &Writer<'_>) -> BTreeMap<usize, Part<'a>> {
        let range = Range { from: self.place.key, to: self.range.to };
        let planned = std::mem::take(&mut layout.streams).into_iter().enumerate();
        let parts = planned.filter_map(|(index, planned)| {
            let stream = self.streams.get(planned.source?)?;
            let placement = layout.placement(&writer.context, index, range.from.saturating_neg());
            Some((stream.index, Part::new(stream, Track::new(planned, stream.time_base, placement), range)))
        });
        parts.collect()
    }
}

fn write_packets(packets: Vec<Packet>, part: &mut Part<'_>, writer: &mut Writer<'_>) -> Result<()> {
    for packet in packets {
        writer.write(part.track.take(Some(packet)).map_err(not_passed_on)?)?;
    }
    Ok(())
}
