//! A merge from the opened source to the complete file.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::cancel::CancelToken;
use crate::container::{PartialFile, StreamAction, StreamKind, StreamReport};
use crate::error::{Error, Result};
use crate::ffi::input::{Chapter, InputContext, InputStream, Probe};
use crate::ffi::log::LogTail;
use crate::ffi::output::DISPOSITION_DEFAULT;
use crate::ffi::{AvError, Packet};

use super::layout::{Layout, Planned, Work};
use super::plan::{self, Planner};
use super::run::{self, Reader, Unfinished, Writer};
use super::start::{self, Start};
use super::track::Track;
use super::trial::Samples;
use super::{MergeFailure, MergeProgress, MergeSettings, Merged, Target, VideoTrack, metadata, ordered};

/// The source and what is found out of it before anything is written.
pub(in crate::container) struct Source<'a> {
    pub(in crate::container) path: &'a Path,
    pub(in crate::container) input: InputContext,
    pub(in crate::container) log: LogTail,
    pub(in crate::container) probe: Probe,
    /// The first video, which the merged video replaces.
    pub(in crate::container) video: Option<usize>,
}

impl<'a> Source<'a> {
    pub(in crate::container) fn open(path: &'a Path, settings: &MergeSettings, cancel: &CancelToken) -> Result<Self> {
        let log = LogTail::default();
        let open = |probe| open_input(path, probe, cancel, &log);
        let (mut input, mut probe) = (open(Probe::Usual)?, Probe::Usual);
        let incomplete = |stream| plan::is_incomplete(stream, settings.format, &settings.keep);
        if input.lists_no_streams() || input.streams().iter().any(incomplete) {
            (input, probe) = (open(Probe::Deep)?, Probe::Deep);
        }
        let is_video = |stream: &&InputStream| stream.kind == StreamKind::Video && !plan::is_file(stream);
        let video = input.streams().iter().find(is_video).map(|stream| stream.index);
        Ok(Self { path, input, log, probe, video })
    }

    fn video(&self) -> Option<&InputStream> {
        self.input.streams().get(self.video?)
    }
}

pub(in crate::container) fn open_input(
    path: &Path,
    probe: Probe,
    cancel: &CancelToken,
    log: &LogTail,
) -> Result<InputContext> {
    InputContext::open(path, probe, cancel, log)
        .map_err(|code| if cancel.is_cancelled() { Error::Cancelled } else { source_error(path, code, log) })
}

fn source_error(path: &Path, code: AvError, log: &LogTail) -> Error {
    let mut reason = code.to_string();
    for line in log.take() {
        reason = format!("{reason}\n  {line}");
    }
    Error::Source { path: path.to_owned(), reason }
}

/// The video's place in the header: what the rip says of it, and what the source says of its own.
fn plan_video(
    video: &VideoTrack<'_>,
    replaced: Option<&InputStream>,
    settings: &MergeSettings,
) -> Result<Planned, AvError> {
    let mut parameters = video.parameters.copied()?;
    parameters.fit_tag(settings.format);
    let tags = replaced.map(|stream| plan::stream_tags(stream, true, settings)).unwrap_or_default();
    let tags = metadata::overlaid(tags, &video.settings.metadata);
    let mut stream = plan::stream_settings(metadata::overlaid(tags, &settings.stream_metadata));
    (stream.frame_rate, stream.sample_aspect) = (video.settings.frame_rate, video.settings.sample_aspect);
    Ok(Planned {
        source: replaced.map(|stream| stream.index),
        parameters,
        time_base: video.time_base,
        settings: stream,
        disposition: replaced.map_or(DISPOSITION_DEFAULT, plan::video_disposition),
        work: Work::Video,
    })
}

/// The source, open at its start, with what is known of its times. Times are in nanoseconds.
pub(super) struct Ready {
    input: InputContext,
    log: LogTail,
    start: Start,
    /// The time of the source that becomes 0.
    base: i64,
    /// When the merged file would end if the source keeps what it says.
    declared_end: Option<i64>,
}

