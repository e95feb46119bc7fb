//! The store against every backend: one kit of behaviours, and what is particular to each.

mod bucket;
mod faults;
mod faulty;
mod garage;
mod kit;
mod links;
mod local;
mod process;

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::{LocalConfig, Reader, Retries, Store, StoreConfig, StoreError, VideoKey};

fn local_store(folder: &Path) -> Store {
    Store::open(&StoreConfig::Local(LocalConfig { folder: folder.to_owned() })).unwrap()
}

/// Many attempts without the waiting.
fn impatient() -> Retries {
    let pause = Duration::from_millis(1);
    Retries { attempts: 10, pause, longest_pause: pause, time_out: Duration::from_millis(200) }
}

fn video(key: &str) -> VideoKey {
    VideoKey::new(key).unwrap()
}

/// Bytes that are not alike anywhere.
fn noise(length: usize, seed: u64) -> Bytes {
    let mut content = vec![0; length];
    StdRng::seed_from_u64(seed).fill(&mut content[..]);
    content.into()
}

/// `content` in pieces of up to `longest` bytes.
fn pieces(content: &Bytes, longest: usize) -> impl Stream<Item = std::io::Result<Bytes>> + Send + use<> {
    let content = content.clone();
    let starts = (0..content.len()).step_by(longest);
    futures_util::stream::iter(starts.map(move |start| Ok(content.slice(start..content.len().min(start + longest)))))
}

async fn all_of(mut reader: Reader) -> Result<Bytes, StoreError> {
    let mut content = Vec::new();
    while let Some(piece) = reader.next().await? {
        content.extend_from_slice(&piece);
    }
    Ok(content.into())
}

/// All files below `folder`, sorted.
fn files_below(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).unwrap().map(Result::unwrap) {
            match entry.file_type().unwrap().is_dir() {
                true => folders.push(entry.path()),
                false => found.push(entry.path().strip_prefix(folder).unwrap().to_str().unwrap().to_owned()),
            }
        }
    }
    found.sort();
    found
}
