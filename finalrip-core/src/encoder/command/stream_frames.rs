//! Parameters that count the frames of the whole stream: what they become for a part of it.
//!
//! A chunk's encoder counts its own frames from 0. So whatever names frames of the stream by their number is shifted by what
//! lies before the chunk, and clipped to its length. What cannot be shifted keeps the clip in one chunk.

use super::EncodeCommand;
use super::params::{self, Param, escape};

/// How an encoder counts in one of its parameters.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Counts {
    /// `first,last,options/first,last,options`; the last frame belongs to the zone.
    ZonesWithLast,
    /// The same; the zone ends in front of its last number.
    ZonesWithEnd,
    /// The number of frames of the whole stream.
    Total,
    /// It counts, and cannot be shifted.
    Otherwise,
}

/// The parameters that count the stream's frames, by libav's option for the list and the name in it.
const COUNTING: [(&str, &str, Counts); 9] = [
    ("x264-params", "zones", Counts::ZonesWithLast),
    ("x264opts", "zones", Counts::ZonesWithLast),
    ("x265-params", "zones", Counts::ZonesWithEnd),
    ("x265-params", "total-frames", Counts::Total),
    // Frames of another size, at the numbers that a list gives.
    ("svtav1-params", "frame-resz-events", Counts::Otherwise),
    ("svtav1-params", "frame-resz-kf-denoms", Counts::Otherwise),
    ("svtav1-params", "frame-resz-denoms", Counts::Otherwise),
    ("svtav1-params", "sframe-posi", Counts::Otherwise),
    ("svtav1-params", "sframe-qp", Counts::Otherwise),
];

/// Options of libav's own that number pictures from a start that is given: MPEG-1's and MPEG-2's time code.
const COUNTING_OPTIONS: [&str; 1] = ["gop_timecode"];

/// A zone that lies behind the chunk is put here: further than any stream goes, and far from what 32 bits hold.
const BEYOND: i64 = 1 << 30;

/// A part of the stream that an encoder makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StreamPart {
    /// The stream's frames before it.
    pub(crate) before: u32,
    /// Its own frames.
    pub(crate) length: u32,
}

impl EncodeCommand {
    /// The command for a part of the stream: parameters that name frames of the whole stream name the part's.
    ///
    /// The first part's are left as they are: what lies behind its end does not concern it.
    pub(crate) fn for_part(&self, part: StreamPart) -> Self {
        let mut command = self.clone();
        if part.before == 0 {
            return command;
        }
        for (option, list) in command.encoder_options.iter_mut().filter(|(option, _)| params::is_list(option)) {
            let entries: Vec<String> =
                params::split(option, list).iter().map(|param| shifted(option, param, part)).collect();
            *list = entries.join(":");
        }
        command
    }

    /// The options and parameters that count the stream's frames and cannot be shifted.
    pub(crate) fn unshiftable(&self) -> Vec<String> {
        let mut names = Vec::new();
        for (option, value) in &self.encoder_options {
            if COUNTING_OPTIONS.contains(&option.as_str()) {
                names.push(format!("-{option}"));
            }
            if params::is_list(option) {
                let counted = params::split(option, value);
                let found = counted.iter().filter(|param| counts(option, param) == Some(Counts::Otherwise));
                names.extend(found.map(|param| param.key.clone()));
            }
        }
        names
    }
}

fn counts(option: &str, param: &Param<'_>) -> Option<Counts> {
    let (name, _) = param.meaning();
    COUNTING.iter().find(|(list, known, _)| *list == option && *known == name).map(|&(.., counts)| counts)
}

/// The entry for the part, as it is written in the list.
fn shifted(option: &str, param: &Param<'_>, part: StreamPart) -> String {
    let value = match counts(option, param) {
        Some(Counts::ZonesWithLast) => zones(param.bare_value(), part, 0),
        Some(Counts::ZonesWithEnd) => zones(param.bare_value(), part, 1),
        Some(Counts::Total) if param.bare_value() != "0" => Some(part.length.to_string()),
        _ => None,
    };
    match value {
        None => param.text.to_owned(),
        // `-x264opts` knows no escapes, and zones need none: it could not have held one with a `:`.
        Some(value) if option == "x264opts" => format!("{}={value}", param.key),
        Some(value) => format!("{}={}", escape(&param.key), escape(&value)),
    }
}

