//! What becomes of each stream of the source.

use std::collections::BTreeSet;
use std::ffi::c_int;

use crate::container::{StreamAction, StreamKind, StreamReport};
use crate::encoder::command::CommandError;
use crate::encoder::command::streams::{SideKind, StreamWish};
use crate::ffi::audio::AudioSettings;
use crate::ffi::format::{OutputFormat, StreamSettings};
use crate::ffi::input::InputStream;
use crate::ffi::log::LogTail;
use crate::ffi::output::{DISPOSITION_DEFAULT, KEPT_DISPOSITIONS, disposition_bits};
use crate::ffi::parameters::SubtitleForm;
use crate::ffi::{AvError, Packet, StreamParameters, encoder_tag};
use crate::units::Rational;

use super::audio::{self, AudioConversion};
use super::layout::{Layout, Planned, Work};
use super::metadata::{self, Tags};
use super::subtitles::{self, SubtitleConversion};
use super::trial::{Samples, Tried};
use super::{MergeOptions, MergeSettings};

/// Makes the plan, stream by stream.
pub(super) struct Planner<'a, 'b> {
    pub(super) layout: &'a mut Layout<'b>,
    pub(super) settings: &'a MergeSettings,
    /// Number of the source's stream that the merged video replaces.
    pub(super) video: Option<usize>,
    pub(super) video_codec: String,
    /// Whether the source's format says which streams are the default.
    pub(super) knows_defaults: bool,
    /// What each stream is tried with.
    pub(super) samples: &'a Samples,
    /// Streams whose disposition the command chooses.
    pub(super) chosen: BTreeSet<usize>,
    /// Why the command cannot be followed.
    pub(super) refused: Option<CommandError>,
}

/// A stream that goes into the file, or why it does not.
type Answer = Result<(Planned, StreamAction), String>;

impl Planner<'_, '_> {
    /// Adds to the layout what the container can carry, attachments last, as readers list them. The reports come in the
    /// order of the source.
    pub(super) fn plan(&mut self, streams: &[InputStream]) -> Vec<StreamReport> {
        let mut reports: Vec<StreamReport> = Vec::with_capacity(streams.len());
        let (tracks, files): (Vec<_>, Vec<_>) = streams.iter().partition(|stream| !is_file(stream));
        for stream in tracks.into_iter().chain(files) {
            let wish = self.wish(stream, streams);
            reports.push(self.plan_stream(stream, &wish));
        }
        self.check_numbers(streams);
        self.mark_defaults();
        reports.sort_by_key(|report| report.source_index);
        reports
    }

    /// An option for a stream that the source does not have would be ignored.
    fn check_numbers(&mut self, streams: &[InputStream]) {
        let count = |kind: SideKind| streams.iter().filter(|stream| side_kind(stream) == Some(kind)).count();
        let beyond =
            self.settings.rules.rules.iter().find(|rule| rule.index.is_some_and(|index| index >= count(rule.kind)));
        if let (Some(rule), None) = (beyond, &self.refused) {
            let reason = format!("the source has {} streams of that kind; they are counted from 0", count(rule.kind));
            self.refused = Some(CommandError::not_here(&rule.typed, reason));
        }
    }

    /// What the command asks of a stream; streams are counted among those of their kind.
    fn wish(&self, stream: &InputStream, streams: &[InputStream]) -> StreamWish {
        let Some(kind) = side_kind(stream) else { return StreamWish::default() };
        let before = streams.iter().filter(|other| other.index < stream.index && side_kind(other) == Some(kind));
        self.settings.rules.wish(kind, before.count())
    }

    fn plan_stream(&mut self, stream: &InputStream, wish: &StreamWish) -> StreamReport {
        if self.video == Some(stream.index) {
            let action = StreamAction::Converted { to: self.video_codec.clone() };
            return report(stream, Some(0), action);
        }
        match self.answer(stream, wish) {
            Ok((mut planned, action)) => {
                self.describe_as_asked(&mut planned, stream, wish);
                self.layout.streams.push(planned);
                report(stream, Some(self.layout.streams.len() - 1), action)
            }
            Err(reason) => report(stream, None, StreamAction::LeftOut { reason }),
        }
    }

