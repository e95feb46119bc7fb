//! Bitstream filters (`-bsf:v`) between the encoder and the container.

use std::ptr::{self, NonNull};

use ffmpeg_next::ffi as av;

use super::frame::{av_rational, rational_from};
use super::{AvError, Packet, StreamParameters, c_string};
use crate::units::Rational;

/// A chain of bitstream filters.
#[derive(Debug)]
pub(crate) struct BitstreamFilter(NonNull<av::AVBSFContext>);

// SAFETY: a filter context may be used from any one thread at a time.
unsafe impl Send for BitstreamFilter {}

impl BitstreamFilter {
    /// Opens a chain in ffmpeg's syntax, such as `hevc_metadata=level=5.1,...`, for a stream's packets.
    pub(crate) fn open(chain: &str, stream: &StreamParameters, time_base: Rational) -> Result<Self, AvError> {
        let chain = c_string(chain);
        let mut raw = ptr::null_mut();
        // SAFETY: a terminated string; on success the context is ours.
        AvError::check(unsafe { av::av_bsf_list_parse_str(chain.as_ptr(), &raw mut raw) })?;
        let this = Self(NonNull::new(raw).ok_or(AvError::NO_MEMORY)?);
        // SAFETY: an uninitialised context that owns `par_in`; the parameters are copied into it.
        unsafe {
            AvError::check(av::avcodec_parameters_copy((*raw).par_in, stream.as_ptr()))?;
            (*raw).time_base_in = av_rational(time_base);
            AvError::check(av::av_bsf_init(raw))?;
        }
        Ok(this)
    }

    /// The stream as it leaves the chain; side data is the encoder's.
    pub(crate) fn stream(&self, before: &StreamParameters) -> Result<StreamParameters, AvError> {
        // SAFETY: an initialised context; its output parameters live as long as it.
        let mut stream = unsafe { StreamParameters::copy_of((*self.0.as_ptr()).par_out) }?;
        stream.side_data.clone_from(&before.side_data);
        Ok(stream)
    }

    /// Seconds per tick of the packets that come out, where the chain says it.
    pub(crate) fn time_base(&self) -> Option<Rational> {
        // SAFETY: an initialised context.
        rational_from(unsafe { (*self.0.as_ptr()).time_base_out })
    }

    /// Puts a packet in, or with `None` the end.
    pub(crate) fn push(&mut self, packet: Option<&Packet>) -> Result<(), AvError> {
        let packet = packet.map_or(ptr::null_mut(), Packet::as_ptr);
        // SAFETY: an initialised context; the packet's reference is moved out, null means the end.
        AvError::check(unsafe { av::av_bsf_send_packet(self.0.as_ptr(), packet) }).map(drop)
    }

    /// The next packet that came out, if any.
    pub(crate) fn pull(&mut self) -> Result<Option<Packet>, AvError> {
        let packet = Packet::empty()?;
        // SAFETY: an initialised context and an empty packet that we own.
        match AvError::check(unsafe { av::av_bsf_receive_packet(self.0.as_ptr(), packet.as_ptr()) }) {
            Ok(_) => Ok(Some(packet)),
            Err(AvError::AGAIN | AvError::EOF) => Ok(None),
            Err(code) => Err(code),
        }
    }
}

impl Drop for BitstreamFilter {
    fn drop(&mut self) {
        let mut raw = self.0.as_ptr();
        // SAFETY: owned here alone.
        unsafe { av::av_bsf_free(&raw mut raw) };
    }
}
