//! AV1: open bitstream units (AV1 specification, 5.3) and the configuration record (`av1C`) that holds some.

/// Bytes of a configuration record before its units.
pub(super) const RECORD: usize = 4;

const SEQUENCE_HEADER: u8 = 1;
const TEMPORAL_DELIMITER: u8 = 2;

/// A temporal delimiter is always these two bytes.
const DELIMITER: [u8; 2] = [0x12, 0];

pub(super) fn is_record(extradata: &[u8]) -> bool {
    extradata.len() >= RECORD && extradata[0] == 0x81
}

/// The units of a record or of a packet, each with its type and its bytes, header included; ends where one makes no sense.
fn units(bytes: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let header = *rest.first()?;
        let (kind, has_extension, has_size) = ((header >> 3) & 0xf, header & 4 != 0, header & 2 != 0);
        let before = 1 + usize::from(has_extension);
        let length = if has_size {
            let (size, bytes) = leb128(rest.get(before..)?)?;
            before.checked_add(bytes)?.checked_add(size)?
        } else {
            // The last one may leave its size out.
            rest.len()
        };
        let (unit, after) = rest.split_at_checked(length)?;
        rest = after;
        Some((kind, unit))
    })
}

/// A number in little-endian groups of seven bits, and how many bytes it takes.
fn leb128(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut value = 0_usize;
    for (index, byte) in bytes.iter().enumerate().take(8) {
        value |= usize::from(byte & 0x7f).checked_shl(7 * u32::try_from(index).ok()?)?;
        if byte & 0x80 == 0 {
            return Some((value, index + 1));
        }
    }
    None
}

/// The sequence header in a configuration record.
pub(super) fn sequence_header(record: &[u8]) -> Option<&[u8]> {
    units(record.get(RECORD..)?).find(|(kind, _)| *kind == SEQUENCE_HEADER).map(|(_, unit)| unit)
}

/// A keyframe with a sequence header in it; `None` when it has one.
pub(super) fn put_into(sequence_header: &[u8], keyframe: &[u8]) -> Option<Vec<u8>> {
    if units(keyframe).any(|(kind, _)| kind == SEQUENCE_HEADER) {
        return None;
    }
    let first = units(keyframe).next().filter(|(kind, _)| *kind == TEMPORAL_DELIMITER);
    let delimiter = first.map_or(0, |(_, unit)| unit.len());
    Some([&keyframe[..delimiter], sequence_header, &keyframe[delimiter..]].concat())
}

/// A packet that begins with a temporal delimiter; `None` when it does already.
pub(super) fn delimited(packet: &[u8]) -> Option<Vec<u8>> {
    let has_one = units(packet).next().is_some_and(|(kind, _)| kind == TEMPORAL_DELIMITER);
    (!has_one).then(|| [&DELIMITER, packet].concat())
}

/// A record that holds for all of these: of the highest level, and without a sequence header, since none is that of all.
pub(super) fn covering<'a>(records: impl Iterator<Item = &'a [u8]>) -> Option<Vec<u8>> {
    let fixed = records.filter_map(|record| record.first_chunk::<RECORD>().copied());
    let highest = fixed.max_by_key(|record| (record[1] >> 5, record[2] & 0x80, record[1] & 0x1f))?;
    Some(highest.to_vec())
}