    fn answer(&mut self, stream: &InputStream, wish: &StreamWish) -> Answer {
        if let Some(reason) = self.refuse(stream) {
            return Err(reason);
        }
        let answer = match stream.kind {
            StreamKind::Audio => self.audio(stream, wish),
            StreamKind::Subtitle => self.subtitle(stream, wish),
            _ => return self.file(stream),
        };
        if let (Err(reason), Some(typed), None) = (&answer, wish.said_by(), &self.refused) {
            let codec = stream.parameters.codec_name();
            let reason = format!("the source's stream {} ({codec}): {reason}", stream.index);
            self.refused = Some(CommandError::not_here(typed, reason));
        }
        answer
    }

    /// Tags and disposition as the command says.
    fn describe_as_asked(&mut self, planned: &mut Planned, stream: &InputStream, wish: &StreamWish) {
        if !wish.tags.is_empty() {
            let tags = metadata::overlaid(std::mem::take(&mut planned.settings.metadata), &wish.tags);
            let is_mp4 = self.settings.format.is_mp4();
            planned.settings.metadata = if is_mp4 { metadata::with_handler(tags) } else { tags };
        }
        if let Some(bits) = wish.disposition.as_deref().and_then(|text| disposition_bits(text, stream.disposition)) {
            planned.disposition = bits & KEPT_DISPOSITIONS;
            self.chosen.insert(stream.index);
        }
    }

    /// What can be said without asking the muxer.
    fn refuse(&self, stream: &InputStream) -> Option<String> {
        let keep = &self.settings.keep;
        let container = self.settings.format.name();
        let unwanted = |what: &str| Some(format!("{what} were not asked for"));
        if let Some(reason) = self.settings.without.get(&stream.index) {
            return Some(reason.clone());
        }
        match stream.kind {
            StreamKind::Audio if !keep.audio => unwanted("audio streams"),
            StreamKind::Subtitle if !keep.subtitles => unwanted("subtitles"),
            _ if is_file(stream) && !keep.attachments => unwanted("attachments"),
            StreamKind::Video if !is_file(stream) => {
                Some("only the first video stream is encoded; encode it with a script of its own".to_owned())
            }
            StreamKind::Data => Some("data streams are not carried over".to_owned()),
            _ if self.settings.format.is_raw() => Some(format!(
                "a file of the format {container} holds one video stream and nothing else; use MKV or MP4"
            )),
            StreamKind::Audio | StreamKind::Subtitle if !stream.parameters.has_codec() => {
                Some("libav does not know its codec".to_owned())
            }
            StreamKind::Audio
                if stream.parameters.sample_rate().is_none() || stream.parameters.channels().is_none() =>
            {
                Some("nothing in the source tells its sample rate and channels; it may hold no sound at all".to_owned())
            }
            _ => None,
        }
    }

    fn audio(&mut self, stream: &InputStream, wish: &StreamWish) -> Answer {
        match (wish.codec_name(), &wish.encodes) {
            (Some("copy"), None) => return self.copy(stream),
            (Some("copy"), Some(typed)) => return Err(format!("{typed} needs an encoder, and it is to be copied")),
            (Some(encoder), _) => return self.asked_for(stream, encoder, wish),
            (None, Some(_)) => return self.asked_for(stream, &self.usual_encoder()?, wish),
            (None, None) => {}
        }
        let mut refusals = match self.copy(stream) {
            Ok(copied) => return Ok(copied),
            Err(refusal) => vec![refusal],
        };
        let global_header = self.settings.format.wants_global_header();
        for candidate in &audio::CANDIDATES {
            let Some(settings) = candidate.settings(&stream.parameters, global_header) else { continue };
            match self.encoded(stream, &settings) {
                Ok(converted) => return Ok(converted),
                Err(refusal) => refusals.push(format!("{}: {refusal}", candidate.encoder)),
            }
        }
        Err(self.no_way(stream, &refusals))
    }

    /// The encoder that the ffmpeg program takes where it is not told which.
    fn usual_encoder(&self) -> Result<String, String> {
        let name = self.settings.format.name();
        let missing = || format!("{name} has no audio encoder of its own; name one with -c:a");
        self.settings.format.default_audio_encoder(&self.layout.extension()).ok_or_else(missing)
    }

    /// Sound as the command asks for it.
    fn asked_for(&mut self, stream: &InputStream, encoder: &str, wish: &StreamWish) -> Answer {
        let global_header = self.settings.format.wants_global_header();
        let settings = audio::asked_for(encoder, wish, &stream.parameters, global_header)?;
        self.encoded(stream, &settings)
    }

