//! Writes a file so that whoever looks sees the old one or the new one, never a part.

use std::fs::{self, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use tempfile::Builder;

/// Puts `text` into the file at `path`, all of it or none. What is no ordinary file (`/dev/stdout`) is written to.
///
/// # Errors
/// When the directory or the file cannot be written; the old file is then as it was.
pub fn replace(path: &Path, text: &[u8]) -> io::Result<()> {
    if fs::metadata(path).is_ok_and(|found| !found.is_file()) {
        return fs::OpenOptions::new().write(true).open(path)?.write_all(text);
    }
    // A link stays one: the file it leads to is replaced.
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    // As a file is created otherwise, if the process's mask lets it.
    let permissions = fs::metadata(&path).map_or_else(|_| Permissions::from_mode(0o666), |found| found.permissions());
    let mut file = Builder::new()
        .prefix(".blockscope-")
        .permissions(permissions)
        .tempfile_in(directory.unwrap_or_else(|| Path::new(".")))?;
    file.write_all(text)?;
    file.as_file().sync_all()?;
    file.persist(&path).map(drop).map_err(|error| error.error)
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
}
