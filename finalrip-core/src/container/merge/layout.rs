//! The merged file's header: its streams, chapters and tags, tried before the file is made.

use std::ffi::c_int;
use std::path::Path;

use crate::container::parse_tag;
use crate::error::Result;
use crate::ffi::format::{OutputContext, StreamSettings};
use crate::ffi::input::Chapter;
use crate::ffi::log::LogTail;
use crate::ffi::output::Priming;
use crate::ffi::{AvError, StreamParameters};
use crate::units::Rational;

use super::audio::AudioConversion;
use super::metadata::Tags;
use super::subtitles::SubtitleConversion;
use super::track::Placement;
use super::{MergeSettings, Target};

/// One stream of the merged file, the video or another.
#[derive(Debug)]
pub(in crate::container) struct Planned {
    /// Its number in the source.
    pub(in crate::container) source: Option<usize>,
    pub(super) parameters: StreamParameters,
    /// The base that it would like for its times.
    pub(super) time_base: Rational,
    pub(super) settings: StreamSettings,
    pub(super) disposition: c_int,
    pub(super) work: Work,
}

/// Where a stream's packets come from.
#[derive(Debug)]
pub(super) enum Work {
    /// The chunks: it is the video.
    Video,
    /// The source, as they are.
    Copy,
    /// The source, through a decoder and an encoder.
    Audio(Box<AudioConversion>),
    /// The source, through a decoder and an encoder of text.
    Subtitle(Box<SubtitleConversion>),
    /// There are none: all of it is in the header.
    Attachment,
    /// There is one: a picture beside the video.
    Picture(Vec<u8>),
}

/// How much time the muxer holds back so as to put packets in order. They come in order but for what a source has
/// interleaved badly; what it holds back is memory, and a sparse subtitle stream makes it hold back all that it may.
const LONGEST_INTERLEAVE: &str = "2000000";

/// The header as it is planned so far.
pub(in crate::container) struct Layout<'a> {
    target: &'a Target<'a>,
    settings: &'a MergeSettings,
    /// The video first.
    pub(in crate::container) streams: Vec<Planned>,
    pub(super) chapters: Vec<Chapter>,
    pub(super) metadata: Tags,
    /// Whether the muxer must be told that a codec which it calls experimental is meant.
    experimental: bool,
}

impl<'a> Layout<'a> {
    /// A header without streams.
    pub(in crate::container) fn empty(target: &'a Target<'a>, settings: &'a MergeSettings) -> Self {
        let (streams, chapters, metadata) = (Vec::new(), Vec::new(), Vec::new());
        Self { target, settings, streams, chapters, metadata, experimental: false }
    }

    /// A header with the video alone; an error when the container does not take even that.
    pub(super) fn new(target: &'a Target<'a>, settings: &'a MergeSettings, video: Planned) -> Result<Self> {
        let mut this = Self { streams: vec![video], ..Self::empty(target, settings) };
        if settings.format.writes_a_file() {
            let log = LogTail::of_a_trial();
            let tried = this.attempt(&log, &[]);
            if tried.is_err() && !this.names_option("strict") {
                this.experimental = true;
                log.take();
                let unused = this.attempt(&log, &[]).map_err(|code| target.failed(code, &log))?;
                this.check_options(&unused)?;
                return Ok(this);
            }
            let unused = tried.map_err(|code| target.failed(code, &log))?;
            this.check_options(&unused)?;
        }
        Ok(this)
    }

    /// Whether it is MP4 whose streams are described while it is written. libav then writes descriptions that no reader takes
    /// of some streams of which nothing has come.
    pub(super) fn is_fragmented(&self) -> bool {
        let flags =
            self.settings.options.iter().filter(|(name, _)| name == "movflags").map(|(_, value)| value.as_str());
        let mut parts = flags.flat_map(|value| value.split(['+', '-', '|']));
        let name = self.settings.format.name();
        name == "ismv" || parts.any(|flag| flag.starts_with("frag") || ["delay_moov", "dash", "cmaf"].contains(&flag))
    }

    pub(super) fn settings(&self) -> &MergeSettings {
        self.settings
    }

    /// The target's extension, by which libav may tell formats apart.
    pub(super) fn extension(&self) -> String {
        self.target.path.extension().map(|extension| extension.to_string_lossy().into_owned()).unwrap_or_default()
    }

