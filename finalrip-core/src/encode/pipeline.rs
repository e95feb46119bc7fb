//! Frame after frame: requested, placed in time, converted, encoded, written.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::container::{Muxer, MuxerSettings, output_error};
use crate::convert::{self, Conversion, Converter, RAV1E};
use crate::encoder::command::EncodeCommand;
use crate::encoder::libav::LibavEncoder;
use crate::encoder::rav1e::Rav1eEncoder;
use crate::encoder::{Encoder, EncoderError, Received, VideoParameters, next_rate, takes_fine_times};
use crate::error::{Error, Result};
use crate::ffi::StreamParameters;
use crate::ffi::format::StreamSettings;
use crate::ffi::{rescale, trim_heap};
use crate::frames::{Frame, FrameSource, Frames};
use crate::picture::{Color, Description, Picture, PixelFormat};
use crate::report::{Meter, Progress, Report, bitrate};
use crate::timing::{Claims, NoDuration, Timeline, Timing, Verdict, even};
use crate::units::{FrameRange, Rational};

use super::job::Job;
use super::retime;

/// Encodes the source into the job's file. A clip that turns out to be variable is begun again if that shows early; later its
/// pictures are only given other times.
pub(super) fn run(
    job: &Job,
    source: &Arc<dyn FrameSource>,
    format: PixelFormat,
    tell: &mut dyn FnMut(Progress),
) -> Result<Report> {
    let attempt = |timing, watch, tell: &mut dyn FnMut(Progress)| {
        let terms = Terms { timing, opening: None, watch };
        once(job, (source, format), terms, Seam::default(), tell).map(|(outcome, _)| outcome)
    };
    let first =
        attempt(foreseen(job, source)?, Watch::whole(job), tell).and_then(|outcome| retime::settle(job, outcome));
    let report = match first {
        Err(Stop::OffGrid { frame }) => {
            tracing::warn!("the frames up to {frame} are not evenly spaced; starting again with variable timing");
            job.file.reset().map_err(|error| {
                let reason = format!(
                    "{error}, but the frames up to {frame} are off the clip's constant frame rate; ask for variable timing from \
                     the start (Timing::Variable, or -fps_mode vfr in the command)"
                );
                output_error(job.file.target(), reason)
            })?;
            attempt(Timing::Variable, Watch::NEVER, tell).map(|outcome| outcome.report)
        }
        other => other,
    };
    report.map_err(Error::from)
}

/// How the frames of a pass are placed in time, and how encoder and file are opened.
#[derive(Clone, Copy)]
pub(crate) struct Terms<'a> {
    pub(crate) timing: Timing,
    /// With one, encoder and file are opened for what it says, and not for what the first picture of the range happens to be: so
    /// every part of a longer video gets the same headers.
    pub(crate) opening: Option<&'a Opening>,
    pub(crate) watch: Watch,
}

/// Up to where the frames of a pass may stop it by showing that the clip is variable. After that it goes on, and the pictures get
/// their own times when all are there: so what is thrown away is bounded.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Watch {
    /// So many frames may be given up.
    until: u32,
    /// Whether a range that ends before is judged at its end too: one that is the whole clip.
    at_end: bool,
}

impl Watch {
    pub(crate) const NEVER: Self = Self { until: 0, at_end: false };
    /// Frames that may be given up.
    const EARLY: u32 = 512;
    /// Fewer are not judged, unless they are all.
    const FEWEST: u32 = 256;

    /// Of a pass that has the whole clip.
    pub(crate) fn whole(job: &Job) -> Self {
        if !job.makes_a_picture_of_each_frame() {
            // What filters made of wrong times, other times do not mend.
            Self { until: u32::MAX, at_end: true }
        } else if takes_fine_times(&job.encoder) {
            Self { until: Self::EARLY, at_end: true }
        } else {
            Self::NEVER
        }
    }

    /// Of a pass that has the clip's beginning.
    pub(crate) fn beginning(job: &Job) -> Self {
        Self { at_end: false, ..Self::whole(job) }
    }

    fn looks_at(self, frames: u32) -> bool {
        (Self::FEWEST..=self.until).contains(&frames) && frames.is_power_of_two()
    }

