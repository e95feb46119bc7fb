//! The little that is read and written of coded bitstreams: the parameter sets in a stream's header and in its packets.
//! Bytes in, bytes out.
//!
//! A decoder must have the parameter sets of a picture before the picture. A container keeps them once, in its header, which
//! is enough while all pictures have the same. Chunks of one video may have others, such as those of x264 under another
//! `-crf`. Then every keyframe carries its own: a decoder may come to it from any other chunk, or by a seek.

mod nal;
mod obu;

use self::nal::{Family, NalHeader};

/// The parameter sets of one stream as Matroska and MP4 keep them in their headers (libav's extradata).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Header {
    /// H.264 or HEVC, with lengths of four bytes before the units.
    Nal(NalHeader),
    /// AV1: a configuration record (`av1C`), and the sequence header that it holds, if any.
    Av1(Vec<u8>),
    /// Bytes that a decoder takes in front of a keyframe as well, where the encoder puts them: MPEG-1 and MPEG-2.
    InFront(Vec<u8>),
    /// Bytes that only a container's header can carry, if the codec has any at all.
    Fixed(Vec<u8>),
}

impl Header {
    /// Reads the header of a stream of libav's codec `codec`.
    pub(crate) fn read(codec: &str, extradata: &[u8]) -> Self {
        let fixed = || Self::Fixed(extradata.to_vec());
        match codec {
            "h264" => NalHeader::read(Family::H264, extradata).map_or_else(fixed, Self::Nal),
            "hevc" => NalHeader::read(Family::Hevc, extradata).map_or_else(fixed, Self::Nal),
            "av1" if obu::is_record(extradata) => Self::Av1(extradata.to_vec()),
            "mpeg1video" | "mpeg2video" => Self::InFront(extradata.to_vec()),
            "theora" => Self::Fixed(without_theora_hints(extradata)),
            _ => fixed(),
        }
    }

    /// Of a codec whose settings only a container's header can carry, what of them decides how packets are decoded; `None` for
    /// other codecs. Takes the header as the encoder gives it, or as a container does.
    pub(crate) fn of_codec(codec: &str, extradata: &[u8]) -> Option<Vec<u8>> {
        const TRAVELLING: [&str; 5] = ["h264", "hevc", "av1", "mpeg1video", "mpeg2video"];
        if TRAVELLING.contains(&codec) {
            return None;
        }
        match Self::read(codec, extradata) {
            Self::Fixed(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// Whether pictures under one header can be decoded under the other.
    pub(crate) fn has_sets_of(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Nal(one), Self::Nal(two)) => one.has_sets_of(two),
            (Self::Av1(one), Self::Av1(two)) => obu::sequence_header(one) == obu::sequence_header(two),
            (one, two) => one == two,
        }
    }

    /// Whether a decoder can change to these parameter sets at a keyframe that carries them.
    pub(crate) fn travels(&self) -> bool {
        match self {
            Self::Nal(_) | Self::InFront(_) => true,
            Self::Av1(record) => obu::sequence_header(record).is_some(),
            Self::Fixed(_) => false,
        }
    }

    /// The header of a file whose keyframes carry their own sets: what it says of profile and level holds for all of them.
    pub(crate) fn of_file(headers: &[Self]) -> Option<Vec<u8>> {
        let nal: Vec<&NalHeader> =
            headers.iter().filter_map(|header| if let Self::Nal(nal) = header { Some(nal) } else { None }).collect();
        match headers.first()? {
            Self::Nal(_) => Some(nal::covering(&nal)),
            Self::Av1(_) => {
                let records =
                    headers.iter().filter_map(|header| if let Self::Av1(av1) = header { Some(av1) } else { None });
                obu::covering(records.map(Vec::as_slice))
            }
            Self::InFront(bytes) | Self::Fixed(bytes) => Some(bytes.clone()),
        }
    }

    /// A keyframe with these parameter sets in it; `None` when it has some already, or there are none.
    pub(crate) fn put_into(&self, keyframe: &[u8]) -> Option<Vec<u8>> {
        match self {
            Self::Nal(header) => header.put_into(keyframe),
            Self::Av1(record) => obu::put_into(obu::sequence_header(record)?, keyframe),
            // Start codes: one of the same kind begins a header of its own.
            Self::InFront(bytes) if bytes.len() >= 4 && !keyframe.starts_with(&bytes[..4]) => {
                Some([bytes, keyframe].concat())
            }
            Self::InFront(_) | Self::Fixed(_) => None,
        }
    }

    /// The header as an encoder gives it: with start codes, or as plain units of AV1.
    pub(crate) fn as_encoded(&self) -> Vec<u8> {
        match self {
            Self::Nal(header) => header.with_start_codes(),
            Self::Av1(record) => record.get(obu::RECORD..).unwrap_or_default().to_vec(),
            Self::InFront(bytes) | Self::Fixed(bytes) => bytes.clone(),
        }
    }

    /// A packet as an encoder gives it, which bitstream filters are made for: with start codes instead of lengths, and with
    /// AV1's temporal delimiter. `None` when it is that already.
    pub(crate) fn packet_as_encoded(&self, packet: &[u8]) -> Option<Vec<u8>> {
        match self {
            Self::Nal(_) => nal::start_codes(packet),
            Self::Av1(_) => obu::delimited(packet),
            Self::InFront(_) | Self::Fixed(_) => None,
        }
    }
}

/// Theora's three headers without what is a hint only, and differs with the quality: the nominal bit rate and the quality of the
/// first (Theora specification, 6.2), and the comments.
fn without_theora_hints(extradata: &[u8]) -> Vec<u8> {
    /// Of the first header: its length, where the bit rate is, and the byte whose upper six bits are the quality.
    const FIRST: (usize, std::ops::Range<usize>, usize) = (42, 37..40, 40);
    let Some([first, _, setup]) = theora_headers(extradata) else { return extradata.to_vec() };
    let mut decisive = first.to_vec();
    if decisive.len() >= FIRST.0 {
        decisive[FIRST.1].fill(0);
        decisive[FIRST.2] &= 3;
    }
    decisive.extend_from_slice(setup);
    decisive
}

/// The three headers of Theora, each with its length before it as the encoder gives them, or laced as Matroska keeps them.
fn theora_headers(extradata: &[u8]) -> Option<[&[u8]; 3]> {
    let mut headers = [&[][..]; 3];
    if extradata.first() != Some(&2) {
        let mut rest = extradata;
        for header in &mut headers {
            let (length, after) = rest.split_first_chunk()?;
            (*header, rest) = after.split_at_checked(u16::from_be_bytes(*length).into())?;
        }
        return Some(headers);
    }
    let mut lengths = [0; 2];
    let mut rest = &extradata[1..];
    for length in &mut lengths {
        loop {
            let (&byte, after) = rest.split_first()?;
            (*length, rest) = (*length + usize::from(byte), after);
            if byte < 255 {
                break;
            }
        }
    }
    (headers[0], rest) = rest.split_at_checked(lengths[0])?;
    (headers[1], headers[2]) = rest.split_at_checked(lengths[1])?;
    Some(headers)
}

#[cfg(test)]
mod tests;
