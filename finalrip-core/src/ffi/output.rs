//! Output containers with more than one stream: what a merge needs beside the one video stream of an encode.

use std::ffi::c_int;
use std::ptr;
use std::sync::OnceLock;

use ffmpeg_next::ffi as av;

use super::format::{OutputContext, OutputFormat, StreamSettings};
use super::frame::rational_from;
use super::input::{Chapter, NANOSECONDS};
use super::log::{LogScope, LogTail};
use super::{AvError, Dictionary, Packet, StreamParameters};
use crate::units::Rational;

/// The stream that a player takes unless it is told otherwise.
pub(crate) const DISPOSITION_DEFAULT: c_int = av::AV_DISPOSITION_DEFAULT as c_int;

/// What a stream is for; not how it is stored.
pub(crate) const KEPT_DISPOSITIONS: c_int =
    !(av::AV_DISPOSITION_ATTACHED_PIC | av::AV_DISPOSITION_TIMED_THUMBNAILS | av::AV_DISPOSITION_STILL_IMAGE) as c_int;

/// The bits that a disposition in ffmpeg's syntax means: names with `+` between them, or a number. One that begins with a
/// sign adds to `before`, or takes away. `None` for a name that libav does not know.
pub(crate) fn disposition_bits(text: &str, before: c_int) -> Option<c_int> {
    if let Ok(number) = text.parse::<c_int>() {
        return Some(number);
    }
    let mut bits = if text.starts_with(['+', '-']) { before } else { 0 };
    let mut rest = text;
    while !rest.is_empty() {
        let removes = rest.starts_with('-');
        let named = rest.trim_start_matches(['+', '-']);
        let end = named.find(['+', '-']).unwrap_or(named.len());
        let name = super::c_string(&named[..end]);
        // SAFETY: a terminated string.
        let bit = AvError::check(unsafe { av::av_disposition_from_string(name.as_ptr()) }).ok()?;
        bits = if removes { bits & !bit } else { bits | bit };
        rest = &named[end..];
    }
    Some(bits)
}

/// What a container does with samples at the start that a decoder makes of nothing and a player must not play.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Priming {
    /// They lie before 0 and are cut off by an edit list (MP4).
    EditList,
    /// The header says how many they are, of Opus alone (Matroska).
    OpusDelay,
    /// Nothing: they are played.
    None,
}

impl OutputFormat {
    /// Whether it is MP4 or one of its kin.
    pub(crate) fn is_mp4(&self) -> bool {
        const MP4: [&str; 8] = ["mov", "mp4", "3gp", "3g2", "psp", "ipod", "ismv", "f4v"];
        MP4.contains(&self.name().as_str())
    }

    /// Whether it is Matroska with all that it can hold, which WebM is not.
    pub(crate) fn is_matroska(&self) -> bool {
        self.name() == "matroska"
    }

    pub(crate) fn priming(&self) -> Priming {
        match self.name().as_str() {
            "matroska" | "webm" => Priming::OpusDelay,
            _ if self.is_mp4() => Priming::EditList,
            _ => Priming::None,
        }
    }

    /// Whether the muxer takes the stream's codec as the format defines it; `None` when it does not say.
    pub(crate) fn defines(&self, parameters: &StreamParameters) -> Option<bool> {
        // MPEG-TS writes everything, but what it has no number for comes back as data.
        const TRANSPORT: [&str; 15] = [
            "aac",
            "aac_latm",
            "ac3",
            "eac3",
            "dts",
            "truehd",
            "mp1",
            "mp2",
            "mp3",
            "opus",
            "s302m",
            "pcm_bluray",
            "dvb_subtitle",
            "dvb_teletext",
            "hdmv_pgs_subtitle",
        ];
        if self.name() == "mpegts" {
            return Some(TRANSPORT.contains(&parameters.codec_name().as_str()));
        }
        let codec = parameters.codec_id();
        // SAFETY: a static description and a codec id.
        let defined = match unsafe { av::avformat_query_codec(self.as_ptr(), codec, av::FF_COMPLIANCE_NORMAL) } {
            0 => Some(false),
            1.. => Some(true),
            _ => None,
        };
        // Matroska carries whatever has a number in WAVE files, under the name A_MS/ACM.
        if self.is_matroska() && defined == Some(false) {
            return Some(has_wave_tag(codec));
        }
        defined
    }

    /// Whether two packets of a stream may have the same decode time.
    pub(crate) fn allows_equal_times(&self) -> bool {
        self.has_flag(av::AVFMT_TS_NONSTRICT as c_int)
    }

    /// Whether the format has chapters that libav writes and reads back.
    pub(crate) fn has_chapters(&self) -> bool {
        const CHAPTERS: [&str; 11] =
            ["mov", "mp4", "3gp", "3g2", "ipod", "ismv", "matroska", "webm", "nut", "asf", "asf_stream"];
        CHAPTERS.contains(&self.name().as_str())
    }

    /// Whether a file is its one codec's bytes and nothing else. MXF too keeps no times, and has streams.
    pub(crate) fn is_raw(&self) -> bool {
        // SAFETY: a static description.
        let sound = unsafe { (*self.as_ptr()).audio_codec };
        self.has_flag(av::AVFMT_NOTIMESTAMPS as c_int) && sound == av::AVCodecID::AV_CODEC_ID_NONE
    }
}

