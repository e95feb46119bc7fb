//! A chunk's file, to be read.

use std::io;
use std::path::Path;

use crate::cancel::CancelToken;
use crate::container::{PacketReader, StreamKind};
use crate::ffi::input::{InputContext, Probe};
use crate::ffi::log::LogTail;
use crate::ffi::{AvError, Packet, StreamParameters};

/// A chunk's file that is open.
pub(super) enum ChunkFile {
    /// A container, and the number of its video.
    Container(InputContext, usize),
    /// Packets as the encoder made them.
    Packets(PacketReader),
}

impl ChunkFile {
    /// Opens a file; or says why not.
    pub(super) fn open(path: &Path, cancel: &CancelToken) -> Result<Self, String> {
        if let Some(packets) = PacketReader::open(path).map_err(|error| error.to_string())? {
            return Ok(Self::Packets(packets));
        }
        let opened = InputContext::open(path, Probe::Usual, cancel, &LogTail::default());
        let mut input = opened.map_err(|code: AvError| code.to_string())?;
        let video = input.streams().iter().find(|stream| stream.kind == StreamKind::Video);
        let index = video.map(|video| video.index).ok_or_else(|| "it holds no video".to_owned())?;
        input.want(&[index]);
        Ok(Self::Container(input, index))
    }

    pub(super) fn parameters(&self) -> &StreamParameters {
        match self {
            Self::Container(input, index) => &input.streams()[*index].parameters,
            Self::Packets(packets) => &packets.parameters,
        }
    }

    /// Whether it is a container, which may know a codec by another's name.
    pub(super) fn is_container(&self) -> bool {
        matches!(self, Self::Container(..))
    }

    /// The next packet; its times mean nothing.
    pub(super) fn read(&mut self) -> Result<Option<Packet>, String> {
        match self {
            Self::Container(input, _) => Ok(input.read().map_err(|code| code.to_string())?.map(|(_, packet)| packet)),
            Self::Packets(packets) => packets.read().map_err(|error: io::Error| error.to_string()),
        }
    }
}
