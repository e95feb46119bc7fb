//! One stream on its way into the merged file: placed in time, copied or converted.

use crate::encoder::EncoderError;
use crate::ffi::{Packet, StreamParameters, output};
use crate::units::Rational;

use super::clock::{SampleClock, shifted};
use super::layout::{Planned, Work};

/// A stream of the merged file, once its header is written.
#[derive(Debug)]
pub(in crate::container) struct Track {
    /// Its number in the merged file.
    index: usize,
    /// Of the times of what comes in.
    input_base: Rational,
    output_base: Rational,
    /// How many nanoseconds later what comes in is to be shown.
    shift: i64,
    planned: Planned,
    /// Of audio that is copied.
    clock: Option<SampleClock>,
    /// Copied audio that came before the first packet with a time.
    early: Vec<Packet>,
    /// The last decode time written.
    last: Option<i64>,
    /// The earliest time that the container can hold.
    floor: Option<i64>,
    /// What is added to every time because the muxer does not.
    delay: i64,
    /// Whether two packets may have the same decode time.
    equal_times: bool,
    /// What a byte of silence is, where holes must be filled with it.
    silence: Option<u8>,
    /// Packets that came out of order and were moved.
    pub(super) moved: u64,
}

/// How a stream is placed in the merged file.
#[derive(Debug, Clone, Copy)]
pub(in crate::container) struct Placement {
    pub(super) index: usize,
    pub(super) output_base: Rational,
    pub(super) shift: i64,
    pub(super) equal_times: bool,
    /// Whether nothing may lie before 0 but what the header declares.
    pub(super) from_zero: bool,
    /// Whether the muxer counts the samples of PCM and keeps no times.
    pub(super) counts_samples: bool,
}

impl Track {
    pub(in crate::container) fn new(planned: Planned, input_base: Rational, placement: Placement) -> Self {
        let Placement { index, output_base, shift, equal_times, from_zero, counts_samples } = placement;
        let silence = Some(&planned.parameters).filter(|_| counts_samples).and_then(silence_of);
        let rate = planned.parameters.sample_rate();
        let clock = rate.filter(|_| matches!(planned.work, Work::Copy)).map(SampleClock::new);
        let is_video = matches!(planned.work, Work::Video);
        let (mut floor, mut delay) = (None, 0);
        if from_zero && !is_video {
            let declared = declared_delay(&planned, output_base);
            // Matroska counts from where the delay begins; we count from where the sound does.
            (floor, delay) = if output::matroska_adds_delay() { (Some(-declared), 0) } else { (Some(0), declared) };
        }
        let early = Vec::new();
        Self {
            index,
            input_base,
            output_base,
            shift,
            planned,
            clock,
            early,
            last: None,
            floor,
            delay,
            equal_times,
            silence,
            moved: 0,
        }
    }

    pub(super) fn planned(&self) -> &Planned {
        &self.planned
    }

    /// Whether its packets stay as they are.
    pub(super) fn is_copied(&self) -> bool {
        matches!(self.planned.work, Work::Copy)
    }

    pub(super) fn is_copied_sound(&self) -> bool {
        self.is_copied() && self.clock.is_some()
    }

    /// When a packet is decoded, in nanoseconds of the merged file; `None` when it does not say.
    pub(super) fn time_of(&self, packet: &Packet) -> Option<i64> {
        let ticks = packet.dts().or(packet.pts())?;
        Some(super::clock::nanoseconds(ticks, self.input_base).saturating_add(self.shift))
    }

    /// When a packet ends, as well as it says, in nanoseconds of the merged file.
    pub(super) fn end_of(&self, packet: &Packet) -> Option<i64> {
        // A subtitle that is shown until further notice says so with a very long time.
        let duration = Some(packet.duration()).filter(|duration| (0..i32::MAX.into()).contains(duration));
        let ticks = packet.pts().or(packet.dts())?.saturating_add(duration.unwrap_or(0));
        Some(super::clock::nanoseconds(ticks, self.input_base).saturating_add(self.shift))
    }

