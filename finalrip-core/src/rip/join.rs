//! Chunks as one video: verified, and their packets given their place in time.
//!
//! What a chunk's file says of time is not looked at: Matroska rounds to milliseconds. The record knows for each packet
//! which picture it is, and when each picture is shown.

mod chunk;
mod packets;

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::bitstream::Header;
use crate::cancel::CancelToken;
use crate::container::{
    Excerpt, MergeFailure, MergeProgress, MergeSettings, Merged, VideoTrack, merge as merge_streams,
    open_bitstream_filters, output_error,
};
use crate::encode::job::Job;
use crate::encode::pipeline::StreamFacts;
use crate::encoder::{alpha, coded_bits, parts};
use crate::error::{Error, Result};
use crate::ffi::bitstream::BitstreamFilter;
use crate::ffi::format::StreamSettings;
use crate::ffi::{AvError, Packet, StreamParameters};
use crate::units::Rational;

use super::RipJob;
use super::fingerprint::{hex, sha256};
use super::fit;
use super::record::{ChunkRecord, StreamRecord};

use chunk::ChunkFile;
use packets::{Packets, Shape};

/// Looks at the stream that a chunk's encoder makes, before it is encoded.
///
/// # Errors
/// [`Error::Clip`] when it cannot be joined to `first`, a chunk that is there; [`Error::Encoder`] when the command's bitstream
/// filters do not take it.
pub(super) fn admit(
    job: &RipJob,
    (facts, parameters): (&StreamFacts, &StreamParameters),
    first: Option<&StreamRecord>,
) -> Result<()> {
    let stream = StreamRecord::of(facts);
    first.map_or(Ok(()), |first| first.admits(&stream))?;
    match &job.command.bitstream_filters {
        Some(chain) => open_bitstream_filters(chain, parameters, facts.time_base).map(drop),
        None => Ok(()),
    }
}

