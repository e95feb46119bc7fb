//! What the linked libav knows by name: encoders, their options, containers, pixel formats; and whether it would
//! take a value. Everything is copied into owned types, nothing is kept open.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::ptr;

use ffmpeg_next::ffi as av;

use crate::units::Rational;

/// Options that an encoder of video reads.
const VIDEO_ENCODING: c_int = av::AV_OPT_FLAG_ENCODING_PARAM | av::AV_OPT_FLAG_VIDEO_PARAM;
/// Options that an encoder of sound reads.
const AUDIO_ENCODING: c_int = av::AV_OPT_FLAG_ENCODING_PARAM | av::AV_OPT_FLAG_AUDIO_PARAM;
/// Options that a muxer reads.
const MUXING: c_int = av::AV_OPT_FLAG_ENCODING_PARAM;
/// The bit that marks an option as an array, from FFmpeg 7.0 on.
const ARRAY: u32 = 1 << 16;
/// A list of named values longer than this helps nobody in a message.
const MOST_NAMED_VALUES: usize = 24;

/// An option of libav's, as far as a command needs to know it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct OptionInfo {
    /// Whether its value is a set of flags, to which `+flag` and `-flag` add.
    pub(crate) is_flags: bool,
    /// Whether its value may reach libav's expression evaluator, rather than being taken as text.
    pub(crate) is_evaluated: bool,
    /// The values it takes, for a message: named values, or the range.
    pub(crate) allowed: String,
}

/// Whether libav would take a value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum ValueCheck {
    /// It was taken.
    Good,
    /// It was refused.
    Refused,
    /// There is nothing to try it on.
    Unknown,
}

/// What an encoder encodes, beside video.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MediaKind {
    Audio,
    Subtitle,
}

impl MediaKind {
    fn raw(self) -> av::AVMediaType {
        match self {
            Self::Audio => av::AVMediaType::AVMEDIA_TYPE_AUDIO,
            Self::Subtitle => av::AVMediaType::AVMEDIA_TYPE_SUBTITLE,
        }
    }
}

/// The encoder of this name, or the default one of the codec of this name, as libav's own name for it.
pub(crate) fn resolve_encoder(name: &str, kind: MediaKind) -> Option<String> {
    let found = encoder(name).or_else(|| {
        let name = CString::new(name).ok()?;
        // SAFETY: the name ends in NUL; the descriptor is null or static.
        let descriptor = unsafe { av::avcodec_descriptor_get_by_name(name.as_ptr()).as_ref() }?;
        // SAFETY: a plain look-up; null or static.
        unsafe { av::avcodec_find_encoder(descriptor.id).as_ref() }
    })?;
    (found.type_ == kind.raw()).then(|| text(found.name)).flatten()
}

/// The names of all encoders of a kind.
pub(crate) fn all_encoders(kind: MediaKind) -> Vec<String> {
    encoders_where(|codec| codec.type_ == kind.raw())
}

/// Whether an encoder of subtitles makes text.
pub(crate) fn encodes_text(name: &str) -> bool {
    encoder(name).is_some_and(|codec| {
        // SAFETY: returns null or a static description.
        let descriptor = unsafe { av::avcodec_descriptor_get(codec.id).as_ref() };
        descriptor.is_some_and(|descriptor| descriptor.props & av::AV_CODEC_PROP_TEXT_SUB as c_int != 0)
    })
}

/// The option of this name that reaches an encoder of sound; without a name, one that all of them share.
pub(crate) fn find_audio_option(encoder_name: Option<&str>, name: &str) -> Option<OptionInfo> {
    let private = encoder_name.and_then(encoder).map_or(ptr::null(), |codec| codec.priv_class);
    find(private, name, AUDIO_ENCODING, 0).or_else(|| find(codec_class(), name, AUDIO_ENCODING, 0))
}

/// The names of all options that reach an encoder of sound.
pub(crate) fn all_audio_option_names(encoder_name: &str) -> Vec<String> {
    let private = encoder(encoder_name).map_or(ptr::null(), |codec| codec.priv_class);
    let mut names = option_names(private, AUDIO_ENCODING);
    names.extend(option_names(codec_class(), AUDIO_ENCODING));
    names
}

