//! Planes that belong to somebody else, and `AVFrame`s that point at them.

use std::any::Any;
use std::ffi::{c_int, c_void};
use std::ptr::{self, NonNull};
use std::sync::Arc;

use ffmpeg_next::ffi as av;

use super::hdr::{self, RawContentLight, RawMasteringDisplay};
use super::{AvError, guard};
use crate::frames::{FieldOrder, HdrMetadata};
use crate::picture::{Color, PixelFormat};
use crate::units::Rational;

/// One plane: where it starts and how far apart its rows are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plane {
    /// The first sample of the first row.
    pub data: *const u8,
    /// Bytes from one row to the next, at least the bytes of a row.
    pub stride: usize,
    /// Rows.
    pub height: usize,
}

/// The read-only planes of one frame and the owner that keeps their memory alive.
#[derive(Clone)]
pub struct Planes {
    planes: Vec<Plane>,
    owner: Arc<dyn Any + Send + Sync>,
}

// SAFETY: the memory behind the pointers is read-only for as long as the owner lives (the promise of `Planes::new`),
// and the owner itself is `Send + Sync`.
unsafe impl Send for Planes {}
// SAFETY: as above; shared access only ever reads.
unsafe impl Sync for Planes {}

impl std::fmt::Debug for Planes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Planes").field(&self.planes).finish()
    }
}

impl Planes {
    /// Wraps memory that is not ours.
    ///
    /// # Safety
    /// Until `owner` is dropped, each plane's `height * stride` bytes must be readable and must not change. The owner
    /// may be dropped on any thread.
    #[must_use]
    pub unsafe fn new(planes: Vec<Plane>, owner: Arc<dyn Any + Send + Sync>) -> Self {
        Self { planes, owner }
    }

    /// These planes and then those of `more`; both owners are kept.
    pub(crate) fn and(mut self, more: Self) -> Self {
        self.planes.extend(more.planes);
        Self { planes: self.planes, owner: Arc::new((self.owner, more.owner)) }
    }

    /// So many planes of the same samples, all in the same memory, of `rows` rows of `samples` samples.
    pub(crate) fn constant(count: usize, sample: &[u8], (samples, rows): (usize, usize)) -> Self {
        let memory = Arc::new(sample.repeat(samples * rows));
        let plane = Plane { data: memory.as_ptr(), stride: sample.len() * samples, height: rows };
        // SAFETY: `height * stride` is the length of the vector, which is the owner and is not changed any more.
        unsafe { Self::new(vec![plane; count], memory) }
    }

    /// The planes, in the order of VapourSynth: Y, U, V or R, G, B or the single one of a GRAY clip; then alpha, if there is any.
    #[must_use]
    pub fn as_slice(&self) -> &[Plane] {
        &self.planes
    }
}

/// An owned `AVFrame`.
#[derive(Debug)]
pub(crate) struct AvFrame(NonNull<av::AVFrame>);

// SAFETY: an AVFrame and its reference-counted buffers may be used from any one thread at a time.
unsafe impl Send for AvFrame {}

impl AvFrame {
    pub(crate) fn new() -> Result<Self, AvError> {
        // SAFETY: allocates or returns null.
        NonNull::new(unsafe { av::av_frame_alloc() }).map(Self).ok_or(AvError::NO_MEMORY)
    }

    /// Makes a frame whose planes are `planes`, taken in the order of `order`; nothing is copied. Each plane becomes
    /// one read-only buffer with a reference to the owner, released from whichever thread libav frees it.
    ///
    /// # Errors
    /// [`AvError::INVALID`] when a plane is missing, or smaller than libav will read for this format and size.
    pub(crate) fn from_planes(
        format: PixelFormat,
        (width, height): (u32, u32),
        planes: &Planes,
        order: &[usize],
    ) -> Result<Self, AvError> {
        let int = |value: u32| c_int::try_from(value).map_err(|_| AvError::INVALID);
        let mut frame = Self::new()?;
        let raw = frame.raw_mut();
        raw.format = format.raw() as c_int;
        (raw.width, raw.height) = (int(width)?, int(height)?);
        if order.len() != format.components() as usize {
            return Err(AvError::INVALID);
        }
        for (slot, &index) in order.iter().enumerate() {
            // A source's frames are put together by safe code: their planes need not be what the rest of the frame says.
            let plane = *planes.planes.get(index).ok_or(AvError::INVALID)?;
            let (bytes, rows) = extent(format, (raw.width, height), slot)?;
            if plane.stride < bytes || plane.height < rows {
                return Err(AvError::INVALID);
            }
            raw.buf[slot] = lend(plane, Arc::clone(&planes.owner))?;
            raw.data[slot] = plane.data.cast_mut();
            raw.linesize[slot] = c_int::try_from(plane.stride).map_err(|_| AvError::INVALID)?;
        }
        raw.extended_data = raw.data.as_mut_ptr();
        Ok(frame)
    }

