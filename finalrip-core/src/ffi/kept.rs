//! What is kept of a stream and its packets in a file that no container of libav describes well enough.

use std::ffi::c_int;

use ffmpeg_next::ffi as av;
use serde::{Deserialize, Serialize};

use super::frame::{av_rational, rational_from};
use super::{AvError, Packet, StreamParameters, c_string};
use crate::picture::Color;
use crate::units::Rational;

/// A video stream as its encoder described it. Enumerations are kept as numbers of this libav, and only those that it defines
/// come back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct KeptStream {
    codec: String,
    tag: u32,
    extradata: Vec<u8>,
    format: c_int,
    bits_per_coded_sample: c_int,
    bits_per_raw_sample: c_int,
    profile: c_int,
    level: c_int,
    width: c_int,
    height: c_int,
    bit_rate: i64,
    video_delay: c_int,
    sample_aspect: Option<Rational>,
    field_order: c_int,
    color: Color,
    side_data: Vec<(usize, Vec<u8>)>,
}

/// The side data of streams that is kept.
const OF_STREAMS: [av::AVPacketSideDataType; 3] = [
    av::AVPacketSideDataType::AV_PKT_DATA_MASTERING_DISPLAY_METADATA,
    av::AVPacketSideDataType::AV_PKT_DATA_CONTENT_LIGHT_LEVEL,
    av::AVPacketSideDataType::AV_PKT_DATA_CPB_PROPERTIES,
];

/// The side data of packets that is kept: what muxers look at.
const OF_PACKETS: [av::AVPacketSideDataType; 3] = [
    av::AVPacketSideDataType::AV_PKT_DATA_PALETTE,
    av::AVPacketSideDataType::AV_PKT_DATA_NEW_EXTRADATA,
    av::AVPacketSideDataType::AV_PKT_DATA_MATROSKA_BLOCKADDITIONAL,
];

impl KeptStream {
    pub(crate) fn of(parameters: &StreamParameters) -> Self {
        let raw = parameters.raw();
        let number = |kind: &av::AVPacketSideDataType| OF_STREAMS.iter().position(|known| known == kind);
        let side_data = parameters.side_data.iter();
        Self {
            codec: parameters.codec_name(),
            tag: raw.codec_tag,
            extradata: parameters.extradata().to_vec(),
            format: raw.format,
            bits_per_coded_sample: raw.bits_per_coded_sample,
            bits_per_raw_sample: raw.bits_per_raw_sample,
            profile: raw.profile,
            level: raw.level,
            width: raw.width,
            height: raw.height,
            bit_rate: raw.bit_rate,
            video_delay: raw.video_delay,
            sample_aspect: rational_from(raw.sample_aspect_ratio),
            field_order: raw.field_order as c_int,
            color: parameters.color(),
            side_data: side_data.filter_map(|(kind, bytes)| Some((number(kind)?, bytes.clone()))).collect(),
        }
    }

    pub(crate) fn parameters(&self) -> Result<StreamParameters, AvError> {
        let name = c_string(&self.codec);
        // SAFETY: a terminated string; returns null or a static description.
        let codec =
            unsafe { av::avcodec_descriptor_get_by_name(name.as_ptr()).as_ref() }.ok_or(AvError::INVALID_DATA)?;
        let mut parameters = StreamParameters::empty()?;
        let raw = parameters.raw_mut();
        (raw.codec_type, raw.codec_id, raw.codec_tag) = (codec.type_, codec.id, self.tag);
        (raw.format, raw.profile, raw.level) = (self.format, self.profile, self.level);
        (raw.bits_per_coded_sample, raw.bits_per_raw_sample) = (self.bits_per_coded_sample, self.bits_per_raw_sample);
        (raw.width, raw.height, raw.bit_rate, raw.video_delay) =
            (self.width, self.height, self.bit_rate, self.video_delay);
        if let Some(aspect) = self.sample_aspect {
            raw.sample_aspect_ratio = av_rational(aspect);
        }
        raw.field_order = field_order(self.field_order);
        parameters.set_color(self.color);
        parameters.set_extradata(&self.extradata)?;
        let kind = |number: usize| OF_STREAMS.get(number).copied().ok_or(AvError::INVALID_DATA);
        for (number, bytes) in &self.side_data {
            parameters.side_data.push((kind(*number)?, bytes.clone()));
        }
        Ok(parameters)
    }
}

fn field_order(number: c_int) -> av::AVFieldOrder {
    use av::AVFieldOrder as Order;
    let known =
        [Order::AV_FIELD_PROGRESSIVE, Order::AV_FIELD_TT, Order::AV_FIELD_BB, Order::AV_FIELD_TB, Order::AV_FIELD_BT];
    known.into_iter().find(|order| *order as c_int == number).unwrap_or(Order::AV_FIELD_UNKNOWN)
}

/// A packet without its times.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct KeptPacket {
    pub(crate) is_key: bool,
    /// By their numbers among the kinds that are kept.
    pub(crate) side_data: Vec<(u32, Vec<u8>)>,
    pub(crate) data: Vec<u8>,
}

impl KeptPacket {
    pub(crate) fn of(packet: &Packet) -> Self {
        let side_data = (0..).zip(OF_PACKETS).filter_map(|(number, kind)| Some((number, packet.side_data(kind)?)));
        Self { is_key: packet.is_key(), side_data: side_data.collect(), data: packet.data().to_vec() }
    }

    pub(crate) fn packet(&self) -> Result<Packet, AvError> {
        let mut packet = Packet::copy_of(&self.data)?;
        if self.is_key {
            packet.set_key();
        }
        for (number, bytes) in &self.side_data {
            let kind = OF_PACKETS.get(*number as usize).ok_or(AvError::INVALID_DATA)?;
            packet.add_side_data(*kind, bytes)?;
        }
        Ok(packet)
    }
}

impl Packet {
    /// A copy of its side data of a kind.
    fn side_data(&self, kind: av::AVPacketSideDataType) -> Option<Vec<u8>> {
        let mut size = 0;
        // SAFETY: returns null or side data of the packet with `size` bytes.
        let data = unsafe { av::av_packet_get_side_data(self.as_ptr(), kind, &raw mut size) };
        // SAFETY: not null, so that there are `size` bytes, which stay while the packet is not changed.
        (!data.is_null()).then(|| unsafe { std::slice::from_raw_parts(data, size) }.to_vec())
    }

    fn add_side_data(&mut self, kind: av::AVPacketSideDataType, bytes: &[u8]) -> Result<(), AvError> {
        // SAFETY: a packet that we own; returns null or room for as many bytes.
        let data = unsafe { av::av_packet_new_side_data(self.as_ptr(), kind, bytes.len()) };
        if data.is_null() {
            return Err(AvError::NO_MEMORY);
        }
        // SAFETY: the room above, which no slice of ours overlaps.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), data, bytes.len()) };
        Ok(())
    }
}
