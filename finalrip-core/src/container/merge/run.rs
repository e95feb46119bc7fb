//! The merge itself: packets of the chunks and of the source, in the order of their decode times.

use std::collections::{BTreeMap, VecDeque};

use crate::cancel::CancelToken;
use crate::container::PartialFile;
use crate::error::{Error, Result};
use crate::ffi::format::OutputContext;
use crate::ffi::input::{InputContext, InputStream};
use crate::ffi::log::LogTail;
use crate::ffi::output::Priming;
use crate::ffi::{AvError, Packet};

use super::layout::{Layout, Work};
use super::start::{Lead, hidden_lead};
use super::track::Track;
use super::{Excerpt, MergeProgress, Target};

/// How far beyond the end of what is wanted the source is read for what is interleaved badly, in nanoseconds.
const BADLY_INTERLEAVED: i64 = 10_000_000_000;

/// The source, read for the streams that are kept.
pub(super) struct Reader {
    input: InputContext,
    /// By their number in the source.
    tracks: BTreeMap<usize, Track>,
    log: LogTail,
    /// The latest decode time, in nanoseconds of the merged file.
    reached: i64,
    /// The end of what has come so far, likewise.
    lasts: i64,
    ended: bool,
    /// Of each stream the last packet if it is damaged. It is passed on when another follows; as the last one it is
    /// what a source that breaks off had of it.
    held: BTreeMap<usize, (i64, Packet)>,
    /// What was held and is now followed by another.
    ready: VecDeque<(usize, i64, Packet)>,
    /// The part that is kept, if it is not all: from 0 to its end.
    excerpt: Option<Excerpt>,
    /// Of streams of sound that are copied and have not been heard yet, what an edit list hides at their start.
    hidden: BTreeMap<usize, Vec<Packet>>,
    /// Whether the file can hide a packet in front of the first that is heard.
    keeps_lead: bool,
    /// Of each stream, as far as is known, the packets that the muxer refused, and the last that it said of them.
    refused: BTreeMap<Option<usize>, (u64, String)>,
    pub(super) notes: Vec<String>,
}

impl Reader {
    pub(super) fn new(
        mut input: InputContext,
        tracks: BTreeMap<usize, Track>,
        log: LogTail,
        (excerpt, priming): (Option<Excerpt>, Priming),
    ) -> Self {
        let wanted: Vec<usize> = tracks.keys().copied().collect();
        let hidden = tracks.iter().filter(|(_, track)| track.is_copied_sound()).map(|(&index, _)| (index, Vec::new()));
        input.want(&wanted);
        // What libav had to say when it opened the file is no news of the reading.
        log.take();
        let ended = wanted.is_empty();
        Self {
            input,
            hidden: hidden.collect(),
            keeps_lead: priming == Priming::EditList,
            tracks,
            log,
            reached: 0,
            lasts: 0,
            ended,
            held: BTreeMap::new(),
            ready: VecDeque::new(),
            excerpt,
            refused: BTreeMap::new(),
            notes: Vec::new(),
        }
    }

    /// Streams of the source that nobody knew of when it was opened.
    pub(super) fn late_streams(&self) -> Vec<InputStream> {
        self.input.late_streams()
    }

    /// The next packet and its decode time in nanoseconds of the merged file. A source that breaks off has ended.
    fn next(&mut self) -> Option<(usize, i64, Packet)> {
        if let Some(ready) = self.ready.pop_front() {
            return Some(ready);
        }
        while !self.ended {
            match self.input.read() {
                Ok(Some((index, packet))) => {
                    for packet in self.what_is_shown(index, packet) {
                        self.take(index, packet);
                    }
                    if let Some(ready) = self.ready.pop_front() {
                        return Some(ready);
                    }
                }
                Ok(None) => self.ended = true,
                Err(code) => {
                    self.ended = true;
                    self.note(format!("the source could not be read beyond {}: {code}", clock_face(self.reached)));
                }
            }
        }
        None
    }