/// The zones of the part, in their order. `None` for what is no list of zones: the encoder will say so itself.
///
/// x264 and x265 change other settings, and what they say of themselves in the stream, when there are any zones at all. So a
/// part that no zone touches keeps one, where no frame comes to it.
fn zones(list: &str, part: StreamPart, after_last: i64) -> Option<String> {
    let mut kept = Vec::new();
    let mut first_options = None;
    for zone in list.split('/') {
        let mut words = zone.splitn(3, ',');
        let start: i64 = words.next()?.trim().parse().ok()?;
        let end: i64 = words.next()?.trim().parse().ok()?;
        let options = words.next()?;
        first_options.get_or_insert(options);
        let (before, length) = (i64::from(part.before), i64::from(part.length));
        let (start, end) = (start.checked_sub(before)?, end.checked_sub(before)?);
        if end >= after_last && start < length + after_last {
            kept.push(format!("{},{},{options}", start.max(0), end.min(length - 1 + after_last)));
        }
    }
    if kept.is_empty() {
        kept.push(format!("{BEYOND},{},{}", BEYOND + after_last, first_options?));
    }
    Some(kept.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(text: &str, before: u32, length: u32) -> String {
        let command = EncodeCommand::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        let command = command.for_part(StreamPart { before, length });
        command.encoder_options.last().unwrap().1.clone()
    }

    #[test]
    fn zones_are_shifted_and_clipped_in_both_dialects() {
        let x264 = |before, length| {
            options("-c:v libx264 -x264-params crf=45:zones=20,39,q=1/60,99,b=2,ref=1", before, length)
        };
        assert_eq!(x264(0, 30), "crf=45:zones=20,39,q=1/60,99,b=2,ref=1");
        assert_eq!(x264(30, 30), r"crf=45:zones=0,9,q\=1");
        assert_eq!(x264(30, 60), r"crf=45:zones=0,9,q\=1/30,59,b\=2,ref\=1");
        assert_eq!(x264(39, 1), r"crf=45:zones=0,0,q\=1");
        assert_eq!(x264(40, 20), r"crf=45:zones=1073741824,1073741824,q\=1");
        assert_eq!(options("-c:v libx264 -x264opts zones=20,39,q=1:crf=9", 30, 30), "zones=0,9,q=1:crf=9");
        for text in [
            r"-c:v libx265 -x265-params 'zones=20\,39\,q=1:crf=9'",
            "x265 --zones 20,39,q=1 --crf 9 -",
            "-c:v libx265 -x265-params zones=='20,39,q=1':crf=9",
        ] {
            assert_eq!(options(text, 30, 30), r"zones=0,9,q\=1:crf=9", "{text}");
            // x265's zones end in front of their last number, and begin one frame early.
            assert_eq!(options(text, 39, 30), r"zones=1073741824,1073741825,q\=1:crf=9", "{text}");
            assert_eq!(options(text, 10, 10), r"zones=10,10,q\=1:crf=9", "{text}");
        }
        assert_eq!(options("x264 --zones 20,39,q=1 -", 30, 30), r"zones=0,9,q\=1");
    }

    #[test]
    fn what_is_no_zone_is_left_to_the_encoder() {
        for list in ["zones=a,b,q=1", "zones=5", "zones=1,2", "zones=99999999999999999999,5,q=1", "crf=18"] {
            assert_eq!(options(&format!("-c:v libx264 -x264-params {list}"), 30, 30), list);
        }
    }

    #[test]
    fn a_total_is_the_parts_own() {
        assert_eq!(options("-c:v libx265 -x265-params total-frames=500:crf=9", 30, 60), "total-frames=60:crf=9");
        assert_eq!(options("-c:v libx265 -x265-params total_frames=0", 30, 60), "total_frames=0");
    }

    #[test]
    fn what_cannot_be_shifted_is_named() {
        let kept = |text: &str| EncodeCommand::parse(text).unwrap().unshiftable();
        assert!(kept("-c:v libx264 -x264-params zones=0,9,q=1").is_empty());
        assert_eq!(kept("-c:v mpeg2video -gop_timecode 01:00:00:00"), ["-gop_timecode"]);
        let resized = kept("SvtAv1EncApp -i - --resize-mode 4 --frame-resz-events 10,20 --frame-resz-denoms 8,9");
        assert_eq!(resized, ["frame-resz-events", "frame-resz-denoms"]);
    }
}
