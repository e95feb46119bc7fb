//! The backend for the `rav1e` crate: AV1 without a C library.

use std::collections::VecDeque;

use ffmpeg_next::ffi::AVCodecID;
use finalrip_rav1e::prelude as rav;
use num_traits::FromPrimitive;

use crate::ffi::{Packet, StreamParameters};
use crate::frames::{HdrMetadata, MasteringDisplay};
use crate::picture::{Picture, PixelFormat};
use crate::units::Rational;

use super::command::EncodeCommand;
use super::command::rav1e_options::{Rav1eOptions, Rav1eTune};
use super::{Encoder, EncoderError, Received, VideoParameters};

/// What rav1e takes, best first where a choice has to be made.
pub(crate) const PIXEL_FORMATS: [&str; 12] = [
    "yuv420p",
    "yuv420p10",
    "yuv420p12",
    "yuv422p",
    "yuv422p10",
    "yuv422p12",
    "yuv444p",
    "yuv444p10",
    "yuv444p12",
    "gray",
    "gray10",
    "gray12",
];

/// A rav1e encoder.
pub(crate) struct Rav1eEncoder {
    context: finalrip_rav1e::Encoder,
    video: VideoParameters,
    stream: Option<StreamParameters>,
    /// Times of the frames whose packets are still to come: rav1e counts frames and returns them in display order.
    times: VecDeque<i64>,
}

impl Rav1eEncoder {
    /// Sets rav1e up for the pictures that `video` describes.
    pub(crate) fn open(video: &VideoParameters, command: &EncodeCommand) -> Result<Self, EncoderError> {
        let options = Rav1eOptions::from_options(&command.encoder_options);
        let options = options.map_err(|error| EncoderError::plain(error.to_string()))?;
        let mut video = video.clone();
        apply_color(&mut video, &options);
        let config = rav::Config::new()
            .with_encoder_config(encoder_config(&video, &options)?)
            .with_threads(options.threads.unwrap_or(0));
        let context = finalrip_rav1e::Encoder::new(&config, video.format.depth());
        let context = context.map_err(|error| EncoderError::plain(error.to_string()))?;
        Ok(Self { context, video, stream: None, times: VecDeque::new() })
    }

    /// The stream's description, from the sequence header of the first packet: the container builds a whole `av1C` of
    /// it, with level, tier and chroma position, where rav1e's own short form has placeholders.
    fn describe(&mut self, data: &[u8]) -> Result<(), EncoderError> {
        let header = sequence_header(data)
            .ok_or_else(|| EncoderError::plain("its first packet holds no sequence header".to_owned()))?;
        let stream = StreamParameters::for_video(AVCodecID::AV_CODEC_ID_AV1, &self.video, header);
        self.stream = Some(stream.map_err(|code| EncoderError::plain(code.to_string()))?);
        Ok(())
    }
}

impl Encoder for Rav1eEncoder {
    fn name(&self) -> &str {
        "rav1e"
    }

    fn stream(&self) -> Option<&StreamParameters> {
        self.stream.as_ref()
    }

    fn send(&mut self, picture: Picture) -> Result<(), EncoderError> {
        self.times.push_back(picture.pts());
        let planes: Vec<(&[u8], usize)> = (0..3).map_while(|index| picture.plane(index)).collect();
        if planes.len() != picture.format().components() as usize {
            return Err(EncoderError::plain("a filter gave a picture whose planes cannot be read".to_owned()));
        }
        self.context.send(&planes).map_err(failed)
    }

    fn drain(&mut self) -> Result<(), EncoderError> {
        self.context.flush();
        Ok(())
    }

    fn receive(&mut self) -> Result<Received, EncoderError> {
        let (data, is_key) = match self.context.receive().map_err(failed)? {
            finalrip_rav1e::Received::Unit(data, is_key) => (data, is_key),
            finalrip_rav1e::Received::NeedsInput => return Ok(Received::NeedsInput),
            finalrip_rav1e::Received::Finished => return Ok(Received::Finished),
        };
        if self.stream.is_none() {
            self.describe(&data)?;
        }
        let pts = self.times.pop_front();
        let pts = pts.ok_or_else(|| EncoderError::plain("it returned more packets than frames".to_owned()))?;
        let packet = Packet::copy_of(&data);
        let mut packet = packet.map_err(|code| EncoderError::plain(code.to_string()))?;
        // A temporal unit shows one frame, and they come in display order.
        packet.set_times(pts, pts);
        if is_key {
            packet.set_key();
        }
        Ok(Received::Packet(packet))
    }
}