fn has_wave_tag(codec: av::AVCodecID) -> bool {
    let mut tag = 0;
    // SAFETY: a list of one static table, ended by null.
    unsafe {
        let tables = [av::avformat_get_riff_audio_tags(), ptr::null()];
        av::av_codec_get_tag2(tables.as_ptr(), codec, &raw mut tag) != 0
    }
}

/// Whether libav's Matroska muxer moves packets by the delay that it declares, as Matroska wants it. Older versions
/// declare the delay of Opus and leave the times alone, so that sound and picture come apart by it. No version number
/// tells: it is tried, once a process.
pub(crate) fn matroska_adds_delay() -> bool {
    static ADDS: OnceLock<bool> = OnceLock::new();
    *ADDS.get_or_init(|| try_delay().unwrap_or(true))
}

/// Writes a packet at 20 ms into a stream with a delay of 10 ms, and looks where it went. A packet of another stream goes
/// first and begins the cluster at 0, from which a block's time counts. `None` when it cannot be told.
fn try_delay() -> Option<bool> {
    const PAYLOAD: &[u8] = b"where does this packet go?";
    let format = OutputFormat::guess(Some("matroska"), None)?;
    let mut context = OutputContext::in_memory(format, &LogTail::default()).ok()?;
    context.set_bitexact();
    let milliseconds = Rational::new(1, 1000)?;
    for delay in [0, 480] {
        let opus = StreamParameters::opus(delay).ok()?;
        context.add_stream(&opus, milliseconds, &StreamSettings::default()).ok()?;
    }
    context.write_header(&[]).ok()?;
    for (index, time, payload) in [(0, 0, b"first".as_slice()), (1, 20, PAYLOAD)] {
        let mut packet = Packet::copy_of(payload).ok()?;
        packet.place(Some(time), Some(time), 20);
        packet.set_key();
        packet.set_stream_index(index);
        context.write(packet).ok()?;
    }
    let bytes = context.into_bytes()?;
    let at = bytes.windows(PAYLOAD.len()).position(|window| window == PAYLOAD)?;
    // Before a block's payload are its time, in two bytes, and its flags.
    let time: [u8; 2] = bytes.get(at.checked_sub(3)?..at - 1)?.try_into().ok()?;
    Some(i16::from_be_bytes(time) == 30)
}

impl OutputContext {
    /// Ends a trial and gives what was written.
    pub(crate) fn into_bytes(mut self) -> Option<Vec<u8>> {
        let _scope = LogScope::enter(&self.log);
        // SAFETY: after the header, once.
        AvError::check(unsafe { av::av_write_trailer(self.raw.as_ptr()) }).ok()?;
        self.take_memory()
    }

    fn stream(&self, index: usize) -> Option<*mut av::AVStream> {
        // SAFETY: owned; the array has `nb_streams` entries.
        unsafe {
            let raw = self.raw.as_ref();
            (index < raw.nb_streams as usize).then(|| *raw.streams.add(index))
        }
    }

    /// Sets a stream's `AV_DISPOSITION_*` bits.
    pub(crate) fn set_disposition(&mut self, index: usize, bits: c_int) {
        if let Some(stream) = self.stream(index) {
            // SAFETY: a stream of the context; a plain field.
            unsafe { (*stream).disposition = bits };
        }
    }

    /// Writes nothing that differs from run to run: no date, no random identifiers.
    pub(crate) fn set_bitexact(&mut self) {
        // SAFETY: owned and exclusive; a plain field.
        unsafe { self.raw.as_mut() }.flags |= av::AVFMT_FLAG_BITEXACT as c_int;
    }

    /// The time base that a stream got; valid after the header.
    pub(crate) fn time_base_of(&self, index: usize) -> Rational {
        // SAFETY: a stream of the context; a plain field.
        self.stream(index).and_then(|stream| rational_from(unsafe { (*stream).time_base })).unwrap_or(Rational::ONE)
    }

    /// Adds a chapter, before the header.
    pub(crate) fn add_chapter(&mut self, chapter: &Chapter) -> Result<(), AvError> {
        let metadata = chapter.metadata.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        // SAFETY: a zeroed chapter of libav's own memory, which the context owns and frees once it is in the array; before
        // that it is freed here. The array grows by libav's own means; its count is an unsigned int that stays small.
        unsafe {
            let mut entry: *mut av::AVChapter = av::av_mallocz(size_of::<av::AVChapter>()).cast();
            let Some(fields) = entry.as_mut() else { return Err(AvError::NO_MEMORY) };
            (fields.id, fields.time_base) = (chapter.id, NANOSECONDS);
            (fields.start, fields.end) = (chapter.start, chapter.end);
            let raw = self.raw.as_ptr();
            let array = (&raw mut (*raw).chapters).cast();
            let count = (&raw mut (*raw).nb_chapters).cast::<c_int>();
            let added = AvError::check(av::av_dynarray_add_nofree(array, count, entry.cast()));
            if added.is_err() {
                av::av_freep((&raw mut entry).cast());
            } else {
                (*entry).metadata = Dictionary::new(metadata).into_raw();
            }
            added.map(drop)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trial_shows_what_the_muxer_does_with_delay() {
        assert!(try_delay().is_some());
    }
}
