//! Chunks as one video: verified, and their packets given their place in time.
//!
//! What a chunk's file says of time is not looked at: Matroska rounds to milliseconds. The record knows for each packet
//! which picture it is, and when each picture is shown.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::cancel::CancelToken;
use crate::container::{
    Excerpt, MergeFailure, MergeProgress, MergeSettings, Merged, StreamKind, VideoTrack, merge as merge_streams,
    output_error,
};
use crate::encode::job::Job;
use crate::encoder::{alpha, coded_bits};
use crate::error::{Error, Result};
use crate::ffi::bitstream::BitstreamFilter;
use crate::ffi::format::{OutputFormat, StreamSettings};
use crate::ffi::input::{InputContext, InputStream, Probe};
use crate::ffi::log::LogTail;
use crate::ffi::{AvError, Packet, StreamParameters};
use crate::timing::Schedule;
use crate::units::Rational;

use super::RipJob;
use super::fingerprint::{hex, sha256};
use super::record::{ChunkRecord, StreamRecord};

/// Reads a chunk that has just been written, still under its temporary name, and completes its record.
///
/// # Errors
/// [`Error::Internal`] when the file does not hold what was encoded; [`Error::Encoder`] when it cannot be joined to the
/// chunks before.
pub(super) fn check(
    path: &Path,
    job: &Job,
    mut record: ChunkRecord,
    first: Option<&StreamRecord>,
) -> Result<ChunkRecord> {
    let written = job.file.path().ok_or_else(|| Error::Internal(format!("{} has gone", path.display())))?;
    let found = inspect(&written, &record, &job.cancel)?;
    (record.stream.parameter_sets, record.contents) = (found.parameter_sets, found.contents);
    match first {
        Some(first) if *first != record.stream => Err(does_not_join(&record.stream, first)),
        _ => Ok(record),
    }
}

/// Reads a chunk of an earlier run.
///
/// # Errors
/// [`Error::Internal`] when the file does not hold what the record says; [`Error::Cancelled`].
pub(super) fn verify(path: &Path, record: &ChunkRecord, cancel: &CancelToken) -> Result<()> {
    let found = inspect(path, record, cancel)?;
    let what = match () {
        () if found.parameter_sets != record.stream.parameter_sets => "other parameter sets",
        () if found.contents != record.contents => "other pictures",
        () => return Ok(()),
    };
    Err(Error::Internal(format!("{} holds {what} than its record says", path.display())))
}

/// What a chunk's file holds, in hashes.
struct Found {
    parameter_sets: String,
    contents: String,
}

/// Reads a chunk's packets, counts them, and looks at the first.
fn inspect(path: &Path, record: &ChunkRecord, cancel: &CancelToken) -> Result<Found> {
    let wrong = |what: String| match cancel.is_cancelled() {
        // Not a word about the chunk: it was not read to its end.
        true => Error::Cancelled,
        false => Error::Internal(format!("{}: {what}", path.display())),
    };
    let mut input = open(path, cancel).map_err(|reason| wrong(reason.to_string()))?;
    let stream = video_of(&input).map_err(wrong)?;
    let (index, parameter_sets) = (stream.index, sha256(stream.parameters.extradata()));
    let codec = stream.parameters.codec_name();
    if codec != record.stream.codec {
        return Err(wrong(format!("it holds {codec}, and not {}", record.stream.codec)));
    }
    input.want(&[index]);
    let (mut packets, mut contents) = (0, Sha256::new());
    while let Some((_, packet)) = input.read().map_err(|code| wrong(code.to_string()))? {
        if packets == 0 && !packet.is_key() {
            return Err(wrong("it does not begin with a keyframe".to_owned()));
        }
        packets += 1;
        contents.update(packet.data());
    }
    if packets != record.order.len() {
        return Err(wrong(format!("it holds {packets} pictures, and not {}", record.order.len())));
    }
    Ok(Found { parameter_sets, contents: hex(&contents.finalize()) })
}

fn open(path: &Path, cancel: &CancelToken) -> Result<InputContext, AvError> {
    InputContext::open(path, Probe::Usual, cancel, &LogTail::default())
}

/// A chunk's video.
fn video_of(input: &InputContext) -> Result<&InputStream, String> {
    let video = input.streams().iter().find(|stream| stream.kind == StreamKind::Video);
    video.ok_or_else(|| "it holds no video".to_owned())
}

fn does_not_join(stream: &StreamRecord, first: &StreamRecord) -> Error {
    let message = if stream.parameter_sets == first.parameter_sets {
        format!("its chunks differ: {stream:?} after {first:?}")
    } else {
        "its parameter sets differ from chunk to chunk, so that they cannot be joined; encode without slices".to_owned()
    };
    Error::Encoder { stage: stream.encoder.clone(), message, log: Vec::new() }
}

