//! The folder that both sides work in, and the source that they read.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::cases::{Case, DEMO_FRAMES};
use crate::sides::Job;

/// A folder on the disk that cargo builds on. The source stays there, with its index, for the next time.
pub(crate) struct Scratch {
    folder: PathBuf,
    source: PathBuf,
}

impl Scratch {
    pub(crate) fn prepare() -> Result<Self> {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("bench-pipe");
        fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        let source = folder.join("source.mkv");
        if !source.exists() {
            make_source(&source).context("the source could not be made")?;
        }
        Ok(Self { folder, source })
    }

    /// Writes the case's script.
    pub(crate) fn job(&self, case: &Case) -> Result<Job> {
        let script = self.folder.join(format!("{}.vpy", case.name));
        fs::write(&script, case.script()).with_context(|| script.display().to_string())?;
        Ok(Job {
            script,
            source: self.source.clone(),
            folder: self.folder.clone(),
            name: case.name,
            frames: case.frames,
            parameters: case.parameters,
        })
    }
}

/// The real clip again and again, with a picture in it that moves and changes: bestsource tells frames apart by what
/// they show, so none may look like another.
fn make_source(target: &Path) -> Result<()> {
    let clip = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/media/big_buck_bunny_720p.mp4");
    let partial = target.with_extension("part.mkv");
    let overlay = "[0:v][1:v]overlay=x='mod(n*7,W-w)':y='mod(n*3,H-h)'";
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-v", "error", "-y", "-stream_loop", "-1", "-i"]).arg(clip);
    ffmpeg.args(["-f", "lavfi", "-i", "testsrc2=size=192x108:rate=25", "-filter_complex", overlay]);
    ffmpeg.args(["-frames:v", &DEMO_FRAMES.to_string(), "-an", "-c:v", "libx264", "-preset", "veryfast", "-crf", "16"]);
    ffmpeg.arg(&partial).stdin(Stdio::null());
    ensure!(ffmpeg.status().context("ffmpeg")?.success(), "ffmpeg failed");
    fs::rename(&partial, target)?;
    Ok(())
}
