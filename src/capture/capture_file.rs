//! One capture file: mapped where it can be, read as a stream where it must be.
//!
//! A plain regular file is mapped, and its records are places in the map. What has no length (a FIFO, standard input)
//! or has to be decompressed goes through a [`Stream`]. Which of the two it is changes no record.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use memmap2::{Advice, Mmap};

use super::ahead::Ahead;
use super::compression::Compression;
use super::error::CaptureError;
use super::format::{Decoder, MAGIC_LEN, Stop, Tail, describe_foreign};
use super::source::{Damage, RecordBatch, Supply};
use super::stream::{Ending, Opening, Stream, read_until, stub};

/// How much of a foreign file is looked at to say what it is, in bytes.
const HEAD_LEN: usize = 64;

/// An open capture file.
pub struct CaptureFile {
    input: Input,
    /// Bytes a stream has read, before decompression.
    read: Arc<AtomicU64>,
}

enum Input {
    Mapped(Mapped),
    Stream(Box<Stream>),
    /// Ended before the format could be told.
    Stub(Damage),
}

/// A file in memory, from end to end.
struct Mapped {
    bytes: Bytes,
    at: usize,
    decoder: Decoder,
    ending: Option<Ending>,
}

impl CaptureFile {
    /// Opens the file at `path` (`-` is standard input), whose frames get the file number `file`. Waits for the first
    /// bytes of a pipe.
    ///
    /// # Errors
    /// It cannot be opened or read, or it is no capture. An empty file is no error but [damaged](Self::damage).
    pub fn open(path: &Path, file: u32) -> Result<Self, CaptureError> {
        let failed = |source| CaptureError::Io {
            path: path.to_owned(),
            source,
        };
        if path == Path::new("-") {
            return Self::from_reader(path, io::stdin(), file);
        }
        let opened = File::open(path).map_err(failed)?;
        let metadata = opened.metadata().map_err(failed)?;
        if metadata.is_dir() {
            return Err(failed(io::ErrorKind::IsADirectory.into()));
        }
        if !metadata.is_file() {
            return Self::from_reader(path, opened, file);
        }
        if metadata.len() == 0 {
            return Ok(Self::with(Input::Stub(stub(0))));
        }
        let Ok(map) = map(&opened) else {
            // Not every file system maps; all can be read.
            return Self::from_reader(path, opened, file);
        };
        let bytes = Bytes::from_owner(map);
        if Compression::of(&bytes).is_some() {
            return Self::from_reader(path, opened, file);
        }
        let head = &bytes[..bytes.len().min(HEAD_LEN)];
        if let Some(decoder) = Decoder::of(head, file) {
            return Ok(Self::with(Input::Mapped(Mapped {
                bytes,
                at: 0,
                decoder,
                ending: None,
            })));
        }
        if head.len() < MAGIC_LEN && Decoder::may_begin_with(head) {
            return Ok(Self::with(Input::Stub(stub(head.len()))));
        }
        Err(CaptureError::Foreign {
            path: path.to_owned(),
            what: describe_foreign(head),
        })
    }

    /// Reads a capture, compressed or not, from `reader`; `path` is what to call it. Waits for the first bytes.
    ///
    /// # Errors
    /// It is no capture, or its first bytes cannot be read.
    pub fn from_reader(path: &Path, reader: impl Read + Send + 'static, file: u32) -> Result<Self, CaptureError> {
        let read = Arc::new(AtomicU64::new(0));
        let mut reader = Counted {
            reader,
            read: Arc::clone(&read),
        };
        let failed = |source| CaptureError::Io {
            path: path.to_owned(),
            source,
        };
        let mut head = vec![0; MAGIC_LEN];
        let (len, broken) = read_until(&mut reader, &mut head, 0, MAGIC_LEN);
        if let Some(error) = broken {
            return Err(failed(error));
        }
        head.truncate(len);
        let compression = Compression::of(&head);
        let whole = io::Cursor::new(head).chain(reader);
        let reader: Box<dyn Read + Send> = match compression {
            Some(compression) => Box::new(Ahead::of(compression.reader(whole).map_err(failed)?).map_err(failed)?),
            None => Box::new(whole),
        };
        match Stream::open(reader, file) {
            Opening::Capture(stream) => Ok(Self {
                input: Input::Stream(stream),
                read,
            }),
            Opening::Stub(damage) => Ok(Self::with(Input::Stub(damage))),
            Opening::Foreign(head) => Err(CaptureError::Foreign {
                path: path.to_owned(),
                what: describe_content(compression, &head),
            }),
        }
    }

    fn with(input: Input) -> Self {
        Self {
            input,
            read: Arc::default(),
        }
    }

    /// Clears `batch` and fills it with up to `limit` records, at least one. [`Supply::End`] when there are none left;
    /// never [`Supply::Quiet`].
    pub fn supply(&mut self, batch: &mut RecordBatch, limit: usize) -> Supply {
        match &mut self.input {
            Input::Mapped(mapped) => mapped.supply(batch, limit),
            Input::Stream(stream) => stream.supply(batch, limit),
            Input::Stub(_) => {
                batch.records.clear();
                batch.bytes = Bytes::new();
                Supply::End
            }
        }
    }

