//! A capture that comes as a stream: a pipe, standard input, a decompressor.
//!
//! Bytes are read into blocks from a bounded pool. Whatever is complete is supplied as soon as it is there: a pipe that
//! has brought three records and stays open has them judged. A batch shares its block, which goes back to the pool when
//! the last batch over it is gone; the record a block ends in the middle of is moved to the next.

use std::io::{self, Read};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use super::format::{Decoder, MAGIC_LEN, Stop, Tail};
use super::source::{Damage, RecordBatch, Supply};

/// The usual length of a block, in bytes: it fits the second-level cache with room for the flow table's hot lines.
const BLOCK_LEN: usize = 256 * 1024;

/// A block with less than this in it is copied rather than given away, so that a slow pipe does not take a block for
/// every packet.
const WORTH_A_BLOCK: usize = BLOCK_LEN / 8;

/// The most blocks kept for use again; the rest are freed.
const MOST_SPARE_BLOCKS: usize = 32;

/// A capture read from a stream.
pub struct Stream {
    reader: Box<dyn Read + Send>,
    decoder: Decoder,
    pool: Arc<Pool>,
    /// The block being filled, once reading into it has begun.
    filling: Option<Filling>,
    /// What has been read and not been decoded starts at `at`.
    window: Bytes,
    at: usize,
    tail: Tail,
    /// What ended the stream, where that was an error of the reader's.
    broken: Option<io::Error>,
    ending: Option<Ending>,
}

struct Filling {
    block: Vec<u8>,
    len: usize,
}

/// How a capture ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Where it may.
    Clean,
    /// Somewhere else.
    Damaged(Damage),
}

/// What a stream turned out to begin with.
pub enum Opening {
    /// A capture.
    Capture(Box<Stream>),
    /// The beginning of one, too short to tell which, or nothing at all.
    Stub(Damage),
    /// Something else: its first bytes.
    Foreign(Vec<u8>),
}

impl Stream {
    /// Reads the first bytes (waiting for them) and chooses the decoder. The frames get the file number `file`.
    pub fn open(mut reader: Box<dyn Read + Send>, file: u32) -> Opening {
        let mut head = [0; MAGIC_LEN];
        let (len, broken) = read_until(&mut *reader, &mut head, 0, MAGIC_LEN);
        if let Some(decoder) = Decoder::of(&head[..len], file) {
            return Opening::Capture(Box::new(Self {
                reader,
                decoder,
                pool: Arc::default(),
                filling: None,
                window: Bytes::copy_from_slice(&head[..len]),
                at: 0,
                tail: Tail::Open,
                broken: None,
                ending: None,
            }));
        }
        match broken {
            Some(error) => Opening::Stub(Damage {
                offset: len as u64,
                why: error.to_string(),
            }),
            None if len < MAGIC_LEN && Decoder::may_begin_with(&head[..len]) => Opening::Stub(stub(len)),
            None => Opening::Foreign(head[..len].to_vec()),
        }
    }

    /// Clears `batch` and fills it with up to `limit` records (at least one is asked for), waiting for the first.
    /// Never [`Supply::Quiet`].
    pub fn supply(&mut self, batch: &mut RecordBatch, limit: usize) -> Supply {
        batch.records.clear();
        batch.bytes = Bytes::new();
        while self.ending.is_none() {
            let stop = self
                .decoder
                .fill(&self.window, &mut self.at, self.tail, limit.max(1), &mut batch.records);
            let needed = match stop {
                Stop::Full => 0,
                Stop::NeedMore(needed) => needed,
                Stop::End => {
                    self.ending = Some(Ending::Clean);
                    0
                }
                Stop::Damaged(damage) => {
                    self.ending = Some(Ending::Damaged(damage));
                    0
                }
            };
            if !batch.records.is_empty() {
                batch.bytes = self.window.clone();
                return Supply::Records;
            }
            if needed > 0 {
                self.read(needed);
            }
        }
        self.window = Bytes::new();
        Supply::End
    }