fn failed(status: rav::EncoderStatus) -> EncoderError {
    EncoderError::plain(status.to_string())
}

/// What the command says of colour goes before what the pictures say.
fn apply_color(video: &mut VideoParameters, options: &Rav1eOptions) {
    let color = &mut video.color;
    let set = |field: &mut i32, option: Option<u8>| {
        if let Some(value) = option {
            *field = value.into();
        }
    };
    set(&mut color.primaries, options.color_primaries);
    set(&mut color.transfer, options.color_trc);
    set(&mut color.matrix, options.colorspace);
    set(&mut color.range, options.color_range);
    set(&mut color.chroma_location, options.chroma_sample_location);
}

fn encoder_config(video: &VideoParameters, options: &Rav1eOptions) -> Result<rav::EncoderConfig, EncoderError> {
    // rav1e's own default speed is 6.
    let mut config = rav::EncoderConfig::with_speed_preset(options.speed.unwrap_or(6));
    config.width = video.width as usize;
    config.height = video.height as usize;
    if let Some(aspect) = video.sample_aspect {
        config.sample_aspect_ratio = fraction(aspect);
    }
    // rav1e takes every frame for one tick long: the frame rate, not the time base, is what its rate control needs.
    if let Some(period) = video.frame_rate.and_then(Rational::inverse) {
        config.time_base = fraction(period);
    }
    config.bit_depth = video.format.depth() as usize;
    config.chroma_sampling = chroma_sampling(video.format)?;
    describe_color(&mut config, video);
    describe_hdr(&mut config, &video.hdr);
    apply_options(&mut config, options);
    if let Some(strength) = options.photon_noise.filter(|&strength| strength > 0) {
        config.film_grain_params = Some(vec![photon_noise(&config, strength)]);
    }
    Ok(config)
}

fn fraction(value: Rational) -> rav::Rational {
    rav::Rational { num: value.num().unsigned_abs(), den: value.den().unsigned_abs() }
}

fn chroma_sampling(format: PixelFormat) -> Result<rav::ChromaSampling, EncoderError> {
    match (format.components(), format.subsampling()) {
        (1, _) => Ok(rav::ChromaSampling::Cs400),
        (_, (1, 1)) => Ok(rav::ChromaSampling::Cs420),
        (_, (1, 0)) => Ok(rav::ChromaSampling::Cs422),
        (_, (0, 0)) => Ok(rav::ChromaSampling::Cs444),
        _ => Err(EncoderError::plain(format!("rav1e does not take {}", format.name()))),
    }
}

fn describe_color(config: &mut rav::EncoderConfig, video: &VideoParameters) {
    use ffmpeg_next::ffi::{AVChromaLocation, AVColorRange};
    let color = video.color;
    config.pixel_range = if color.range == AVColorRange::AVCOL_RANGE_JPEG as i32 {
        rav::PixelRange::Full
    } else {
        rav::PixelRange::Limited
    };
    config.chroma_sample_position = match color.chroma_location {
        location if location == AVChromaLocation::AVCHROMA_LOC_LEFT as i32 => rav::ChromaSamplePosition::Vertical,
        location if location == AVChromaLocation::AVCHROMA_LOC_TOPLEFT as i32 => rav::ChromaSamplePosition::Colocated,
        _ => rav::ChromaSamplePosition::Unknown,
    };
    let codes = (
        rav::ColorPrimaries::from_i32(color.primaries),
        rav::TransferCharacteristics::from_i32(color.transfer),
        rav::MatrixCoefficients::from_i32(color.matrix),
    );
    if let (Some(color_primaries), Some(transfer_characteristics), Some(matrix_coefficients)) = codes {
        let known = [color.primaries, color.transfer, color.matrix].iter().any(|&code| code != 2);
        config.color_description =
            known.then_some(rav::ColorDescription { color_primaries, transfer_characteristics, matrix_coefficients });
    }
}

/// The fixed-point units of AV1's metadata OBUs (AV1 specification, 6.7.3 and 6.7.4).
fn describe_hdr(config: &mut rav::EncoderConfig, hdr: &HdrMetadata) {
    let chromaticity = |[x, y]: [f64; 2]| rav::ChromaticityPoint {
        x: (x * 65_536.0).round() as u16,
        y: (y * 65_536.0).round() as u16,
    };
    config.mastering_display =
        hdr.mastering.map(|MasteringDisplay { primaries, white_point, min_luminance, max_luminance }| {
            rav::MasteringDisplay {
                primaries: primaries.map(chromaticity),
                white_point: chromaticity(white_point),
                max_luminance: (max_luminance * 256.0).round() as u32,
                min_luminance: (min_luminance * 16_384.0).round() as u32,
            }
        });
    config.content_light = hdr.light.map(|light| rav::ContentLight {
        max_content_light_level: light.max_content,
        max_frame_average_light_level: light.max_frame_average,
    });
}

