//! What the parts of a run came to, kept in a file as they come, so that a run that is cut off goes on where it was.
//!
//! The file begins with eight octets of its own and a digest of the settings; then come entries, each a length and a
//! checksum (8 octets each, little-endian) and what they speak of: an [`Entry`] in postcard's form, compressed. An
//! entry is durable before the next part is begun. One that was cut off is cut away when the journal is opened; its
//! part is read again.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::part::Part;

/// What a journal begins with; the last octet is the version of what follows.
const MAGIC: [u8; 8] = *b"blkscp\0\x02";

const HEADER: u64 = 40;

/// Level 1 halves the time of the default level and costs a tenth in size.
const LEVEL: i32 = 1;

/// A capture as the file system knows it: whether it is the one that was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Its path as the user gave it.
    pub path: PathBuf,
    /// Its length, in bytes.
    pub len: u64,
    /// When it was last written to, in nanoseconds since 1970.
    pub modified: u128,
}

impl Identity {
    /// The capture at `path` as it is now; none if there is nothing that can be read again.
    #[must_use]
    pub fn of(path: &Path) -> Option<Self> {
        let found = std::fs::metadata(path).ok().filter(std::fs::Metadata::is_file)?;
        let modified = found.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
        Some(Self {
            path: path.to_owned(),
            len: found.len(),
            modified: modified.as_nanos(),
        })
    }
}

/// One capture that is done with.
#[derive(Debug, Serialize, Deserialize)]
pub struct Entry {
    /// Which.
    pub capture: Identity,
    /// What it came to; without files if it could not be read.
    pub part: Part,
}

/// A journal that is open for more entries.
#[derive(Debug)]
pub struct Journal {
    file: File,
}

impl Journal {
    /// Opens the journal at `path`, or begins one, of a run whose settings have the digest `settings`. Gives the entries
    /// it holds, in the order they were made.
    ///
    /// # Errors
    /// It cannot be read or written, is no journal, or is one of a run with other settings. It is then left as it is.
    pub fn open(path: &Path, settings: [u8; 32]) -> io::Result<(Self, Vec<Entry>)> {
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let header = [&MAGIC[..], &settings].concat();
        // One that was cut off while it was begun holds nothing.
        if header.starts_with(&bytes) && bytes.len() < header.len() {
            file.set_len(0)?;
            file.seek(SeekFrom::Start(0))?;
            file.write_all(&header)?;
            file.sync_all()?;
            return Ok((Self { file }, Vec::new()));
        }
        let invalid = |why| Err(io::Error::new(io::ErrorKind::InvalidData, why));
        if !bytes.starts_with(&MAGIC) {
            return invalid(
                "this is no state of a reading, or that of another version of this program: give --state a file of its own",
            );
        }
        if !bytes.starts_with(&header) {
            return invalid(
                "this is the state of a reading with other settings (version, filter, fingerprints, flows): repeat those, \
                 or give --state another file",
            );
        }
        let mut entries = Vec::new();
        let mut at = HEADER;
        while let Some((entry, len)) = bytes.get(at as usize..).and_then(read_entry) {
            entries.push(entry);
            at += len;
        }
        if at < bytes.len() as u64 {
            tracing::warn!("the last entry of the state is not whole: its capture is read again");
        }
        file.set_len(at)?;
        file.seek(SeekFrom::Start(at))?;
        Ok((Self { file }, entries))
    }

    /// Adds an entry, and waits until it is durable.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn append(&mut self, entry: &Entry) -> io::Result<()> {
        let packed = postcard::to_stdvec(entry).map_err(io::Error::other)?;
        let packed = zstd::bulk::compress(&packed, LEVEL)?;
        let mut bytes = Vec::with_capacity(packed.len() + 16);
        bytes.extend_from_slice(&(packed.len() as u64).to_le_bytes());
        bytes.extend_from_slice(&checksum(&packed));
        bytes.extend_from_slice(&packed);
        self.file.write_all(&bytes)?;
        self.file.sync_data()
    }
}

fn checksum(packed: &[u8]) -> [u8; 8] {
    let digest: [u8; 32] = Sha256::digest(packed).into();
    digest.first_chunk().copied().unwrap_or_default()
}

/// The entry that `bytes` begin with, and how many of them it takes; none if it is not whole.
fn read_entry(bytes: &[u8]) -> Option<(Entry, u64)> {
    let (len, rest) = bytes.split_first_chunk::<8>()?;
    let (sum, rest) = rest.split_first_chunk::<8>()?;
    let len = u64::from_le_bytes(*len);
    let packed = rest.get(..usize::try_from(len).ok()?)?;
    if checksum(packed) != *sum {
        return None;
    }
    let entry = zstd::decode_all(packed).ok()?;
    Some((postcard::from_bytes(&entry).ok()?, 16 + len))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str) -> Entry {
        Entry {
            capture: Identity {
                path: name.into(),
                len: 7,
                modified: 9,
            },
            part: Part::default(),
        }
    }

    fn names(entries: &[Entry]) -> Vec<&str> {
        entries.iter().filter_map(|entry| entry.capture.path.to_str()).collect()
    }

    #[test]
    fn what_was_written_is_there_however_it_is_cut_off() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("state");
        let (mut journal, held) = Journal::open(&path, [1; 32]).unwrap();
        assert!(held.is_empty());
        let mut ends = vec![HEADER];
        for name in ["a", "b"] {
            journal.append(&entry(name)).unwrap();
            ends.push(std::fs::metadata(&path).unwrap().len());
        }
        let whole = std::fs::read(&path).unwrap();
        for len in 0..=whole.len() {
            std::fs::write(&path, &whole[..len]).unwrap();
            let (mut journal, held) = Journal::open(&path, [1; 32]).unwrap();
            let expected = ends[1..].iter().filter(|end| **end <= len as u64).count();
            assert_eq!(names(&held), ["a", "b"][..expected], "cut at {len}");
            journal.append(&entry("c")).unwrap();
            let (_, held) = Journal::open(&path, [1; 32]).unwrap();
            assert_eq!(held.len(), expected + 1);
        }
    }

    #[test]
    fn what_is_no_journal_or_another_ones_is_left_alone() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("state");
        std::fs::write(&path, b"my only copy of a novel").unwrap();
        assert!(Journal::open(&path, [1; 32]).is_err());
        assert_eq!(std::fs::read(&path).unwrap(), b"my only copy of a novel");
        std::fs::remove_file(&path).unwrap();
        let (mut journal, _) = Journal::open(&path, [1; 32]).unwrap();
        journal.append(&entry("a")).unwrap();
        assert!(Journal::open(&path, [2; 32]).is_err());
        assert_eq!(Journal::open(&path, [1; 32]).unwrap().1.len(), 1);
    }

    #[test]
    fn an_entry_whose_octets_changed_is_none() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("state");
        let (mut journal, _) = Journal::open(&path, [1; 32]).unwrap();
        journal.append(&entry("a")).unwrap();
        let mut bytes = std::fs::read(&path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        std::fs::write(&path, bytes).unwrap();
        assert!(Journal::open(&path, [1; 32]).unwrap().1.is_empty());
    }
}