    fn looks_at_the_end(self, frames: u32) -> bool {
        self.at_end && frames <= self.until
    }
}

/// Encodes the source into the job's file, in one pass. Also returns the frames that the seam asks for after this range,
/// begun.
pub(crate) fn once(
    job: &Job,
    (source, format): (&Arc<dyn FrameSource>, PixelFormat),
    terms: Terms<'_>,
    seam: Seam<'_>,
    tell: &mut dyn FnMut(Progress),
) -> Result<(Outcome, Option<Frames>), Stop> {
    let range = job.range_of(source.info().frames)?;
    convert::check_alpha(&job.command, &job.encoder, format, &job.format.name())?;
    let conversion = conversion(job, source, format, terms.timing)?;
    let ended = Pass { job, source, format, range, conversion: &conversion, terms }.run(seam, tell);
    // An encoder's own buffers are free by now. Kept by the heap, they would add up over the encodes of one process: each
    // may have its threads in another arena.
    trim_heap();
    let (mut outcome, begun) = ended.map_err(|stop| with_advice(job, terms.timing, stop))?;
    if is_repeated(job, source, terms.timing) {
        outcome.report.notes.push(job.repeated());
    }
    Ok((outcome, begun))
}

/// Whether variable pictures are brought onto the grid of a constant rate.
fn is_repeated(job: &Job, source: &Arc<dyn FrameSource>, timing: Timing) -> bool {
    job.repeats && !Timeline::new(timing, job.rate(source.info())).is_constant()
}

/// Names the way out where an encoder refuses the time base of variable timing.
fn with_advice(job: &Job, timing: Timing, stop: Stop) -> Stop {
    match stop {
        Stop::Failed(Error::Encoder { stage, message, log })
            if stage == job.encoder && timing == Timing::Variable && !takes_fine_times(&stage) =>
        {
            let message = format!(
                "{message}; it may not count time as finely as variable timing does. Leave the timing to be found out \
                 (Timing::Auto, no -fps_mode: the container places the pictures then), space pictures evenly (-fps_mode cfr), repeat \
                 and leave out some (-r RATE), or use an encoder such as libx264, libx265, libsvtav1 or ffv1"
            );
            Stop::Failed(Error::Encoder { stage, message, log })
        }
        other => other,
    }
}

/// What happens to the pictures before the encoder. Variable ones on their way into a container that knows constant rates only
/// are repeated, so that each is shown when it has to be, as the ffmpeg program does it.
fn conversion(job: &Job, source: &Arc<dyn FrameSource>, format: PixelFormat, timing: Timing) -> Result<Conversion> {
    if !is_repeated(job, source, timing) || job.command.frame_rate.is_some() {
        return convert::plan(&job.command, &job.encoder, format);
    }
    let Some(clip_rate) = job.rate(source.info()) else {
        let reason = format!(
            "the container {} has no variable timing, and the clip no constant rate. Give it one (-r 24000/1001), or write .mkv, \
             .mp4, .mov, .webm, .ts or .nut",
            job.format.name()
        );
        return Err(output_error(job.file.target(), reason));
    };
    let rate = even::rate_of(&durations(job, source)?).unwrap_or(clip_rate);
    let command = EncodeCommand { frame_rate: Some(next_rate(&job.encoder, rate)), ..job.command.clone() };
    convert::plan(&command, &job.encoder, format)
}

/// For how long some of the job's frames are shown.
fn durations(job: &Job, source: &Arc<dyn FrameSource>) -> Result<Vec<Rational>> {
    let mut durations = Vec::new();
    look_ahead(job, source, &mut |frame| durations.extend(frame.properties.duration))?;
    Ok(durations)
}

/// The job's timing, or [`Timing::Variable`] where that has to be known from the start: the encoder does not take the average rate
/// that a source filter gives a variable clip, and the container no other timing.
pub(crate) fn foreseen(job: &Job, source: &Arc<dyn FrameSource>) -> Result<Timing> {
    let rate = job.rate(source.info()).filter(|&rate| next_rate(&job.encoder, rate) != rate);
    if job.timing != Timing::Auto || !job.repeats || job.command.frame_rate.is_some() || rate.is_none() {
        return Ok(job.timing);
    }
    let mut timeline = Timeline::new(Timing::Auto, rate);
    look_ahead(job, source, &mut |frame| {
        // Whether each has a place shows in the pass.
        let _ = timeline.place(frame);
    })?;
    let is_variable = timeline.claims().is_some_and(|claims| claims.verdict() == Verdict::Variable);
    Ok(if is_variable { Timing::Variable } else { job.timing })
}

