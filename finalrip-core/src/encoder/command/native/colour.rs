//! The names that encoders have for colour descriptions, turned into libav's.

/// libav's value of its option `option` for what an encoder's command line calls `value`; numbers and names that are
/// the same everywhere stay as they are.
pub(super) fn libav_value(option: &str, value: &str) -> String {
    let name: String = value.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
    let same = match (option, name.as_str()) {
        ("color_range", "limited" | "studio" | "tv" | "0") => "tv",
        ("color_range", "full" | "pc" | "1") => "pc",
        (_, "undef" | "unknown" | "unspecified" | "auto") => "unknown",
        ("color_primaries" | "colorspace", "bt601") | ("color_trc", "bt601") => "smpte170m",
        (_, "smpte240") => "smpte240m",
        ("color_primaries", "genericfilm") => "film",
        ("color_primaries", "xyz") => "smpte428",
        ("color_primaries", "ebu3213") => "jedec-p22",
        ("color_trc", "bt470m") => "gamma22",
        ("color_trc", "bt470bg") => "gamma28",
        ("color_trc", "log100sqrt10") => "log316",
        ("color_trc", "iec61966") => "iec61966-2-4",
        ("color_trc", "bt1361") => "bt1361e",
        ("color_trc", "srgb") => "iec61966-2-1",
        ("color_trc", "bt202010bit") => "bt2020-10",
        ("color_trc", "bt202012bit") => "bt2020-12",
        ("color_trc", "hlg") => "arib-std-b67",
        ("colorspace", "gbr" | "identity") => "rgb",
        ("colorspace", "bt2020ncl") => "bt2020nc",
        ("colorspace", "bt2020cl") => "bt2020c",
        ("colorspace", "chromatncl" | "chromancl") => "chroma-derived-nc",
        ("colorspace", "chromatcl" | "chromacl") => "chroma-derived-c",
        ("chroma_sample_location", "vertical") => "left",
        ("chroma_sample_location", "colocated") => "topleft",
        _ => return value.to_ascii_lowercase(),
    };
    same.to_owned()
}
