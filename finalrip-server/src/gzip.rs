//! gzip (RFC 1952) of a text whose pieces are compressed apart: when one changes, the others are not compressed again.
//!
//! A piece is deflated (RFC 1951) without a look at the others and up to a whole byte, so pieces can stand one after the
//! other. The checksum of all follows from theirs.

use std::io::Write;

use bytes::Bytes;
use flate2::write::DeflateEncoder;
use flate2::{Compression, Crc};
use hyper::HeaderMap;
use hyper::header::ACCEPT_ENCODING;

/// gzip, deflated, no flags, no time, no extra flags, an unknown system.
const HEAD: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];

/// A last block that holds nothing.
const LAST_BLOCK: [u8; 2] = [3, 0];

/// A piece of a text, compressed.
#[derive(Debug)]
pub(crate) struct Piece {
    deflated: Vec<u8>,
    crc: Crc,
}

impl Piece {
    pub(crate) fn new(content: &[u8]) -> Self {
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::fast());
        // Flushing ends the block at a whole byte; finishing would make it the last one.
        encoder.write_all(content).and_then(|()| encoder.flush()).expect("a vector takes all that is written to it");
        let mut deflated = std::mem::take(encoder.get_mut());
        deflated.shrink_to_fit();
        let mut crc = Crc::new();
        crc.update(content);
        Self { deflated, crc }
    }

    /// Its length as it is kept.
    pub(crate) fn len(&self) -> usize {
        self.deflated.len()
    }
}

/// The pieces as one file.
pub(crate) fn file<'a>(pieces: impl Iterator<Item = &'a Piece>) -> Bytes {
    let (mut file, mut crc) = (HEAD.to_vec(), Crc::new());
    for piece in pieces {
        file.extend_from_slice(&piece.deflated);
        crc.combine(&piece.crc);
    }
    file.extend(LAST_BLOCK);
    file.extend(crc.sum().to_le_bytes());
    file.extend(crc.amount().to_le_bytes());
    file.into()
}

/// Whether a client takes gzip (RFC 9110, 12.5.3). One that takes anything (`*`) has not said that it can undo it.
pub(crate) fn is_accepted(headers: &HeaderMap) -> bool {
    let values = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|codings| codings.split(',')).any(|coding| {
        let (name, parameter) = coding.split_once(';').unwrap_or((coding, ""));
        let weight = parameter.trim().strip_prefix("q=").map_or(Ok(1.0), str::parse::<f32>);
        name.trim().eq_ignore_ascii_case("gzip") && weight.is_ok_and(|weight| weight > 0.0)
    })
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::GzDecoder;
    use hyper::header::HeaderValue;
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    use super::*;

    #[test]
    fn pieces_are_one_file() {
        let mut random = StdRng::seed_from_u64(1);
        for count in [0, 1, 2, 3, 40] {
            let texts: Vec<Vec<u8>> = (0..count)
                .map(|number| {
                    // Empty ones, ones that do not compress, and ones longer than a window of 32 KiB.
                    let length = [0, 1, 300, 40_000, 200_000][number % 5];
                    let letters = if number % 2 == 0 { 4 } else { 255 };
                    (0..length).map(|_| random.random_range(0..=letters)).collect()
                })
                .collect();
            let pieces: Vec<Piece> = texts.iter().map(|text| Piece::new(text)).collect();
            let file = file(pieces.iter());
            let mut read = Vec::new();
            let mut decoder = GzDecoder::new(&file[..]);
            decoder.read_to_end(&mut read).unwrap();
            assert_eq!(read, texts.concat(), "{count} pieces");
            assert!(decoder.into_inner().is_empty(), "nothing follows the trailer");
        }
    }

    #[test]
    fn a_client_says_that_it_takes_gzip() {
        let takes = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(ACCEPT_ENCODING, HeaderValue::from_static(value));
            }
            is_accepted(&headers)
        };
        for values in [&["gzip"][..], &["gzip, deflate, br, zstd"], &["br;q=1.0, GZIP; q=0.8"], &["br", "gzip"]] {
            assert!(takes(values), "{values:?}");
        }
        let refusals = [&[][..], &["identity"], &["br"], &["*"], &["gzip;q=0"], &["gzip; q=0.000, br"], &["gzip;q=x"]];
        for values in refusals {
            assert!(!takes(values), "{values:?}");
        }
    }
}