/// The video encoder of this name, or the default one of the codec of this name, as libav's own name for it.
pub(crate) fn resolve_video_encoder(name: &str) -> Option<String> {
    let name = CString::new(name).ok()?;
    // SAFETY: the name ends in NUL; libav returns null or a codec that lives as long as the process.
    let codec = unsafe { av::avcodec_find_encoder_by_name(name.as_ptr()).as_ref() }.or_else(|| {
        // SAFETY: as above; the descriptor is null or static.
        let descriptor = unsafe { av::avcodec_descriptor_get_by_name(name.as_ptr()).as_ref() }?;
        // SAFETY: a plain look-up; null or static.
        unsafe { av::avcodec_find_encoder(descriptor.id).as_ref() }
    })?;
    is_video(codec).then(|| text(codec.name)).flatten()
}

/// Whether libav has an encoder of this name that is not for video.
pub(crate) fn is_other_encoder(name: &str) -> bool {
    encoder(name).is_some_and(|codec| !is_video(codec))
}

/// The names of all video encoders of the linked libav.
pub(crate) fn all_video_encoders() -> Vec<String> {
    encoders_where(is_video)
}

fn encoders_where(wanted: impl Fn(&av::AVCodec) -> bool) -> Vec<String> {
    let mut cursor: *mut c_void = ptr::null_mut();
    let mut names = Vec::new();
    // SAFETY: the cursor is libav's own, started at null; each codec is static.
    while let Some(codec) = unsafe { av::av_codec_iterate(&raw mut cursor).as_ref() } {
        // SAFETY: the codec is valid.
        if wanted(codec) && unsafe { av::av_codec_is_encoder(codec) } != 0 {
            names.extend(text(codec.name));
        }
    }
    names
}

/// The option of this name that reaches `encoder`: its own, or one of all encoders.
pub(crate) fn find_encoder_option(encoder_name: &str, name: &str) -> Option<OptionInfo> {
    let private = encoder(encoder_name).map_or(ptr::null(), |codec| codec.priv_class);
    find(private, name, VIDEO_ENCODING, 0).or_else(|| find_generic_option(name))
}

/// The option of this name that all video encoders share.
pub(crate) fn find_generic_option(name: &str) -> Option<OptionInfo> {
    find(codec_class(), name, VIDEO_ENCODING, 0)
}

/// The option of this name in any video encoder.
pub(crate) fn find_any_encoder_option(name: &str) -> Option<OptionInfo> {
    find(codec_class(), name, VIDEO_ENCODING, av::AV_OPT_SEARCH_CHILDREN)
}

/// Whether anything that codes or decodes, video or not, has an option of this name.
pub(crate) fn any_codec_option_exists(name: &str) -> bool {
    find(codec_class(), name, 0, av::AV_OPT_SEARCH_CHILDREN).is_some()
}

/// The names of all options that reach `encoder`; without one, of those that all video encoders share.
pub(crate) fn all_encoder_option_names(encoder_name: Option<&str>) -> Vec<String> {
    let private = encoder_name.and_then(encoder).map_or(ptr::null(), |codec| codec.priv_class);
    let mut names = option_names(private, VIDEO_ENCODING);
    names.extend(option_names(codec_class(), VIDEO_ENCODING));
    names
}

/// The option of this name that all muxers share, or that some muxer has.
pub(crate) fn find_muxer_option(name: &str) -> Option<OptionInfo> {
    find_generic_muxer_option(name)
        .or_else(|| muxer_with_option(name).and_then(|m| find(m.priv_class, name, MUXING, 0)))
}

/// The option of this name that all muxers share.
pub(crate) fn find_generic_muxer_option(name: &str) -> Option<OptionInfo> {
    // SAFETY: takes nothing, returns a static class.
    find(unsafe { av::avformat_get_class() }, name, MUXING, 0)
}

/// The names of the options that all muxers share.
pub(crate) fn all_muxer_option_names() -> Vec<String> {
    // SAFETY: takes nothing, returns a static class.
    option_names(unsafe { av::avformat_get_class() }, MUXING)
}

/// The option of this name of the software scaler.
pub(crate) fn find_scaler_option(name: &str) -> Option<OptionInfo> {
    // SAFETY: takes nothing, returns a static class.
    find(unsafe { av::sws_get_class() }, name, 0, 0)
}

