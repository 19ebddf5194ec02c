//! Writes frames as pcapng (draft-ietf-opsawg-pcapng): one section, an interface for every source and link type, times
//! in nanoseconds, comments on packets.

use crate::packet::frame::{Frame, LinkType};

const SECTION_HEADER: u32 = 0x0a0d_0d0a;
const INTERFACE_DESCRIPTION: u32 = 1;
const ENHANCED_PACKET: u32 = 6;
const BYTE_ORDER_MAGIC: u32 = 0x1a2b_3c4d;

/// Option codes: of any block, of a section header, of an interface description.
const COMMENT: u16 = 1;
const USER_APPLICATION: u16 = 4;
const INTERFACE_NAME: u16 = 2;
const TIME_RESOLUTION: u16 = 9;

/// The most bytes of a comment (an option's length has 16 bits).
const LONGEST_COMMENT: usize = 1024;

/// One section under way. Blocks are appended to whatever buffer they are wanted in, whole.
#[derive(Clone, Debug, Default)]
pub struct PcapngWriter {
    /// The run's file and the link type of every interface described so far.
    interfaces: Vec<(u32, LinkType)>,
}

impl PcapngWriter {
    /// Begins a section: appends its header to `out` and forgets the interfaces of the one before.
    pub fn begin(&mut self, out: &mut Vec<u8>) {
        self.interfaces.clear();
        block(out, SECTION_HEADER, |out| {
            out.extend_from_slice(&BYTE_ORDER_MAGIC.to_le_bytes());
            out.extend_from_slice(&1_u16.to_le_bytes());
            out.extend_from_slice(&0_u16.to_le_bytes());
            // A section whose length is not known.
            out.extend_from_slice(&u64::MAX.to_le_bytes());
            option(
                out,
                USER_APPLICATION,
                concat!("blockscope ", env!("CARGO_PKG_VERSION")).as_bytes(),
            );
            end_of_options(out);
        });
    }

    /// Appends `frame`, taken from what is called `source`, and before it the description of its interface if need be.
    pub fn frame(&mut self, out: &mut Vec<u8>, frame: &Frame<'_>, source: &str, comment: Option<&str>) {
        let key = (frame.number.file(), frame.link);
        let known = self.interfaces.iter().position(|known| *known == key);
        let interface = known.unwrap_or_else(|| {
            self.interfaces.push(key);
            describe(out, frame.link, source);
            self.interfaces.len() - 1
        });
        block(out, ENHANCED_PACKET, |out| {
            let nanos = frame.at.as_nanos();
            for word in [
                interface as u32,
                (nanos >> 32) as u32,
                nanos as u32,
                frame.bytes.len() as u32,
                frame.wire_len,
            ] {
                out.extend_from_slice(&word.to_le_bytes());
            }
            padded(out, frame.bytes);
            if let Some(comment) = comment {
                let end = comment.floor_char_boundary(LONGEST_COMMENT);
                option(out, COMMENT, &comment.as_bytes()[..end]);
                end_of_options(out);
            }
        });
    }
}

fn describe(out: &mut Vec<u8>, link: LinkType, source: &str) {
    block(out, INTERFACE_DESCRIPTION, |out| {
        out.extend_from_slice(&link.0.to_le_bytes());
        out.extend_from_slice(&0_u16.to_le_bytes());
        // No limit: what was snapped says so by its lengths.
        out.extend_from_slice(&0_u32.to_le_bytes());
        let end = source.floor_char_boundary(LONGEST_COMMENT);
        option(out, INTERFACE_NAME, &source.as_bytes()[..end]);
        option(out, TIME_RESOLUTION, &[9]);
        end_of_options(out);
    });
}

/// A block of type `kind` around what `body` appends.
fn block(out: &mut Vec<u8>, kind: u32, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&kind.to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    body(out);
    let len = (out.len() - start + 4) as u32;
    out.extend_from_slice(&len.to_le_bytes());
    out[start + 4..start + 8].copy_from_slice(&len.to_le_bytes());
}

fn option(out: &mut Vec<u8>, code: u16, value: &[u8]) {
    out.extend_from_slice(&code.to_le_bytes());
    out.extend_from_slice(&(value.len() as u16).to_le_bytes());
    padded(out, value);
}

fn end_of_options(out: &mut Vec<u8>) {
    out.extend_from_slice(&[0; 4]);
}

/// Appends `bytes`, and zeroes up to a multiple of four.
fn padded(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(bytes);
    out.resize(out.len() + bytes.len().wrapping_neg() % 4, 0);
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::capture::capture_set::CaptureSet;
    use crate::capture::source::RecordBatch;
    use crate::capture::source::{Source, Supply};
    use crate::packet::frame::FrameNumber;
    use crate::time::Timestamp;

    #[test]
    fn what_is_written_is_read_back() {
        let frame = |file, number, link, bytes| Frame {
            number: FrameNumber::new(file, number),
            at: Timestamp::from_nanos(1_767_323_045_678_901_234 + number),
            bytes,
            wire_len: 60,
            link,
        };
        let frames = [
            frame(0, 7, LinkType::ETHERNET, &b"fourteen bytes"[..]),
            frame(1, 3, LinkType::RAW, &b"odd"[..]),
            frame(0, 9, LinkType::ETHERNET, &b""[..]),
        ];
        let (mut writer, mut out) = (PcapngWriter::default(), Vec::new());
        writer.begin(&mut out);
        for frame in &frames {
            writer.frame(&mut out, frame, "eth0", Some("forged \u{2014} likely"));
        }
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        fs::write(&path, &out).unwrap();
        let mut source = CaptureSet::open(&[path]);
        let mut batch = RecordBatch::default();
        let mut read = Vec::new();
        while source.supply(&mut batch).unwrap() == Supply::Records {
            for record in &batch.records {
                let frame = batch.frame(record);
                read.push((frame.at, frame.bytes.to_vec(), frame.wire_len, frame.link));
            }
        }
        assert_eq!(source.files()[0].damage, None);
        let written = frames.map(|frame| (frame.at, frame.bytes.to_vec(), frame.wire_len, frame.link));
        assert_eq!(read, written);
    }
}
