//! Names of objects: a video's key as the client chose it, and the keys that follow from it.

use std::fmt;
use std::str::FromStr;

/// The longest key that every store takes, in bytes (the limit of S3).
const LONGEST_KEY: usize = 1024;

/// Room for the longest suffix of a derived key, `-clip-encoded-4294967295.mkv`.
const LONGEST_SUFFIX: usize = 28;

/// The key of a source, checked: what a client calls its video.
///
/// Any file name in UTF-8 is a key: spaces, brackets, `&`, `+`, `%`, quotes, CJK and emoji included. Folders may be
/// part of it (`show/01.mkv`). What is refused is what could lead out of a folder or be read in two ways: empty, `.` and
/// `..` segments (a leading or trailing slash makes one), backslashes, control characters, the two characters that XML,
/// in which S3 lists keys, cannot hold (U+FFFE, U+FFFF), and more than 996 bytes, which leaves room for the suffixes of
/// [`ObjectKey`] within the 1,024 bytes that stores take.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VideoKey(String);

/// Why a text is not a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// There is nothing in it.
    #[error("the video key is empty")]
    Empty,
    /// It leaves no room for the keys that are derived from it.
    #[error("the video key has {bytes} bytes; at most {longest} are possible")]
    TooLong {
        /// Its length.
        bytes: usize,
        /// The limit.
        longest: usize,
    },
    /// A part between slashes is empty, `.` or `..`.
    #[error("the video key {key:?} has an empty part, `.` or `..` between its slashes")]
    Segment {
        /// The text.
        key: String,
    },
    /// It holds a character that is not possible in a key.
    #[error("the video key {key:?} holds {character:?}; control characters and backslashes are not possible")]
    Character {
        /// The text.
        key: String,
        /// The first such character.
        character: char,
    },
}

impl VideoKey {
    /// The longest video key, in bytes.
    pub const LONGEST: usize = LONGEST_KEY - LONGEST_SUFFIX;

    /// Checks `key`.
    ///
    /// # Errors
    /// [`KeyError`] says which of the rules it breaks.
    pub fn new(key: impl Into<String>) -> Result<Self, KeyError> {
        let key = key.into();
        if key.is_empty() {
            return Err(KeyError::Empty);
        }
        if key.len() > Self::LONGEST {
            return Err(KeyError::TooLong { bytes: key.len(), longest: Self::LONGEST });
        }
        if let Some(character) = key.chars().find(|character| !possible(*character)) {
            return Err(KeyError::Character { key, character });
        }
        if key.split('/').any(|segment| matches!(segment, "" | "." | "..")) {
            return Err(KeyError::Segment { key });
        }
        Ok(Self(key))
    }

    /// The key's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What comes after the last slash.
    #[must_use]
    pub fn file_name(&self) -> &str {
        file_name(&self.0)
    }

    /// The key of the source itself.
    #[must_use]
    pub fn source(&self) -> ObjectKey {
        ObjectKey { video: self.clone(), part: Part::Source }
    }

    /// The key of the source's clip `index`: `K-clip-I.mkv`.
    #[must_use]
    pub fn clip(&self, index: u32) -> ObjectKey {
        ObjectKey { video: self.clone(), part: Part::Clip(index) }
    }

    /// The key of the encoded clip `index`: `K-clip-encoded-I.mkv`.
    #[must_use]
    pub fn encoded_clip(&self, index: u32) -> ObjectKey {
        ObjectKey { video: self.clone(), part: Part::EncodedClip(index) }
    }

    /// The key of the result: `K-Encoded.mkv`.
    #[must_use]
    pub fn result(&self) -> ObjectKey {
        ObjectKey { video: self.clone(), part: Part::Result }
    }

    /// The one video whose derived key this text is as well, if it reads like a derived key: `a.mkv` for
    /// `a.mkv-clip-3.mkv`. Whether such a task exists, and the key must be refused, the ledger knows.
    #[must_use]
    pub fn reserved_for(&self) -> Option<ObjectKey> {
        let (video, part) = split_suffix(&self.0)?;
        Some(ObjectKey { video: Self::new(video).ok()?, part })
    }

    /// Whether this text is a key that belongs to the objects of the task of `other`: a clip, an encoded clip or the
    /// result. An upload under it would overwrite what the task makes.
    #[must_use]
    pub fn is_reserved_by(&self, other: &Self) -> bool {
        self.reserved_for().is_some_and(|key| key.video == *other)
    }
}

