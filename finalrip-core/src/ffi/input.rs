//! Input containers.

use std::ffi::{c_int, c_void};
use std::io::{Cursor, Read};
use std::path::Path;
use std::ptr::{self, NonNull};

use ffmpeg_next::ffi as av;

use super::format::file_url;
use super::frame::rational_from;
use super::log::{LogScope, LogTail};
use super::{AvError, Dictionary, Packet, StreamParameters, guard, pairs, text_from};
use crate::cancel::CancelToken;
use crate::container::StreamKind;
use crate::units::Rational;

/// How far libav reads ahead to learn what the streams are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Probe {
    /// libav's defaults: 5 MB, 5 s.
    Usual,
    /// 64 MiB, 100 s: for streams that begin late, at the cost of as much memory while the file is opened.
    Deep,
}

/// One stream of an open file, as it was when the file was opened.
#[derive(Debug)]
pub(crate) struct InputStream {
    pub(crate) index: usize,
    pub(crate) kind: StreamKind,
    pub(crate) parameters: StreamParameters,
    /// Of the times of its packets.
    pub(crate) time_base: Rational,
    /// The first presentation time in ticks, where the demuxer knows it. Of audio it is where the sound begins, after
    /// what a decoder drops.
    pub(crate) start_time: Option<i64>,
    /// The average frame rate of video.
    pub(crate) frame_rate: Option<Rational>,
    pub(crate) sample_aspect: Option<Rational>,
    /// `AV_DISPOSITION_*` bits.
    pub(crate) disposition: c_int,
    pub(crate) metadata: Vec<(String, String)>,
    /// The picture of a stream that is cover art.
    pub(crate) picture: Option<Vec<u8>>,
}

impl InputStream {
    /// Whether it is cover art, not video.
    pub(crate) fn is_picture(&self) -> bool {
        self.disposition & av::AV_DISPOSITION_ATTACHED_PIC as c_int != 0
    }
}

/// A chapter; times in nanoseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Chapter {
    pub(crate) id: i64,
    pub(crate) start: i64,
    pub(crate) end: i64,
    pub(crate) metadata: Vec<(String, String)>,
}

/// Nanoseconds, the unit of chapters and of offsets between streams.
pub(crate) const NANOSECONDS: av::AVRational = av::AVRational { num: 1, den: 1_000_000_000 };

/// A file being read.
#[derive(Debug)]
pub(crate) struct InputContext {
    raw: NonNull<av::AVFormatContext>,
    streams: Vec<InputStream>,
    /// Which streams are read, by index.
    wanted: Vec<bool>,
    log: LogTail,
    /// What the interrupt callback looks at: its address must not change while the context lives.
    _cancel: Box<CancelToken>,
    /// What is read instead of a file.
    memory: Option<Memory>,
}

// SAFETY: a format context may be used from any one thread at a time, and the token is `Send` and `Sync`.
unsafe impl Send for InputContext {}

impl InputContext {
    /// Opens a file and reads what its streams are. Opening and reading end early, with an error, once `cancel` is used.
    pub(crate) fn open(path: &Path, probe: Probe, cancel: &CancelToken, log: &LogTail) -> Result<Self, AvError> {
        let _scope = LogScope::enter(log);
        let url = file_url(path).map_err(|()| AvError(-libc::EINVAL))?;
        let cancel = Box::new(cancel.clone());
        // SAFETY: allocates or returns null.
        let mut raw = unsafe { av::avformat_alloc_context() };
        if raw.is_null() {
            return Err(AvError::NO_MEMORY);
        }
        let mut options = Dictionary::new(probe_options(probe).iter().copied());
        // SAFETY: a fresh context. The token that the callback gets is on the heap and outlives the context: `Drop` closes
        // the context first, and until it is in a handle this function holds both. On failure libav frees the context.
        AvError::check(unsafe {
            (*raw).interrupt_callback =
                av::AVIOInterruptCB { callback: Some(interrupted), opaque: (&raw const *cancel).cast_mut().cast() };
            av::avformat_open_input(&raw mut raw, url.as_ptr(), ptr::null_mut(), &raw mut options.0)
        })?;
        Self::look(raw, cancel, None, log)
    }

