//! A rip to standard output. A rip makes a file, since it goes back and forth in it and goes on where it was; so the file is made
//! in a folder, and copied when it is complete.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use finalrip_core::take_stdout;
use tempfile::TempDir;

/// Where the rip's file is made.
pub(crate) struct ToStdout {
    stdout: File,
    output: PathBuf,
    /// Removed in the end, with everything in it, when nobody named a folder.
    _folder: Option<TempDir>,
}

impl ToStdout {
    /// Takes standard output over, and makes the folder.
    pub(crate) fn begin(folder: Option<&Path>) -> Result<Self> {
        let stdout = take_stdout().context("standard output cannot be used")?;
        let temporary = match folder {
            None => Some(tempfile::Builder::new().prefix("finalrip-").tempdir().context("no temporary folder")?),
            Some(folder) => {
                fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
                None
            }
        };
        let place = temporary.as_ref().map(TempDir::path).or(folder).unwrap_or(Path::new("."));
        Ok(Self { stdout, output: place.join("stdout"), _folder: temporary })
    }

    /// The file that the rip is to make.
    pub(crate) fn output(&self) -> &Path {
        &self.output
    }

    /// Copies the file, and removes it.
    pub(crate) fn end(mut self) -> Result<()> {
        let mut file = File::open(&self.output).with_context(|| format!("cannot read {}", self.output.display()))?;
        io::copy(&mut file, &mut self.stdout).context("cannot write to standard output")?;
        fs::remove_file(&self.output).with_context(|| format!("cannot remove {}", self.output.display()))
    }
}