/// Reads a chunk that has just been written, still under its temporary name, and completes its record.
///
/// # Errors
/// [`Error::Internal`] when the file does not hold what was encoded.
pub(super) fn check(path: &Path, job: &Job, mut record: ChunkRecord) -> Result<ChunkRecord> {
    let written = job.file.path().ok_or_else(|| Error::Internal(format!("{} has gone", path.display())))?;
    let found = inspect(&written, &record, &job.cancel)?;
    (record.stream.parameter_sets, record.contents) = (found.parameter_sets, found.contents);
    Ok(record)
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
    let mut file = ChunkFile::open(path, cancel).map_err(wrong)?;
    let (codec, parameter_sets) = (file.parameters().codec_name(), sha256(file.parameters().extradata()));
    // Matroska has one name for some codecs that libav tells apart, and not every one of them marks its keyframes.
    let is_exact = !file.is_container() || parts::is_kept_by_matroska(&record.stream.codec);
    if is_exact && codec != record.stream.codec {
        return Err(wrong(format!("it holds {codec}, and not {}", record.stream.codec)));
    }
    let (mut packets, mut contents) = (0, Sha256::new());
    while let Some(packet) = file.read().map_err(wrong)? {
        if packets == 0 && parts::is_kept_by_matroska(&codec) && !packet.is_key() {
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
        match merge_once(job, &mut settings, files, chunks, tell) {
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
    settings: &mut MergeSettings,
    files: &[PathBuf],
    chunks: &[ChunkRecord],
    tell: &mut dyn FnMut(MergeProgress),
) -> Result<Merged, MergeFailure> {
    let [first, ..] = chunks else { return Err(Error::Internal("a rip without chunks".to_owned()).into()) };
    chunks.iter().try_for_each(|chunk| first.stream.admits(&chunk.stream))?;
    let path = files.first().filter(|_| files.len() == chunks.len());
    let path = path.ok_or_else(|| Error::Internal(format!("{} files for {} chunks", files.len(), chunks.len())))?;
    let headers = headers_to_carry(files, chunks, &job.output.cancel)?;
    if headers.is_some() {
        let wanted = (job.command.tag.as_deref(), job.output.file.target());
        let tag = fit::tag(&first.stream.codec, job.output.format, wanted)?.map(str::to_owned);
        settings.tag = tag.or(settings.tag.take());
    }
    let opened = ChunkFile::open(path, &job.output.cancel).map_err(|what| unreadable(path, what))?;
    let shape = Shape::of(job.output.format, job.command.bitstream_filters.is_some());
    let packets = Packets::new(files, chunks, headers.as_deref(), shape);
    let told = described(opened.parameters(), &first.stream).map_err(|code| unreadable(path, code.to_string()))?;
    let mut joined = Joined::new(job, (&told, headers.as_deref()), shape, packets)?;
    drop(opened);
    let mut metadata = vec![("encoder".to_owned(), crate::ffi::encoder_tag(&first.stream.encoder))];
    metadata.extend(job.command.stream_metadata.iter().cloned());
    let parameters = joined.parameters.copied().map_err(|code| unreadable(path, code.to_string()))?;
    let video = VideoTrack {
        parameters: &parameters,
        time_base: joined.time_base(first.stream.time_base),
        settings: StreamSettings {
            frame_rate: first.stream.frame_rate,
            sample_aspect: first.stream.sample_aspect,
            metadata,
        },
        next: &mut || joined.next(),
    };
    let merged = merge_streams(video, job.source.as_deref(), &job.output.file, settings, &job.output.cancel, tell)?;
    let (read, pictures) = (joined.packets.read_so_far(), super::run::pictures(chunks));
    if read != pictures {
        let reason = format!("{read} pictures were merged of {pictures}; the files of the chunks changed meanwhile");
        return Err(output_error(job.output.file.target(), reason).into());
    }
    Ok(merged)
}

/// The stream with what Matroska does not keep of it, and the merged file's container needs.
fn described(parameters: &StreamParameters, record: &StreamRecord) -> Result<StreamParameters, AvError> {
    let (encoder, format) = (record.encoder.as_str(), record.pixel_format.as_str());
    if let Some(bits) = coded_bits(encoder, format) {
        return parameters.with_coded_bits(bits);
    }
    match alpha::beside(encoder, format) {
        Some(format) => parameters.with_pixel_format(format),
        None => parameters.copied(),
    }
}

/// What the keyframes of each chunk have to carry, if they have to carry anything.
fn headers_to_carry(files: &[PathBuf], chunks: &[ChunkRecord], cancel: &CancelToken) -> Result<Option<Vec<Header>>> {
    let [first, ..] = chunks else { return Ok(None) };
    if chunks.iter().all(|chunk| chunk.stream.parameter_sets == first.stream.parameter_sets) {
        return Ok(None);
    }
    let header = |path: &PathBuf| {
        let file = ChunkFile::open(path, cancel).map_err(|what| unreadable(path, what))?;
        Ok(Header::read(&file.parameters().codec_name(), file.parameters().extradata()))
    };
    fit::carried(files.iter().map(header).collect::<Result<_>>()?)
}

fn unreadable(path: &Path, what: String) -> Error {
    Error::State { path: path.to_owned(), reason: format!("{what}; delete it, and encode it again") }
}

/// The joined video behind the command's bitstream filters, which see it as one.
struct Joined<'a> {
    packets: Packets<'a>,
    chain: Option<BitstreamFilter>,
    ended: bool,
    parameters: StreamParameters,
}

impl<'a> Joined<'a> {
    fn new(
        job: &RipJob,
        (stream, headers): (&StreamParameters, Option<&[Header]>),
        shape: Shape,
        packets: Packets<'a>,
    ) -> Result<Self> {
        let failed = |code: AvError| Error::Internal(format!("the joined video cannot be described: {code}"));
        let time_base = packets.time_base();
        let mut parameters = stream.copied().map_err(failed)?;
        if let Some(header) = headers.and_then(Header::of_file) {
            parameters.set_extradata(&header).map_err(failed)?;
        }
        if let Some(started) = packets::start_codes(shape, &parameters, time_base).map_err(failed)? {
            parameters = started.stream(&parameters).map_err(failed)?;
        }
        let chain = job.command.bitstream_filters.as_deref();
        if chain.is_some() && shape == Shape::Encoded {
            let header = Header::read(&parameters.codec_name(), parameters.extradata()).as_encoded();
            parameters.set_extradata(&header).map_err(failed)?;
        }
        let chain = chain.map(|chain| open_bitstream_filters(chain, &parameters, time_base)).transpose()?;
        if let Some(chain) = &chain {
            parameters = chain.stream(&parameters).map_err(failed)?;
        }
        Ok(Self { packets, chain, ended: false, parameters })
    }

    fn time_base(&self, of_chunks: Rational) -> Rational {
        self.chain.as_ref().and_then(BitstreamFilter::time_base).unwrap_or(of_chunks)
    }

    fn next(&mut self) -> Result<Option<Packet>> {
        let Some(chain) = &mut self.chain else { return self.packets.next() };
        let failed = |code: AvError| Error::Encoder {
            stage: "the command's bitstream filter".to_owned(),
            message: code.to_string(),
            log: Vec::new(),
        };
        loop {
            if let Some(packet) = chain.pull().map_err(failed)? {
                return Ok(Some(packet));
            }
            if self.ended {
                return Ok(None);
            }
            let packet = self.packets.next()?;
            self.ended = packet.is_none();
            chain.push(packet.as_ref()).map_err(failed)?;
        }
    }
}
