//! FinalRip evaluates a VapourSynth script in its own process and hands the frames straight to libav and rav1e
//! encoders: no `vspipe | ffmpeg` pipe, no y4m, no copy of a plane that need not be copied.
//!
//! # A frame's journey
//!
//! [`Script`] evaluates a script and hands out its [`Clip`]. [`Frames`] requests the clip's frames ahead, in bounded
//! number, and delivers them in order. A [`Picture`] points at a frame's planes and carries its colour, HDR, aspect and
//! field order; where the encoder lacks the format, or the command asks for filters, one libavfilter graph converts it.
//! An [`Encoder`] turns pictures into packets, and a muxer writes them into a file that takes its name when it is
//! complete.
//!
//! ```no_run
//! use finalrip_core::{EncodeCommand, Options, Script};
//!
//! # fn main() -> finalrip_core::Result<()> {
//! let script = Script::from_path("denoise.vpy").source("in.mkv").arg("strength", "3");
//! let command = EncodeCommand::parse("ffmpeg -i - -vcodec libx265 -preset slow -crf 16")?;
//! let report = finalrip_core::encode(&script, &command, "out.mkv", &Options::default(), |progress| {
//!     println!("{} of {} frames", progress.frames, progress.frames_total);
//! })?;
//! println!("{} bytes at {:.1} fps", report.bytes, report.fps);
//! # Ok(())
//! # }
//! ```
//!
//! Messages of libav, VapourSynth and this crate go to [`tracing`], with the targets `libav`, `vapoursynth` and
//! `finalrip_core`. x265 and SVT-AV1 print banners of their own to standard error, as they do under ffmpeg.

mod alpha;
mod bitstream;
mod cancel;
mod container;
mod convert;
mod encode;
pub mod encoder;
mod error;
mod ffi;
mod frames;
mod locks;
mod picture;
mod report;
mod rip;
mod script;
#[cfg(feature = "tasks")]
pub mod store;
mod supervise;
#[cfg(feature = "tasks")]
pub mod task;
mod timing;
mod units;

pub use alpha::WithAlpha;
pub use cancel::CancelToken;
pub use container::{MergeOptions, Output, StreamAction, StreamKind, StreamReport, take_stdout};
pub use encode::{Options, encode, encode_source};
pub use encoder::Encoder;
pub use encoder::command::{CommandError, EncodeCommand};
pub use error::{Error, Result};
pub use ffi::frame::{Plane, Planes};
pub use ffi::{Packet, StreamParameters};
pub use frames::{
    ClipInfo, ColorFamily, ContentLight, Deliver, FieldOrder, Frame, FrameProperties, FrameSource, Frames, HdrMetadata,
    MasteringDisplay, SampleType, VideoFormat,
};
pub use picture::{Picture, PixelFormat};
pub use report::{Progress, Report};
pub use rip::event::{LengthDiffers, RipEvent, RipProgress, RipReport, WorkerProgress};
pub use rip::plan::{Chunk, ChunkLength, Plan};
pub use rip::stages::{EncodedChunk, MergeStep, Staged, StagedPlan, Stages};
pub use rip::{Environments, Rip, RipOptions};
pub use script::{Clip, SOURCE_VARIABLE, Script};
pub use timing::Timing;
pub use units::{FrameRange, Rational};

/// The README's examples compile too.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