    /// A packet of the source, without what an edit list hides: a copy of it would be played. Decoders drop it themselves.
    fn what_is_shown(&mut self, index: usize, packet: Packet) -> Vec<Packet> {
        let Some(track) = self.tracks.get(&index) else { return Vec::new() };
        if packet.is_hidden() && track.is_copied() {
            if let Some(waiting) = self.hidden.get_mut(&index) {
                waiting.push(packet);
            }
            return Vec::new();
        }
        let mut shown = self.hidden.remove(&index).unwrap_or_default();
        let begin = |packet: &Packet| track.time_of(packet);
        let hidden = begin(&packet).zip(shown.first().and_then(begin)).map_or(0, |(heard, first)| heard - first);
        match hidden_lead(hidden, self.keeps_lead) {
            Lead::All => {}
            Lead::Last => drop(shown.drain(..shown.len().saturating_sub(1))),
            Lead::None => shown.clear(),
        }
        shown.push(packet);
        shown
    }

    /// Takes a packet that is to be written in.
    fn take(&mut self, index: usize, mut packet: Packet) {
        let Some(track) = self.tracks.get(&index) else { return };
        let time = track.time_of(&packet).unwrap_or(self.reached);
        self.reached = self.reached.max(time);
        self.lasts = self.lasts.max(time).max(track.end_of(&packet).unwrap_or(time));
        if let Some(excerpt) = self.excerpt {
            let length = excerpt.length().unwrap_or(i64::MAX);
            self.ended |= time.saturating_sub(length) > BADLY_INTERLEAVED;
            if !track.keep_within(&mut packet, length) {
                return;
            }
        }
        let held = if packet.is_corrupt() {
            self.held.insert(index, (time, packet))
        } else {
            let held = self.held.remove(&index);
            if let Some((time, packet)) = held {
                self.ready.push_back((index, time, packet));
            }
            self.ready.push_back((index, time, packet));
            None
        };
        if let Some((time, packet)) = held {
            self.ready.push_back((index, time, packet));
        }
    }

    fn note(&mut self, note: String) {
        tracing::warn!("{note}");
        self.notes.push(note);
    }

    /// What is worth knowing of the reading, now that it is over. `declared` is when the source says that it ends.
    fn conclude(&mut self, declared: Option<i64>) {
        const CLOSE_ENOUGH: i64 = 2_000_000_000;
        let has_sound = self.tracks.values().any(|track| track.planned().parameters.sample_rate().is_some());
        if let Some(declared) = declared.filter(|end| has_sound && end.saturating_sub(self.lasts) > CLOSE_ENOUGH) {
            let (reached, declared) = (clock_face(self.lasts), clock_face(declared));
            self.note(format!(
                "what is kept of the source ends at {reached}, the source by its own account at {declared}"
            ));
        }
        let mut lines = self.log.take();
        lines.dedup();
        for line in lines.into_iter().take(3) {
            self.note(format!("libav on the source: {line}"));
        }
        let mut notes: Vec<String> = Vec::new();
        notes
            .extend(self.held.keys().map(|index| format!("the last packet of the source's stream {index} is cut off")));
        for (index, track) in &self.tracks {
            let damaged = match &track.planned().work {
                Work::Audio(conversion) => conversion.damaged,
                Work::Subtitle(conversion) => conversion.damaged,
                _ => 0,
            };
            if damaged > 0 {
                notes.push(format!("{damaged} packets of the source's stream {index} could not be converted"));
            }
            if track.moved > 0 {
                notes.push(format!("{} packets of the source's stream {index} came out of order", track.moved));
            }
        }
        notes.extend(self.refused.iter().map(|(index, (packets, reason))| {
            let whose = index.map_or("the source".to_owned(), |index| format!("the source's stream {index}"));
            format!("{packets} packets of {whose} are left out: the container refused them ({reason})")
        }));
        notes.into_iter().for_each(|note| self.note(note));
    }
}

/// A complete file.
pub(in crate::container) struct Finished {
    /// Its size.
    pub(in crate::container) bytes: u64,
    /// The streams of which there was no packet.
    pub(super) silent: Vec<usize>,
}

