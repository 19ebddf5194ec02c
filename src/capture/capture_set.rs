//! All captures of a run, one after another.
//!
//! What the user names is taken in the order given; a directory stands for the captures below it, in order of their first
//! packet. A batch never mixes files, and what is wrong with one file does not keep the others from being read.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::{fs, io};

use walkdir::{DirEntry, WalkDir};

use super::capture_file::CaptureFile;
use super::error::CaptureError;
use super::source::{FileNote, Progress, RecordBatch, Source, Supply};
use crate::time::Timestamp;

/// How many records a batch holds unless told otherwise.
pub const DEFAULT_BATCH_LEN: usize = 1024;

/// What the names of files begin with that are being written and are to replace others.
pub const UNFINISHED: &str = ".blockscope-";

/// Says that a directory's contents can be made again, such as a build's (<https://bford.info/cachedir/>).
const CACHE_TAG: &str = "CACHEDIR.TAG";

/// The number of a file in a [`FrameNumber`](crate::packet::frame::FrameNumber) is 20 bits wide.
const MOST_FILES: usize = 1 << 20;

/// The captures a run is given.
#[derive(Debug)]
pub struct CaptureSet {
    waiting: VecDeque<Entry>,
    reading: Option<Reading>,
    notes: Vec<FileNote>,
    /// The number of the first file.
    first: u32,
    batch_len: usize,
    /// Bytes of the files that are done with.
    bytes_done: u64,
    bytes_total: Option<u64>,
}

#[derive(Debug)]
enum Entry {
    File {
        path: PathBuf,
        /// On disk, where that is known beforehand.
        len: Option<u64>,
    },
    Unreadable(CaptureError),
}

#[derive(Debug)]
struct Reading {
    file: CaptureFile,
    len: Option<u64>,
}

impl CaptureSet {
    /// The captures that `paths` name: files, directories, and `-` for standard input. Looks into directories, also into
    /// those within, and at the first packet of each file there; what is hidden is left alone, files that are no captures
    /// are passed over with a warning. Everything else that is wrong is told by [`Source::supply`] when its turn comes.
    #[must_use]
    pub fn open(paths: &[PathBuf]) -> Self {
        let mut waiting = VecDeque::new();
        for path in paths {
            let metadata = match path == Path::new("-") {
                true => None,
                false => Some(fs::metadata(path)),
            };
            let len = match metadata {
                Some(Ok(metadata)) if metadata.is_dir() => {
                    waiting.extend(captures_below(path));
                    continue;
                }
                Some(Ok(metadata)) if metadata.is_file() => Some(metadata.len()),
                // Nothing will be read of it; opening it will say why.
                Some(Err(_)) => Some(0),
                // Standard input, a FIFO, a device: nobody knows.
                Some(Ok(_)) | None => None,
            };
            waiting.push_back(Entry::File {
                path: path.clone(),
                len,
            });
        }
        if waiting.len() > MOST_FILES {
            tracing::warn!(files = waiting.len(), "only the first {MOST_FILES} files are read");
            waiting.truncate(MOST_FILES);
        }
        let bytes_total = waiting
            .iter()
            .map(|entry| match entry {
                Entry::File { len, .. } => *len,
                Entry::Unreadable(_) => Some(0),
            })
            .sum();
        Self {
            waiting,
            reading: None,
            notes: Vec::new(),
            first: 0,
            batch_len: DEFAULT_BATCH_LEN,
            bytes_done: 0,
            bytes_total,
        }
    }

    /// Takes out the next capture as a set of its own, whose frames get the file number `file`. The path is that of the
    /// capture, where there is one.
    pub fn take_first(&mut self, file: u32) -> Option<(Option<PathBuf>, Self)> {
        let entry = self.waiting.pop_front()?;
        let (path, len) = match &entry {
            Entry::File { path, len } => (Some(path.clone()), *len),
            Entry::Unreadable(_) => (None, Some(0)),
        };
        let alone = Self {
            waiting: VecDeque::from([entry]),
            reading: None,
            notes: Vec::new(),
            first: file,
            batch_len: self.batch_len,
            bytes_done: self.bytes_done,
            bytes_total: self.bytes_total,
        };
        self.bytes_done += len.unwrap_or(0);
        Some((path, alone))
    }

