//! A file that takes another one's place when it is complete: whoever looks sees the old one or the new one, never a
//! part, whatever happens while it is written.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::{Builder, NamedTempFile};

use crate::capture::capture_set::UNFINISHED;

/// A file being written. Dropped before [`Self::finish`], it leaves the old one as it was.
#[derive(Debug)]
pub struct Replacement(State);

#[derive(Debug)]
enum State {
    /// Under a name of its own, in the directory of the one it is to replace.
    Beside { file: NamedTempFile, path: PathBuf },
    /// What cannot be replaced, only written to: devices, pipes, and files in directories one may not write to.
    InPlace(File),
}

impl Replacement {
    /// Begins what is to become the file at `path`. A link stays one: the file it leads to is replaced.
    ///
    /// # Errors
    /// When neither the directory nor the file can be written to.
    pub fn begin(path: &Path) -> io::Result<Self> {
        let found = fs::metadata(path);
        if found.as_ref().is_ok_and(|found| !found.is_file()) {
            return OpenOptions::new()
                .write(true)
                .open(path)
                .map(|file| Self(State::InPlace(file)));
        }
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        // As a file is created otherwise, if the process's mask lets it.
        let permissions = found.map_or_else(|_| Permissions::from_mode(0o666), |found| found.permissions());
        let begun = Builder::new()
            .prefix(UNFINISHED)
            .permissions(permissions)
            .tempfile_in(directory.unwrap_or_else(|| Path::new(".")));
        match begun {
            Ok(file) => Ok(Self(State::Beside { file, path })),
            Err(error) if error.kind() == ErrorKind::PermissionDenied && path.exists() => {
                let file = OpenOptions::new().write(true).truncate(true).open(&path)?;
                Ok(Self(State::InPlace(file)))
            }
            Err(error) => Err(error),
        }
    }

    /// Puts the file into its place.
    ///
    /// # Errors
    /// When it cannot be made durable or renamed; the old file is then as it was.
    pub fn finish(self) -> io::Result<()> {
        match self.0 {
            State::Beside { file, path } => {
                file.as_file().sync_all()?;
                file.persist(&path).map(drop).map_err(|error| error.error)
            }
            State::InPlace(mut file) => file.flush(),
        }
    }
}

impl Write for Replacement {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.0 {
            State::Beside { file, .. } => file.write(bytes),
            State::InPlace(file) => file.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.0 {
            State::Beside { file, .. } => file.flush(),
            State::InPlace(file) => file.flush(),
        }
    }
}

/// Puts `text` into the file at `path`, all of it or none. What is no ordinary file (`/dev/stdout`) is written to.
///
/// # Errors
/// As [`Replacement::begin`] and [`Replacement::finish`].
pub fn replace(path: &Path, text: &[u8]) -> io::Result<()> {
    let mut file = Replacement::begin(path)?;
    file.write_all(text)?;
    file.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_created_or_replaced_and_nothing_else_is_left() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("x");
        replace(&path, b"one").unwrap();
        let link = root.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        replace(&link, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 2);
        assert!(replace(&root.path().join("none").join("x"), b"").is_err());
        replace(Path::new("/dev/null"), b"three").unwrap();
    }

    #[test]
    fn what_is_given_up_leaves_the_old_file_and_nothing_else() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("x");
        replace(&path, b"old").unwrap();
        let mut file = Replacement::begin(&path).unwrap();
        file.write_all(b"new, but not yet").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"old");
        drop(file);
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);
    }
}