    /// How the capture ended, once it has.
    #[must_use]
    pub fn ending(&self) -> Option<Ending> {
        let ending = self.ending.clone()?;
        // That the stream ends in the middle of a record says less than why it ended.
        Some(match &self.broken {
            Some(error) => Ending::Damaged(Damage {
                offset: self.decoder.offset(),
                why: format!("{error}, before frame {}", self.decoder.next_number()),
            }),
            None => ending,
        })
    }

    /// Makes the window hold `needed` bytes from the current place on, or finds that there are no more.
    fn read(&mut self, needed: usize) {
        let undecoded = self.window.len() - self.at;
        let wanted = needed.max(BLOCK_LEN);
        let mut filling = match self.filling.take() {
            Some(spare) if spare.block.len() >= wanted => spare,
            spare => {
                if let Some(spare) = spare {
                    self.pool.give(spare.block);
                }
                Filling {
                    block: self.pool.take(wanted),
                    len: 0,
                }
            }
        };
        filling.block[..undecoded].copy_from_slice(&self.window[self.at..]);
        let (len, broken) = read_until(&mut *self.reader, &mut filling.block, undecoded, needed);
        filling.len = len;
        if len < needed {
            self.tail = Tail::Final;
            self.broken = broken;
        }
        self.at = 0;
        self.window = if len < WORTH_A_BLOCK {
            let copy = Bytes::copy_from_slice(&filling.block[..len]);
            self.filling = Some(filling);
            copy
        } else {
            Bytes::from_owner(SharedBlock {
                filling,
                pool: Arc::clone(&self.pool),
            })
        };
    }
}

/// The damage of a capture that ends after `len` bytes, before its format can be told.
#[must_use]
pub fn stub(len: usize) -> Damage {
    let why = match len {
        0 => "it is empty: there is not even a file header",
        _ => "the capture ends in the middle of its file header",
    };
    Damage {
        offset: 0,
        why: why.to_owned(),
    }
}

/// Reads into `buffer[filled..]` until it holds `needed` bytes or there are no more; takes more than that where one
/// read brings it. Gives how many bytes the buffer holds.
pub(super) fn read_until(
    reader: &mut dyn Read,
    buffer: &mut [u8],
    mut filled: usize,
    needed: usize,
) -> (usize, Option<io::Error>) {
    while filled < needed {
        match reader.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(len) => filled += len,
            Err(error) => match error.kind() {
                io::ErrorKind::Interrupted => {}
                // Somebody made our standard input non-blocking; it is a stream to us all the same.
                io::ErrorKind::WouldBlock => std::thread::sleep(std::time::Duration::from_millis(5)),
                _ => return (filled, Some(error)),
            },
        }
    }
    (filled, None)
}

/// Blocks of [`BLOCK_LEN`] that nobody looks into any more.
#[derive(Default)]
struct Pool {
    spare: Mutex<Vec<Vec<u8>>>,
}

impl Pool {
    fn take(&self, len: usize) -> Vec<u8> {
        if len == BLOCK_LEN
            && let Some(block) = self.spare.lock().unwrap_or_else(PoisonError::into_inner).pop()
        {
            return block;
        }
        vec![0; len]
    }

    fn give(&self, block: Vec<u8>) {
        let mut spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
        // Larger ones, made for one large record, are not kept.
        if block.len() == BLOCK_LEN && spare.len() < MOST_SPARE_BLOCKS {
            spare.push(block);
        }
    }
}

/// A block that batches look into.
struct SharedBlock {
    filling: Filling,
    pool: Arc<Pool>,
}

impl AsRef<[u8]> for SharedBlock {
    fn as_ref(&self) -> &[u8] {
        &self.filling.block[..self.filling.len]
    }
}

impl Drop for SharedBlock {
    fn drop(&mut self) {
        self.pool.give(std::mem::take(&mut self.filling.block));
    }
}