/// Whether a container format of this name can be written.
pub(crate) fn muxer_exists(name: &str) -> bool {
    // SAFETY: the name ends in NUL; null stands for "not given"; the result is null or static.
    CString::new(name)
        .is_ok_and(|name| unsafe { !av::av_guess_format(name.as_ptr(), ptr::null(), ptr::null()).is_null() })
}

/// The names of all container formats that can be written; aliases count one by one.
pub(crate) fn all_muxers() -> Vec<String> {
    let mut names = Vec::new();
    each_muxer(|muxer| {
        names.extend(text(muxer.name).iter().flat_map(|name| name.split(',')).map(str::to_owned));
        false
    });
    names
}

/// Whether libav knows a pixel format of this name.
pub(crate) fn pixel_format_exists(name: &str) -> bool {
    // SAFETY: the name ends in NUL.
    CString::new(name)
        .is_ok_and(|name| unsafe { av::av_get_pix_fmt(name.as_ptr()) } != av::AVPixelFormat::AV_PIX_FMT_NONE)
}

/// The names of all pixel formats.
pub(crate) fn all_pixel_formats() -> Vec<String> {
    let mut names = Vec::new();
    let mut descriptor = ptr::null();
    loop {
        // SAFETY: null starts the walk; every other value came from the call before and is static.
        descriptor = unsafe { av::av_pix_fmt_desc_next(descriptor) };
        // SAFETY: null or static.
        match unsafe { descriptor.as_ref() } {
            Some(found) => names.extend(text(found.name)),
            None => return names,
        }
    }
}

/// A picture size such as `1280x720` or `hd720`.
pub(crate) fn parse_size(value: &str) -> Option<(u32, u32)> {
    let value = CString::new(value).ok()?;
    let (mut width, mut height) = (0, 0);
    // SAFETY: both integers outlive the call; the text ends in NUL.
    let code = unsafe { av::av_parse_video_size(&raw mut width, &raw mut height, value.as_ptr()) };
    let size = (u32::try_from(width).ok()?, u32::try_from(height).ok()?);
    (code >= 0 && size.0 > 0 && size.1 > 0).then_some(size)
}

/// A frame rate such as `24000/1001`, `23.976` or `ntsc`, exactly as libav reads it.
pub(crate) fn parse_rate(value: &str) -> Option<Rational> {
    let value = evaluable(value)?;
    let mut rate = av::AVRational { num: 0, den: 0 };
    // SAFETY: the rational outlives the call; the text ends in NUL.
    let code = unsafe { av::av_parse_video_rate(&raw mut rate, value.as_ptr()) };
    (code >= 0).then(|| positive(rate)).flatten()
}

/// An aspect ratio such as `16:9` or `1.7777`, exactly as the ffmpeg program reads it.
pub(crate) fn parse_aspect(value: &str) -> Option<Rational> {
    let value = evaluable(value)?;
    let mut ratio = av::AVRational { num: 0, den: 0 };
    // SAFETY: the rational outlives the call; the text ends in NUL; no log context is given.
    let code = unsafe { av::av_parse_ratio(&raw mut ratio, value.as_ptr(), 255, 0, ptr::null_mut()) };
    (code >= 0).then(|| positive(ratio)).flatten()
}

/// Tries `value` on an encoder that is not opened; without a name, on what all encoders share.
pub(crate) fn check_encoder_option(encoder_name: Option<&str>, name: &str, value: &str) -> ValueCheck {
    with_codec_context(encoder_name, |context| set(context, name, value)).unwrap_or(ValueCheck::Unknown)
}

/// The number that libav makes of a value of an option that all encoders share: `bt709` is 1, `4M` is 4000000.
pub(crate) fn generic_option_number(name: &str, value: &str) -> Option<i64> {
    let c_name = CString::new(name).ok()?;
    with_codec_context(None, |context| {
        let mut number = 0;
        if set(context, name, value) != ValueCheck::Good {
            return None;
        }
        // SAFETY: the context begins with its class, the name ends in NUL, the number outlives the call.
        let code = unsafe { av::av_opt_get_int(context, c_name.as_ptr(), 0, &raw mut number) };
        (code >= 0).then_some(number)
    })
    .flatten()
}

