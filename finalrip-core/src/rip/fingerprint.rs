//! What a rip depends on, in short: chunks may be joined only when they were made of the same things.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::encoder::command::EncodeCommand;
use crate::error::{Error, Result};
use crate::script::Script;

/// One line for each thing that the chunks depend on, by the name that a user knows it by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Fingerprint(BTreeMap<String, String>);

impl Fingerprint {
    /// # Errors
    /// [`Error::Source`] or [`Error::Script`] when a file cannot be read.
    pub(crate) fn of(
        script: &Script,
        command: &EncodeCommand,
        source: Option<&Path>,
        (options, versions): (&impl Serialize, &str),
    ) -> Result<Self> {
        let mut lines = BTreeMap::new();
        let mut note = |name: &str, value: String| lines.insert(name.to_owned(), value);
        note("the script", hex(&Sha256::digest(script.text()?)));
        note("the script's arguments", format!("{:?}", script.arguments()));
        note("the script's output index", script.index().to_string());
        note("the encode command", json(command)?);
        note("the options", json(options)?);
        note("the library versions", versions.to_owned());
        if let Some(path) = source {
            let value = of_file(path);
            let value = value.map_err(|error| Error::Source { path: path.to_owned(), reason: error.to_string() })?;
            note("the source", value);
        }
        Ok(Self(lines))
    }

    /// The names of what differs from an earlier fingerprint.
    pub(crate) fn changes_since(&self, earlier: &Self) -> Vec<String> {
        let names = self.0.keys().chain(earlier.0.keys());
        let mut changed: Vec<String> =
            names.filter(|name| self.0.get(*name) != earlier.0.get(*name)).cloned().collect();
        changed.sort();
        changed.dedup();
        changed
    }
}

fn json(value: &impl Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(|error| Error::Internal(error.to_string()))
}

/// How much is read at each end of a source: enough to tell files apart, little enough for a network drive.
const SAMPLE: u64 = 1 << 20;

/// Size, time of change, and a hash over both ends of a file.
fn of_file(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let about = file.metadata()?;
    let changed = about.modified()?.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
    let mut hash = Sha256::new();
    let mut sample = Vec::new();
    (&mut file).take(SAMPLE).read_to_end(&mut sample)?;
    hash.update(&sample);
    if about.len() > SAMPLE {
        file.seek(SeekFrom::Start(about.len().saturating_sub(SAMPLE).max(SAMPLE)))?;
        sample.clear();
        file.take(SAMPLE).read_to_end(&mut sample)?;
        hash.update(&sample);
    }
    Ok(format!("{} bytes, {changed}, {}", about.len(), hex(&hash.finalize())))
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// SHA-256 of some bytes, in hexadecimal.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}