    pub(crate) fn raw(&self) -> &av::AVFrame {
        // SAFETY: never null, owned, and only reachable through this handle.
        unsafe { self.0.as_ref() }
    }

    fn raw_mut(&mut self) -> &mut av::AVFrame {
        // SAFETY: as in `raw`, and `&mut self` makes the access exclusive.
        unsafe { self.0.as_mut() }
    }

    pub(crate) fn as_ptr(&self) -> *mut av::AVFrame {
        self.0.as_ptr()
    }

    /// Drops what the frame holds, so that it can be filled again.
    pub(crate) fn clear(&mut self) {
        // SAFETY: a valid frame; its references are released and its fields reset.
        unsafe { av::av_frame_unref(self.0.as_ptr()) };
    }

    pub(crate) fn set_time(&mut self, pts: i64, duration: i64) {
        let raw = self.raw_mut();
        raw.pts = pts;
        #[cfg(ffmpeg_6_0)]
        {
            raw.duration = duration;
        }
        #[cfg(not(ffmpeg_6_0))]
        {
            raw.pkt_duration = duration;
        }
    }

    pub(crate) fn duration(&self) -> i64 {
        #[cfg(ffmpeg_6_0)]
        {
            self.raw().duration
        }
        #[cfg(not(ffmpeg_6_0))]
        {
            self.raw().pkt_duration
        }
    }

    pub(crate) fn format(&self) -> PixelFormat {
        PixelFormat::from_index(self.raw().format)
    }

    /// The HDR10 metadata that the frame carries as side data.
    pub(crate) fn hdr(&self) -> HdrMetadata {
        use av::AVFrameSideDataType as Kind;
        let mastering: Option<RawMasteringDisplay> = self.side_data(Kind::AV_FRAME_DATA_MASTERING_DISPLAY_METADATA);
        let light: Option<RawContentLight> = self.side_data(Kind::AV_FRAME_DATA_CONTENT_LIGHT_LEVEL);
        HdrMetadata { mastering: mastering.map(Into::into), light: light.map(Into::into) }
    }

    fn side_data<T: Copy>(&self, kind: av::AVFrameSideDataType) -> Option<T> {
        // SAFETY: returns null or an entry that the frame owns.
        let entry = unsafe { av::av_frame_get_side_data(self.as_ptr(), kind).as_ref() }?;
        if entry.size < size_of::<T>() {
            return None;
        }
        // SAFETY: an entry of this kind holds libav's structure `T`, aligned and of at least its size.
        Some(unsafe { *entry.data.cast::<T>() })
    }

    /// Clears what must not steer the encoder: the picture type that a filter or decoder left.
    pub(crate) fn prepare_for_encoder(&mut self, quality: c_int) {
        let raw = self.raw_mut();
        raw.pict_type = av::AVPictureType::AV_PICTURE_TYPE_NONE;
        raw.quality = quality;
    }

    pub(crate) fn set_color(&mut self, color: &Color) {
        let raw: *mut av::AVFrame = self.0.as_ptr();
        // SAFETY: the fields are C enums of int size inside a frame that we own; `Color` only holds values that libav
        // itself defines (it is validated where it is read from frame properties), so the Rust enums stay valid.
        unsafe {
            (&raw mut (*raw).color_range).cast::<c_int>().write(color.range);
            (&raw mut (*raw).color_primaries).cast::<c_int>().write(color.primaries);
            (&raw mut (*raw).color_trc).cast::<c_int>().write(color.transfer);
            (&raw mut (*raw).colorspace).cast::<c_int>().write(color.matrix);
            (&raw mut (*raw).chroma_location).cast::<c_int>().write(color.chroma_location);
        }
    }

