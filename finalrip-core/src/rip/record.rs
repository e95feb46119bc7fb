//! What a rip keeps beside its output, so that it can go on after anything: the plan, and each finished chunk.
//!
//! The folder `OUTPUT.finalrip` holds `rip.json` (what is ripped, and the plan), for each finished chunk its video
//! `chunk-00000.mkv` (`chunk-00000.packets` where Matroska would change what the encoder made) and its record `chunk-00000.json`, and `lock`. A chunk counts when its record is there: the record
//! is written last. Every file gets its name by a rename after `fsync`, so that what has a name is complete.

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::container::start_of;
use crate::error::{Error, Result};
use crate::locks;
use crate::picture::Color;
use crate::timing::{Claims, Timing};
use crate::units::{FrameRange, Rational};

use super::fingerprint::{Fingerprint, sha256};
use super::plan::Plan;

/// The layout of the folder; a folder of another version is not used.
const VERSION: u32 = 3;

/// What is ripped, and how it was divided.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct RipRecord {
    version: u32,
    pub(crate) fingerprint: Fingerprint,
    pub(crate) plan: Plan,
    /// Never [`Timing::Auto`] once the clip's beginning has shown that it is variable.
    pub(crate) timing: Timing,
}

impl RipRecord {
    pub(crate) fn new(fingerprint: Fingerprint, plan: Plan, timing: Timing) -> Self {
        Self { version: VERSION, fingerprint, plan, timing }
    }
}

/// A finished and verified chunk.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ChunkRecord {
    pub(crate) range: FrameRange,
    pub(crate) bytes: u64,
    pub(crate) elapsed: Duration,
    pub(crate) stream: StreamRecord,
    /// SHA-256 of all packets, in hexadecimal.
    pub(crate) contents: String,
    /// For each packet in decode order, the number of its picture in presentation order.
    pub(crate) order: Vec<u32>,
    /// When each picture starts, in ticks from the chunk's first frame. Empty where a picture is a tick: under constant
    /// timing, unless filters leave gaps.
    pub(crate) starts: Vec<i64>,
    /// Where the last picture ends, in ticks.
    pub(crate) end: i64,
    /// What the clip's frames say of how long they are shown, under [`Timing::Auto`] on a constant grid.
    #[serde(default)]
    pub(crate) claims: Option<Claims>,
}

/// The encoded stream. Chunks of one file may differ in what [`StreamRecord::parts_from`] does not name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct StreamRecord {
    pub(crate) encoder: String,
    pub(crate) codec: String,
    pub(crate) pixel_format: String,
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) time_base: Rational,
    pub(crate) frame_rate: Option<Rational>,
    pub(crate) sample_aspect: Option<Rational>,
    /// `None` in records of older versions, which did not ask.
    #[serde(default)]
    pub(crate) color: Option<Color>,
    /// SHA-256 of the settings that only a container's header can carry, in hexadecimal; `None` where they can change from
    /// keyframe to keyframe, and in records of older versions.
    #[serde(default)]
    pub(crate) fixed: Option<String>,
    /// SHA-256 of the parameter sets as the chunk's file has them, in hexadecimal.
    pub(crate) parameter_sets: String,
}

/// The folder of one rip, held by this process alone.
#[derive(Debug)]
pub(crate) struct Workspace {
    folder: PathBuf,
    /// Of the chunks' files.
    extension: &'static str,
    /// Held by this process until it is unlocked or closed.
    lock: File,
    /// Whether it is this rip's still. A cancelled rip may leave threads behind that are deep in C code; when they come
    /// back, the folder may be another rip's.
    held: Mutex<bool>,
}

