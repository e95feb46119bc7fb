//! An encoder's packets in a file of our own, for what containers do not keep as it is: codecs that they have no name for, or
//! the same name as for another, palettes, sizes of samples, streams without keyframes.
//!
//! A line of text that names the format, a line of JSON with the stream, and its SHA-256; then each packet: whether it is a
//! keyframe, the number of its side data, each with its kind and length, and the length of its bytes; all numbers in 32 bits,
//! little-endian. Such a file is read by the same version of this library alone.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::ffi::kept::{KeptPacket, KeptStream};
use crate::ffi::{Packet, StreamParameters};

const MAGIC: &[u8] = b"FinalRip packets 1\n";

/// Writes such a file.
#[derive(Debug)]
pub(crate) struct PacketWriter {
    file: BufWriter<File>,
    position: u64,
}

impl PacketWriter {
    pub(crate) fn create(path: &Path, parameters: &StreamParameters) -> io::Result<Self> {
        let mut this = Self { file: BufWriter::new(File::create(path)?), position: 0 };
        let mut stream = serde_json::to_vec(&KeptStream::of(parameters)).map_err(io::Error::other)?;
        stream.push(b'\n');
        let hash = Sha256::digest(&stream);
        for part in [MAGIC, &stream, &hash] {
            this.put(part)?;
        }
        Ok(this)
    }

    pub(crate) fn write(&mut self, packet: &Packet) -> io::Result<()> {
        let kept = KeptPacket::of(packet);
        self.number(u32::from(kept.is_key))?;
        self.length(kept.side_data.len())?;
        for (kind, bytes) in &kept.side_data {
            self.number(*kind)?;
            self.length(bytes.len())?;
            self.put(bytes)?;
        }
        self.length(kept.data.len())?;
        self.put(&kept.data)
    }

    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    pub(crate) fn finish(mut self) -> io::Result<()> {
        self.file.flush()
    }

    fn length(&mut self, length: usize) -> io::Result<()> {
        self.number(u32::try_from(length).map_err(io::Error::other)?)
    }

    fn number(&mut self, number: u32) -> io::Result<()> {
        self.put(&number.to_le_bytes())
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.position += bytes.len() as u64;
        self.file.write_all(bytes)
    }
}

/// Reads such a file.
#[derive(Debug)]
pub(crate) struct PacketReader {
    file: BufReader<File>,
    /// Bytes that are left in the file.
    left: u64,
    pub(crate) parameters: StreamParameters,
}

impl PacketReader {
    /// Opens a file; `None` when it is another kind of file.
    pub(crate) fn open(path: &Path) -> io::Result<Option<Self>> {
        let file = File::open(path)?;
        let mut left = file.metadata()?.len();
        let mut file = BufReader::new(file);
        let mut magic = [0; MAGIC.len()];
        match file.read_exact(&mut magic) {
            Ok(()) if magic == *MAGIC => {}
            Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => return Err(error),
            _ => return Ok(None),
        }
        let (mut stream, mut hash) = (Vec::new(), [0; 32]);
        file.read_until(b'\n', &mut stream)?;
        file.read_exact(&mut hash)?;
        if Sha256::digest(&stream)[..] != hash {
            return Err(damaged());
        }
        let kept: KeptStream = serde_json::from_slice(&stream)?;
        let parameters = kept.parameters().map_err(|code| io::Error::other(code.to_string()))?;
        left = left.saturating_sub((MAGIC.len() + stream.len() + hash.len()) as u64);
        Ok(Some(Self { file, left, parameters }))
    }

    /// The next packet, without times.
    pub(crate) fn read(&mut self) -> io::Result<Option<Packet>> {
        if self.left == 0 {
            return Ok(None);
        }
        let is_key = self.number()? == 1;
        let mut side_data = Vec::new();
        for _ in 0..self.number()? {
            side_data.push((self.number()?, self.bytes()?));
        }
        let kept = KeptPacket { is_key, side_data, data: self.bytes()? };
        kept.packet().map(Some).map_err(|code| io::Error::other(code.to_string()))
    }

    fn number(&mut self) -> io::Result<u32> {
        let mut bytes = [0; 4];
        self.fill(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn bytes(&mut self) -> io::Result<Vec<u8>> {
        let length = self.number()?;
        if u64::from(length) > self.left {
            return Err(damaged());
        }
        let mut bytes = vec![0; length as usize];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    fn fill(&mut self, bytes: &mut [u8]) -> io::Result<()> {
        self.left = self.left.checked_sub(bytes.len() as u64).ok_or_else(damaged)?;
        self.file.read_exact(bytes)
    }
}

fn damaged() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the file is damaged")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoder::VideoParameters;
    use crate::picture::{Color, PixelFormat};
    use crate::units::Rational;

    fn parameters() -> StreamParameters {
        let video = VideoParameters {
            width: 64,
            height: 48,
            format: PixelFormat::from_name("rgb24").unwrap(),
            time_base: Rational::new(1, 25).unwrap(),
            frame_rate: None,
            sample_aspect: Rational::new(4, 3),
            field_order: crate::frames::FieldOrder::default(),
            color: Color { range: 2, primaries: 9, transfer: 16, matrix: 9, chroma_location: 1 },
            hdr: crate::frames::HdrMetadata::default(),
            global_header: true,
        };
        StreamParameters::for_video(ffmpeg_next::ffi::AVCodecID::AV_CODEC_ID_QTRLE, &video, &[1, 2, 3]).unwrap()
    }

    #[test]
    fn what_is_kept_comes_back_and_what_is_cut_off_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("chunk.packets");
        let kept = KeptStream::of(&parameters());
        let mut writer = PacketWriter::create(&path, &parameters()).unwrap();
        let start = writer.position();
        for data in [&[1_u8, 2, 3][..], &[4]] {
            writer.write(&Packet::copy_of(data).unwrap()).unwrap();
        }
        let end = writer.position();
        writer.finish().unwrap();
        let whole = std::fs::read(&path).unwrap();
        assert_eq!(whole.len() as u64, end);

        let mut reader = PacketReader::open(&path).unwrap().unwrap();
        assert_eq!(KeptStream::of(&reader.parameters), kept);
        let mut read = Vec::new();
        while let Some(packet) = reader.read().unwrap() {
            read.push(packet.data().to_vec());
        }
        assert_eq!(read, [vec![1, 2, 3], vec![4]]);

        for length in 0..whole.len() {
            std::fs::write(&path, &whole[..length]).unwrap();
            let packets = PacketReader::open(&path).and_then(|reader| {
                let Some(mut reader) = reader else { return Ok(0) };
                let mut packets = 0;
                while reader.read()?.is_some() {
                    packets += 1;
                }
                Ok(packets)
            });
            // A cut between two packets shows in their number, which the chunk's record knows.
            assert!(packets.is_err() || length < MAGIC.len() || length as u64 >= start, "{length} bytes: {packets:?}");
            assert!(packets.unwrap_or(0) < 2, "{length} bytes");
        }
    }
}