/// Looks at the job's first frames, and at a few in other places: in all no more than a clip may be begun again for.
fn look_ahead(job: &Job, source: &Arc<dyn FrameSource>, look: &mut dyn FnMut(&Frame)) -> Result<()> {
    const FIRST: u32 = 256;
    const WINDOWS: u32 = 8;
    const WINDOW: u32 = 32;
    let FrameRange { start, end } = job.range_of(source.info().frames)?;
    let first = end.min(start.saturating_add(FIRST));
    let step = (end - first) / WINDOWS;
    let others = (0..WINDOWS).map(|window| first + window * step + step / 2);
    let others = others.map(|start| start..start + WINDOW.min(step / 2));
    let in_flight = job.requests.unwrap_or(source.info().threads + 2);
    for window in std::iter::once(start..first).chain(others).filter(|window| !window.is_empty()) {
        let mut frames = Frames::new(Arc::clone(source), window.into(), in_flight);
        while let Some(frame) = frames.next(&job.cancel)? {
            look(&frame);
        }
    }
    source.tidy();
    Ok(())
}

/// Where a pass meets the one before it and the one after it.
#[derive(Default)]
pub(crate) struct Seam<'a> {
    /// The frames of this pass, when the pass before has begun them.
    pub(crate) begun: Option<Frames>,
    /// The frames of the pass to come. They are begun when the last frame of this one has arrived: filters are not idle
    /// while the encoder empties itself.
    pub(crate) next: Option<FrameRange>,
    /// Looks at the stream that the encoder makes as soon as it is known, most often before the first picture is encoded, and
    /// may refuse it.
    pub(crate) admit: Admit<'a>,
}

/// The stream that an encoder makes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct StreamFacts {
    pub(crate) encoder: String,
    pub(crate) codec: String,
    pub(crate) pixel_format: String,
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) time_base: Rational,
    /// The constant frame rate; `None` under variable timing.
    pub(crate) frame_rate: Option<Rational>,
    pub(crate) sample_aspect: Option<Rational>,
    pub(crate) color: Color,
    /// The parameter sets as the encoder gives them for a container's header.
    pub(crate) extradata: Vec<u8>,
}

/// Looks at the stream that an encoder makes, and may refuse it.
pub(crate) type Admit<'a> = Option<&'a dyn Fn(&StreamFacts, &StreamParameters) -> Result<()>>;

/// How encoder and file are opened, as the first frame of a video shows it.
#[derive(Debug, Clone)]
pub(crate) struct Opening {
    about: Description,
    video: VideoParameters,
}

/// Looks at the first frame of the job's range.
pub(crate) fn look(job: &Job, source: &Arc<dyn FrameSource>, format: PixelFormat, timing: Timing) -> Result<Opening> {
    let range = job.range_of(source.info().frames)?;
    let conversion = conversion(job, source, format, timing)?;
    let terms = Terms { timing, opening: None, watch: Watch::NEVER };
    Pass { job, source, format, range, conversion: &conversion, terms }.look().map_err(Error::from)
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
    /// What the clip's frames say of the constant grid that they were placed on, under [`Timing::Auto`].
    pub(crate) claims: Option<Claims>,
    pub(crate) stream: StreamFacts,
}

/// Why a pass ended early.
pub(crate) enum Stop {
    Failed(Error),
    /// Under [`Timing::Auto`] the frames up to this one show that the clip is not constant.
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
            // Only passes that are watched end so.
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
    terms: Terms<'a>,
}

