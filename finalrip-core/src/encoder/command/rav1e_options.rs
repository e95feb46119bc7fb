//! The options of the rav1e backend: libav's names for what its own rav1e wrapper has, and rav1e's names inside
//! `-rav1e-params`, so that a command works with either.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;

use super::error::CommandError;
use super::suggest::closest;
use crate::ffi::options as libav;

/// Settings of the rav1e backend; what is `None` is left as rav1e has it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Rav1eOptions {
    /// 0 (slow, small) to 10 (fast).
    pub(crate) speed: Option<u8>,
    /// 1 to 255; smaller is better.
    pub(crate) quantizer: Option<u8>,
    /// The least quantizer when a bitrate is asked for.
    pub(crate) min_quantizer: Option<u8>,
    /// In bits per second.
    pub(crate) bitrate: Option<i32>,
    /// In frames; 0 for no fixed interval.
    pub(crate) key_frame_interval: Option<u64>,
    /// In frames.
    pub(crate) min_key_frame_interval: Option<u64>,
    /// At least this many tiles; stands above rows and columns.
    pub(crate) tiles: Option<usize>,
    /// A power of two.
    pub(crate) tile_rows: Option<usize>,
    /// A power of two.
    pub(crate) tile_cols: Option<usize>,
    /// 0 for as many as there are processors.
    pub(crate) threads: Option<usize>,
    /// What quality means.
    pub(crate) tune: Option<Rav1eTune>,
    /// No reordering of frames.
    pub(crate) low_latency: Option<bool>,
    /// In frames.
    pub(crate) rdo_lookahead_frames: Option<usize>,
    /// Strength of synthetic grain, 0 to 64.
    pub(crate) photon_noise: Option<u8>,
    /// The one frame is a picture.
    pub(crate) still_picture: Option<bool>,
    /// Every frame can be decoded without the entropy state of others.
    pub(crate) error_resilient: Option<bool>,
    /// In frames; only with `low_latency`.
    pub(crate) switch_frame_interval: Option<u64>,
    /// In frames.
    pub(crate) reservoir_frame_delay: Option<i32>,
    /// Keyframes only at their fixed interval.
    pub(crate) no_scene_detection: Option<bool>,
    /// 0 finds scene changes best, 1 fastest.
    pub(crate) scd_speed: Option<u8>,
    /// Write the frame rate into the stream.
    pub(crate) enable_timing_info: Option<bool>,
    /// AV1's `seq_level_idx`.
    pub(crate) level_idx: Option<u8>,
    /// Code points of ITU-T H.273.
    pub(crate) color_primaries: Option<u8>,
    /// Code points of ITU-T H.273.
    pub(crate) color_trc: Option<u8>,
    /// Code points of ITU-T H.273.
    pub(crate) colorspace: Option<u8>,
    /// As libav numbers it: 1 is limited, 2 is full.
    pub(crate) color_range: Option<u8>,
    /// As libav numbers it: 1 is left, 3 is top left.
    pub(crate) chroma_sample_location: Option<u8>,
}

/// What rav1e's rate-distortion decisions aim at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rav1eTune {
    /// Peak signal-to-noise ratio.
    Psnr,
    /// How it looks; rav1e's default.
    Psychovisual,
}

/// The options that the backend has, by libav's names.
#[rustfmt::skip]
pub(crate) const NAMES: &[&str] = &[
    "speed", "qp", "qmin", "b", "g", "keyint_min", "tiles", "tile-rows", "tile-columns", "threads", "color_primaries",
    "color_trc", "colorspace", "color_range", "chroma_sample_location", "rav1e-params",
];

/// The keys that `-rav1e-params` takes, by rav1e's names.
#[rustfmt::skip]
const KEYS: &[&str] = &[
    "speed", "quantizer", "min_quantizer", "bitrate", "key_frame_interval", "keyint", "min_key_frame_interval",
    "min_keyint", "tiles", "tile_rows", "tile_cols", "threads", "tune", "low_latency", "rdo_lookahead_frames",
    "photon_noise", "still_picture", "error_resilient", "switch_frame_interval", "reservoir_frame_delay",
    "no_scene_detection", "scd_speed", "enable_timing_info", "level",
];

/// The longest interval that rav1e's rate control can reckon with.
const LONGEST_INTERVAL: u64 = i32::MAX as u64 / 3;

pub(crate) fn is_option(name: &str) -> bool {
    NAMES.contains(&name)
}

/// Refuses a value that the backend would refuse.
pub(crate) fn check(typed: &str, name: &str, value: &str) -> Result<(), CommandError> {
    Rav1eOptions::default().set(typed, name, value)
}

impl Rav1eOptions {
    /// Reads the options of a command whose encoder is rav1e.
    pub(crate) fn from_options(options: &[(String, String)]) -> Result<Self, CommandError> {
        let mut settings = Self::default();
        for (name, value) in options {
            settings.set(&format!("-{name}"), name, value)?;
        }
        Ok(settings)
    }

