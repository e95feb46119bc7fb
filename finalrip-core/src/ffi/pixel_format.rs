//! Pixel formats of libav, by name.

use std::ffi::c_int;

use ffmpeg_next::ffi as av;

use super::{c_string, text_from};

/// A pixel format of libav, such as `yuv420p10le`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PixelFormat(av::AVPixelFormat);

impl PixelFormat {
    /// Looks a format up by libav's name for it; an endianness suffix may be left out.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        let name = c_string(name);
        // SAFETY: a terminated string; returns a value of the enum.
        let format = unsafe { av::av_get_pix_fmt(name.as_ptr()) };
        (format != av::AVPixelFormat::AV_PIX_FMT_NONE).then_some(Self(format))
    }

    pub(crate) fn from_raw(format: av::AVPixelFormat) -> Self {
        Self(format)
    }

    /// The format of a frame's `format` field.
    pub(crate) fn from_index(index: c_int) -> Self {
        // SAFETY: an int-sized C enum; libav fills the field with its own values only, and -1 is one of them.
        Self(unsafe { std::mem::transmute::<c_int, av::AVPixelFormat>(index) })
    }

    pub(crate) fn raw(self) -> av::AVPixelFormat {
        self.0
    }

    /// libav's name.
    #[must_use]
    pub fn name(self) -> String {
        // SAFETY: returns null or a static string.
        unsafe { text_from(av::av_get_pix_fmt_name(self.0)) }.unwrap_or_default()
    }

    fn descriptor(self) -> Option<&'static av::AVPixFmtDescriptor> {
        // SAFETY: returns null or a static description.
        unsafe { av::av_pix_fmt_desc_get(self.0).as_ref() }
    }

    /// Bits of a sample of the first component.
    #[must_use]
    pub fn depth(self) -> u32 {
        self.descriptor().map_or(0, |descriptor| descriptor.comp[0].depth.unsigned_abs())
    }

    /// log2 of the chroma subsampling, horizontally and vertically.
    #[must_use]
    pub fn subsampling(self) -> (u32, u32) {
        self.descriptor()
            .map_or((0, 0), |descriptor| (u32::from(descriptor.log2_chroma_w), u32::from(descriptor.log2_chroma_h)))
    }

    /// Whether the samples are R, G and B.
    #[must_use]
    pub fn is_rgb(self) -> bool {
        self.descriptor().is_some_and(|descriptor| descriptor.flags & av::AV_PIX_FMT_FLAG_RGB as u64 != 0)
    }

    /// Whether each sample has its own transparency. Palettes, whose entries may have one, do not count.
    #[must_use]
    pub fn has_alpha(self) -> bool {
        let (alpha, palette) = (av::AV_PIX_FMT_FLAG_ALPHA as u64, av::AV_PIX_FMT_FLAG_PAL as u64);
        self.descriptor().is_some_and(|descriptor| descriptor.flags & (alpha | palette) == alpha)
    }

    /// The rows of a plane, in libav's order, of a picture of that height: chroma has fewer, the fourth plane is alpha.
    pub(crate) fn plane_height(self, plane: usize, height: u32) -> u32 {
        let is_chroma = matches!(plane, 1 | 2) && !self.is_rgb();
        if is_chroma { height.div_ceil(1 << self.subsampling().1) } else { height }
    }

    /// The number of components: 1 for gray, 3 for YUV and RGB, one more with alpha.
    #[must_use]
    pub fn components(self) -> u32 {
        self.descriptor().map_or(0, |descriptor| u32::from(descriptor.nb_components))
    }
}