    /// Whether something of a packet lies between 0 and `length` nanoseconds of the merged file. A line of text that has
    /// begun before is made to begin at 0; of sound only whole packets are kept.
    pub(super) fn keep_within(&self, packet: &mut Packet, length: i64) -> bool {
        let Some(ticks) = packet.pts().or(packet.dts()) else { return self.last.is_some() };
        let begin = super::clock::nanoseconds(ticks, self.input_base).saturating_add(self.shift);
        if begin >= length || begin >= 0 {
            return begin < length;
        }
        let zero = shifted(0, Rational::ONE, self.shift.saturating_neg(), self.input_base);
        let rest = packet.duration().saturating_sub(zero.saturating_sub(ticks));
        let is_sound = self.planned.parameters.sample_rate().is_some();
        if is_sound || rest <= 0 {
            return false;
        }
        packet.place(Some(zero), Some(zero), rest);
        true
    }

    /// Turns a packet of the source, or with `None` its end, into packets for the muxer.
    pub(in crate::container) fn take(&mut self, packet: Option<Packet>) -> Result<Vec<Packet>, EncoderError> {
        let mut packets = match (&mut self.planned.work, packet) {
            (Work::Audio(conversion), packet) => {
                let mut packets = conversion.convert(packet.as_ref(), self.shift)?;
                let base = conversion.time_base();
                packets.iter_mut().for_each(|packet| self.rescale(packet, base, 0));
                packets
            }
            (_, None) if self.early.is_empty() => return Ok(Vec::new()),
            (_, None) => self.place_early(0, self.output_base, 0),
            (Work::Subtitle(conversion), Some(packet)) => {
                let mut packets: Vec<Packet> = conversion.convert(&packet).into_iter().collect();
                packets.iter_mut().for_each(|packet| self.rescale(packet, self.input_base, self.shift));
                packets
            }
            (_, Some(packet)) if self.clock.is_some() => self.take_sound(packet),
            (Work::Video, Some(mut packet)) => {
                self.rescale(&mut packet, self.input_base, self.shift);
                vec![packet]
            }
            (_, Some(mut packet)) => {
                // Nothing but video is reordered; demuxers leave one of the two times out at times.
                let time = packet.pts().or(packet.dts());
                packet.place(time, time, packet.duration());
                self.rescale(&mut packet, self.input_base, self.shift);
                vec![packet]
            }
        };
        packets.iter_mut().for_each(|packet| self.put_in_order(packet));
        Ok(packets)
    }

    fn rescale(&self, packet: &mut Packet, from: Rational, shift: i64) {
        let to = |ticks: Option<i64>| ticks.map(|ticks| shifted(ticks, from, shift, self.output_base));
        let duration = shifted(packet.duration(), from, 0, self.output_base);
        packet.place(to(packet.pts()), to(packet.dts()), duration);
    }

    /// Places copied audio. What comes before any time is known waits for one.
    fn take_sound(&mut self, mut packet: Packet) -> Vec<Packet> {
        const MOST_EARLY: usize = 1000;
        let time = packet.pts().or(packet.dts());
        let running = self.clock.as_ref().is_some_and(SampleClock::is_running);
        let mut packets = match time {
            None if !running && self.early.len() < MOST_EARLY => {
                self.early.push(packet);
                return Vec::new();
            }
            None if !running => self.place_early(0, self.output_base, 0),
            Some(ticks) if !self.early.is_empty() => self.place_early(ticks, self.input_base, self.shift),
            _ => Vec::new(),
        };
        let end = self.clock.as_ref().and_then(SampleClock::next);
        self.place_samples(&mut packet);
        packets.extend(self.silence_up_to(&packet, end));
        packets.push(packet);
        packets
    }

