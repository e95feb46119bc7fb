//! How much of the machine each chunk gets: workers, and threads for each encoder.

use sysinfo::{MemoryRefreshKind, System};

use crate::convert::RAV1E;
use crate::encoder::command::EncodeCommand;
use crate::frames::ClipInfo;

/// Threads that one instance of an encoder keeps busy before more of them are of little use, by experience with 1080p.
const USEFUL_THREADS: [(&str, usize); 6] =
    [("libx264", 6), ("libx265", 8), ("libsvtav1", 8), ("libaom-av1", 4), ("libvpx-vp9", 4), (RAV1E, 4)];

/// For encoders that are not in the table.
const USUAL_THREADS: usize = 4;

/// Uncompressed frames that one chunk holds at once: requests, filters' caches, the encoder's look-ahead and references.
const FRAMES_IN_FLIGHT: u64 = 150;

/// The part of the free memory that workers may plan to use.
const MEMORY_SHARE: f64 = 0.6;

/// The processors that this process may use.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// How many chunks to encode at once.
pub(crate) fn workers(encoder: &str, clip: &ClipInfo) -> usize {
    workers_for(encoder, clip, cores(), free_memory())
}

fn workers_for(encoder: &str, clip: &ClipInfo, cores: usize, memory: u64) -> usize {
    let useful =
        USEFUL_THREADS.iter().find(|(name, _)| *name == encoder).map_or(USUAL_THREADS, |(_, threads)| *threads);
    let by_cores = cores.div_ceil(useful);
    let sample = u64::from(clip.format.bits.div_ceil(8));
    // Three full planes: what filters work in is often larger than what comes out.
    let frame = u64::from(clip.width) * u64::from(clip.height) * sample * 3;
    let by_memory = memory as f64 * MEMORY_SHARE / (frame * FRAMES_IN_FLIGHT) as f64;
    by_cores.min(by_memory as usize).max(1)
}

/// Bytes that can still be used, within a container's limit if there is one.
fn free_memory() -> u64 {
    let mut system = System::new();
    system.refresh_memory_specifics(MemoryRefreshKind::nothing().with_ram());
    let limited = system.cgroup_limits().map(|limits| limits.free_memory);
    limited.unwrap_or(u64::MAX).min(system.available_memory())
}

/// Threads for each of several encoders; `None` for one alone, which is opened as in a single encode.
pub(crate) fn threads(workers: usize) -> Option<usize> {
    (workers > 1).then(|| cores().div_ceil(workers))
}

/// Tells an encoder to keep to so many threads, unless the command already says something about them.
///
/// libx265 and libsvtav1 size their pools by parameters of their own and not by libav's `threads`.
pub(crate) fn limit_threads(command: &mut EncodeCommand, encoder: &str, threads: usize) {
    let options = &mut command.encoder_options;
    if options.iter().any(|(name, _)| name == "threads") {
        return;
    }
    let (option, keys): (&str, &[&str]) = match encoder {
        "libx265" => ("x265-params", &["pools", "numa-pools"]),
        "libsvtav1" => ("svtav1-params", &["lp"]),
        _ => {
            options.push(("threads".to_owned(), threads.to_string()));
            return;
        }
    };
    let (key, value) = (keys[0], threads.to_string());
    match options.iter_mut().rev().find(|(name, _)| name == option) {
        Some((_, list)) if keys.iter().any(|key| has_key(list, key)) => {}
        Some((_, list)) => *list = format!("{list}:{key}={value}"),
        None => options.push((option.to_owned(), format!("{key}={value}"))),
    }
}

fn has_key(list: &str, key: &str) -> bool {
    list.split(':').any(|entry| entry.split('=').next() == Some(key))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frames::{ColorFamily, SampleType, VideoFormat};

    fn clip(width: u32, height: u32) -> ClipInfo {
        let (family, sample) = (ColorFamily::Yuv, SampleType::Integer);
        let format = VideoFormat { family, sample, bits: 10, subsampling_w: 1, subsampling_h: 1 };
        ClipInfo { format, width, height, frames: 1, frame_rate: None, alpha: false, threads: 1 }
    }

    #[test]
    fn workers_follow_cores_and_stop_at_the_memory() {
        let (hd, uhd) = (clip(1920, 1080), clip(3840, 2160));
        assert_eq!(workers_for("libx265", &hd, 2, 8 << 30), 1);
        assert_eq!(workers_for("libx265", &hd, 32, 64 << 30), 4);
        assert_eq!(workers_for("libaom-av1", &hd, 32, 64 << 30), 8);
        assert_eq!(workers_for("libaom-av1", &uhd, 32, 16 << 30), 1);
        assert_eq!(workers_for("ffv1", &hd, 1, 0), 1);
    }

    #[test]
    fn threads_that_the_command_names_are_left_alone() {
        let limited = |text: &str| {
            let mut command = EncodeCommand::parse(text).unwrap();
            let encoder = command.encoder_name().unwrap_or_default().to_owned();
            limit_threads(&mut command, &encoder, 3);
            command.encoder_options
        };
        let option = |name: &str, value: &str| vec![(name.to_owned(), value.to_owned())];
        assert_eq!(limited("-c:v libx264"), option("threads", "3"));
        assert_eq!(limited("-c:v libx264 -threads 8"), option("threads", "8"));
        assert_eq!(limited("-c:v libx265"), option("x265-params", "pools=3"));
        assert_eq!(limited("-c:v libx265 -x265-params pools=8"), option("x265-params", "pools=8"));
        assert_eq!(limited("-c:v libx265 -x265-params aq-mode=3"), option("x265-params", "aq-mode=3:pools=3"));
        assert_eq!(limited("-c:v rav1e"), option("threads", "3"));
    }
}
