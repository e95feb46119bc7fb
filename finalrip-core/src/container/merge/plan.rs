//! What becomes of each stream of the source.

use std::ffi::c_int;

use crate::container::{StreamAction, StreamKind, StreamReport};
use crate::ffi::format::{OutputFormat, StreamSettings};
use crate::ffi::input::InputStream;
use crate::ffi::log::LogTail;
use crate::ffi::output::{DISPOSITION_DEFAULT, KEPT_DISPOSITIONS};
use crate::ffi::parameters::SubtitleForm;
use crate::ffi::{AvError, StreamParameters, encoder_tag};
use crate::units::Rational;

use super::audio::{self, AudioConversion};
use super::layout::{Layout, Planned, Work};
use super::metadata::{self, Tags};
use super::subtitles::{self, SubtitleConversion};
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
            reports.push(self.plan_stream(stream));
        }
        self.mark_defaults();
        reports.sort_by_key(|report| report.source_index);
        reports
    }

    fn plan_stream(&mut self, stream: &InputStream) -> StreamReport {
        if self.video == Some(stream.index) {
            let action = StreamAction::Converted { to: self.video_codec.clone() };
            return report(stream, Some(0), action);
        }
        match self.answer(stream) {
            Ok((planned, action)) => {
                self.layout.streams.push(planned);
                report(stream, Some(self.layout.streams.len() - 1), action)
            }
            Err(reason) => report(stream, None, StreamAction::LeftOut { reason }),
        }
    }

    fn answer(&mut self, stream: &InputStream) -> Answer {
        if let Some(reason) = self.refuse(stream) {
            return Err(reason);
        }
        match stream.kind {
            StreamKind::Audio => self.audio(stream),
            StreamKind::Subtitle => self.subtitle(stream),
            _ => self.file(stream),
        }
    }

    /// What can be said without asking the muxer.
    fn refuse(&self, stream: &InputStream) -> Option<String> {
        let keep = &self.settings.keep;
        let container = self.settings.format.name();
        let unwanted = |what: &str| Some(format!("{what} were not asked for"));
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

    fn audio(&mut self, stream: &InputStream) -> Answer {
        let mut refusals = match self.copy(stream) {
            Ok(copied) => return Ok(copied),
            Err(refusal) => vec![refusal],
        };
        let global_header = self.settings.format.wants_global_header();
        for candidate in &audio::CANDIDATES {
            let log = LogTail::of_a_trial();
            let Some(opened) = AudioConversion::open(stream, candidate, global_header, &log) else { continue };
            let tried = opened.map_err(|code| sentence(code, &log)).and_then(|(conversion, parameters)| {
                let mut planned = self.describe(stream, parameters, candidate.encoder);
                planned.time_base = conversion.time_base();
                planned.work = Work::Audio(Box::new(conversion));
                self.try_converted(planned)
            });
            match tried {
                Ok(converted) => {
                    log.end_trial();
                    return Ok(converted);
                }
                Err(refusal) => refusals.push(format!("{}: {refusal}", candidate.encoder)),
            }
        }
        Err(self.no_way(stream, &refusals))
    }

    fn subtitle(&mut self, stream: &InputStream) -> Answer {
        let mut refusals = match self.copy(stream) {
            Ok(copied) => return Ok(copied),
            Err(refusal) => vec![refusal],
        };
        if stream.parameters.subtitle_form() != Some(SubtitleForm::Text) {
            let container = self.settings.format.name();
            let codec = stream.parameters.codec_name();
            return Err(format!(
                "{container} cannot carry {codec}, and subtitles that are not text cannot be converted; MKV carries most"
            ));
        }
        for encoder in subtitles::CANDIDATES {
            let log = LogTail::of_a_trial();
            let opened = SubtitleConversion::open(stream, encoder, &log);
            let tried = opened.map_err(|code| sentence(code, &log)).and_then(|(conversion, parameters)| {
                let mut planned = self.describe(stream, parameters, encoder);
                if self.settings.format.is_mp4() {
                    // libav's MP4 muxer takes a time of another stream for one of its subtitles: in microseconds, which the
                    // ffmpeg program gives it too, both lie where they should.
                    planned.time_base = Rational::new(1, 1_000_000).unwrap_or(Rational::ONE);
                }
                planned.work = Work::Subtitle(Box::new(conversion));
                self.try_converted(planned)
            });
            match tried {
                Ok(converted) => {
                    log.end_trial();
                    return Ok(converted);
                }
                Err(refusal) => refusals.push(format!("{encoder}: {refusal}")),
            }
        }
        Err(self.no_way(stream, &refusals))
    }

    fn copy(&mut self, stream: &InputStream) -> Answer {
        copied(stream, self.layout, self.settings).map(|planned| (planned, StreamAction::Copied))
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

    fn try_converted(&mut self, planned: Planned) -> Answer {
        if self.settings.format.defines(&planned.parameters) == Some(false) {
            return Err("no name for the codec".to_owned());
        }
        self.layout.accepts(&planned)?;
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
        let is_sound = |stream: &&mut Planned| stream.parameters.sample_rate().is_some();
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
    let tags = if settings.keep.metadata { tags } else { metadata::only_names(tags) };
    if settings.format.is_mp4() { metadata::with_handler(tags) } else { tags }
}

/// The dispositions of the source's video, which the merged video keeps.
pub(super) fn video_disposition(stream: &InputStream) -> c_int {
    stream.disposition & KEPT_DISPOSITIONS
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
