//! The packets of all chunks, one after the other.

use std::path::PathBuf;

use sha2::{Digest, Sha256};

use crate::bitstream::Header;
use crate::cancel::CancelToken;
use crate::error::{Error, Result};
use crate::ffi::bitstream::BitstreamFilter;
use crate::ffi::format::OutputFormat;
use crate::ffi::{AvError, Packet, StreamParameters};
use crate::rip::fingerprint::{hex, sha256};
use crate::rip::record::ChunkRecord;
use crate::timing::Schedule;
use crate::units::Rational;

use super::chunk::ChunkFile;
use super::unreadable;

/// How packets leave the chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// As the chunks' files have them.
    Stored,
    /// As an encoder makes them for a container whose header keeps the parameter sets: what bitstream filters expect.
    Encoded,
    /// As an encoder makes them for a container that has no such header, MPEG's streams and AVI among them: with parameter
    /// sets in front of each keyframe.
    Started,
}

impl Shape {
    pub(super) fn of(format: OutputFormat, filtered: bool) -> Self {
        match format.wants_global_header() {
            false => Self::Started,
            true if filtered => Self::Encoded,
            true => Self::Stored,
        }
    }
}

/// What gives the packets of one chunk start codes and parameter sets, where they need it. It makes one packet of each.
pub(super) fn start_codes(
    shape: Shape,
    parameters: &StreamParameters,
    time_base: Rational,
) -> Result<Option<BitstreamFilter>, AvError> {
    let has_lengths = parameters.extradata().first() == Some(&1);
    let name = match parameters.codec_name().as_str() {
        "h264" if has_lengths => "h264_mp4toannexb",
        "hevc" if has_lengths => "hevc_mp4toannexb",
        "mpeg4" if !parameters.extradata().is_empty() => "dump_extra=freq=keyframe",
        _ => return Ok(None),
    };
    if shape != Shape::Started {
        return Ok(None);
    }
    BitstreamFilter::open(name, parameters, time_base).map(Some)
}

/// A chunk that is being read.
struct Present {
    file: ChunkFile,
    start_codes: Option<BitstreamFilter>,
    /// As its file has it.
    header: Header,
    /// Packets taken from it, and what they hold.
    taken: usize,
    contents: Sha256,
}

/// The packets of all chunks, in decode order, with the times that they have in the whole; each chunk is compared with its
/// record while it is read.
pub(super) struct Packets<'a> {
    files: &'a [PathBuf],
    chunks: &'a [ChunkRecord],
    /// What each chunk's keyframes carry, where they do.
    headers: Option<&'a [Header]>,
    shape: Shape,
    times: Schedule,
    chunk: usize,
    present: Option<Present>,
    /// Pictures of the chunks before it.
    before: usize,
}

impl<'a> Packets<'a> {
    pub(super) fn new(
        files: &'a [PathBuf],
        chunks: &'a [ChunkRecord],
        headers: Option<&'a [Header]>,
        shape: Shape,
    ) -> Self {
        Self { files, chunks, headers, shape, times: schedule(chunks), chunk: 0, present: None, before: 0 }
    }

    pub(super) fn time_base(&self) -> Rational {
        self.chunks.first().map_or(Rational::ONE, |chunk| chunk.stream.time_base)
    }

    /// The pictures read so far.
    pub(super) fn read_so_far(&self) -> u64 {
        (self.before + self.present.as_ref().map_or(0, |present| present.taken)) as u64
    }

    pub(super) fn next(&mut self) -> Result<Option<Packet>> {
        while let Some(record) = self.chunks.get(self.chunk) {
            let present = match self.present.take() {
                Some(present) => present,
                None => self.open()?,
            };
            let present = self.present.insert(present);
            let path = &self.files[self.chunk];
            let Some(mut packet) = present.file.read().map_err(|what| unreadable(path, what))? else {
                self.leave(record)?;
                continue;
            };
            let Some(&rank) = record.order.get(present.taken) else {
                return Err(unreadable(path, "it holds more pictures than before".to_owned()));
            };
            let (picture, decoded) = (self.before + rank as usize, self.before + present.taken);
            packet.set_times(self.times.shown(picture), self.times.decoded(decoded));
            packet.set_duration(self.times.shown(picture + 1) - self.times.shown(picture));
            if present.taken == 0 {
                // Also of encoders that mark none: nothing of the chunk before is needed.
                packet.set_key();
            }
            present.contents.update(packet.data());
            present.taken += 1;
            let carried = self.headers.and_then(|headers| headers.get(self.chunk));
            return shaped(present, carried, self.shape, packet).map(Some);
        }
        Ok(None)
    }

    fn open(&self) -> Result<Present> {
        let path = &self.files[self.chunk];
        let file = ChunkFile::open(path, &CancelToken::new()).map_err(|what| unreadable(path, what))?;
        let parameters = file.parameters();
        if sha256(parameters.extradata()) != self.chunks[self.chunk].stream.parameter_sets {
            return Err(unreadable(path, "it holds other parameter sets than its record says".to_owned()));
        }
        let start_codes = start_codes(self.shape, parameters, self.time_base());
        let start_codes = start_codes.map_err(|code| unreadable(path, code.to_string()))?;
        let header = Header::read(&parameters.codec_name(), parameters.extradata());
        Ok(Present { file, start_codes, header, taken: 0, contents: Sha256::new() })
    }

    /// The end of a chunk: only now it shows whether its file held what was encoded. What was written with it is never
    /// published otherwise.
    fn leave(&mut self, record: &ChunkRecord) -> Result<()> {
        let Some(present) = self.present.take() else { return Ok(()) };
        let path = &self.files[self.chunk];
        if present.taken != record.order.len() {
            let what = format!("it ends after {} of {} pictures", present.taken, record.order.len());
            return Err(unreadable(path, what));
        }
        if hex(&present.contents.finalize()) != record.contents {
            return Err(unreadable(path, "it holds other pictures than its record says".to_owned()));
        }
        self.before += present.taken;
        self.chunk += 1;
        Ok(())
    }
}

/// A packet of a chunk as the joined video has it.
fn shaped(present: &mut Present, carried: Option<&Header>, shape: Shape, mut packet: Packet) -> Result<Packet> {
    let failed = |code: AvError| Error::Internal(format!("a packet could not be given its parameter sets: {code}"));
    if let Some(filter) = &mut present.start_codes {
        // It puts the chunk's own sets in front of its keyframes.
        filter.push(Some(&packet)).map_err(failed)?;
        return filter.pull().map_err(failed)?.ok_or_else(|| failed(AvError::AGAIN));
    }
    if let Some(carrying) = carried.filter(|_| packet.is_key()).and_then(|header| header.put_into(packet.data())) {
        packet = packet.with_data(&carrying).map_err(failed)?;
    }
    if shape == Shape::Encoded
        && let Some(encoded) = present.header.packet_as_encoded(packet.data())
    {
        packet = packet.with_data(&encoded).map_err(failed)?;
    }
    Ok(packet)
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
