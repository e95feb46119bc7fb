//! Frame after frame: requested, placed in time, converted, encoded, written.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::container::{Muxer, MuxerSettings, output_error};
use crate::convert::{self, Conversion, Converter, RAV1E};
use crate::encoder::libav::LibavEncoder;
use crate::encoder::rav1e::Rav1eEncoder;
use crate::encoder::{Encoder, EncoderError, Received, VideoParameters};
use crate::error::{Error, Result};
use crate::ffi::StreamParameters;
use crate::ffi::format::StreamSettings;
use crate::ffi::{rescale, trim_heap};
use crate::frames::{Frame, FrameSource, Frames};
use crate::picture::{Description, Picture, PixelFormat};
use crate::report::{Meter, Progress, Report, bitrate};
use crate::timing::{Misplaced, PlacedFrames, Timeline, Timing};
use crate::units::{FrameRange, Rational};

use super::job::Job;

/// Encodes the source into the job's file; starts again with variable timing when the clip turns out to need it.
pub(super) fn run(
    job: &Job,
    source: &Arc<dyn FrameSource>,
    format: PixelFormat,
    tell: &mut dyn FnMut(Progress),
) -> Result<Report> {
    let attempt = |timing, tell: &mut dyn FnMut(Progress)| {
        once(job, (source, format), (timing, None), Seam::default(), tell).map(|(outcome, _)| outcome)
    };
    let outcome = match attempt(job.timing, tell) {
        Err(Stop::OffGrid { frame }) => {
            tracing::warn!("frame {frame} is off the clip's constant frame rate; starting again with variable timing");
            job.file.reset().map_err(|error| {
                let reason = format!(
                    "{error}, but frame {frame} is off the clip's constant frame rate; ask for variable timing from the start \
                     (Timing::Variable, or -fps_mode vfr in the command)"
                );
                output_error(job.file.target(), reason)
            })?;
            attempt(Timing::Variable, tell)
        }
        other => other,
    };
    Ok(outcome?.report)
}

/// Encodes the source into the job's file, in one pass.
///
/// With an `opening`, encoder and file are opened for what it says, and not for what the first picture of this range
/// happens to be: so every part of a longer video gets the same headers. Also returns the frames that the seam asks for
/// after this range, begun.
pub(crate) fn once(
    job: &Job,
    (source, format): (&Arc<dyn FrameSource>, PixelFormat),
    (timing, opening): (Timing, Option<&Opening>),
    seam: Seam,
    tell: &mut dyn FnMut(Progress),
) -> Result<(Outcome, Option<Frames>), Stop> {
    let range = job.range_of(source.info().frames)?;
    let conversion = convert::plan(&job.command, &job.encoder, format)?;
    let ended = Pass { job, source, format, range, conversion: &conversion, timing, opening }.run(seam, tell);
    // An encoder's own buffers are free by now. Kept by the heap, they would add up over the encodes of one process: each
    // may have its threads in another arena.
    trim_heap();
    ended
}

/// Where a pass meets the one before it and the one after it.
#[derive(Default)]
pub(crate) struct Seam {
    /// The frames of this pass, when the pass before has begun them.
    pub(crate) begun: Option<Frames>,
    /// The frames of the pass to come. They are begun when the last frame of this one has arrived: filters are not idle
    /// while the encoder empties itself.
    pub(crate) next: Option<FrameRange>,
}

/// How encoder and file are opened, as the first frame of a video shows it.
#[derive(Debug, Clone)]
pub(crate) struct Opening {
    about: Description,
    video: VideoParameters,
}

/// Looks at the first frame of the job's range.
pub(crate) fn look(job: &Job, source: &Arc<dyn FrameSource>, format: PixelFormat, timing: Timing) -> Result<Opening> {
    let range = job.range_of(source.info().frames)?;
    let conversion = convert::plan(&job.command, &job.encoder, format)?;
    Pass { job, source, format, range, conversion: &conversion, timing, opening: None }.look().map_err(Error::from)
}

