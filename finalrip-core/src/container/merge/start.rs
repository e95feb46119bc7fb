//! Where the streams of a source begin: the times that keep sound and picture together.

use std::collections::BTreeMap;

use crate::ffi::Packet;
use crate::ffi::decode::Decoder;
use crate::ffi::input::{InputContext, InputStream};
use crate::ffi::log::LogTail;
use crate::ffi::output::Priming;
use crate::units::Rational;

use super::clock::nanoseconds;

/// Packets of video that are decoded in search of the first picture. A stream that shows none among so many is taken to
/// begin where its packets begin.
const MOST_VIDEO_PACKETS: usize = 2000;
/// How far past the first picture the search for the other streams' beginnings goes.
const REACH: i64 = 10_000_000_000;
const REACH_BYTES: usize = 64 << 20;
/// How much of a HEVC stream is held back in wait for its first keyframe.
const MOST_HELD_PACKETS: usize = 600;

/// Where a stream begins, in nanoseconds of the source's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Beginning {
    /// The first packet's time.
    pub(super) packet: i64,
    /// When something is heard or seen: after the samples that a decoder drops.
    pub(super) presented: i64,
}

/// What is known of the beginnings.
#[derive(Debug, Default)]
pub(in crate::container) struct Start {
    /// When the first picture of the video is shown, as a decoder gives it out.
    pub(super) video: Option<i64>,
    /// Of each wanted stream that begins within reach.
    pub(super) streams: BTreeMap<usize, Beginning>,
}

impl Start {
    /// The time that becomes 0 in the merged file: the earliest at which something is seen or heard. `primed` names, for
    /// each stream that is kept, whether the file can say which samples at its start are not to be played.
    pub(in crate::container) fn base(&self, primed: impl Fn(usize) -> bool) -> i64 {
        let begins = |(&index, begin): (&usize, &Beginning)| if primed(index) { begin.presented } else { begin.packet };
        self.streams.iter().map(begins).chain(self.video).min().unwrap_or(0)
    }
}

/// Whether a container that has `priming` can say so of a stream.
pub(super) fn is_primed(priming: Priming, codec: &str, converted: bool) -> bool {
    match priming {
        // A decoder has dropped them already.
        _ if converted => true,
        Priming::EditList => true,
        Priming::OpusDelay => codec == "opus",
        Priming::None => false,
    }
}

/// Reads the source from its start until every beginning is known or out of reach: that of the video, and those of other
/// streams, which go into a file with `priming`.
pub(in crate::container) fn find(
    input: &mut InputContext,
    (video, others): (Option<usize>, &[usize]),
    priming: Priming,
    log: &LogTail,
) -> Start {
    let decoder = video.and_then(|index| {
        let stream = &input.streams()[index];
        let opened = Decoder::open(&stream.parameters, stream.time_base, log);
        opened.inspect_err(|code| tracing::warn!("no decoder for the source's video: {code}")).ok()
    });
    let mut search = Search::new(video, others, decoder);
    search.keeps_lead = priming == Priming::EditList;
    let mut wanted = others.to_vec();
    wanted.extend(video);
    input.want(&wanted);
    loop {
        // A source that breaks off here breaks off in the merge too, which says so.
        let Ok(Some((index, packet))) = input.read() else { break };
        if search.take(&input.streams()[index], packet) {
            return search.start;
        }
    }
    search.end(input);
    search.start
}

struct Search<'a> {
    video: Option<usize>,
    others: &'a [usize],
    decoder: Option<Decoder>,
    start: Start,
    video_packets: usize,
    /// Pictures that came out before the first that has a time.
    untimed_pictures: i64,
    /// Samples of each stream that came before the first packet with a time.
    untimed_samples: BTreeMap<usize, i64>,
    /// Of each stream what an edit list hides at its start: where the first packet lies, and the last.
    hidden: BTreeMap<usize, (Beginning, i64)>,
    /// Whether the file can hide a packet in front of the first that is heard.
    keeps_lead: bool,
    bytes_since: usize,
    /// What came of HEVC before its first keyframe; `None` when that was there, or is not waited for.
    held: Option<Vec<Packet>>,
}

impl<'a> Search<'a> {
    fn new(video: Option<usize>, others: &'a [usize], decoder: Option<Decoder>) -> Self {
        Self {
            video,
            others,
            decoder,
            start: Start::default(),
            video_packets: 0,
            untimed_pictures: 0,
            untimed_samples: BTreeMap::new(),
            hidden: BTreeMap::new(),
            keeps_lead: false,
            bytes_since: 0,
            held: Some(Vec::new()),
        }
    }

    /// Takes a packet in; whether the search is over.
    fn take(&mut self, stream: &InputStream, packet: Packet) -> bool {
        let bytes = packet.data().len();
        let time = packet.pts().or(packet.dts()).map(|ticks| nanoseconds(ticks, stream.time_base));
        if self.video == Some(stream.index) {
            self.take_video(stream, packet, time);
        } else if !self.start.streams.contains_key(&stream.index) {
            self.take_other(stream, &packet, time);
        }
        if self.video.is_some() && self.start.video.is_none() {
            return false;
        }
        self.bytes_since += bytes;
        let complete = self.others.iter().all(|index| self.start.streams.contains_key(index));
        let beyond = self.start.video.zip(time).is_some_and(|(start, time)| time.saturating_sub(start) > REACH);
        complete || beyond || self.bytes_since > REACH_BYTES
    }

