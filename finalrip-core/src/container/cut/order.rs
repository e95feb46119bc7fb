//! Presentation times of a video whose container only tells when pictures are decoded, such as AVI, or lacks those of its
//! beginning: a decoder shows in which order they come out, and each takes the next time.

use std::collections::{BTreeMap, VecDeque};

use crate::ffi::decode::Decoder;
use crate::ffi::input::InputStream;
use crate::ffi::log::LogTail;
use crate::ffi::{AvError, Packet};
use crate::units::Rational;

/// How many pictures at most are decoded before one that is shown first.
const MOST_REORDERED: i64 = 16;

/// The order in which the pictures of one video are shown. Times are in ticks of its stream.
#[derive(Debug)]
pub(super) struct DisplayOrder {
    decoder: Decoder,
    /// How long a picture lasts.
    period: i64,
    /// Packets whose pictures have not come out, by their number, with their decode times.
    waiting: VecDeque<(i64, i64, Packet)>,
    /// Decode times of packets without a presentation time, which no picture has taken yet.
    times: VecDeque<i64>,
    /// The presentation times of packets whose pictures have not come out, by their number, where they have one.
    given: BTreeMap<i64, i64>,
    /// When the pictures that have come out are shown, by the numbers of their packets.
    shown: BTreeMap<i64, i64>,
    sent: i64,
    /// When the next packet without a time is decoded.
    next: i64,
}

impl DisplayOrder {
    /// For a stream whose first packet is decoded at `time` if it does not say.
    pub(super) fn new(stream: &InputStream, time: i64) -> Result<Self, AvError> {
        let decoder = Decoder::open(&stream.parameters, stream.time_base, &LogTail::default())?;
        let usual = || Rational::new(1, 25).unwrap_or(Rational::ONE);
        let period = stream.frame_rate.and_then(Rational::inverse).unwrap_or_else(usual);
        let period = crate::ffi::rescale(1, period, stream.time_base).max(1);
        let (waiting, times) = (VecDeque::new(), VecDeque::new());
        let (given, shown) = (BTreeMap::new(), BTreeMap::new());
        Ok(Self { decoder, period, waiting, times, given, shown, sent: 0, next: time })
    }

    /// Takes a packet, or with `None` the end, and gives those whose times are known now, in the order of decoding.
    pub(super) fn take(&mut self, packet: Option<Packet>) -> Vec<Packet> {
        let number = self.sent;
        if let Some(mut packet) = packet {
            let decoded = packet.dts().unwrap_or(self.next);
            if let Some(shown) = packet.pts() {
                self.given.insert(number, shown);
            } else {
                self.times.push_back(decoded);
                self.next = decoded.saturating_add(self.period);
            }
            self.sent += 1;
            // The decoder hands a packet's presentation time on to its picture.
            packet.place(Some(number), None, packet.duration());
            // What is damaged shows nothing.
            let _ = self.decoder.send(Some(&packet));
            self.waiting.push_back((number, decoded, packet));
        } else {
            let _ = self.decoder.send(None);
        }
        while let Ok(Some(picture)) = self.decoder.receive() {
            let Some(number) = picture.best_time() else { continue };
            let time = self.given.remove(&number).or_else(|| self.times.pop_front());
            self.shown.extend(time.map(|time| (number, time)));
        }
        self.release()
    }

    fn release(&mut self) -> Vec<Packet> {
        let mut released = Vec::new();
        // A damaged packet's picture never comes out; others that were decoded long after it have.
        let given_up = self.shown.last_key_value().map_or(i64::MIN, |(newest, _)| newest - 2 * MOST_REORDERED);
        while let Some((number, decoded, mut packet)) = self.waiting.pop_front() {
            if let Some(time) = self.shown.remove(&number) {
                // Decoding comes before showing, by as much as there can be reordered.
                let decoded = decoded.saturating_sub(MOST_REORDERED.saturating_mul(self.period));
                packet.place(Some(time), Some(decoded), packet.duration());
                released.push(packet);
            } else if number >= given_up {
                self.waiting.push_front((number, decoded, packet));
                break;
            }
        }
        released
    }
}
