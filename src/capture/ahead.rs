//! Reads ahead in a thread of its own: a decompressor works while what it has brought so far is judged.

use std::io::{self, Read};
use std::thread;

use crossbeam_channel::{Receiver, Sender, bounded};

/// The length of a block, in bytes: several decompressors' worth, and small beside the second-level cache.
const BLOCK_LEN: usize = 256 * 1024;

/// So many blocks wait at most; then the thread does.
const BLOCKS: usize = 4;

/// One block, of which the first bytes are filled.
type Filled = (Vec<u8>, usize);

/// The same bytes as the reader it was made of, read ahead.
pub(super) struct Ahead {
    filled: Receiver<io::Result<Filled>>,
    /// Blocks that have been read go back.
    spare: Sender<Vec<u8>>,
    block: Vec<u8>,
    at: usize,
    len: usize,
}

impl Ahead {
    /// Starts to read. The thread ends with the reader, at its first error, or when this is dropped.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub(super) fn of(mut reader: Box<dyn Read + Send>) -> io::Result<Self> {
        let (to_us, filled) = bounded(BLOCKS);
        let (spare, from_us) = bounded::<Vec<u8>>(BLOCKS + 1);
        thread::Builder::new().name("decompress".to_owned()).spawn(move || {
            loop {
                let mut block = from_us.try_recv().unwrap_or_else(|_| vec![0; BLOCK_LEN]);
                let read = match reader.read(&mut block) {
                    Ok(0) => return,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    Ok(len) => Ok((block, len)),
                    Err(error) => Err(error),
                };
                let ends = read.is_err();
                // Nobody reads any more: nothing is left to do.
                if to_us.send(read).is_err() || ends {
                    return;
                }
            }
        })?;
        Ok(Self {
            filled,
            spare,
            block: Vec::new(),
            at: 0,
            len: 0,
        })
    }
}

impl Read for Ahead {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at == self.len {
            let Ok(next) = self.filled.recv() else { return Ok(0) };
            let (block, len) = next?;
            let read = std::mem::replace(&mut self.block, block);
            if !read.is_empty() {
                // A thread that has ended takes none back.
                let _ = self.spare.try_send(read);
            }
            (self.at, self.len) = (0, len);
        }
        let len = (self.len - self.at).min(buffer.len());
        buffer[..len].copy_from_slice(&self.block[self.at..self.at + len]);
        self.at += len;
        Ok(len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_brings_the_same_bytes_and_then_the_same_error() {
        struct Breaks(Vec<u8>);
        impl Read for Breaks {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                if self.0.is_empty() {
                    return Err(io::Error::other("the tape is torn"));
                }
                let len = buffer.len().min(self.0.len()).min(100_001);
                self.0.drain(..len).zip(buffer).for_each(|(byte, place)| *place = byte);
                Ok(len)
            }
        }
        let bytes: Vec<u8> = (0..1_500_000_u32).map(|index| (index * 7 / 3) as u8).collect();
        let mut ahead = Ahead::of(Box::new(Breaks(bytes.clone()))).expect("a thread");
        let mut read = Vec::new();
        let error = ahead.read_to_end(&mut read).expect_err("torn");
        assert_eq!(error.to_string(), "the tape is torn");
        assert!(read == bytes, "{} bytes of {}", read.len(), bytes.len());
    }

    #[test]
    fn a_reader_that_is_given_up_ends() {
        struct Endless(Sender<()>);
        impl Read for Endless {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                assert!(self.0.is_empty());
                Ok(buffer.len())
            }
        }
        let (alive, dead) = bounded(0);
        let mut ahead = Ahead::of(Box::new(Endless(alive))).expect("a thread");
        let mut some = [1; 10];
        assert_eq!(ahead.read(&mut some).expect("bytes"), 10);
        drop(ahead);
        // The thread drops its reader, and with it the sender, when it ends.
        assert!(dead.recv().is_err());
    }
}