/// Tries `value` on the muxer that has the option.
pub(crate) fn check_muxer_option(name: &str, value: &str) -> ValueCheck {
    let Some(muxer) = muxer_with_option(name).or_else(any_muxer) else { return ValueCheck::Unknown };
    let mut context = ptr::null_mut();
    // SAFETY: the muxer is static; no file is opened; on failure the context stays null.
    let code = unsafe { av::avformat_alloc_output_context2(&raw mut context, muxer, ptr::null(), ptr::null()) };
    if code < 0 || context.is_null() {
        return ValueCheck::Unknown;
    }
    let check = set(context.cast(), name, value);
    // SAFETY: allocated above, owned by nobody else, not used again.
    unsafe { av::avformat_free_context(context) };
    check
}

/// Tries `value` on a software scaler.
pub(crate) fn check_scaler_option(name: &str, value: &str) -> ValueCheck {
    // SAFETY: takes nothing; null when memory is short.
    let context = unsafe { av::sws_alloc_context() };
    if context.is_null() {
        return ValueCheck::Unknown;
    }
    let check = set(context.cast(), name, value);
    // SAFETY: allocated above, owned by nobody else, not used again.
    unsafe { av::sws_freeContext(context) };
    check
}

fn encoder(name: &str) -> Option<&'static av::AVCodec> {
    let name = CString::new(name).ok()?;
    // SAFETY: the name ends in NUL; libav returns null or a codec that lives as long as the process.
    unsafe { av::avcodec_find_encoder_by_name(name.as_ptr()).as_ref() }
}

fn is_video(codec: &av::AVCodec) -> bool {
    codec.type_ == av::AVMediaType::AVMEDIA_TYPE_VIDEO
}

fn codec_class() -> *const av::AVClass {
    // SAFETY: takes nothing, returns a static class.
    unsafe { av::avcodec_get_class() }
}

/// Calls `visit` with each muxer until it returns true.
fn each_muxer(mut visit: impl FnMut(&'static av::AVOutputFormat) -> bool) {
    let mut cursor: *mut c_void = ptr::null_mut();
    // SAFETY: the cursor is libav's own, started at null; each muxer is static.
    while let Some(muxer) = unsafe { av::av_muxer_iterate(&raw mut cursor).as_ref() } {
        if visit(muxer) {
            return;
        }
    }
}

fn muxer_with_option(name: &str) -> Option<&'static av::AVOutputFormat> {
    let mut found = None;
    each_muxer(|muxer| {
        found = find(muxer.priv_class, name, MUXING, 0).map(|_| muxer);
        found.is_some()
    });
    found
}

fn any_muxer() -> Option<&'static av::AVOutputFormat> {
    let mut found = None;
    each_muxer(|muxer| {
        found = Some(muxer);
        true
    });
    found
}

/// Runs `work` on a codec context that is freed afterwards; `None` when there is no such encoder or no memory.
fn with_codec_context<T>(encoder_name: Option<&str>, work: impl FnOnce(*mut c_void) -> T) -> Option<T> {
    let codec = match encoder_name {
        Some(name) => ptr::from_ref(encoder(name)?),
        None => ptr::null(),
    };
    // SAFETY: null or a static codec; libav allocates the context and its private options, and opens nothing.
    let mut context = unsafe { av::avcodec_alloc_context3(codec) };
    if context.is_null() {
        return None;
    }
    let result = work(context.cast());
    // SAFETY: allocated above, owned by nobody else, not used again; `work` got no right to keep it.
    unsafe { av::avcodec_free_context(&raw mut context) };
    Some(result)
}

/// Sets an option on a live libav object that begins with its class.
fn set(object: *mut c_void, name: &str, value: &str) -> ValueCheck {
    let (Ok(name), Ok(value)) = (CString::new(name), CString::new(value)) else { return ValueCheck::Refused };
    // SAFETY: the callers pass a context of theirs that begins with its class and outlives the call; the texts end
    // in NUL and are copied.
    let code = unsafe { av::av_opt_set(object, name.as_ptr(), value.as_ptr(), av::AV_OPT_SEARCH_CHILDREN) };
    if code >= 0 { ValueCheck::Good } else { ValueCheck::Refused }
}

