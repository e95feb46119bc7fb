//! rav1e without type parameters.
//!
//! rav1e's encoder is generic over the sample type, so all of it is compiled in the crate that names one. Naming them here
//! keeps that to one crate, built once and optimised even in test builds, where `finalrip-core` is rebuilt all the time.

use std::sync::Arc;

pub use rav1e::prelude;
use rav1e::prelude::{Config, Context, EncoderStatus, FrameType, InvalidConfig, Pixel};

/// A rav1e encoder; samples of 8 bits are held in bytes, deeper ones in two.
pub struct Encoder(Inner);

enum Inner {
    Shallow(Box<Context<u8>>),
    Deep(Box<Context<u16>>),
}

/// What [`Encoder::receive`] found.
#[derive(Debug)]
pub enum Received {
    /// A temporal unit, and whether it begins with a keyframe.
    Unit(Vec<u8>, bool),
    /// Nothing yet: send the next frame.
    NeedsInput,
    /// Everything has been returned; only after [`Encoder::flush`].
    Finished,
}

impl Encoder {
    /// Sets an encoder up for samples of `depth` bits, the one that `config` names.
    ///
    /// # Errors
    /// rav1e's own reason for refusing the configuration.
    pub fn new(config: &Config, depth: u32) -> Result<Self, InvalidConfig> {
        Ok(Self(if depth == 8 {
            Inner::Shallow(Box::new(config.new_context()?))
        } else {
            Inner::Deep(Box::new(config.new_context()?))
        }))
    }

    /// Copies a frame's planes in (bytes, and the distance between two rows; samples in the machine's byte order).
    ///
    /// # Errors
    /// rav1e's status, when it takes no frame.
    pub fn send(&mut self, planes: &[(&[u8], usize)]) -> Result<(), EncoderStatus> {
        match &mut self.0 {
            Inner::Shallow(context) => send(context, planes, 1),
            Inner::Deep(context) => send(context, planes, 2),
        }
    }

    /// Says that no frame follows.
    pub fn flush(&mut self) {
        match &mut self.0 {
            Inner::Shallow(context) => context.flush(),
            Inner::Deep(context) => context.flush(),
        }
    }

    /// Encodes until there is something to return; this is where the time goes.
    ///
    /// # Errors
    /// rav1e's status, when it fails.
    pub fn receive(&mut self) -> Result<Received, EncoderStatus> {
        match &mut self.0 {
            Inner::Shallow(context) => receive(context),
            Inner::Deep(context) => receive(context),
        }
    }
}

fn send<T: Pixel>(
    context: &mut Context<T>,
    planes: &[(&[u8], usize)],
    bytes_per_sample: usize,
) -> Result<(), EncoderStatus> {
    let mut frame = context.new_frame();
    // A gray picture has one plane; rav1e's other two are not read then.
    for (plane, (data, stride)) in frame.planes.iter_mut().zip(planes) {
        plane.copy_from_raw_u8(data, *stride, bytes_per_sample);
    }
    context.send_frame(Arc::new(frame))
}

fn receive<T: Pixel>(context: &mut Context<T>) -> Result<Received, EncoderStatus> {
    loop {
        match context.receive_packet() {
            Ok(packet) => return Ok(Received::Unit(packet.data, packet.frame_type == FrameType::KEY)),
            // A frame was encoded that is not shown yet.
            Err(EncoderStatus::Encoded) => {}
            Err(EncoderStatus::NeedMoreData) => return Ok(Received::NeedsInput),
            Err(EncoderStatus::LimitReached) => return Ok(Received::Finished),
            Err(status) => return Err(status),
        }
    }
}
