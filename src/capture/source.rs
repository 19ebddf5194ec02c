//! The seam every supplier of frames fits: fill a batch, say what was lost.

use std::path::PathBuf;

use bytes::Bytes;

use crate::packet::frame::{Frame, FrameNumber, LinkType};
use crate::time::Timestamp;

/// One captured frame, as a place in its batch's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// Which frame of the run.
    pub number: FrameNumber,
    /// The capture's own timestamp (it may run back; the engine's clock does not).
    pub at: Timestamp,
    /// Where the frame starts in [`RecordBatch::bytes`].
    pub offset: usize,
    /// How many bytes were captured.
    pub captured: u32,
    /// How long the frame was on the wire, in bytes; never less than was captured.
    pub wire_len: u32,
    /// The link type of the interface it was captured on.
    pub link: LinkType,
    /// Which interface of the file (pcapng's interface id; 0 elsewhere).
    pub interface: u16,
}

impl Record {
    /// The frame, of which it says where in `bytes` it lies: the memory of its [`RecordBatch`].
    #[inline]
    #[must_use]
    pub fn frame<'a>(&self, bytes: &'a [u8]) -> Frame<'a> {
        Frame {
            number: self.number,
            at: self.at,
            bytes: &bytes[self.offset..self.offset + self.captured as usize],
            wire_len: self.wire_len,
            link: self.link,
        }
    }
}

/// A run of records of one file, in file order, over one piece of memory.
#[derive(Clone, Debug, Default)]
pub struct RecordBatch {
    /// The memory the records lie in; cloning it counts a reference, nothing is copied.
    pub bytes: Bytes,
    /// The records, in file order.
    pub records: Vec<Record>,
}

impl RecordBatch {
    /// The frame of `record`, which must be one of this batch.
    #[must_use]
    pub fn frame(&self, record: &Record) -> Frame<'_> {
        record.frame(&self.bytes)
    }
}

/// What a call to [`Source::supply`] brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Supply {
    /// The batch holds at least one record.
    Records,
    /// Nothing now, more may come (live interfaces, pipes).
    Quiet,
    /// Nothing now and nothing to come.
    End,
}

/// How far a source has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Bytes taken in so far (of the files as they lie on disk).
    pub bytes_read: u64,
    /// Bytes there are in all, where that is known.
    pub bytes_total: Option<u64>,
}

/// What is known of one file of the run.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct FileNote {
    /// Its name as the user gave it (`-` for standard input).
    pub path: PathBuf,
    /// How many frames were read from it, those filtered included.
    pub frames: u64,
    /// Frames a capture filter kept from being judged.
    pub filtered: u64,
    /// Why reading stopped early, with the offset in the (decompressed) capture, if it did.
    pub damage: Option<Damage>,
    /// What it is.
    pub origin: Origin,
    /// Frames that were lost before they could be read (live interfaces).
    pub lost: Losses,
}

/// What frames are read from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Origin {
    /// A file or a pipe.
    #[default]
    File,
    /// A live interface; the path is its name.
    Interface,
}

/// Frames lost before they could be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Losses {
    /// Dropped by the kernel because the ring was full.
    pub kernel: u64,
    /// Dropped by the interface or its driver.
    pub interface: u64,
}

impl Losses {
    /// Frames lost in all.
    #[must_use]
    pub const fn total(self) -> u64 {
        self.kernel + self.interface
    }
}

/// A capture that ends or breaks in the middle. What came before it has been supplied.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Damage {
    /// Bytes from the start of the (decompressed) capture to the first byte that makes no sense.
    pub offset: u64,
    /// What is wrong there.
    pub why: String,
}

/// Supplies frames. One source covers a whole run: all files, in order.
pub trait Source {
    /// Clears `batch` and fills it with the next records (of one file, in one piece of memory).
    ///
    /// # Errors
    /// A file that cannot be opened or is no capture at all. The next call goes on with the file after it. Damage in the middle of a capture is no error: it is
    /// kept in that file's [`FileNote`], and the source goes on with the next file.
    fn supply(&mut self, batch: &mut RecordBatch) -> Result<Supply, super::error::CaptureError>;

    /// How far it has come.
    fn progress(&self) -> Progress;

    /// The files so far, the one being read included; a [`FrameNumber::file`] is an index into it. Files that gave an
    /// error are not among them.
    fn files(&self) -> &[FileNote];
}