/// What a pass made.
pub(crate) struct Outcome {
    pub(crate) report: Report,
    pub(crate) trace: Trace,
}

/// What it takes to give a pass's packets their place in a longer video.
#[derive(Debug, Clone)]
pub(crate) struct Trace {
    /// For each packet in decode order, the number of its picture in presentation order.
    pub(crate) order: Vec<u32>,
    /// Start of each picture, in ticks of `time_base` from the range's first.
    pub(crate) starts: Vec<i64>,
    /// Where the last picture ends, in ticks.
    pub(crate) end: i64,
    /// The clip's frames that the pictures were made of.
    pub(crate) placed: PlacedFrames,
    pub(crate) time_base: Rational,
    /// The constant frame rate; `None` under variable timing.
    pub(crate) frame_rate: Option<Rational>,
    pub(crate) sample_aspect: Option<Rational>,
}

/// Why a pass ended early.
pub(crate) enum Stop {
    Failed(Error),
    /// Under [`Timing::Auto`] a frame showed that the clip is not constant.
    OffGrid {
        frame: u32,
    },
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl From<Stop> for Error {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Failed(error) => error,
            // Only timing that is checked against a grid leaves it.
            Stop::OffGrid { frame } => Self::Internal(format!("frame {frame} has no place in time")),
        }
    }
}

/// How often free memory goes back to the system; a trim takes about a millisecond.
const TRIM_INTERVAL: Duration = Duration::from_secs(1);

/// One pass over the frames with one kind of timing.
struct Pass<'a> {
    job: &'a Job,
    source: &'a Arc<dyn FrameSource>,
    format: PixelFormat,
    range: FrameRange,
    conversion: &'a Conversion,
    timing: Timing,
    opening: Option<&'a Opening>,
}