/// The key of one object of a task: its source, or what is made from it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ObjectKey {
    video: VideoKey,
    part: Part,
}

/// Which object of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Part {
    /// The video as it was uploaded.
    Source,
    /// A clip of the source, by its index from 0.
    Clip(u32),
    /// An encoded clip, by its index from 0.
    EncodedClip(u32),
    /// The merged file.
    Result,
}

impl ObjectKey {
    /// The task's video.
    #[must_use]
    pub fn video(&self) -> &VideoKey {
        &self.video
    }

    /// Which of its objects.
    #[must_use]
    pub fn part(&self) -> Part {
        self.part
    }

    /// Reads `key` as a key of the task of `video`; `None` when it belongs to something else.
    #[must_use]
    pub fn of(video: &VideoKey, key: &str) -> Option<Self> {
        let part = match key.strip_prefix(video.as_str())? {
            "" => Part::Source,
            suffix => split_suffix(suffix).filter(|(rest, _)| rest.is_empty())?.1,
        };
        Some(Self { video: video.clone(), part })
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let video = self.video.as_str();
        match self.part {
            Part::Source => f.write_str(video),
            Part::Clip(index) => write!(f, "{video}-clip-{index}.mkv"),
            Part::EncodedClip(index) => write!(f, "{video}-clip-encoded-{index}.mkv"),
            Part::Result => write!(f, "{video}-Encoded.mkv"),
        }
    }
}

impl fmt::Display for VideoKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for VideoKey {
    type Err = KeyError;

    fn from_str(key: &str) -> Result<Self, KeyError> {
        Self::new(key)
    }
}

/// What comes after the last slash of `key`.
pub(super) fn file_name(key: &str) -> &str {
    key.rsplit('/').next().unwrap_or(key)
}

fn possible(character: char) -> bool {
    !character.is_control() && !matches!(character, '\\' | '\u{fffe}' | '\u{ffff}')
}

/// What is before the suffix of a derived key, and which one it is. At most one of the three fits.
fn split_suffix(key: &str) -> Option<(&str, Part)> {
    let stem = key.strip_suffix(".mkv")?;
    if let Some(video) = stem.strip_suffix("-Encoded") {
        return Some((video, Part::Result));
    }
    let digits = stem.len() - stem.bytes().rev().take_while(u8::is_ascii_digit).count();
    let (stem, index) = (&stem[..digits], index(&stem[digits..])?);
    if let Some(video) = stem.strip_suffix("-clip-encoded-") {
        return Some((video, Part::EncodedClip(index)));
    }
    Some((stem.strip_suffix("-clip-")?, Part::Clip(index)))
}

/// An index as [`ObjectKey`] prints it: `07` and `+7` are none.
fn index(digits: &str) -> Option<u32> {
    let number = digits.parse().ok()?;
    (digits.len() == 1 || !digits.starts_with('0')).then_some(number)
}

#[cfg(test)]
pub(super) mod tests {
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    use super::*;

    /// Keys that have broken programs before.
    pub(in crate::store) const NASTY: &[&str] = &[
        "[Group] Täst 01 & more (1080p)+x.mkv",
        "show/season 1/01.mkv",
        "show",
        " leading and trailing ",
        "100%.mkv",
        "%2e%2e%2f%2e%2e%2fetc%2fpasswd",
        "%",
        "a%/b",
        "a%+b",
        "+plus+ +",
        "\"double\" and 'single' and `back`",
        "semi;colon,comma:colon?question#hash=equals&amp;",
        "x#1.mkv",
        "x#1",
        "文字列 テスト 片名.mkv",
        "🎬🧑‍🚀.mkv",
        "e\u{301} is not \u{e9}",
        ".hidden.mkv",
        "...",
        "-rf *",
        "~",
        "$(reboot) `reboot` | > <",
        "{braces} ^caret^ <tag/attr=\"\">",
        "right\u{202e}to left\u{200b}",
        "http:/example.org:80?a=b&c=d#e",
        "name.mkv-Encoded",
        "a.part",
    ];

    /// The longest key, and one whose folder and file are each too long for a file's name.
    pub(in crate::store) fn long_keys() -> Vec<String> {
        let dots = format!("{}{}", "a".repeat(200), "..");
        let percents = "%".repeat(VideoKey::LONGEST);
        let cjk = "片".repeat(VideoKey::LONGEST / 3);
        let folders = format!("{}/{}", "f".repeat(300), "é".repeat(300));
        vec!["x".repeat(VideoKey::LONGEST), dots, percents, cjk, folders]
    }