    /// Opens a file that lies in memory, as a trial has written it. `extension` helps libav to tell what it is.
    pub(crate) fn open_memory(bytes: Vec<u8>, extension: &str, log: &LogTail) -> Result<Self, AvError> {
        let _scope = LogScope::enter(log);
        let memory = Memory::new(bytes)?;
        let url = super::c_string(&format!("trial.{extension}"));
        // SAFETY: allocates or returns null.
        let mut raw = unsafe { av::avformat_alloc_context() };
        if raw.is_null() {
            return Err(AvError::NO_MEMORY);
        }
        // SAFETY: a fresh context, which reads through `memory`: that outlives it, as `Drop` closes the context first. libav
        // marks such a reader as not its own and never frees it. On failure libav frees the context.
        AvError::check(unsafe {
            (*raw).pb = memory.reader.as_ptr();
            av::avformat_open_input(&raw mut raw, url.as_ptr(), ptr::null_mut(), ptr::null_mut())
        })?;
        Self::look(raw, Box::new(CancelToken::new()), Some(memory), log)
    }

    /// Finds out what the streams of an opened file are.
    fn look(
        raw: *mut av::AVFormatContext,
        cancel: Box<CancelToken>,
        memory: Option<Memory>,
        log: &LogTail,
    ) -> Result<Self, AvError> {
        let raw = NonNull::new(raw).ok_or(AvError::NO_MEMORY)?;
        let mut this = Self { raw, streams: Vec::new(), wanted: Vec::new(), log: log.clone(), _cancel: cancel, memory };
        // SAFETY: an open context; no options for the decoders that it may try.
        AvError::check(unsafe { av::avformat_find_stream_info(raw.as_ptr(), ptr::null_mut()) })?;
        for index in 0..this.stream_count() {
            // SAFETY: below the count, so that it is one of the context's streams.
            let stream = unsafe { &**(*raw.as_ptr()).streams.add(index) };
            this.streams.push(describe(index, stream)?);
        }
        this.wanted = vec![true; this.streams.len()];
        Ok(this)
    }

    fn stream_count(&self) -> usize {
        // SAFETY: owned.
        unsafe { (*self.raw.as_ptr()).nb_streams as usize }
    }

    /// The streams that were found when the file was opened.
    pub(crate) fn streams(&self) -> &[InputStream] {
        &self.streams
    }

    /// Whether streams may appear anywhere in the file, because no header lists them all.
    pub(crate) fn lists_no_streams(&self) -> bool {
        // SAFETY: owned; a plain field.
        unsafe { self.raw.as_ref() }.ctx_flags & av::AVFMTCTX_NOHEADER as c_int != 0
    }

    /// The streams that have appeared since the file was opened, which are not read.
    pub(crate) fn late_streams(&self) -> Vec<InputStream> {
        let late = self.streams.len()..self.stream_count();
        // SAFETY: below the count, so that it is one of the context's streams. One that cannot be described for want of
        // memory is passed over here too.
        late.filter_map(|index| describe(index, unsafe { &**(*self.raw.as_ptr()).streams.add(index) }).ok()).collect()
    }

    /// The file's own metadata.
    pub(crate) fn metadata(&self) -> Vec<(String, String)> {
        // SAFETY: the context's dictionary, which is not changed meanwhile.
        unsafe { pairs((*self.raw.as_ptr()).metadata) }
    }

    /// The demuxer's short names, such as `matroska,webm`.
    pub(crate) fn format_name(&self) -> String {
        // SAFETY: an open context has a demuxer; its name is a static string.
        unsafe { (*self.raw.as_ptr()).iformat.as_ref().and_then(|format| text_from(format.name)) }.unwrap_or_default()
    }

    /// The earliest time in the file, in nanoseconds.
    pub(crate) fn start_time(&self) -> Option<i64> {
        // SAFETY: owned.
        let start = unsafe { (*self.raw.as_ptr()).start_time };
        (start != av::AV_NOPTS_VALUE).then(|| start.saturating_mul(1000))
    }

    /// How long the file says that it is, in nanoseconds.
    pub(crate) fn duration(&self) -> Option<i64> {
        // SAFETY: owned.
        let duration = unsafe { (*self.raw.as_ptr()).duration };
        (duration > 0).then(|| duration.saturating_mul(1000))
    }

    /// The chapters, in the file's order.
    pub(crate) fn chapters(&self) -> Vec<Chapter> {
        // SAFETY: the context owns `nb_chapters` chapters, which live as long as it; an empty array may be null, and is
        // not looked at then.
        unsafe {
            let count = (*self.raw.as_ptr()).nb_chapters as usize;
            (0..count).map(|index| chapter(&**(*self.raw.as_ptr()).chapters.add(index))).collect()
        }
    }