/// Looks an option up in a class (null has none) without an object of it.
fn find(class: *const av::AVClass, name: &str, flags: c_int, search: c_int) -> Option<OptionInfo> {
    let name = CString::new(name).ok().filter(|_| !class.is_null())?;
    let search = search | av::AV_OPT_SEARCH_FAKE_OBJ;
    // SAFETY: with FAKE_OBJ libav reads only the class through the pointer to it; the class is static, the name ends
    // in NUL; the result is null or static.
    let option = unsafe { av::av_opt_find(fake_object(&class), name.as_ptr(), ptr::null(), flags, search).as_ref() }?;
    Some(describe(class, option))
}

/// libav takes "a pointer to a struct whose first member is a pointer to its class"; a pointer to a class pointer is
/// the smallest of those.
fn fake_object(class: &*const av::AVClass) -> *mut c_void {
    ptr::from_ref(class).cast_mut().cast()
}

fn option_names(class: *const av::AVClass, flags: c_int) -> Vec<String> {
    own_options(class)
        .into_iter()
        .filter(|option| kind(option) != av::AVOptionType::AV_OPT_TYPE_CONST as u32 && option.flags & flags == flags)
        .filter_map(|option| text(option.name))
        .collect()
}

/// The options and named values of a class itself, without its children; none for null.
fn own_options(class: *const av::AVClass) -> Vec<&'static av::AVOption> {
    let mut options = Vec::new();
    if class.is_null() {
        return options;
    }
    let mut previous: *const av::AVOption = ptr::null();
    // SAFETY: libav reads only the class pointer from the object; null starts the walk, every other value came from
    // the call before; options are static.
    while let Some(option) = unsafe { av::av_opt_next(fake_object(&class), previous).as_ref() } {
        options.push(option);
        previous = option;
    }
    options
}

/// The option's type as a number, or the type of its elements: an array option of a newer libav has a type that the
/// Rust enum cannot hold.
fn kind(option: &av::AVOption) -> u32 {
    // SAFETY: the field is a four-byte C enum inside a valid option; it is read without making it a Rust enum.
    let kind = unsafe { (&raw const option.type_).cast::<u32>().read() };
    kind & !ARRAY
}

fn describe(class: *const av::AVClass, option: &av::AVOption) -> OptionInfo {
    use av::AVOptionType as Type;
    let is = |types: &[Type]| types.iter().any(|&t| t as u32 == kind(option));
    let whole =
        is(&[Type::AV_OPT_TYPE_FLAGS, Type::AV_OPT_TYPE_INT, Type::AV_OPT_TYPE_INT64, Type::AV_OPT_TYPE_UINT64]);
    let real = is(&[Type::AV_OPT_TYPE_DOUBLE, Type::AV_OPT_TYPE_FLOAT, Type::AV_OPT_TYPE_RATIONAL]);
    let named = named_values(class, option.unit);
    let allowed = if is(&[Type::AV_OPT_TYPE_BOOL]) {
        "0 or 1 (also true, false, auto)".to_owned()
    } else if is(&[Type::AV_OPT_TYPE_DICT]) {
        "key=value pairs with `:` between them".to_owned()
    } else if !named.is_empty() {
        list(&named)
    } else if whole || real {
        range(option.min, option.max, whole)
    } else {
        "see the encoder's documentation".to_owned()
    };
    let is_text = is(&[
        Type::AV_OPT_TYPE_STRING,
        Type::AV_OPT_TYPE_DICT,
        Type::AV_OPT_TYPE_BINARY,
        Type::AV_OPT_TYPE_COLOR,
        Type::AV_OPT_TYPE_CHLAYOUT,
    ]);
    OptionInfo { is_flags: is(&[Type::AV_OPT_TYPE_FLAGS]), is_evaluated: !is_text, allowed }
}

fn named_values(class: *const av::AVClass, unit: *const c_char) -> Vec<String> {
    let Some(unit) = text(unit) else { return Vec::new() };
    own_options(class)
        .into_iter()
        .filter(|o| kind(o) == av::AVOptionType::AV_OPT_TYPE_CONST as u32 && text(o.unit).as_ref() == Some(&unit))
        .filter_map(|option| text(option.name))
        .collect()
}