    /// What is wrong with the capture; known once [`Self::supply`] has said [`Supply::End`].
    #[must_use]
    pub fn damage(&self) -> Option<Damage> {
        let ending = match &self.input {
            Input::Mapped(mapped) => mapped.ending.clone(),
            Input::Stream(stream) => stream.ending(),
            Input::Stub(damage) => Some(Ending::Damaged(damage.clone())),
        };
        match ending {
            Some(Ending::Damaged(damage)) => Some(damage),
            Some(Ending::Clean) | None => None,
        }
    }

    /// How many bytes of the file, as it lies on disk, have been taken in.
    #[must_use]
    pub fn bytes_read(&self) -> u64 {
        match &self.input {
            Input::Mapped(mapped) => mapped.at as u64,
            Input::Stream(_) => self.read.load(Ordering::Relaxed),
            Input::Stub(_) => 0,
        }
    }
}

impl Mapped {
    fn supply(&mut self, batch: &mut RecordBatch, limit: usize) -> Supply {
        batch.records.clear();
        batch.bytes = Bytes::new();
        if self.ending.is_some() {
            return Supply::End;
        }
        let stop = self
            .decoder
            .fill(&self.bytes, &mut self.at, Tail::Final, limit.max(1), &mut batch.records);
        self.ending = match stop {
            // A final window never needs more.
            Stop::Full | Stop::NeedMore(_) => None,
            Stop::End => Some(Ending::Clean),
            Stop::Damaged(damage) => Some(Ending::Damaged(damage)),
        };
        if batch.records.is_empty() {
            return Supply::End;
        }
        batch.bytes = self.bytes.clone();
        Supply::Records
    }
}

/// Maps a whole file.
#[allow(unsafe_code)]
fn map(file: &File) -> io::Result<Mmap> {
    // SAFETY: The map is read-only and private to us; nothing here writes to the file. Should another process write to
    // it meanwhile, we may decode bytes that were never in the file together: every length is checked on the bytes it
    // is then used with, and no invariant of a type rests on them. Should another process truncate the file, touching
    // the part that is gone ends us with SIGBUS, as it ends every program that maps files; no memory is corrupted.
    let map = unsafe { Mmap::map(file) }?;
    // Only advice: a system that knows none of it reads the file all the same.
    let _ = map.advise(Advice::Sequential);
    Ok(map)
}

fn describe_content(compression: Option<Compression>, head: &[u8]) -> String {
    let Some(compression) = compression else {
        return describe_foreign(head);
    };
    let name = compression.name();
    match Compression::of(head) {
        Some(inner) => format!(
            "it is compressed twice, with {name} and {}; decompress it once",
            inner.name()
        ),
        None => format!("inside {name}, {}", describe_foreign(head)),
    }
}

/// Counts what a reader brings.
struct Counted<R> {
    reader: R,
    read: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = self.reader.read(buffer)?;
        self.read.fetch_add(len as u64, Ordering::Relaxed);
        Ok(len)
    }
}

impl std::fmt::Debug for CaptureFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let how = match &self.input {
            Input::Mapped(_) => "mapped",
            Input::Stream(_) => "stream",
            Input::Stub(_) => "stub",
        };
        f.debug_tuple("CaptureFile").field(&how).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::sample::{Order, Pcap, from_disk};

    #[test]
    fn an_empty_file_is_damage_and_no_error() {
        let (supplied, damage) = from_disk(b"");
        assert_eq!(supplied.len(), 0);
        let damage = damage.expect("damage");
        assert_eq!(damage.offset, 0);
        assert!(damage.why.contains("empty"));
        let mut empty = CaptureFile::from_reader(Path::new("-"), io::empty(), 0).expect("no error");
        assert_eq!(empty.supply(&mut RecordBatch::default(), 1), Supply::End);
        assert_eq!(empty.damage(), Some(damage));
    }

    #[test]
    fn what_cannot_be_opened_and_what_is_no_capture_are_errors_that_name_it() {
        let directory = tempfile::tempdir().expect("a directory");
        let missing = CaptureFile::open(&directory.path().join("nothing.pcap"), 0).expect_err("no file");
        assert!(missing.to_string().contains("nothing.pcap"), "{missing}");
        let inside = CaptureFile::open(directory.path(), 0).expect_err("a directory");
        assert!(matches!(inside, CaptureError::Io { .. }));
        let path = directory.path().join("story.pcap");
        std::fs::write(&path, "once upon a time").expect("a write");
        let foreign = CaptureFile::open(&path, 0).expect_err("text");
        assert!(
            foreign
                .to_string()
                .contains("story.pcap: not a capture: it looks like text"),
            "{foreign}"
        );
    }

    #[test]
    fn a_fifo_is_read_as_a_stream() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("fifo");
        let made = std::process::Command::new("mkfifo")
            .arg(&path)
            .status()
            .expect("mkfifo");
        assert!(made.success());
        let capture = Pcap::new(Order::Big, Pcap::NANOS, 1).record(5, 6, b"frame").bytes;
        let writer = {
            let path = path.clone();
            std::thread::spawn(move || std::fs::write(path, capture).expect("a write"))
        };
        let mut file = CaptureFile::open(&path, 3).expect("a capture");
        let mut batch = RecordBatch::default();
        assert_eq!(file.supply(&mut batch, 10), Supply::Records);
        assert_eq!((batch.records.len(), batch.records[0].number.file()), (1, 3));
        assert_eq!(file.supply(&mut batch, 10), Supply::End);
        assert_eq!(file.bytes_read(), 24 + 16 + 5);
        writer.join().expect("the writer ends");
    }
}