    /// Reads only these streams from now on.
    pub(crate) fn want(&mut self, wanted: &[usize]) {
        self.wanted = (0..self.streams.len()).map(|index| wanted.contains(&index)).collect();
        for index in 0..self.stream_count() {
            let discard =
                if wanted.contains(&index) { av::AVDiscard::AVDISCARD_DEFAULT } else { av::AVDiscard::AVDISCARD_ALL };
            // SAFETY: below the count; a plain field that is the caller's to set.
            unsafe { (**(*self.raw.as_ptr()).streams.add(index)).discard = discard };
        }
    }

    /// Goes to where a stream can be decoded from, at or before a time in its ticks, as well as the file's index or a search
    /// shows it: what is read then may still begin later, or not with a keyframe. After an error the place is unknown.
    pub(crate) fn seek(&mut self, stream: usize, ticks: i64) -> Result<(), AvError> {
        let _scope = LogScope::enter(&self.log);
        let index = c_int::try_from(stream).map_err(|_| AvError(-libc::EINVAL))?;
        // SAFETY: an open context; libav checks the number of the stream.
        AvError::check(unsafe { av::avformat_seek_file(self.raw.as_ptr(), index, i64::MIN, ticks, ticks, 0) }).map(drop)
    }

    /// Lets libav make up presentation times that the file leaves out, from the decode times of the packets that follow. It
    /// can do so for codecs that reorder by one picture, as MPEG-2 and MPEG-4 do.
    pub(crate) fn make_up_times(&mut self) {
        // SAFETY: owned and exclusive; a plain field.
        unsafe { self.raw.as_mut() }.flags |= av::AVFMT_FLAG_GENPTS as c_int;
    }

    /// The next packet in the file's order and the number of its stream; `None` at the end. Times are in the stream's
    /// base. Streams that appear only now are passed over: see [`InputContext::late_streams`].
    pub(crate) fn read(&mut self) -> Result<Option<(usize, Packet)>, AvError> {
        let _scope = LogScope::enter(&self.log);
        loop {
            let packet = Packet::empty()?;
            // SAFETY: an open context and an empty packet that we own.
            match AvError::check(unsafe { av::av_read_frame(self.raw.as_ptr(), packet.as_ptr()) }) {
                Ok(_) => {}
                Err(AvError::EOF) => return self.io_error().map(|()| None),
                Err(code) => return Err(code),
            }
            // What was read ahead while the file was opened comes whether it is wanted or not.
            match usize::try_from(packet.stream_index()) {
                Ok(index) if self.wanted.get(index) == Some(&true) => return Ok(Some((index, packet))),
                _ => {}
            }
        }
    }

    /// A read error that libav took for the end of the file.
    fn io_error(&self) -> Result<(), AvError> {
        // SAFETY: owned; `pb` is null or the open file.
        let error = unsafe { (*self.raw.as_ptr()).pb.as_ref() }.map_or(0, |pb| pb.error);
        match AvError::check(error) {
            Ok(_) | Err(AvError::EOF) => Ok(()),
            Err(code) => Err(code),
        }
    }
}

impl Drop for InputContext {
    fn drop(&mut self) {
        let mut raw = self.raw.as_ptr();
        // SAFETY: owned here alone; closes the file and frees everything. The interrupt token is dropped after this, and so
        // is what is read instead of a file.
        unsafe { av::avformat_close_input(&raw mut raw) };
        drop(self.memory.take());
    }
}

/// Bytes that libav reads as it would a file.
#[derive(Debug)]
struct Memory {
    reader: NonNull<av::AVIOContext>,
    /// On the heap, at an address that does not change: the callbacks' own.
    cursor: NonNull<Cursor<Vec<u8>>>,
}

/// How much libav asks for at once.
const BUFFER: usize = 32 * 1024;

impl Memory {
    fn new(bytes: Vec<u8>) -> Result<Self, AvError> {
        // SAFETY: allocates or returns null.
        let buffer = NonNull::new(unsafe { av::av_malloc(BUFFER) }).ok_or(AvError::NO_MEMORY)?;
        let cursor = NonNull::from(Box::leak(Box::new(Cursor::new(bytes))));
        // SAFETY: the buffer is libav's own memory, which the reader takes over; the cursor lives until `Drop`, after the reader.
        let reader = unsafe {
            av::avio_alloc_context(
                buffer.as_ptr().cast(),
                BUFFER as c_int,
                0,
                cursor.as_ptr().cast(),
                Some(read_memory),
                None,
                Some(seek_memory),
            )
        };
        let Some(reader) = NonNull::new(reader) else {
            // SAFETY: neither was taken over.
            unsafe {
                av::av_free(buffer.as_ptr());
                drop(Box::from_raw(cursor.as_ptr()));
            }
            return Err(AvError::NO_MEMORY);
        };
        Ok(Self { reader, cursor })
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: owned here alone, and no context reads any more. libav may have replaced the buffer, which the reader names.
        unsafe {
            let mut reader = self.reader.as_ptr();
            av::av_freep((&raw mut (*reader).buffer).cast());
            av::avio_context_free(&raw mut reader);
            drop(Box::from_raw(self.cursor.as_ptr()));
        }
    }
}

