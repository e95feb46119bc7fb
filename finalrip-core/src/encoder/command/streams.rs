//! What a command says of a source's other streams: sound, subtitles, data, attachments, chapters and tags.
//!
//! A rip does what they say. An encode writes the clip's video alone, so it refuses what it would have to ignore.

use serde::Serialize;

use super::error::CommandError;

/// A kind of stream beside the video, as a stream specifier names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SideKind {
    /// `a`
    Audio,
    /// `s`
    Subtitle,
    /// `d`
    Data,
    /// `t`
    Attachment,
}

/// What one option asks of the streams that it names.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Wish {
    /// `copy`, or an encoder by libav's name for it.
    Codec(String),
    /// An option of the encoder.
    Option { name: String, value: String, is_flags: bool },
    /// A tag; an empty value removes it.
    Tag { key: String, value: String },
    /// What the stream is for, in ffmpeg's syntax.
    Disposition(String),
    /// A chain of audio filters.
    Filters(String),
    /// Channels, in libav's usual layout for so many.
    Channels(u32),
    /// A channel layout by name.
    Layout(String),
    /// Samples a second.
    SampleRate(u32),
    /// A sample format by name.
    SampleFormat(String),
}

/// An option for some of the source's streams.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Rule {
    /// The option as typed, for messages.
    pub(crate) typed: String,
    pub(crate) kind: SideKind,
    /// The one stream that is meant, counted from 0 among the source's streams of the kind; `None` for all.
    pub(crate) index: Option<usize>,
    pub(crate) wish: Wish,
}

/// Tags that are not taken from the source (`-map_metadata`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Untagged {
    pub(crate) file: bool,
    pub(crate) streams: bool,
    pub(crate) chapters: bool,
}

/// Everything that a command says of a source's streams beside the video.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(crate) struct StreamRules {
    /// Kinds that are left out (`-an`, `-sn`, `-dn`).
    pub(crate) without: Vec<SideKind>,
    pub(crate) without_chapters: bool,
    pub(crate) untagged: Untagged,
    /// In the order of the command: later ones win.
    pub(crate) rules: Vec<Rule>,
    /// Options that are harmless for a lone video, and that a rip would have to ignore; with the reason.
    pub(crate) not_for_rips: Vec<(String, String)>,
}

/// What is asked of one stream.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct StreamWish {
    /// The codec and the option that asked for it, as typed.
    pub(crate) codec: Option<(String, String)>,
    /// The encoder's options by libav's names.
    pub(crate) options: Vec<(String, String)>,
    pub(crate) tags: Vec<(String, String)>,
    pub(crate) disposition: Option<String>,
    pub(crate) filters: Option<String>,
    pub(crate) channels: Option<u32>,
    pub(crate) layout: Option<String>,
    pub(crate) sample_rate: Option<u32>,
    pub(crate) sample_format: Option<String>,
    /// The first option that only an encoder can fulfil, as typed.
    pub(crate) encodes: Option<String>,
}

impl StreamWish {
    /// The codec's name, if one was asked for.
    pub(crate) fn codec_name(&self) -> Option<&str> {
        self.codec.as_ref().map(|(_, name)| name.as_str())
    }

    /// The option that says what becomes of the stream, as typed; `None` when that is left to the container.
    pub(crate) fn said_by(&self) -> Option<&str> {
        self.codec.as_ref().map(|(typed, _)| typed.as_str()).or(self.encodes.as_deref())
    }

    fn take(&mut self, rule: &Rule) {
        let needs_encoder = !matches!(rule.wish, Wish::Codec(_) | Wish::Tag { .. } | Wish::Disposition(_));
        if needs_encoder && self.encodes.is_none() {
            self.encodes = Some(rule.typed.clone());
        }
        match &rule.wish {
            Wish::Codec(name) => self.codec = Some((rule.typed.clone(), name.clone())),
            Wish::Option { name, value, is_flags } => super::set_option(&mut self.options, name, value, *is_flags),
            Wish::Tag { key, value } => super::set_option(&mut self.tags, key, value, false),
            Wish::Disposition(text) => self.disposition = Some(text.clone()),
            Wish::Filters(chain) => self.filters = Some(chain.clone()),
            Wish::Channels(channels) => (self.channels, self.layout) = (Some(*channels), None),
            Wish::Layout(name) => (self.layout, self.channels) = (Some(name.clone()), None),
            Wish::SampleRate(rate) => self.sample_rate = Some(*rate),
            Wish::SampleFormat(name) => self.sample_format = Some(name.clone()),
        }
    }
}

impl StreamRules {
    /// Whether the command says nothing of other streams.
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// What is asked of the stream that is number `index`, from 0, of its kind in the source.
    pub(crate) fn wish(&self, kind: SideKind, index: usize) -> StreamWish {
        let mut wish = StreamWish::default();
        let meant = |rule: &&Rule| rule.kind == kind && rule.index.is_none_or(|wanted| wanted == index);
        self.rules.iter().filter(meant).for_each(|rule| wish.take(rule));
        wish
    }

    pub(crate) fn leaves_out(&self, kind: SideKind) -> bool {
        self.without.contains(&kind)
    }

    /// An encode has no other streams: what speaks of them would be ignored.
    pub(crate) fn check_for_encode(&self) -> Result<(), CommandError> {
        let reason = "an encode writes the script's video alone, and the option would be ignored; leave it out, or make a \
                      rip, which takes the source's other streams along";
        self.rules.first().map_or(Ok(()), |rule| Err(CommandError::not_here(&rule.typed, reason)))
    }

    /// A rip takes all of the source's streams that the container can hold.
    pub(crate) fn check_for_rip(&self) -> Result<(), CommandError> {
        self.not_for_rips.first().map_or(Ok(()), |(typed, reason)| Err(CommandError::not_here(typed, reason.as_str())))
    }
}
