//! A dissected packet, borrowed from its frame.

use std::time::Duration;

use super::endpoint::Endpoint;
use super::frame::Frame;
use super::path_marks::PathMarks;

/// One IP packet of one frame. Copying it copies references, never bytes.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    /// The frame it was read from.
    pub frame: Frame<'a>,
    /// Who claims to have sent it.
    pub from: Endpoint,
    /// Whom it is for.
    pub to: Endpoint,
    /// What its headers tell of its way.
    pub marks: PathMarks,
    /// The outermost VLAN id, if the frame was tagged.
    pub vlan: Option<u16>,
    /// What it carries.
    pub transport: Transport<'a>,
}

/// The layer above IP.
#[derive(Clone, Copy, Debug)]
pub enum Transport<'a> {
    /// A TCP segment.
    Tcp(Segment<'a>),
    /// A UDP datagram.
    Udp(Datagram<'a>),
    /// An ICMP or ICMPv6 error that quotes another packet; `from` and `to` of the packet are the ICMP sender's.
    IcmpError(IcmpError),
    /// Any other protocol, by its IP protocol number.
    Other(u8),
}

/// A position in a TCP byte stream; compares and subtracts modulo 2^32 (RFC 9293 section 3.4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct SequenceNumber(pub u32);

impl SequenceNumber {
    /// The number `by` bytes on.
    #[must_use]
    pub const fn plus(self, by: u32) -> Self {
        Self(self.0.wrapping_add(by))
    }

    /// How far `self` is ahead of `other`: negative when it lies before (serial arithmetic, RFC 1982).
    #[must_use]
    pub const fn ahead_of(self, other: Self) -> i32 {
        self.0.wrapping_sub(other.0) as i32
    }

    /// Whether `self` comes after `other`.
    #[must_use]
    pub const fn is_after(self, other: Self) -> bool {
        self.ahead_of(other) > 0
    }
}

/// A TCP header's flag bits, the reserved ones and NS (AE) included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TcpFlags(pub u16);

impl TcpFlags {
    /// FIN.
    pub const FIN: u16 = 0x001;
    /// SYN.
    pub const SYN: u16 = 0x002;
    /// RST.
    pub const RST: u16 = 0x004;
    /// PSH.
    pub const PSH: u16 = 0x008;
    /// ACK.
    pub const ACK: u16 = 0x010;
    /// The ECN nonce sum bit of RFC 3540 (today AE, RFC 9768).
    pub const NS: u16 = 0x100;
    /// The three bits RFC 9293 reserves.
    pub const RESERVED: u16 = 0xe00;

    /// Whether any of `bits` is set.
    #[must_use]
    pub const fn any(self, bits: u16) -> bool {
        self.0 & bits != 0
    }

    /// FIN is set.
    #[must_use]
    pub const fn fin(self) -> bool {
        self.any(Self::FIN)
    }
    /// SYN is set.
    #[must_use]
    pub const fn syn(self) -> bool {
        self.any(Self::SYN)
    }
    /// RST is set.
    #[must_use]
    pub const fn rst(self) -> bool {
        self.any(Self::RST)
    }
    /// PSH is set.
    #[must_use]
    pub const fn psh(self) -> bool {
        self.any(Self::PSH)
    }
    /// ACK is set.
    #[must_use]
    pub const fn ack(self) -> bool {
        self.any(Self::ACK)
    }
}

/// A TCP segment.
#[derive(Clone, Copy, Debug)]
pub struct Segment<'a> {
    /// The sequence number.
    pub seq: SequenceNumber,
    /// The acknowledgement number field, whatever the ACK flag says.
    pub ack: SequenceNumber,
    /// The flags.
    pub flags: TcpFlags,
    /// The window field, unscaled.
    pub window: u16,
    /// The options, undecoded: most packets are never asked for them.
    pub options: &'a [u8],
    /// The payload as far as it was captured.
    pub payload: &'a [u8],
    /// The payload's length on the wire, in bytes.
    pub payload_len: u32,
}

/// A TCP timestamp option (RFC 7323): our clock and the echo of theirs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpTimestamp {
    /// TSval.
    pub value: u32,
    /// TSecr.
    pub echo: u32,
}

