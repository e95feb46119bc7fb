//! The packets of one stream that belong to a cut.

use super::super::StreamKind;
use super::super::merge::{Track, nanoseconds, shifted};
use super::Range;
use super::order::DisplayOrder;
use crate::ffi::Packet;
use crate::ffi::input::InputStream;
use crate::units::Rational;

/// More pictures than any codec decodes before one that is shown first.
const MOST_REORDERED: usize = 32;
/// How long before it is shown the first picture is decoded, if the source does not say: longer than any codec needs.
const HEAD_START: i64 = 1_000_000_000;

/// One stream of a cut. Times are in nanoseconds of the source's clock, but for those of packets.
pub(super) struct Part<'a> {
    stream: &'a InputStream,
    pub(super) track: Track,
    /// What is wanted of it. For video the end moves with the pictures that are needed from beyond it.
    range: Range,
    /// When the first picture or packet is shown, once it is there.
    first: Option<i64>,
    is_over: bool,
    /// Pictures from the end on, which earlier ones may need.
    held: Vec<Packet>,
    /// Of a video whose presentation times are not in the source.
    order: Option<DisplayOrder>,
    /// The last decode time, in ticks.
    decoded: Option<i64>,
}

impl<'a> Part<'a> {
    pub(super) fn new(stream: &'a InputStream, track: Track, range: Range) -> Self {
        let (first, is_over, held, order, decoded) = (None, false, Vec::new(), None, None);
        Self { stream, track, range, first, is_over, held, order, decoded }
    }

    /// Whether nothing more of it is worth waiting for. Nobody waits for subtitles, which may come at any time.
    pub(super) fn is_over(&self) -> bool {
        self.is_over || self.stream.kind == StreamKind::Subtitle
    }

    pub(super) fn has_begun(&self) -> bool {
        self.first.is_some()
    }

    fn nanoseconds(&self, ticks: i64) -> i64 {
        nanoseconds(ticks, self.stream.time_base)
    }

    /// When a packet is decoded, as far as it says.
    pub(super) fn decoded_at(&self, packet: &Packet) -> Option<i64> {
        packet.dts().or(packet.pts()).map(|ticks| self.nanoseconds(ticks))
    }

    /// When a packet is shown, as far as it says.
    fn shown_at(&self, packet: &Packet) -> Option<i64> {
        packet.pts().or(packet.dts()).map(|ticks| self.nanoseconds(ticks))
    }

    /// Takes a packet of the source, or with `None` its end, and gives those that are known to belong to the cut.
    pub(super) fn take(&mut self, packet: Option<Packet>) -> Vec<Packet> {
        if self.is_over {
            return Vec::new();
        }
        if self.stream.kind != StreamKind::Video {
            return packet.into_iter().filter_map(|packet| self.take_other(packet)).collect();
        }
        let begins = packet.as_ref().is_some_and(|packet| self.needs_order(packet));
        let timed = match (&mut self.order, packet) {
            (Some(order), packet) => order.take(packet),
            (None, Some(packet)) if begins => self.begin_order(packet),
            (None, packet) => packet.into_iter().collect(),
        };
        timed.into_iter().flat_map(|packet| self.take_picture(packet)).collect()
    }

    /// Sound and subtitles are shown in the order in which they come. What has no time of its own follows the one before.
    fn take_other(&mut self, packet: Packet) -> Option<Packet> {
        let Some(time) = self.shown_at(&packet) else { return self.first.map(|_| packet) };
        self.is_over = time >= self.range.to;
        if self.is_over || time < self.range.from {
            return None;
        }
        self.first = self.first.or(Some(time));
        Some(packet)
    }

    /// Whether a picture begins the video and does not say when it is shown.
    fn needs_order(&self, packet: &Packet) -> bool {
        let early = self.decoded_at(packet).is_some_and(|time| time < self.range.from);
        self.first.is_none() && packet.is_key() && packet.pts().is_none() && !early
    }

    fn begin_order(&mut self, packet: Packet) -> Vec<Packet> {
        let begin = shifted(0, Rational::ONE, self.range.from, self.stream.time_base);
        match DisplayOrder::new(self.stream, begin) {
            Ok(order) => self.order.insert(order).take(Some(packet)),
            Err(code) => {
                let index = self.stream.index;
                tracing::warn!("stream {index} of the source does not say when its pictures are shown: {code}");
                vec![packet]
            }
        }
    }

    /// Pictures come in the order of decoding. Before the first keyframe there is nothing to decode them with, and those
    /// that are shown before it lean on what is not in the cut.
    fn take_picture(&mut self, packet: Packet) -> Vec<Packet> {
        let Some(shown) = self.shown_at(&packet) else { return Vec::new() };
        let begins = packet.is_key() && (self.range.from..self.range.to).contains(&shown);
        match self.first {
            None if begins => self.first = Some(shown),
            None => {
                self.is_over = shown >= self.range.to;
                return Vec::new();
            }
            Some(first) if shown < first => return Vec::new(),
            Some(_) => {}
        }
        if shown < self.range.to {
            return self.release(packet);
        }
        // Nothing is shown before it is decoded: from there on only later pictures follow.
        let decoded = packet.dts().map(|ticks| self.nanoseconds(ticks));
        self.is_over = decoded.is_some_and(|time| time >= self.range.to) || self.held.len() >= MOST_REORDERED;
        self.held.push(packet);
        Vec::new()
    }

    /// Lets a picture go, and before it those that it may need. These lie beyond the end, which moves so that there is no
    /// gap before them.
    fn release(&mut self, packet: Packet) -> Vec<Packet> {
        let mut packets = std::mem::take(&mut self.held);
        let latest = packets.iter().filter_map(|held| self.shown_at(held)).max();
        self.range.to = self.range.to.max(latest.unwrap_or(i64::MIN));
        packets.push(packet);
        packets.iter_mut().for_each(|packet| self.complete_times(packet));
        packets
    }

    /// Gives a packet the decode time that it lacks: the first ones after a seek do. None is later than the picture is
    /// shown.
    fn complete_times(&mut self, packet: &mut Packet) {
        let Some(shown) = packet.pts().or(packet.dts()) else { return };
        let head_start = shifted(0, Rational::ONE, HEAD_START, self.stream.time_base);
        let made_up = self.decoded.map_or(shown.saturating_sub(head_start), |last| last.saturating_add(1));
        let decoded = packet.dts().unwrap_or(made_up).min(shown);
        packet.place(Some(shown), Some(decoded), packet.duration());
        self.decoded = Some(decoded);
    }
}