impl Pass<'_> {
    fn rate(&self) -> Option<Rational> {
        self.job.rate(self.source.info())
    }

    /// Whether the pictures are a grid's: the clip's own, or that on which variable ones are repeated.
    fn is_constant(&self, timeline: &Timeline) -> bool {
        timeline.is_constant() || self.job.repeats
    }

    /// Judges what the frames say, where that is wanted.
    fn watch(&self, timeline: &Timeline, frames: u32) -> Result<(), Stop> {
        match timeline.claims() {
            Some(claims) if claims.verdict() == Verdict::Variable => {
                Err(Stop::OffGrid { frame: (self.range.start + frames).saturating_sub(1) })
            }
            _ => Ok(()),
        }
    }

    fn look(&self) -> Result<Opening, Stop> {
        let mut timeline = Timeline::new(self.terms.timing, self.rate());
        let first = FrameRange { start: self.range.start, end: self.range.start + 1 };
        let frame = Frames::new(Arc::clone(self.source), first, 1).next(&self.job.cancel)?;
        let frame = frame.ok_or_else(|| Error::Internal("no frame arrived".to_owned()))?;
        let about = self.describe(&frame);
        let picture = self.place(&frame, &about, &mut timeline)?;
        let mut converter = self.open_converter(&about, &timeline)?;
        converter.push(picture)?;
        converter.close()?;
        let Some(picture) = converter.pull()? else { return Err(Stop::Failed(nothing_through())) };
        let video = describe_video(self.job, self.is_constant(&timeline), &picture, &converter);
        Ok(Opening { about, video })
    }

    /// Begins to request the frames of a range.
    fn begin(&self, range: FrameRange) -> Frames {
        let in_flight = self.job.requests.unwrap_or(self.source.info().threads + 2);
        Frames::new(Arc::clone(self.source), range, in_flight)
    }

    fn run(&self, seam: Seam<'_>, tell: &mut dyn FnMut(Progress)) -> Result<(Outcome, Option<Frames>), Stop> {
        let mut timeline = Timeline::new(self.terms.timing, self.rate());
        let mut meter = Meter::new(self.range.len(), self.job.progress_interval);
        let mut frames = seam.begun.unwrap_or_else(|| self.begin(self.range));
        let mut converter: Option<Converter> = None;
        let mut sink = Sink::new(self.job, self.is_constant(&timeline), self.terms.opening, seam.admit);
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
            if self.terms.watch.looks_at(meter.frames) {
                self.watch(&timeline, meter.frames)?;
            }
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
        if self.terms.watch.looks_at_the_end(meter.frames) {
            self.watch(&timeline, meter.frames)?;
        }
        let next = seam.next.map(|range| self.begin(range));
        let mut converter = converter.ok_or_else(|| Error::Internal("no frame arrived".to_owned()))?;
        converter.close()?;
        sink.take_from(&mut converter, &mut meter)?;
        sink.drain()?;
        tell(sink.progress(&meter));
        Ok((sink.finish(&meter, self.range, converter.is_direct(), timeline.into_claims())?, next))
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
        let placed = timeline.place(frame).map_err(|NoDuration| Error::Frame {
            frame: frame.number,
            message: "the clip has no constant frame rate and the frame no _DurationNum and _DurationDen; give it one in the \
                      script, for example clip.std.AssumeFPS(fpsnum=24000, fpsden=1001)"
                .to_owned(),
        })?;
        let mut picture = Picture::from_frame(frame, self.format, about)
            .map_err(|code| Error::Internal(format!("no picture for frame {}: {code}", frame.number)))?;
        picture.set_time(placed.pts, placed.duration);
        Ok(picture)
    }

    fn open_converter(&self, about: &Description, timeline: &Timeline) -> Result<Converter> {
        let about = self.terms.opening.map_or(about, |opening| &opening.about);
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
    admit: Admit<'a>,
    open: Option<OpenSink<'a>>,
    pictures: u64,
    /// When each picture starts and the last one ends.
    starts: Vec<i64>,
    end: i64,
}

struct OpenSink<'a> {
    job: &'a Job,
    constant: bool,
    admit: Admit<'a>,
    encoder: Box<dyn Encoder>,
    video: VideoParameters,
    /// Opened as soon as the encoder knows what stream it makes.
    muxer: Option<Muxer>,
    /// Durations of pictures that were sent before the muxer was there.
    early: Vec<(i64, i64)>,
}