    /// Sets one option by libav's name.
    fn set(&mut self, typed: &str, name: &str, value: &str) -> Result<(), CommandError> {
        let number = |range| libav_number(typed, name, value, range).map(Some);
        match name {
            "rav1e-params" => return self.set_params(typed, value),
            "color_primaries" => self.color_primaries = number(1..=22)?,
            "color_trc" => self.color_trc = number(1..=18)?,
            "colorspace" => self.colorspace = number(0..=14)?,
            "color_range" => self.color_range = number(0..=2)?,
            "chroma_sample_location" => self.chroma_sample_location = number(0..=6)?,
            // libav's way to leave it to rav1e.
            "speed" | "qp" | "tiles" | "tile-rows" | "tile-columns" if value == "-1" => {}
            _ => return self.set_key(typed, key_of(name), value),
        }
        Ok(())
    }

    fn set_params(&mut self, typed: &str, params: &str) -> Result<(), CommandError> {
        for param in params.split(':').filter(|param| !param.is_empty()) {
            let pair = param.split_once('=');
            let (key, value) =
                pair.ok_or_else(|| CommandError::bad_value(typed, params, "key=value, with `:` between"))?;
            self.set_key(&format!("{typed} {key}"), key, value)?;
        }
        Ok(())
    }

    /// Sets one setting by rav1e's name.
    pub(crate) fn set_key(&mut self, typed: &str, key: &str, value: &str) -> Result<(), CommandError> {
        match key {
            "speed" => self.speed = number(typed, value, 0..=10)?,
            // rav1e takes 0 for lossless, and does not have it.
            "quantizer" => self.quantizer = number(typed, value, 1..=255)?,
            "min_quantizer" => self.min_quantizer = number(typed, value, 0..=255)?,
            "bitrate" => self.bitrate = Some(bitrate(typed, value)?),
            "key_frame_interval" | "keyint" => self.key_frame_interval = number(typed, value, 0..=LONGEST_INTERVAL)?,
            "min_key_frame_interval" | "min_keyint" => {
                self.min_key_frame_interval = number(typed, value, 0..=LONGEST_INTERVAL)?;
            }
            "tiles" => self.tiles = number(typed, value, 0..=4096)?,
            "tile_rows" => self.tile_rows = Some(tile_count(typed, value)?),
            "tile_cols" => self.tile_cols = Some(tile_count(typed, value)?),
            "threads" => self.threads = number(typed, value, 0..=1024)?,
            "tune" => self.tune = Some(tune(typed, value)?),
            "low_latency" => self.low_latency = Some(boolean(typed, value)?),
            "rdo_lookahead_frames" => self.rdo_lookahead_frames = number(typed, value, 1..=1024)?,
            "photon_noise" => self.photon_noise = number(typed, value, 0..=64)?,
            "still_picture" => self.still_picture = Some(boolean(typed, value)?),
            "error_resilient" => self.error_resilient = Some(boolean(typed, value)?),
            "switch_frame_interval" => self.switch_frame_interval = number(typed, value, 0..=LONGEST_INTERVAL)?,
            "reservoir_frame_delay" => self.reservoir_frame_delay = number(typed, value, 12..=131_072)?,
            "no_scene_detection" => self.no_scene_detection = Some(boolean(typed, value)?),
            "scd_speed" => self.scd_speed = number(typed, value, 0..=1)?,
            "enable_timing_info" => self.enable_timing_info = Some(boolean(typed, value)?),
            "level" => self.level_idx = level(typed, value)?,
            _ => return Err(CommandError::UnknownOption { option: typed.to_owned(), suggestion: closest(key, KEYS) }),
        }
        Ok(())
    }
}

/// rav1e's name for an option of libav's.
fn key_of(name: &str) -> &str {
    match name {
        "qp" => "quantizer",
        "qmin" => "min_quantizer",
        "b" => "bitrate",
        "g" => "key_frame_interval",
        "keyint_min" => "min_key_frame_interval",
        "tile-rows" => "tile_rows",
        "tile-columns" => "tile_cols",
        same => same,
    }
}

fn number<T>(typed: &str, value: &str, range: RangeInclusive<T>) -> Result<Option<T>, CommandError>
where
    T: FromStr + PartialOrd + Display,
{
    let found = value.parse().ok().filter(|number| range.contains(number));
    let allowed = || format!("a whole number from {} to {}", range.start(), range.end());
    found.map(Some).ok_or_else(|| CommandError::bad_value(typed, value, allowed()))
}