impl Pass<'_> {
    fn rate(&self) -> Option<Rational> {
        self.job.command.input_rate.or(self.source.info().frame_rate)
    }

    fn look(&self) -> Result<Opening, Stop> {
        let mut timeline = Timeline::new(self.timing, self.rate());
        let first = FrameRange { start: self.range.start, end: self.range.start + 1 };
        let frame = Frames::new(Arc::clone(self.source), first, 1).next(&self.job.cancel)?;
        let frame = frame.ok_or_else(|| Error::Internal("no frame arrived".to_owned()))?;
        let about = self.describe(&frame);
        let picture = self.place(&frame, &about, &mut timeline)?;
        let mut converter = self.open_converter(&about, &timeline)?;
        converter.push(picture)?;
        converter.close()?;
        let Some(picture) = converter.pull()? else { return Err(Stop::Failed(nothing_through())) };
        let video = describe_video(self.job, timeline.is_constant(), &picture, &converter);
        Ok(Opening { about, video })
    }

    /// Begins to request the frames of a range.
    fn begin(&self, range: FrameRange) -> Frames {
        let in_flight = self.job.requests.unwrap_or(self.source.info().threads + 2);
        Frames::new(Arc::clone(self.source), range, in_flight)
    }

    fn run(&self, seam: Seam, tell: &mut dyn FnMut(Progress)) -> Result<(Outcome, Option<Frames>), Stop> {
        let mut timeline = Timeline::new(self.timing, self.rate());
        let mut meter = Meter::new(self.range.len(), self.job.progress_interval);
        let mut frames = seam.begun.unwrap_or_else(|| self.begin(self.range));
        let mut converter: Option<Converter> = None;
        let mut sink = Sink::new(self.job, timeline.is_constant(), self.opening);
        let mut trimmed = Instant::now();
        while let Some(frame) = frames.next(&self.job.cancel)? {
            let about = self.describe(&frame);
            let picture = self.place(&frame, &about, &mut timeline)?;
            let converter = match &mut converter {
                Some(converter) => converter,
                none => none.insert(self.open_converter(&about, &timeline)?),
            };
            // From here on the planes are held by the picture alone.
            drop(frame);
            converter.push(picture)?;
            sink.take_from(converter, &mut meter)?;
            meter.frames += 1;
            if meter.is_due() {
                tell(sink.progress(&meter));
            }
            if trimmed.elapsed() >= TRIM_INTERVAL {
                self.source.tidy();
                trim_heap();
                trimmed = Instant::now();
            }
            if sink.is_full() {
                break;
            }
        }
        // Waits for what was requested ahead, so that nothing of the script runs on.
        drop(frames);
        let next = seam.next.map(|range| self.begin(range));
        let mut converter = converter.ok_or_else(|| Error::Internal("no frame arrived".to_owned()))?;
        converter.close()?;
        sink.take_from(&mut converter, &mut meter)?;
        sink.drain()?;
        tell(sink.progress(&meter));
        Ok((sink.finish(&meter, self.range, converter.is_direct(), timeline.placed())?, next))
    }

    fn describe(&self, frame: &Frame) -> Description {
        if self.job.ignore_props {
            Description::of_y4m(frame.format)
        } else {
            Description::from_properties(frame.format, &frame.properties)
        }
    }

    fn place(&self, frame: &Frame, about: &Description, timeline: &mut Timeline) -> Result<Picture, Stop> {
        let info = self.source.info();
        if (frame.format, frame.width, frame.height) != (info.format, info.width, info.height) {
            let message = "its format or size differs from the clip's".to_owned();
            return Err(Error::Frame { frame: frame.number, message }.into());
        }
        let placed = timeline.place(frame).map_err(|misplaced| match misplaced {
            Misplaced::OffGrid => Stop::OffGrid { frame: frame.number },
            Misplaced::NoDuration => Error::Frame {
                frame: frame.number,
                message: "the clip has no constant frame rate and the frame no _DurationNum and _DurationDen; give it \
                          one in the script, for example clip.std.AssumeFPS(fpsnum=24000, fpsden=1001)"
                    .to_owned(),
            }
            .into(),
        })?;
        let mut picture = Picture::from_frame(frame, self.format, about)
            .map_err(|code| Error::Internal(format!("no picture for frame {}: {code}", frame.number)))?;
        picture.set_time(placed.pts, placed.duration);
        Ok(picture)
    }

    fn open_converter(&self, about: &Description, timeline: &Timeline) -> Result<Converter> {
        let about = self.opening.map_or(about, |opening| &opening.about);
        let timing = (timeline.time_base(), self.rate().filter(|_| timeline.is_constant()));
        let clip = (self.source.info(), self.format);
        Converter::new(self.conversion, clip, about, timing, &self.job.command.scaler_options)
    }
}

/// The encoder and the file behind it; both are opened at the first picture, which says what it looks like.
struct Sink<'a> {
    job: &'a Job,
    constant: bool,
    opening: Option<&'a Opening>,
    open: Option<OpenSink<'a>>,
    pictures: u64,
    /// When each picture starts and the last one ends.
    starts: Vec<i64>,
    end: i64,
}

struct OpenSink<'a> {
    job: &'a Job,
    constant: bool,
    encoder: Box<dyn Encoder>,
    video: VideoParameters,
    /// Opened as soon as the encoder knows what stream it makes.
    muxer: Option<Muxer>,
    /// Durations of pictures that were sent before the muxer was there.
    early: Vec<(i64, i64)>,
}

impl<'a> Sink<'a> {
    fn new(job: &'a Job, constant: bool, opening: Option<&'a Opening>) -> Self {
        Self { job, constant, opening, open: None, pictures: 0, starts: Vec::new(), end: 0 }
    }

    /// Whether `-frames:v` has been reached.
    fn is_full(&self) -> bool {
        self.job.command.frame_limit.is_some_and(|limit| self.pictures >= limit)
    }

    fn progress(&self, meter: &Meter) -> Progress {
        let muxer = self.open.as_ref().and_then(|open| open.muxer.as_ref());
        let written = muxer.map_or((0, 0), |muxer| (muxer.packets(), muxer.bytes()));
        meter.progress(written.0, written.1)
    }

