//! One frame of a capture: its number, its time, its bytes and the link it was taken from.

use crate::time::Timestamp;

/// Which packet of which capture file, in reading order. Within one file it is Wireshark's `frame.number`.
///
/// Ordered by file first, then by number, so that it sorts in capture order over a whole run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct FrameNumber(u64);

impl FrameNumber {
    const NUMBER_BITS: u32 = 44;

    /// Frame `number` (1-based) of the run's file `file` (0-based, below 2^20).
    #[must_use]
    pub const fn new(file: u32, number: u64) -> Self {
        Self((file as u64) << Self::NUMBER_BITS | number)
    }

    /// The file's index in the run, 0-based.
    #[must_use]
    pub const fn file(self) -> u32 {
        (self.0 >> Self::NUMBER_BITS) as u32
    }

    /// The frame's number in its file, 1-based: Wireshark's `frame.number`, EVE's `pcap_cnt`.
    #[must_use]
    pub const fn in_file(self) -> u64 {
        self.0 & ((1 << Self::NUMBER_BITS) - 1)
    }
}

/// A capture's link type: the number of the tcpdump.org LINKTYPE registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkType(pub u16);

impl LinkType {
    /// BSD loopback: a 4-byte protocol family in the capturing host's byte order.
    pub const NULL: Self = Self(0);
    /// Ethernet.
    pub const ETHERNET: Self = Self(1);
    /// PPP, with or without the HDLC-like address and control bytes.
    pub const PPP: Self = Self(9);
    /// Raw IP as some BSDs number it in their files (`DLT_RAW`).
    pub const RAW_BSD: Self = Self(12);
    /// Raw IP, OpenBSD's number (`DLT_RAW`).
    pub const RAW_OPENBSD: Self = Self(14);
    /// PPP in HDLC-like framing (RFC 1662).
    pub const PPP_HDLC: Self = Self(50);
    /// PPPoE session frames without the Ethernet header.
    pub const PPP_ETHER: Self = Self(51);
    /// Raw IP, version by the first nibble.
    pub const RAW: Self = Self(101);
    /// Cisco HDLC.
    pub const C_HDLC: Self = Self(104);
    /// OpenBSD loopback: a 4-byte protocol family in network byte order.
    pub const LOOP: Self = Self(108);
    /// Linux "cooked" capture, version 1.
    pub const LINUX_SLL: Self = Self(113);
    /// PPP with a direction byte in front.
    pub const PPP_WITH_DIRECTION: Self = Self(204);
    /// Raw IPv4.
    pub const IPV4: Self = Self(228);
    /// Raw IPv6.
    pub const IPV6: Self = Self(229);
    /// Linux "cooked" capture, version 2.
    pub const LINUX_SLL2: Self = Self(276);
}

/// A frame, borrowed from the memory it was captured or mapped into.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// Which frame of the run.
    pub number: FrameNumber,
    /// When it was captured, on a clock that never runs back.
    pub at: Timestamp,
    /// The captured bytes, from the link header on.
    pub bytes: &'a [u8],
    /// The frame's length on the wire in bytes; more than `bytes.len()` where the capture was snapped.
    pub wire_len: u32,
    /// What kind of link header comes first.
    pub link: LinkType,
}