    /// A random key of up to `longest` characters, most of them awkward.
    pub(in crate::store) fn random_key(random: &mut StdRng, longest: usize) -> VideoKey {
        const AWKWARD: &[char] =
            &['/', '.', '%', '+', '-', ' ', 'é', '片', '🎬', '#', '"', '\'', '&', '~', '*', '\u{301}'];
        loop {
            let length = random.random_range(1..=longest);
            let text: String = (0..length)
                .map(|_| match random.random_range(0..3) {
                    0 => random.random_range('a'..='z'),
                    1 => AWKWARD[random.random_range(0..AWKWARD.len())],
                    _ => char::from_u32(random.random_range(0x20..0x1_0000)).unwrap_or('x'),
                })
                .collect();
            if let Ok(key) = VideoKey::new(text) {
                return key;
            }
        }
    }

    #[test]
    fn any_file_name_is_a_key() {
        for key in NASTY.iter().map(ToString::to_string).chain(long_keys()) {
            assert_eq!(VideoKey::new(key.clone()).unwrap().as_str(), key);
        }
    }

    #[test]
    fn what_could_lead_elsewhere_is_refused() {
        let segments = ["/", "//", "/etc/passwd", "a/", "a//b", ".", "..", "../a", "a/..", "a/../b", "./a", "a/./b"];
        for key in segments {
            assert_eq!(VideoKey::new(key), Err(KeyError::Segment { key: key.to_owned() }));
        }
        for character in ['\0', '\n', '\r', '\t', '\x1b', '\x7f', '\u{85}', '\\', '\u{fffe}', '\u{ffff}'] {
            let key = format!("a{character}b");
            assert_eq!(VideoKey::new(key.clone()), Err(KeyError::Character { key, character }));
        }
        assert_eq!(VideoKey::new(""), Err(KeyError::Empty));
        let bytes = VideoKey::LONGEST + 1;
        assert_eq!(VideoKey::new("x".repeat(bytes)), Err(KeyError::TooLong { bytes, longest: VideoKey::LONGEST }));
    }

    #[test]
    fn derived_keys_are_those_of_the_contract() {
        let video = VideoKey::new("K").unwrap();
        assert_eq!(video.source().to_string(), "K");
        assert_eq!(video.clip(3).to_string(), "K-clip-3.mkv");
        assert_eq!(video.encoded_clip(12).to_string(), "K-clip-encoded-12.mkv");
        assert_eq!(video.result().to_string(), "K-Encoded.mkv");
        let longest = VideoKey::new("x".repeat(VideoKey::LONGEST)).unwrap();
        assert_eq!(longest.encoded_clip(u32::MAX).to_string().len(), LONGEST_KEY);
    }

    #[test]
    fn every_derived_key_is_told_apart() {
        let mut random = StdRng::seed_from_u64(4);
        for _ in 0..2_000 {
            let video = random_key(&mut random, 40);
            let index = random.random();
            for key in [video.clip(index), video.encoded_clip(index), video.result()] {
                let text = key.to_string();
                assert_eq!(ObjectKey::of(&video, &text), Some(key.clone()));
                let other = VideoKey::new(text).unwrap();
                assert!(other.is_reserved_by(&video), "{other} by {video}");
                assert_eq!(other.reserved_for(), Some(key));
                assert!(!video.is_reserved_by(&other));
            }
            assert_eq!(ObjectKey::of(&video, video.as_str()), Some(video.source()));
        }
    }

    #[test]
    fn what_only_resembles_a_derived_key_is_free() {
        let video = VideoKey::new("a").unwrap();
        for text in [
            "a",
            "a.mkv",
            "a-clip-.mkv",
            "a-clip-07.mkv",
            "a-clip-+7.mkv",
            "a-clip-4294967296.mkv",
            "a-clip-x.mkv",
            "a-clip-1.mp4",
            "a-encoded.mkv",
            "b-clip-1.mkv",
            "a/-clip-1.mkv",
            "-clip-1.mkv",
            "-Encoded.mkv",
        ] {
            assert!(!VideoKey::new(text).unwrap().is_reserved_by(&video), "{text}");
        }
        // A clip's key can be a video's key, whose clips are then told from the first video's.
        let nested = VideoKey::new("a-clip-1.mkv").unwrap();
        let clip = VideoKey::new(nested.clip(2).to_string()).unwrap();
        assert!(clip.is_reserved_by(&nested) && !clip.is_reserved_by(&video));
        assert_eq!(ObjectKey::of(&video, clip.as_str()), None);
    }
}
