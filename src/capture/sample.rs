//! Tiny captures, written byte by byte for the tests.

use super::source::{Damage, Record, RecordBatch, Supply};
use crate::capture::capture_file::CaptureFile;

/// The byte order a capture is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Little,
    Big,
}

impl Order {
    pub(super) const BOTH: [Self; 2] = [Self::Little, Self::Big];

    pub(super) fn u16(self, value: u16) -> [u8; 2] {
        match self {
            Self::Little => value.to_le_bytes(),
            Self::Big => value.to_be_bytes(),
        }
    }

    pub(super) fn u32(self, value: u32) -> [u8; 4] {
        match self {
            Self::Little => value.to_le_bytes(),
            Self::Big => value.to_be_bytes(),
        }
    }

    pub(super) fn u64(self, value: u64) -> [u8; 8] {
        match self {
            Self::Little => value.to_le_bytes(),
            Self::Big => value.to_be_bytes(),
        }
    }
}

/// A classic capture in the making.
pub(super) struct Pcap {
    order: Order,
    after_record_header: usize,
    pub(super) bytes: Vec<u8>,
}

impl Pcap {
    pub(super) const MICROS: u32 = 0xa1b2_c3d4;
    pub(super) const NANOS: u32 = 0xa1b2_3c4d;
    pub(super) const MODIFIED: u32 = 0xa1b2_cd34;
    pub(super) const IXIA_HARDWARE: u32 = 0x1c00_01ac;
    pub(super) const IXIA_SOFTWARE: u32 = 0x1c00_01ab;

    pub(super) fn new(order: Order, magic: u32, link: u32) -> Self {
        Self::with_version(order, magic, link, (2, 4))
    }

    pub(super) fn with_version(order: Order, magic: u32, link: u32, version: (u16, u16)) -> Self {
        let mut bytes = Vec::new();
        bytes.extend(order.u32(magic));
        bytes.extend(order.u16(version.0));
        bytes.extend(order.u16(version.1));
        bytes.extend([0; 8]);
        bytes.extend(order.u32(65535));
        bytes.extend(order.u32(link));
        if matches!(magic, Self::IXIA_HARDWARE | Self::IXIA_SOFTWARE) {
            bytes.extend([0; 4]);
        }
        let after_record_header = if magic == Self::MODIFIED { 8 } else { 0 };
        Self {
            order,
            after_record_header,
            bytes,
        }
    }

    pub(super) fn record(mut self, seconds: u32, fraction: u32, frame: &[u8]) -> Self {
        self.push(seconds, fraction, frame.len() as u32, frame.len() as u32, frame);
        self
    }

    pub(super) fn push(&mut self, seconds: u32, fraction: u32, first: u32, second: u32, frame: &[u8]) {
        for field in [seconds, fraction, first, second] {
            self.bytes.extend(self.order.u32(field));
        }
        self.bytes.extend(vec![0xee; self.after_record_header]);
        self.bytes.extend(frame);
    }
}

/// A block capture in the making: a section header, then what is asked for.
pub(super) struct Pcapng {
    order: Order,
    pub(super) bytes: Vec<u8>,
}

impl Pcapng {
    pub(super) fn new(order: Order) -> Self {
        let empty = Self {
            order,
            bytes: Vec::new(),
        };
        empty.section(order)
    }

    pub(super) fn section(mut self, order: Order) -> Self {
        self.order = order;
        let mut body = Vec::new();
        body.extend(order.u32(0x1a2b_3c4d));
        body.extend(order.u16(1));
        body.extend(order.u16(0));
        body.extend(order.u64(u64::MAX));
        self.block(0x0a0d_0d0a, &body)
    }

    pub(super) fn block(mut self, kind: u32, body: &[u8]) -> Self {
        let len = 12 + body.len().next_multiple_of(4);
        self.bytes.extend(self.order.u32(kind));
        self.bytes.extend(self.order.u32(len as u32));
        self.bytes.extend(body);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        self.bytes.extend(self.order.u32(len as u32));
        self
    }

    pub(super) fn interface(self, link: u16, snap_len: u32) -> Self {
        self.interface_with(link, snap_len, &[])
    }