/// A merge that is planned.
pub(super) struct Job<'a> {
    target: &'a Target<'a>,
    settings: &'a MergeSettings,
    cancel: &'a CancelToken,
    layout: Layout<'a>,
    streams: Vec<StreamReport>,
    notes: Vec<String>,
}

impl<'a> Job<'a> {
    /// Plans the video; an error when the container does not take it.
    pub(super) fn new(
        target: &'a Target<'a>,
        video: &VideoTrack<'_>,
        source: Option<&Source<'_>>,
        settings: &'a MergeSettings,
        cancel: &'a CancelToken,
    ) -> Result<Self> {
        let planned = plan_video(video, source.and_then(Source::video), settings)
            .map_err(|code| target.failed(code, &LogTail::default()))?;
        let mut layout = Layout::new(target, settings, planned)?;
        layout.metadata = metadata::overlaid(Vec::new(), &settings.metadata);
        Ok(Self { target, settings, cancel, layout, streams: Vec::new(), notes: Vec::new() })
    }

    /// As [`Job::new`], for a video of which little is known: without it where the container wants to know more.
    pub(super) fn without_video(
        target: &'a Target<'a>,
        video: &VideoTrack<'_>,
        source: &Source<'_>,
        settings: &'a MergeSettings,
        cancel: &'a CancelToken,
    ) -> Result<Self> {
        if let Ok(this) = Self::new(target, video, Some(source), settings, cancel) {
            return Ok(this);
        }
        let layout = Layout::empty(target, settings);
        Ok(Self { target, settings, cancel, layout, streams: Vec::new(), notes: Vec::new() })
    }