    pub(crate) fn color(&self) -> Color {
        let raw = self.raw();
        Color {
            range: raw.color_range as c_int,
            primaries: raw.color_primaries as c_int,
            transfer: raw.color_trc as c_int,
            matrix: raw.colorspace as c_int,
            chroma_location: raw.chroma_location as c_int,
        }
    }

    pub(crate) fn set_sample_aspect(&mut self, aspect: Option<Rational>) {
        self.raw_mut().sample_aspect_ratio = rational_or_unknown(aspect);
    }

    pub(crate) fn set_field_order(&mut self, order: FieldOrder) {
        let (interlaced, top_first) = (order != FieldOrder::Progressive, order == FieldOrder::TopFirst);
        let raw = self.raw_mut();
        #[cfg(ffmpeg_6_1)]
        {
            let flags = [
                (interlaced, av::AV_FRAME_FLAG_INTERLACED as c_int),
                (top_first, av::AV_FRAME_FLAG_TOP_FIELD_FIRST as c_int),
            ];
            raw.flags = flags.iter().fold(raw.flags, |all, &(on, flag)| if on { all | flag } else { all & !flag });
        }
        #[cfg(not(ffmpeg_6_1))]
        {
            raw.interlaced_frame = c_int::from(interlaced);
            raw.top_field_first = c_int::from(top_first);
        }
    }

    pub(crate) fn field_order(&self) -> FieldOrder {
        let raw = self.raw();
        #[cfg(ffmpeg_6_1)]
        let (interlaced, top_first) = (
            raw.flags & av::AV_FRAME_FLAG_INTERLACED as c_int != 0,
            raw.flags & av::AV_FRAME_FLAG_TOP_FIELD_FIRST as c_int != 0,
        );
        #[cfg(not(ffmpeg_6_1))]
        let (interlaced, top_first) = (raw.interlaced_frame != 0, raw.top_field_first != 0);
        match (interlaced, top_first) {
            (false, _) => FieldOrder::Progressive,
            (true, true) => FieldOrder::TopFirst,
            (true, false) => FieldOrder::BottomFirst,
        }
    }

    /// Attaches the mastering display and content light level as frame side data, where encoders such as NVENC look.
    pub(crate) fn set_hdr(&mut self, metadata: &HdrMetadata) -> Result<(), AvError> {
        if let Some(mastering) = &metadata.mastering {
            // SAFETY: returns null or the structure that it attached to our frame, zeroed and valid to write.
            let raw = unsafe { hdr::av_mastering_display_metadata_create_side_data(self.as_ptr()).as_mut() };
            *raw.ok_or(AvError::NO_MEMORY)? = mastering.into();
        }
        if let Some(light) = &metadata.light {
            // SAFETY: as above.
            let raw = unsafe { hdr::av_content_light_metadata_create_side_data(self.as_ptr()).as_mut() };
            *raw.ok_or(AvError::NO_MEMORY)? = light.into();
        }
        Ok(())
    }

    /// The bytes of plane `index` (libav's order), rows apart by the second value.
    pub(crate) fn plane(&self, index: usize, rows: usize) -> Option<(&[u8], usize)> {
        let raw = self.raw();
        let (data, stride) = (*raw.data.get(index)?, usize::try_from(*raw.linesize.get(index)?).ok()?);
        if data.is_null() {
            return None;
        }
        // SAFETY: the frame holds a reference to the buffer, and each plane has `rows` rows of `stride` bytes: ours by
        // `from_planes`, a filter's by libav's own layout. The slice lives no longer than `&self`.
        Some((unsafe { std::slice::from_raw_parts(data, rows * stride) }, stride))
    }
}

impl Drop for AvFrame {
    fn drop(&mut self) {
        let mut frame = self.0.as_ptr();
        // SAFETY: owned here alone; releases the buffers and the frame.
        unsafe { av::av_frame_free(&raw mut frame) };
    }
}

pub(crate) fn av_rational(value: Rational) -> av::AVRational {
    let (mut num, mut den) = (0, 0);
    // SAFETY: writes two ints; av_reduce approximates what does not fit into 31 bits.
    unsafe { av::av_reduce(&raw mut num, &raw mut den, value.num(), value.den(), i64::from(c_int::MAX)) };
    av::AVRational { num, den }
}