    /// Sound in another codec, once a part of it has been converted, written and read back.
    fn encoded(&mut self, stream: &InputStream, settings: &AudioSettings) -> Answer {
        let log = LogTail::of_a_trial();
        let open = || AudioConversion::open(stream, settings, &log).map_err(|code| sentence(code, &log));
        let (mut trial, _) = open()?;
        let packets = trial.convert_all(self.samples.of(stream.index));
        let packets = packets.map_err(|error| error.log.last().cloned().unwrap_or(error.message))?;
        let (conversion, parameters) = open()?;
        let mut planned = self.describe(stream, parameters, &settings.encoder);
        planned.time_base = conversion.time_base();
        planned.work = Work::Audio(Box::new(conversion));
        let converted = self.try_converted(planned, &packets)?;
        log.end_trial();
        Ok(converted)
    }

    fn subtitle(&mut self, stream: &InputStream, wish: &StreamWish) -> Answer {
        match wish.codec_name() {
            Some("copy") => return self.copy(stream),
            Some(encoder) => return self.written_as(stream, encoder),
            None => {}
        }
        let mut refusals = match self.copy(stream) {
            Ok(copied) => return Ok(copied),
            Err(refusal) => vec![refusal],
        };
        for encoder in subtitles::CANDIDATES {
            match self.written_as(stream, encoder) {
                Ok(converted) => return Ok(converted),
                Err(refusal) if stream.parameters.subtitle_form() != Some(SubtitleForm::Text) => return Err(refusal),
                Err(refusal) => refusals.push(format!("{encoder}: {refusal}")),
            }
        }
        Err(self.no_way(stream, &refusals))
    }

    /// Text in another codec.
    fn written_as(&mut self, stream: &InputStream, encoder: &str) -> Answer {
        if stream.parameters.subtitle_form() != Some(SubtitleForm::Text) {
            let container = self.settings.format.name();
            let codec = stream.parameters.codec_name();
            return Err(format!(
                "{container} cannot carry {codec}, and subtitles that are not text cannot be converted; MKV carries most"
            ));
        }
        let log = LogTail::of_a_trial();
        let open = || SubtitleConversion::open(stream, encoder, &log).map_err(|code| sentence(code, &log));
        let (mut trial, _) = open()?;
        let packets: Vec<Packet> =
            self.samples.of(stream.index).iter().filter_map(|packet| trial.convert(packet)).collect();
        let (conversion, parameters) = open()?;
        let mut planned = self.describe(stream, parameters, encoder);
        if self.settings.format.is_mp4() {
            // libav's MP4 muxer takes a time of another stream for one of its subtitles: in microseconds, which the
            // ffmpeg program gives it too, both lie where they should.
            planned.time_base = Rational::new(1, 1_000_000).unwrap_or(Rational::ONE);
        }
        planned.work = Work::Subtitle(Box::new(conversion));
        let tried = Tried { packets: &packets, base: stream.time_base };
        let converted = self.accept(planned, &tried)?;
        log.end_trial();
        Ok(converted)
    }

    fn copy(&mut self, stream: &InputStream) -> Answer {
        let planned = copied(stream, self.layout, self.settings)?;
        let tried = Tried { packets: self.samples.of(stream.index), base: stream.time_base };
        self.layout.comes_back(&planned, &tried)?;
        Ok((planned, StreamAction::Copied))
    }

    fn describe(&self, stream: &InputStream, parameters: StreamParameters, encoder: &str) -> Planned {
        let mut tags = self.tags(stream, true);
        tags.push(("encoder".to_owned(), encoder_tag(encoder)));
        Planned {
            source: Some(stream.index),
            parameters,
            time_base: stream.time_base,
            settings: stream_settings(tags),
            disposition: stream.disposition & KEPT_DISPOSITIONS,
            work: Work::Copy,
        }
    }

    fn try_converted(&mut self, planned: Planned, packets: &[Packet]) -> Answer {
        let base = planned.time_base;
        self.accept(planned, &Tried { packets, base })
    }

    /// A converted stream, if the container takes it and gives it back.
    fn accept(&mut self, planned: Planned, tried: &Tried<'_>) -> Answer {
        if self.settings.format.defines(&planned.parameters) == Some(false) {
            return Err("no name for the codec".to_owned());
        }
        self.layout.accepts(&planned)?;
        self.layout.comes_back(&planned, tried)?;
        let to = planned.parameters.codec_name();
        Ok((planned, StreamAction::Converted { to }))
    }

