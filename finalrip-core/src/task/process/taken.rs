//! What a process has made, out of its reach.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use tokio::task::spawn_blocking;

/// What the names of folders for what was taken begin with. Encoder processes see nothing of them.
pub(super) const PREFIX: &str = "taken-";

/// A plain file that an encoder process has made, in a folder that it cannot reach.
///
/// A script can do what it likes with the names in its scratch folder, at any time: put a link to another file there, or
/// a pipe. What has been moved away first, and looked at then, stays what was seen.
#[derive(Debug)]
pub struct Taken {
    file: PathBuf,
    _folder: TempDir,
}

impl Taken {
    /// Moves `output`, which lies in the folder `scratch`.
    pub(super) async fn take(scratch: &Path, output: &Path) -> Result<Self, String> {
        let (scratch, output) = (scratch.to_owned(), output.to_owned());
        let taken = spawn_blocking(move || take(&scratch, &output)).await.map_err(|error| error.to_string())?;
        taken.map_err(|error| error.to_string())
    }

    /// Where it lies now.
    #[must_use]
    pub fn file(&self) -> &Path {
        &self.file
    }
}

fn take(scratch: &Path, output: &Path) -> io::Result<Taken> {
    let beside = scratch.parent().unwrap_or(scratch);
    let private = Permissions::from_mode(0o700);
    let folder = tempfile::Builder::new().prefix(PREFIX).permissions(private).tempdir_in(beside)?;
    let file = folder.path().join(output.file_name().unwrap_or_default());
    // Moves the name itself, also that of a link.
    fs::rename(output, &file)?;
    let about = fs::symlink_metadata(&file)?;
    // Under a second name it would still be the script's.
    if about.is_file() && about.nlink() == 1 {
        Ok(Taken { file, _folder: folder })
    } else {
        Err(io::Error::other(format!("{} is not one plain file", output.display())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_plain_file_is_taken() {
        let place = tempfile::tempdir().unwrap();
        let scratch = place.path().join("scratch");
        fs::create_dir(&scratch).unwrap();
        fs::write(place.path().join("secret"), "the token").unwrap();
        let output = scratch.join("clip.mkv");
        let left = || fs::read_dir(place.path()).unwrap().count();
        let make: [&dyn Fn(); 5] = [
            &|| std::os::unix::fs::symlink(place.path().join("secret"), &output).unwrap(),
            &|| std::os::unix::fs::symlink("/proc/self/environ", &output).unwrap(),
            &|| fs::create_dir(&output).unwrap(),
            &|| assert!(std::process::Command::new("mkfifo").arg(&output).status().unwrap().success()),
            &|| {
                fs::write(scratch.join("other"), "x").unwrap();
                fs::hard_link(scratch.join("other"), &output).unwrap();
            },
        ];
        for make in make {
            make();
            let error = take(&scratch, &output).unwrap_err().to_string();
            assert!(error.contains("not one plain file"), "{error}");
            assert!(!output.exists() && !output.is_symlink() && left() == 2);
        }
        assert_eq!(fs::read_to_string(place.path().join("secret")).unwrap(), "the token");
        fs::write(&output, "a clip").unwrap();
        let taken = take(&scratch, &output).unwrap();
        assert_eq!(fs::read_to_string(taken.file()).unwrap(), "a clip");
        assert!(!output.exists());
        drop(taken);
        assert_eq!(left(), 2);
    }
}
