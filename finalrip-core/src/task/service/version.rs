//! Which version of a source a plan was made of.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use sha2::{Digest, Sha256};

/// How many places of a file are looked at, and how many bytes at each.
const PLACES: u64 = 16;
const LENGTH: u64 = 64 << 10;

/// What tells one version of a source from another.
///
/// A store's ETag changes whenever an object does, but not only then: that of a local store holds the file's inode, which is
/// another one after a backup was restored, and that of a bucket may change when its objects are copied to another. So the
/// content has a say too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SourceVersion {
    /// The store's ETag.
    pub(super) e_tag: Option<String>,
    /// The hash of the file's size and of a sample of its content ([`sample`]). `None` in plans of earlier versions of this program.
    pub(super) sample: Option<String>,
}

impl SourceVersion {
    /// Whether both are the same film.
    pub(super) fn is(&self, other: &Self) -> bool {
        let same_content = self.sample.is_some() && self.sample == other.sample;
        self.e_tag == other.e_tag
            || same_content
            || match (self.time_and_size(), other.time_and_size()) {
                (Some(mine), Some(theirs)) => mine == theirs && (self.sample.is_none() || other.sample.is_none()),
                _ => false,
            }
    }

    /// What a local store's ETag says beside the inode.
    fn time_and_size(&self) -> Option<&str> {
        let tag = self.e_tag.as_deref()?.strip_prefix('"')?.strip_suffix('"')?;
        let (_inode, rest) = tag.split_once('-')?;
        let (time, size) = rest.split_once('-')?;
        let is_hex = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        (is_hex(time) && is_hex(size)).then_some(rest)
    }
}

/// The hash of a file's size and of 16 places of 64 KiB, evenly spread over it, its beginning and end among them; of all of
/// a file that is not larger than these.
pub(super) fn sample(file: &Path) -> io::Result<String> {
    let file = File::open(file)?;
    let size = file.metadata()?.len();
    let mut hash = Sha256::new();
    hash.update(size.to_le_bytes());
    let mut piece = vec![0; LENGTH as usize];
    let whole = size <= PLACES * LENGTH;
    for place in 0..PLACES {
        let start = match whole {
            true => place * LENGTH,
            false => u64::try_from(u128::from(size - LENGTH) * u128::from(place) / u128::from(PLACES - 1)).unwrap_or(0),
        };
        let length = usize::try_from(LENGTH.min(size.saturating_sub(start))).unwrap_or(0);
        file.read_exact_at(&mut piece[..length], start)?;
        hash.update(&piece[..length]);
    }
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(e_tag: &str, sample: Option<&str>) -> SourceVersion {
        SourceVersion { e_tag: Some(e_tag.to_owned()), sample: sample.map(ToOwned::to_owned) }
    }

    #[test]
    fn a_moved_file_is_the_same_and_a_replaced_one_is_not() {
        let planned = version("\"1a-2b-3c\"", Some("x"));
        for (found, same) in [
            (version("\"1a-2b-3c\"", Some("x")), true),
            (version("\"ff-2b-3c\"", Some("x")), true),
            (version("\"ff-99-3c\"", Some("x")), true),
            (version("\"ff-2b-3c\"", Some("y")), false),
            (version("\"ff-99-3c\"", Some("y")), false),
        ] {
            assert_eq!(planned.is(&found), same, "{found:?}");
        }
        // A plan of an earlier version knows no sample.
        let earlier = version("\"1a-2b-3c\"", None);
        assert!(earlier.is(&version("\"ff-2b-3c\"", Some("x"))));
        assert!(!earlier.is(&version("\"ff-99-3c\"", Some("x"))));
        assert!(!version("\"abc-2\"", None).is(&version("\"abd-2\"", Some("x"))));
    }

    #[test]
    fn a_sample_sees_size_beginning_middle_and_end() {
        let folder = tempfile::tempdir().unwrap();
        let sampled = |content: &[u8]| {
            let file = folder.path().join("film");
            std::fs::write(&file, content).unwrap();
            sample(&file).unwrap()
        };
        for size in [0, 1, LENGTH as usize, 3 << 20] {
            let content = vec![7; size];
            assert_eq!(sampled(&content), sampled(&content));
            assert_ne!(sampled(&content), sampled(&[&content[..], &[7]].concat()), "{size}");
            for place in [0, size / 2, size.saturating_sub(1)] {
                let mut other = content.clone();
                let Some(byte) = other.get_mut(place) else { continue };
                *byte = 8;
                // The middle of a large file may lie between two places.
                if place != size / 2 || size <= (PLACES * LENGTH) as usize {
                    assert_ne!(sampled(&content), sampled(&other), "{size} {place}");
                }
            }
        }
        assert!(sample(&folder.path().join("none")).is_err());
    }
}
