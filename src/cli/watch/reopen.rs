//! A file that findings are appended to and that can be opened anew while they are, after it was rotated.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::fchown;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Context;
use blockscope::report::escape::escaped_path;

/// The file, shared between who writes and who opens it anew.
#[derive(Clone, Debug)]
pub(super) struct Reopened {
    path: PathBuf,
    file: Arc<Mutex<File>>,
}

impl Reopened {
    /// Opens the file at `path` for appending; it is created if need be, and then belongs to `owner` if there is one.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub(super) fn open(path: &Path, owner: Option<(u32, u32)>) -> anyhow::Result<Self> {
        let is_new = !path.exists();
        let file = append(path).with_context(|| format!("cannot write {}", escaped_path(path)))?;
        if is_new {
            hand_over(&file, path, owner);
        }
        Ok(Self {
            path: path.to_owned(),
            file: Arc::new(Mutex::new(file)),
        })
    }

    /// Opens the file anew. If that fails, the one that is open goes on being used.
    pub(super) fn reopen(&self) {
        match append(&self.path) {
            Ok(file) => *self.lock() = file,
            Err(error) => tracing::warn!("{} cannot be opened anew: {error}", escaped_path(&self.path)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, File> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Write for Reopened {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.lock().write(bytes)
    }

    /// All of it or, in a regular file, nothing: a disk that is full leaves no half record.
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut file = self.lock();
        let before = file.metadata().ok().filter(Metadata::is_file).map(|file| file.len());
        let outcome = file.write_all(bytes);
        if let (Err(_), Some(before)) = (&outcome, before) {
            // The first error is the one to tell.
            let _ = file.set_len(before);
        }
        outcome
    }

    fn flush(&mut self) -> io::Result<()> {
        self.lock().flush()
    }
}

/// Gives a file that was just made to `owner`, if there is one. That user can write to it either way.
pub(super) fn hand_over(file: &File, path: &Path, owner: Option<(u32, u32)>) {
    let Some((uid, gid)) = owner else { return };
    if let Err(error) = fchown(file, Some(uid), Some(gid)) {
        tracing::warn!("{} cannot be given to user {uid}: {error}", escaped_path(path));
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).open(path)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_is_written_after_a_rotation_lands_in_the_new_file() {
        let dir = tempfile::tempdir().unwrap();
        let (path, rotated) = (dir.path().join("log"), dir.path().join("log.1"));
        fs::write(&path, "before\n").unwrap();
        let mut file = Reopened::open(&path, None).unwrap();
        file.write_all(b"one\n").unwrap();
        fs::rename(&path, &rotated).unwrap();
        file.write_all(b"two\n").unwrap();
        file.reopen();
        file.write_all(b"three\n").unwrap();
        assert_eq!(fs::read_to_string(&rotated).unwrap(), "before\none\ntwo\n");
        assert_eq!(fs::read_to_string(&path).unwrap(), "three\n");
        fs::remove_dir_all(dir.path()).unwrap();
        file.reopen();
        file.write_all(b"still written\n").unwrap();
    }
}
