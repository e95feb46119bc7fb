//! The backend for every video encoder of the linked libav.

use crate::ffi::codec::{Codec, CodecContext};
use crate::ffi::log::LogTail;
use crate::ffi::{AvError, Packet, StreamParameters};
use crate::picture::Picture;

use super::{Encoder, EncoderError, Received, VideoParameters, hdr};

/// An encoder of libav, opened as the ffmpeg program opens it.
#[derive(Debug)]
pub(crate) struct LibavEncoder {
    name: String,
    context: CodecContext,
    stream: StreamParameters,
    log: LogTail,
}

impl LibavEncoder {
    /// Opens the encoder `name`; `options` are libav's, by name.
    pub(crate) fn open(
        name: &str,
        video: &VideoParameters,
        options: &[(String, String)],
    ) -> Result<Self, EncoderError> {
        let codec = Codec::encoder(name)
            .ok_or_else(|| EncoderError::plain(format!("the linked libav has no video encoder {name}")))?;
        let options = hdr::with_metadata(name, options, &video.hdr);
        let log = LogTail::default();
        let context = CodecContext::open(codec, video, &options, &log)?;
        let stream = context.stream(&video.hdr).map_err(|code| EncoderError::plain(code.to_string()))?;
        Ok(Self { name: name.to_owned(), context, stream, log })
    }

    fn failed(&self, code: AvError) -> EncoderError {
        EncoderError { message: code.to_string(), log: self.log.take() }
    }
}

impl Encoder for LibavEncoder {
    fn name(&self) -> &str {
        &self.name
    }

    fn stream(&self) -> Option<&StreamParameters> {
        Some(&self.stream)
    }

    fn send(&mut self, mut picture: Picture) -> Result<(), EncoderError> {
        picture.prepare_for_encoder(self.context.global_quality());
        self.context.send(Some(picture.frame())).map_err(|code| self.failed(code))
    }

    fn drain(&mut self) -> Result<(), EncoderError> {
        self.context.send(None).map_err(|code| self.failed(code))
    }

    fn receive(&mut self) -> Result<Received, EncoderError> {
        let mut packet = Packet::empty().map_err(|code| self.failed(code))?;
        match self.context.receive(&mut packet) {
            Ok(()) => Ok(Received::Packet(packet)),
            Err(AvError::AGAIN) => Ok(Received::NeedsInput),
            Err(AvError::EOF) => Ok(Received::Finished),
            Err(code) => Err(self.failed(code)),
        }
    }
}
