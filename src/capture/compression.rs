//! Compressed captures: gzip, zstd, lz4 and xz, told by their first bytes, never by name.
//!
//! Every decompressor reads all members, frames or streams of its input, hands on what it has as soon as it has it
//! (so a compressed pipe streams), holds a bounded window, and reports an input that is cut short as an error.

use std::io::{self, BufReader, Read};

use lz4_flex::frame::FrameDecoder;

/// The most memory an xz file may ask for, in bytes. `xz -9`, the highest preset, takes 65 MiB (xz(1)).
const XZ_MEMORY_LIMIT: u64 = 128 * 1024 * 1024;

/// The base-2 logarithm of the largest window a zstd file may ask for: the default of zstd(1), 128 MiB.
const ZSTD_WINDOW_LOG_LIMIT: u32 = 27;

/// How much compressed input is read at once, in bytes.
const INPUT_LEN: usize = 64 * 1024;

/// The most bytes asked of a decompressor at once. When it comes upon damage it drops what it had of this call.
const OUTPUT_LEN: usize = 16 * 1024;

/// How a capture is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// RFC 1952.
    Gzip,
    /// RFC 8878.
    Zstd,
    /// The LZ4 frame format, 1.6.
    Lz4,
    /// The .xz file format, 1.2.
    Xz,
}

impl Compression {
    /// All of them, each with its magic number.
    pub const ALL: [(Self, [u8; 4], usize); 4] = [
        (Self::Gzip, [0x1f, 0x8b, 0, 0], 2),
        (Self::Zstd, [0x28, 0xb5, 0x2f, 0xfd], 4),
        (Self::Lz4, [0x04, 0x22, 0x4d, 0x18], 4),
        (Self::Xz, [0xfd, b'7', b'z', b'X'], 4),
    ];

    /// How a file that begins with `head` (four bytes or more) is compressed, if it is.
    #[must_use]
    pub fn of(head: &[u8]) -> Option<Self> {
        // A zstd file may open with skippable frames (RFC 8878, 3.1.2); pzstd writes them.
        if let [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] = head {
            return Some(Self::Zstd);
        }
        Self::ALL
            .iter()
            .find(|(_, magic, len)| head.starts_with(&magic[..*len]))
            .map(|(compression, ..)| *compression)
    }

    /// What it is called.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::Lz4 => "lz4",
            Self::Xz => "xz",
        }
    }

    /// A reader of what `compressed` holds.
    ///
    /// # Errors
    /// Only if there is no memory for the decompressor.
    pub fn reader(self, compressed: impl Read + Send + 'static) -> io::Result<Box<dyn Read + Send>> {
        let input = BufReader::with_capacity(INPUT_LEN, compressed);
        let reader: Box<dyn Read + Send> = match self {
            Self::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(input)),
            Self::Zstd => {
                let mut decoder = zstd::Decoder::with_buffer(input)?;
                decoder.window_log_max(ZSTD_WINDOW_LOG_LIMIT)?;
                Box::new(decoder)
            }
            Self::Lz4 => Box::new(Lz4Reader::new(input)),
            Self::Xz => {
                let stream =
                    liblzma::stream::Stream::new_stream_decoder(XZ_MEMORY_LIMIT, liblzma::stream::CONCATENATED)?;
                Box::new(liblzma::bufread::XzDecoder::new_stream(input, stream))
            }
        };
        Ok(Box::new(Named {
            compression: self,
            reader,
        }))
    }
}

/// Names the compression in every error.
struct Named {
    compression: Compression,
    reader: Box<dyn Read + Send>,
}

impl Read for Named {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let limit = buffer.len().min(OUTPUT_LEN);
        self.reader.read(&mut buffer[..limit]).map_err(|error| {
            let name = self.compression.name();
            match error.kind() {
                io::ErrorKind::Interrupted => error,
                io::ErrorKind::UnexpectedEof => io::Error::new(error.kind(), format!("the {name} data is cut short")),
                kind => io::Error::new(kind, format!("the {name} data is damaged: {error}")),
            }
        })
    }
}

/// Reads lz4 frames to the last. The decoder alone says "end" both after a frame and where one is cut between blocks.
struct Lz4Reader<R: Read> {
    decoder: FrameDecoder<EndWatch<R>>,
    /// Whether the decoder stands between two frames (and not before the first).
    between_frames: bool,
}

/// Notes when the reader within has come to its end.
struct EndWatch<R> {
    reader: R,
    at_end: bool,
}

impl<R: Read> Read for EndWatch<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = self.reader.read(buffer)?;
        self.at_end |= len == 0 && !buffer.is_empty();
        Ok(len)
    }
}

impl<R: Read> Lz4Reader<R> {
    fn new(reader: R) -> Self {
        Self {
            decoder: FrameDecoder::new(EndWatch { reader, at_end: false }),
            between_frames: false,
        }
    }
}

