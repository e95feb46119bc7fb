//! How the streams of encoders can be kept and divided.

/// Codecs that Matroska keeps exactly as the encoder made them, keyframes and headers included. It loses empty packets, which
/// Theora makes of pictures that are repeated.
const IN_MATROSKA: [&str; 9] = ["h264", "hevc", "av1", "vp8", "vp9", "mpeg1video", "mpeg2video", "mpeg4", "ffv1"];

/// Whether Matroska keeps a codec's stream as it is.
pub(crate) fn is_kept_by_matroska(codec: &str) -> bool {
    IN_MATROSKA.contains(&codec)
}

/// Whether an encoder makes empty packets of pictures that are repeated, which Matroska loses.
pub(crate) fn makes_empty_packets(encoder: &str) -> bool {
    encoder == "libtheora"
}

/// Encoders whose chunks are no stream together, and why.
const WHOLE: [(&str, &str); 1] =
    [("vc2", "numbers its pictures, and a decoder that finds them begin anew passes them over")];

/// Why the stream of an encoder cannot be made in parts; `None` when it can.
pub(crate) fn why_whole(encoder: &str) -> Option<&'static str> {
    WHOLE.iter().find(|(name, _)| *name == encoder).map(|(_, why)| *why)
}