/// Why a file could not be completed.
#[derive(Debug)]
pub(in crate::container) enum Unfinished {
    Failed(Error),
    /// The muxer could not end it. Of the `silent` streams it has seen no packet.
    Incomplete {
        silent: Vec<usize>,
        error: Error,
    },
}

impl From<Error> for Unfinished {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl From<Unfinished> for Error {
    fn from(unfinished: Unfinished) -> Self {
        match unfinished {
            Unfinished::Failed(error) | Unfinished::Incomplete { error, .. } => error,
        }
    }
}

/// The file being written.
pub(in crate::container) struct Writer<'a> {
    target: &'a Target<'a>,
    pub(in crate::container) context: OutputContext,
    pub(super) log: LogTail,
    pub(super) video_packets: u64,
    /// What the muxer said of the last packet that was left out.
    left_out: Option<String>,
}

impl<'a> Writer<'a> {
    /// Makes the file and writes the header.
    pub(in crate::container) fn open(target: &'a Target<'a>, layout: &Layout<'_>, file: &PartialFile) -> Result<Self> {
        let log = LogTail::default();
        let path = file.create().map_err(|error| target.error(error.to_string()))?;
        let mut context = layout.create(&path, &log)?;
        layout.write_header(&mut context, &log)?;
        Ok(Self { target, context, log, video_packets: 0, left_out: None })
    }

    /// Writes packets, none of which may be missing.
    pub(in crate::container) fn write(&mut self, packets: Vec<Packet>) -> Result<()> {
        for packet in packets {
            self.context.write(packet).map_err(|code| self.target.failed(code, &self.log))?;
        }
        Ok(())
    }

    /// Writes packets. What the muxer finds wrong beside the video is left out: the rest of the file is worth having. Returns how
    /// many packets, and what the muxer says of the last.
    fn write_what_it_takes(&mut self, packets: Vec<Packet>) -> Result<Option<(u64, String)>> {
        let mut refused: Option<(u64, String)> = None;
        for packet in packets {
            let Err(code) = self.context.write(packet) else { continue };
            if code == AvError::NO_MEMORY || self.context.io_error().is_err() {
                return Err(self.target.failed(code, &self.log));
            }
            let reason = self.log.take().pop().unwrap_or_else(|| code.to_string());
            self.left_out = Some(reason.clone());
            refused = Some((refused.map_or(1, |(count, _)| count + 1), reason));
        }
        Ok(refused)
    }

    /// Completes the file.
    pub(in crate::container) fn finish(mut self, file: &PartialFile) -> Result<Finished, Unfinished> {
        if let Some(reason) = self.left_out {
            // The muxer puts packets in order, and may have meant one of the video that waited. That one is worth everything.
            self.context.flush().map_err(|code| self.target.failed(code, &self.log))?;
            if self.context.packets_of(0) != self.video_packets {
                let reason = format!("the container refused a packet of the video: {reason}");
                return Err(Unfinished::Failed(self.target.error(reason)));
            }
        }
        let Self { target, mut context, log, .. } = self;
        let ended = context.write_trailer();
        let silent: Vec<usize> = (0..context.streams()).filter(|&stream| context.packets_of(stream) == 0).collect();
        if let Err(code) = ended {
            let error = target.failed(code, &log);
            if code == AvError::NO_MEMORY || context.io_error().is_err() {
                return Err(Unfinished::Failed(error));
            }
            return Err(Unfinished::Incomplete { silent, error });
        }
        context.finish().map_err(|code| target.failed(code, &log))?;
        let bytes = file.complete().map_err(|error| Unfinished::Failed(target.error(error.to_string())))?;
        Ok(Finished { bytes, silent })
    }

    fn progress(&self) -> MergeProgress {
        MergeProgress { bytes: self.context.position(), video_packets: self.video_packets }
    }
}

