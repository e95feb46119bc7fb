//! What an encoder is handed: the address of every plane, from Python's view of the frame to the encoder's.

use std::path::Path;
use std::sync::Arc;

use super::libav::LibavEncoder;
use super::{Encoder, Received, VideoParameters};
use crate::cancel::CancelToken;
use crate::frames::Frames;
use crate::picture::{Description, Picture, PixelFormat};
use crate::script::{Clip, Script};
use crate::units::{FrameRange, Rational};

/// Every frame tells, as its duration, where VapourSynth keeps its plane number `plane`.
fn clip_that_tells_addresses(format: &str, plane: usize) -> Clip {
    // `make test` sets VSSCRIPT_PATH; a bare `cargo test` finds the repository's .venv from its root.
    std::env::set_current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("..")).unwrap();
    let text = format!(
        "import vapoursynth as vs
clip = vs.core.std.BlankClip(format=vs.{format}, width=320, height=180, length=16)
def tell(n, f):
    out = f.copy()
    out.props['_DurationNum'] = f.get_read_ptr({plane}).value
    out.props['_DurationDen'] = 1
    return out
clip.std.ModifyFrame(clip, tell).set_output()"
    );
    Script::from_text(text).evaluate().unwrap()
}

/// The addresses that the encoder's own frame holds: libav's `wrapped_avframe` encoder puts the frame that it was sent
/// into the packet, unchanged.
fn addresses_at_encoder(encoder: &mut LibavEncoder) -> Vec<[usize; 3]> {
    let mut addresses = Vec::new();
    while let Received::Packet(packet) = encoder.receive().unwrap() {
        // SAFETY: the documented content of this encoder's packets is one AVFrame, valid while the packet lives.
        let frame = unsafe { &*packet.data().as_ptr().cast::<ffmpeg_next::ffi::AVFrame>() };
        addresses.push([frame.data[0] as usize, frame.data[1] as usize, frame.data[2] as usize]);
    }
    addresses
}

fn assert_planes_are_lent(format: &str, plane: usize, libav_plane: usize) {
    let clip = clip_that_tells_addresses(format, plane);
    let info = clip.info().clone();
    let pixel_format = PixelFormat::for_clip(info.format).unwrap();
    let video = VideoParameters {
        width: info.width,
        height: info.height,
        format: pixel_format,
        time_base: Rational::new(1, 24).unwrap(),
        frame_rate: None,
        sample_aspect: None,
        field_order: crate::FieldOrder::Progressive,
        color: crate::picture::Color::default(),
        hdr: crate::HdrMetadata::default(),
        global_header: false,
    };
    let mut encoder = LibavEncoder::open("wrapped_avframe", &video, &[]).unwrap();
    let mut frames = Frames::new(Arc::new(clip), FrameRange { start: 0, end: 16 }, 4);
    let mut seen = 0;
    while let Some(frame) = frames.next(&CancelToken::new()).unwrap() {
        let told = frame.properties.duration.unwrap();
        let about = Description::from_properties(frame.format, &frame.properties);
        let mut picture = Picture::from_frame(&frame, pixel_format, &about).unwrap();
        picture.set_time(seen, 1);
        drop(frame);
        encoder.send(picture).unwrap();
        for addresses in addresses_at_encoder(&mut encoder) {
            assert_eq!(told, Rational::new(addresses[libav_plane] as i64, 1).unwrap(), "{format}, plane {plane}");
            seen += 1;
        }
    }
    assert_eq!(seen, 16);
}

#[test]
fn an_encoder_reads_vapoursynths_own_memory() {
    for (format, planes) in [("YUV420P8", 3), ("YUV422P10", 3), ("YUV444P16", 3), ("GRAY16", 1), ("GRAYS", 1)] {
        for plane in 0..planes {
            assert_planes_are_lent(format, plane, plane);
        }
    }
}

#[test]
fn rgb_planes_change_places_and_not_memory() {
    for format in ["RGB24", "RGB48", "RGBS"] {
        // R, G, B of VapourSynth are G, B, R of libav.
        for (plane, libav_plane) in [(0, 2), (1, 0), (2, 1)] {
            assert_planes_are_lent(format, plane, libav_plane);
        }
    }
}