    /// Encodes everything that the converter has ready.
    fn take_from(&mut self, converter: &mut Converter, meter: &mut Meter) -> Result<()> {
        while let Some(mut picture) = converter.pull()? {
            if self.is_full() {
                continue;
            }
            if self.open.is_none() {
                let video = match self.opening {
                    Some(opening) => opening.video.clone(),
                    None => describe_video(self.job, self.constant, &picture, converter),
                };
                self.open = Some(open(self.job, self.constant, video)?);
            }
            let Some(open) = &mut self.open else { continue };
            let (from, to) = (converter.time_base(), open.video.time_base);
            let pts = rescale(picture.pts(), from, to);
            if self.starts.last().is_some_and(|&last| pts <= last) {
                tracing::warn!("a picture at {pts} comes no later than the one before it and is dropped");
                continue;
            }
            let duration = if self.constant { 1 } else { rescale(picture.duration(), from, to) };
            picture.set_time(pts, duration);
            self.starts.push(pts);
            self.end = pts.saturating_add(duration.max(1));
            self.pictures += 1;
            meter.pictures += 1;
            meter.duration = self.end as f64 * to.as_f64();
            open.expect(pts, duration);
            open.encoder.send(picture).map_err(|error| encoder_failed(open.encoder.name(), error))?;
            open.write_ready()?;
        }
        Ok(())
    }

    fn drain(&mut self) -> Result<()> {
        let Some(open) = &mut self.open else {
            return Err(nothing_through());
        };
        open.encoder.drain().map_err(|error| encoder_failed(open.encoder.name(), error))?;
        open.write_ready()
    }

    /// Checks that every picture came back, and closes the file.
    fn finish(self, meter: &Meter, range: FrameRange, zero_copy: bool, placed: PlacedFrames) -> Result<Outcome> {
        let Some(OpenSink { encoder, muxer: Some(muxer), video, .. }) = self.open else {
            return Err(Error::Internal("no output was opened".to_owned()));
        };
        if muxer.packets() != self.pictures {
            let message = format!("{} packets came back for {} frames", muxer.packets(), self.pictures);
            return Err(encoder_failed(encoder.name(), EncoderError::plain(message)));
        }
        let codec = encoder.stream().map(StreamParameters::codec_name).unwrap_or_default();
        let name = encoder.name().to_owned();
        // Its threads end before the file is made durable.
        drop(encoder);
        let frame_rate = video.frame_rate.filter(|_| self.constant);
        let trace = Trace {
            order: ranks(muxer.presentation()),
            starts: self.starts,
            end: self.end,
            placed,
            time_base: video.time_base,
            frame_rate,
            sample_aspect: video.sample_aspect,
        };
        let bytes = muxer.finish()?;
        let report = Report {
            output: self.job.file.target().to_owned(),
            container: self.job.format.name(),
            encoder: name,
            codec,
            pixel_format: video.format.name(),
            width: video.width,
            height: video.height,
            range,
            frames: meter.frames,
            pictures: self.pictures,
            frame_rate,
            duration: meter.duration,
            bytes,
            bitrate: bitrate(bytes, meter.duration),
            zero_copy,
            elapsed: meter.elapsed(),
            fps: meter.fps(),
        };
        Ok(Outcome { report, trace })
    }
}

fn nothing_through() -> Error {
    Error::Clip { reason: "the command's filters let no frame through".to_owned() }
}

/// For each time its place among all of them, from 0.
fn ranks(times: &[i64]) -> Vec<u32> {
    let mut order: Vec<u32> = (0..).take(times.len()).collect();
    order.sort_by_key(|&index| times[index as usize]);
    let mut ranks = vec![0; times.len()];
    for (rank, index) in (0..).zip(order) {
        ranks[index as usize] = rank;
    }
    ranks
}