/// Writes everything: of the two sides always the packet that is decoded first.
pub(super) fn run(
    writer: &mut Writer<'_>,
    video: (&mut Track, &mut dyn FnMut() -> Result<Option<Packet>>),
    reader: &mut Option<Reader>,
    cancel: &CancelToken,
    tell: &mut dyn FnMut(MergeProgress),
) -> Result<()> {
    let (track, next_video) = video;
    let mut from_video = next_video()?;
    let mut from_source = reader.as_mut().and_then(Reader::next);
    loop {
        if cancel.is_cancelled() {
            return Err(Error::Cancelled);
        }
        let video_time = from_video.as_ref().map(|packet| track.time_of(packet).unwrap_or(i64::MIN));
        let source_time = from_source.as_ref().map(|(_, time, _)| *time);
        let video_first = match (video_time, source_time) {
            (None, None) => break,
            (Some(video), Some(source)) => video <= source,
            (video, _) => video.is_some(),
        };
        if video_first {
            let packets = track.take(from_video.take()).map_err(not_passed_on)?;
            match reader {
                // What the muxer finds wrong now may be a packet of the source that has waited for its turn.
                Some(reader) => reader.write(packets, None, writer)?,
                None => writer.write(packets)?,
            }
            writer.video_packets += 1;
            from_video = next_video()?;
        } else if let (Some((index, time, packet)), Some(reader)) = (from_source.take(), reader.as_mut()) {
            let at = At { index, time };
            reader.pass(Some(packet), at, writer)?;
            from_source = reader.next();
        }
        tell(writer.progress());
    }
    if cancel.is_cancelled() {
        return Err(Error::Cancelled);
    }
    Ok(())
}

/// A place in the source, for messages.
#[derive(Clone, Copy)]
struct At {
    index: usize,
    time: i64,
}

impl Reader {
    /// Writes packets, but those that the muxer finds wrong.
    fn write(&mut self, packets: Vec<Packet>, stream: Option<usize>, writer: &mut Writer<'_>) -> Result<()> {
        if let Some((count, reason)) = writer.write_what_it_takes(packets)? {
            let known = self.refused.entry(stream).or_default();
            *known = (known.0 + count, reason);
        }
        Ok(())
    }

    /// Writes what a packet, or the end, of one of the streams becomes. A conversion that fails ends its stream there: the
    /// rest of the file is worth having.
    fn pass(&mut self, packet: Option<Packet>, at: At, writer: &mut Writer<'_>) -> Result<()> {
        let Some(track) = self.tracks.get_mut(&at.index) else { return Ok(()) };
        match track.take(packet) {
            Ok(packets) => self.write(packets, Some(at.index), writer),
            Err(error) => {
                let log = error.log.last().map(|line| format!(" ({line})")).unwrap_or_default();
                let time = clock_face(at.time);
                self.note(format!(
                    "the conversion of the source's stream {} stopped at {time}: {}{log}",
                    at.index, error.message
                ));
                self.tracks.remove(&at.index);
                Ok(())
            }
        }
    }

    /// Writes what is still inside converters, and notes what is worth knowing.
    pub(super) fn finish(&mut self, declared: Option<i64>, writer: &mut Writer<'_>) -> Result<()> {
        let time = self.reached;
        for index in self.tracks.keys().copied().collect::<Vec<_>>() {
            self.pass(None, At { index, time }, writer)?;
        }
        self.conclude(declared);
        Ok(())
    }
}

/// A packet that passes through no converter, which could fail, has failed to pass.
pub(in crate::container) fn not_passed_on(error: crate::encoder::EncoderError) -> Error {
    Error::Internal(format!("a packet could not be passed on: {}", error.message))
}

/// Nanoseconds as `h:mm:ss.mmm`.
pub(in crate::container) fn clock_face(time: i64) -> String {
    let sign = if time < 0 { "-" } else { "" };
    let milliseconds = time.unsigned_abs() / 1_000_000;
    let (seconds, rest) = (milliseconds / 1000, milliseconds % 1000);
    format!("{sign}{}:{:02}:{:02}.{rest:03}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}
