//! The source: real pictures, no two alike, with sound, subtitles and chapters.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

/// Frames of the usual source: 64 seconds, so that it is cut into two segments.
pub(crate) const FRAMES: u32 = 1600;

/// The source's frames a second.
const RATE: u32 = 25;

/// A real clip, below the repository's root.
const CLIP: &str = "examples/media/big_buck_bunny_720p.mp4";

/// The folder that every side works in, on the disk that cargo builds on, and the source in it.
pub(crate) struct Content {
    pub(crate) folder: PathBuf,
    pub(crate) source: PathBuf,
    pub(crate) frames: u32,
}

impl Content {
    pub(crate) fn prepare(frames: u32) -> Result<Self> {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("bench-rip");
        fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        let source = folder.join(format!("source-{frames}.mkv"));
        if !source.exists() {
            make_source(&folder, &source, frames).context("the source could not be made")?;
        }
        Ok(Self { folder, source, frames })
    }
}

/// The real clip again and again, with a picture in it that moves and changes: bestsource tells frames apart by what they
/// show, so none may look like another.
fn make_source(folder: &Path, target: &Path, frames: u32) -> Result<()> {
    // The package that is measured may lie in a folder of its own.
    let roots = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    let clip = roots.map(|root| root.join(CLIP)).find(|clip| clip.exists()).context(CLIP)?;
    let (subtitles, chapters) = (folder.join("subtitles.srt"), folder.join("chapters.txt"));
    fs::write(&subtitles, "1\n00:00:01,000 --> 00:00:03,000\nHello\n")?;
    fs::write(&chapters, ";FFMETADATA1\n[CHAPTER]\nTIMEBASE=1/1\nSTART=0\nEND=4\ntitle=Start\n")?;
    let partial = target.with_extension("part.mkv");
    let seconds = f64::from(frames) / f64::from(RATE);
    let overlay = "[0:v][1:v]overlay=x='mod(n*7,W-w)':y='mod(n*3,H-h)'[v]";
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-v", "error", "-y", "-stream_loop", "-1", "-i"]).arg(clip);
    ffmpeg.args(["-f", "lavfi", "-i", &format!("testsrc2=size=192x108:rate={RATE}")]);
    ffmpeg.args(["-f", "lavfi", "-i", &format!("sine=frequency=440:sample_rate=48000:duration={seconds}")]);
    ffmpeg.arg("-i").arg(subtitles).arg("-i").arg(chapters);
    ffmpeg.args(["-filter_complex", overlay, "-map", "[v]", "-map", "2:a", "-map", "3:s", "-map_chapters", "4"]);
    ffmpeg.args(["-frames:v", &frames.to_string(), "-c:v", "libx264", "-preset", "veryfast", "-crf", "16"]);
    ffmpeg.args(["-c:a", "aac", "-c:s", "srt"]).arg(&partial).stdin(Stdio::null());
    ensure!(ffmpeg.status().context("ffmpeg")?.success(), "ffmpeg failed");
    fs::rename(&partial, target)?;
    Ok(())
}
