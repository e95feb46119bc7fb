//! What a stream comes back as. Muxers take codecs that their format has no name for, and file them under another: what is
//! written can then not be read. So some packets of each stream are written into a file in memory, which is read again and
//! compared, before the stream counts as one that the container carries.

use std::collections::BTreeMap;

use crate::container::StreamKind;
use crate::ffi::decode::Decoder;
use crate::ffi::format::OutputContext;
use crate::ffi::input::{InputContext, InputStream};
use crate::ffi::log::LogTail;
use crate::ffi::{AvError, Packet, StreamParameters};
use crate::units::Rational;

use super::clock::{nanoseconds, shifted};
use super::layout::{Layout, Planned};

/// How much of a stream of sound is tried.
const ENOUGH_SOUND: i64 = 700_000_000;
const MOST_PACKETS: usize = 1000;
const MOST_BYTES: usize = 2 << 20;
/// How far into the source packets are looked for.
const REACH: i64 = 10_000_000_000;
const REACH_BYTES: usize = 32 << 20;
/// How many bytes of decoded sound are compared, out of the middle.
const COMPARED: usize = 1024;

/// The first packets of a source's streams, by the streams' numbers.
#[derive(Debug, Default)]
pub(super) struct Samples(BTreeMap<usize, Vec<Packet>>);

impl Samples {
    /// Reads the source from its start. It is to be opened again afterwards.
    pub(super) fn collect(input: &mut InputContext, video: Option<usize>) -> Self {
        let of = |kind: StreamKind| {
            let streams = input.streams().iter().filter(move |stream| stream.kind == kind);
            streams.map(|stream| stream.index).collect::<Vec<_>>()
        };
        let (sounds, texts) = (of(StreamKind::Audio), of(StreamKind::Subtitle));
        let mut this = Self::default();
        if sounds.is_empty() && texts.is_empty() {
            return this;
        }
        // How much of the video passes by tells how far the reading has come.
        let wanted: Vec<usize> = sounds.iter().chain(&texts).copied().chain(video).collect();
        input.want(&wanted);
        let (mut bytes, mut first) = (0, None);
        while let Ok(Some((index, packet))) = input.read() {
            let stream = &input.streams()[index];
            bytes += packet.data().len();
            let time = packet.dts().or(packet.pts()).map(|ticks| nanoseconds(ticks, stream.time_base));
            let begun = *first.get_or_insert(time.unwrap_or(0));
            if Some(index) != video && !packet.is_hidden() && !this.has_enough(stream) {
                this.0.entry(index).or_default().push(packet);
            }
            let complete = sounds.iter().all(|&index| this.has_enough(&input.streams()[index]))
                && texts.iter().all(|index| this.0.contains_key(index));
            if complete || bytes > REACH_BYTES || time.is_some_and(|time| time.saturating_sub(begun) > REACH) {
                break;
            }
        }
        this
    }

    fn has_enough(&self, stream: &InputStream) -> bool {
        let packets = self.of(stream.index);
        if stream.kind != StreamKind::Audio {
            return packets.len() >= 2;
        }
        let time = |packet: &Packet| packet.pts().or(packet.dts());
        let begin = packets.first().and_then(time).unwrap_or(0);
        let end = packets.last().and_then(time).unwrap_or(0);
        let span = nanoseconds(end.saturating_sub(begin), stream.time_base);
        let bytes: usize = packets.iter().map(|packet| packet.data().len()).sum();
        (packets.len() >= 4 && span >= ENOUGH_SOUND) || packets.len() >= MOST_PACKETS || bytes >= MOST_BYTES
    }

    pub(super) fn of(&self, stream: usize) -> &[Packet] {
        self.0.get(&stream).map_or(&[], Vec::as_slice)
    }
}

/// Packets to try a stream with, in ticks of `base`.
pub(super) struct Tried<'a> {
    pub(super) packets: &'a [Packet],
    pub(super) base: Rational,
}

impl Layout<'_> {
    /// Whether what is written of a stream can be read back as what it is; if not, what it comes back as. `Ok` too where
    /// that cannot be tried.
    pub(super) fn comes_back(&self, planned: &Planned, tried: &Tried<'_>) -> Result<(), String> {
        let format = self.settings().format;
        // MXF begins with a picture, and its sound is of a few kinds that its header names.
        if !format.writes_a_file() || format.name().starts_with("mxf") {
            return Ok(());
        }
        let stand_in = stand_in(&planned.parameters);
        let stand_in = stand_in.filter(|_| tried.packets.is_empty());
        let packets = stand_in.as_ref().map_or(tried.packets, std::slice::from_ref);
        if packets.is_empty() {
            return Ok(());
        }
        let log = LogTail::of_a_trial();
        let fault = |code: AvError| log.take().last().cloned().unwrap_or_else(|| code.to_string());
        let Ok(context) = self.trial(planned, &log) else {
            // It goes with a picture only.
            return Ok(());
        };
        let written = write(context, packets, tried.base).map_err(fault)?;
        let mut input = InputContext::open_memory(written, &self.extension(), &log)
            .map_err(|code| format!("what is written of it cannot be read back: {code}"))?;
        let back = found(&input, planned)?;
        let back = (back.index, back.parameters.copied().map_err(|code| code.to_string())?, back.time_base);
        let (index, parameters, base) = back;
        let mut read = Vec::new();
        while let Ok(Some((number, packet))) = input.read() {
            if number == index {
                read.push(packet);
            }
        }
        let whole = match planned.parameters.sample_rate() {
            _ if stand_in.is_some() => true,
            Some(_) => same_sound((&planned.parameters, tried.base, packets), (&parameters, base, &read)),
            None => packets.first().is_none_or(|first| read.iter().any(|packet| packet.data() == first.data())),
        };
        let codec = planned.parameters.codec_name();
        if whole { Ok(()) } else { Err(format!("{codec} does not come back from it as it was")) }
    }

    /// A file in memory with one stream, its header written.
    fn trial(&self, planned: &Planned, log: &LogTail) -> Result<OutputContext, AvError> {
        let mut context = OutputContext::in_memory(self.settings().format, log)?;
        context.set_bitexact();
        context.add_stream(&planned.parameters, planned.time_base, &planned.settings)?;
        let mut options = self.options();
        // Some of these make the muxer read what it has written, which is not there.
        options.retain(|(name, _)| !["movflags", "cues_to_front", "flush_packets"].contains(&name.as_str()));
        context.write_header(&options)?;
        Ok(context)
    }
}