    /// An attachment or cover art.
    fn file(&mut self, stream: &InputStream) -> Answer {
        let container = self.settings.format.name();
        let bytes = stream.picture.as_deref().unwrap_or(stream.parameters.extradata());
        if bytes.is_empty() {
            return Err("it is empty".to_owned());
        }
        let planned = match &stream.picture {
            Some(picture) if self.settings.format.is_mp4() && container != "mov" => self.picture(stream, picture),
            _ if self.settings.format.is_matroska() => self.attachment(stream, bytes),
            _ => return Err(format!("a file of the format {container} has no attachments; MKV has")),
        };
        let planned = planned.map_err(|code| code.to_string())?;
        self.layout.accepts(&planned)?;
        Ok((planned, StreamAction::Copied))
    }

    fn attachment(&self, stream: &InputStream, bytes: &[u8]) -> Result<Planned, AvError> {
        let mut tags = self.tags(stream, false);
        let codec = stream.parameters.codec_name();
        let (extension, mime) = file_type(&codec);
        if metadata::find(&tags, "filename").is_none() {
            let stem = if stream.picture.is_some() { "cover" } else { "attachment" };
            let named = |layout: &Layout<'_>, name: &str| {
                let has = |planned: &Planned| metadata::find(&planned.settings.metadata, "filename") == Some(name);
                layout.streams.iter().any(has)
            };
            let mut name = format!("{stem}.{extension}");
            let mut count = 1;
            while named(self.layout, &name) {
                count += 1;
                name = format!("{stem}_{count}.{extension}");
            }
            tags.push(("filename".to_owned(), name));
        }
        if metadata::find(&tags, "mimetype").is_none() {
            tags.push(("mimetype".to_owned(), mime.to_owned()));
        }
        Ok(Planned {
            source: None,
            parameters: StreamParameters::attachment(&stream.parameters, bytes)?,
            time_base: stream.time_base,
            settings: stream_settings(tags),
            disposition: 0,
            work: Work::Attachment,
        })
    }

    fn picture(&self, stream: &InputStream, picture: &[u8]) -> Result<Planned, AvError> {
        let mut parameters = stream.parameters.copied()?;
        parameters.clear_tag();
        Ok(Planned {
            source: None,
            parameters,
            time_base: stream.time_base,
            settings: stream_settings(self.tags(stream, false)),
            disposition: stream.disposition,
            work: Work::Picture(picture.to_vec()),
        })
    }

    fn tags(&self, stream: &InputStream, converted: bool) -> Tags {
        stream_tags(stream, converted, self.settings)
    }

    fn no_way(&self, stream: &InputStream, refusals: &[String]) -> String {
        let (container, codec) = (self.settings.format.name(), stream.parameters.codec_name());
        let refusals = refusals.join("; ");
        format!("{container} carries neither {codec} nor what it could be converted to ({refusals}); MKV carries most")
    }

    /// In a source that does not know which streams are the default, the video is, and the first sound.
    fn mark_defaults(&mut self) {
        let says = |stream: &Planned| stream.source.is_some() && stream.disposition & DISPOSITION_DEFAULT != 0;
        if self.knows_defaults || self.layout.streams.iter().any(says) {
            return;
        }
        let chosen = &self.chosen;
        let is_chosen = |stream: &Planned| stream.source.is_some_and(|source| chosen.contains(&source));
        let is_sound = |stream: &&mut Planned| stream.parameters.sample_rate().is_some() && !is_chosen(stream);
        if let Some(sound) = self.layout.streams.iter_mut().find(is_sound) {
            sound.disposition |= DISPOSITION_DEFAULT;
        }
        if let Some(video) = self.layout.streams.first_mut() {
            video.disposition |= DISPOSITION_DEFAULT;
        }
    }
}

