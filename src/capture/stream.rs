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

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::path::Path;

    use proptest::prelude::*;

    use super::*;
    use crate::capture::capture_file::CaptureFile;
    use crate::capture::sample::{Order, Pcap, Pcapng, drain, from_disk, one_of_every_kind};
    use crate::capture::source::Supply;

    /// Hands out one chunk a read, then says whatever the last is.
    struct Chunks(VecDeque<Vec<u8>>);

    impl Chunks {
        fn of(bytes: &[u8], lens: impl IntoIterator<Item = usize>) -> Self {
            let mut rest = bytes;
            let mut chunks = VecDeque::new();
            for len in lens {
                let (chunk, after) = rest.split_at(len.clamp(1, rest.len().max(1)).min(rest.len()));
                chunks.push_back(chunk.to_vec());
                rest = after;
                if rest.is_empty() {
                    break;
                }
            }
            chunks.push_back(rest.to_vec());
            Self(chunks)
        }
    }

    impl Read for Chunks {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            while self.0.front().is_some_and(Vec::is_empty) {
                self.0.pop_front();
            }
            let Some(chunk) = self.0.front_mut() else { return Ok(0) };
            let len = chunk.len().min(buffer.len());
            buffer[..len].copy_from_slice(&chunk[..len]);
            chunk.drain(..len);
            Ok(len)
        }
    }

    fn from_pipe(
        reader: impl Read + Send + 'static,
        limit: usize,
    ) -> (Vec<crate::capture::sample::Supplied>, Option<Damage>) {
        drain(
            CaptureFile::from_reader(Path::new("-"), reader, 0).expect("a capture"),
            limit,
        )
    }

    #[test]
    fn a_byte_at_a_time_gives_the_records_of_the_mapped_file() {
        for (name, capture) in one_of_every_kind() {
            for len in [capture.len(), capture.len() - 1, 30, 5, 1] {
                let capture = &capture[..len];
                let bytewise = from_pipe(Chunks::of(capture, std::iter::repeat(1)), 1000);
                assert_eq!(bytewise, from_disk(capture), "{name} of {len} bytes");
            }
        }
    }

    #[test]
    fn what_a_pipe_has_brought_is_supplied_while_it_stays_open() {
        let capture = Pcap::new(Order::Little, Pcap::MICROS, 1)
            .record(1, 0, b"one")
            .record(2, 0, b"two");
        let whole = capture.bytes.len();
        let mut capture = capture.record(3, 0, b"three").bytes;
        capture.truncate(whole + 5);
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().expect("a socket pair");
        let mut writer = theirs;
        io::Write::write_all(&mut writer, &capture).expect("a write");
        let mut file = CaptureFile::from_reader(Path::new("-"), ours, 0).expect("a capture");
        let mut batch = RecordBatch::default();
        // The writer lives: had this waited for more, it would wait for ever.
        assert_eq!(file.supply(&mut batch, 1000), Supply::Records);
        assert_eq!(batch.records.len(), 2);
        drop(writer);
        assert_eq!(file.supply(&mut batch, 1000), Supply::End);
        assert_eq!(file.damage().expect("damage").offset, whole as u64);
    }

    #[test]
    fn frames_larger_than_a_block_and_blocks_full_of_frames_come_through() {
        let mut capture = Pcapng::new(Order::Little).interface(1, 0);
        for number in 0..3000_u64 {
            capture = capture.enhanced(0, number, &vec![number as u8; 1 + number as usize % 1500]);
        }
        capture = capture.enhanced(0, 9, &vec![0xaa; BLOCK_LEN]).interface(231, 0);
        let large = vec![0xbb; 3 * BLOCK_LEN + 1];
        let capture = capture.enhanced(1, 10, &large).enhanced(0, 11, b"last").bytes;
        let mapped = from_disk(&capture);
        assert_eq!((mapped.0.len(), &mapped.1), (3003, &None));
        for limit in [1, 7, 100_000] {
            assert_eq!(from_pipe(io::Cursor::new(capture.clone()), limit), mapped);
        }
    }

    #[test]
    fn batches_that_are_kept_are_not_written_over() {
        let mut capture = Pcap::new(Order::Little, Pcap::MICROS, 1);
        for number in 0..2000_u32 {
            capture.push(number, 0, 1000, 1000, &[number as u8; 1000]);
        }
        let mut file = CaptureFile::from_reader(Path::new("-"), io::Cursor::new(capture.bytes), 0).expect("a capture");
        let mut kept = Vec::new();
        let mut batch = RecordBatch::default();
        while file.supply(&mut batch, 300) == Supply::Records {
            kept.push(batch.clone());
        }
        let mut frames = 0;
        for batch in &kept {
            for record in &batch.records {
                let number = record.number.in_file() - 1;
                assert!(batch.frame(record).bytes.iter().all(|byte| *byte == number as u8));
                frames += 1;
            }
        }
        assert_eq!(frames, 2000);
    }

    #[test]
    fn blocks_are_used_again_and_not_hoarded() {
        let pool = Arc::new(Pool::default());
        let shared: Vec<_> = (0..2 * MOST_SPARE_BLOCKS)
            .map(|_| {
                Bytes::from_owner(SharedBlock {
                    filling: Filling {
                        block: pool.take(BLOCK_LEN),
                        len: 1,
                    },
                    pool: Arc::clone(&pool),
                })
            })
            .collect();
        let clone = shared[0].clone();
        drop(shared);
        assert_eq!(pool.spare.lock().expect("unpoisoned").len(), MOST_SPARE_BLOCKS);
        drop(clone);
        drop(pool.take(BLOCK_LEN));
        assert_eq!(pool.spare.lock().expect("unpoisoned").len(), MOST_SPARE_BLOCKS - 1);
    }

    #[test]
    fn an_error_in_the_middle_is_damage_that_says_so() {
        struct Failing(io::Cursor<Vec<u8>>);
        impl Read for Failing {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                match self.0.read(buffer)? {
                    0 => Err(io::Error::other("the cable was pulled")),
                    len => Ok(len),
                }
            }
        }
        let capture = Pcap::new(Order::Little, Pcap::MICROS, 1).record(1, 0, b"one").bytes;
        let (supplied, damage) = from_pipe(Failing(io::Cursor::new(capture)), 10);
        assert_eq!(supplied.len(), 1);
        assert_eq!(damage.expect("damage").why, "the cable was pulled, before frame 2");
    }

    proptest! {
        #[test]
        fn chunks_of_any_length_give_the_records_of_the_mapped_file(
            kind in 0..12_usize,
            cut in 0.0..1.0_f64,
            lens in prop::collection::vec(1..90_usize, 0..60),
            limit in 1..9_usize,
        ) {
            let (_, capture) = one_of_every_kind().swap_remove(kind);
            let capture = &capture[..capture.len() - (cut * cut * capture.len() as f64) as usize];
            prop_assert_eq!(from_pipe(Chunks::of(capture, lens), limit), from_disk(capture));
        }

        #[test]
        fn a_capture_with_bytes_changed_gives_the_same_from_pipe_and_disk_and_never_panics(
            kind in 0..12_usize,
            changes in prop::collection::vec((0.0..1.0_f64, any::<u8>()), 1..6),
            lens in prop::collection::vec(1..90_usize, 0..60),
        ) {
            let (_, mut capture) = one_of_every_kind().swap_remove(kind);
            for (place, byte) in changes {
                let len = capture.len() - 4;
                capture[4 + (place * len as f64) as usize] = byte;
            }
            prop_assert_eq!(from_pipe(Chunks::of(&capture, lens), 3), from_disk(&capture));
        }

        #[test]
        fn random_bytes_after_a_magic_never_panic(
            kind in 0..12_usize,
            bytes in prop::collection::vec(any::<u8>(), 0..400),
        ) {
            let (_, mut capture) = one_of_every_kind().swap_remove(kind);
            capture.truncate(24 + bytes.len() % 8);
            capture.extend(bytes);
            prop_assert_eq!(from_pipe(io::Cursor::new(capture.clone()), 3), from_disk(&capture));
        }
    }
}