/// The stream that came back.
fn found<'a>(input: &'a InputContext, planned: &Planned) -> Result<&'a InputStream, String> {
    let codec = planned.parameters.codec_name();
    let mut streams = input.streams().iter();
    let Some(back) = streams.next() else { return Err(format!("{codec} does not come back from it")) };
    let name = back.parameters.codec_name();
    // MP4 has one name for MPEG audio of every layer, and each packet says which it is.
    let layers = ["mp1", "mp2", "mp3"];
    let is_layer = layers.contains(&codec.as_str()) && layers.contains(&name.as_str());
    if back.parameters.codec_id() != planned.parameters.codec_id() && !is_layer {
        return Err(format!("{codec} comes back from it as {name}"));
    }
    let differs = |was: Option<u32>, is: Option<u32>| was.zip(is).is_some_and(|(was, is)| was != is);
    let (was, is) = (&planned.parameters, &back.parameters);
    if codec != "aac" && (differs(was.sample_rate(), is.sample_rate()) || differs(was.channels(), is.channels())) {
        return Err(format!("{codec} comes back from it with another rate or other channels"));
    }
    Ok(back)
}

/// Writes packets from time 0 on, and gives the file. One that the muxer refuses may be damaged; most may not.
fn write(mut context: OutputContext, packets: &[Packet], base: Rational) -> Result<Vec<u8>, AvError> {
    let time = |packet: &Packet| packet.pts().or(packet.dts());
    let begin = packets.iter().find_map(time).unwrap_or(0);
    let to = context.time_base_of(0);
    let (mut next, mut refused, mut last) = (0, 0, AvError::INVALID_DATA);
    for packet in packets {
        let mut copy = packet.copied()?;
        let at = time(packet).map_or(next, |ticks| shifted(ticks.saturating_sub(begin), base, 0, to)).max(next);
        let second = shifted(1, Rational::ONE, 0, to);
        let lasts = shifted(packet.duration(), base, 0, to);
        let lasts = if (1..second.saturating_mul(60)).contains(&lasts) { lasts } else { second / 50 };
        copy.place(Some(at), Some(at), lasts);
        copy.set_stream_index(0);
        copy.set_key();
        next = at.saturating_add(1);
        if let Err(code) = context.write(copy) {
            (refused, last) = (refused + 1, code);
        }
    }
    if refused * 2 > packets.len() {
        return Err(last);
    }
    context.into_bytes().ok_or(AvError::INVALID)
}

/// Whether two streams decode to the same sound. Containers may cut the beginning and the end, so it is the middle that is
/// looked for. What libav cannot decode is compared as it is.
fn same_sound(was: (&StreamParameters, Rational, &[Packet]), is: (&StreamParameters, Rational, &[Packet])) -> bool {
    let sound = decoded(was);
    if sound.is_empty() {
        return !is.2.is_empty();
    }
    let back = decoded(is);
    if back.len() < sound.len() / 3 {
        return false;
    }
    let from = (back.len() / 2).saturating_sub(COMPARED / 2);
    let middle = &back[from..back.len().min(from + COMPARED)];
    sound.windows(middle.len()).any(|window| window == middle)
}

fn decoded((parameters, base, packets): (&StreamParameters, Rational, &[Packet])) -> Vec<u8> {
    let mut bytes = Vec::new();
    let Ok(mut decoder) = Decoder::open(parameters, base, &LogTail::of_a_trial()) else { return bytes };
    for packet in packets.iter().map(Some).chain([None]) {
        if decoder.send(packet).is_err() {
            continue;
        }
        while let Ok(Some(frame)) = decoder.receive() {
            bytes.extend_from_slice(frame.sample_bytes());
        }
    }
    bytes
}

/// A subtitle that shows little or nothing, for a stream whose own begin late.
fn stand_in(parameters: &StreamParameters) -> Option<Packet> {
    let teletext = [&[0x10, 0x02, 0x2C][..], &[0; 44]].concat();
    let payload: &[u8] = match parameters.codec_name().as_str() {
        _ if parameters.subtitle_form().is_none() => return None,
        "mov_text" => b"\0\x04text",
        "ass" | "ssa" => b"0,0,Default,,0,0,0,,text",
        "hdmv_pgs_subtitle" => &[0x80, 0, 0],
        "dvd_subtitle" => &[0, 6, 0, 4, 0xFF, 0xFF],
        "dvb_subtitle" => &[0x0F, 0x80, 0, 1, 0, 0],
        "dvb_teletext" => &teletext,
        _ => b"text",
    };
    let mut packet = Packet::copy_of(payload).ok()?;
    packet.place(Some(0), Some(0), 0);
    Some(packet)
}