/// A stream whose packets stay as they are; or why the container does not take it beside those that it has taken.
pub(in crate::container) fn copied(
    stream: &InputStream,
    layout: &mut Layout<'_>,
    settings: &MergeSettings,
) -> Result<Planned, String> {
    let is_video = stream.kind == StreamKind::Video;
    // Of video the header shows it: Matroska takes what has a number in AVI files too.
    if !is_video && settings.format.defines(&stream.parameters) == Some(false) {
        return Err("no name for the codec".to_owned());
    }
    let mut parameters = stream.parameters.copied().map_err(|code| code.to_string())?;
    let mut described = stream_settings(stream_tags(stream, false, settings));
    if is_video {
        parameters.fit_tag(settings.format);
        (described.frame_rate, described.sample_aspect) = (stream.frame_rate, stream.sample_aspect);
    } else {
        parameters.clear_tag();
        if settings.format.is_mp4() {
            // Matroska does not keep the layout of PCM, and MP4 must have one.
            parameters.settle_layout();
        }
        // Which other codecs' padding is declared depends on libav's version, and their times with it.
        let is_opus = parameters.codec_name() == "opus";
        parameters.set_initial_padding(if is_opus { parameters.initial_padding() } else { 0 });
    }
    let planned = Planned {
        source: Some(stream.index),
        parameters,
        time_base: stream.time_base,
        settings: described,
        disposition: stream.disposition & KEPT_DISPOSITIONS,
        work: if is_video { Work::Video } else { Work::Copy },
    };
    layout.accepts(&planned)?;
    Ok(planned)
}

/// What a stream's tags are in the merged file.
pub(super) fn stream_tags(stream: &InputStream, converted: bool, settings: &MergeSettings) -> Tags {
    let tags = metadata::of_stream(&stream.metadata, converted);
    let tags = match settings.keep.metadata {
        // What a file is called is no description.
        _ if settings.rules.untagged.streams => metadata::only_file_names(tags),
        true => tags,
        false => metadata::only_names(tags),
    };
    if settings.format.is_mp4() { metadata::with_handler(tags) } else { tags }
}

/// The dispositions of the source's video, which the merged video keeps.
pub(super) fn video_disposition(stream: &InputStream) -> c_int {
    stream.disposition & KEPT_DISPOSITIONS
}

/// The kind by which the command names a stream beside the video.
fn side_kind(stream: &InputStream) -> Option<SideKind> {
    match stream.kind {
        _ if is_file(stream) => Some(SideKind::Attachment),
        StreamKind::Audio => Some(SideKind::Audio),
        StreamKind::Subtitle => Some(SideKind::Subtitle),
        StreamKind::Data => Some(SideKind::Data),
        _ => None,
    }
}

/// Whether a stream is a file inside the file: an attachment or cover art.
pub(in crate::container) fn is_file(stream: &InputStream) -> bool {
    stream.kind == StreamKind::Attachment || stream.picture.is_some() || stream.is_picture()
}

/// Whether a stream that is wanted tells too little of itself; a look further into the source may help.
pub(super) fn is_incomplete(stream: &InputStream, format: OutputFormat, keep: &MergeOptions) -> bool {
    let parameters = &stream.parameters;
    let silent = parameters.sample_rate().is_none() || parameters.channels().is_none();
    stream.kind == StreamKind::Audio && keep.audio && !format.is_raw() && parameters.has_codec() && silent
}

pub(super) fn stream_settings(metadata: Tags) -> StreamSettings {
    StreamSettings { frame_rate: None, sample_aspect: None, metadata }
}

/// The usual extension and MIME type of a picture or font.
fn file_type(codec: &str) -> (&'static str, &'static str) {
    match codec {
        "mjpeg" => ("jpg", "image/jpeg"),
        "png" => ("png", "image/png"),
        "gif" => ("gif", "image/gif"),
        "bmp" => ("bmp", "image/bmp"),
        "tiff" => ("tif", "image/tiff"),
        "webp" => ("webp", "image/webp"),
        "ttf" => ("ttf", "font/ttf"),
        "otf" => ("otf", "font/otf"),
        _ => ("bin", "application/octet-stream"),
    }
}

/// What is said of a stream that nobody knew of when the file's header was written.
pub(super) fn too_late(stream: &InputStream) -> StreamReport {
    let reason = "it begins so far into the source that it was not found when that was opened; remux the source to MKV first, \
                  with `ffmpeg -probesize 2G -analyzeduration 2G` and `-map 0 -c copy`";
    report(stream, None, StreamAction::LeftOut { reason: reason.to_owned() })
}

fn sentence(code: AvError, log: &LogTail) -> String {
    log.take().last().cloned().unwrap_or_else(|| code.to_string())
}

fn report(stream: &InputStream, output_index: Option<usize>, action: StreamAction) -> StreamReport {
    StreamReport {
        source_index: stream.index,
        output_index,
        kind: if is_file(stream) { StreamKind::Attachment } else { stream.kind },
        codec: stream.parameters.codec_name(),
        language: metadata::find(&stream.metadata, "language").map(str::to_owned),
        title: metadata::title(&stream.metadata, stream.kind),
        action,
    }
}
