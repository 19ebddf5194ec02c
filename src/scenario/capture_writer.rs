//! Writes what a tap saw as a classic pcap file with microsecond timestamps, little-endian.

/// Link type Ethernet (LINKTYPE_ETHERNET).
pub(crate) const ETHERNET: u32 = 1;
/// Link type raw IP (LINKTYPE_RAW).
pub(crate) const RAW: u32 = 101;

/// A pcap file in the making.
#[derive(Debug)]
pub(crate) struct CaptureWriter {
    out: Vec<u8>,
    snaplen: u32,
}

impl CaptureWriter {
    /// Begins a file of this link type.
    pub(crate) fn new(link_type: u32, snaplen: u32) -> Self {
        let mut out = Vec::new();
        for word in [0xA1B2_C3D4u32, 0x0004_0002, 0, 0, snaplen, link_type] {
            out.extend_from_slice(&word.to_le_bytes());
        }
        Self { out, snaplen }
    }

    /// Appends a frame; `nanos` counts from the Unix epoch.
    pub(crate) fn frame(&mut self, nanos: u64, bytes: &[u8]) {
        let kept = bytes.len().min(self.snaplen as usize);
        let micros = nanos / 1000;
        let words = [
            (micros / 1_000_000) as u32,
            (micros % 1_000_000) as u32,
            kept as u32,
            bytes.len() as u32,
        ];
        for word in words {
            self.out.extend_from_slice(&word.to_le_bytes());
        }
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