fn list(names: &[String]) -> String {
    let shown = names.iter().take(MOST_NAMED_VALUES).map(String::as_str).collect::<Vec<_>>().join(", ");
    if names.len() > MOST_NAMED_VALUES { format!("one of {shown}, …") } else { format!("one of {shown}") }
}

fn range(min: f64, max: f64, whole: bool) -> String {
    let kind = if whole { "a whole number" } else { "a number" };
    // libav writes "no bound" as the largest number of the option's C type.
    let open = |bound: f64| bound.abs() >= f64::from(i32::MAX);
    match (open(min), open(max)) {
        (true, true) => kind.to_owned(),
        (false, true) => format!("{kind} from {min}"),
        (true, false) => format!("{kind} up to {max}"),
        (false, false) => format!("{kind} from {min} to {max}"),
    }
}

/// The value as C text, unless it calls a function: libav's evaluator has loops, and a command must not hang us.
fn evaluable(value: &str) -> Option<CString> {
    CString::new(value).ok().filter(|_| !value.contains('('))
}

fn positive(value: av::AVRational) -> Option<Rational> {
    Rational::new(value.num.into(), value.den.into()).filter(|ratio| ratio.is_positive())
}

fn text(pointer: *const c_char) -> Option<String> {
    if pointer.is_null() {
        return None;
    }
    // SAFETY: not null, and each caller passes a name or unit from a static table of libav's, which ends in NUL.
    Some(unsafe { CStr::from_ptr(pointer) }.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encoders_are_found_by_their_name_and_by_their_codec() {
        assert_eq!(resolve_video_encoder("ffv1").as_deref(), Some("ffv1"));
        assert_eq!(resolve_video_encoder("hevc").as_deref(), resolve_video_encoder("libx265").as_deref());
        assert_eq!(resolve_video_encoder("aac"), None);
        assert!(is_other_encoder("aac"));
        assert_eq!(resolve_video_encoder("no\0pe"), None);
        assert!(all_video_encoders().iter().any(|name| name == "ffv1"));
    }

    #[test]
    fn options_belong_to_their_encoder() {
        assert!(find_encoder_option("libx264", "crf").is_some());
        assert!(find_encoder_option("ffv1", "crf").is_none());
        assert!(find_encoder_option("ffv1", "g").is_some());
        assert!(find_generic_option("flags").is_some_and(|option| option.is_flags));
        assert!(find_any_encoder_option("crf").is_some());
        assert!(all_encoder_option_names(Some("libx264")).iter().any(|name| name == "x264-params"));
    }

    #[test]
    fn values_are_tried_without_opening_anything() {
        assert_eq!(check_encoder_option(Some("ffv1"), "b", "4M"), ValueCheck::Good);
        assert_eq!(check_encoder_option(Some("ffv1"), "b", "much"), ValueCheck::Refused);
        assert_eq!(check_encoder_option(Some("nope"), "b", "4M"), ValueCheck::Unknown);
        assert_eq!(check_muxer_option("movflags", "+faststart"), ValueCheck::Good);
        assert_eq!(check_muxer_option("movflags", "+slowstart"), ValueCheck::Refused);
        assert_eq!(check_muxer_option("max_delay", "700000"), ValueCheck::Good);
        assert_eq!(check_scaler_option("sws_flags", "lanczos+accurate_rnd"), ValueCheck::Good);
        assert_eq!(check_scaler_option("sws_flags", "sharpest"), ValueCheck::Refused);
        assert_eq!(generic_option_number("b", "4M"), Some(4_000_000));
        assert_eq!(generic_option_number("color_primaries", "bt2020"), Some(9));
    }

    #[test]
    fn sizes_rates_and_ratios_are_read_as_the_ffmpeg_program_does() {
        assert_eq!(parse_size("hd720"), Some((1280, 720)));
        assert_eq!(parse_size("12x"), None);
        assert_eq!(parse_rate("24000/1001"), Rational::new(24000, 1001));
        assert_eq!(parse_rate("ntsc"), Rational::new(30000, 1001));
        assert_eq!(parse_rate("while(1,1)"), None);
        assert_eq!(parse_aspect("16:9"), Rational::new(16, 9));
        assert_eq!(parse_aspect("0:9"), None);
    }
}
