//! Turns the FFmpeg version that `ffmpeg-sys-next` found into `cfg(ffmpeg_7_0)`-style flags, so that the few
//! places where libav's API changed between Debian 12 (5.1) and Debian 13 (7.1) can be told apart.

fn main() {
    for (name, flag) in [
        ("DEP_FFMPEG_FFMPEG_6_0", "ffmpeg_6_0"),
        ("DEP_FFMPEG_FFMPEG_6_1", "ffmpeg_6_1"),
        ("DEP_FFMPEG_FFMPEG_7_0", "ffmpeg_7_0"),
        ("DEP_FFMPEG_FFMPEG_7_1", "ffmpeg_7_1"),
        ("DEP_FFMPEG_FFMPEG_8_0", "ffmpeg_8_0"),
    ] {
        println!("cargo:rustc-check-cfg=cfg({flag})");
        if std::env::var(name).as_deref() == Ok("true") {
            println!("cargo:rustc-cfg={flag}");
        }
    }
}
