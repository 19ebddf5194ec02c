//! Writes what a tap saw as a classic pcap file with microsecond timestamps, little-endian.

/// Link type Ethernet (LINKTYPE_ETHERNET).
pub(crate) const ETHERNET: u32 = 1;
/// Link type raw IP (LINKTYPE_RAW).
pub(crate) const RAW: u32 = 101;

/// The beginning of a file.
pub(crate) fn file_header(link_type: u32, snaplen: u32) -> [u8; 24] {
    little_endian([0xA1B2_C3D4, 0x0004_0002, 0, 0, snaplen, link_type])
}

/// What stands before a frame of which `kept` of `len` bytes follow; `nanos` counts from the Unix epoch.
pub(crate) fn record_header(nanos: u64, kept: usize, len: usize) -> [u8; 16] {
    let micros = nanos / 1000;
    let (seconds, micros) = ((micros / 1_000_000) as u32, (micros % 1_000_000) as u32);
    little_endian([seconds, micros, kept as u32, len as u32])
}

fn little_endian<const WORDS: usize, const BYTES: usize>(words: [u32; WORDS]) -> [u8; BYTES] {
    let mut bytes = [0; BYTES];
    for (bytes, word) in bytes.chunks_exact_mut(4).zip(words) {
        bytes.copy_from_slice(&word.to_le_bytes());
    }
    bytes
}

/// A pcap file in the making.
#[derive(Debug)]
pub(crate) struct CaptureWriter {
    out: Vec<u8>,
    snaplen: u32,
}

impl CaptureWriter {
    /// Begins a file of this link type.
    pub(crate) fn new(link_type: u32, snaplen: u32) -> Self {
        let out = file_header(link_type, snaplen).to_vec();
        Self { out, snaplen }
    }

    /// Appends a frame; `nanos` counts from the Unix epoch.
    pub(crate) fn frame(&mut self, nanos: u64, bytes: &[u8]) {
        let kept = bytes.len().min(self.snaplen as usize);
        self.out.extend_from_slice(&record_header(nanos, kept, bytes.len()));
        self.out.extend_from_slice(&bytes[..kept]);
    }

    /// The file.
    pub(crate) fn finish(self) -> Vec<u8> {
        self.out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_longer_than_the_snaplen_is_cut_and_says_so() {
        let mut writer = CaptureWriter::new(ETHERNET, 60);
        writer.frame(1_500_000_000_123_456_789, &[7; 100]);
        let file = writer.finish();
        assert_eq!(file.len(), 24 + 16 + 60);
        assert_eq!(&file[24..28], &1_500_000_000u32.to_le_bytes());
        assert_eq!(&file[28..32], &123_456u32.to_le_bytes());
        assert_eq!((file[32], file[36]), (60, 100));
    }
}
