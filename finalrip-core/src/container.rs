//! Containers: the one place where timestamps are rescaled, and the file that is partial until it is published.

#[cfg_attr(not(any(test, feature = "tasks")), allow(dead_code, reason = "only the service cuts clips"))]
pub(crate) mod cut;
mod kept;
mod length;
mod merge;
mod output;
mod partial;
mod retime;
mod sink;
mod streams;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::ffi::bitstream::BitstreamFilter;
use crate::ffi::format::{OutputContext, OutputFormat, StreamSettings};
use crate::ffi::frame::av_rational;
use crate::ffi::log::{LogScope, LogTail};
use crate::ffi::{AvError, Packet, StreamParameters};
use crate::units::Rational;

pub(crate) use kept::PacketReader;
use kept::PacketWriter;
pub(crate) use length::{PictureLength, picture_length};
pub use merge::MergeOptions;
pub(crate) use merge::{Excerpt, MergeFailure, MergeProgress, MergeSettings, Merged, VideoTrack, merge, preview};
pub use output::{Output, take_stdout};
pub(crate) use partial::{PartialFile, start_of};
pub(crate) use retime::{Retimed, retime};
pub(crate) use sink::Sink;
pub use streams::{StreamAction, StreamKind, StreamReport};

/// What a container is told before its header is written.
pub(crate) struct MuxerSettings {
    pub(crate) format: OutputFormat,
    pub(crate) options: Vec<(String, String)>,
    pub(crate) metadata: Vec<(String, String)>,
    /// A four-character code or a number, as `-tag:v` takes it.
    pub(crate) tag: Option<String>,
    /// A chain of bitstream filters in ffmpeg's syntax.
    pub(crate) bitstream_filters: Option<String>,
    pub(crate) stream: StreamSettings,
    /// Whether the packets are kept as they are, in a file that only [`PacketReader`] reads, and the container that is named
    /// comes later.
    pub(crate) keep_packets: bool,
}

/// Writes one video stream into a file that gets its name when all went well.
#[derive(Debug)]
pub(crate) struct Muxer {
    into: Into,
    file: PartialFile,
    target: PathBuf,
    log: LogTail,
    /// Seconds per tick of the packets as they reach the container: the encoder's, or what the bitstream filters make of it.
    packet_base: Rational,
    bitstream: Option<BitstreamFilter>,
    /// Durations of the pictures whose packets are still to come, by presentation time: encoders reorder frames, and
    /// before FFmpeg 6.0 they do not carry durations.
    durations: HashMap<i64, i64>,
    /// Presentation time of every packet so far, in decode order.
    presentation: Vec<i64>,
}

/// What a muxer writes into.
#[derive(Debug)]
enum Into {
    Container(OutputContext),
    Packets(PacketWriter),
}

impl Muxer {
    /// Opens a file beside the target and writes the header. Times of packets are in `time_base`.
    pub(crate) fn create(
        file: PartialFile,
        parameters: &StreamParameters,
        time_base: Rational,
        settings: &MuxerSettings,
    ) -> Result<Self> {
        let (target, log) = (file.target().to_owned(), LogTail::default());
        let path = file.create().map_err(|error| output_error(&target, error.to_string()))?;
        let sink = file.sink();
        if settings.format.name() == "wtv" && sink.as_ref().is_some_and(|sink| !sink.is_seekable()) {
            // libav writes it, and nobody reads it.
            return Err(output_error(&target, format!("the container wtv cannot be streamed; {STREAMS}")));
        }
        let failed = |code: AvError| failed(&target, code, &log);
        let bitstream = open_bitstream(parameters, time_base, settings)?;
        let filtered = bitstream.as_ref().map(|filter| filter.stream(parameters)).transpose().map_err(failed)?;
        let parameters = filtered.as_ref().unwrap_or(parameters);
        let packet_base = bitstream.as_ref().and_then(BitstreamFilter::time_base).unwrap_or(time_base);
        let (durations, presentation) = (HashMap::new(), Vec::new());
        if settings.keep_packets {
            let kept = PacketWriter::create(&path, parameters);
            let into = Into::Packets(kept.map_err(|error| output_error(&target, error.to_string()))?);
            return Ok(Self { into, file, target, log, packet_base, bitstream, durations, presentation });
        }
        let context = match sink.clone() {
            Some(sink) => OutputContext::into_sink(sink, settings.format, &log),
            None => OutputContext::create(&path, settings.format, &log),
        };
        let mut context = context.map_err(failed)?;
        context.add_stream(parameters, packet_base, &settings.stream).map_err(failed)?;
        if let Some(tag) = &settings.tag {
            context.set_tag(parse_tag(tag).ok_or_else(|| {
                output_error(&target, format!("-tag:v {tag}: not four characters such as hvc1, nor a number"))
            })?);
        }
        context.set_metadata(&settings.metadata);
        let unused = context.write_header(&settings.options).map_err(|code| match &sink {
            Some(sink) if !sink.is_seekable() => output_error(&target, format!("{}; {STREAMS}", reason(code, &log))),
            _ => failed(code),
        })?;
        if !unused.is_empty() {
            let reason = format!("the {} muxer has no option named {}", settings.format.name(), unused.join(", "));
            return Err(output_error(&target, reason));
        }
        let into = Into::Container(context);
        Ok(Self { into, file, target, log, packet_base, bitstream, durations, presentation })
    }