    /// The hole between `end`, in samples, and a packet that is placed, as silence in pieces of up to a second. What is
    /// shorter than any hole is rounding, and what is longer a clock that jumped.
    fn silence_up_to(&self, packet: &Packet, end: Option<i64>) -> Vec<Packet> {
        let mut packets = Vec::new();
        let (Some(byte), Some(end), Some(clock)) = (self.silence, end, &self.clock) else { return packets };
        let (held, _) = self.samples_of(packet);
        let (begin, second) =
            (clock.next().unwrap_or(end).saturating_sub(held), shifted(1, Rational::ONE, 0, clock.period()));
        if held <= 0 || !(second / 50..second.saturating_mul(600)).contains(&begin.saturating_sub(end)) {
            return packets;
        }
        let bytes_each = packet.data().len() / usize::try_from(held).unwrap_or(usize::MAX);
        for at in (end..begin).step_by(usize::try_from(second).unwrap_or(usize::MAX)) {
            let samples = second.min(begin - at);
            let bytes = vec![byte; bytes_each.saturating_mul(usize::try_from(samples).unwrap_or(0))];
            // Without memory for it the hole stays.
            let Ok(mut piece) = Packet::copy_of(&bytes) else { break };
            let to = |samples| shifted(samples, clock.period(), 0, self.output_base);
            piece.place(Some(to(at)), Some(to(at)), to(samples));
            piece.set_key();
            packets.push(piece);
        }
        packets
    }

    /// Places the early packets before a time.
    fn place_early(&mut self, ticks: i64, base: Rational, shift: i64) -> Vec<Packet> {
        let mut early = std::mem::take(&mut self.early);
        let samples = early.iter().map(|packet| self.samples_of(packet).0).sum();
        if let Some(clock) = &mut self.clock {
            clock.start_before(ticks, base, shift, samples);
        }
        early.iter_mut().for_each(|packet| self.place_samples(packet));
        early
    }

    /// How many samples a packet of audio holds, and for how many it is to be heard: the source may cut the last short.
    fn samples_of(&self, packet: &Packet) -> (i64, i64) {
        let Some(clock) = &self.clock else { return (0, 0) };
        let tick = shifted(1, self.input_base, 0, clock.period());
        let declared = shifted(packet.duration(), self.input_base, 0, clock.period());
        let held = self.planned.parameters.samples_in(packet.data().len()).unwrap_or(declared).max(0);
        // A rounded duration is no cut.
        let is_cut = declared > 0 && declared.saturating_add(tick) < held;
        (held, if is_cut { declared } else { held })
    }

    /// Places a packet of audio to the sample.
    fn place_samples(&mut self, packet: &mut Packet) {
        let (held, heard) = self.samples_of(packet);
        let Some(clock) = &mut self.clock else { return };
        let time = clock.place(packet.pts().or(packet.dts()), self.input_base, self.shift, held);
        let to = |samples| shifted(samples, clock.period(), 0, self.output_base);
        let time = time.map(to);
        packet.place(time, time, to(heard));
    }

    /// Gives a packet its stream, and a decode time after the one before.
    fn put_in_order(&mut self, packet: &mut Packet) {
        packet.set_stream_index(self.index);
        let step = i64::from(!self.equal_times);
        let least = self.last.map(|last| last.saturating_add(step)).max(self.floor);
        let dts = packet.dts().or(packet.pts()).map(|dts| dts.saturating_add(self.delay)).or(least).unwrap_or(0);
        let ordered = least.map_or(dts, |least| dts.max(least));
        let pts = packet.pts().map_or(ordered, |pts| pts.saturating_add(self.delay)).max(ordered);
        self.moved += u64::from(self.last.is_some() && ordered > dts);
        // MP4 refuses more, and Matroska has subtitles that say "until further notice" like that.
        packet.place(Some(pts), Some(ordered), packet.duration().clamp(0, i32::MAX.into()));
        self.last = Some(ordered);
    }
}

/// The byte that PCM's silence is made of; `None` for other codecs.
fn silence_of(parameters: &StreamParameters) -> Option<u8> {
    match parameters.codec_name().strip_prefix("pcm_")? {
        "u8" => Some(0x80),
        "alaw" => Some(0xD5),
        "mulaw" => Some(0xFF),
        signed if signed.starts_with(['s', 'f']) => Some(0),
        _ => None,
    }
}

/// The delay that Matroska's header declares for a stream, in ticks of the stream.
fn declared_delay(planned: &Planned, base: Rational) -> i64 {
    let (samples, Some(rate)) = (planned.parameters.initial_padding(), planned.parameters.sample_rate()) else {
        return 0;
    };
    let period = Rational::new(1, rate.into()).unwrap_or(Rational::ONE);
    shifted(samples.into(), period, 0, base)
}
