//! How the streams of encoders can be kept and divided.

/// Codecs that Matroska keeps exactly as the encoder made them, keyframes and headers included.
const IN_MATROSKA: [&str; 10] =
    ["h264", "hevc", "av1", "vp8", "vp9", "mpeg1video", "mpeg2video", "mpeg4", "theora", "ffv1"];

/// Whether Matroska keeps a codec's stream as it is.
pub(crate) fn is_kept_by_matroska(codec: &str) -> bool {
    IN_MATROSKA.contains(&codec)
}

/// Encoders whose chunks are no stream together, and why.
const WHOLE: [(&str, &str); 1] =
    [("vc2", "numbers its pictures, and a decoder that finds them begin anew passes them over")];

/// Why the stream of an encoder cannot be made in parts; `None` when it can.
pub(crate) fn why_whole(encoder: &str) -> Option<&'static str> {
    WHOLE.iter().find(|(name, _)| *name == encoder).map(|(_, why)| *why)
}