    /// The same with up to `records` records in a batch (at least one).
    #[must_use]
    pub fn with_batch_len(mut self, records: usize) -> Self {
        self.batch_len = records.max(1);
        self
    }

    /// Supplies from the file being read, if any. `None` when it is at its end.
    fn supply_from_current(&mut self, batch: &mut RecordBatch) -> Option<Supply> {
        let reading = self.reading.as_mut()?;
        let supply = reading.file.supply(batch, self.batch_len);
        let note = self.notes.last_mut()?;
        note.frames += batch.records.len() as u64;
        match supply {
            Supply::Records | Supply::Quiet => Some(supply),
            Supply::End => {
                note.damage = reading.file.damage();
                self.bytes_done += reading.len.unwrap_or_else(|| reading.file.bytes_read());
                self.reading = None;
                None
            }
        }
    }
}

impl Source for CaptureSet {
    /// An error concerns one file; the next call goes on with the file after it.
    fn supply(&mut self, batch: &mut RecordBatch) -> Result<Supply, CaptureError> {
        loop {
            if let Some(supply) = self.supply_from_current(batch) {
                return Ok(supply);
            }
            batch.records.clear();
            match self.waiting.pop_front() {
                None => return Ok(Supply::End),
                Some(Entry::Unreadable(error)) => return Err(error),
                Some(Entry::File { path, len }) => {
                    let file = CaptureFile::open(&path, self.first + self.notes.len() as u32).inspect_err(|_| {
                        self.bytes_done += len.unwrap_or(0);
                    })?;
                    self.notes.push(FileNote {
                        path,
                        ..FileNote::default()
                    });
                    self.reading = Some(Reading { file, len });
                }
            }
        }
    }

    fn progress(&self) -> Progress {
        let current = self.reading.as_ref().map_or(0, |reading| reading.file.bytes_read());
        Progress {
            bytes_read: self.bytes_done + current,
            bytes_total: self.bytes_total,
        }
    }

    fn files(&self) -> &[FileNote] {
        &self.notes
    }
}

/// The captures below a directory, at any depth, by the time of their first packet (those without any packet first),
/// then by name.
fn captures_below(root: &Path) -> Vec<Entry> {
    let mut found: Vec<(Option<Timestamp>, PathBuf, Entry)> = Vec::new();
    let mut foreign: Vec<PathBuf> = Vec::new();
    for item in WalkDir::new(root).into_iter().filter_entry(worth_a_look) {
        let looked_at = item.map_err(|error| {
            let path = error.path().unwrap_or(root).to_owned();
            (path, io::Error::from(error))
        });
        let looked_at = looked_at.and_then(|item| {
            let path = item.into_path();
            // What a link leads to counts.
            match fs::metadata(&path) {
                Ok(metadata) => Ok((path, metadata)),
                Err(source) => Err((path, source)),
            }
        });
        let (path, metadata) = match looked_at {
            Ok(seen) => seen,
            Err((path, source)) => {
                let error = CaptureError::Io {
                    path: path.clone(),
                    source,
                };
                found.push((None, path, Entry::Unreadable(error)));
                continue;
            }
        };
        if metadata.is_dir() {
            if path.is_symlink() && path != root {
                tracing::warn!(path = %path.display(), "a link to a directory: passed over");
            }
            continue;
        }
        // Opening a FIFO would wait for its writer.
        if !metadata.is_file() {
            tracing::warn!(path = %path.display(), "not a regular file: passed over");
            continue;
        }
        let len = Some(metadata.len());
        match first_time(&path) {
            Ok(at) => found.push((at, path.clone(), Entry::File { path, len })),
            Err(CaptureError::Foreign { .. }) => foreign.push(path),
            Err(error) => found.push((None, path, Entry::Unreadable(error))),
        }
    }
    if let Some(first) = foreign.iter().min() {
        let (files, path) = (foreign.len(), root.display());
        tracing::warn!(files, first = %first.display(), "{path}: files that are no captures are passed over");
    }
    if found.is_empty() {
        let path = root.to_owned();
        return vec![Entry::Unreadable(CaptureError::NoCaptures { path })];
    }
    found.sort_by(|(at, path, _), (other_at, other_path, _)| (at, path).cmp(&(other_at, other_path)));
    found.into_iter().map(|(_, _, entry)| entry).collect()
}