    /// Packets without a time are counted back from the first that has one, as they are when they are copied.
    fn take_other(&mut self, stream: &InputStream, packet: &Packet, time: Option<i64>) {
        let untimed = self.untimed_samples.entry(stream.index).or_default();
        let period = stream.parameters.sample_rate().and_then(|rate| Rational::new(1, rate.into()));
        match (time, period) {
            (Some(time), period) => {
                let packet_time = time.saturating_sub(period.map_or(0, |period| nanoseconds(*untimed, period)));
                let padding = nanoseconds(padding(stream, packet), stream.time_base);
                let beginning = Beginning { packet: packet_time, presented: packet_time.saturating_add(padding) };
                if packet.is_hidden() {
                    self.hidden.entry(stream.index).or_insert((beginning, time)).1 = time;
                    return;
                }
                let beginning = self.after_hidden(stream.index, beginning);
                self.start.streams.insert(stream.index, beginning);
            }
            (None, Some(period)) => {
                let declared = || super::clock::shifted(packet.duration(), stream.time_base, 0, period);
                *untimed += stream.parameters.samples_in(packet.data().len()).unwrap_or_else(declared);
            }
            (None, None) => {}
        }
    }

    /// Where a stream begins whose first packet that is heard begins at `heard`.
    fn after_hidden(&mut self, index: usize, heard: Beginning) -> Beginning {
        let Some((first, last)) = self.hidden.remove(&index) else { return heard };
        match hidden_lead(heard.packet.saturating_sub(first.packet), self.keeps_lead) {
            Lead::All => first,
            Lead::Last => Beginning { packet: last, presented: first.presented.max(last) },
            Lead::None => Beginning { packet: heard.packet, presented: first.presented.max(heard.packet) },
        }
    }

    fn take_video(&mut self, stream: &InputStream, packet: Packet, time: Option<i64>) {
        if self.start.video.is_some() {
            return;
        }
        self.video_packets += 1;
        for packet in self.decodable(stream, packet) {
            self.decode(stream, Some(&packet));
        }
        if self.start.video.is_none() && (self.decoder.is_none() || self.video_packets >= MOST_VIDEO_PACKETS) {
            let declared = stream.start_time.map(|ticks| nanoseconds(ticks, stream.time_base));
            self.start.video = declared.or(time).or(Some(0));
        }
    }

    /// What can be decoded now that a packet is there.
    ///
    /// Older decoders of libav give out what they make of a HEVC stream before its first keyframe, newer ones, which
    /// source filters bring along, do not. A stream without keyframes, which is refreshed bit by bit, shows pictures in all.
    fn decodable(&mut self, stream: &InputStream, packet: Packet) -> Vec<Packet> {
        let waits = stream.parameters.codec_name() == "hevc" && !packet.is_key();
        let Some(mut held) = self.held.take() else { return vec![packet] };
        if !waits {
            return vec![packet];
        }
        held.push(packet);
        if held.len() < MOST_HELD_PACKETS {
            self.held = Some(held);
            return Vec::new();
        }
        held
    }

    fn decode(&mut self, stream: &InputStream, packet: Option<&Packet>) {
        if let Some(decoder) = &mut self.decoder {
            // Packets that cannot be decoded, such as those before the first keyframe, show nothing.
            let _ = decoder.send(packet);
        }
        self.receive(stream);
    }

    /// Takes pictures until one has a time; those before it, which some files leave without one, are counted back.
    fn receive(&mut self, stream: &InputStream) {
        while let Some(Ok(Some(frame))) = self.decoder.as_mut().map(Decoder::receive)
            && self.start.video.is_none()
        {
            let Some(ticks) = frame.best_time() else {
                self.untimed_pictures += 1;
                continue;
            };
            let before = stream.frame_rate.and_then(Rational::inverse);
            let before = before.map_or(0, |period| nanoseconds(self.untimed_pictures, period));
            self.start.video = Some(nanoseconds(ticks, stream.time_base).saturating_sub(before));
        }
    }

    /// The source has ended: a short video may still be inside the decoder.
    fn end(&mut self, input: &InputContext) {
        let Some(index) = self.video.filter(|_| self.start.video.is_none()) else { return };
        let stream = &input.streams()[index];
        for packet in self.held.take().unwrap_or_default() {
            self.decode(stream, Some(&packet));
        }
        self.decode(stream, None);
        if self.start.video.is_none() {
            self.start.video = stream.start_time.map(|ticks| nanoseconds(ticks, stream.time_base));
        }
    }
}

/// What is kept of the packets that an edit list hides at the start of copied sound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lead {
    /// They are a codec's priming, which holds no sound.
    All,
    /// The one that a decoder needs so as to begin in full with the next.
    Last,
    None,
}

/// The longest priming of a codec in use, with room for rounding: AAC's 2112 samples at 32 kHz.
const LONGEST_PRIMING: i64 = 70_000_000;

/// `hidden` is how long, in nanoseconds; `keeps_lead` whether the file can hide a packet in its turn.
pub(super) fn hidden_lead(hidden: i64, keeps_lead: bool) -> Lead {
    match keeps_lead {
        _ if hidden <= LONGEST_PRIMING => Lead::All,
        true => Lead::Last,
        false => Lead::None,
    }
}

/// How much of a stream's first packet a decoder drops, in ticks of the stream.
fn padding(stream: &InputStream, packet: &Packet) -> i64 {
    let Some(rate) = stream.parameters.sample_rate() else { return 0 };
    let samples = packet.skipped_samples().unwrap_or_else(|| stream.parameters.initial_padding());
    let period = Rational::new(1, rate.into()).unwrap_or(Rational::ONE);
    super::clock::shifted(samples.into(), period, 0, stream.time_base)
}