    /// An interface with options: code and value.
    pub(super) fn interface_with(self, link: u16, snap_len: u32, options: &[(u16, Vec<u8>)]) -> Self {
        let mut body = Vec::new();
        body.extend(self.order.u16(link));
        body.extend([0; 2]);
        body.extend(self.order.u32(snap_len));
        for (code, value) in options {
            body.extend(self.order.u16(*code));
            body.extend(self.order.u16(value.len() as u16));
            body.extend(value);
            body.resize(body.len().next_multiple_of(4), 0);
        }
        if !options.is_empty() {
            body.extend([0; 4]);
        }
        self.block(1, &body)
    }

    pub(super) fn enhanced(self, interface: u32, ticks: u64, frame: &[u8]) -> Self {
        let len = frame.len() as u32;
        self.enhanced_claiming(interface, ticks, (len, len), frame)
    }

    pub(super) fn enhanced_claiming(self, interface: u32, ticks: u64, lens: (u32, u32), frame: &[u8]) -> Self {
        let mut body = Vec::new();
        for field in [interface, (ticks >> 32) as u32, ticks as u32, lens.0, lens.1] {
            body.extend(self.order.u32(field));
        }
        body.extend(frame);
        self.block(6, &body)
    }

    pub(super) fn obsolete(self, interface: u16, ticks: u64, frame: &[u8]) -> Self {
        let mut body = Vec::new();
        body.extend(self.order.u16(interface));
        body.extend(self.order.u16(7));
        let len = frame.len() as u32;
        for field in [(ticks >> 32) as u32, ticks as u32, len, len] {
            body.extend(self.order.u32(field));
        }
        body.extend(frame);
        self.block(2, &body)
    }

    pub(super) fn simple(self, wire_len: u32, frame: &[u8]) -> Self {
        let mut body = self.order.u32(wire_len).to_vec();
        body.extend(frame);
        self.block(3, &body)
    }
}

/// A capture of every kind, each with frames whose bytes tell them apart.
pub(super) fn one_of_every_kind() -> Vec<(String, Vec<u8>)> {
    let mut captures = Vec::new();
    for order in Order::BOTH {
        for (name, magic) in [
            ("µs", Pcap::MICROS),
            ("ns", Pcap::NANOS),
            ("modified", Pcap::MODIFIED),
            ("Ixia hardware", Pcap::IXIA_HARDWARE),
            ("Ixia software", Pcap::IXIA_SOFTWARE),
        ] {
            let capture = Pcap::new(order, magic, 1)
                .record(1_700_000_000, 1, b"first")
                .record(1_700_000_000, 999_999, b"")
                .record(1_700_000_001, 0, &[7; 60]);
            captures.push((format!("pcap {name} {order:?}"), capture.bytes));
        }
        let other = match order {
            Order::Little => Order::Big,
            Order::Big => Order::Little,
        };
        let capture = Pcapng::new(order)
            .interface(1, 0)
            .interface_with(101, 40, &[(9, vec![9])])
            .enhanced(0, 1_700_000_000_000_000, b"first")
            .block(0x77, b"nobody knows this one")
            .enhanced(1, 1_700_000_000_000_000_001, b"second.")
            .block(9, b"MESSAGE=a journal entry")
            .simple(5, b"third")
            .section(other)
            .interface(113, 0)
            .obsolete(0, 1_700_000_000_000_002, &[9; 33]);
        captures.push((format!("pcapng {order:?}"), capture.bytes));
    }
    captures
}

/// A record and its bytes.
pub(super) type Supplied = (Record, Vec<u8>);

/// All records of `file` with their bytes, and how it ended. Offsets are set to zero: they differ with the windows.
pub(super) fn drain(mut file: CaptureFile, limit: usize) -> (Vec<Supplied>, Option<Damage>) {
    let mut supplied = Vec::new();
    let mut batch = RecordBatch::default();
    while file.supply(&mut batch, limit) == Supply::Records {
        assert!((1..=limit).contains(&batch.records.len()));
        for record in &batch.records {
            let bytes = batch.frame(record).bytes.to_vec();
            supplied.push((Record { offset: 0, ..*record }, bytes));
        }
    }
    (supplied, file.damage())
}

/// The records of a capture in memory, as from a file on disk.
pub(super) fn from_disk(capture: &[u8]) -> (Vec<Supplied>, Option<Damage>) {
    let directory = tempfile::tempdir().expect("a directory to write to");
    let path = directory.path().join("capture");
    std::fs::write(&path, capture).expect("a file to write to");
    drain(CaptureFile::open(&path, 0).expect("a capture"), 1000)
}