fn apply_options(config: &mut rav::EncoderConfig, options: &Rav1eOptions) {
    fn set<T: Copy>(field: &mut T, option: Option<T>) {
        if let Some(value) = option {
            *field = value;
        }
    }
    set(&mut config.quantizer, options.quantizer.map(usize::from));
    set(&mut config.min_quantizer, options.min_quantizer);
    set(&mut config.bitrate, options.bitrate);
    set(&mut config.tiles, options.tiles);
    set(&mut config.tile_rows, options.tile_rows);
    set(&mut config.tile_cols, options.tile_cols);
    set(&mut config.low_latency, options.low_latency);
    set(&mut config.still_picture, options.still_picture);
    set(&mut config.error_resilient, options.error_resilient);
    set(&mut config.switch_frame_interval, options.switch_frame_interval);
    set(&mut config.enable_timing_info, options.enable_timing_info);
    set(&mut config.speed_settings.rdo_lookahead_frames, options.rdo_lookahead_frames);
    config.reservoir_frame_delay = options.reservoir_frame_delay.or(config.reservoir_frame_delay);
    config.level_idx = options.level_idx.or(config.level_idx);
    if options.no_scene_detection == Some(true) {
        config.speed_settings.scene_detection_mode = rav::SceneDetectionSpeed::None;
    }
    if let Some(tune) = options.tune {
        config.tune = match tune {
            Rav1eTune::Psnr => rav::Tune::Psnr,
            Rav1eTune::Psychovisual => rav::Tune::Psychovisual,
        };
    }
    let longest = options.key_frame_interval.unwrap_or(config.max_key_frame_interval);
    let shortest = options.min_key_frame_interval.unwrap_or(config.min_key_frame_interval);
    // A short interval that is asked for is not undone by the default minimum.
    config.set_key_frame_interval(if longest == 0 { shortest } else { shortest.min(longest) }, longest);
}

/// Grain as a sensor at ISO `strength * 100` would leave it, as rav1e's own program makes it.
fn photon_noise(config: &rav::EncoderConfig, strength: u8) -> rav::GrainTableSegment {
    let is_hdr = config
        .color_description
        .is_some_and(|color| color.transfer_characteristics == rav::TransferCharacteristics::SMPTE2084);
    let arguments = rav::NoiseGenArgs {
        iso_setting: u32::from(strength) * 100,
        width: config.width as u32,
        height: config.height as u32,
        transfer_function: if is_hdr { rav::TransferFunction::SMPTE2084 } else { rav::TransferFunction::BT1886 },
        chroma_grain: false,
        random_seed: None,
    };
    rav::generate_photon_noise_params(0, u64::MAX, arguments)
}

/// The first sequence header OBU of a temporal unit, header included (AV1 specification, 5.3).
fn sequence_header(unit: &[u8]) -> Option<&[u8]> {
    const SEQUENCE_HEADER: u8 = 1;
    let mut rest = unit;
    loop {
        let first = *rest.first()?;
        let has_extension = first & 0b100 != 0;
        let has_size = first & 0b10 != 0;
        let header = 1 + usize::from(has_extension);
        let (size, size_bytes) = if has_size { leb128(rest.get(header..)?)? } else { (rest.len() - header, 0) };
        let end = header.checked_add(size_bytes)?.checked_add(size)?;
        let unit = rest.get(..end)?;
        if (first >> 3) & 0b1111 == SEQUENCE_HEADER {
            return Some(unit);
        }
        rest = &rest[end..];
    }
}

/// A number in AV1's variable-length form, and how many bytes it takes (4.10.5).
fn leb128(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut value = 0_u64;
    for (index, &byte) in bytes.iter().take(8).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((usize::try_from(value).ok()?, index + 1));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sequence_header_is_found_behind_a_temporal_delimiter() {
        let unit = [0x12, 0x00, 0x0a, 0x03, 1, 2, 3, 0x32, 0x01, 9];
        assert_eq!(sequence_header(&unit), Some(&unit[2..7]));
    }

    #[test]
    fn truncated_units_are_refused() {
        assert_eq!(sequence_header(&[]), None);
        assert_eq!(sequence_header(&[0x12, 0x00]), None);
        assert_eq!(sequence_header(&[0x0a, 0x05, 1]), None);
        assert_eq!(sequence_header(&[0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]), None);
    }
}