/// A value that libav has a name for, such as `bt709`, or its number.
fn libav_number(typed: &str, name: &str, value: &str, range: RangeInclusive<u8>) -> Result<u8, CommandError> {
    let found = Some(value).filter(|value| !value.contains('(')).and_then(|v| libav::generic_option_number(name, v));
    let found = found.and_then(|number| u8::try_from(number).ok()).filter(|number| range.contains(number));
    found.ok_or_else(|| {
        let allowed = libav::find_generic_option(name).map(|option| option.allowed);
        CommandError::bad_value(typed, value, allowed.unwrap_or_default())
    })
}

fn bitrate(typed: &str, value: &str) -> Result<i32, CommandError> {
    let found = Some(value).filter(|value| !value.contains('(')).and_then(|v| libav::generic_option_number("b", v));
    let found = found.and_then(|rate| i32::try_from(rate).ok()).filter(|&rate| rate >= 0);
    found.ok_or_else(|| CommandError::bad_value(typed, value, "bits per second, such as 2M or 800k, below 2147M"))
}

fn tile_count(typed: &str, value: &str) -> Result<usize, CommandError> {
    let count = value.parse().ok().filter(|&count: &usize| count == 0 || (count.is_power_of_two() && count <= 64));
    count.ok_or_else(|| CommandError::bad_value(typed, value, "0, 1, 2, 4, 8, 16, 32 or 64"))
}

fn boolean(typed: &str, value: &str) -> Result<bool, CommandError> {
    match value {
        "1" | "true" => Ok(true),
        "0" | "false" => Ok(false),
        _ => Err(CommandError::bad_value(typed, value, "true or false")),
    }
}

fn tune(typed: &str, value: &str) -> Result<Rav1eTune, CommandError> {
    match value.to_ascii_lowercase().as_str() {
        "psnr" => Ok(Rav1eTune::Psnr),
        "psychovisual" => Ok(Rav1eTune::Psychovisual),
        _ => Err(CommandError::bad_value(typed, value, "psnr or psychovisual")),
    }
}

/// `major.minor` as AV1's `seq_level_idx` counts levels; `None` leaves it to rav1e.
fn level(typed: &str, value: &str) -> Result<Option<u8>, CommandError> {
    let index = |(major, minor): (&str, &str)| {
        let (major, minor): (u8, u8) = (major.parse().ok()?, minor.parse().ok()?);
        let exists = (2..=7).contains(&major) && minor <= 3;
        exists.then_some(major.saturating_sub(2) * 4 + minor)
    };
    match value {
        "auto" => Ok(None),
        "unconstrained" => Ok(Some(31)),
        _ => value
            .split_once('.')
            .and_then(index)
            .map(Some)
            .ok_or_else(|| CommandError::bad_value(typed, value, "a level from 2.0 to 7.3, auto or unconstrained")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(options: &[(&str, &str)]) -> Result<Rav1eOptions, CommandError> {
        let options: Vec<_> = options.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Rav1eOptions::from_options(&options)
    }

    #[test]
    fn libav_names_and_rav1e_names_mean_the_same() {
        let by_libav = read(&[("speed", "6"), ("qp", "80"), ("b", "2M"), ("g", "240"), ("tile-columns", "2")]).unwrap();
        let by_rav1e = "speed=6:quantizer=80:bitrate=2000000:keyint=240:tile_cols=2";
        assert_eq!(read(&[("rav1e-params", by_rav1e)]).unwrap(), by_libav);
        assert_eq!(by_libav.bitrate, Some(2_000_000));
        assert_eq!(read(&[("speed", "-1")]).unwrap(), Rav1eOptions::default());
    }

    #[test]
    fn colours_are_code_points() {
        let colours =
            read(&[("color_primaries", "bt2020"), ("color_trc", "smpte2084"), ("color_range", "tv")]).unwrap();
        assert_eq!((colours.color_primaries, colours.color_trc, colours.color_range), (Some(9), Some(16), Some(1)));
    }

    #[test]
    fn a_value_out_of_range_names_the_range() {
        for (name, value, message) in [
            ("speed", "11", "-speed cannot be `11`; allowed: a whole number from 0 to 10"),
            ("qp", "0", "-qp cannot be `0`; allowed: a whole number from 1 to 255"),
            ("tile-rows", "3", "-tile-rows cannot be `3`; allowed: 0, 1, 2, 4, 8, 16, 32 or 64"),
            ("rav1e-params", "tune=film", "-rav1e-params tune cannot be `film`; allowed: psnr or psychovisual"),
            ("rav1e-params", "sped=6", "unknown option -rav1e-params sped; did you mean speed?"),
            ("rav1e-params", "fast", "-rav1e-params cannot be `fast`; allowed: key=value, with `:` between"),
            (
                "rav1e-params",
                "level=9.9",
                "-rav1e-params level cannot be `9.9`; allowed: a level from 2.0 to 7.3, auto or unconstrained",
            ),
        ] {
            assert_eq!(read(&[(name, value)]).unwrap_err().to_string(), message);
        }
    }
}