    /// Whether the container takes a stream beside those that it has taken; if not, what it says.
    pub(super) fn accepts(&mut self, candidate: &Planned) -> Result<(), String> {
        if !self.settings.format.writes_a_file() {
            return Ok(());
        }
        let log = LogTail::of_a_trial();
        let mut answer = self.attempt_whole(&log, candidate).and_then(|()| self.attempt(&log, &[candidate]).map(drop));
        if answer.is_err() && self.settings.format.is_mp4() && !self.experimental && !self.names_option("strict") {
            log.take();
            self.experimental = true;
            answer = self.attempt(&log, &[candidate]).map(drop);
            self.experimental = answer.is_ok();
        }
        let lines = log.take();
        answer.map_err(|code| lines.last().cloned().unwrap_or_else(|| code.to_string()))
    }

    /// Writes all that MP4 says of a stream of PCM, which it does at the end of a file, and refuses some layouts only then. In
    /// a file of fragments it says so at once.
    fn attempt_whole(&self, log: &LogTail, candidate: &Planned) -> Result<(), AvError> {
        if !self.settings.format.is_mp4() || !candidate.parameters.codec_name().starts_with("pcm_") {
            return Ok(());
        }
        let mut context = OutputContext::in_memory(self.settings.format, log)?;
        context.add_stream(&candidate.parameters, candidate.time_base, &candidate.settings)?;
        context.write_header(&[("movflags".to_owned(), "+empty_moov".to_owned())]).map(drop)
    }

    /// Writes the header in memory, with the streams so far and those of `more`, attachments left out: they are large,
    /// and none depends on another.
    fn attempt(&self, log: &LogTail, more: &[&Planned]) -> Result<Vec<String>, AvError> {
        let mut context = OutputContext::in_memory(self.settings.format, log)?;
        let streams = self.streams.iter().filter(|stream| !matches!(stream.work, Work::Attachment));
        self.write(&mut context, streams.chain(more.iter().copied()))
    }

    /// How a stream is placed in the file, whose header is written; what comes of it is to be shown `shift` nanoseconds later.
    pub(in crate::container) fn placement(&self, context: &OutputContext, index: usize, shift: i64) -> Placement {
        Placement {
            index,
            output_base: context.time_base_of(index),
            shift,
            equal_times: self.settings.format.allows_equal_times(),
            from_zero: self.settings.format.priming() == Priming::OpusDelay,
            counts_samples: self.settings.format.is_mp4(),
        }
    }

    /// Opens the file, which has no header yet.
    pub(super) fn create(&self, path: &Path, log: &LogTail) -> Result<OutputContext> {
        OutputContext::create(path, self.settings.format, log).map_err(|code| self.target.failed(code, log))
    }

    /// Writes the header into the file. The streams get the numbers that they have here.
    pub(super) fn write_header(&self, context: &mut OutputContext, log: &LogTail) -> Result<()> {
        let written = self.write(context, self.streams.iter());
        let unused = written.map_err(|code| self.target.failed(code, log))?;
        self.check_options(&unused)
    }

    fn write<'b>(
        &self,
        context: &mut OutputContext,
        streams: impl Iterator<Item = &'b Planned>,
    ) -> Result<Vec<String>, AvError> {
        context.set_bitexact();
        for stream in streams {
            let index = context.add_stream(&stream.parameters, stream.time_base, &stream.settings)?;
            context.set_disposition(index, stream.disposition);
        }
        // An unreadable tag was refused before the layout was made.
        if let Some(tag) = self.settings.tag.as_deref().and_then(parse_tag) {
            context.set_tag(tag);
        }
        for chapter in &self.chapters {
            context.add_chapter(chapter)?;
        }
        context.set_metadata(&self.metadata);
        context.write_header(&self.options())
    }

    /// The command's options, and ours where it has none.
    pub(super) fn options(&self) -> Vec<(String, String)> {
        let mut options = self.settings.options.clone();
        let mut add = |key: &str, value: &str| {
            if !self.names_option(key) {
                options.push((key.to_owned(), value.to_owned()));
            }
        };
        add("max_interleave_delta", LONGEST_INTERLEAVE);
        if ["matroska", "webm"].contains(&self.settings.format.name().as_str()) {
            // Nothing that we write is shown before 0. libav would take a decode time for one that is, or move all
            // streams for the few samples of Opus that the header declares.
            add("avoid_negative_ts", "disabled");
        }
        if self.experimental {
            add("strict", "experimental");
        }
        options
    }

    fn names_option(&self, key: &str) -> bool {
        self.settings.options.iter().any(|(known, _)| known == key)
    }

    fn check_options(&self, unused: &[String]) -> Result<()> {
        if unused.is_empty() {
            return Ok(());
        }
        let name = self.settings.format.name();
        Err(self.target.error(format!("the {name} muxer has no option named {}", unused.join(", "))))
    }
}
