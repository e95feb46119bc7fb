//! H.264 and HEVC: network abstraction layer units, with lengths (ISO/IEC 14496-15) or start codes (Annex B).

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    H264,
    Hevc,
}

impl Family {
    fn kind(self, unit: &[u8]) -> Option<u8> {
        let first = unit.first()?;
        Some(match self {
            Self::H264 => first & 0x1f,
            Self::Hevc => (first >> 1) & 0x3f,
        })
    }

    fn is_sequence_set(self, unit: &[u8]) -> bool {
        self.kind(unit) == Some(if self == Self::H264 { 7 } else { 33 })
    }

    /// Sequence and picture parameter sets, HEVC's of the video, and H.264's extensions of sequence sets.
    fn is_set(self, unit: &[u8]) -> bool {
        self.kind(unit).is_some_and(|kind| match self {
            Self::H264 => [7, 8, 13].contains(&kind),
            Self::Hevc => [32, 33, 34].contains(&kind),
        })
    }

    fn is_delimiter(self, unit: &[u8]) -> bool {
        self.kind(unit) == Some(if self == Self::H264 { 9 } else { 35 })
    }
}

/// A configuration record (`avcC`, `hvcC`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NalHeader {
    family: Family,
    record: Vec<u8>,
    /// Every unit in the record, in its order.
    units: Vec<Vec<u8>>,
}

/// The bytes before each unit that say its length.
const LENGTH: usize = 4;

const START_CODE: [u8; 4] = [0, 0, 0, 1];

impl NalHeader {
    /// Reads a record; `None` for anything else, and for lengths of other sizes, which no muxer of libav writes.
    pub(super) fn read(family: Family, record: &[u8]) -> Option<Self> {
        let mut reader = Reader(record);
        let mut units = Vec::new();
        match family {
            Family::H264 => {
                let [1, _, _, _, length, count] = *reader.take(6)?.first_chunk()? else { return None };
                let is_usual = usize::from(length & 3) + 1 == LENGTH;
                units.extend(reader.units(usize::from(count & 0x1f)).filter(|_| is_usual)?);
                let count = reader.byte()?;
                units.extend(reader.units(count.into())?);
                // Chroma format, depths, and extensions of sequence sets: of the high profiles, not always written.
                if let Some(fields) = reader.take(4) {
                    units.extend(reader.units(fields[3].into())?);
                }
            }
            Family::Hevc => {
                let fixed = reader.take(22)?;
                if fixed[0] != 1 || usize::from(fixed[21] & 3) + 1 != LENGTH {
                    return None;
                }
                for _ in 0..reader.byte()? {
                    reader.byte()?;
                    let count = u16::from_be_bytes(*reader.take(2)?.first_chunk()?);
                    units.extend(reader.units(count.into())?);
                }
            }
        }
        Some(Self { family, record: record.to_vec(), units })
    }

    /// What a decoder needs: HEVC's record may hold messages (SEI) as well.
    fn sets(&self) -> impl Iterator<Item = &[u8]> {
        self.units.iter().map(Vec::as_slice).filter(|unit| self.family.is_set(unit))
    }

    pub(super) fn has_sets_of(&self, other: &Self) -> bool {
        self.family == other.family && self.sets().eq(other.sets())
    }

    /// A keyframe with the sets in it, behind its delimiter if it has one; `None` when it has sets of its own.
    pub(super) fn put_into(&self, keyframe: &[u8]) -> Option<Vec<u8>> {
        let units = with_lengths(keyframe)?;
        if units.iter().any(|unit| self.family.is_sequence_set(unit)) {
            return None;
        }
        let delimiters = units.iter().take_while(|unit| self.family.is_delimiter(unit)).count();
        let all = units[..delimiters].iter().copied().chain(self.sets()).chain(units[delimiters..].iter().copied());
        let mut packet = Vec::with_capacity(keyframe.len() + self.record.len() + LENGTH * self.units.len());
        for unit in all {
            packet.extend(u32::try_from(unit.len()).ok()?.to_be_bytes());
            packet.extend_from_slice(unit);
        }
        Some(packet)
    }

    pub(super) fn with_start_codes(&self) -> Vec<u8> {
        self.units.iter().flat_map(|unit| START_CODE.iter().chain(unit)).copied().collect()
    }
}

/// A packet with start codes instead of lengths; `None` when it has no lengths.
pub(super) fn start_codes(packet: &[u8]) -> Option<Vec<u8>> {
    let units = with_lengths(packet)?;
    let mut converted = Vec::with_capacity(packet.len());
    for unit in units {
        converted.extend(START_CODE);
        converted.extend_from_slice(unit);
    }
    Some(converted)
}

/// The units of a packet that has their lengths before them.
fn with_lengths(packet: &[u8]) -> Option<Vec<&[u8]>> {
    let mut units = Vec::new();
    let mut rest = packet;
    while !rest.is_empty() {
        let (length, after) = rest.split_first_chunk::<LENGTH>()?;
        let (unit, after) = after.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
        units.push(unit);
        rest = after;
    }
    Some(units)
}

/// A record that holds for all of these: of the highest profile and level, and with only those constraints that all keep.
pub(super) fn covering(headers: &[&NalHeader]) -> Vec<u8> {
    // The number of a profile that adds tools is larger than that of the one without.
    let Some(highest) = headers.iter().max_by_key(|header| header.profile()) else { return Vec::new() };
    let mut record = highest.record.clone();
    let (constraints, levels) = match highest.family {
        Family::H264 => (2..3, 3..4),
        Family::Hevc => (2..12, 12..13),
    };
    for header in headers {
        for at in constraints.clone() {
            record[at] &= header.record[at];
        }
        for at in levels.clone() {
            record[at] = record[at].max(header.record[at]);
        }
        if highest.family == Family::Hevc {
            // The tier's bit.
            record[1] |= header.record[1] & 0x20;
        }
    }
    record
}

impl NalHeader {
    fn profile(&self) -> u8 {
        match self.family {
            Family::H264 => self.record[1],
            Family::Hevc => self.record[1] & 0x1f,
        }
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    /// Units with lengths of two bytes.
    fn units(&mut self, count: usize) -> Option<Vec<Vec<u8>>> {
        let mut unit = || {
            let length = u16::from_be_bytes(*self.take(2)?.first_chunk()?);
            self.take(length.into()).map(<[u8]>::to_vec)
        };
        (0..count).map(|_| unit()).collect()
    }
}