    /// Notes how long the picture at `pts` is shown, in ticks of the encoder's time base.
    pub(crate) fn expect(&mut self, pts: i64, duration: i64) {
        self.durations.insert(pts, duration);
    }

    /// Writes a packet, its times in the encoder's base, with these rescaled to the container's.
    pub(crate) fn write(&mut self, mut packet: Packet) -> Result<()> {
        let known = packet.pts().and_then(|pts| self.durations.remove(&pts));
        if let Some(duration) = known.filter(|_| packet.duration() <= 0 || !cfg!(ffmpeg_6_0)) {
            packet.set_duration(duration);
        }
        self.presentation.push(packet.pts().unwrap_or_default());
        if self.bitstream.is_none() {
            return self.write_filtered(packet);
        }
        self.filter(Some(&packet))
    }

    /// Puts a packet, or the end, through the bitstream filters.
    fn filter(&mut self, packet: Option<&Packet>) -> Result<()> {
        let Some(filter) = &mut self.bitstream else { return Ok(()) };
        filter.push(packet).map_err(|code| failed(&self.target, code, &self.log))?;
        while let Some(filter) = &mut self.bitstream
            && let Some(packet) = filter.pull().map_err(|code| failed(&self.target, code, &self.log))?
        {
            self.write_filtered(packet)?;
        }
        Ok(())
    }

    fn write_filtered(&mut self, mut packet: Packet) -> Result<()> {
        match &mut self.into {
            Into::Container(context) => {
                packet.rescale(av_rational(self.packet_base), context.time_base());
                context.write(packet).map_err(|code| failed(&self.target, code, &self.log))
            }
            Into::Packets(kept) => kept.write(&packet).map_err(|error| output_error(&self.target, error.to_string())),
        }
    }

    /// Packets taken from the encoder so far.
    pub(crate) fn packets(&self) -> u64 {
        self.presentation.len() as u64
    }

    /// The presentation times of the packets taken so far, in decode order, in ticks of the encoder's time base.
    pub(crate) fn presentation(&self) -> &[i64] {
        &self.presentation
    }

    /// Bytes in the file so far.
    pub(crate) fn bytes(&self) -> u64 {
        match &self.into {
            Into::Container(context) => context.position(),
            Into::Packets(kept) => kept.position(),
        }
    }

    /// Completes the file and makes it durable, still under its temporary name. Returns its size.
    pub(crate) fn finish(mut self) -> Result<u64> {
        self.filter(None)?;
        let Self { into, file, target, log, .. } = self;
        match into {
            Into::Container(context) => context.finish().map_err(|code| failed(&target, code, &log))?,
            Into::Packets(kept) => kept.finish().map_err(|error| output_error(&target, error.to_string()))?,
        }
        file.complete().map_err(|error| output_error(&target, error.to_string()))
    }
}

fn open_bitstream(
    stream: &StreamParameters,
    time_base: Rational,
    settings: &MuxerSettings,
) -> Result<Option<BitstreamFilter>> {
    let chain = settings.bitstream_filters.as_deref();
    chain.map(|chain| open_bitstream_filters(chain, stream, time_base)).transpose()
}

/// Opens a chain of bitstream filters for a stream.
pub(crate) fn open_bitstream_filters(
    chain: &str,
    stream: &StreamParameters,
    time_base: Rational,
) -> Result<BitstreamFilter> {
    let log = LogTail::default();
    let _scope = LogScope::enter(&log);
    BitstreamFilter::open(chain, stream, time_base).map_err(|code| Error::Encoder {
        stage: format!("the bitstream filter chain {chain:?}"),
        message: code.to_string(),
        log: log.take(),
    })
}

/// Four characters, or a number as C writes it, in the order that libav keeps tags in.
fn parse_tag(text: &str) -> Option<u32> {
    if let Ok(bytes) = <[u8; 4]>::try_from(text.as_bytes()) {
        return Some(u32::from_le_bytes(bytes));
    }
    match text.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

/// What can be written where nothing can be written twice.
const STREAMS: &str = "to a stream, write matroska, webm, mpegts, nut or ogg (-f), or mp4 with -movflags \
                       +frag_keyframe+empty_moov; or name a file";

fn failed(target: &Path, code: AvError, log: &LogTail) -> Error {
    output_error(target, reason(code, log))
}

fn reason(code: AvError, log: &LogTail) -> String {
    let mut reason = code.to_string();
    for line in log.take() {
        reason = format!("{reason}\n  {line}");
    }
    reason
}

pub(crate) fn output_error(target: &Path, reason: String) -> Error {
    Error::Output { path: target.to_owned(), reason }
}