impl<'a> Sink<'a> {
    fn new(job: &'a Job, constant: bool, opening: Option<&'a Opening>, admit: Admit<'a>) -> Self {
        Self { job, constant, opening, admit, open: None, pictures: 0, starts: Vec::new(), end: 0 }
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
                self.open = Some(open(self.job, self.constant, self.admit, video)?);
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
    fn finish(self, meter: &Meter, range: FrameRange, zero_copy: bool, claims: Option<Claims>) -> Result<Outcome> {
        let Some(OpenSink { encoder, muxer: Some(muxer), video, .. }) = self.open else {
            return Err(Error::Internal("no output was opened".to_owned()));
        };
        if muxer.packets() != self.pictures {
            let message = format!("{} packets came back for {} frames", muxer.packets(), self.pictures);
            return Err(encoder_failed(encoder.name(), EncoderError::plain(message)));
        }
        let Some(stream) = encoder.stream().map(|stream| facts(encoder.name(), stream, &video, self.constant)) else {
            return Err(Error::Internal("the encoder did not say what it made".to_owned()));
        };
        // Its threads end before the file is made durable.
        drop(encoder);
        let (name, codec, frame_rate) = (stream.encoder.clone(), stream.codec.clone(), stream.frame_rate);
        let trace = Trace { order: ranks(muxer.presentation()), starts: self.starts, end: self.end, claims, stream };
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
            notes: Vec::new(),
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
        if let Some(admit) = self.admit {
            admit(&facts(self.encoder.name(), stream, &self.video, self.constant), stream)?;
        }
        // A variable stream has no default duration that a player could be told.
        let frame_rate = self.video.frame_rate.filter(|_| self.constant);
        let settings = muxer_settings(self.job, self.encoder.name(), frame_rate, self.video.sample_aspect);
        let mut muxer = Muxer::create(self.job.file.clone(), stream, self.video.time_base, &settings)?;
        for (pts, duration) in self.early.drain(..) {
            muxer.expect(pts, duration);
        }
        self.muxer = Some(muxer);
        Ok(())
    }
}

/// Opens the encoder, and the file if the encoder knows already what stream it makes.
fn open<'a>(job: &'a Job, constant: bool, admit: Admit<'a>, video: VideoParameters) -> Result<OpenSink<'a>> {
    let options = &job.command.encoder_options;
    let encoder: Result<Box<dyn Encoder>, EncoderError> = if job.encoder == RAV1E {
        Rav1eEncoder::open(&video, &job.command).map(|encoder| Box::new(encoder) as Box<dyn Encoder>)
    } else {
        LibavEncoder::open(&job.encoder, &video, options).map(|encoder| Box::new(encoder) as Box<dyn Encoder>)
    };
    let encoder = encoder.map_err(|error| encoder_failed(&job.encoder, error))?;
    let mut open = OpenSink { job, constant, admit, encoder, video, muxer: None, early: Vec::new() };
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

fn facts(encoder: &str, stream: &StreamParameters, video: &VideoParameters, constant: bool) -> StreamFacts {
    StreamFacts {
        encoder: encoder.to_owned(),
        codec: stream.codec_name(),
        pixel_format: video.format.name(),
        width: video.width,
        height: video.height,
        time_base: video.time_base,
        frame_rate: video.frame_rate.filter(|_| constant),
        sample_aspect: video.sample_aspect,
        color: stream.color(),
        extradata: stream.extradata().to_vec(),
    }
}

pub(super) fn muxer_settings(
    job: &Job,
    encoder: &str,
    frame_rate: Option<Rational>,
    sample_aspect: Option<Rational>,
) -> MuxerSettings {
    let mut metadata = vec![("encoder".to_owned(), crate::ffi::encoder_tag(encoder))];
    metadata.extend(job.command.stream_metadata.iter().cloned());
    MuxerSettings {
        format: job.format,
        options: job.command.muxer_options.clone(),
        metadata: job.command.metadata.clone(),
        tag: job.command.tag.clone(),
        bitstream_filters: job.command.bitstream_filters.clone(),
        stream: StreamSettings { frame_rate, sample_aspect, metadata },
        keep_packets: job.keep_packets,
    }
}

fn encoder_failed(name: &str, error: EncoderError) -> Error {
    Error::Encoder { stage: name.to_owned(), message: error.message, log: error.log }
}
