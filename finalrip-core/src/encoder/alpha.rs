//! Which encoders and containers keep a picture's alpha.

use super::command::EncodeCommand;
use crate::picture::PixelFormat;

/// Encoders that write alpha as a second stream beside the picture's packets, which only Matroska and WebM carry.
const BESIDE: [&str; 2] = ["libvpx", "libvpx-vp9"];

/// Whether the encoder takes pictures with alpha and makes opaque ones of them.
fn is_opaque(command: &EncodeCommand, encoder: &str) -> bool {
    encoder == "hap" && command.encoder_option("format") != Some("hap_alpha")
}

/// What is wrong with an encode of a clip that has alpha, if anything: `format` is what the encoder is to get, `accepted`
/// what it takes, `container` the finished file's.
pub(crate) fn problem(
    command: &EncodeCommand,
    encoder: &str,
    (format, accepted): (Option<PixelFormat>, &[PixelFormat]),
    container: &str,
) -> Option<String> {
    if is_dropped_on_purpose(command) {
        return None;
    }
    const HOW: &str = "to encode without it, say so with the filter -vf format=yuv420p (or another format without \
                       alpha), or set the output without alpha";
    let names = |formats: &mut dyn Iterator<Item = &PixelFormat>| {
        formats.map(|format| format.name()).collect::<Vec<_>>().join(", ")
    };
    let with_alpha = names(&mut accepted.iter().filter(|format| format.has_alpha()));
    match format {
        Some(format) if !format.has_alpha() => {
            let other =
                if with_alpha.is_empty() { String::new() } else { format!("{encoder} has {with_alpha} with it; ") };
            Some(format!("the clip has an alpha, and the pixel format {} has none; {other}{HOW}", format.name()))
        }
        _ if is_opaque(command, encoder) => {
            Some(format!("the clip has an alpha, which {encoder} encodes only with -format hap_alpha; {HOW}"))
        }
        _ if with_alpha.is_empty() && !accepted.is_empty() => Some(format!(
            "the clip has an alpha, which {encoder} cannot encode; prores_ks, ffv1, qtrle, utvideo, png and libvpx-vp9 \
             can, among others; {HOW}"
        )),
        _ if BESIDE.contains(&encoder) && !matches!(container, "matroska" | "webm") => Some(format!(
            "the container {container} cannot hold the alpha that {encoder} makes; .mkv and .webm can; {HOW}"
        )),
        _ => None,
    }
}

/// The pixel format of a video whose alpha lies beside its packets: nothing in them says so, and the container has to.
pub(crate) fn beside(encoder: &str, pixel_format: &str) -> Option<PixelFormat> {
    PixelFormat::from_name(pixel_format).filter(|format| BESIDE.contains(&encoder) && format.has_alpha())
}

/// Whether the command's filters take the alpha out, or name a pixel format without any.
pub(crate) fn is_dropped_on_purpose(command: &EncodeCommand) -> bool {
    let filters = command.filters().unwrap_or_default();
    filters.split([',', ';', ']']).any(|filter| {
        let (name, arguments) = filter.split_once('=').unwrap_or((filter, ""));
        match name.split('@').next().unwrap_or_default().trim() {
            "alphaextract" | "extractplanes" => true,
            "format" => {
                let names = arguments.trim().trim_start_matches("pix_fmts=");
                let mut formats = names.split(['|', ':', '[']).filter_map(|name| PixelFormat::from_name(name.trim()));
                formats.next().is_some_and(|first| !first.has_alpha() && !formats.any(PixelFormat::has_alpha))
            }
            _ => false,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_filters_that_leave_no_alpha_drop_it_on_purpose() {
        let dropped = |filters: &str| {
            is_dropped_on_purpose(&EncodeCommand::parse(&format!("-c:v libx264 -vf '{filters}'")).unwrap())
        };
        let yes = ["format=yuv420p", "scale=64:48,format=pix_fmts=yuv420p|nv12", "alphaextract", "format@x=gray[a]"];
        let no = ["scale=64:48", "format=yuva420p", "format=yuv420p|yuva420p", "scale=flags=bicubic,setsar=1"];
        assert!(yes.iter().all(|filters| dropped(filters)), "{yes:?}");
        assert!(!no.iter().any(|filters| dropped(filters)), "{no:?}");
    }
}