impl OpenSink<'_> {
    fn expect(&mut self, pts: i64, duration: i64) {
        match &mut self.muxer {
            Some(muxer) => muxer.expect(pts, duration),
            None => self.early.push((pts, duration)),
        }
    }

    fn write_ready(&mut self) -> Result<()> {
        loop {
            match self.encoder.receive().map_err(|error| encoder_failed(self.encoder.name(), error))? {
                Received::Packet(packet) => {
                    self.open_muxer()?;
                    if let Some(muxer) = &mut self.muxer {
                        muxer.write(packet)?;
                    }
                }
                Received::NeedsInput | Received::Finished => return Ok(()),
            }
        }
    }

    /// Opens the file, once the encoder has said what stream it makes.
    fn open_muxer(&mut self) -> Result<()> {
        let Some(stream) = self.encoder.stream().filter(|_| self.muxer.is_none()) else { return Ok(()) };
        let settings = muxer_settings(self.job, self.encoder.name(), &self.video, self.constant);
        let mut muxer = Muxer::create(self.job.file.clone(), stream, self.video.time_base, &settings)?;
        for (pts, duration) in self.early.drain(..) {
            muxer.expect(pts, duration);
        }
        self.muxer = Some(muxer);
        Ok(())
    }
}

/// Opens the encoder, and the file if the encoder knows already what stream it makes.
fn open(job: &Job, constant: bool, video: VideoParameters) -> Result<OpenSink<'_>> {
    let options = &job.command.encoder_options;
    let encoder: Result<Box<dyn Encoder>, EncoderError> = if job.encoder == RAV1E {
        Rav1eEncoder::open(&video, &job.command).map(|encoder| Box::new(encoder) as Box<dyn Encoder>)
    } else {
        LibavEncoder::open(&job.encoder, &video, options).map(|encoder| Box::new(encoder) as Box<dyn Encoder>)
    };
    let encoder = encoder.map_err(|error| encoder_failed(&job.encoder, error))?;
    let mut open = OpenSink { job, constant, encoder, video, muxer: None, early: Vec::new() };
    open.open_muxer()?;
    Ok(open)
}

fn describe_video(job: &Job, constant: bool, picture: &Picture, converter: &Converter) -> VideoParameters {
    let (width, height) = (picture.width(), picture.height());
    let time_base = match converter.frame_rate().and_then(Rational::inverse) {
        Some(period) if constant => period,
        _ => converter.time_base(),
    };
    let rough_rate = || Rational::new(1, picture.duration().max(1))?.checked_mul(time_base.inverse()?);
    let frame_rate = converter.frame_rate().or_else(rough_rate);
    let sample_aspect = match job.command.aspect {
        Some(aspect) => Rational::new(height.into(), width.into()).and_then(|inverse| aspect.checked_mul(inverse)),
        None => converter.sample_aspect(),
    };
    VideoParameters {
        width,
        height,
        format: picture.format(),
        time_base,
        frame_rate,
        sample_aspect,
        field_order: picture.field_order(),
        color: picture.color(),
        hdr: picture.hdr(),
        global_header: job.format.wants_global_header(),
    }
}

fn muxer_settings(job: &Job, encoder: &str, video: &VideoParameters, constant: bool) -> MuxerSettings {
    let mut metadata = vec![("encoder".to_owned(), crate::ffi::encoder_tag(encoder))];
    metadata.extend(job.command.stream_metadata.iter().cloned());
    MuxerSettings {
        format: job.format,
        options: job.command.muxer_options.clone(),
        metadata: job.command.metadata.clone(),
        tag: job.command.tag.clone(),
        bitstream_filters: job.command.bitstream_filters.clone(),
        stream: StreamSettings {
            // A variable stream has no default duration that a player could be told.
            frame_rate: video.frame_rate.filter(|_| constant),
            sample_aspect: video.sample_aspect,
            metadata,
        },
    }
}

fn encoder_failed(name: &str, error: EncoderError) -> Error {
    Error::Encoder { stage: name.to_owned(), message: error.message, log: error.log }
}