/// Joins the chunks, which lie in `files`, and merges them with the source's other streams, into the output's temporary
/// file. A stream of the source for which the file cannot be completed is left out, and the merge begins again.
pub(super) fn merge(
    job: &RipJob,
    excerpt: Option<Excerpt>,
    files: &[PathBuf],
    chunks: &[ChunkRecord],
    tell: &mut dyn FnMut(MergeProgress),
) -> Result<Merged> {
    let mut settings = job.merge_settings(excerpt);
    loop {
        match merge_once(job, &settings, files, chunks, tell) {
            Ok(merged) => return Ok(merged),
            Err(MergeFailure::Failed(error)) => return Err(error),
            Err(MergeFailure::Incomplete { streams, error }) => {
                let known = settings.without.len();
                settings.without.extend(streams);
                if settings.without.len() == known {
                    return Err(error);
                }
                tracing::warn!("the merge begins again, without some of the source's streams: {error}");
                let output = &job.output.file;
                output.reset().map_err(|error| output_error(output.target(), error.to_string()))?;
            }
        }
    }
}

fn merge_once(
    job: &RipJob,
    settings: &MergeSettings,
    files: &[PathBuf],
    chunks: &[ChunkRecord],
    tell: &mut dyn FnMut(MergeProgress),
) -> Result<Merged, MergeFailure> {
    let [first, ..] = chunks else { return Err(Error::Internal("a rip without chunks".to_owned()).into()) };
    if let Some(other) = chunks.iter().find(|chunk| chunk.stream != first.stream) {
        return Err(does_not_join(&other.stream, &first.stream).into());
    }
    let path = files.first().filter(|_| files.len() == chunks.len());
    let path = path.ok_or_else(|| Error::Internal(format!("{} files for {} chunks", files.len(), chunks.len())))?;
    let opened = open(path, &job.output.cancel).map_err(|code| unreadable(path, code.to_string()))?;
    let stream = video_of(&opened).map_err(|what| unreadable(path, what))?;
    let mut metadata = vec![("encoder".to_owned(), crate::ffi::encoder_tag(&first.stream.encoder))];
    metadata.extend(job.command.stream_metadata.iter().cloned());
    let mut packets = Packets::new(files, chunks);
    let started = start_codes(job.output.format, stream, first.stream.time_base);
    let (mut filter, started) = started.map_err(|code| unreadable(path, code.to_string()))?.unzip();
    let told = described(stream, &first.stream).map_err(|code| unreadable(path, code.to_string()))?;
    let video = VideoTrack {
        parameters: started.as_ref().or(told.as_ref()).unwrap_or(&stream.parameters),
        time_base: first.stream.time_base,
        settings: StreamSettings {
            frame_rate: first.stream.frame_rate,
            sample_aspect: first.stream.sample_aspect,
            metadata,
        },
        next: &mut || match &mut filter {
            Some(filter) => packets.next()?.map_or(Ok(None), |packet| filtered(filter, &packet)),
            None => packets.next(),
        },
    };
    merge_streams(video, job.source.as_deref(), &job.output.file, settings, &job.output.cancel, tell)
}

/// The stream with what Matroska does not keep of it, and the merged file's container needs.
fn described(stream: &InputStream, record: &StreamRecord) -> Result<Option<StreamParameters>, AvError> {
    let (encoder, format) = (record.encoder.as_str(), record.pixel_format.as_str());
    if let Some(bits) = coded_bits(encoder, format) {
        return stream.parameters.with_coded_bits(bits).map(Some);
    }
    alpha::beside(encoder, format).map(|format| stream.parameters.with_pixel_format(format)).transpose()
}

/// What turns H.264 and HEVC as Matroska has them, with parameter sets in the header and lengths before the units, into
/// what containers without such headers carry, MPEG program streams and AVI among them; and the stream that comes of it. It
/// is what an encoder gives for these.
fn start_codes(
    format: OutputFormat,
    stream: &InputStream,
    time_base: Rational,
) -> Result<Option<(BitstreamFilter, StreamParameters)>, AvError> {
    let parameters = &stream.parameters;
    let has_lengths = parameters.extradata().first() == Some(&1);
    let name = match parameters.codec_name().as_str() {
        "h264" if has_lengths => "h264_mp4toannexb",
        "hevc" if has_lengths => "hevc_mp4toannexb",
        _ => return Ok(None),
    };
    if format.wants_global_header() {
        return Ok(None);
    }
    let filter = BitstreamFilter::open(name, parameters, time_base)?;
    let stream = filter.stream(parameters)?;
    Ok(Some((filter, stream)))
}