impl Segment<'_> {
    /// The sequence space it takes: payload, and one each for SYN and FIN.
    #[must_use]
    pub const fn span(&self) -> u32 {
        self.payload_len
            .wrapping_add(self.flags.syn() as u32)
            .wrapping_add(self.flags.fin() as u32)
    }

    /// The sequence number after it.
    #[must_use]
    pub const fn end(&self) -> SequenceNumber {
        self.seq.plus(self.span())
    }

    /// Its timestamp option, if it carries one.
    #[must_use]
    pub fn timestamp(&self) -> Option<TcpTimestamp> {
        let options = self.options;
        // Nearly every stack writes NOP NOP TS.
        let body = match options {
            [1, 1, 8, 10, body @ ..] if body.len() >= 8 => body,
            _ => find_option(options, 8, 10)?,
        };
        Some(TcpTimestamp {
            value: u32::from_be_bytes([body[0], body[1], body[2], body[3]]),
            echo: u32::from_be_bytes([body[4], body[5], body[6], body[7]]),
        })
    }
}

/// The body of option `kind`, whose whole length must be `len` (2 or more).
fn find_option(mut options: &[u8], kind: u8, len: usize) -> Option<&[u8]> {
    loop {
        match options {
            [] | [0, ..] => return None,
            [1, rest @ ..] => options = rest,
            [found, length, ..] => {
                let length = usize::from(*length);
                if length < 2 || length > options.len() {
                    return None;
                }
                if *found == kind && length == len {
                    return Some(&options[2..length]);
                }
                options = &options[length..];
            }
            [_] => return None,
        }
    }
}

/// A UDP datagram.
#[derive(Clone, Copy, Debug)]
pub struct Datagram<'a> {
    /// The payload as far as it was captured.
    pub payload: &'a [u8],
    /// The payload's length on the wire, in bytes.
    pub payload_len: u32,
}

/// An ICMP error and the packet it quotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IcmpError {
    /// ICMP or ICMPv6 type.
    pub icmp_type: u8,
    /// ICMP or ICMPv6 code.
    pub code: u8,
    /// The quoted packet's sender.
    pub quoted_from: Endpoint,
    /// The quoted packet's destination.
    pub quoted_to: Endpoint,
    /// The quoted packet's IP protocol.
    pub quoted_protocol: u8,
    /// The quoted packet's TTL or hop limit, as it was where the error arose.
    pub quoted_ttl: u8,
    /// The quoted segment's sequence number, if it is one and enough of it is quoted (RFC 792: 8 bytes at least).
    pub quoted_seq: Option<SequenceNumber>,
}

/// A span of time as people read it: `41 ms`, `2.5 s`, `180 µs`.
#[must_use]
pub fn readable(span: Duration) -> String {
    let micros = span.as_micros();
    match micros {
        0..1_000 => format!("{micros} µs"),
        1_000..10_000 => format!("{:.1} ms", micros as f64 / 1e3),
        10_000..1_000_000 => format!("{} ms", micros / 1_000),
        _ => format!("{:.1} s", micros as f64 / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequence_numbers_wrap() {
        let before = SequenceNumber(u32::MAX - 1);
        assert_eq!(before.plus(3), SequenceNumber(1));
        assert!(before.plus(3).is_after(before));
        assert_eq!(before.ahead_of(before.plus(3)), -3);
    }

    #[test]
    fn a_timestamp_is_found_wherever_it_stands() {
        let mut segment = Segment {
            seq: SequenceNumber(0),
            ack: SequenceNumber(0),
            flags: TcpFlags(TcpFlags::ACK),
            window: 0,
            options: &[1, 1, 8, 10, 0, 0, 0, 5, 0, 0, 0, 6],
            payload: &[],
            payload_len: 0,
        };
        let stamp = Some(TcpTimestamp { value: 5, echo: 6 });
        assert_eq!(segment.timestamp(), stamp);
        segment.options = &[2, 4, 5, 0xb4, 4, 2, 8, 10, 0, 0, 0, 5, 0, 0, 0, 6, 1, 3, 3, 7];
        assert_eq!(segment.timestamp(), stamp);
        segment.options = &[8, 10, 0, 0];
        assert_eq!(segment.timestamp(), None);
        segment.options = &[5, 0, 0, 0];
        assert_eq!(segment.timestamp(), None);
    }
}