unsafe extern "C" fn read_memory(opaque: *mut c_void, buffer: *mut u8, size: c_int) -> c_int {
    guard("read", av::AVERROR_EXTERNAL, || {
        // SAFETY: the cursor that `Memory` keeps, used by one context on one thread; libav's buffer holds `size` bytes.
        let (cursor, buffer) = unsafe {
            let size = usize::try_from(size).unwrap_or(0);
            (&mut *opaque.cast::<Cursor<Vec<u8>>>(), std::slice::from_raw_parts_mut(buffer, size))
        };
        match cursor.read(buffer) {
            Ok(0) | Err(_) => av::AVERROR_EOF,
            Ok(read) => c_int::try_from(read).unwrap_or(0),
        }
    })
}

unsafe extern "C" fn seek_memory(opaque: *mut c_void, offset: i64, whence: c_int) -> i64 {
    guard("seek", i64::from(-libc::EINVAL), || {
        // SAFETY: the cursor that `Memory` keeps, used by one context on one thread.
        let cursor = unsafe { &mut *opaque.cast::<Cursor<Vec<u8>>>() };
        let size = i64::try_from(cursor.get_ref().len()).unwrap_or(i64::MAX);
        let place = match whence & !(av::AVSEEK_FORCE as c_int) {
            libc::SEEK_SET => offset,
            libc::SEEK_CUR => i64::try_from(cursor.position()).unwrap_or(i64::MAX).saturating_add(offset),
            libc::SEEK_END => size.saturating_add(offset),
            _ => return if whence & av::AVSEEK_SIZE as c_int != 0 { size } else { i64::from(-libc::EINVAL) },
        };
        let Ok(at) = u64::try_from(place) else { return i64::from(-libc::EINVAL) };
        cursor.set_position(at);
        place
    })
}

/// As ffmpeg does, this asks for all program tables of a transport stream: a later one may name more streams.
fn probe_options(probe: Probe) -> &'static [(&'static str, &'static str)] {
    match probe {
        Probe::Usual => &[("scan_all_pmts", "1")],
        Probe::Deep => &[("scan_all_pmts", "1"), ("probesize", "67108864"), ("analyzeduration", "100000000")],
    }
}

unsafe extern "C" fn interrupted(opaque: *mut c_void) -> c_int {
    guard("interrupt", 1, || {
        // SAFETY: the token that `open` boxed; it outlives the context that calls this.
        let cancel = unsafe { &*opaque.cast::<CancelToken>() };
        c_int::from(cancel.is_cancelled())
    })
}

fn describe(index: usize, stream: &av::AVStream) -> Result<InputStream, AvError> {
    // SAFETY: a demuxer's stream always has parameters.
    let parameters = unsafe { &*stream.codecpar };
    let is_picture = stream.disposition & av::AV_DISPOSITION_ATTACHED_PIC as c_int != 0;
    let picture = (is_picture && !stream.attached_pic.data.is_null() && stream.attached_pic.size > 0).then(|| {
        // SAFETY: the stream's own packet, with `size` bytes at `data`.
        unsafe { std::slice::from_raw_parts(stream.attached_pic.data, stream.attached_pic.size as usize) }.to_vec()
    });
    // SAFETY: valid parameters, as above.
    let mut copy = unsafe { StreamParameters::copy_of(parameters) }?;
    copy.side_data = side_data(stream);
    Ok(InputStream {
        index,
        kind: kind_of(parameters.codec_type),
        parameters: copy,
        time_base: rational_from(stream.time_base).unwrap_or(Rational::ONE),
        start_time: (stream.start_time != av::AV_NOPTS_VALUE).then_some(stream.start_time),
        frame_rate: rational_from(stream.avg_frame_rate),
        sample_aspect: rational_from(stream.sample_aspect_ratio),
        disposition: stream.disposition,
        // SAFETY: the stream's dictionary, which is not changed meanwhile.
        metadata: unsafe { pairs(stream.metadata) },
        picture,
    })
}