    /// Plans the source's streams, and opens it again at its start.
    pub(super) fn plan_source<'s>(&mut self, mut source: Source<'s>) -> Result<(Source<'s>, Vec<StreamReport>)> {
        let samples = Samples::collect(&mut source.input, source.video);
        source.input = open_input(source.path, source.probe, self.cancel, &source.log)?;
        let mut planner = Planner {
            video_codec: self.layout.streams.first().map(|video| video.parameters.codec_name()).unwrap_or_default(),
            layout: &mut self.layout,
            settings: self.settings,
            video: source.video,
            knows_defaults: source.input.format_name().contains("matroska"),
            samples: &samples,
            chosen: BTreeSet::new(),
            refused: None,
        };
        let streams = planner.plan(source.input.streams());
        match planner.refused {
            Some(error) => Err(Error::Command(error)),
            None => Ok((source, streams)),
        }
    }

    /// Plans the source's streams, finds out where they begin, and opens the source again at its start.
    pub(super) fn take_source(&mut self, source: Source<'_>) -> Result<Ready> {
        let (mut source, streams) = self.plan_source(source)?;
        self.streams = streams;
        let kept: Vec<usize> = self.layout.streams.iter().skip(1).filter_map(|planned| planned.source).collect();
        let start = start::find(&mut source.input, (source.video, &kept), self.settings.format.priming(), &source.log);
        if self.cancel.is_cancelled() {
            return Err(Error::Cancelled);
        }
        let earliest = start.base(|index| self.is_primed(index));
        let base = match self.settings.excerpt {
            Some(excerpt) => start.video.unwrap_or(earliest).saturating_add(excerpt.start),
            None => earliest,
        };
        self.take_tags(&source, base);
        let says = source.input.start_time().zip(source.input.duration());
        let declared_end = says
            .filter(|_| self.settings.excerpt.is_none())
            .map(|(start, duration)| start.saturating_add(duration).saturating_sub(base));
        let input = open_input(source.path, source.probe, self.cancel, &source.log)?;
        Ok(Ready { input, log: source.log, start, base, declared_end })
    }

    fn is_primed(&self, index: usize) -> bool {
        let planned = self.layout.streams.iter().skip(1).find(|planned| planned.source == Some(index));
        planned.is_some_and(|planned| {
            let converted = matches!(planned.work, Work::Audio(_));
            start::is_primed(self.settings.format.priming(), &planned.parameters.codec_name(), converted)
        })
    }

    /// The file's tags and chapters.
    fn take_tags(&mut self, source: &Source<'_>, base: i64) {
        let (settings, rules) = (self.settings, &self.settings.rules);
        if settings.keep.metadata && !rules.untagged.file {
            let tags = metadata::of_file(source.input.metadata());
            self.layout.metadata = metadata::overlaid(tags, &settings.metadata);
        }
        let chapters = source.input.chapters();
        if !settings.keep.chapters || rules.without_chapters || chapters.is_empty() {
            return;
        }
        if !settings.format.has_chapters() {
            let (count, name) = (chapters.len(), settings.format.name());
            self.notes.push(format!("{count} chapters are left out: the format {name} has none; MKV and MP4 have"));
            return;
        }
        let chapters = match ordered::find(source.path) {
            Some(ordered) => self.note_ordered(ordered),
            None => chapters,
        };
        let untagged = rules.untagged.chapters;
        let bare = |chapter: Chapter| if untagged { Chapter { metadata: Vec::new(), ..chapter } } else { chapter };
        let length = settings.excerpt.and_then(|excerpt| excerpt.length());
        self.layout.chapters = chapters.into_iter().filter_map(|chapter| moved(bare(chapter), base, length)).collect();
    }

    fn note_ordered(&mut self, ordered: ordered::Ordered) -> Vec<Chapter> {
        let elsewhere = match ordered.elsewhere {
            0 => String::new(),
            1 => "; one that lies in another file is left out".to_owned(),
            count => format!("; {count} that lie in other files are left out"),
        };
        self.notes.push(format!(
            "the source's chapters are ordered: players show them in that order, and may leave parts out. The merged file \
             is in the order in which the source is written, with its chapters at their times there{elsewhere}"
        ));
        ordered.chapters
    }

    /// Writes the file and completes it.
    pub(super) fn write(
        mut self,
        file: &PartialFile,
        video: VideoTrack<'_>,
        ready: Option<Ready>,
        tell: &mut dyn FnMut(MergeProgress),
    ) -> Result<Merged, MergeFailure> {
        let mut writer = self.open_writer(file)?;
        let chapters = self.layout.chapters.len();
        let (base, video_start) = ready.as_ref().map_or((0, None), |ready| (ready.base, ready.start.video));
        let skipped = self.settings.excerpt.map_or(0, |excerpt| excerpt.start);
        let shift = video_start.map_or(0, |start| start.saturating_add(skipped).saturating_sub(base));
        let sources: Vec<Option<usize>> = self.layout.streams.iter().map(|planned| planned.source).collect();
        let mut tracks = std::mem::take(&mut self.layout.streams).into_iter().enumerate();
        let Some((_, planned)) = tracks.next() else {
            return Err(Error::Internal("no video was planned".to_owned()).into());
        };
        let mut track = Track::new(planned, video.time_base, self.layout.placement(&writer.context, 0, shift));
        let declared_end = ready.as_ref().and_then(|ready| ready.declared_end);
        let mut reader = ready.map(|ready| {
            let wanted = tracks.filter_map(|(index, mut planned)| {
                let source = planned.source?;
                if let (Work::Audio(conversion), Some(&begin)) = (&mut planned.work, ready.start.streams.get(&source)) {
                    conversion.begins_at(begin);
                }
                let input_base = ready.input.streams().get(source)?.time_base;
                let placement = self.layout.placement(&writer.context, index, base.saturating_neg());
                Some((source, Track::new(planned, input_base, placement)))
            });
            let wanted: BTreeMap<usize, Track> = wanted.collect();
            Reader::new(ready.input, wanted, ready.log, (self.settings.excerpt, self.settings.format.priming()))
        });
        run::run(&mut writer, (&mut track, video.next), &mut reader, self.cancel, tell)?;
        if let Some(reader) = &mut reader {
            reader.finish(declared_end, &mut writer)?;
            self.notes.append(&mut reader.notes);
            self.streams.extend(reader.late_streams().iter().map(plan::too_late));
        }
        let video_packets = writer.video_packets;
        let bytes = match writer.finish(file) {
            Ok(finished) => {
                let silent = finished.silent.iter().any(|&index| sources.get(index).copied().flatten().is_some());
                if silent && self.layout.is_fragmented() {
                    let error =
                        self.target.error("a file of fragments cannot describe a stream without packets".to_owned());
                    return Err(self.blame(&sources, &finished.silent, error));
                }
                if self.settings.format.is_mp4() {
                    leave_out_silent(&mut self.streams, &finished.silent);
                }
                finished.bytes
            }
            Err(Unfinished::Failed(error)) => return Err(error.into()),
            Err(Unfinished::Incomplete { silent, error }) => return Err(self.blame(&sources, &silent, error)),
        };
        Ok(Merged { bytes, video_packets, streams: self.streams, chapters, notes: self.notes })
    }

    /// The streams without which a file that could not be completed may be: those of which nothing came, or all.
    fn blame(&self, sources: &[Option<usize>], silent: &[usize], error: Error) -> MergeFailure {
        let reason = format!("{} could not be completed with it: {error}", self.settings.format.name());
        let named = |indexes: &mut dyn Iterator<Item = usize>| -> BTreeMap<usize, String> {
            indexes
                .filter_map(|index| sources.get(index).copied().flatten().map(|source| (source, reason.clone())))
                .collect()
        };
        let mut streams = named(&mut silent.iter().copied().filter(|&index| index > 0));
        if streams.is_empty() {
            streams = named(&mut (1..sources.len()));
        }
        if streams.is_empty() { MergeFailure::Failed(error) } else { MergeFailure::Incomplete { streams, error } }
    }

    /// Makes the file, and writes the header and the pictures beside the video.
    fn open_writer(&self, file: &PartialFile) -> Result<Writer<'a>> {
        let target = self.target;
        let mut writer = Writer::open(target, &self.layout, file)?;
        for (index, planned) in self.layout.streams.iter().enumerate() {
            let Work::Picture(bytes) = &planned.work else { continue };
            let mut packet = Packet::copy_of(bytes).map_err(|code| target.failed(code, &writer.log))?;
            packet.place(Some(0), Some(0), 0);
            packet.set_key();
            packet.set_stream_index(index);
            writer.write(vec![packet])?;
        }
        Ok(writer)
    }
}

/// MP4 and its kin have no streams without packets: what was planned and stayed silent is not in the file.
fn leave_out_silent(streams: &mut [StreamReport], silent: &[usize]) {
    for report in streams {
        let Some(index) = report.output_index else { continue };
        let is_silent = silent.contains(&index);
        report.output_index = (!is_silent).then(|| index - silent.iter().filter(|&&other| other < index).count());
        if is_silent {
            let reason = "nothing of it lies in the part of the source that was taken".to_owned();
            report.action = StreamAction::LeftOut { reason };
        }
    }
}

/// A chapter in the merged file's time; `None` when it is over before that begins, or begins when that is over.
fn moved(mut chapter: Chapter, base: i64, length: Option<i64>) -> Option<Chapter> {
    let length = length.unwrap_or(i64::MAX);
    let start = chapter.start.saturating_sub(base);
    let end = chapter.end.saturating_sub(base).max(start);
    (chapter.start, chapter.end) = (start.max(0), end.clamp(0, length));
    ((end > 0 || start >= 0) && start < length).then_some(chapter)
}