impl Workspace {
    /// Where the rip that makes `output` keeps its state.
    pub(crate) fn folder_of(output: &Path) -> PathBuf {
        /// What a file's name can hold, in bytes.
        const NAME: usize = 255;
        const SUFFIX: &str = ".finalrip";
        let whole = output.file_name().unwrap_or_default();
        let mut name = whole.to_owned();
        if whole.len() + SUFFIX.len() > NAME {
            // The start alone would be that of other names too.
            let hash = format!("-{}", &sha256(whole.as_encoded_bytes())[..16]);
            name = start_of(whole, NAME - SUFFIX.len() - hash.len()).to_owned();
            name.push(hash);
        }
        name.push(SUFFIX);
        output.with_file_name(name)
    }

    /// Makes the folder if need be, and locks it. Chunks are files with this extension.
    ///
    /// # Errors
    /// [`Error::Busy`] when another rip holds it, [`Error::State`] when it cannot be made.
    pub(crate) fn open(output: &Path, extension: &'static str) -> Result<Self> {
        let folder = Self::folder_of(output);
        let failed = |error: io::Error| Error::State { path: folder.clone(), reason: error.to_string() };
        loop {
            match fs::create_dir(&folder) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(failed(error)),
                _ => {}
            }
            let path = folder.join("lock");
            let lock = match File::options().create(true).truncate(false).write(true).open(&path) {
                Ok(lock) => lock,
                // The rip that held it has just finished and removed the folder.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(failed(error)),
            };
            match locks::try_lock(&lock) {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Err(Error::Busy { output: output.to_owned(), folder }),
                Err(TryLockError::Error(error)) => return Err(failed(error)),
            }
            // A lock on a file that has lost its name in between is worth nothing.
            let same = fs::metadata(&path).is_ok_and(|named| {
                lock.metadata().is_ok_and(|held| (held.dev(), held.ino()) == (named.dev(), named.ino()))
            });
            if same {
                return Ok(Self { folder, extension, lock, held: Mutex::new(true) });
            }
        }
    }

    /// Changes something in the folder, unless it has been left.
    ///
    /// # Errors
    /// [`Error::Cancelled`] when it has been left; otherwise as `change`.
    pub(crate) fn change<T>(&self, change: impl FnOnce() -> Result<T>) -> Result<T> {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if *held { change() } else { Err(Error::Cancelled) }
    }

    /// Lets another rip have the folder, and removes it when nothing in it is worth keeping.
    pub(crate) fn leave(&self) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        *held = false;
        let is_record = |name: &str| name.starts_with("chunk-") && name.ends_with(".json");
        let kept = fs::read_dir(&self.folder).is_ok_and(|mut entries| {
            entries.any(|entry| entry.is_ok_and(|entry| is_record(&entry.file_name().to_string_lossy())))
        });
        if !kept && let Err(error) = self.remove_all() {
            tracing::warn!("{error}");
        }
        if let Err(error) = self.lock.unlock() {
            tracing::warn!("{} stays locked until this process ends: {error}", self.folder.display());
        }
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(crate) fn chunk_path(&self, chunk: usize) -> PathBuf {
        self.folder.join(format!("chunk-{chunk:05}.{}", self.extension))
    }

    fn chunk_record_path(&self, chunk: usize) -> PathBuf {
        self.folder.join(format!("chunk-{chunk:05}.json"))
    }

    /// What is ripped, if an earlier run left it. A record that cannot be read counts as none.
    pub(crate) fn rip(&self) -> Option<RipRecord> {
        read::<RipRecord>(&self.folder.join("rip.json")).filter(|record| record.version == VERSION)
    }

    pub(crate) fn store_rip(&self, record: &RipRecord) -> Result<()> {
        self.change(|| self.write(&self.folder.join("rip.json"), record))
    }

    /// A finished chunk, if it is there and its video has the size that was recorded.
    pub(crate) fn chunk(&self, chunk: usize) -> Option<ChunkRecord> {
        let record: ChunkRecord = read(&self.chunk_record_path(chunk))?;
        let size = fs::metadata(self.chunk_path(chunk)).ok()?.len();
        (size == record.bytes).then_some(record)
    }

    pub(crate) fn store_chunk(&self, chunk: usize, record: &ChunkRecord) -> Result<()> {
        self.change(|| self.write(&self.chunk_record_path(chunk), record))
    }

    /// Takes a chunk's record away: it does not count any more.
    pub(crate) fn forget_chunk(&self, chunk: usize) -> Result<()> {
        self.change(|| match fs::remove_file(self.chunk_record_path(chunk)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(self.failed(error)),
            _ => Ok(()),
        })
    }

    /// Removes everything but the lock. The plan goes first: without it nothing else here counts, whenever this is
    /// interrupted.
    pub(crate) fn clear(&self) -> Result<()> {
        self.change(|| self.empty())
    }

    fn empty(&self) -> Result<()> {
        self.remove(|name| name == "rip.json")?;
        self.remove(|name| name != "lock")
    }

    /// Removes what an interrupted run left half written.
    pub(crate) fn sweep(&self, plan: &Plan) -> Result<()> {
        let mut known = BTreeMap::from([("lock".to_owned(), ()), ("rip.json".to_owned(), ())]);
        for chunk in 0..plan.chunks.len() {
            for path in [self.chunk_path(chunk), self.chunk_record_path(chunk)] {
                known.extend(path.file_name().map(|name| (name.to_string_lossy().into_owned(), ())));
            }
        }
        self.change(|| self.remove(|name| !known.contains_key(name)))
    }

    fn remove(&self, which: impl Fn(&str) -> bool) -> Result<()> {
        let entries = fs::read_dir(&self.folder).map_err(|error| self.failed(error))?;
        for entry in entries.filter_map(Result::ok) {
            if which(&entry.file_name().to_string_lossy()) {
                fs::remove_file(entry.path()).map_err(|error| self.failed(error))?;
            }
        }
        Ok(())
    }

    /// Removes the folder; the rip is done.
    pub(crate) fn remove_folder(&self) -> Result<()> {
        self.change(|| self.remove_all())
    }

    fn remove_all(&self) -> Result<()> {
        // The lock's file last, while it is held: whoever comes next finds all or nothing.
        self.empty()?;
        fs::remove_file(self.folder.join("lock")).map_err(|error| self.failed(error))?;
        match fs::remove_dir(&self.folder) {
            // Another rip of the same output has just begun, or somebody put a file there.
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(()),
            other => other.map_err(|error| self.failed(error)),
        }
    }

    fn write(&self, path: &Path, value: &impl Serialize) -> Result<()> {
        let text = serde_json::to_vec(value).map_err(|error| Error::Internal(error.to_string()))?;
        let write = || -> io::Result<()> {
            let mut file = tempfile::NamedTempFile::new_in(&self.folder)?;
            file.write_all(&text)?;
            file.as_file().sync_all()?;
            file.persist(path).map_err(|error| error.error)?;
            File::open(&self.folder)?.sync_all()
        };
        write().map_err(|error| self.failed(error))
    }

    fn failed(&self, error: io::Error) -> Error {
        Error::State { path: self.folder.clone(), reason: error.to_string() }
    }
}

fn read<T: DeserializeOwned>(path: &Path) -> Option<T> {
    let text = fs::read(path).ok()?;
    let value = serde_json::from_slice(&text);
    value.inspect_err(|error| tracing::warn!("{} is of no use: {error}", path.display())).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_left_the_folder_changes_nothing_in_it() {
        let folder = tempfile::tempdir().unwrap();
        let output = folder.path().join("out.mkv");
        let workspace = Workspace::open(&output, "mkv").unwrap();
        let kept = workspace.folder().join("chunk-00000.json");
        fs::write(&kept, "{}").unwrap();
        workspace.leave();
        let next = Workspace::open(&output, "mkv").unwrap();
        for refused in [workspace.clear(), workspace.forget_chunk(0), workspace.remove_folder()] {
            assert!(matches!(refused, Err(Error::Cancelled)), "{refused:?}");
        }
        assert!(kept.exists());
        next.clear().unwrap();
        assert!(!kept.exists());
    }
}