fn kind_of(kind: av::AVMediaType) -> StreamKind {
    match kind {
        av::AVMediaType::AVMEDIA_TYPE_VIDEO => StreamKind::Video,
        av::AVMediaType::AVMEDIA_TYPE_AUDIO => StreamKind::Audio,
        av::AVMediaType::AVMEDIA_TYPE_SUBTITLE => StreamKind::Subtitle,
        av::AVMediaType::AVMEDIA_TYPE_ATTACHMENT => StreamKind::Attachment,
        _ => StreamKind::Data,
    }
}

/// Since FFmpeg 6.1 the parameters carry it themselves, and were copied with it.
#[cfg(ffmpeg_6_1)]
fn side_data(_stream: &av::AVStream) -> Vec<(av::AVPacketSideDataType, Vec<u8>)> {
    Vec::new()
}

#[cfg(not(ffmpeg_6_1))]
fn side_data(stream: &av::AVStream) -> Vec<(av::AVPacketSideDataType, Vec<u8>)> {
    if stream.side_data.is_null() {
        return Vec::new();
    }
    // SAFETY: the stream owns `nb_side_data` entries there.
    let entries = unsafe { std::slice::from_raw_parts(stream.side_data, stream.nb_side_data.max(0) as usize) };
    let bytes = |entry: &av::AVPacketSideData| {
        // SAFETY: each entry holds `size` bytes at `data`.
        unsafe { std::slice::from_raw_parts(entry.data, entry.size) }.to_vec()
    };
    entries.iter().map(|entry| (entry.type_, bytes(entry))).collect()
}

fn chapter(raw: &av::AVChapter) -> Chapter {
    // SAFETY: arithmetic on values; a demuxer's time base is positive.
    let nanoseconds = |ticks| unsafe { av::av_rescale_q(ticks, raw.time_base, NANOSECONDS) };
    Chapter {
        id: raw.id,
        start: nanoseconds(raw.start),
        end: nanoseconds(raw.end),
        // SAFETY: the chapter's dictionary, which is not changed meanwhile.
        metadata: unsafe { pairs(raw.metadata) },
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn three_streams(folder: &Path) -> std::path::PathBuf {
        let path = folder.join("in.mkv");
        let mut ffmpeg = Command::new("ffmpeg");
        ffmpeg.args([
            "-v",
            "error",
            "-f",
            "lavfi",
            "-i",
            "testsrc2=s=128x96:r=25:d=1",
            "-f",
            "lavfi",
            "-i",
            "sine=d=1",
        ]);
        ffmpeg.args(["-c:v", "libx264", "-preset", "ultrafast", "-c:a", "flac", "-metadata:s:a", "language=jpn"]);
        ffmpeg.args(["-metadata", "title=Three", "-fflags", "+bitexact"]);
        assert!(ffmpeg.arg(&path).status().unwrap().success());
        path
    }

    #[test]
    fn a_file_tells_its_streams_and_gives_the_packets_that_are_wanted() {
        let folder = tempfile::tempdir().unwrap();
        let path = three_streams(folder.path());
        let mut input = InputContext::open(&path, Probe::Usual, &CancelToken::new(), &LogTail::default()).unwrap();
        let kinds: Vec<_> = input.streams().iter().map(|stream| stream.kind).collect();
        assert_eq!(kinds, [StreamKind::Video, StreamKind::Audio]);
        assert_eq!(input.streams()[0].frame_rate, Rational::new(25, 1));
        assert!(input.streams()[1].metadata.contains(&("language".to_owned(), "jpn".to_owned())));
        assert!(input.metadata().contains(&("title".to_owned(), "Three".to_owned())));
        assert_eq!(input.start_time(), Some(0));
        input.want(&[0]);
        let mut packets = 0;
        while let Some((index, packet)) = input.read().unwrap() {
            assert_eq!(index, 0);
            assert_eq!(packet.is_key(), packets == 0);
            packets += 1;
        }
        assert_eq!(packets, 25);
    }

    #[test]
    fn a_used_token_ends_the_reading() {
        let folder = tempfile::tempdir().unwrap();
        let path = three_streams(folder.path());
        let cancel = CancelToken::new();
        cancel.cancel();
        let opened = InputContext::open(&path, Probe::Usual, &cancel, &LogTail::default());
        assert_eq!(opened.unwrap_err(), AvError(av::AVERROR_EXIT));
    }

    #[test]
    fn a_missing_file_is_an_error() {
        let missing = InputContext::open(Path::new("/no/such"), Probe::Usual, &CancelToken::new(), &LogTail::default());
        assert_eq!(missing.unwrap_err(), AvError(-libc::ENOENT));
    }
}