/// Whether captures may be meant that lie there, when those below a directory are asked for: not what is hidden (a
/// repository's store, a file that is still being written), nor what can be made again.
pub(crate) fn worth_a_look(entry: &DirEntry) -> bool {
    if entry.depth() == 0 {
        return true;
    }
    let name = entry.file_name().as_encoded_bytes();
    match entry.file_type().is_dir() {
        true => !name.starts_with(b".") && !entry.path().join(CACHE_TAG).is_file(),
        false => !name.starts_with(UNFINISHED.as_bytes()),
    }
}

/// The time of a file's first packet.
fn first_time(path: &Path) -> Result<Option<Timestamp>, CaptureError> {
    let mut file = CaptureFile::open(path, 0)?;
    let mut batch = RecordBatch::default();
    file.supply(&mut batch, 1);
    Ok(batch.records.first().map(|record| record.at))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::sample::{Order, Pcap};

    fn capture(times: &[u32]) -> Vec<u8> {
        times
            .iter()
            .fold(Pcap::new(Order::Little, Pcap::MICROS, 1), |capture, at| {
                capture.record(*at, 0, b"frame")
            })
            .bytes
    }

    /// What a set supplies: the seconds of each batch's frames, or an error.
    fn run(set: &mut CaptureSet) -> Vec<Result<Vec<u64>, String>> {
        let mut batch = RecordBatch::default();
        let mut supplied = Vec::new();
        loop {
            match set.supply(&mut batch) {
                Ok(Supply::End) => return supplied,
                Ok(_) => supplied.push(Ok(batch
                    .records
                    .iter()
                    .map(|record| record.at.as_nanos() / 1_000_000_000)
                    .collect())),
                Err(error) => supplied.push(Err(error.to_string())),
            }
        }
    }

    #[test]
    fn a_directory_is_read_in_order_of_time_and_what_is_no_capture_is_passed_over() {
        let directory = tempfile::tempdir().expect("a directory");
        for (name, content) in [
            ("a.pcap", capture(&[30, 31])),
            ("b.pcap", capture(&[10, 50])),
            ("c", capture(&[20])),
            ("d.pcap", capture(&[20, 1])),
            ("notes.txt", b"what I saw".to_vec()),
            (".blockscope-x", capture(&[7])),
            ("within/deep/e", capture(&[15])),
            (".git/f", capture(&[5])),
            (
                "built/CACHEDIR.TAG",
                b"Signature: 8a477f597d28d172789f06886806bc55".to_vec(),
            ),
            ("built/g", capture(&[6])),
        ] {
            let path = directory.path().join(name);
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
            std::fs::write(path, content).expect("a write");
        }
        std::fs::create_dir(directory.path().join("empty")).expect("a directory");
        let mut set = CaptureSet::open(&[directory.path().to_owned()]);
        let total = set.progress().bytes_total.expect("a total");
        assert_eq!(
            run(&mut set),
            [
                Ok(vec![10, 50]),
                Ok(vec![15]),
                Ok(vec![20]),
                Ok(vec![20, 1]),
                Ok(vec![30, 31])
            ]
        );
        assert_eq!(set.progress().bytes_read, total);
        let names: Vec<_> = set
            .files()
            .iter()
            .map(|note| (note.path.file_name(), note.frames))
            .collect();
        let name = |name: &'static str| Some(std::ffi::OsStr::new(name));
        assert_eq!(
            names,
            [
                (name("b.pcap"), 2),
                (name("e"), 1),
                (name("c"), 1),
                (name("d.pcap"), 2),
                (name("a.pcap"), 2)
            ]
        );
    }

    /// A link is followed to a file, but never to a directory: it may lead back up.
    #[cfg(unix)]
    #[test]
    fn links_to_files_are_read_and_those_to_directories_are_not_followed() {
        use std::os::unix::fs::symlink;

        let directory = tempfile::tempdir().expect("a directory");
        let (there, elsewhere) = (directory.path().join("there"), directory.path().join("elsewhere"));
        std::fs::create_dir(&there).expect("a directory");
        std::fs::write(&elsewhere, capture(&[3])).expect("a write");
        symlink(&elsewhere, there.join("link")).expect("a link");
        symlink(directory.path(), there.join("up")).expect("a link");
        assert_eq!(run(&mut CaptureSet::open(std::slice::from_ref(&there))), [Ok(vec![3])]);
        // The directory asked for may be a link itself.
        assert_eq!(
            run(&mut CaptureSet::open(&[there.join("up").join("there")])),
            [Ok(vec![3])]
        );
        let link = directory.path().join("to there");
        symlink(&there, &link).expect("a link");
        assert_eq!(run(&mut CaptureSet::open(&[link])), [Ok(vec![3])]);
        symlink(directory.path().join("nowhere"), there.join("gone")).expect("a link");
        let supplied = run(&mut CaptureSet::open(&[there]));
        assert!(
            supplied[0].as_ref().is_err_and(|error| error.contains("gone")),
            "{supplied:?}"
        );
        assert_eq!(supplied[1], Ok(vec![3]));
    }

    #[test]
    fn one_bad_file_does_not_keep_the_others_from_being_read() {
        let directory = tempfile::tempdir().expect("a directory");
        let write = |name: &str, content: &[u8]| {
            let path = directory.path().join(name);
            std::fs::write(&path, content).expect("a write");
            path
        };
        let cut = capture(&[2, 3]);
        let paths = [
            write("one", &capture(&[1])),
            directory.path().join("missing"),
            write("text", b"not packets"),
            write("cut", &cut[..cut.len() - 1]),
            write("empty", b""),
            write("last", &capture(&[9])),
        ];
        let mut set = CaptureSet::open(&paths);
        let supplied = run(&mut set);
        assert_eq!(supplied.len(), 5, "{supplied:?}");
        assert_eq!(supplied[0], Ok(vec![1]));
        assert!(supplied[1].as_ref().is_err_and(|error| error.contains("missing")));
        assert!(
            supplied[2]
                .as_ref()
                .is_err_and(|error| error.contains("text: not a capture"))
        );
        assert_eq!(supplied[3..], [Ok(vec![2]), Ok(vec![9])]);
        let damaged: Vec<bool> = set.files().iter().map(|note| note.damage.is_some()).collect();
        assert_eq!(damaged, [false, true, true, false]);
        let progress = set.progress();
        assert_eq!(progress.bytes_total, Some(progress.bytes_read));
    }

    #[test]
    fn a_batch_never_mixes_files_and_may_hold_one_record() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("capture");
        std::fs::write(&path, capture(&[1, 2, 3])).expect("a write");
        let twice = [path.clone(), path];
        let mut batch = RecordBatch::default();
        for (len, batches) in [(1, 6), (2, 4), (0, 6), (100, 2)] {
            let mut set = CaptureSet::open(&twice).with_batch_len(len);
            let mut numbers = Vec::new();
            let mut count = 0;
            while set.supply(&mut batch).expect("no error") == Supply::Records {
                count += 1;
                assert!(
                    batch
                        .records
                        .iter()
                        .all(|record| record.number.file() == batch.records[0].number.file())
                );
                numbers.extend(
                    batch
                        .records
                        .iter()
                        .map(|record| (record.number.file(), record.number.in_file())),
                );
            }
            assert_eq!(count, batches, "batches of {len}");
            assert_eq!(numbers, [(0, 1), (0, 2), (0, 3), (1, 1), (1, 2), (1, 3)]);
        }
    }

    #[test]
    fn a_directory_without_captures_is_an_error() {
        let directory = tempfile::tempdir().expect("a directory");
        let mut set = CaptureSet::open(&[directory.path().to_owned()]);
        let supplied = run(&mut set);
        assert!(
            supplied[0]
                .as_ref()
                .is_err_and(|error| error.contains("without any capture"))
        );
    }
}