pub(crate) fn rational_or_unknown(value: Option<Rational>) -> av::AVRational {
    value.map_or(av::AVRational { num: 0, den: 1 }, av_rational)
}

pub(crate) fn rational_from(value: av::AVRational) -> Option<Rational> {
    Rational::new(value.num.into(), value.den.into()).filter(|rational| rational.is_positive())
}

/// The bytes of a row, and the rows, that libav reads of a plane.
fn extent(format: PixelFormat, (width, height): (c_int, u32), plane: usize) -> Result<(usize, usize), AvError> {
    // SAFETY: looks the format up in a table; any width and plane may be asked for.
    let bytes = AvError::check(unsafe { av::av_image_get_linesize(format.raw(), width, plane as c_int) })?;
    Ok((bytes as usize, format.plane_height(plane, height) as usize))
}

/// Wraps one plane as a read-only libav buffer that holds a reference to the plane's owner.
fn lend(plane: Plane, owner: Arc<dyn Any + Send + Sync>) -> Result<*mut av::AVBufferRef, AvError> {
    let opaque = Box::into_raw(Box::new(owner));
    // SAFETY: the plane is readable for stride * height bytes while the owner lives, and the owner lives until `give_back`
    // runs. AV_BUFFER_FLAG_READONLY keeps libav from writing (av_frame_make_writable copies instead).
    let buffer = unsafe {
        av::av_buffer_create(
            plane.data.cast_mut(),
            plane.stride * plane.height,
            Some(give_back),
            opaque.cast::<c_void>(),
            av::AV_BUFFER_FLAG_READONLY as c_int,
        )
    };
    if buffer.is_null() {
        // SAFETY: libav did not take the box, so it is still ours.
        drop(unsafe { Box::from_raw(opaque) });
        return Err(AvError::NO_MEMORY);
    }
    Ok(buffer)
}

unsafe extern "C" fn give_back(opaque: *mut c_void, _data: *mut u8) {
    guard("buffer release", (), || {
        // SAFETY: `opaque` is the box that `lend` leaked for this buffer, and libav calls this once, when the last
        // reference goes.
        drop(unsafe { Box::from_raw(opaque.cast::<Arc<dyn Any + Send + Sync>>()) });
    });
}

/// The bytes of a C structure, for side data.
pub(crate) fn bytes_of<T: Copy>(value: &T) -> Vec<u8> {
    // SAFETY: readable for its own size; the two structures that this is used for consist of ints only, so no byte of
    // them is padding.
    unsafe { std::slice::from_raw_parts(ptr::from_ref(value).cast::<u8>(), size_of::<T>()) }.to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Planes of 16 x 7 in 4:2:0 at 8 bits, each with its rows and its stride.
    fn frame_of(sizes: &[(usize, usize)]) -> Result<AvFrame, AvError> {
        let memory: Arc<Vec<u8>> = Arc::new(vec![0; 4096]);
        let plane = |&(height, stride): &(usize, usize)| Plane { data: memory.as_ptr(), stride, height };
        // SAFETY: 4096 bytes are more than any of these planes has, and the vector is the owner.
        let planes = unsafe { Planes::new(sizes.iter().map(plane).collect(), memory.clone()) };
        let format = PixelFormat::from_name("yuv420p").unwrap();
        AvFrame::from_planes(format, (16, 7), &planes, &[0, 1, 2])
    }

    #[test]
    fn planes_that_are_smaller_than_their_frame_are_refused() {
        assert!(frame_of(&[(7, 16), (4, 8), (4, 8)]).is_ok());
        let wrong: [&[(usize, usize)]; 5] = [
            &[(7, 16), (4, 8)],
            &[(6, 16), (4, 8), (4, 8)],
            &[(7, 15), (4, 8), (4, 8)],
            &[(7, 16), (4, 8), (3, 8)],
            &[(7, 16), (4, 7), (4, 8)],
        ];
        for sizes in wrong {
            assert_eq!(frame_of(sizes).unwrap_err(), AvError::INVALID, "{sizes:?}");
        }
    }
}
