//! What aomenc and vpxenc have in common: their rate control, in the terms of libav's.

use super::{CommandError, Given, Reader};

/// `--end-usage` and what belongs to it.
#[derive(Debug, Default)]
pub(super) struct RateControl {
    mode: Option<String>,
    /// In thousands of bits per second.
    bitrate: Option<u64>,
    level: Option<String>,
    /// Sizes of the buffer, in milliseconds of the bitrate.
    buffer: Option<u64>,
    initial: Option<u64>,
    optimal: Option<u64>,
}

/// The bitrate that both programs start with, in thousands of bits per second.
const DEFAULT_BITRATE: u64 = 256;
/// The quality that both programs start with.
const DEFAULT_LEVEL: &str = "10";
/// How much of the buffer both libraries take to be full at the start, in milliseconds; libav would say three quarters.
const DEFAULT_INITIAL: u64 = 4000;
/// The whole of it, and the level that is aimed at.
const DEFAULT_BUFFER: u64 = 6000;
const DEFAULT_OPTIMAL: u64 = 5000;

pub(super) fn end_usage(reader: &mut Reader, given: &Given<'_>) -> Result<(), CommandError> {
    // The programs take the names, and their numbers.
    let mode = match given.value {
        "vbr" | "0" => "vbr",
        "cbr" | "1" => "cbr",
        "cq" | "2" => "cq",
        "q" | "3" => "q",
        _ => return Err(given.bad_value("vbr, cbr, cq or q")),
    };
    reader.rate_control.mode = Some(mode.to_owned());
    Ok(())
}

pub(super) fn target_bitrate(reader: &mut Reader, given: &Given<'_>) -> Result<(), CommandError> {
    let rate = given.whole().ok().filter(|rate: &u64| (1..=2_000_000).contains(rate));
    reader.rate_control.bitrate = Some(rate.ok_or_else(|| given.bad_value("thousands of bits per second, from 1"))?);
    Ok(())
}

pub(super) fn level(reader: &mut Reader, given: &Given<'_>) -> Result<(), CommandError> {
    let level = given.whole().ok().filter(|level: &u8| *level <= 63);
    let level = level.ok_or_else(|| given.bad_value("a whole number from 0 to 63"))?;
    reader.rate_control.level = Some(level.to_string());
    Ok(())
}

/// `--buf-sz`, `--buf-initial-sz` and `--buf-optimal-sz`.
pub(super) fn buffer(reader: &mut Reader, given: &Given<'_>) -> Result<(), CommandError> {
    let time = given.whole().ok().filter(|time: &u64| *time <= 1_000_000);
    let time = time.ok_or_else(|| given.bad_value("milliseconds, from 0 to 1000000"))?;
    let control = &mut reader.rate_control;
    let part = match given.name {
        "buf-sz" => &mut control.buffer,
        "buf-initial-sz" => &mut control.initial,
        _ => &mut control.optimal,
    };
    *part = Some(time);
    Ok(())
}

/// libav derives it from `qcomp`, which is a fraction.
pub(super) fn bias(reader: &mut Reader, given: &Given<'_>) -> Result<(), CommandError> {
    let percent: u32 =
        given.whole().ok().filter(|percent| *percent <= 100).ok_or_else(|| given.bad_value("0 to 100"))?;
    reader.libav_option(given.typed, "qcomp", &format!("{}.{:02}", percent / 100, percent % 100))
}

/// The whole stream's resilience, which libav knows by other names.
pub(super) fn error_resilient(reader: &mut Reader, given: &Given<'_>) -> Result<(), CommandError> {
    let name = if reader.tool.encoder == "libaom-av1" { "error-resilience" } else { "error-resilient" };
    match given.value {
        "0" => Ok(()),
        "1" => reader.libav_option(given.typed, name, "default"),
        "2" if name == "error-resilient" => reader.libav_option(given.typed, name, "partitions"),
        "3" if name == "error-resilient" => reader.libav_option(given.typed, name, "default+partitions"),
        _ => Err(given.bad_value("a number of the program's")),
    }
}

/// Says in libav's terms how the rate is controlled, and the program's default speed where none is given.
pub(super) fn finish(reader: &mut Reader, speed: &str) -> Result<(), CommandError> {
    if reader.command.encoder_option("cpu-used").is_none() {
        reader.libav_option("--cpu-used", "cpu-used", speed)?;
    }
    let control = std::mem::take(&mut reader.rate_control);
    let mode = control.mode.as_deref().unwrap_or("vbr");
    let bits = control.bitrate.unwrap_or(DEFAULT_BITRATE) * 1000;
    if ["cq", "q"].contains(&mode) {
        let level = control.level.as_deref().unwrap_or(DEFAULT_LEVEL);
        reader.libav_option("--cq-level", "crf", level)?;
    }
    // A quality without a bitrate is what libav takes for `q`; equal limits are what it takes for `cbr`.
    let rates: &[&str] = match mode {
        "q" => &[],
        "cbr" => &["b", "minrate", "maxrate"],
        _ => &["b"],
    };
    if mode == "q" {
        reader.libav_option("--end-usage", "b", "0")?;
    }
    for name in rates {
        reader.libav_option("--target-bitrate", name, &bits.to_string())?;
    }
    let optimal = control.buffer.unwrap_or(DEFAULT_BUFFER) * 5 / 6;
    if optimal != control.optimal.unwrap_or(DEFAULT_OPTIMAL) {
        let reason = format!("libav aims at five sixths of the buffer: say --buf-optimal-sz={optimal} as well");
        return Err(CommandError::not_here("--buf-sz", reason));
    }
    let initial = control.initial.or(control.buffer.map(|_| DEFAULT_INITIAL));
    for (typed, name, time) in
        [("--buf-sz", "bufsize", control.buffer), ("--buf-initial-sz", "rc_init_occupancy", initial)]
    {
        if let Some(time) = time {
            let size = (bits * time / 1000).min(i32::MAX as u64);
            reader.libav_option(typed, name, &size.to_string())?;
        }
    }
    Ok(())
}
