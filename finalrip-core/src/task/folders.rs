//! Folders that scripts have written to.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Removes a folder with all that is in it; one that is not there is no error. A script may have taken the right to
/// look into a folder from everybody; it is given back then. To be called when nothing runs any more that could put
/// other things in their place.
pub(super) fn remove(folder: &Path) -> io::Result<()> {
    let removed = match fs::remove_dir_all(folder) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            open_up(folder)?;
            fs::remove_dir_all(folder)
        }
        removed => removed,
    };
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// Gives the owner every right to a folder and the folders in it.
fn open_up(folder: &Path) -> io::Result<()> {
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        fs::set_permissions(&folder, Permissions::from_mode(0o700))?;
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            // Of the entry itself, not of what a link leads to.
            if entry.file_type()?.is_dir() {
                folders.push(entry.path());
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_nobody_may_look_into_is_removed() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("folder");
        fs::create_dir_all(folder.join("a/b")).unwrap();
        fs::write(folder.join("a/b/file"), "x").unwrap();
        std::os::unix::fs::symlink(place.path(), folder.join("link")).unwrap();
        for locked in [folder.join("a/b"), folder.join("a")] {
            fs::set_permissions(locked, Permissions::from_mode(0o000)).unwrap();
        }
        // For root nothing is locked; what it is all about is the same.
        open_up(&folder).unwrap();
        assert_eq!(fs::metadata(folder.join("a/b")).unwrap().permissions().mode() & 0o777, 0o700);
        remove(&folder).unwrap();
        assert!(!folder.exists() && place.path().exists());
        remove(&folder).unwrap();
    }
}