impl<R: Read> Read for Lz4Reader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let len = self.decoder.read(buffer)?;
            if len > 0 || buffer.is_empty() {
                self.between_frames = false;
                return Ok(len);
            }
            match (self.decoder.get_ref().at_end, self.between_frames) {
                (true, true) => return Ok(0),
                (true, false) => return Err(io::ErrorKind::UnexpectedEof.into()),
                // The end mark of a frame: what follows is another frame or the end.
                (false, _) => self.between_frames = true,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::path::Path;

    use super::*;
    use crate::capture::capture_file::CaptureFile;
    use crate::capture::error::CaptureError;
    use crate::capture::sample::{Order, Pcap, drain, from_disk};

    fn compress(compression: Compression, bytes: &[u8]) -> Vec<u8> {
        match compression {
            Compression::Gzip => {
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
                encoder.write_all(bytes).expect("compresses");
                encoder.finish().expect("compresses")
            }
            Compression::Zstd => {
                let mut encoder = zstd::Encoder::new(Vec::new(), 1).expect("an encoder");
                encoder.include_checksum(true).expect("a checksum");
                encoder.write_all(bytes).expect("compresses");
                encoder.finish().expect("compresses")
            }
            Compression::Lz4 => {
                let layout = lz4_flex::frame::FrameInfo::new()
                    .block_size(lz4_flex::frame::BlockSize::Max64KB)
                    .block_checksums(true);
                let mut encoder = lz4_flex::frame::FrameEncoder::with_frame_info(layout, Vec::new());
                encoder.write_all(bytes).expect("compresses");
                encoder.finish().expect("compresses")
            }
            Compression::Xz => {
                let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 1);
                encoder.write_all(bytes).expect("compresses");
                encoder.finish().expect("compresses")
            }
        }
    }

    /// Frames that compress badly, so that a file cut in half still holds some.
    fn capture() -> Vec<u8> {
        let mut capture = Pcap::new(Order::Little, Pcap::MICROS, 1);
        let mut state = 1_u32;
        for number in 0..600 {
            let frame: Vec<u8> = (0..700)
                .map(|_| {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    (state >> 24) as u8
                })
                .collect();
            capture.push(number, 0, 700, 700, &frame);
        }
        capture.bytes
    }

    fn read(bytes: Vec<u8>) -> CaptureFile {
        CaptureFile::from_reader(Path::new("-"), io::Cursor::new(bytes), 0).expect("a capture")
    }

    #[test]
    fn every_compression_gives_the_records_of_the_plain_file_from_disk_and_pipe() {
        let capture = capture();
        let plain = from_disk(&capture);
        for (compression, ..) in Compression::ALL {
            let compressed = compress(compression, &capture);
            assert_eq!(Compression::of(&compressed), Some(compression));
            assert!(from_disk(&compressed) == plain, "{compression:?}");
            assert!(drain(read(compressed), 1000) == plain, "{compression:?}");
        }
    }

    #[test]
    fn members_frames_and_streams_one_after_another_are_one_capture() {
        let capture = capture();
        let plain = from_disk(&capture);
        let (first, second) = capture.split_at(100_003);
        for (compression, ..) in Compression::ALL {
            let mut compressed = compress(compression, first);
            compressed.extend(compress(compression, second));
            assert!(from_disk(&compressed) == plain, "{compression:?}");
        }
    }

    #[test]
    fn a_compressed_file_cut_short_keeps_what_came_before_and_says_so() {
        let capture = capture();
        let (plain, _) = from_disk(&capture);
        for (compression, ..) in Compression::ALL {
            let compressed = compress(compression, &capture);
            let (supplied, damage) = from_disk(&compressed[..compressed.len() / 2]);
            assert!(
                (100..plain.len()).contains(&supplied.len()),
                "{compression:?}: {}",
                supplied.len()
            );
            assert!(supplied == plain[..supplied.len()], "{compression:?}");
            let damage = damage.expect("damage");
            let said = format!(
                "the {} data is cut short, before frame {}",
                compression.name(),
                supplied.len() + 1
            );
            assert_eq!(damage.why, said);
            // Cut anywhere else, it is damage as well, if only because the end mark is missing.
            for cut in [5, 40, compressed.len() - 20, compressed.len() - 1] {
                let (_, damage) = from_disk(&compressed[..cut]);
                assert!(damage.is_some(), "{compression:?} cut at {cut}");
            }
        }
    }

    #[test]
    fn a_compressed_file_with_bytes_changed_keeps_what_came_before() {
        let capture = capture();
        let (plain, _) = from_disk(&capture);
        for (compression, ..) in Compression::ALL {
            let mut compressed = compress(compression, &capture);
            let middle = compressed.len() / 2;
            compressed[middle..middle + 64].fill(0xff);
            let (supplied, damage) = from_disk(&compressed);
            assert!(damage.is_some(), "{compression:?}");
            // Where bytes are stored as they are, changed frames come through until a checksum tells.
            let same = supplied
                .iter()
                .zip(&plain)
                .take_while(|(ours, theirs)| ours == theirs)
                .count();
            assert!((100..plain.len()).contains(&same), "{compression:?}: {same}");
        }
    }

    #[test]
    fn what_is_no_capture_inside_is_said_to_be_none() {
        let text = compress(Compression::Gzip, b"hello, world");
        let twice = compress(Compression::Zstd, &compress(Compression::Xz, &capture()));
        for (bytes, said) in [
            (text, "inside gzip, it looks like text"),
            (twice, "compressed twice, with zstd and xz"),
        ] {
            let error = CaptureFile::from_reader(Path::new("-"), io::Cursor::new(bytes), 0).expect_err("no capture");
            let CaptureError::Foreign { what, .. } = error else {
                panic!("{error}")
            };
            assert!(what.contains(said), "{what}");
        }
    }

    #[test]
    fn a_window_larger_than_we_hold_is_refused() {
        let mut encoder = zstd::Encoder::new(Vec::new(), 1).expect("an encoder");
        encoder.window_log(28).expect("a window");
        encoder.write_all(&capture()).expect("compresses");
        let compressed = encoder.finish().expect("compresses");
        let (supplied, damage) = from_disk(&compressed);
        assert_eq!(supplied.len(), 0);
        assert!(damage.expect("damage").why.contains("zstd"));
    }
}
