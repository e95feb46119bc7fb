//! One stream on its way into the merged file: placed in time, copied or converted.

use crate::encoder::EncoderError;
use crate::ffi::Packet;
use crate::units::Rational;

use super::clock::{SampleClock, shifted};
use super::layout::{Planned, Work};

/// A stream of the merged file, once its header is written.
#[derive(Debug)]
pub(super) struct Track {
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
    /// The last decode time written.
    last: Option<i64>,
    /// The earliest time that the container can hold.
    floor: Option<i64>,
    /// Whether two packets may have the same decode time.
    equal_times: bool,
    /// Packets that came out of order and were moved.
    pub(super) moved: u64,
}

/// How a stream is placed in the merged file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Placement {
    pub(super) index: usize,
    pub(super) output_base: Rational,
    pub(super) shift: i64,
    pub(super) equal_times: bool,
    /// Whether nothing may lie before 0 but what the header declares.
    pub(super) from_zero: bool,
}

impl Track {
    pub(super) fn new(planned: Planned, input_base: Rational, placement: Placement) -> Self {
        let Placement { index, output_base, shift, equal_times, from_zero } = placement;
        let rate = planned.parameters.sample_rate();
        let clock = rate.filter(|_| matches!(planned.work, Work::Copy)).map(SampleClock::new);
        let declared = rate.map_or(0, |rate| {
            let period = Rational::new(1, rate.into()).unwrap_or(Rational::ONE);
            shifted(planned.parameters.initial_padding().into(), period, 0, output_base)
        });
        let is_video = matches!(planned.work, Work::Video);
        let floor = (from_zero && !is_video).then_some(-declared);
        Self { index, input_base, output_base, shift, planned, clock, last: None, floor, equal_times, moved: 0 }
    }

    pub(super) fn planned(&self) -> &Planned {
        &self.planned
    }

    /// When a packet is decoded, in nanoseconds of the merged file; `None` when it does not say.
    pub(super) fn time_of(&self, packet: &Packet) -> Option<i64> {
        let ticks = packet.dts().or(packet.pts())?;
        Some(super::clock::nanoseconds(ticks, self.input_base).saturating_add(self.shift))
    }

    /// Turns a packet of the source, or with `None` its end, into packets for the muxer.
    pub(super) fn take(&mut self, packet: Option<Packet>) -> Result<Vec<Packet>, EncoderError> {
        let mut packets = match (&mut self.planned.work, packet) {
            (Work::Audio(conversion), packet) => {
                let mut packets = conversion.convert(packet.as_ref(), self.shift)?;
                let base = conversion.time_base();
                packets.iter_mut().for_each(|packet| self.rescale(packet, base, 0));
                packets
            }
            (_, None) => return Ok(Vec::new()),
            (Work::Subtitle(conversion), Some(packet)) => {
                let mut packets: Vec<Packet> = conversion.convert(&packet).into_iter().collect();
                packets.iter_mut().for_each(|packet| self.rescale(packet, self.input_base, self.shift));
                packets
            }
            (_, Some(mut packet)) if self.clock.is_some() => {
                self.place_samples(&mut packet);
                vec![packet]
            }
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

    /// Places a packet of audio to the sample.
    fn place_samples(&mut self, packet: &mut Packet) {
        let Some(clock) = &mut self.clock else { return };
        let counted = self.planned.parameters.samples_in(packet.data().len());
        let declared = shifted(packet.duration(), self.input_base, 0, clock.period());
        let samples = counted.unwrap_or(declared).max(0);
        let time = clock.place(packet.pts().or(packet.dts()), self.input_base, self.shift, samples);
        let to = |samples| shifted(samples, clock.period(), 0, self.output_base);
        let time = time.map(to);
        // A last packet may be cut short: its duration is what the source says, where it says less.
        let samples = if declared > 0 { samples.min(declared.saturating_add(1)) } else { samples };
        packet.place(time, time, to(samples));
    }

    /// Gives a packet its stream, and a decode time after the one before.
    fn put_in_order(&mut self, packet: &mut Packet) {
        packet.set_stream_index(self.index);
        let step = i64::from(!self.equal_times);
        let least = self.last.map(|last| last.saturating_add(step)).max(self.floor);
        let dts = packet.dts().or(packet.pts()).or(least).unwrap_or(0);
        let ordered = least.map_or(dts, |least| dts.max(least));
        let pts = packet.pts().unwrap_or(ordered).max(ordered);
        self.moved += u64::from(self.last.is_some() && ordered > dts);
        packet.place(Some(pts), Some(ordered), packet.duration());
        self.last = Some(ordered);
    }
}
