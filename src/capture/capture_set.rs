//! All captures of a run, one after another.
//!
//! What the user names is taken in the order given; a directory stands for the captures in it, in order of their first
//! packet. A batch never mixes files, and what is wrong with one file does not keep the others from being read.

use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};

use super::capture_file::CaptureFile;
use super::error::CaptureError;
use super::source::{FileNote, Progress, RecordBatch, Source, Supply};
use crate::time::Timestamp;

/// How many records a batch holds unless told otherwise.
pub const DEFAULT_BATCH_LEN: usize = 1024;

/// The number of a file in a [`FrameNumber`](crate::packet::frame::FrameNumber) is 20 bits wide.
const MOST_FILES: usize = 1 << 20;

/// The captures a run is given.
#[derive(Debug)]
pub struct CaptureSet {
    waiting: VecDeque<Entry>,
    reading: Option<Reading>,
    notes: Vec<FileNote>,
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
    /// The captures that `paths` name: files, directories, and `-` for standard input. Looks into directories (not into
    /// those within) and at the first packet of each file there; files that are no captures are passed over with a
    /// warning. Everything else that is wrong is told by [`Source::supply`] when its turn comes.
    #[must_use]
    pub fn open(paths: &[PathBuf]) -> Self {
        let mut waiting = VecDeque::new();
        for path in paths {
            match fs::metadata(path) {
                Ok(metadata) if metadata.is_dir() && path != Path::new("-") => match captures_in(path) {
                    Ok(entries) => waiting.extend(entries),
                    Err(error) => waiting.push_back(Entry::Unreadable(error)),
                },
                metadata => waiting.push_back(Entry::File {
                    path: path.clone(),
                    len: metadata
                        .ok()
                        .filter(fs::Metadata::is_file)
                        .map(|metadata| metadata.len()),
                }),
            }
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
            batch_len: DEFAULT_BATCH_LEN,
            bytes_done: 0,
            bytes_total,
        }
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
                    let file = CaptureFile::open(&path, self.notes.len() as u32).inspect_err(|_| {
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

/// The captures in a directory, by the time of their first packet (those without any packet first), then by name.
fn captures_in(directory: &Path) -> Result<Vec<Entry>, CaptureError> {
    let failed = |source| CaptureError::Io {
        path: directory.to_owned(),
        source,
    };
    let mut found: Vec<(Option<Timestamp>, PathBuf, Entry)> = Vec::new();
    for item in fs::read_dir(directory).map_err(failed)? {
        let path = item.map_err(failed)?.path();
        let len = match fs::metadata(&path) {
            Ok(metadata) if metadata.is_file() => metadata.len(),
            // Opening a FIFO would wait for its writer; a directory in a directory is not looked into.
            Ok(_) => {
                tracing::warn!(path = %path.display(), "not a regular file: passed over");
                continue;
            }
            Err(source) => {
                let error = CaptureError::Io {
                    path: path.clone(),
                    source,
                };
                found.push((None, path, Entry::Unreadable(error)));
                continue;
            }
        };
        match first_time(&path) {
            Ok(at) => found.push((at, path.clone(), Entry::File { path, len: Some(len) })),
            Err(CaptureError::Foreign { what, .. }) => {
                tracing::warn!(path = %path.display(), "not a capture: {what}: passed over");
            }
            Err(error) => found.push((None, path, Entry::Unreadable(error))),
        }
    }
    if found.is_empty() {
        return Err(CaptureError::NoCaptures {
            path: directory.to_owned(),
        });
    }
    found.sort_by(|(at, path, _), (other_at, other_path, _)| (at, path).cmp(&(other_at, other_path)));
    Ok(found.into_iter().map(|(_, _, entry)| entry).collect())
}

/// The time of a file's first packet.
fn first_time(path: &Path) -> Result<Option<Timestamp>, CaptureError> {
    let mut file = CaptureFile::open(path, 0)?;
    let mut batch = RecordBatch::default();
    file.supply(&mut batch, 1);
    Ok(batch.records.first().map(|record| record.at))
}