/// Such a filter makes one packet of each.
fn filtered(filter: &mut BitstreamFilter, packet: &Packet) -> Result<Option<Packet>> {
    let converted = filter.push(Some(packet)).and_then(|()| filter.pull());
    converted.map_err(|code| Error::Internal(format!("start codes could not be put into a packet: {code}")))
}

fn unreadable(path: &Path, what: String) -> Error {
    Error::State { path: path.to_owned(), reason: format!("{what}; delete it, and encode it again") }
}

/// The packets of all chunks, in decode order, with the times that they have in the whole; each chunk is compared with its
/// record while it is read.
struct Packets<'a> {
    files: &'a [PathBuf],
    chunks: &'a [ChunkRecord],
    times: Schedule,
    chunk: usize,
    input: Option<InputContext>,
    /// Packets taken from the present chunk, and what they hold.
    taken: usize,
    contents: Sha256,
    /// Pictures of the chunks before it.
    before: usize,
}

impl<'a> Packets<'a> {
    fn new(files: &'a [PathBuf], chunks: &'a [ChunkRecord]) -> Self {
        let (times, contents) = (schedule(chunks), Sha256::new());
        Self { files, chunks, times, chunk: 0, input: None, taken: 0, contents, before: 0 }
    }

    fn next(&mut self) -> Result<Option<Packet>> {
        while let Some(record) = self.chunks.get(self.chunk) {
            let Some(mut packet) = self.read()? else {
                self.leave(record)?;
                continue;
            };
            let Some(&rank) = record.order.get(self.taken) else {
                return Err(unreadable(&self.files[self.chunk], "it holds more pictures than before".to_owned()));
            };
            let (picture, decoded) = (self.before + rank as usize, self.before + self.taken);
            packet.set_times(self.times.shown(picture), self.times.decoded(decoded));
            packet.set_duration(self.times.shown(picture + 1) - self.times.shown(picture));
            self.contents.update(packet.data());
            self.taken += 1;
            return Ok(Some(packet));
        }
        Ok(None)
    }

    /// The next packet of the present chunk, opened if need be.
    fn read(&mut self) -> Result<Option<Packet>> {
        let path = &self.files[self.chunk];
        let failed = |code: AvError| unreadable(path, code.to_string());
        let input = match &mut self.input {
            Some(input) => input,
            none => {
                let mut input = open(path, &CancelToken::new()).map_err(failed)?;
                let video = video_of(&input).map_err(|what| unreadable(path, what))?;
                if sha256(video.parameters.extradata()) != self.chunks[self.chunk].stream.parameter_sets {
                    return Err(unreadable(path, "it holds other parameter sets than its record says".to_owned()));
                }
                let index = video.index;
                input.want(&[index]);
                none.insert(input)
            }
        };
        Ok(input.read().map_err(failed)?.map(|(_, packet)| packet))
    }

    /// The end of a chunk: only now it shows whether its file held what was encoded. What was written with it is never
    /// published otherwise.
    fn leave(&mut self, record: &ChunkRecord) -> Result<()> {
        if self.taken != record.order.len() {
            let what = format!("it ends after {} of {} pictures", self.taken, record.order.len());
            return Err(unreadable(&self.files[self.chunk], what));
        }
        if hex(&self.contents.finalize_reset()) != record.contents {
            let what = "it holds other pictures than its record says".to_owned();
            return Err(unreadable(&self.files[self.chunk], what));
        }
        self.before += self.taken;
        (self.chunk, self.input, self.taken) = (self.chunk + 1, None, 0);
        Ok(())
    }
}

/// When each picture of the whole is shown and decoded.
fn schedule(chunks: &[ChunkRecord]) -> Schedule {
    let delay = chunks.iter().map(|chunk| Schedule::delay_of(&chunk.order)).max().unwrap_or(0);
    let variable = chunks.iter().any(|chunk| !chunk.starts.is_empty());
    Schedule { starts: variable.then(|| joined_starts(chunks)), delay }
}

fn joined_starts(chunks: &[ChunkRecord]) -> Vec<i64> {
    let mut starts = Vec::with_capacity(chunks.iter().map(|chunk| chunk.order.len()).sum::<usize>() + 1);
    let mut base = 0_i64;
    for chunk in chunks {
        if chunk.starts.is_empty() {
            starts.extend((base..).take(chunk.order.len()));
        } else {
            starts.extend(chunk.starts.iter().map(|start| base.saturating_add(*start)));
        }
        base = base.saturating_add(chunk.end);
    }
    starts.push(base);
    starts
}
